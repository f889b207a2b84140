import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from hifred import CubeGrid
from hifred.grid import energy_bins

EDGES = [1.0, 2, 4]


def test_what_it_knows():
    grid = CubeGrid(EDGES, (4, 5), pixel_size=2, center=(10, 20))
    assert grid.shape == (2, 4, 5)
    assert grid.sky_shape == (4, 5)
    assert grid.pixel_size == 2.0
    np.testing.assert_array_equal(grid.energies, [1.5, 3])
    assert grid.center.dec.deg == pytest.approx(20)


def test_edges_are_its_own():
    edges = np.array(EDGES)
    grid = CubeGrid(edges, (4, 5))
    edges[0] = 0.5
    assert grid.energy_edges[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.energy_edges[0] = 2


def test_frozen():
    grid = CubeGrid(EDGES, (4, 5))
    with pytest.raises(AttributeError):
        grid.pixel_size = 3


def test_no_place_on_the_sky():
    assert CubeGrid(EDGES, (4, 5)).wcs is None


def test_wcs_points_at_the_centre_north_up_east_left():
    center = SkyCoord(83.6, 22.0, unit="deg")
    wcs = CubeGrid(EDGES, (4, 7), pixel_size=5, center=center).wcs
    assert wcs.pixel_to_world(3, 1.5).separation(center).arcsec < 1e-6
    assert (wcs.pixel_to_world(3, 2.5).dec - center.dec).arcsec == pytest.approx(5, rel=1e-4)
    assert wcs.pixel_to_world(2, 1.5).ra > center.ra
    assert wcs.pixel_to_world(2, 1.5).separation(center).arcsec == pytest.approx(5, rel=1e-4)


def test_center_in_another_frame():
    center = SkyCoord(120, 0, unit="deg", frame="galactic")
    wcs = CubeGrid(EDGES, (3, 3), center=center).wcs
    assert wcs.pixel_to_world(1, 1).separation(center.icrs).arcsec < 1e-6


ERRORS = {
    "one edge": ({"energy_edges": [1.0]}, "at least two finite, strictly increasing"),
    "two axes": ({"energy_edges": [[1.0, 2]]}, r"found an array of shape \(1, 2\)"),
    "falling": ({"energy_edges": [2.0, 1]}, "strictly increasing energies in keV, .* from 2.0 to 1.0"),
    "equal": ({"energy_edges": [1.0, 1, 2]}, "strictly increasing"),
    "nan": ({"energy_edges": [1, np.nan]}, "finite"),
    "zero": ({"energy_edges": [0.0, 1]}, "expected positive energies in keV, found 0"),
    "negative": ({"energy_edges": [-1.0, 1]}, "expected positive energies in keV, found -1"),
    "three sides": ({"shape": (2, 3, 4)}, r"shape: expected two positive numbers of pixels .* found \(2, 3, 4\)"),
    "no pixels": ({"shape": (0, 4)}, r"shape: .* found \(0, 4\)"),
    "pixel size": ({"pixel_size": 0}, "pixel_size: expected a positive number of arcsec, found 0"),
    "pixel size of nan": ({"pixel_size": np.nan}, "pixel_size: .* found nan"),
    "rotation of nan": ({"rotation": np.nan}, "rotation: expected a finite number of degrees, found nan"),
    "rotation in words": ({"rotation": "north"}, "rotation: expected a number, found 'north'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    options, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        CubeGrid(**{"energy_edges": EDGES, "shape": (4, 5), **options})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (CubeGrid([5.0, 6], (4, 5)), "no overlap in energy: a covers 1 to 4 keV, b 5 to 6 keV"),
        (CubeGrid([4.0, 5, 6], (4, 5)), "no overlap in energy"),
        (CubeGrid(EDGES, (5, 4)), r"a has shape \(energy, y, x\) \(2, 4, 5\), b \(2, 5, 4\)"),
        (CubeGrid([1.0, 2, 3, 4], (4, 5)), "the grids differ: a has shape"),
        (CubeGrid([1.0, 2.1, 4], (4, 5)), "the energy bins of a and b are not the same"),
        (CubeGrid(EDGES, (4, 5), pixel_size=2), "a has pixels of 1 arcsec, b of 2"),
        (CubeGrid(EDGES, (4, 5), center=(10.001, 20)), "the centres of a and b are 3.38 arcsec apart"),
        (CubeGrid(EDGES, (4, 5), 1, (10, 20), 30), "a is rotated by 0 degrees, b by 30"),
        (CubeGrid(EDGES, (4, 5), 1, (10, 20), 359.5), "a is rotated by 0 degrees, b by 359.5"),
    ],
)
def test_grids_that_differ(other, message):
    grid = CubeGrid(EDGES, (4, 5), center=(10, 20))
    with pytest.raises(ValueError, match=message):
        grid.require_same(other, ("a", "b"))


def test_grids_that_are_the_same():
    grid = CubeGrid(EDGES, (4, 5), center=(10, 20))
    grid.require_same(CubeGrid(np.array(EDGES) * (1 + 1e-9), (4, 5), center=(10, 20 + 1e-8)), ("a", "b"))
    grid.require_same(CubeGrid(EDGES, (4, 5)), ("a", "b"))
    CubeGrid(EDGES, (4, 5)).require_same(grid, ("a", "b"))
    CubeGrid(EDGES, (4, 5), 1, (10, 20), 360.0).require_same(grid, ("a", "b"))
    CubeGrid(EDGES, (4, 5), 1, (10, 20), -1e-3).require_same(grid, ("a", "b"))


@pytest.mark.parametrize(
    "center", [(83.6, 22.0), (0.0, -60.0), (359.99999, 5.0), (40.0, 89.9), (40.0, 90.0), (7.0, -90.0)]
)
@pytest.mark.parametrize("rotation", [0.0, 30.0, 90.0, -45.0, 200.0])
def test_rotation_is_the_position_angle_of_y(center, rotation):
    grid = CubeGrid(EDGES, (5, 7), 2.0, center, rotation)
    middle = grid.wcs.pixel_to_world(3, 2)
    assert middle.separation(grid.center).arcsec < 1e-6
    # At a pole, north is where the meridian of the centre's right ascension says.
    up, left = (grid.center.position_angle(grid.wcs.pixel_to_world(*at)).deg for at in ((3, 3), (2, 2)))
    assert (up - rotation + 180) % 360 == pytest.approx(180, abs=1e-3)
    assert (left - rotation - 90 + 180) % 360 == pytest.approx(180, abs=1e-3)
    assert grid.wcs.pixel_to_world(3, 3).separation(middle).arcsec == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(
    ("lo", "hi", "step", "bins"), [(1.8, 10, 0.002, 4100), (0.5, 1.4, 0.3, 3), (6.0, 6.7, 0.0005, 1400), (1, 2, 1, 1)]
)
def test_energy_bins(lo, hi, step, bins):
    edges = energy_bins(lo, hi, step)
    assert edges.size == bins + 1
    assert edges[[0, -1]].tolist() == [lo, hi]
    np.testing.assert_allclose(np.diff(edges), step, rtol=1e-9)
    assert CubeGrid(edges, (1, 1)).shape[0] == bins


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1, 0.1), "lo, hi: expected 0 < lo < hi in keV, found 2 and 1"),
        ((0, 1, 0.1), "found 0 and 1"),
        ((1, np.inf, 0.1), "found 1 and inf"),
        ((1, np.nan, 0.1), "found 1 and nan"),
        ((1, 2, 0), "step: expected a positive number of keV, found 0"),
        ((1, 2, np.nan), "step: expected a positive number of keV, found nan"),
        ((1, 2, 0.3), "step: expected a whole number of steps from 1 to 2 keV, found 3.33333 of 0.3"),
        ((1, 2, 5.0), "step: expected a whole number of steps"),
        ((1, 2, "x"), "step: expected a number, found 'x'"),
    ],
)
def test_energy_bins_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        energy_bins(*arguments)


def square(center, side, turn=0.0):
    """Corners of a square of `side` arcsec on the sky."""
    grid = CubeGrid(EDGES, (1, 1), side, center, turn)
    places = grid.wcs.pixel_to_world([-0.5, 0.5, 0.5, -0.5], [-0.5, -0.5, 0.5, 0.5])
    return np.stack([places.ra.deg, places.dec.deg], axis=-1)


def around(*footprints, **options):
    return CubeGrid.around(footprints, **{"energy_edges": EDGES, "pixel_size": 5.0, **options})


@pytest.mark.parametrize("center", [(228.5, -59.1), (0.001, 10.0), (359.999, -10.0), (120.0, 89.9), (45.0, -89.99)])
@pytest.mark.parametrize("rotation", [0.0, 61.0, -100.0])
def test_the_small_field_decides(center, rotation):
    """A calorimeter's 3 arcmin in a CCD's 30, which is turned and points elsewhere."""
    small = square(center, 180.0, rotation)
    beside = SkyCoord(*center, unit="deg").directional_offset_by(50 * u.deg, 0.05 * u.deg)
    ccd = square((beside.ra.deg, beside.dec.deg), 1800.0, 12.0)
    for footprints in ((ccd, small), (small, ccd), (small,)):
        grid = around(*footprints, rotation=rotation)
        assert grid.sky_shape == (36, 36)
        assert (grid.pixel_size, grid.rotation) == (5.0, rotation)
        assert grid.center.separation(SkyCoord(*center, unit="deg")).arcsec < 0.01
    wide = around(ccd, small, rotation=rotation, reach=61.0)
    assert wide.sky_shape == (61, 61)
    x, y = wide.wcs.world_to_pixel(SkyCoord(small, unit="deg"))
    np.testing.assert_allclose([x.min(), x.max(), y.min(), y.max()], [12, 48, 12, 48], atol=0.01)


def test_a_turned_field_has_a_larger_box():
    grid = around(square((10, 20), 180.0, 45.0))
    assert grid.sky_shape == (51, 51)
    assert around(square((10, 20), 180.0, 45.0), rotation=45.0).sky_shape == (36, 36)


def test_part_of_both():
    left, right = square((10, 0), 100.0), square((10 - 60 / 3600, 0), 100.0)
    grid = around(left, right)
    assert grid.sky_shape == (20, 8)
    assert grid.center.separation(SkyCoord(10 - 30 / 3600, 0, unit="deg")).arcsec < 0.01


def test_a_given_centre():
    grid = around(square((10, 0), 100.0), center=(10 + 10 / 3600, 0))
    assert grid.sky_shape == (20, 24)
    assert grid.center.ra.deg == pytest.approx(10 + 10 / 3600)


def test_footprints_of_all_kinds():
    corners = square((10, 20), 100.0)

    class Detector:
        footprint = corners

    class Pointing:
        footprint = SkyCoord(corners, unit="deg").galactic

    for footprint in (corners, corners.tolist(), Detector(), Pointing(), Pointing.footprint):
        grid = around(footprint)
        assert grid.sky_shape == (20, 20)
        assert grid.center.separation(SkyCoord(10, 20, unit="deg")).arcsec < 0.01


FOOTPRINTS = {
    "apart": ([square((10, 20), 100.0), square((10, 20.1), 100.0)], r"found footprints\[0\] and footprints\[1\] apart, their centres separated by 6 arcmin"),
    "three": ([square((10, 20), 100.0), square((10, 20), 9e3), square((10.5, 20), 100.0)], r"footprints\[0\] and footprints\[2\] apart, .* 28.191 arcmin"),
    "the other side of the sky": ([square((10, 20), 100.0), square((190, -20), 100.0)], "separated by 10800 arcmin"),
    "none": ([], "footprints: expected at least one, found none"),
    "a name": (["pn"], r"footprints\[0\]: expected RA and Dec in degrees, found str"),
    "three columns": ([np.ones((4, 3))], r"footprints\[0\]: expected shape \(n, 2\), found \(4, 3\)"),
    "two points": ([square((10, 20), 100.0), np.ones((2, 2))], r"footprints\[1\]: expected at least 3 positions"),
    "nan": ([np.full((4, 2), np.nan)], r"footprints\[0\]: expected finite RA and Dec"),
    "beyond the pole": ([[[1, 91], [2, 90], [3, 89]]], "Dec within -90 to 90"),
    "a line": ([[[1, 1], [1, 2], [1, 3]]], r"footprints\[0\]: expected positions round an area"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOOTPRINTS)
def test_footprints_that_cannot_be(name):
    footprints, message = FOOTPRINTS[name]
    with pytest.raises(ValueError, match=message):
        around(*footprints)


@pytest.mark.parametrize("reach", [-1, np.nan, np.inf])
def test_reach_that_cannot_be(reach):
    with pytest.raises(ValueError, match="reach: expected a number of arcsec, not negative"):
        around(square((10, 20), 100.0), reach=reach)
