import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from hifred import cli

HERE = Path(__file__).parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


broken = load(HERE / "broken_files.py")
observation = load(HERE / "data" / "observation.py")
h, b = broken.hdus, broken
DATASETS = {
    "cut short": (b.cut(0.7), ()),
    "with a flipped byte": (b.flipped(-2780), ("hecksum",)),
    "of other contents": (h(b.key(0, "CONTENT", "IMAGE")), ()),
    "of no kind of response": (h(b.key(0, "RECIPE", "MAGIC")), ("RECIPE", "MAGIC")),
    "without a kind of response": (h(b.key(0, "RECIPE")), ("RECIPE",)),
    "without counts": (h(b.no_extension("COUNTS")), ("COUNTS",)),
    "with negative counts": (h(b.pixel("COUNTS", (2, 3, 1), -1)), ("counts", "-1")),
    "with counts of another shape": (h(b.image("COUNTS", lambda data: data[:-1])), ("counts", "(28, 6, 6)")),
    "with background that is nan": (h(b.pixel("BACKGROUND", (0, 1, 2), float("nan"))), ("background", "nan")),
    "of nothing used": (h(b.image("MASK", lambda data: data * 0)), ("mask",)),
    "with a mask of another shape": (h(b.image("MASK", lambda data: data[:, :-1])), ("mask", "(29, 5, 6)")),
    "without pixels": (h(b.no_column("PIXELS", "VALUE")), ("[PIXELS]", "VALUE")),
    "with a pixel beyond the detector": (h(b.cell("PIXELS", "ROW", 4, 36)), ("[PIXELS]", "ROW", "found 36 in row 4")),
    "with a negative area": (h(b.cell("GATHER", "VALUE", 1, -1.0)), ("gather", "-1")),
    "with a probability that is nan": (h(b.cell("REDIST0", "VALUE", 1, float("nan"))), ("redistributions", "nan")),
    "with a redistribution too few": (h(b.key(0, "NREDIST", 2)), ("REDIST1",)),
    "with a redistribution too wide": (h(b.key("REDIST0", "MCOLS", 999)), ("redistributions",)),
    "with a number that is a text": (h(b.key(0, "NREDIST", "one")), ("NREDIST", "one")),
    "with channels out of order": (h(b.cell("EBOUNDS", "E_MIN", 5, 1.0)), ("channel_bounds", "increasing")),
    "with nodes that are not there": (h(b.image("NODES", lambda data: data + 7)), ("position", "0 to")),
    "with a PSF without a middle": (h(b.image("PSF", lambda data: data[..., 1:])), ("psf", "odd")),
    "with another grid": (h(b.key("ENERGIES", "NX", 21)), ("grid", "21")),
    "with energies out of order": (h(b.cell("ENERGIES", "ENERG_LO", 3, 9.0)), ("energy_edges",)),
    "with a provenance of no JSON": (h(lambda made: made["PROVENANCE"].data["JSON"].__setitem__(0, "{")), ("[PROVENANCE]", "JSON")),
    "with an exposure that is a text": (h(b.key(0, "EXPOSURE", "long")), ("EXPOSURE", "long")),
    "of no precision": (h(b.key(0, "PRECISIO", "half a byte")), ("PRECISIO", "half a byte")),
}  # fmt: skip
GRID = {"center": [350.868, 58.81], "size": [19, 20], "pixel_size": 20.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a whole observation, an instrument of one's own, and a data set; not to be written to."""
    from hifred.instruments.presets import instrument

    folder = tmp_path_factory.mktemp("made")
    observation.write_observation(folder)
    (folder / "own.toml").write_text(
        Path(instrument("xrism-resolve").path).read_text(encoding="utf-8"), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def dataset(made, tmp_path_factory):
    """A data set of XRISM Resolve, not to be written to."""
    from hifred.data.reduce import reduce

    folder = tmp_path_factory.mktemp("reduced")
    plan = made / "resolve.toml"
    plan.write_text(observation.toml(observation.changed(datasets=("resolve",), grid=GRID)), encoding="utf-8")
    (found,) = reduce(plan)
    found.write(folder / "resolve.fits")
    return folder / "resolve.fits"


@pytest.fixture
def fails(made, tmp_path, monkeypatch, capsys):
    """Run the command line, which must fail with one line that has these words, and leave nothing behind."""
    monkeypatch.chdir(tmp_path)

    def run(arguments, file, words):
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["hifred", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, error = capsys.readouterr()
        assert (ended.value.code, out) == (2, ""), error
        assert error.count("\n") == 1, error
        assert error.startswith("hifred: ")
        assert "Traceback" not in error
        found = any(word in error for word in ("found", "no such file"))
        assert "expected" in error, error
        assert found, error
        for word in (file, *words):
            assert word in error, error
        assert sorted(tmp_path.rglob("*")) == before

    return run


def plan_of(case):
    arguments = {"datasets": ("pn",), **case.plan}
    return observation.toml(observation.changed(**{**arguments, "grid": {**GRID, **case.plan.get("grid", {})}}))


@pytest.mark.parametrize("case", broken.INPUTS, ids=lambda case: case.name)
def test_a_broken_file_gives_one_line_and_no_output(case, made, tmp_path, fails):
    shutil.copytree(made, tmp_path / "in")
    plan = tmp_path / "in" / "plan.toml"
    plan.write_text(plan_of(case), encoding="utf-8")
    case.spoil(tmp_path / "in" / case.file)
    fails(["reduce", plan, "-q", "-o", tmp_path / "out"], case.file, case.words)


@pytest.mark.parametrize("name", DATASETS)
def test_a_broken_data_set_gives_one_line_and_no_output(name, dataset, tmp_path, fails):
    spoil, words = DATASETS[name]
    shutil.copy(dataset, tmp_path / "data.fits")
    spoil(tmp_path / "data.fits")
    fails(["info", "data.fits"], "data.fits", words)
    fails(["fuse", "data.fits", "-o", "cube.fits", "-q"], "data.fits", words)


def test_there_are_many():
    names = [*DATASETS, *(case.name for case in broken.INPUTS)]
    assert len(names) == len(set(names)) >= 60
