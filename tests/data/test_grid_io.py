import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from hifred import CubeGrid, FusedCube, fitsio
from hifred.data.grid_io import grid_hdu, read_grid, sky_header

EDGES = np.linspace(1, 2, 5)


def written(grid, tmp_path, drop=()):
    table = grid_hdu(grid)
    for keyword in drop:
        del table.header[keyword]
    fitsio.write(tmp_path / "grid.fits", [fits.PrimaryHDU(), table], overwrite=True)
    return fitsio.FitsFile(tmp_path / "grid.fits")


@pytest.mark.parametrize("center", [None, (83.633, 22.0145), (0.0, -90.0), (359.9999, 0.0)])
@pytest.mark.parametrize("rotation", [0.0, 33.3, -200.0])
def test_a_rotated_grid_comes_back(center, rotation, tmp_path):
    grid = CubeGrid(EDGES, (6, 4), 2.5, center, rotation)
    found = read_grid(written(grid, tmp_path))
    assert (found.shape, found.pixel_size, found.rotation) == (grid.shape, 2.5, rotation)
    grid.require_same(found, ("one", "other"))


def test_files_from_before_rotation_can_be_read(tmp_path):
    grid = CubeGrid(EDGES, (6, 4), 2.5, (10, 20))
    found = read_grid(written(grid, tmp_path, drop=["ROTATION"]))
    assert found.rotation == 0
    grid.require_same(found, ("one", "other"))


def test_no_grid(tmp_path):
    fitsio.write(tmp_path / "none.fits", [fits.PrimaryHDU()], overwrite=False)
    assert read_grid(fitsio.FitsFile(tmp_path / "none.fits")) is None
    assert not sky_header(None)
    assert not sky_header(CubeGrid(EDGES, (6, 4)))


@pytest.mark.parametrize("rebin", [(1, 1), (3, 3), (3, 1), (2, 5)])
@pytest.mark.parametrize("rotation", [0.0, 33.3, 90.0])
def test_the_header_of_rebinned_pixels(rebin, rotation):
    grid = CubeGrid(EDGES, (12, 10), 2.5, (10, 20), rotation)
    wcs = WCS(fits.Header.fromstring(sky_header(grid, rebin).tostring()))
    y, x = np.array([0, 1, 2]), np.array([1, 0, 1])
    found = wcs.pixel_to_world(x, y)
    # The centre of a block of pixels, from the outer edge of the first pixel.
    expected = grid.wcs.pixel_to_world((x + 0.5) * rebin[1] - 0.5, (y + 0.5) * rebin[0] - 0.5)
    assert found.separation(expected).arcsec.max() < 1e-6


@pytest.mark.parametrize("edges", [EDGES, np.geomspace(1, 2, 5)])
def test_the_cube_has_the_same_sky(edges, tmp_path):
    grid = CubeGrid(edges, (6, 4), 2.5, (10, 20), 33.3)
    cube = FusedCube(np.ones(grid.shape), "converged", "", np.zeros(1, [("iteration", int)]).view(np.recarray), grid)
    cube.write(tmp_path / "cube.fits")
    with fits.open(io.BytesIO((tmp_path / "cube.fits").read_bytes())) as hdus:
        celestial = WCS(hdus["CUBE"].header).celestial
    found, expected = (wcs.pixel_to_world([0, 3, 2], [0, 5, 1]) for wcs in (celestial, grid.wcs))
    assert found.separation(expected).arcsec.max() < 1e-6
    grid.require_same(FusedCube.read(tmp_path / "cube.fits").grid, ("one", "other"))
