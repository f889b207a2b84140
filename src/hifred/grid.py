"""The frame in which the answer lives: energy bins and sky pixels."""

import operator
from collections.abc import Sequence
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
        return tuple(int(operator.index(n)) for n in values)
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
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected a number, found {value!r}") from None


def energy_bins(lo, hi, step) -> np.ndarray:
    """Edges of equal energy bins, for `CubeGrid`.

    Parameters
    ----------
    lo, hi : float
        First and last edge in keV.
    step : float
        Width of a bin in keV.

    Returns
    -------
    array of shape (L + 1,)
        Edges in keV; the first is `lo` and the last is `hi`.

    Raises
    ------
    ValueError
        If not `0 < lo < hi`, or the range is not a whole number of steps (to 1e-6 of a step).
    """
    lo, hi, step = number("lo", lo), number("hi", hi), number("step", step)
    if not (0 < lo < hi < np.inf):
        raise ValueError(f"lo, hi: expected 0 < lo < hi in keV, found {lo:g} and {hi:g}")
    if not (0 < step < np.inf):
        raise ValueError(f"step: expected a positive number of keV, found {step:g}")
    bins = round((hi - lo) / step)
    if bins < 1 or abs((hi - lo) / step - bins) > 1e-6:
        raise ValueError(
            f"step: expected a whole number of steps from {lo:g} to {hi:g} keV, "
            f"found {(hi - lo) / step:.6g} of {step:g}"
        )
    return np.linspace(lo, hi, bins + 1)


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
    rotation : float, optional
        Position angle of the +y axis at the centre, in degrees east of north.

    Raises
    ------
    ValueError
        If the edges do not increase, are not positive, the shape or the pixel size is not positive, or the rotation is
        not finite.
    """

    energy_edges: np.ndarray
    sky_shape: tuple[int, int]
    pixel_size: float
    center: SkyCoord | None
    rotation: float

    def __init__(self, energy_edges, shape, pixel_size=1.0, center=None, rotation=0.0):
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
        angle = number("rotation", rotation)
        if not np.isfinite(angle):
            raise ValueError(f"rotation: expected a finite number of degrees, found {rotation}")
        if center is not None and not isinstance(center, SkyCoord):
            center = SkyCoord(*center, unit=u.deg)
        edges.flags.writeable = False
        object.__setattr__(self, "energy_edges", edges)
        object.__setattr__(self, "sky_shape", sides)
        object.__setattr__(self, "pixel_size", size)
        object.__setattr__(self, "center", center)
        object.__setattr__(self, "rotation", angle)

    @classmethod
    def around(
        cls, footprints: Sequence, *, energy_edges, pixel_size, reach=0.0, rotation=0.0, center=None
    ) -> "CubeGrid":
        """Propose a grid for instruments that see different fields: the part of the sky that all of them see.

        Parameters
        ----------
        footprints : sequence
            What each instrument sees: an array of shape (n, 2) of right ascension and declination in degrees (ICRS),
            a SkyCoord of n positions, or anything with one of these as its `footprint`; n is at least 3. The corners
            of a detector or of an exposed field will do.
        energy_edges, pixel_size, rotation
            As for the grid itself.
        reach : float, optional
            Arcsec added on each side: how far the widest PSF brings photons into the field from beyond it.
        center : SkyCoord or pair of float, optional
            Centre of the field; by default the middle of the part that all see.

        Returns
        -------
        CubeGrid
            Each footprint has a box along the axes of the grid, on its tangent plane. The field is the box in which
            these overlap, widened by `reach`, with as many pixels as cover it.

        Raises
        ------
        ValueError
            If there are no footprints, one is not of that form, they do not overlap, or `reach` is negative.
        """
        reach = number("reach", reach)
        if not (0 <= reach < np.inf):
            raise ValueError(f"reach: expected a number of arcsec, not negative, found {reach:g}")
        skies = [_footprint(n, footprint) for n, footprint in enumerate(footprints)]
        if not skies:
            raise ValueError("footprints: expected at least one, found none")
        place = min((_middle(sky) for sky in skies), key=lambda middle: middle[1])[0] if center is None else center
        pixel = cls(energy_edges, (1, 1), pixel_size, place, rotation)
        middle = pixel.center
        box = _common_box(skies, _tangential(middle, pixel))
        # The box changes a little as its plane moves: what a second move leaves is below 1e-6 of a pixel.
        for _ in range(2 if center is None else 0):
            middle = _tangential(middle, pixel).pixel_to_world(*box.mean(axis=0))
            box = _common_box(skies, _tangential(middle, pixel))
        sides = 2 * (np.abs(box).max(axis=0) + reach / pixel.pixel_size)
        # A box of a whole number of pixels gets no further one for its rounding.
        nx, ny = np.maximum(np.ceil(sides - 1e-6).astype(int), 1).tolist()
        return cls(energy_edges, (ny, nx), pixel_size, middle, rotation)

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
        """Tangential celestial WCS of the images, or None without a `center`.

        At rotation 0 north is up and east is left; the mirror image of the sky never occurs.
        """
        return None if self.center is None else _tangential(self.center, self)

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
            If the energy ranges do not overlap, or the energies, shapes, pixel sizes, centres or
            rotations differ. Grids without a centre have no place that could differ.
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
            turned = abs((self.rotation - other.rotation + 180) % 360 - 180)
            if np.radians(turned) * np.hypot(*self.sky_shape) / 2 > 0.01:
                raise ValueError(
                    f"the grids differ: {first} is rotated by {self.rotation:.6g} degrees, "
                    f"{second} by {other.rotation:.6g}"
                )


def _tangential(center: SkyCoord | None, grid: CubeGrid) -> WCS:
    """WCS of the pixels of a grid, moved to `center`."""
    if center is None:
        raise ValueError("center: expected a place on the sky, found none")
    ny, nx = grid.sky_shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [center.icrs.ra.deg, center.icrs.dec.deg]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    wcs.wcs.cdelt = [-grid.pixel_size / 3600, grid.pixel_size / 3600]
    # The default at a declination of exactly 90 degrees is 0, which would turn the image over.
    wcs.wcs.lonpole = 180.0
    cos, sin = np.cos(np.radians(grid.rotation)), np.sin(np.radians(grid.rotation))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    wcs.wcs.radesys = "ICRS"
    return wcs


def _footprint(index: int, footprint) -> SkyCoord:
    """Positions of one footprint, whatever form it has."""
    place = footprint if isinstance(footprint, SkyCoord) else getattr(footprint, "footprint", footprint)
    if not isinstance(place, SkyCoord):
        try:
            degrees = np.asarray(place, dtype=float)
        except (TypeError, ValueError):
            raise ValueError(
                f"footprints[{index}]: expected RA and Dec in degrees, found {type(footprint).__name__}"
            ) from None
        if degrees.ndim != 2 or degrees.shape[1] != 2:
            raise ValueError(f"footprints[{index}]: expected shape (n, 2), found {degrees.shape}")
        if not np.all(np.isfinite(degrees)) or np.any(np.abs(degrees[:, 1]) > 90):
            raise ValueError(f"footprints[{index}]: expected finite RA and Dec, Dec within -90 to 90, found others")
        place = SkyCoord(degrees[:, 0], degrees[:, 1], unit=u.deg)
    if place.ndim != 1 or place.size < 3:
        raise ValueError(f"footprints[{index}]: expected at least 3 positions, found shape {place.shape}")
    return SkyCoord(place.icrs.ra, place.icrs.dec)


def _middle(sky: SkyCoord) -> tuple[SkyCoord, float]:
    """Mean direction of some positions, and how far the farthest of them is from it in degrees."""
    mean = SkyCoord(sky.cartesian.mean(), frame="icrs")
    middle = SkyCoord(mean.spherical.lon, mean.spherical.lat, frame="icrs")
    return middle, float(middle.separation(sky).deg.max())


def _common_box(skies: list[SkyCoord], wcs: WCS) -> np.ndarray:
    """The box, [low, high] (x, y) in the pixels of `wcs`, in which those of all footprints overlap."""
    places = [np.stack(wcs.world_to_pixel(sky), axis=-1) for sky in skies]
    lows, highs = (np.array([extreme(place, axis=0) for place in places]) for extreme in (np.min, np.max))
    for index in np.flatnonzero(np.any(highs - lows < 1e-6, axis=1)):
        raise ValueError(f"footprints[{index}]: expected positions round an area, found none between them")
    box = np.array([lows.max(axis=0), highs.min(axis=0)])
    if np.all(box[1] > box[0]):
        return box
    # Intervals without a common point have two among them that are apart; nan is 90 degrees away or more.
    gaps = np.max(lows[:, None] - highs, axis=-1)
    gaps[np.isnan(gaps)] = np.inf
    np.fill_diagonal(gaps, -np.inf)
    first, second = sorted(np.unravel_index(np.argmax(gaps), gaps.shape))
    apart = _middle(skies[first])[0].separation(_middle(skies[second])[0])
    raise ValueError(
        f"footprints: expected footprints that overlap, found footprints[{first}] and footprints[{second}] apart, "
        f"their centres separated by {apart.arcmin:.5g} arcmin"
    )
