import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments.pixels import PixelArray, fit_placement, placement_from_header
from hifred.instruments.presets import instrument
from hifred.overlap import overlap_matrix

PITCH = 30.645


def _resolve():
    return instrument("xrism-resolve").detector


def _sky(center, size=1.768, pixels=2430):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [center.ra.deg, center.dec.deg]
    wcs.wcs.crpix = [(pixels + 1) / 2] * 2
    wcs.wcs.cdelt = [-size / 3600, size / 3600]
    return wcs


def _events(array, center, roll, wcs, number=6000, seed=0):
    """Events spread evenly over the pixels of an array, made with spherical geometry."""
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(0, n, number) for n in array.shape)
    down = (rows - (array.shape[0] - 1) / 2 + rng.uniform(-0.5, 0.5, number)) * array.pitch
    along = (columns - (array.shape[1] - 1) / 2 + rng.uniform(-0.5, 0.5, number)) * array.pitch
    angles = [np.radians(roll), np.radians(roll + array.row_angle)]
    north = along * np.cos(angles[0]) + down * np.cos(angles[1])
    east = along * np.sin(angles[0]) + down * np.sin(angles[1])
    places = center.directional_offset_by(np.arctan2(east, north) * u.rad, np.hypot(north, east) * u.arcsec)
    x, y = wcs.world_to_pixel(places)
    return x + 1, y + 1, array.layout[rows, columns]


@pytest.mark.parametrize("row_angle", [-90.0, 90.0])
@pytest.mark.parametrize(("ra", "dec", "roll"), [(266.6, -28.9, 80.0), (0.01, 88.5, 3.0), (120.0, -89.0, 275.0)])
def test_fit_recovers_a_placement(ra, dec, roll, row_angle):
    array = PixelArray(PITCH, _resolve().layout, (12,), row_angle)
    center = SkyCoord(ra, dec, unit="deg")
    wcs = _sky(center.directional_offset_by(40 * u.deg, 60 * u.arcsec))
    fit = fit_placement(*_events(array, center, roll, wcs), wcs, array)
    assert fit.center.separation(center).arcsec < 0.6
    assert (fit.roll - roll + 180) % 360 - 180 == pytest.approx(0, abs=0.3)
    assert fit.rms < 2.5
    # Without the scatter within the pixels it is exact.
    rows, columns = np.indices(array.shape)
    x, y = wcs.world_to_pixel(array.on_sky(center, roll).centers())
    exact = fit_placement(x.ravel() + 1, y.ravel() + 1, array.layout[rows, columns].ravel(), wcs, array)
    assert exact.center.separation(center).arcsec < 1e-5
    assert (exact.roll - roll + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert exact.rms < 1e-5


def test_fit_needs_the_right_detector():
    array, center = _resolve(), SkyCoord(10, 20, unit="deg")
    wcs = _sky(center)
    x, y, pixel = _events(array, center, 30.0, wcs)
    for other in (
        PixelArray(PITCH, array.layout, (12,), 90.0),
        PixelArray(PITCH, np.arange(36).reshape(6, 6)),
        PixelArray(2 * PITCH, array.layout, (12,)),
    ):
        with pytest.raises(ValueError, match="x, y: expected the events of a pixel about its place"):
            fit_placement(x, y, pixel, wcs, other)
    with pytest.raises(ValueError, match=r"pixel: expected numbers of the layout, found \[99\]"):
        fit_placement(x, y, np.where(pixel == 3, 99, pixel), wcs, array)
    with pytest.raises(ValueError, match="at least two pixels that see the sky, found 1"):
        fit_placement(x[pixel < 1], y[pixel < 1], pixel[pixel < 1], wcs, array)


def test_pixels_off_the_sky_do_not_count():
    array, center = _resolve(), SkyCoord(10, 20, unit="deg")
    wcs = _sky(center)
    x, y, pixel = _events(array, center, 30.0, wcs)
    moved = fit_placement(np.where(pixel == 12, 5.0, x), y, pixel, wcs, array)
    assert moved.center.separation(fit_placement(x, y, pixel, wcs, array).center).arcsec == 0


def test_corners_on_a_turned_grid():
    array, center = _resolve(), SkyCoord(150, 60, unit="deg")
    placed = array.on_sky(center, 80.0)
    grid = CubeGrid([1.0, 2.0], (50, 50), 5.0, center)
    corners = placed.corners(grid.wcs)
    assert corners.shape == (36, 4, 2)
    assert placed.seen.sum() == 35
    assert not placed.seen[0, 0]
    # Columns increase at position angle 80, rows at -10: east is left on the grid.
    middles = corners.mean(axis=1).reshape(6, 6, 2)
    step = PITCH / 5.0
    along, down = np.radians(80.0), np.radians(-10.0)
    np.testing.assert_allclose(middles[0, 1] - middles[0, 0], [-step * np.sin(along), step * np.cos(along)], atol=1e-3)
    np.testing.assert_allclose(middles[1, 0] - middles[0, 0], [-step * np.sin(down), step * np.cos(down)], atol=1e-3)
    np.testing.assert_allclose(middles.mean(axis=(0, 1)), 24.5, atol=1e-6)
    # They tile the array: the shares of the pixels sum to its area.
    shares = overlap_matrix(corners, (50, 50))
    assert shares.sum() == pytest.approx(36 * step**2, rel=1e-5)
    assert shares.sum(axis=0).max() == pytest.approx(1, abs=1e-9)


def test_corners_far_from_the_image_have_no_place():
    placed = _resolve().on_sky(SkyCoord(10, 0, unit="deg"), 0.0)
    assert np.isnan(placed.corners(_sky(SkyCoord(190, 0, unit="deg")))).all()


def test_other_frames_are_turned_to_icrs():
    center = SkyCoord(0.5, 0.1, unit="deg", frame="galactic")
    placed = _resolve().on_sky(center, -10.0)
    assert placed.center.frame.name == "icrs"
    assert placed.roll == 350.0


def test_placement_from_header():
    header = {"RA_NOM": 266.557, "DEC_NOM": -28.889, "PA_NOM": 80.0}
    placement = placement_from_header(header)
    assert placement.roll == 80.0
    assert placement.center.dec.deg == pytest.approx(-28.889)
    assert np.isnan(placement.rms)
    with pytest.raises(
        FileError, match=r"a.evt\[EVENTS\]: expected a number of degrees in PA_NOM, found no such keyword"
    ):
        placement_from_header({"RA_NOM": 1.0, "DEC_NOM": 1.0}, "a.evt[EVENTS]")
    with pytest.raises(FileError, match="DEC_NOM"):
        placement_from_header(header | {"DEC_NOM": 95.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pitch": 0.0}, "pitch: "),
        ({"layout": [[1, 1]]}, r"layout: expected each pixel once, found \[1\]"),
        ({"layout": [1, 2]}, "layout: expected whole numbers of shape"),
        ({"off_sky": (7,)}, r"off_sky: expected pixels of the layout, found \[7\]"),
        ({"row_angle": 45.0}, "row_angle: "),
    ],
)
def test_bad_arrays(arguments, message, unchecked):
    with pytest.raises(ValueError, match=message):
        PixelArray(**({"pitch": 1.0, "layout": [[1, 2]]} | arguments))


def test_real_list(shared_data):
    resolve = instrument("xrism-resolve")
    with fits.open(shared_data("events/xrism_resolve_300045010_cl.evt.gz")) as hdus:
        header, rows = hdus["EVENTS"].header, hdus["EVENTS"].data
        keep = rows["ITYPE"] == 0
        x, y, pixel, pi, energy = (np.array(rows[name][keep]) for name in ("X", "Y", "PIXEL", "PI", "EPI2"))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    for name, key in (("crpix", "TCRPX"), ("crval", "TCRVL"), ("cdelt", "TCDLT")):
        setattr(wcs.wcs, name, [header[f"{key}41"], header[f"{key}42"]])
    fit = fit_placement(x, y, pixel, wcs, resolve.detector)
    assert fit.rms < 1.0
    assert set(pixel.tolist()) == set(range(36)) - {12}
    nominal = placement_from_header(header)
    assert fit.roll == pytest.approx(nominal.roll, abs=0.3)
    # The nominal pointing is off by more than the error of the fit, 0.1 arcsec.
    assert 2 < fit.center.separation(nominal.center).arcsec < 4
    # The preset's channels hold the energies that the pipeline gives the events.
    inside = np.abs(energy / 1e3 - resolve.events.energy(pi)) <= resolve.events.pi_step / 2 + 1e-6
    assert inside[energy < 12000].mean() > 0.999
