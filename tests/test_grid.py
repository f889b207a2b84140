import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from hifred import CubeGrid

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
