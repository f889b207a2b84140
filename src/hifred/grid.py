"""The frame in which the answer lives: energy bins and sky pixels."""

import operator
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS


def whole_numbers(name: str, values) -> tuple[int, ...]:
    """Sizes as a tuple of int.

    Raises
    ------
    ValueError
        If one of them is not a whole number.
    """
    try:
        return tuple(operator.index(n) for n in values)
    except TypeError:
        raise ValueError(f"{name}: expected whole numbers, found {values!r}") from None


def number(name: str, value) -> float:
    """An option as a float.

    Raises
    ------
    ValueError
        If it is not one real number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected a number, found {value!r}") from None


@dataclass(frozen=True, eq=False)
class CubeGrid:
    """Energy bins and sky pixels of a cube `z[energy, y, x]`.

    Parameters
    ----------
    energy_edges : array of shape (L + 1,)
        Edges of the true-energy bins in keV, positive and strictly increasing.
    shape : tuple of two int
        Number of sky pixels `(ny, nx)`.
    pixel_size : float, optional
        Side of the square sky pixels in arcsec.
    center : SkyCoord or pair of float, optional
        Sky position of the centre of the field; a pair is (right ascension, declination) in degrees, ICRS.
        Without it the cube has no place on the sky and `wcs` is None.

    Raises
    ------
    ValueError
        If the edges do not increase, are not positive, or the shape or the pixel size is not positive.
    """

    energy_edges: np.ndarray
    sky_shape: tuple[int, int]
    pixel_size: float
    center: SkyCoord | None

    def __init__(self, energy_edges, shape, pixel_size=1.0, center=None):
        edges = np.array(energy_edges, dtype=float)
        if edges.ndim != 1 or edges.size < 2 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
            raise ValueError(
                f"energy_edges: expected at least two finite, strictly increasing energies in keV, "
                f"found an array of shape {edges.shape}"
                + ("" if edges.size < 2 else f" from {edges.flat[0]} to {edges.flat[-1]}")
            )
        if edges[0] <= 0:
            raise ValueError(f"energy_edges: expected positive energies in keV, found {edges[0]}")
        sides = whole_numbers("shape", shape)
        if len(sides) != 2 or min(sides) < 1:
            raise ValueError(f"shape: expected two positive numbers of pixels (ny, nx), found {shape}")
        size = float(pixel_size)
        if not (np.isfinite(size) and size > 0):
            raise ValueError(f"pixel_size: expected a positive number of arcsec, found {pixel_size}")
        if center is not None and not isinstance(center, SkyCoord):
            center = SkyCoord(*center, unit=u.deg)
        edges.flags.writeable = False
        object.__setattr__(self, "energy_edges", edges)
        object.__setattr__(self, "sky_shape", sides)
        object.__setattr__(self, "pixel_size", size)
        object.__setattr__(self, "center", center)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape `(L, ny, nx)` of a cube on this grid."""
        return (self.energy_edges.size - 1, *self.sky_shape)

    @property
    def energies(self) -> np.ndarray:
        """Centres of the energy bins in keV, shape (L,)."""
        return 0.5 * (self.energy_edges[:-1] + self.energy_edges[1:])

    @property
    def wcs(self) -> WCS | None:
        """Tangential celestial WCS of the images (north up, east left), or None without a `center`."""
        if self.center is None:
            return None
        ny, nx = self.sky_shape
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.crval = [self.center.icrs.ra.deg, self.center.icrs.dec.deg]
        wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
        wcs.wcs.cdelt = [-self.pixel_size / 3600, self.pixel_size / 3600]
        wcs.wcs.radesys = "ICRS"
        return wcs

    def require_same(self, other: "CubeGrid", names: tuple[str, str]) -> None:
        """Check that another grid is this one.

        Parameters
        ----------
        other : CubeGrid
            The grid to compare with.
        names : pair of str
            What the two grids belong to, for the message.

        Raises
        ------
        ValueError
            If the energy ranges do not overlap, or the energies, shapes, pixel sizes or centres differ.
        """
        first, second = names
        lo, hi = self.energy_edges[[0, -1]]
        other_lo, other_hi = other.energy_edges[[0, -1]]
        if other_hi <= lo or other_lo >= hi:
            raise ValueError(
                f"no overlap in energy: {first} covers {lo:g} to {hi:g} keV, {second} {other_lo:g} to {other_hi:g} keV"
            )
        if self.shape != other.shape:
            raise ValueError(f"the grids differ: {first} has shape (energy, y, x) {self.shape}, {second} {other.shape}")
        if not np.allclose(self.energy_edges, other.energy_edges, rtol=1e-6, atol=0):
            raise ValueError(f"the grids differ: the energy bins of {first} and {second} are not the same")
        if not np.isclose(self.pixel_size, other.pixel_size, rtol=1e-6):
            raise ValueError(
                f"the grids differ: {first} has pixels of {self.pixel_size:g} arcsec, {second} of {other.pixel_size:g}"
            )
        if self.center is not None and other.center is not None:
            apart = self.center.separation(other.center).arcsec
            if apart > 0.01 * self.pixel_size:
                raise ValueError(f"the grids differ: the centres of {first} and {second} are {apart:.3g} arcsec apart")
