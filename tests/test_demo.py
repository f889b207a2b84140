import time

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from hifred import Dataset, FusedCube, cli, demo


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One run of the demonstration: folder, output and seconds."""
    folder = tmp_path_factory.mktemp("demo") / "a new" / "folder"
    began = time.perf_counter()
    result = CliRunner().invoke(cli.app, ["demo", "-o", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    return folder, result.output, time.perf_counter() - began


def test_it_names_every_file_it_wrote(shown):
    folder, output, seconds = shown
    written = sorted(folder.iterdir())
    assert len(written) == 4
    for path in written:
        assert str(path) in output
    assert seconds < 25


def test_its_files_can_be_read(shown):
    folder, _, _ = shown
    datasets = [Dataset.read(folder / name) for name in ("ccd.fits", "calorimeter.fits")]
    cube = FusedCube.read(folder / "fused.fits")
    assert cube.status == "converged"
    assert [entry["name"] for entry in cube.provenance["inputs"]] == ["ccd", "calorimeter"]
    assert cube.values.shape == datasets[0].response.in_shape == datasets[1].response.in_shape
    assert cube.values.min() >= 0
    for dataset in datasets:
        assert dataset.counts.sum() > 1e5
        mean, _ = dataset.expected_cstat(cube.values)
        # The demonstration shows a fit that is close to the data, if not to their noise.
        assert dataset.cstat(cube.values) < 1.5 * mean


def test_its_picture_is_not_blank(shown):
    folder, _, _ = shown
    picture = imread(folder / "fused.png")[..., :3]
    assert picture.shape[0] > 300
    assert picture.shape[1] > 300
    assert np.isfinite(picture).all()
    # Each panel: the upper four and the lower half hold many different colours.
    upper, lower = np.array_split(picture, 2)
    for panel in [*np.array_split(upper, 4, axis=1), lower]:
        colours = np.unique((panel * 255).astype(int).reshape(-1, 3), axis=0)
        assert len(colours) > 50


def test_the_fused_cube_is_nearer_the_truth_than_any_flat_guess(shown):
    folder, _, _ = shown
    sky = demo.observe()[0]
    cube = FusedCube.read(folder / "fused.fits")
    flat = np.full_like(sky, sky.mean())
    assert np.linalg.norm(cube.values - sky) < 0.5 * np.linalg.norm(flat - sky)
    assert cube.values.sum() == pytest.approx(sky.sum(), rel=0.05)


def test_it_can_be_run_again_in_the_same_folder(shown, monkeypatch):
    folder, _, _ = shown
    monkeypatch.setattr(demo, "fuse", lambda datasets, *a, **k: FusedCube.read(folder / "fused.fits"))
    before = (folder / "ccd.fits").read_bytes()
    demo.run(folder)
    assert Dataset.read(folder / "ccd.fits").counts.sum() == Dataset.read(folder / "ccd.fits").counts.sum()
    assert len(before) == len((folder / "ccd.fits").read_bytes())
    assert len(list(folder.iterdir())) == 4


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "demo").write_text("x")
    monkeypatch.setattr("sys.argv", ["hifred", "demo", "-o", str(tmp_path / "demo")])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.count("\n") == 1
    assert str(tmp_path / "demo") in error
