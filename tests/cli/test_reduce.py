import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from hifred.data.dataset import Dataset
from hifred.data.reduce import reduce

GRID = {"pixel_size": 20.0, "center": [350.868, 58.81], "size": [19, 20]}


@pytest.fixture(scope="module")
def observation():
    """The module with the small observation of the tests of data."""
    path = Path(__file__).parents[1] / "data" / "observation.py"
    spec = importlib.util.spec_from_file_location("observation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(observation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    observation.write_observation(folder)
    return folder


@pytest.fixture
def plan(observation, made, tmp_path):
    """A folder `in` with the observation, and its plan with changes."""
    shutil.copytree(made, tmp_path / "in")

    def write(**changes):
        path = tmp_path / "in" / "reduce.toml"
        path.write_text(observation.toml(observation.changed(**{"grid": GRID, **changes})), encoding="utf-8")
        return path

    return write


def test_data_sets_are_written_beside_the_plan(hifred, plan, tmp_path):
    path = plan()
    code, out, error = hifred("reduce", path)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["grid", "pn", "resolve"]
    files = [tmp_path / "in" / f"{name}.fits" for name in ("pn", "resolve")]
    assert lines[3:] == [f"wrote {files[0]}", f"wrote {files[1]}", f"Fuse them with: hifred fuse {files[0]} {files[1]}"]
    for dataset, file in zip(reduce(path), files, strict=True):
        read = Dataset.read(file)
        np.testing.assert_array_equal(read.counts, dataset.counts)
        np.testing.assert_array_equal(read.mask, dataset.mask)
        assert read.provenance == dataset.provenance
    code, out, error = hifred("info", *files)
    assert (code, error) == (0, "")
    assert out.count("data set") == 2


def test_the_plan_is_found_from_anywhere_and_the_folder_is_made(hifred, plan, tmp_path, monkeypatch):
    plan(datasets=("resolve",))
    monkeypatch.chdir(tmp_path)
    code, out, error = hifred("reduce", "in/reduce.toml", "-o", "a/b", "-q")
    assert (code, error) == (0, "")
    assert out.splitlines()[0] == f"wrote {Path('a/b/resolve.fits')}"
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["resolve.fits"]


def test_what_was_reduced_can_be_fused(hifred, plan, tmp_path):
    assert hifred("reduce", plan(), "-o", "out", "-q")[0] == 0
    arguments = ["--prior", "unregularized", "--max-iterations", "2", "-o", "cube.fits", "-q"]
    code, _, error = hifred("fuse", "out/pn.fits", "out/resolve.fits", *arguments)
    assert (code in (0, 1), error.count("Traceback")) == (True, 0)
    assert (tmp_path / "cube.fits").exists()


def test_nothing_is_replaced_unasked(hifred, refused, plan, tmp_path):
    path = plan(datasets=("resolve",))
    (tmp_path / "in" / "resolve.fits").write_text("mine")
    refused(["reduce", path], "resolve.fits", "exists", "--overwrite")
    assert hifred("reduce", path, "--overwrite")[0] == 0
    assert Dataset.read(tmp_path / "in" / "resolve.fits").name == "resolve"


def test_an_input_is_never_replaced(refused, plan):
    path = plan(datasets=("pn",), pn={"name": "pn_events"})
    refused(["reduce", path, "--overwrite"], "pn_events.fits", "expected", "found that of an input")
    path = plan(datasets=("pn",), pn={"name": "psf"})
    refused(["reduce", path, "--overwrite"], "psf.fits", "found that of an input")


def test_the_second_of_two_fails_and_nothing_is_written(refused, plan, tmp_path):
    path = plan()
    (tmp_path / "in" / "resolve.arf").unlink()
    code_words = ("resolve.arf", "no such file")
    refused(["reduce", path, "-q"], *code_words)
    refused(["reduce", path, "-q", "-o", "new/folder"], *code_words)
    assert not (tmp_path / "new").exists()


def test_bad_input_is_one_line(refused, plan, tmp_path):
    refused(["reduce", "none.toml"], "none.toml", "No such file")
    path = plan(datasets=("pn",), pn={"bnad": [1, 2]})
    refused(["reduce", path], "reduce.toml [dataset pn]", "expected only the keys", "found bnad")
    refused(["reduce", path.with_name("pn.arf")], "pn.arf", "TOML")
    (tmp_path / "file").write_text("")
    refused(["reduce", plan(datasets=("pn",)), "-o", "file"], "--output file", "expected a directory")


def test_no_work_is_done_for_a_folder_that_cannot_be_made(refused, plan, tmp_path):
    path = plan(datasets=("pn",))
    (tmp_path / "file").write_text("")
    refused(["reduce", path, "-o", "file/x"], "file/x: expected a directory to write to, found a file")
    (tmp_path / "closed").mkdir(mode=0o555)
    refused(["reduce", path, "-o", "closed/x"], "closed/x: could not be made", "read-only")


def test_a_cube_beyond_the_memory_is_one_line(refused, plan):
    # More bytes than a process can address: no machine can promise them.
    path = plan(datasets=("pn",), grid=GRID | {"size": [10**7, 10**7]}, pn={"exposure_map": None})
    refused(["reduce", path, "-q"], "not enough memory (Unable to allocate", "need less")


def test_a_data_set_given_twice_is_refused(hifred, refused, plan):
    assert hifred("reduce", plan(datasets=("resolve",)), "-o", "out", "-q")[0] == 0
    refused(["fuse", "out/resolve.fits", "out/../out/resolve.fits"], "expected each data set once")
