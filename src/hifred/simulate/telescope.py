"""A telescope as the photons of a simulation meet it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

from hifred.grid import CubeGrid
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.presets import Instrument
from hifred.instruments.rmf import Redistribution
from hifred.simulate.scatter import caught


@dataclass(frozen=True, eq=False)
class Telescope:
    """An instrument that looks at a simulated sky.

    Attributes
    ----------
    instrument : Instrument
        Its preset.
    area : EffectiveArea
        For a detector with pixels of its own, that of the whole array for a point source in its middle: without the
        photons that miss it.
    redistribution : Redistribution
        Without the area.
    exposure : float
        s.
    center : tuple of two float, optional
        Where it points, degrees; by default the middle of the grid.
    roll : float
        Position angle of the columns of a detector with pixels of its own, degrees.
    """

    instrument: Instrument
    area: EffectiveArea
    redistribution: Redistribution
    exposure: float
    center: tuple[float, float] | None = None
    roll: float = 0.0

    @property
    def rmf_name(self) -> str:
        """Where its RMF is: a file that it was read from, or the name of one to be written."""
        return self._file(self.redistribution.path, "rmf")

    @property
    def arf_name(self) -> str:
        """Where its ARF is: a file that it was read from, or the name of one to be written."""
        return self._file(self.area.path, "arf")

    def _file(self, path: str | None, suffix: str) -> str:
        return f"{self.instrument.name}.{suffix}" if path is None else str(Path(path).resolve())

    def pointing(self, grid: CubeGrid) -> SkyCoord:
        """Where it points."""
        return middle(grid) if self.center is None else SkyCoord(*self.center, unit="deg")

    def incident(self, edges: np.ndarray) -> np.ndarray:
        """Area times exposure in energy bins, for photons that arrive wherever they land; cm2 s, shape (L,)."""
        area = self.area.on(edges) * self.exposure
        array = self.instrument.detector
        if array is None:
            return area
        knots = np.linspace(edges[0], edges[-1], 9)
        kept = [caught(self.instrument.psf, array, energy) for energy in knots]
        return area / np.interp(0.5 * (edges[:-1] + edges[1:]), knots, kept)


def middle(grid: CubeGrid) -> SkyCoord:
    """Middle of a grid, ICRS.

    Raises
    ------
    ValueError
        If the grid has no place on the sky.
    """
    if grid.center is None:
        raise ValueError("grid: expected one with a centre on the sky, found none")
    return grid.center.icrs
