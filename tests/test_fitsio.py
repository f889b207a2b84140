import gzip
import os
import stat

import numpy as np
import pytest
from astropy.io import fits

from hifred import fitsio
from hifred.fitsio import FileError, FitsFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.fits"
    primary = fits.PrimaryHDU()
    primary.header["ANSWER"] = 42
    image = fits.ImageHDU(np.arange(6000, dtype=np.float32), name="IMAGE")
    fitsio.write(path, [primary, image, fits.ImageHDU(name="EMPTY")], overwrite=False)
    return path


def test_what_is_there_is_found(path):
    file = FitsFile(path)
    assert file.key(0, "ANSWER") == 42
    assert file.data("IMAGE").sum() == np.arange(6000).sum()
    assert "IMAGE" in file
    assert "SOUP" not in file


def test_what_is_missing_is_named(path):
    file = FitsFile(path)
    for call, words in [
        (lambda: file.data("SOUP"), ["SOUP", "PRIMARY", "IMAGE"]),
        (lambda: file.header("SOUP"), ["SOUP"]),
        (lambda: file.key("IMAGE", "NOKEY"), ["[IMAGE]", "NOKEY"]),
        (lambda: file.data("EMPTY"), ["[EMPTY]"]),
        (lambda: FitsFile(path.parent / "absent.fits"), ["absent.fits", "no such file"]),
        (lambda: FitsFile(path.parent), ["directory"]),
    ]:
        with pytest.raises(FileError) as caught:
            call()
        assert str(path.parent) in str(caught.value)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_the_file_is_closed_after_reading(path):
    FitsFile(path)
    for content in (path.read_bytes()[:4000], b"not FITS"):
        path.write_bytes(content)
        with pytest.raises(FileError):
            FitsFile(path)
    open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert str(path) not in open_files


def test_every_changed_byte_of_the_data_is_noticed(path):
    whole = path.read_bytes()
    with fits.open(path) as hdus:
        first = hdus["IMAGE"].fileinfo()["datLoc"]
    for at in (first, first + 12345, first + 23999):
        spoilt = bytearray(whole)
        spoilt[at] ^= 4
        path.write_bytes(spoilt)
        with pytest.raises(FileError, match="hecksum"):
            FitsFile(path)


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert fitsio.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path):
    before = path.read_bytes()

    def fail(error):
        with fitsio.replacing(path) as part:
            part.write_text("half")
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            fail(error)
        assert path.read_bytes() == before
    with pytest.raises(TypeError):
        fitsio.write(path, [fits.PrimaryHDU(), "no HDU"], overwrite=True)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_an_error_that_names_the_file(path, monkeypatch):
    def full(self, stream, **options):
        stream.write(b"SIMPLE")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(FileError, match="No space left") as caught:
        fitsio.write(path, [fits.PrimaryHDU()], overwrite=True)
    assert str(path) in str(caught.value)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_of_any_new_file(mask, tmp_path):
    before = os.umask(mask)
    try:
        fitsio.write(tmp_path / "file.fits", [fits.PrimaryHDU()], overwrite=False)
    finally:
        assert os.umask(before) == mask
    assert stat.S_IMODE((tmp_path / "file.fits").stat().st_mode) == 0o666 & ~mask


def test_a_relative_path_and_a_link_are_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitsio.write("file.fits", [fits.PrimaryHDU()], overwrite=False)
    assert (tmp_path / "file.fits").exists()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    fitsio.write("link/file.fits", [fits.PrimaryHDU()], overwrite=False)
    assert (tmp_path / "folder" / "file.fits").exists()


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "there").write_text("x")
    (tmp_path / "locked").mkdir(mode=0o555)
    for name, overwrite, word in [
        ("there", False, "exists"),
        (".", True, "directory"),
        ("absent/file", False, "does not exist"),
        ("there/file", False, "there"),
        ("locked/file", False, "read-only"),
    ]:
        with pytest.raises(FileError, match=word):
            fitsio.require_writable(tmp_path / name, overwrite=overwrite)
    assert fitsio.require_writable(tmp_path / "there", overwrite=True) == tmp_path / "there"
    assert fitsio.require_writable(str(tmp_path / "new"), overwrite=False) == tmp_path / "new"


@pytest.fixture
def foreign(tmp_path):
    """A file as other missions write them: an empty DATASUM, a card and a unit that bend the standard."""
    table = fits.BinTableHDU.from_columns(
        [fits.Column("RATE", "E", "counts per fortnight", array=np.arange(5.0))], name="RATES"
    )
    path = tmp_path / "foreign.fits"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)
    content = path.read_bytes().replace(b"DATASUM = '0       '", b"DATASUM = '        '", 1)
    assert b"DATASUM = '        '" in content
    content = content.replace(b"CHECKSUM", b"CHECKOLD", 1)
    path.write_bytes(content)
    return path


def test_what_bends_the_standard_is_no_fault_in_a_foreign_file(foreign):
    with pytest.raises(FileError):
        FitsFile(foreign)
    file = FitsFile(foreign, foreign=True)
    np.testing.assert_array_equal(file.column("RATES", "RATE"), np.arange(5))
    np.testing.assert_array_equal(np.frombuffer(file.raw(1), ">f4"), np.arange(5))
    content = foreign.read_bytes().replace(b"TTYPE1  = 'RATE    '", b"lower-k = 'RATE'    ", 1)
    foreign.write_bytes(content)
    assert "RATES" in FitsFile(foreign, foreign=True, checksums=False)


def test_a_cut_or_changed_foreign_file_is_an_error(foreign):
    whole = foreign.read_bytes()
    with fits.open(foreign) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    for content, word in [
        (whole[: start + 12], "truncated"),
        (whole[: start - 1000], "complete FITS file"),
        (whole[:start] + b"\x01" + whole[start + 1 :], "RATES.*checksum DATASUM"),
        (whole.replace(b"fortnight", b"moonlight", 1), "RATES.*checksum CHECKSUM"),
        (gzip.compress(whole)[:-20], "complete FITS file"),
    ]:
        foreign.write_bytes(content)
        with pytest.raises(FileError, match=word) as caught:
            FitsFile(foreign, foreign=True)
        assert str(foreign) in str(caught.value)
        assert "\n" not in str(caught.value)
    foreign.write_bytes(whole[:start] + b"\x01" + whole[start + 1 :])
    assert "RATES" in FitsFile(foreign, foreign=True, checksums=False)


def test_our_own_files_can_be_read_as_foreign(path):
    file = FitsFile(path, foreign=True)
    assert file.data("IMAGE").sum() == np.arange(6000).sum()
    with pytest.raises(FileError, match="EMPTY"):
        file.data("EMPTY")
    assert len(file.raw(1)) == 24000


@pytest.mark.parametrize(
    "name", ["responses/acisi_aimpt_cy18.arf.gz", "responses/hitomi_sxs.rmf.gz", "spectra/xmm_epic_pn.pha.gz"]
)
def test_real_files_of_other_missions_open(name, shared_data):
    assert len(FitsFile(shared_data(name), foreign=True).hdus) > 1


def test_a_folder_that_cannot_be_made_is_noticed_first(tmp_path):
    fitsio.require_folder(tmp_path)
    fitsio.require_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    for below in ("file", "file/x"):
        with pytest.raises(fitsio.FileError, match="expected a directory to write to, found a file"):
            fitsio.require_folder(tmp_path / below)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(fitsio.FileError, match=r"closed/x: could not be made: .*closed is read-only"):
        fitsio.require_folder(closed / "x")
    assert not (tmp_path / "a").exists()
