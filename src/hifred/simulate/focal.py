"""Where photons land: on a detector that keeps their places, or in one of a few large pixels."""

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from hifred.grid import CubeGrid
from hifred.instruments.pixels import PixelArray
from hifred.simulate.telescope import Telescope

MARGIN = 60.0
"""Arcsec beyond the grid to which a detector without large pixels reaches."""


@dataclass(frozen=True, eq=False)
class SkyField:
    """A detector without large pixels: the grid and a margin about it; positions are pixels of the grid."""

    grid: CubeGrid
    wcs: WCS

    @property
    def area(self) -> float:
        """In arcmin2."""
        return float(np.prod(self._sides)) * (self.grid.pixel_size / 60) ** 2

    @property
    def _sides(self) -> np.ndarray:
        return np.array(self.grid.sky_shape) + 2 * MARGIN / self.grid.pixel_size

    def place(self, x, y, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the photons that land here, where the list puts them, and the number of their pixel (0)."""
        ny, nx = self.grid.sky_shape
        height, width = self._sides / 2
        on = np.flatnonzero((np.abs(x - (nx - 1) / 2) < width) & (np.abs(y - (ny - 1) / 2) < height))
        return on, x[on], y[on], np.zeros(on.size, np.uint8)

    def anywhere(self, size: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Even places, and the number of their pixel (0)."""
        ny, nx = self.grid.sky_shape
        y, x = (rng.random((2, size)) - 0.5) * self._sides[:, None]
        return x + (nx - 1) / 2, y + (ny - 1) / 2, np.zeros(size, np.uint8)


@dataclass(frozen=True, eq=False)
class ArrayField:
    """Large pixels; positions are (east, north) in arcsec on the tangent plane of the array's middle."""

    array: PixelArray
    roll: float
    wcs: WCS
    grid_wcs: WCS

    @property
    def area(self) -> float:
        """Of the pixels that see the sky, in arcmin2."""
        return float(self.array.seen.sum()) * (self.array.pitch / 60) ** 2

    def place(self, x, y, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the photons that land here, where the list puts them, and the number of their pixel."""
        inside = np.flatnonzero(np.hypot(x, y) < 1e6)
        world = self.grid_wcs.wcs_pix2world(x[inside], y[inside], 0)
        east, north = self.wcs.wcs_world2pix(*world, 0)
        # The inverse of `PixelArray.offsets`, written out again.
        turned = (north + 1j * east) * np.exp(-1j * np.radians(self.roll)) / self.array.pitch
        rows, columns = self.array.shape
        column = np.floor(turned.real + columns / 2)
        row = np.floor(np.sign(self.array.row_angle) * turned.imag + rows / 2)
        on = np.flatnonzero((row >= 0) & (row < rows) & (column >= 0) & (column < columns))
        row, column = row[on].astype(int), column[on].astype(int)
        seen = self.array.seen[row, column]
        return inside[on[seen]], *self._spread(row[seen], column[seen], rng)

    def anywhere(self, size: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels that see the sky, all alike, and places in them."""
        rows, columns = np.nonzero(self.array.seen)
        chosen = rng.integers(len(rows), size=size)
        return self._spread(rows[chosen], columns[chosen], rng)

    def _spread(self, row, column, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        within = rng.random((2, len(row))) - 0.5
        offset = self.array.offsets(row + within[0], column + within[1], self.roll)
        return np.imag(offset), np.real(offset), self.array.layout[row, column]


def field_of(grid: CubeGrid, telescope: Telescope) -> SkyField | ArrayField:
    """Where a telescope's detector lies on a grid.

    Raises
    ------
    ValueError
        If the grid has no place on the sky.
    """
    pointing = telescope.pointing(grid).icrs
    wcs, array = grid.wcs, telescope.instrument.detector
    assert wcs is not None
    if array is None:
        return SkyField(grid, wcs)
    plane = WCS(naxis=2)
    plane.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    plane.wcs.crval = [pointing.ra.deg, pointing.dec.deg]
    plane.wcs.crpix = [1.0, 1.0]
    plane.wcs.cdelt = [1 / 3600, 1 / 3600]
    return ArrayField(array, telescope.roll, plane, wcs)
