"""Point sources: bright spots without lines in front of the gas."""

from dataclasses import dataclass

import numpy as np

from hifred.absorption import transmission
from hifred.simulate.projection import require_column


@dataclass(frozen=True)
class PointSource:
    """A spot in the middle of a pixel, with a power law `E^-index` (photons / keV) behind the scene's absorber.

    Attributes
    ----------
    pixel : (int, int)
        Row and column.
    share : float
        Share of all photons of the sky, in the band and behind the absorber.
    index : float
        Photon index.
    """

    pixel: tuple[int, int]
    share: float
    index: float = 2.0


def add_points(values, energy_edges, points, column_density: float | np.ndarray = 0.0):
    """Add point sources to a sky.

    Parameters
    ----------
    values : (L, y, x) array
        Photons / cm2 / s in each voxel, without them.
    energy_edges : (L + 1,) array
        keV.
    points : sequence of PointSource
    column_density : float or (y, x) array
        Hydrogen column in front, 1e22 cm-2.

    Returns
    -------
    (L, y, x) array

    Raises
    ------
    ValueError
        If shares are negative or add up to 1 or more, or a pixel is outside the sky.
    """
    if not points:
        return values
    shape = values.shape[1:]
    shares = [point.share for point in points]
    if min(shares) < 0 or sum(shares) >= 1:
        raise ValueError(f"share: expected numbers of at least 0 that add up to less than 1, found {shares}")
    column = np.broadcast_to(require_column(column_density, shape), shape)
    total, values = values.sum() / (1 - sum(shares)), values.copy()
    edges = np.asarray(energy_edges, dtype=np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    for point in points:
        if not all(0 <= place < size for place, size in zip(point.pixel, shape, strict=True)):
            raise ValueError(f"pixel: expected one of {shape[0]} x {shape[1]} pixels, found {point.pixel}")
        spectrum = centres**-point.index * np.diff(edges) * transmission(centres, column[point.pixel])
        values[:, *point.pixel] += total * point.share * spectrum / spectrum.sum()
    return values
