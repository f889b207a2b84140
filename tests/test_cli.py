import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from hifred import CubeGrid, Dataset, FusedCube, Response, cli
from hifred.cli.choices import prior_named
from hifred.solvers import driver

SHAPE = (24, 8, 9)
PRIORS = (
    "doppler-sheets",
    "low-rank-sobolev",
    "low-rank-starlet",
    "starlet-2d1d",
    "guided-smoothness",
    "denoiser",
    "low-rank",
    "unregularized",
)


def observe(folder: Path, energies=(1.0, 2.0)) -> tuple[Path, Path]:
    """Two files of one sky: sharp in space, and sharp in energy."""
    grid = CubeGrid(np.linspace(*energies, SHAPE[0] + 1), SHAPE[1:], pixel_size=4.0, center=(83.6, 22.0))
    ccd = Response.from_kernels(SHAPE, lsf=[1, 2, 3, 2, 1], area=np.full(SHAPE[0], 1e4), rebin=(4, 1, 1))
    calorimeter = Response.from_kernels(SHAPE, psf=np.ones((3, 5)), area=np.full(SHAPE[0], 1e4), rebin=(1, 4, 3))
    sky = np.random.default_rng(0).gamma(2.0, 3e-4, SHAPE)
    paths = []
    for name, response in (("ccd", ccd), ("calorimeter", calorimeter)):
        blank = Dataset(np.zeros(response.out_shape), response, background=0.5, name=name, grid=grid)
        paths.append(folder / f"{name}.fits")
        blank.sample(sky, seed=1).write(paths[-1])
    return paths[0], paths[1]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return observe(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def cube(good, tmp_path_factory):
    path = tmp_path_factory.mktemp("cube") / "fused.fits"
    result = CliRunner().invoke(
        cli.app,
        ["fuse", *map(str, good), "-o", str(path), "--prior", "unregularized", "--max-iterations", "3", "-q"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    return path


@pytest.fixture
def hifred(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty directory; gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hifred", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(hifred, tmp_path):
    """Run it with bad input: one line on standard error with the given words, exit code 2, and nothing written."""

    def run(arguments, *words):
        before = listing(tmp_path)
        code, out, error = hifred(*arguments)
        assert code == 2
        assert out == ""
        assert error.startswith("hifred: ")
        assert error.endswith("\n")
        assert error.count("\n") == 1, error
        for word in words:
            assert str(word) in error
        assert listing(tmp_path) == before

    return run


def broken(source: Path, target: Path, change) -> Path:
    """Copy a FITS file with a change made to its HDUs, checksums made anew."""
    with fits.open(source, memmap=False) as whole:
        hdus = fits.HDUList([hdu.copy() for hdu in whole])
        change(hdus)
        hdus.writeto(target, checksum=True)
    return target


def values(extension, function):
    """Change of the array of an extension."""

    def change(hdus):
        hdus[extension].data = function(hdus[extension].data)

    return change


def at_first(value):
    def function(array):
        array = array.astype(np.float32)
        array.flat[0] = value
        return array

    return function


def without(*extensions):
    def change(hdus):
        for extension in extensions:
            del hdus[extension]

    return change


def keyword(extension, name, value=None):
    """Set a keyword, or remove it."""

    def change(hdus):
        if value is None:
            del hdus[extension].header[name]
        else:
            hdus[extension].header[name] = value

    return change


def column(name):
    def change(hdus):
        table = hdus["ENERGIES"]
        columns = [c for c in table.columns if c.name != name]
        hdus["ENERGIES"] = fits.BinTableHDU.from_columns(fits.ColDefs(columns), header=None, name="ENERGIES")
        for key in ("PIXSIZE", "NY", "NX"):
            hdus["ENERGIES"].header[key] = table.header[key]

    return change


BAD_FILES = {
    "negative counts": (values("COUNTS", at_first(-1)), ["counts", "at least 0", "-1"]),
    "nan counts": (values("COUNTS", at_first(np.nan)), ["counts", "finite", "1 that are nan"]),
    "infinite counts": (values("COUNTS", at_first(np.inf)), ["counts", "finite", "1 that are nan or infinite"]),
    "counts that do not fit": (values("COUNTS", lambda a: a[:, :-1]), ["counts", "(6, 8, 9)", "(6, 7, 9)"]),
    "counts with two axes": (values("COUNTS", lambda a: a[0]), ["counts", "(6, 8, 9)", "(8, 9)"]),
    "negative background": (values("BACKGROUND", at_first(-2)), ["background", "at least 0", "-2"]),
    "background that does not fit": (values("BACKGROUND", lambda a: a[1:4]), ["background", "(6, 8, 9)", "(3, 8, 9)"]),
    "mask that does not fit": (values("MASK", lambda a: a[:, :, 1:]), ["mask", "(6, 8, 9)", "(6, 8, 8)"]),
    "mask of nothing": (values("MASK", np.zeros_like), ["mask", "none"]),
    "even kernel": (values("LSF", lambda a: a[1:]), ["lsf", "odd", "4"]),
    "kernel that sums to zero": (values("LSF", np.zeros_like), ["lsf", "sums to zero"]),
    "negative kernel": (values("LSF", at_first(-1)), ["lsf", "at least 0", "-1"]),
    "nan kernel": (values("LSF", at_first(np.nan)), ["lsf", "finite", "nan"]),
    "area that does not fit": (values("AREA", lambda a: a[1:]), ["area", "(24,)", "(23,)"]),
    "area of zero": (values("AREA", np.zeros_like), ["area", "zero everywhere"]),
    "no counts": (without("COUNTS"), ["COUNTS"]),
    "no mask": (without("MASK"), ["MASK"]),
    "no kernel": (without("LSF"), ["LSF"]),
    "no area": (without("AREA"), ["AREA"]),
    "no background": (without("BACKGROUND"), ["BACKGROUND"]),
    "no energies": (without("ENERGIES"), ["ENERGIES"]),
    "no shape": (keyword(0, "NY"), ["NY"]),
    "no content": (keyword(0, "CONTENT"), ["CONTENT", "HIFRED DATASET"]),
    "other content": (keyword(0, "CONTENT", "SOUP"), ["CONTENT", "HIFRED DATASET", "SOUP"]),
    "no name": (keyword(0, "INSTRUME"), ["INSTRUME"]),
    "no boundary": (keyword(0, "BOUNDARY"), ["BOUNDARY"]),
    "unknown boundary": (keyword(0, "BOUNDARY", "wrap"), ["boundary", "zero, reflect", "wrap"]),
    "rebinning that does not divide": (keyword(0, "REBIN_E", 5), ["rebin", "24", "energy", "5"]),
    "rebinning by words": (keyword(0, "REBIN_E", "four"), ["four"]),
    "negative shape": (keyword(0, "NENERGY", -24), ["positive", "-24"]),
    "shape in words": (keyword(0, "NENERGY", "many"), ["many"]),
    "unknown precision": (keyword(0, "PRECISIO", "float31"), ["float31"]),
    "precision of integers": (keyword(0, "PRECISIO", "int32"), ["int32"]),
    "double precision in single mode": (keyword(0, "PRECISIO", "float64"), ["float64", "x64"]),
    "no energy column": (column("ENERG_LO"), ["ENERGIES", "ENERG_LO"]),
    "energies that do not fit": (values("ENERGIES", lambda a: a[:-1]), ["grid", "(24, 8, 9)", "(23, 8, 9)"]),
    "energies that fall": (values("ENERGIES", lambda a: a[::-1].copy()), ["energy_edges", "increasing"]),
    "half a centre": (keyword("ENERGIES", "DEC_CEN"), ["ENERGIES", "DEC_CEN"]),
    "no pixel size": (keyword("ENERGIES", "PIXSIZE"), ["ENERGIES", "PIXSIZE"]),
    "negative pixel size": (keyword("ENERGIES", "PIXSIZE", -4.0), ["pixel_size", "-4"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_dataset_is_refused_in_one_line_that_names_it(case, good, refused, tmp_path):
    change, words = BAD_FILES[case]
    path = broken(good[0], tmp_path / "bad one.fits", change)
    refused(["fuse", path, good[1], "-o", tmp_path / "out.fits"], path, *words)


@pytest.mark.parametrize("verb", ["fuse", "info"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(5000), b"SIMPLE  = ", bytes(2880 * 3)])
def test_a_file_that_is_not_fits_is_refused(verb, content, refused, tmp_path):
    path = tmp_path / "notes.fits"
    path.write_bytes(content)
    refused([verb, path], path, "FITS")


@pytest.mark.parametrize("which", [0, 1])
def test_a_truncated_file_is_refused_wherever_it_ends(which, good, refused, tmp_path):
    whole = good[which].read_bytes()
    assert len(whole) % 2880 == 0
    path = tmp_path / "cut.fits"
    # Ends of blocks, ends of headers and arrays among them, and points between.
    ends = [*range(2880, len(whole), 2880), 1, 80, 1000, 4000, len(whole) // 2, len(whole) - 100, len(whole) - 1]
    for end in ends:
        path.write_bytes(whole[:end])
        refused(["fuse", path, good[1 - which], "-o", tmp_path / "out.fits"], path)


def test_a_changed_byte_is_noticed(good, refused, tmp_path):
    whole = bytearray(good[0].read_bytes())
    with fits.open(good[0]) as hdus:
        at = hdus["COUNTS"].fileinfo()["datLoc"] + 7
    whole[at] ^= 1
    path = tmp_path / "changed.fits"
    path.write_bytes(whole)
    refused(["info", path], path, "COUNTS", "hecksum")


def test_data_without_overlap_in_energy_are_refused(good, refused, tmp_path):
    def higher(table):
        table = table.copy()
        for name in ("ENERG_LO", "ENERG_HI"):
            table[name] += 5
        return table

    other = broken(good[1], tmp_path / "hard.fits", values("ENERGIES", higher))
    refused(["fuse", good[0], other], "no overlap in energy", "ccd", "calorimeter", "1 to 2 keV", "6 to 7 keV")


def test_data_on_other_grids_are_refused(good, refused, tmp_path):
    def shifted(table):
        table = table.copy()
        for name in ("ENERG_LO", "ENERG_HI"):
            table[name] += 0.2
        return table

    changes = {
        "energy bins": values("ENERGIES", shifted),
        "4 arcsec, calorimeter of 8": keyword("ENERGIES", "PIXSIZE", 8.0),
        "360 arcsec apart": keyword("ENERGIES", "DEC_CEN", 22.1),
    }
    for number, (word, change) in enumerate(changes.items()):
        other = broken(good[1], tmp_path / f"{number}.fits", change)
        refused(["fuse", good[0], other], "the grids differ", "ccd", "calorimeter", word)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prior", "magic"], ["--prior", "magic", *PRIORS]),
        (["--prior", "unregularized", "--rank", "3"], ["--rank", "unregularized"]),
        (["--prior", "starlet-2d1d", "--rank", "3"], ["--rank", "starlet-2d1d"]),
        (["--prior", "low-rank", "--strength", "1"], ["--strength", "low-rank"]),
        (["--prior", "low-rank", "--rank", "0"], ["rank", "at least 1", "0"]),
        (["--prior", "low-rank", "--rank=-3"], ["rank", "at least 1", "-3"]),
        (["--prior", "low-rank", "--rank", "1000"], ["rank", "at most", "1000"]),
        (["--strength=-1"], ["strength", "expected 0 to", "-1"]),
        (["--strength", "nan"], ["strength", "nan"]),
        (["--folds", "7"], ["folds", "1 to 6", "7"]),
        (["--prior", "low-rank-sobolev", "--folds", "2"], ["folds", "no setting is chosen", "2"]),
        (["--strength", "inf"], ["strength", "inf"]),
        (["--tolerance", "1"], ["tolerance", "below 1", "1.0"]),
        (["--tolerance=-1e-3"], ["tolerance", "at least 0", "-0.001"]),
        (["--tolerance", "nan"], ["tolerance", "nan"]),
        (["--max-iterations", "0"], ["max_iterations", "at least 1", "0"]),
        (["--checkpoint", "missing/c.npz"], ["missing", "does not exist"]),
        (["--checkpoint", "."], ["directory"]),
        (["--checkpoint", "c.npz", "--checkpoint-every=-1"], ["checkpoint_every", "-1"]),
        (["--checkpoint", "c.npz", "--checkpoint-every", "nan"], ["checkpoint_every", "nan"]),
        (["--checkpoint", "fused.fits"], ["--checkpoint", "fused.fits"]),
    ],
)
def test_a_bad_option_is_refused(options, words, good, refused):
    refused(["fuse", *good, *options], *words)


@pytest.mark.parametrize(
    "arguments", [["fuse"], ["soup"], ["fuse", "x.fits", "--rank", "two"], ["fuse", "x.fits", "--soup"], ["info"]]
)
def test_a_wrong_call_has_exit_code_2_and_says_why(arguments, hifred, tmp_path):
    code, out, error = hifred(*arguments)
    assert code == 2
    assert out == ""
    assert re.search("Missing argument|No such command|Invalid value|No such option", error)
    assert listing(tmp_path) == {}


def test_a_missing_input_is_refused(good, refused, tmp_path):
    refused(["fuse", good[0], tmp_path / "absent.fits"], tmp_path / "absent.fits", "no such file")
    refused(["info", tmp_path / "absent.fits", good[0]], tmp_path / "absent.fits", "no such file")
    for verb in ("fuse", "info"):
        refused([verb, tmp_path], tmp_path, "directory")


def test_a_cube_is_not_a_dataset(cube, good, refused):
    refused(["fuse", cube, good[1]], cube, "CONTENT", "HIFRED DATASET", "HIFRED CUBE")


def test_an_existing_output_is_kept_without_overwrite(good, refused, hifred, tmp_path):
    output = tmp_path / "out.fits"
    output.write_text("precious")
    refused(["fuse", *good, "-o", output], output, "exists", "--overwrite")
    fast = ["--prior", "unregularized", "--max-iterations", 3, "-q"]
    code, out, error = hifred("fuse", *good, "-o", output, "--overwrite", *fast)
    assert (code, error) == (0, "")
    assert str(output) in out
    assert FusedCube.read(output).status in out
    assert [p.name for p in tmp_path.iterdir()] == ["out.fits"]


def test_what_is_not_a_file_is_not_replaced_by_one(good, refused, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(["fuse", *good, "-o", pipe, "--overwrite", "--prior", "unregularized", "-q"], pipe)
    assert pipe.is_fifo()


def test_a_run_that_diverged_is_not_a_success(good, hifred, tmp_path, monkeypatch):
    usual = driver._step

    def fails(*arguments):
        state = usual(*arguments)
        return eqx.tree_at(lambda s: s.progress.penalty, state, state.progress.penalty + np.nan)

    monkeypatch.setattr(driver, "_step", fails)
    code, out, _ = hifred("fuse", *good, "--prior", "unregularized", "-q")
    assert code == 1
    assert "diverged after 0 iterations" in out
    assert (tmp_path / "fused.fits").exists(), "the cube is the last one before"


def test_warnings_are_shown_though_the_run_fails(good, hifred, monkeypatch):
    def run(*arguments, **options):
        warnings.warn("the best one is the lowest", UserWarning, stacklevel=2)
        raise ValueError("and then this")

    monkeypatch.setattr("hifred.fusion.fuse", run)
    code, _, error = hifred("fuse", *good, "-q")
    assert code == 2
    assert error == "hifred: the best one is the lowest\nhifred: and then this\n"


def test_counts_that_no_sky_can_explain_are_refused(hifred, tmp_path):
    # Counts where nothing can be expected: the likelihood of every cube is zero.
    response = Response.from_kernels((4, 3, 2), area=[0, 1, 1, 1])
    Dataset(np.ones((4, 3, 2)), response, name="blind").write(tmp_path / "blind.fits")
    code, _, error = hifred("fuse", "blind.fits", "--prior", "unregularized", "-q")
    assert code not in (0, None)
    assert "blind" in error


def test_an_input_is_never_the_output(good, refused, tmp_path):
    mine = tmp_path / "mine.fits"
    shutil.copy(good[0], mine)
    refused(["fuse", mine, good[1], "-o", mine, "--overwrite"], mine, "input")


def test_a_bad_place_for_the_output_is_refused(good, refused, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    try:
        refused(["fuse", *good, "-o", locked / "out.fits"], locked / "out.fits", "read-only")
        refused(["fuse", *good, "--checkpoint", locked / "c.npz"], locked / "c.npz", "read-only")
    finally:
        locked.chmod(0o755)
    refused(["fuse", *good, "-o", locked], locked, "directory")
    refused(["fuse", *good, "-o", tmp_path / "absent" / "out.fits"], tmp_path / "absent", "does not exist")


def test_help_of_each_verb_has_an_example(hifred):
    code, out, error = hifred("--help")
    assert (code, error) == (0, "")
    verbs = [command.callback.__name__ for command in cli.app.registered_commands if command.callback]
    assert {"fuse", "info", "demo"} <= set(verbs)
    for verb in verbs:
        assert verb in out
        code, text, error = hifred(verb, "--help")
        assert (code, error) == (0, "")
        assert re.search(rf"Example: `?hifred {verb}", text)


def test_info_describes_data_and_cube(hifred, good, cube):
    code, out, error = hifred("info", *good, cube)
    assert (code, error) == (0, "")
    first, second, third = out.splitlines()
    data = Dataset.read(good[0])
    assert str(good[0]) in first
    for word in ("'ccd'", f"{data.counts.sum():.8g} counts", "6 channels x 8 x 9 pixels", "1 to 2 keV", "(24, 8, 9)"):
        assert word in first
    assert "'calorimeter'" in second
    assert str(cube) in third
    for word in ("(24, 8, 9)", FusedCube.read(cube).status, "Unregularized", "ccd, calorimeter"):
        assert word in third


def test_info_describes_data_without_energies(hifred, tmp_path):
    response = Response.from_kernels((4, 3, 2))
    Dataset(np.ones((4, 3, 2)), response, name="plain").write(tmp_path / "plain.fits")
    code, out, _ = hifred("info", tmp_path / "plain.fits")
    assert code == 0
    assert "keV" not in out
    assert "24 counts" in out


@pytest.mark.parametrize("prior", PRIORS)
def test_each_prior_has_its_name(prior):
    made = prior_named(prior, strength=None, rank=None)
    assert type(made).__name__.lower() == prior.replace("-", "")


def test_the_cube_names_the_files_it_came_from(cube, good):
    from hifred.fitsio import sha256

    provenance = FusedCube.read(cube).provenance
    assert [entry["file"] for entry in provenance["inputs"]] == [str(path) for path in good]
    assert [entry["file_sha256"] for entry in provenance["inputs"]] == [sha256(path) for path in good]


@pytest.mark.parametrize("lost", [True, False])
def test_a_file_that_changes_during_the_run_is_named_as_it_was_read(hifred, good, tmp_path, monkeypatch, lost):
    from hifred import fusion
    from hifred.fitsio import sha256

    data = tmp_path / "data.fits"
    shutil.copy(good[0], data)
    before, usual = sha256(data), fusion.fuse

    def run(*arguments, **options):
        data.unlink()
        if not lost:
            shutil.copy(good[1], data)
        return usual(*arguments, **options)

    monkeypatch.setattr(fusion, "fuse", run)
    code, _, _ = hifred("fuse", data, "-o", "fused.fits", "--prior", "unregularized", "--max-iterations", 2, "-q")
    assert code == 0
    assert FusedCube.read(tmp_path / "fused.fits").provenance["inputs"][0]["file_sha256"] == before


def test_names_with_spaces_and_unicode(hifred, good, tmp_path):
    folder = tmp_path / "Überrest von 1572 ★"
    folder.mkdir()
    data = folder / "bild eins.fits"
    shutil.copy(good[0], data)
    output = folder / "ergebnis ☀.fits"
    code, out, _ = hifred("fuse", data, "-o", output, "--prior", "unregularized", "--max-iterations", 2, "-q")
    assert code == 0
    assert str(output) in out
    assert FusedCube.read(output).provenance["inputs"][0]["file"] == str(data)


def script(*arguments, cwd, **keywords):
    """The console script, in a process of its own."""
    command = [Path(sys.executable).with_name("hifred"), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "40", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}, **keywords,
    )  # fmt: skip


def test_the_console_script_refuses_in_one_line(good, tmp_path):
    path = tmp_path / "a rather long name that a narrow terminal would break into lines.fits"
    path.write_bytes(good[0].read_bytes()[:9000])
    process = script("fuse", path, good[1], "-o", "out.fits", cwd=tmp_path)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert error.count("\n") == 1
    assert str(path) in error
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_ctrl_c_saves_the_best_cube_so_far(good, tmp_path):
    process = script(
        "fuse", *good, "-o", "out.fits", "--prior", "low-rank", "--rank", "2", "--tolerance", "0",
        "--max-iterations", "100000000", "--checkpoint", "c.npz", "--checkpoint-every", "0", cwd=tmp_path,
    )  # fmt: skip
    wait_for(tmp_path / "c.npz", process)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted" in out
    assert "Traceback" not in error
    cube = FusedCube.read(tmp_path / "out.fits")
    assert cube.status == "interrupted"
    assert cube.history.objective[-1] == pytest.approx(cube.history.objective.min(), rel=1e-6)
    assert cube.values.min() >= 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.npz", "out.fits"]


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a process has written a file."""
    import time

    for _ in range(600):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert process.poll() is None
    assert path.exists()
