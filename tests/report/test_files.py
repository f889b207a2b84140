import pytest

from hifred import Dataset, FusedCube
from hifred.fitsio import FileError, sha256
from hifred.report import report_files
from hifred.report.files import content_of_files


@pytest.fixture
def files(case, tmp_path):
    fused, datasets, truth = case()
    for entry, dataset in zip(fused.provenance["inputs"], datasets, strict=True):
        path = tmp_path / f"{dataset.name}.fits"
        dataset.write(path)
        entry |= {"file": str(path), "file_sha256": sha256(path)}
    fused.write(tmp_path / "fused.fits")
    sky = FusedCube(truth, "truth", "The sky that the data were drawn from.", fused.history[:0], fused.grid)
    sky.write(tmp_path / "truth.fits")
    return tmp_path


def test_a_report_from_files(files):
    output = files / "out.html"
    assert report_files(files / "fused.fits", files / "truth.fits", output) == [output]
    page = output.read_text(encoding="utf-8")
    assert "Fusion of camera and calorimeter" in page
    assert "error (NMSE)" in page
    assert "has changed" not in page


def test_files_that_moved_with_the_cube_are_found(files, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved")
    for path in list(files.glob("*.fits")):
        path.rename(moved / path.name)
    assert [dataset.name for dataset in content_of_files(moved / "fused.fits").datasets] == ["camera", "calorimeter"]


def test_a_missing_file_is_named(files):
    (files / "camera.fits").unlink()
    with pytest.raises(FileError, match=r"camera\.fits: no such file, but .*fused\.fits was made from it"):
        report_files(files / "fused.fits", None, files / "out.html")
    assert not (files / "out.html").exists()


def test_a_cube_that_names_no_files_needs_them_given(files):
    fused = FusedCube.read(files / "fused.fits")
    for entry in fused.provenance["inputs"]:
        del entry["file"]
    fused.write(files / "bare.fits")
    with pytest.raises(FileError, match="camera, calorimeter"):
        content_of_files(files / "bare.fits")
    data = [files / "camera.fits", files / "calorimeter.fits"]
    assert len(content_of_files(files / "bare.fits", datasets=data).datasets) == 2


def test_a_file_that_changed_is_said(files):
    dataset = Dataset.read(files / "camera.fits")
    new = Dataset(dataset.counts + 1, dataset.response, dataset.background, name="camera", grid=dataset.grid)
    new.write(files / "camera.fits", overwrite=True)
    assert "camera.fits has changed since the fusion" in content_of_files(files / "fused.fits").notes[0]
