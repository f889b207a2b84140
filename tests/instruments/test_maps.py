import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments.maps import ExposureMap

CENTER = SkyCoord(83.6, 22.0, unit="deg")


def _hdu(image, kind=fits.ImageHDU, size=4.0, center=CENTER, **keys):
    frame = CubeGrid([1.0, 2.0], np.shape(image)[-2:], size, center)
    header = frame.wcs.to_header() if center is not None else fits.Header()
    hdu = kind(np.asarray(image, float), header)
    for key, value in keys.items():
        hdu.header[key] = value
    return hdu


def _write(path, *hdus):
    fits.HDUList(list(hdus)).writeto(path)
    return path


def test_one_map_on_a_coarser_grid(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.uniform(1e3, 2e3, (40, 40))
    path = _write(tmp_path / "expo.fits", _hdu(image, fits.PrimaryHDU))
    found = ExposureMap.read(path)
    assert (found.unit, found.energies) == ("s", None)
    grid = CubeGrid([1.0, 2.0], (8, 8), 20.0, CENTER)
    np.testing.assert_allclose(found.on(grid)[0], image.reshape(8, 5, 8, 5).mean(axis=(1, 3)), rtol=1e-6)
    assert found.describe() == f"1 exposure map of 40 x 40 pixels at all energies, up to {image.max():.4g} s"


def test_what_is_not_covered_was_not_seen(tmp_path):
    path = _write(tmp_path / "expo.fits", _hdu(np.full((10, 10), 100.0), fits.PrimaryHDU))
    on = ExposureMap.read(path).on(CubeGrid([1.0, 2.0], (3, 3), 16.0, CENTER))[0]
    assert on[1, 1] == pytest.approx(100)
    # 40 arcsec of the map leave 12 of the 16 arcsec of the outer pixels.
    np.testing.assert_allclose(on[0], 100 * 0.75 * np.array([0.75, 1, 0.75]), rtol=1e-6)


def test_maps_of_several_energies_and_vignetting(tmp_path):
    r2 = ((np.mgrid[:21, :21] - 10) ** 2).sum(axis=0)
    maps = [1e4 * np.exp(-r2 / s) for s in (900, 300)]
    path = _write(
        tmp_path / "expo.fits",
        fits.PrimaryHDU(),
        _hdu(maps[1], ENERGY=(6.0, "[keV]"), BUNIT="s"),
        _hdu(maps[0], ENERGY=(1000.0, "[eV]"), BUNIT="s"),
    )
    found = ExposureMap.read(path)
    assert found.energies is not None
    assert found.energies.tolist() == [1.0, 6.0]
    grid = CubeGrid([1.0, 2.0], (21, 21), 4.0, CENTER)
    relative = found.vignetting(grid)
    assert relative.shape == (2, 21, 21)
    np.testing.assert_allclose(relative[:, 10, 10], 1, rtol=1e-6)
    np.testing.assert_allclose(relative[1], np.exp(-r2 / 300), rtol=1e-5)
    np.testing.assert_allclose(found.vignetting(grid, on_axis=2e4), relative / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="on_axis: expected positive"):
        found.vignetting(grid, on_axis=0.0)


@pytest.mark.parametrize(
    ("unit", "name", "factor"),
    [
        ("s", "s", 1),
        ("ks", "s", 1e3),
        ("cm**2 s", "cm2 s", 1),
        ("m2 s", "cm2 s", 1e4),
        ("s cm**2 count/photon", "cm2 s", 1),
    ],
)
def test_units(tmp_path, unit, name, factor):
    found = ExposureMap.read(_write(tmp_path / "expo.fits", _hdu(np.ones((4, 4)), fits.PrimaryHDU, BUNIT=unit)))
    assert found.unit == name
    assert found.images.max() == pytest.approx(factor)


def test_cube_with_a_table_of_bins(tmp_path):
    table = fits.BinTableHDU.from_columns(
        [fits.Column(n, "D", unit="keV", array=v) for n, v in (("ENERG_LO", [1.0, 3.0]), ("ENERG_HI", [3.0, 5.0]))],
        name="ENERGIES",
    )
    found = ExposureMap.read(_write(tmp_path / "expo.fits", _hdu(np.ones((2, 4, 4)), fits.PrimaryHDU), table))
    assert found.energies is not None
    assert found.energies.tolist() == [2.0, 4.0]


def _faulty(place, value):
    image = np.ones((4, 4))
    image[place] = value
    return image


@pytest.mark.parametrize(
    ("hdu", "message"),
    [
        (
            lambda: _hdu(_faulty((1, 2), -3.0), fits.PrimaryHDU),
            r"\[PRIMARY\]: expected values of at least 0, found -3, .* \(1, 2\)",
        ),
        (lambda: _hdu(_faulty((1, 2), np.nan), fits.PrimaryHDU), r"\[PRIMARY\]: expected finite values, found 1 nan"),
        (lambda: _hdu(np.zeros((4, 4)), fits.PrimaryHDU), r"\[PRIMARY\]: images: expected some exposure"),
        (lambda: _hdu(np.ones((4, 4)), fits.PrimaryHDU, center=None), r"\[PRIMARY\]: expected a celestial WCS"),
        (
            lambda: _hdu(np.ones((4, 4)), fits.PrimaryHDU, BUNIT="Jy"),
            r"\[PRIMARY\]: expected BUNIT to be s or cm2 s, found 'Jy'",
        ),
        (
            lambda: _hdu(np.ones((4, 4)), fits.PrimaryHDU, BUNIT="??"),
            r"\[PRIMARY\]: expected BUNIT to be s or cm2 s, found '\?\?'",
        ),
        (lambda: fits.PrimaryHDU(), "expected an image in the primary or an IMAGE extension"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, hdu, message):
    with pytest.raises(FileError, match=rf"expo\.fits:? ?{message}"):
        ExposureMap.read(_write(tmp_path / "expo.fits", hdu()))


def test_a_map_elsewhere_is_refused(tmp_path):
    found = ExposureMap.read(_write(tmp_path / "expo.fits", _hdu(np.ones((4, 4)), fits.PrimaryHDU)))
    with pytest.raises(ValueError, match="expected exposure on the grid, found none"):
        found.on(CubeGrid([1.0, 2.0], (4, 4), 4.0, SkyCoord(84.6, 22.0, unit="deg")))
