import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import dblquad
from scipy.special import erf

from hifred.fitsio import FileError
from hifred.instruments.presets import instrument
from hifred.instruments.psf import FWHM, GaussianPSF, KingPSF
from hifred.instruments.psf_image import ImagePSF


def _king_in_square(core, slope, half_side):
    """Power of a King profile in a square, by quadrature of its density."""

    def density(y, x):
        return (slope - 1) / (np.pi * core**2) * (1 + (x * x + y * y) / core**2) ** -slope

    return 4 * dblquad(density, 0, half_side, 0, half_side, epsabs=1e-8)[0]


@pytest.mark.parametrize(
    ("name", "energy", "expected"),
    # SAS `eupper`, as INSTRUMENTS.md of the shared design has it: shares of the photons within 5 arcmin.
    [("epic-mos1", 1.5, (0.68, 0.83, 0.89, 0.92)), ("epic-mos2", 5.0, (0.69, 0.83, 0.89, 0.93))],
)
def test_mos_encircled_energies_are_the_published_ones(name, energy, expected):
    psf = instrument(name).psf
    found = psf.encircled([15, 30, 45, 60], energy) / psf.encircled(300, energy)
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_pn_is_known_to_be_low_in_the_core():
    psf = instrument("epic-pn").psf
    assert psf.encircled(15, 1.0) / psf.encircled(300, 1.0) / 0.71 - 1 == pytest.approx(-0.11, abs=0.01)


@pytest.mark.parametrize(("core", "slope"), [(0.05, 1.2), (0.42, 2.0), (5.2, 1.5), (22.5, 1.5)])
def test_king_pixels_hold_what_quadrature_finds(core, slope):
    psf = KingPSF((core,), (slope,))
    kernel = psf.kernel(1.0, pixel_size=5.0, half=4)
    for half in (0, 1, 4):
        inner = kernel[4 - half : 5 + half, 4 - half : 5 + half].sum()
        assert inner == pytest.approx(_king_in_square(core, slope, 5 * (half + 0.5)), abs=1e-6)
    off = dblquad(
        lambda y, x: (slope - 1) / (np.pi * core**2) * (1 + (x * x + y * y) / core**2) ** -slope, 7.5, 12.5, 2.5, 7.5
    )[0]
    assert kernel[5, 6] == pytest.approx(off, rel=1e-6)
    np.testing.assert_allclose(kernel, kernel.T, rtol=1e-12)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])


def test_small_pixels_add_up_to_large_ones():
    psf = KingPSF((0.42,), (2.0,))
    small = psf.kernel(2.0, 3.0, pixel_size=0.2, half=62)
    large = psf.kernel(2.0, 3.0, pixel_size=5.0, half=2)
    np.testing.assert_allclose(small.reshape(5, 25, 5, 25).sum(axis=(1, 3)), large, rtol=1e-9)


def test_outside_is_what_the_kernel_lacks():
    psf = KingPSF((5.0,), (1.5,))
    outside = psf.outside(1.0, pixel_size=4.0, half=20)
    assert outside == pytest.approx(1 - _king_in_square(5.0, 1.5, 82.0), abs=1e-6)
    assert outside > 0.04


def test_radius_inverts_encircled():
    for psf in (KingPSF((22.5,), (1.5,)), GaussianPSF((9.0,))):
        assert psf.encircled(psf.radius(0.5, 2.0), 2.0) == pytest.approx(0.5)
    assert 2 * instrument("xrism-resolve").psf.radius(0.5, 6.0) == pytest.approx(78, abs=0.2)
    assert 2 * instrument("x-ifu").psf.radius(0.5, 6.0) == pytest.approx(9, abs=0.1)


def test_widths_depend_on_energy_and_angle():
    psf = KingPSF((6.0, -0.2, -0.1, -0.01, 0.002), (1.5, -0.01))
    energy, angle = 3.0, 4.0
    same = KingPSF(
        (6.0 - 0.2 * energy - 0.1 * angle - 0.01 * energy * angle + 0.002 * angle**2,), (1.5 - 0.01 * energy,)
    )
    np.testing.assert_allclose(
        psf.kernel(energy, angle, pixel_size=3, half=3), same.kernel(1.0, pixel_size=3, half=3), rtol=1e-12
    )
    chandra = instrument("acis-i").psf
    assert chandra.radius(0.9, 1.5, 10.0) > 5 * chandra.radius(0.9, 1.5, 0.0)


def test_gaussian_against_erf():
    psf = GaussianPSF((8.0, 0.5, 0.25))
    sigma = (8.0 + 0.5 * 2.0 + 0.25 * 4.0) / FWHM
    kernel = psf.kernel(2.0, 4.0, pixel_size=3.0, half=2)
    edges = (np.arange(6) - 2.5) * 3.0
    line = np.diff(erf(edges / (np.sqrt(2) * sigma))) / 2
    np.testing.assert_allclose(kernel, line[:, None] * line, rtol=1e-12)
    assert psf.encircled(psf.radius(0.5, 2.0, 4.0), 2.0, 4.0) == pytest.approx(0.5)
    assert psf.radius(0.5, 2.0, 4.0) == pytest.approx(10.0 / 2)


def test_slopes_without_a_norm_are_refused():
    with pytest.raises(ValueError, match=r"slope: expected above 1, .* found 1 at 1 keV"):
        KingPSF((5.0,), (1.0,))
    psf = KingPSF((6.0,), (1.5, -0.1))
    with pytest.raises(ValueError, match=r"slope: .* found 0.9 at 6 keV, 0 arcmin"):
        psf.kernel(6.0, pixel_size=1.0, half=1)
    with pytest.raises(ValueError, match="core: expected a radius above 0"):
        KingPSF((1.0, -0.5), (1.5,)).radius(0.5, 4.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"energy": -1.0, "pixel_size": 1.0, "half": 1}, "energy: "),
        ({"energy": 1.0, "off_axis": np.nan, "pixel_size": 1.0, "half": 1}, "off_axis: "),
        ({"energy": 1.0, "pixel_size": 0.0, "half": 1}, "pixel_size: "),
        ({"energy": 1.0, "pixel_size": 1.0, "half": -1}, "half: "),
    ],
)
def test_bad_arguments(arguments, message, unchecked):
    with pytest.raises(ValueError, match=message):
        KingPSF((5.0,), (1.5,)).kernel(**arguments)
    with pytest.raises(ValueError, match="fraction: "):
        KingPSF((5.0,), (1.5,)).radius(1.0, 1.0)
    with pytest.raises(ValueError, match="core: expected one to five"):
        KingPSF((), (1.5,))


def _fine_gaussian(sigma, pixels=61, size=1.0, shift=(0.0, 0.0)):
    line = [np.diff(erf(((np.arange(pixels + 1) - pixels / 2) * size - s) / (np.sqrt(2) * sigma))) / 2 for s in shift]
    return line[1][:, None] * line[0]


def _hdu(image, kind=fits.ImageHDU, **keys):
    hdu = kind(image)
    ny, nx = image.shape[-2:]
    usual = {
        "CDELT1": -1.0,
        "CDELT2": 1.0,
        "CUNIT1": "arcsec",
        "CUNIT2": "arcsec",
        "CRPIX1": (nx + 1) / 2,
        "CRPIX2": (ny + 1) / 2,
    }
    for key, value in (usual | keys).items():
        if value is not None:
            hdu.header[key] = value
    return hdu


def test_image_is_resampled_with_its_photons():
    image = _fine_gaussian(4.0)
    psf = ImagePSF(image, 1.0)
    np.testing.assert_allclose(psf.kernel(1.0, pixel_size=1.0, half=30), image / image.sum(), rtol=1e-12, atol=1e-15)
    # 5 of its pixels make one: exact.
    coarse = psf.kernel(1.0, pixel_size=5.0, half=5)
    blocks = image[3:58, 3:58].reshape(11, 5, 11, 5).sum(axis=(1, 3)) / image.sum()
    np.testing.assert_allclose(coarse, blocks, atol=1e-14)
    # Any size keeps the photons, and what is cut is stated.
    assert psf.kernel(1.0, pixel_size=2.7, half=12).sum() == pytest.approx(1, abs=1e-12)
    assert psf.outside(1.0, pixel_size=5.0, half=1) == pytest.approx(1 - erf(7.5 / (np.sqrt(2) * 4)) ** 2, abs=1e-4)
    assert psf.radius(0.5, 1.0) == pytest.approx(4 * np.sqrt(2 * np.log(2)), rel=0.01)
    assert psf.encircled(psf.radius(0.8, 1.0), 1.0) == pytest.approx(0.8, abs=1e-3)


def test_image_keeps_the_share_it_lacks():
    image = 0.9 * _fine_gaussian(3.0)
    assert ImagePSF(image, 1.0, normalize=False).outside(1.0, pixel_size=1.0, half=40) == pytest.approx(0.1, abs=1e-6)
    with pytest.raises(ValueError, match="fraction: expected at most 0.9"):
        ImagePSF(image, 1.0, normalize=False).radius(0.95, 1.0)
    with pytest.raises(ValueError, match="sum to at most 1"):
        ImagePSF(2 * image, 1.0, normalize=False)


def test_images_of_energies_and_angles_from_a_file(tmp_path):
    path = tmp_path / "psf.fits"
    hdus = [fits.PrimaryHDU()]
    for energy in (6000.0, 1000.0):
        for angle in (0.0, 10.0):
            hdus.append(_hdu(_fine_gaussian(2.0 + energy / 2000 + angle / 5), ENERGY=(energy, "[eV]"), OFF_AXIS=angle))
    fits.HDUList(hdus).writeto(path)
    psf = ImagePSF.read(path)
    assert psf.energies.tolist() == [1.0, 6.0]
    assert psf.off_axes.tolist() == [0.0, 10.0]
    corners = [psf.kernel(e, t, pixel_size=1.0, half=5) for e in (1.0, 6.0) for t in (0.0, 10.0)]
    np.testing.assert_allclose(corners[2], _fine_gaussian(5.0)[25:36, 25:36], rtol=1e-4)
    between = psf.kernel(2.0, 2.5, pixel_size=1.0, half=5)
    weights = [0.8 * 0.75, 0.8 * 0.25, 0.2 * 0.75, 0.2 * 0.25]
    np.testing.assert_allclose(between, sum(w * k for w, k in zip(weights, corners, strict=True)), rtol=1e-12)
    np.testing.assert_array_equal(psf.kernel(9.0, 20.0, pixel_size=1.0, half=5), corners[3])
    assert "4 images of 61 x 61 pixels of 1 arcsec at 1, 6 keV" in psf.describe()


def test_cube_with_a_table_of_energies(tmp_path):
    path = tmp_path / "psf.fits"
    cube = np.stack([_fine_gaussian(2.0), _fine_gaussian(4.0)])
    table = fits.BinTableHDU.from_columns([fits.Column("ENERGY", "D", unit="keV", array=[1.0, 5.0])], name="ENERGIES")
    fits.HDUList([_hdu(cube, fits.PrimaryHDU), table]).writeto(path)
    np.testing.assert_allclose(
        ImagePSF.read(path).kernel(5.0, pixel_size=1.0, half=3), cube[1, 27:34, 27:34], rtol=1e-6
    )


def test_the_source_is_where_the_file_says(tmp_path):
    image = _fine_gaussian(3.0, shift=(4.0, -2.0))
    fits.HDUList([_hdu(image, fits.PrimaryHDU, CRPIX1=35.0, CRPIX2=29.0)]).writeto(tmp_path / "shifted.fits")
    kernel = ImagePSF.read(tmp_path / "shifted.fits").kernel(1.0, pixel_size=1.0, half=9)
    np.testing.assert_allclose(kernel, _fine_gaussian(3.0)[21:40, 21:40], rtol=1e-6)
    without = {"CRPIX1": None, "CRPIX2": None}
    fits.HDUList([_hdu(image, fits.PrimaryHDU, **without)]).writeto(tmp_path / "middle.fits")
    kernel = ImagePSF.read(tmp_path / "middle.fits").kernel(1.0, pixel_size=1.0, half=9)
    assert np.unravel_index(kernel.argmax(), kernel.shape) == (7, 13)


def test_celestial_image_with_east_on_the_right_is_mirrored(tmp_path):
    image = _fine_gaussian(3.0, shift=(4.0, 0.0))
    sky = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CDELT1": 1 / 3600,
        "CDELT2": 1 / 3600,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
    }
    fits.HDUList([_hdu(image, fits.PrimaryHDU, **sky)]).writeto(tmp_path / "psf.fits")
    psf = ImagePSF.read(tmp_path / "psf.fits")
    assert psf.pixel_size == pytest.approx(1.0)
    assert np.unravel_index(psf.kernel(1.0, pixel_size=1.0, half=9).argmax(), (19, 19)) == (9, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CDELT1": None, "CDELT2": None}, r"\[PRIMARY\]: expected the size of the pixels"),
        ({"CUNIT1": None, "CUNIT2": None}, r"\[PRIMARY\]: expected CUNIT1"),
        ({"CDELT2": 2.0}, r"\[PRIMARY\]: expected square pixels, found 1 by 2 arcsec"),
        ({"ENERGY": 1500.0}, r"\[PRIMARY\]: ENERGY: expected an energy of 0 to 100 keV .* found 1500 keV"),
        ({"ENERGY": (1.5, "[cm] a length")}, r"\[PRIMARY\]: ENERGY: expected a unit like keV, found 'cm'"),
        ({"ENERGY": "high"}, r"\[PRIMARY\]: expected a number in ENERGY, found 'high'"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, change, message):
    path = tmp_path / "psf.fits"
    fits.HDUList([_hdu(_fine_gaussian(2.0), fits.PrimaryHDU, **change)]).writeto(path)
    with pytest.raises(FileError, match=rf"psf\.fits{message}") as caught:
        ImagePSF.read(path)
    assert "\n" not in str(caught.value)


def test_faults_of_several_images_are_named(tmp_path):
    good = _hdu(_fine_gaussian(2.0), fits.PrimaryHDU, ENERGY=1.0)

    def reading(*others):
        path = tmp_path / "psf.fits"
        fits.HDUList([good, *others]).writeto(path, overwrite=True)
        return ImagePSF.read(path)

    with pytest.raises(FileError, match="expected the keyword ENERGY in each of the 2 images"):
        reading(_hdu(_fine_gaussian(2.0)))
    with pytest.raises(FileError, match="increasing"):
        reading(_hdu(_fine_gaussian(2.0), ENERGY=1.0))
    with pytest.raises(FileError, match=r"\[1\]: expected \(61, 61\) pixels"):
        reading(_hdu(_fine_gaussian(2.0, 31), ENERGY=2.0))
    with pytest.raises(FileError, match=r"\[1\]: expected the WCS of the first image"):
        reading(_hdu(_fine_gaussian(2.0), ENERGY=2.0, CDELT1=-2.0))
    holes = _fine_gaussian(2.0)
    holes[3, 4] = np.nan
    with pytest.raises(
        FileError, match=r"\[1\]: expected finite values, found 1 nan or infinite, the first at \(3, 4\)"
    ):
        reading(_hdu(holes, ENERGY=2.0))
    with pytest.raises(FileError, match="expected a table ENERGIES"):
        reading(_hdu(np.stack([_fine_gaussian(2.0)] * 2)))


def test_all_photons_within_a_radius():
    wide = KingPSF((5.0,), (1.5,))
    cut = KingPSF((5.0,), (1.5,), within=60.0)
    assert cut.encircled(60.0, 1.0) == pytest.approx(1)
    assert cut.encircled(500.0, 1.0) == pytest.approx(1)
    assert cut.encircled(20.0, 1.0) == pytest.approx(wide.encircled(20.0, 1.0) / wide.encircled(60.0, 1.0))
    assert cut.encircled(cut.radius(0.8, 1.0), 1.0) == pytest.approx(0.8)
    assert cut.kernel(1.0, pixel_size=4.0, half=16).sum() == pytest.approx(1, abs=2e-4)
    with pytest.raises(ValueError, match="within: expected a positive radius"):
        KingPSF((5.0,), (1.5,), within=0.0)


def test_the_model_says_how_far_off_the_axis_it_holds():
    pn = KingPSF((6.636, -0.305, -0.175, -0.0067), (1.525, -0.015, -0.012, -0.0010))
    far = pn.farthest(10.0)
    assert 4 < far < 14.8
    pn.kernel(10.0, far, pixel_size=4.0, half=3)
    with pytest.raises(ValueError, match="core"):
        pn.kernel(10.0, 16.0, pixel_size=4.0, half=3)
    assert KingPSF((5.0,), (1.5,)).farthest(6.0) == np.inf


def test_beyond_its_end_a_king_profile_has_no_negative_shares():
    kernel = KingPSF((5.0,), (1.5,), within=300.0).kernel(6.0, pixel_size=8.0, half=46)
    assert kernel.min() == 0
    assert kernel.sum() == pytest.approx(1, abs=1e-6)


def test_no_pixel_is_negative_where_the_photons_have_ended():
    pn = KingPSF((6.636, -0.305, -0.175, -0.0067), (1.525, -0.015, -0.012, -0.0010), within=300.0)
    image = pn.kernel(6.0, 2.0, pixel_size=15.0, half=30)
    assert image.min() == 0
    assert image.sum() == pytest.approx(1, abs=1e-3)
