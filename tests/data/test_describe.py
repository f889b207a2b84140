import numpy as np
import pytest
from astropy.io import fits

from hifred.data.describe import describe
from hifred.fitsio import FileError


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pn.arf", ["ARF of XMM EPN"]),
        ("resolve.rmf", ["RMF of XRISM RESOLVE", "channels from"]),
        ("pn_background.pha", ["PHA of XMM EPN", "800 channels from 0"]),
        ("pn_events.fits", ["event list of XMM EPN", "of 4000 events kept"]),
        ("resolve.evt", ["event list of XRISM RESOLVE"]),
        ("acis_evt2.fits", ["event list of CHANDRA ACIS"]),
        ("pn_expmap.fits", ["2 exposure maps of"]),
        ("psf.fits", ["pixels", "half-power diameter"]),
        ("rates.h5", ["background rates at 48 energies from 0.625 to 12.38 keV"]),
        ("reduce.toml", ["plan for hifred reduce: 2 to 2.6 keV", "pn (epic-pn), resolve (xrism-resolve)"]),
    ],
)
def test_each_kind_of_file_has_its_line(made, name, words):
    line = describe(made / name)
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("kind", [fits.PrimaryHDU, fits.ImageHDU])
def test_a_cube_without_energies_is_that_of_a_background(tmp_path, kind):
    hdu = kind(np.full((4, 3, 2), 0.5))
    hdus = [hdu] if kind is fits.PrimaryHDU else [fits.PrimaryHDU(), hdu]
    fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
    assert describe(tmp_path / "cube.fits") == "cube of 4 x 3 x 2 (channel, y, x), as of a background, 12 counts in all"


def test_what_is_none_of_them_is_named(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(name="ODD")]).writeto(tmp_path / "odd.fits")
    with pytest.raises(FileError, match=r"odd\.fits: expected an event list.* found only .*ODD"):
        describe(tmp_path / "odd.fits")
