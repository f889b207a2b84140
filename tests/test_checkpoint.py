"""A run that is killed, interrupted or resumed; and files that are not checkpoints of it."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from astropy.io import fits

from hifred import CubeGrid, Dataset, FusedCube, Response, cli, fuse, priors
from hifred.fitsio import FileError

SHAPE = (12, 6, 7)
GRID = CubeGrid(0.5 + 0.01 * np.arange(13), SHAPE[1:])  # about the absorption edge of oxygen
RUNS = {
    "starlet-2d1d": priors.Starlet2D1D(),
    "low-rank": priors.LowRank(rank=2),
    "unregularized": priors.Unregularized(stop_at_noise=False),
    "doppler-sheets": priors.DopplerSheets(1.5, 0.01, templates=2, vmax=4000.0, velocity_step=2000.0),
}


def observe(seed=0) -> list[Dataset]:
    """Two data sets that disagree: no cube fits both to their noise, so that no run ends there."""
    ccd = Response.from_kernels(SHAPE, lsf=[1, 2, 3, 2, 1], rebin=(3, 1, 1))
    calorimeter = Response.from_kernels(SHAPE, psf=np.ones((3, 3)), rebin=(1, 3, 1))
    rng = np.random.default_rng(seed)
    sky = rng.gamma(1.0, 20.0, SHAPE)
    return [
        Dataset(np.zeros(response.out_shape), response, name=name, grid=GRID).sample(factor * sky, rng)
        for name, response, factor in (("ccd", ccd, 1), ("calorimeter", calorimeter, 4))
    ]


@pytest.fixture(scope="module")
def data():
    return observe()


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    paths = [folder / f"{dataset.name}.fits" for dataset in data]
    for dataset, path in zip(data, paths, strict=True):
        dataset.write(path)
    return paths


def state_of(path: Path) -> tuple[dict, dict]:
    """Header and arrays of a checkpoint; fails if anything in it is pickled."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("header").tobytes()), arrays


# A run of the command line, made slow enough to be killed in the middle.
SLOW = """
import sys, time
from hifred import cli
from hifred.solvers import driver
step = driver._step
def slow(*arguments):
    time.sleep(0.05)
    return step(*arguments)
driver._step = slow
sys.argv[0] = "hifred"
cli.main()
"""


def start(*arguments, cwd) -> subprocess.Popen:
    command = [sys.executable, "-c", SLOW, *map(str, arguments)]
    # Compiled as in this process, so that both runs round alike; what is killed must not leave half of a compiled file.
    environment = {
        **{name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"},
        "JAX_DISABLE_MOST_OPTIMIZATIONS": str(int(jax.config.read("jax_disable_most_optimizations"))),
    }
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip


def wait_for_iteration(number: int, path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        if path.exists() and state_of(path)[0]["history"][-1]["iteration"] >= number:
            return
        time.sleep(0.02)
    raise AssertionError(f"iteration {number} not reached in a minute")


def test_a_killed_run_ends_with_the_cube_of_an_uninterrupted_one(files, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    options = ["--prior", "unregularized", "--tolerance", 0, "--max-iterations", 40, "-q"]

    def run(*more):
        monkeypatch.setattr(sys, "argv", ["hifred", "fuse", *map(str, [*files, *options, *more])])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert exit_.value.code in (0, None)

    saving = ["--checkpoint", "c.npz", "--checkpoint-every", 0]
    process = start("fuse", *files, *options, *saving, "-o", "killed.fits", cwd=tmp_path)
    wait_for_iteration(5, tmp_path / "c.npz", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.fits").exists()
    reached = state_of(tmp_path / "c.npz")[0]["history"][-1]["iteration"]
    assert 5 <= reached < 40

    run("-o", "whole.fits")
    run("-o", "resumed.fits", *saving)
    whole, resumed = FusedCube.read("whole.fits"), FusedCube.read("resumed.fits")
    np.testing.assert_allclose(resumed.values, whole.values, rtol=1e-6, atol=1e-6 * whole.values.max())
    assert resumed.status == whole.status
    assert resumed.history.iteration.tolist() == whole.history.iteration.tolist()
    np.testing.assert_allclose(resumed.history.objective, whole.history.objective, rtol=1e-6)
    assert np.all(np.diff(resumed.history.time) >= 0)
    # A file that was being written when the process died may be left; nothing else may.
    left = {p.name for p in tmp_path.iterdir()} - {"c.npz", "whole.fits", "resumed.fits"}
    assert all(name.startswith(".c.npz.") for name in left)
    for name in ("whole.fits", "resumed.fits"):
        with fits.open(name, checksum=True) as hdus:
            hdus.verify("exception")


@pytest.mark.parametrize("prior", RUNS)
def test_a_run_in_parts_is_the_run_in_one(prior, data, tmp_path):
    path = tmp_path / "c.npz"
    whole = fuse(data, RUNS[prior], max_iterations=9, tolerance=0.0, progress=False)
    for end in (1, 4, 9):
        part = fuse(data, RUNS[prior], max_iterations=end, tolerance=0.0, progress=False, checkpoint=path)
        assert part.status == "max_iterations"
        assert part.history.iteration[-1] == end
    np.testing.assert_array_equal(part.values, whole.values)
    np.testing.assert_array_equal(part.history.objective, whole.history.objective)
    np.testing.assert_array_equal(part.history.cstat, whole.history.cstat)
    # A finished run is not run again.
    again = fuse(data, RUNS[prior], max_iterations=9, tolerance=0.0, progress=False, checkpoint=path)
    np.testing.assert_array_equal(again.values, whole.values)
    assert len(again.history) == 10


def test_a_checkpoint_is_plain_arrays_and_json(data, tmp_path):
    path = tmp_path / "punkt ☀.npz"
    fuse(data, RUNS["unregularized"], max_iterations=3, tolerance=0.0, progress=False, checkpoint=path)
    header, arrays = state_of(path)
    assert [record["iteration"] for record in header["history"]] == [0, 1, 2, 3]
    assert all(array.dtype.kind in "fi" for array in arrays.values())
    assert any(array.shape == SHAPE for array in arrays.values())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_checkpoint_is_written_as_often_as_asked(seconds, data, tmp_path, monkeypatch):
    from hifred.solvers import Checkpoint

    saved = []
    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda self, *a: (saved.append(len(a[0].history)), save(self, *a))[1])
    fuse(
        data, RUNS["unregularized"], 4, 0.0, progress=False, checkpoint=tmp_path / "c.npz", checkpoint_every=seconds
    )  # fmt: skip
    assert saved == ([2, 3, 4, 5, 5] if seconds == 0 else [5])


def test_ctrl_c_gives_the_best_cube_so_far(data, tmp_path, monkeypatch):
    from hifred import fusion

    class Impatient(fusion.ProgressBar):
        def __call__(self, record):
            if record.iteration == 3:
                signal.raise_signal(signal.SIGINT)

    path = tmp_path / "c.npz"
    prior = RUNS["unregularized"]
    with monkeypatch.context() as patch:
        patch.setattr(fusion, "ProgressBar", Impatient)
        cube = fuse(data, prior, 6, 0.0, progress=False, checkpoint=path, checkpoint_every=1e9)
    assert cube.status == "interrupted"
    assert "interrupted" in cube.message
    assert cube.history.iteration[-1] == 3
    assert cube.history.objective[-1] == cube.history.objective.min()
    shorter = fuse(data, prior, 3, 0.0, progress=False)
    np.testing.assert_array_equal(cube.values, shorter.values)
    # The checkpoint was saved, and the run goes on from it.
    resumed = fuse(data, prior, 6, 0.0, progress=False, checkpoint=path)
    np.testing.assert_array_equal(resumed.values, fuse(data, prior, 6, 0.0, progress=False).values)


def test_the_checkpoint_of_another_run_is_refused(data, tmp_path):
    path = tmp_path / "c.npz"
    fuse(data, RUNS["unregularized"], 2, 0.0, progress=False, checkpoint=path)
    content = path.read_bytes()
    background = [Dataset(d.counts, d.response, 1.0, name=d.name) for d in data]
    masks = [np.arange(d.counts.size).reshape(d.counts.shape) > 3 for d in data]
    masked = [Dataset(d.counts, d.response, mask=mask, name=d.name) for d, mask in zip(data, masks, strict=True)]
    blurred = Response.from_kernels(SHAPE, psf=np.ones((3, 5)), rebin=(1, 3, 1))
    others = {
        "other counts": (observe(seed=1), RUNS["unregularized"]),
        "other order": (data[::-1], RUNS["unregularized"]),
        "one less": (data[:1], RUNS["unregularized"]),
        "background": (background, RUNS["unregularized"]),
        "mask": (masked, RUNS["unregularized"]),
        "other kernel": ([data[0], Dataset(data[1].counts, blurred)], RUNS["unregularized"]),
        "other prior": (data, RUNS["starlet-2d1d"]),
    }
    for datasets, prior in others.values():
        with pytest.raises(FileError, match="expected a checkpoint of this run") as caught:
            fuse(datasets, prior, 2, 0.0, progress=False, checkpoint=path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content


def archive(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def text(value) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def damaged() -> dict:
    """Contents that are not a checkpoint, as functions of the bytes, header and arrays of a good one."""

    def flipped(good, header, arrays):
        content = bytearray(good)
        content[len(good) // 2] ^= 255
        return bytes(content)

    return {
        "empty": lambda good, header, arrays: b"",
        "text": lambda good, header, arrays: b"hello",
        "pickle": lambda good, header, arrays: pickle.dumps({"state": 1}),
        "half": lambda good, header, arrays: good[: len(good) // 2],
        "nearly whole": lambda good, header, arrays: good[:-1],
        "one byte changed": flipped,
        "single array": lambda good, header, arrays: archive(x=np.zeros(3)),
        "objects": lambda good, header, arrays: archive(header=text(header), **arrays | {"state_0": np.array([{}])}),
        "words": lambda good, header, arrays: archive(header=text(header), **arrays | {"state_0": np.array("word")}),
        "other shape": lambda good, header, arrays: archive(header=text(header), **arrays | {"state_0": np.zeros(3)}),
        "fewer arrays": lambda good, header, arrays: archive(header=text(header), state_0=arrays["state_0"]),
        "no JSON": lambda good, header, arrays: archive(header=np.frombuffer(b"{", np.uint8), **arrays),
        "no UTF-8": lambda good, header, arrays: archive(header=np.array([255, 254], np.uint8), **arrays),
        "list": lambda good, header, arrays: archive(header=text([]), **arrays),
        "no history": lambda good, header, arrays: archive(header=text(header | {"history": None}), **arrays),
        "empty history": lambda good, header, arrays: archive(header=text(header | {"history": []}), **arrays),
        "odd history": lambda good, header, arrays: archive(header=text(header | {"history": [{"x": 1}]}), **arrays),
    }


@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_checkpoint_is_refused_and_kept(kind, data, tmp_path):
    path = tmp_path / "c.npz"
    fuse(data, RUNS["unregularized"], 2, 0.0, progress=False, checkpoint=path)
    content = damaged()[kind](path.read_bytes(), *state_of(path))
    path.write_bytes(content)
    with pytest.raises(FileError, match="expected a checkpoint") as caught:
        fuse(data, RUNS["unregularized"], 4, 0.0, progress=False, checkpoint=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_a_bad_checkpoint_is_one_line_on_the_command_line(files, tmp_path, monkeypatch, capsys):
    path = tmp_path / "c.npz"
    path.write_bytes(b"PK\x03\x04 and so on")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hifred", "fuse", *map(str, files), "--checkpoint", str(path), "-q"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    out, error = capsys.readouterr()
    assert exit_.value.code == 2
    assert out == ""
    assert error.count("\n") == 1
    assert str(path) in error
    assert [p.name for p in tmp_path.iterdir()] == ["c.npz"]


def test_settings_that_were_chosen_are_not_chosen_again(data, tmp_path, monkeypatch):
    prior, path = priors.DopplerSheets(None, 0.01, templates=2, vmax=0.0), tmp_path / "run.npz"
    whole = fuse(data, prior, 30, progress=False)
    cut = fuse(data, prior, 30, progress=False, checkpoint=path, checkpoint_every=1e6)
    assert path.exists()
    header, _ = state_of(path)
    assert header["settings"]["found"]["prior"] == {"strength": cut.provenance["tuning"]["strength"]}

    def no_need(*args, **options):
        raise AssertionError("settings were chosen again")

    monkeypatch.setattr("hifred.fusion.tune", no_need)
    again = fuse(data, prior, 30, progress=False, checkpoint=path)
    np.testing.assert_array_equal(again.values, whole.values)
    assert again.provenance["tuning"] == whole.provenance["tuning"]
    assert (again.status, len(again.history)) == (whole.status, len(whole.history))
    with pytest.raises(AssertionError, match="chosen again"):
        fuse(data, prior, 29, progress=False, checkpoint=path)


def test_chosen_settings_are_kept_at_once(data, tmp_path, monkeypatch):
    """Not only after `checkpoint_every` seconds: to choose them took longer."""
    saves = []
    monkeypatch.setattr(
        "hifred.solvers.checkpoint.Checkpoint.save", lambda self, course: saves.append(len(course.history))
    )
    prior = priors.DopplerSheets(None, 0.01, templates=2, vmax=0.0)
    fuse(data, prior, 30, progress=False, checkpoint=tmp_path / "run.npz", checkpoint_every=1e6)
    assert saves[0] == 2, "the start and the first step"


def test_settings_that_are_damaged_are_said(data, tmp_path):
    prior, path = priors.DopplerSheets(None, 0.01, templates=2, vmax=0.0), tmp_path / "run.npz"
    fuse(data, prior, 5, progress=False, checkpoint=path)
    header, arrays = state_of(path)
    asked = header["settings"]
    for wrong in (3, {"asked": asked["asked"]}, asked | {"found": {"stopping": 4}}, asked | {"found": 5}):
        changed = np.frombuffer(json.dumps(header | {"settings": wrong}).encode(), np.uint8)
        np.savez(path, header=changed, **arrays)
        with pytest.raises(FileError, match=r"run.npz: expected a checkpoint"):
            fuse(data, prior, 5, progress=False, checkpoint=path)


@pytest.mark.parametrize("strength", [None, 1.5], ids=["with chosen settings", "without"])
def test_a_checkpoint_of_another_run_is_refused_before_settings_are_chosen(data, tmp_path, monkeypatch, strength):
    prior, path = priors.DopplerSheets(strength, 0.01, templates=2, vmax=0.0), tmp_path / "run.npz"
    fuse(data, prior, 5, progress=False, checkpoint=path)
    before = path.read_bytes()
    chosen = []
    monkeypatch.setattr("hifred.fusion.tune", lambda *args, **options: chosen.append(1))
    for datasets, other in ((observe(1), prior), (data, priors.LowRankSobolev())):
        with pytest.raises(FileError, match=r"run.npz: expected a checkpoint of this run"):
            fuse(datasets, other, 5, strength="auto", progress=False, checkpoint=path)
    assert not chosen
    assert path.read_bytes() == before
