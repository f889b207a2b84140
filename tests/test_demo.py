import re

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from hifred import Dataset, FusedCube, cli, demo, metrics

FITS = ("truth.fits", "truth_maps.fits", "xmm.fits", "xrism.fits", "fused.fits")
PICTURES = (
    "overview.png", "velocity.png", "motion.png", "residuals.png", "angles.png", "course.png", "thinning.png",
)  # fmt: skip


def demonstrate(folder):
    arguments = ["demo", "--scene", "tiny", "-q", "-o", str(folder)]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One run of the demonstration, in a folder with files of an earlier one and of others: folder and output."""
    folder = tmp_path_factory.mktemp("demo") / "a folder"
    folder.mkdir()
    for name in (FITS[0], PICTURES[0], "report.html", "notes.txt"):
        (folder / name).write_text("mine")
    return folder, demonstrate(folder)


def test_it_names_every_file_it_wrote_and_ends_with_how_to_open_the_page(shown):
    folder, output = shown
    written = [*FITS, *PICTURES, "report.html"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*written, "notes.txt"])
    assert (folder / "notes.txt").read_text() == "mine"
    for name in written:
        assert f"wrote {folder / name}\n" in output
        assert (folder / name).stat().st_size > 1000, "it takes the place of an earlier one"
    assert output.splitlines()[-1].endswith((folder / "report.html").as_uri())


def test_its_files_can_be_read(shown):
    folder, _ = shown
    datasets = [Dataset.read(folder / f"{name}.fits") for name in ("xmm", "xrism")]
    cube = FusedCube.read(folder / "fused.fits")
    assert cube.status == "tuned"
    assert [entry["file"] for entry in cube.provenance["inputs"]] == ["xmm.fits", "xrism.fits"]
    for dataset in datasets:
        mean, _ = dataset.expected_cstat(cube.values)
        # The demonstration shows a fit that is close to the data, if not to their noise.
        assert dataset.cstat(cube.values) < 1.5 * mean


def test_the_fused_cube_is_near_the_truth(shown):
    folder, _ = shown
    cube, truth = (FusedCube.read(folder / name).values for name in ("fused.fits", "truth.fits"))
    assert metrics.nmse(cube, truth) < -12
    assert metrics.flux_per_pixel(cube, truth) < 0.1


def test_its_page_is_one_file_that_loads_nothing(shown):
    folder, _ = shown
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 15e6
    assert "tiny, simulated and fused" in page
    assert not re.search(r"<script[^>]*\bsrc\b|<link", re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL))


@pytest.mark.parametrize("name", PICTURES)
def test_its_pictures_are_not_blank(shown, name):
    picture = imread(shown[0] / name)[..., :3]
    assert min(picture.shape[:2]) > 300
    assert picture.std() > 0.05


def test_the_report_of_its_files_can_be_made_again(shown, tmp_path):
    folder, _ = shown
    page = tmp_path / "again.html"
    arguments = ["report", str(folder / "fused.fits"), "--truth", str(folder / "truth.fits"), "-o", str(page)]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert (result.exit_code, result.output) == (0, f"wrote {page}\n")


def test_a_new_folder_is_made_and_keeps_the_data_where_the_fit_is_interrupted(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "fuse", interrupted)
    folder = tmp_path / "a new" / "folder"
    with pytest.raises(KeyboardInterrupt):
        demo.run(folder, "tiny", progress=False)
    assert sorted(path.name for path in folder.iterdir()) == sorted(set(FITS) - {"fused.fits"})


@pytest.mark.parametrize(
    ("arguments", "words"), [(["-o", "taken"], ["taken", "directory"]), (["--scene", "x"], ["'x'"])]
)
def test_bad_input_is_refused_before_anything_is_written(arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["hifred", "demo", *arguments])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
