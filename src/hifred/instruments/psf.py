"""Point-spread functions that have a formula: what share of a point source's photons falls in each pixel."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

from hifred.grid import number, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian in standard deviations."""

_TERMS = "1, E, t, E t, t^2"
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


class PSF(ABC):
    """A point-spread function: energies in keV, off-axis angles in arcmin, lengths on the sky in arcsec.

    Everything is normalised over the whole sky, so that what lies outside of a kernel is known and stays lost.
    """

    @abstractmethod
    def kernel(self, energy, off_axis=0.0, *, pixel_size, half) -> np.ndarray:
        """Share of a point source's photons in each pixel.

        Parameters
        ----------
        energy : float
            Photon energy, keV.
        off_axis : float
            Angle between the source and the optical axis, arcmin.
        pixel_size : float
            Side of the pixels, arcsec. The source is at the centre of the middle pixel.
        half : int
            Pixels on each side of the middle one.

        Returns
        -------
        array of shape (2 half + 1, 2 half + 1)
            Integrals over the pixels; 1 minus their sum is the share outside.

        Raises
        ------
        ValueError
            If an argument is out of range, or the PSF is not defined at that energy and angle.
        """

    @abstractmethod
    def encircled(self, radius, energy, off_axis=0.0) -> np.ndarray:
        """Share of the photons within a radius.

        Parameters
        ----------
        radius : array_like
            arcsec.
        energy : float
            keV.
        off_axis : float
            arcmin.

        Returns
        -------
        array
            Of the shape of `radius`.
        """

    @abstractmethod
    def radius(self, fraction, energy, off_axis=0.0) -> float:
        """Radius that holds a share of the photons, arcsec.

        Parameters
        ----------
        fraction : float
            Share, from 0 up to but not including 1.
        energy : float
            keV.
        off_axis : float
            arcmin.

        Raises
        ------
        ValueError
            If the share is out of range or never reached.
        """

    @abstractmethod
    def describe(self) -> str:
        """Say in one line what it is."""

    def farthest(self, energy: float) -> float:
        """Largest off-axis angle that the model holds for at an energy (keV), arcmin; infinite unless it says so."""
        return float("inf")

    def outside(self, energy, off_axis=0.0, *, pixel_size, half) -> float:
        """Share of the photons outside of the kernel: 1 minus its sum."""
        return 1.0 - float(self.kernel(energy, off_axis, pixel_size=pixel_size, half=half).sum())


@dataclass(frozen=True, eq=False)
class KingPSF(PSF):
    """King profile, `A / (1 + (r / rc)^2)^alpha` with `A = (alpha - 1) / (pi rc^2)`.

    `rc = c0 + c1 E + c2 t + c3 E t + c4 t^2` and `alpha` likewise, with E in keV and the off-axis angle t in arcmin:
    the form of the XMM-Newton calibration (XMM-CCF-REL-116), with a term in t^2 for telescopes whose PSF grows like
    that. The share within r is `1 - (1 + (r / rc)^2)^(1 - alpha)`.

    Parameters
    ----------
    core : sequence of one to five float
        Coefficients of rc, arcsec; those left out are 0.
    slope : sequence of one to five float
        Coefficients of alpha.
    within : float, optional
        Radius in arcsec within which all photons are counted to fall, as the calibration of XMM-Newton has it (5
        arcmin); by default the wings go on for ever.

    Raises
    ------
    ValueError
        If there are no or too many coefficients. At use, where rc is not positive or alpha not above 1 (the wings would
        hold infinitely many photons).
    """

    core: tuple[float, ...]
    slope: tuple[float, ...]
    within: float | None = None

    def __post_init__(self):
        for name in ("core", "slope"):
            object.__setattr__(self, name, _coefficients(name, getattr(self, name)))
        if self.within is not None and not 0 < self.within < np.inf:
            raise ValueError(f"within: expected a positive radius in arcsec, found {self.within}")
        self._at(1.0, 0.0)

    def kernel(self, energy, off_axis=0.0, *, pixel_size, half) -> np.ndarray:
        """Share of a point source's photons in each pixel; see `PSF.kernel`."""
        size, half = checked_pixels(pixel_size, half)
        core, slope = self._at(energy, off_axis)
        return _pixel_shares(lambda r2: self._share(r2, core, slope), size, half)

    def encircled(self, radius, energy, off_axis=0.0) -> np.ndarray:
        """Share of the photons within a radius; see `PSF.encircled`."""
        core, slope = self._at(energy, off_axis)
        return np.asarray(self._share(np.asarray(radius, float) ** 2, core, slope))

    def radius(self, fraction, energy, off_axis=0.0) -> float:
        """Radius that holds a share of the photons, arcsec; see `PSF.radius`."""
        core, slope = self._at(energy, off_axis)
        whole = 1.0 if self.within is None else _king(self.within**2, core, slope)
        return float(core * np.sqrt(np.expm1(np.log1p(-checked_fraction(fraction) * whole) / (1 - slope))))

    def farthest(self, energy) -> float:
        """Where core or slope above 1 have fallen to half of what they are on axis; see `PSF.farthest`.

        The formulas are linear fits near the axis: those of EPIC pn reach a core of zero at 15 arcmin and 10 keV.
        """
        core, slope = self._at(energy, 0.0)
        angles = np.linspace(0.0, 60.0, 601)
        cores, slopes = (np.array([_polynomial(c, energy, angle) for angle in angles]) for c in (self.core, self.slope))
        beyond = np.flatnonzero((cores < 0.5 * core) | (slopes - 1 < 0.5 * (slope - 1)))
        return float(angles[beyond[0] - 1]) if beyond.size else float("inf")

    def _share(self, square, core: float, slope: float):
        """Share within a radius, given its square in arcsec2."""
        if self.within is None:
            return _king(square, core, slope)
        return _king(np.minimum(square, self.within**2), core, slope) / _king(self.within**2, core, slope)

    def describe(self) -> str:
        """Say in one line what it is."""
        core, slope = self._at(1.0, 0.0)
        half_power = 2 * self.radius(0.5, 1.0)
        return f"King profile, core {core:.3g} arcsec, slope {slope:.3g}, half-power diameter {half_power:.3g} arcsec"

    def _at(self, energy, off_axis) -> tuple[float, float]:
        core, slope = (_polynomial(c, energy, off_axis) for c in (self.core, self.slope))
        if not core > 0:
            raise ValueError(f"core: expected a radius above 0 arcsec, found {core:.4g}{_where(energy, off_axis)}")
        if not slope > 1:
            raise ValueError(
                f"slope: expected above 1, or the wings hold infinitely many photons, found {slope:.4g}"
                f"{_where(energy, off_axis)}"
            )
        return core, slope


@dataclass(frozen=True, eq=False)
class GaussianPSF(PSF):
    """Gaussian, whose full width at half maximum depends on energy and off-axis angle.

    The share within r is `1 - exp(-r^2 / (2 sigma^2))` with `sigma = fwhm / 2.3548`.

    Parameters
    ----------
    fwhm : sequence of one to five float
        Coefficients of the width in arcsec, `c0 + c1 E + c2 t + c3 E t + c4 t^2` with E in keV and the off-axis angle t
        in arcmin; those left out are 0.

    Raises
    ------
    ValueError
        If there are no or too many coefficients; at use, where the width is not positive.
    """

    fwhm: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "fwhm", _coefficients("fwhm", self.fwhm))
        self._sigma(1.0, 0.0)

    def kernel(self, energy, off_axis=0.0, *, pixel_size, half) -> np.ndarray:
        """Share of a point source's photons in each pixel; see `PSF.kernel`."""
        size, half = checked_pixels(pixel_size, half)
        edges = (np.arange(half + 1) + 0.5) * size
        within = erf(edges / (np.sqrt(2) * self._sigma(energy, off_axis)))
        side = np.concatenate([within[:1], np.diff(within) / 2])
        line = np.concatenate([side[:0:-1], side])
        return line[:, None] * line

    def encircled(self, radius, energy, off_axis=0.0) -> np.ndarray:
        """Share of the photons within a radius; see `PSF.encircled`."""
        return np.asarray(-np.expm1(-0.5 * (np.asarray(radius, float) / self._sigma(energy, off_axis)) ** 2))

    def radius(self, fraction, energy, off_axis=0.0) -> float:
        """Radius that holds a share of the photons, arcsec; see `PSF.radius`."""
        return float(self._sigma(energy, off_axis) * np.sqrt(-2 * np.log1p(-checked_fraction(fraction))))

    def describe(self) -> str:
        """Say in one line what it is."""
        return f"Gaussian, {FWHM * self._sigma(1.0, 0.0):.3g} arcsec FWHM at 1 keV on axis"

    def _sigma(self, energy, off_axis) -> float:
        width = _polynomial(self.fwhm, energy, off_axis)
        if not width > 0:
            raise ValueError(f"fwhm: expected a width above 0 arcsec, found {width:.4g}{_where(energy, off_axis)}")
        return width / FWHM


def _king(square, core: float, slope: float):
    """Share of the photons within a radius of a King profile, given its square in arcsec2."""
    return -np.expm1((1 - slope) * np.log1p(square / core**2))


def checked_pixels(pixel_size, half) -> tuple[float, int]:
    """Size of the pixels (arcsec) and half-width of a kernel, checked."""
    size = number("pixel_size", pixel_size)
    if not (np.isfinite(size) and size > 0):
        raise ValueError(f"pixel_size: expected a positive number of arcsec, found {pixel_size}")
    (pixels,) = whole_numbers("half", [half])
    if pixels < 0:
        raise ValueError(f"half: expected at least 0 pixels, found {half}")
    return size, pixels


def checked_fraction(fraction) -> float:
    """Share of the photons, checked."""
    value = number("fraction", fraction)
    if not 0 <= value < 1:
        raise ValueError(f"fraction: expected at least 0 and below 1, found {fraction}")
    return value


def checked_place(energy, off_axis) -> tuple[float, float]:
    """Energy (keV) and off-axis angle (arcmin), checked."""
    e, t = number("energy", energy), number("off_axis", off_axis)
    if not (np.isfinite(e) and e > 0):
        raise ValueError(f"energy: expected a positive number of keV, found {energy}")
    if not (np.isfinite(t) and t >= 0):
        raise ValueError(f"off_axis: expected an angle of at least 0 arcmin, found {off_axis}")
    return e, t


def _coefficients(name: str, values) -> tuple[float, ...]:
    found = tuple(number(name, v) for v in values)
    if not 1 <= len(found) <= 5 or not np.all(np.isfinite(found)):
        raise ValueError(f"{name}: expected one to five finite coefficients (of {_TERMS}), found {values}")
    return found


def _polynomial(coefficients: tuple[float, ...], energy, off_axis) -> float:
    e, t = checked_place(energy, off_axis)
    return float(sum(c * term for c, term in zip(coefficients, (1.0, e, t, e * t, t * t), strict=False)))


def _where(energy, off_axis) -> str:
    return f" at {energy:g} keV, {off_axis:g} arcmin off axis"


def _pixel_shares(encircled: "Callable[[np.ndarray], np.ndarray]", size: float, half: int) -> np.ndarray:
    """Integrals over pixels of a round profile, from the share `encircled(r^2)` within a radius.

    The rectangle between the source and a corner (X, Y) holds `F(X, Y) = S(X, Y) + S(Y, X)`, where the triangle with
    the corners (0, 0), (X, 0), (X, Y) holds `S(X, Y) = (1 / 2 pi) int_0^Y encircled(X^2 + y^2) X / (X^2 + y^2) dy`: in
    polar coordinates, with the integral over the radius done. In pixels of side `size` the integrand has its
    singularities at least one half-interval away, so Gauss-Legendre nodes converge geometrically however narrow the
    core.
    """
    edges = (np.arange(half + 1) + 0.5) * size
    starts = np.concatenate([[0.0], edges[:-1]])
    widths = edges - starts
    y2 = (starts[:, None] + widths[:, None] * (_NODES + 1) / 2) ** 2
    triangle = np.empty((half + 1, half + 1))
    for i, x in enumerate(edges):
        r2 = x * x + y2
        triangle[i] = np.cumsum((encircled(r2) * x / r2) @ _WEIGHTS * widths / 2)
    corner = (triangle + triangle.T) / (2 * np.pi)
    quadrant = np.diff(np.diff(np.pad(corner, ((1, 0), (1, 0))), axis=0), axis=1)
    # The middle row and column were cut in halves.
    quadrant[0] *= 2
    quadrant[:, 0] *= 2
    right = np.concatenate([quadrant[:, :0:-1], quadrant], axis=1)
    # Where a profile has ended, differences of the sums leave rounding on both sides of zero.
    return np.maximum(np.concatenate([right[:0:-1], right]), 0)
