import gzip

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from regions import CirclePixelRegion, PixCoord, Regions

from hifred.data.regions import read_regions, region_mask
from hifred.fitsio import FileError

SHAPE = (30, 40)


def sky_wcs(pixel=1.0, crpix=(20.5, 15.5), frame="FK5"):
    """North up, the centre at (10, 20) degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [10.0, 20.0]
    wcs.wcs.crpix = crpix
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    wcs.wcs.radesys = frame
    return wcs


WCS_ = sky_wcs()
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
# Distances from the centre in arcsec, which are pixels here: east is to the left.
R = np.hypot(X - 19.5, Y - 14.5)


def mask(source, **options):
    return region_mask(read_regions(source, **options), WCS_, SHAPE)


MASKS = {
    'fk5; circle(10, 20, 6.2")': R < 6.2,
    "fk5\ncircle(0:40:00, +20:00:00, 0.1')\n": R < 6,
    "image; circle(20.5, 15.5, 6.2)": R < 6.2,
    "image; circle(1, 1, 2.5)": np.hypot(X, Y) < 2.5,
    'global color=green\nfk5\ncircle(10,20,8.3")\n-circle(10,20,4.2")': (R < 8.3) & (R >= 4.2),
    '# Region file format: DS9\nfk5; -circle(10,20,4.2"); circle(10,20,8.3")': (R < 8.3) & (R >= 4.2),
    'fk5; -circle(10,20,4.2")': R >= 4.2,
    'fk5; annulus(10,20,4.2",8.3")': (R < 8.3) & (R >= 4.2),
    "image; box(20.5,15.5,10,4,0)": (np.abs(X - 19.5) < 5) & (np.abs(Y - 14.5) < 2),
    "image; box(20.5,15.5,10,4,90)": (np.abs(X - 19.5) < 2) & (np.abs(Y - 14.5) < 5),
    "image; ellipse(20.5,15.5,10.1,4.2,0)": ((X - 19.5) / 10.1) ** 2 + ((Y - 14.5) / 4.2) ** 2 < 1,
    "image; polygon(5.7,5.7,15.2,5.7,15.2,10.2,5.7,10.2)": (X > 4.7) & (X < 14.2) & (Y > 4.7) & (Y < 9.2),
    "image; circle(20.5,15.5,6.2) # text={a (b) circle} color=red": R < 6.2,
    'fk5; circle(10,20,6.2"); image; circle(1,1,2.5)': (R < 6.2) | (np.hypot(X, Y) < 2.5),
    'fk5; circle(10,20,6.2"); circle(190,-20,5"); circle(12,20,5")': R < 6.2,
    "fk5; circle(10,20,5)": np.ones(SHAPE, bool),
}


@pytest.mark.parametrize("text", MASKS)
def test_masks_of_text(text):
    assert MASKS[text].sum() > 0
    np.testing.assert_array_equal(mask(text), MASKS[text])


@pytest.mark.parametrize("form", ["ds9", "crtf"])
@pytest.mark.parametrize("name", ["plain.reg", "Größe ★ 区域.reg"])
def test_files(form, name, tmp_path):
    written = Regions.parse('fk5; circle(10,20,8.3")', format="ds9")
    written.write(tmp_path / name, format=form)
    np.testing.assert_array_equal(mask(tmp_path / name), R < 8.3)
    np.testing.assert_array_equal(mask(str(tmp_path / name)), R < 8.3)


def test_crtf_takes_excluded_regions_away(tmp_path):
    (tmp_path / "a.crtf").write_text(
        "#CRTFv0\nglobal coord=fk5\ncircle[[10deg, 20deg], 8.3arcsec]\n-circle[[10deg, 20deg], 4.2arcsec]\n"
    )
    np.testing.assert_array_equal(mask(tmp_path / "a.crtf"), (R < 8.3) & (R >= 4.2))


def test_a_sky_position_goes_through_the_frame_of_the_image():
    place = SkyCoord(10, 20, unit="deg", frame="fk5").galactic
    np.testing.assert_array_equal(mask(f'galactic; circle({place.l.deg:.8f},{place.b.deg:.8f},6.2")'), R < 6.2)


def test_physical_coordinates_are_sky_pixels_of_the_event_list(tmp_path):
    # Half-size pixels with their own reference: the centre is pixel (4096.5, 4096.5), 1-based.
    events = sky_wcs(pixel=0.5, crpix=(4096.5, 4096.5))
    text = "# Region file format: CIAO\nphysical\ncircle(4096.5,4096.5,12.4)\n-circle(4096.5,4096.5,6.2)\n"
    (tmp_path / "ciao.reg").write_text(text)
    expected = (R < 6.2) & (R >= 3.1)
    np.testing.assert_array_equal(mask(tmp_path / "ciao.reg", events_wcs=events), expected)
    mixed = 'physical; circle(4096.5,4096.5,12.4); fk5; -circle(10,20,3.1")'
    np.testing.assert_array_equal(mask(mixed, events_wcs=events), expected)
    with pytest.raises(FileError, match="ciao.reg: .*sky pixels"):
        read_regions(tmp_path / "ciao.reg")
    with pytest.raises(ValueError, match="frame"):
        mask("circle(4096.5,4096.5,12.4); physical; circle(1,1,1)", events_wcs=events)


def test_fits_regions_are_sky_pixels_of_the_event_list(tmp_path):
    events = sky_wcs(pixel=0.5, crpix=(4096.5, 4096.5))
    columns = [
        fits.Column("SHAPE", "16A", array=["Circle", "!Circle"]), fits.Column("X", "1D", unit="pix", array=[4096.5] * 2),
        fits.Column("Y", "1D", unit="pix", array=[4096.5] * 2), fits.Column("R", "1D", unit="pix", array=[12.4, 6.2]),
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="REGION")]).writeto(
        tmp_path / "r.fits"
    )
    np.testing.assert_array_equal(mask(tmp_path / "r.fits", events_wcs=events), (R < 6.2) & (R >= 3.1))
    (tmp_path / "r.fits.gz").write_bytes(gzip.compress((tmp_path / "r.fits").read_bytes()))
    assert mask(tmp_path / "r.fits.gz", events_wcs=events).sum() == ((R < 6.2) & (R >= 3.1)).sum()
    with pytest.raises(FileError, match="r.fits: .*sky pixels"):
        read_regions(tmp_path / "r.fits")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "none.fits")
    with pytest.raises(FileError, match="none.fits: .*REGION"):
        read_regions(tmp_path / "none.fits", WCS_)


def test_regions_made_in_python():
    regions = [CirclePixelRegion(PixCoord(19.5, 14.5), 6.2)]
    np.testing.assert_array_equal(region_mask(regions, None, SHAPE), R < 6.2)
    np.testing.assert_array_equal(region_mask(Regions(regions), WCS_, SHAPE), R < 6.2)
    with pytest.raises(ValueError, match="without sky coordinates.*circle at 10 20"):
        region_mask(read_regions('fk5; circle(10,20,5")'), None, SHAPE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('fk5; circle(11,20,5")', "30 x 40.*circle at 11 20 off the image"),
        ('fk5; circle(190,-20,5")', "off the image"),
        ("image; circle(500,5,5)", r"circle at pixel \(499, 4\) off"),
        ("image; circle(5.5,5.5,0.1)", "between its pixels"),
        ("image; circle(5,5,3); -circle(5,5,4)", "excluded"),
        ("fk5; point(10,20)", "area.*point at 10 20"),
        ("fk5; line(10,20,10.1,20)", "area.*line"),
        ("fk5; panda(10,20,0,90,1,1',2',1)", "panda.*not supported"),
        ('linear; circle(10,20,5")', "linear.*not supported"),
        ('circle(10,20,5")', "frame was not found"),
        ('fk5; circle(10,20,5p)', "parse"),
        ("fk5; circle(10,20)", "DS9, CRTF or FITS.*radius"),
        ("fk5; circle(a,b,c)", "'a'"),
        ("soup(1,2)", "soup"),
        ("# circle(1,2)", "at least one region"),
    ],
)  # fmt: skip
def test_regions_without_sense_are_one_line_errors(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        mask(text)
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path):
    for name, content in {
        "empty.reg": b"", "text.reg": b"hello world\n", "binary.reg": bytes(range(128, 256)), "cut.fits": b"SIMPLE  =" + b" " * 90,
        "bad.crtf": b"#CRTFv0\ncircle[[10deg, 20deg]]\n", "panda.reg": b"fk5\npanda(10,20,0,90,1,1',2',1)\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError) as caught:
            read_regions(tmp_path / name, WCS_)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "absent.reg", str(tmp_path / "absent.reg"), str(tmp_path / "absent (1).reg")):
        with pytest.raises(FileError) as caught:
            read_regions(path)
        assert str(path) in str(caught.value)


def test_text_may_be_longer_than_a_name_of_a_file():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    corners = ",".join(f"{20.5 + 8.3 * np.cos(a):.4f},{15.5 + 8.3 * np.sin(a):.4f}" for a in angle)
    np.testing.assert_array_equal(mask(f"image; polygon({corners})"), R < 8.3)


def test_a_region_far_larger_than_the_image_needs_no_memory_of_its_own():
    import tracemalloc

    regions = read_regions("fk5; circle(10,20,3)")  # 21,600 pixels across
    tracemalloc.start()
    assert region_mask(regions, WCS_, SHAPE).all()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e7
