"""Exposure maps: how long, and with how much area, each place of the sky was seen."""

import os
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments.planes import Planes, read_planes
from hifred.overlap import average, coverage


@dataclass(frozen=True, eq=False)
class ExposureMap:
    """Exposure on the sky, for one or several energies.

    Parameters
    ----------
    images : array of shape (K, y, x)
        Exposure, in `unit`; finite, not negative.
    energies : array of shape (K,) or None
        keV, increasing; None for a single map that holds at all energies.
    wcs : WCS
        Celestial WCS of the pixels.
    unit : {"s", "cm2 s"}
        Exposure, with vignetting if the map has it; or exposure times effective area.
    path : str, optional
        The file it was read from.

    Raises
    ------
    ValueError
        If shapes do not fit, values are negative, not finite or all 0, or the WCS is not celestial.
    """

    images: np.ndarray
    energies: np.ndarray | None
    wcs: WCS
    unit: str = "s"
    path: str | None = None

    def __post_init__(self):
        images = np.array(self.images, float)
        if images.ndim != 3:
            raise ValueError(f"images: expected the axes (energy, y, x), found {images.ndim}")
        if not np.all(np.isfinite(images)) or images.min() < 0:
            raise ValueError("images: expected finite values of at least 0, found others")
        empty = images.max(axis=(1, 2)) == 0
        if empty.any():
            raise ValueError(f"images: expected some exposure in each map, found none in {int(empty.sum())} of them")
        if self.energies is None and len(images) != 1:
            raise ValueError(f"energies: expected {len(images)}, one for each map, found none")
        if self.energies is not None:
            energies = np.array(self.energies, float)
            if energies.shape != images.shape[:1] or np.any(np.diff(energies) <= 0) or not np.all(energies > 0):
                raise ValueError(f"energies: expected {len(images)} increasing energies in keV, found {energies}")
            energies.flags.writeable = False
            object.__setattr__(self, "energies", energies)
        if self.wcs.naxis != 2 or not self.wcs.has_celestial:
            raise ValueError(f"wcs: expected two celestial axes, found {list(self.wcs.wcs.ctype)}")
        if self.unit not in ("s", "cm2 s"):
            raise ValueError(f"unit: expected s or cm2 s, found {self.unit!r}")
        images.flags.writeable = False
        object.__setattr__(self, "images", images)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "ExposureMap":
        """Read a map, or maps for several energies.

        Energies are found as `hifred.instruments.planes.read_planes` says. The unit is that of BUNIT: a time, or a time
        and an area (`count/photon` beside them, as Chandra's maps have it, is left out); without BUNIT it is s.

        Raises
        ------
        FileError
            If values are negative or not finite, an image has no celestial WCS, or the unit is another.
        """
        planes = read_planes(path)
        wcs = planes.wcs
        if not wcs.has_celestial:
            raise FileError(
                f"{planes.where}: expected a celestial WCS in CTYPE1 and CTYPE2, found {list(wcs.wcs.ctype)}"
            )
        unit, scale = _unit(planes)
        energies, images = planes.energies, planes.images * scale
        if energies is not None:
            order = np.argsort(energies)
            energies, images = energies[order], images[order]
        try:
            return cls(images, energies, wcs, unit, str(path))
        except ValueError as error:
            raise FileError(f"{planes.where}: {error}") from error

    def on(self, grid: CubeGrid) -> np.ndarray:
        """Mean exposure over the pixels of a grid.

        Parameters
        ----------
        grid : CubeGrid
            The grid; it needs a centre.

        Returns
        -------
        array of shape (K, ny, nx)
            In `unit`; what the map does not cover was not seen and counts as 0.

        Raises
        ------
        ValueError
            If the grid has no place on the sky, or the map has no exposure there.
        """
        means = average(self.images, self.wcs, grid) * coverage(self.wcs, self.images.shape[1:], grid)
        if not np.all(means.max(axis=(1, 2)) > 0):
            raise ValueError(
                f"{self.path or 'exposure map'}: expected exposure on the grid, found none: do they overlap?"
            )
        return means

    def vignetting(self, grid: CubeGrid, on_axis=None) -> np.ndarray:
        """Exposure relative to that on the optical axis.

        Parameters
        ----------
        grid : CubeGrid
            The grid; it needs a centre.
        on_axis : float or array of shape (K,), optional
            Exposure on the axis, in `unit`; by default the highest of each map, which holds if the axis was seen.

        Returns
        -------
        array of shape (K, ny, nx)
            1 on the axis.

        Raises
        ------
        ValueError
            As `on`; if a value on the axis is not positive.
        """
        values = self.images.max(axis=(1, 2)) if on_axis is None else np.broadcast_to(on_axis, len(self.images))
        if not (np.all(np.isfinite(values)) and np.all(values > 0)):
            raise ValueError(f"on_axis: expected positive exposures in {self.unit}, found {on_axis}")
        return self.on(grid) / values[:, None, None]

    def describe(self) -> str:
        """Say in one line what it is."""
        count, ny, nx = self.images.shape
        at = "all energies" if self.energies is None else f"{', '.join(f'{e:g}' for e in self.energies)} keV"
        maps = "1 exposure map" if count == 1 else f"{count} exposure maps"
        return f"{maps} of {ny} x {nx} pixels at {at}, up to {self.images.max():.4g} {self.unit}"


def _unit(planes: Planes) -> tuple[str, float]:
    """The unit of the maps, and what to multiply them by to have it."""
    text = str(planes.header.get("BUNIT", "s")).strip() or "s"
    try:
        found = u.Unit(text)
    except ValueError as error:
        raise FileError(f"{planes.where}: expected BUNIT to be s or cm2 s, found {text!r}") from error
    for name, unit in (("s", u.s), ("cm2 s", u.cm**2 * u.s)):
        for events in (u.dimensionless_unscaled, u.ct / u.ph):
            if found.is_equivalent(unit * events):
                return name, float(found.to(unit * events))
    raise FileError(f"{planes.where}: expected BUNIT to be s or cm2 s, found {text!r}")
