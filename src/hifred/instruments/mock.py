"""Effective areas and redistributions made from a few numbers, for plans and simulations without calibration files."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.sparse import csr_array, hstack
from scipy.special import log_ndtr, ndtr

from hifred.grid import number
from hifred.instruments.psf import FWHM

_REACH = 6.0  # standard deviations; 2e-9 of a Gaussian is further away
_HIGHEST_TAIL = 0.6  # below some 0.4 keV the power laws of the tail would take more photons than there are
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class CcdTail:
    """What a CCD does to photons whose charge is partly lost.

    Of photons of energy E (keV), a fraction `shoulder_fraction E^shoulder_slope` falls in an exponential shoulder below
    the peak, and `shelf_fraction E^shelf_slope` in a flat shelf from the peak down to zero. Where the two exceed 0.6
    together (at low energies), both are scaled to 0.6.

    Parameters
    ----------
    shoulder_fraction, shelf_fraction : float
        Fractions at 1 keV.
    shoulder_slope, shelf_slope : float
        Exponents of the energy.
    shoulder_width : float
        Energy over which the shoulder falls by e, keV.

    Raises
    ------
    ValueError
        If a fraction is negative or above 1, or the width is not positive.
    """

    shoulder_fraction: float
    shoulder_slope: float
    shoulder_width: float
    shelf_fraction: float
    shelf_slope: float

    def __post_init__(self):
        for name in self.__dataclass_fields__:
            value = number(name, getattr(self, name))
            if not np.isfinite(value):
                raise ValueError(f"{name}: expected a finite number, found {value}")
            if name.endswith("fraction") and not 0 <= value <= 1:
                raise ValueError(f"{name}: expected 0 to 1, found {value:g}")
            object.__setattr__(self, name, value)
        if not self.shoulder_width > 0:
            raise ValueError(f"shoulder_width: expected an energy above 0 keV, found {self.shoulder_width:g}")

    def fractions(self, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fractions of the photons in the shoulder and in the shelf."""
        shoulder = self.shoulder_fraction * energy**self.shoulder_slope
        shelf = self.shelf_fraction * energy**self.shelf_slope
        scale = np.minimum(1.0, _HIGHEST_TAIL / np.maximum(shoulder + shelf, _ROUNDING))
        return shoulder * scale, shelf * scale


def mean_area(energy_edges: np.ndarray, energies: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Mean of a coarse area table over bins.

    The logarithm of the area is interpolated in the logarithm of the energy by monotone cubics, which do not overshoot
    at absorption edges. Outside of the table the area is 0.

    Parameters
    ----------
    energy_edges : array of shape (n + 1,)
        keV.
    energies, areas : array of shape (m,)
        The table, keV and cm2.

    Returns
    -------
    array of shape (n,)
        cm2.
    """
    curve = PchipInterpolator(np.log(energies), np.log(areas))
    parts = 8
    points = energy_edges[:-1, None] + np.diff(energy_edges)[:, None] * (np.arange(parts) + 0.5) / parts
    inside = (points >= energies[0]) & (points <= energies[-1])
    values = np.zeros(points.shape)
    values[inside] = np.exp(curve(np.log(points[inside])))
    return values.mean(axis=1)


def redistribution(energy_edges, channel_edges, energies, fwhm, tail: CcdTail | None = None) -> csr_array:
    """Probability of each channel for photons of each bin of true energy.

    Photons are spread evenly over a bin, at the middles of parts of half a standard deviation or less. Each makes a
    Gaussian peak, with a tail of partly lost charge for a CCD.

    Parameters
    ----------
    energy_edges : array of shape (n + 1,)
        Edges of the bins, keV.
    channel_edges : array of shape (c + 1,)
        Nominal edges of the channels, keV.
    energies, fwhm : array of shape (m,)
        Full width at half maximum in keV at energies in keV. Its square is interpolated linearly between them (noise of
        the electronics and Fano noise add like that); outside, the nearest is used.
    tail : CcdTail, optional
        What is not in the peak.

    Returns
    -------
    csr_array of shape (c, n)
        Columns sum to 1, less what falls outside of the channels.
    """
    energy_edges, channel_edges = np.asarray(energy_edges, float), np.asarray(channel_edges, float)
    sigma = np.sqrt(np.interp(energy_edges, energies, np.square(fwhm))) / FWHM
    # Parts of half a standard deviation: their own width then adds 1 part in 100 to that of the peak, once bins are
    # wide.
    parts = max(1, int(np.ceil(np.max(np.diff(energy_edges) / (0.5 * np.minimum(sigma[:-1], sigma[1:]))))))
    steps = (np.arange(parts) + 0.5) / parts
    spread = csr_array((channel_edges.size - 1, energy_edges.size - 1))
    for step in steps:
        photon = energy_edges[:-1] + step * np.diff(energy_edges)
        width = np.sqrt(np.interp(photon, energies, np.square(fwhm))) / FWHM
        if tail is None:
            spread = spread + _peaks(photon, width, channel_edges)
        else:
            spread = spread + _ccd(photon, width, channel_edges, tail)
    return csr_array(spread / parts)


def _peaks(energy: np.ndarray, sigma: np.ndarray, channel_edges: np.ndarray) -> csr_array:
    channels = channel_edges.size - 1
    first = np.clip(np.searchsorted(channel_edges, energy - _REACH * sigma, side="right") - 1, 0, channels)
    end = np.clip(np.searchsorted(channel_edges, energy + _REACH * sigma), 0, channels)
    sizes = np.maximum(end - first, 0)
    column = np.repeat(np.arange(energy.size), sizes)
    row = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(first, sizes)
    low, high = ((channel_edges[row + side] - energy[column]) / sigma[column] for side in (0, 1))
    # In the upper half, differences of the upper tail keep their digits.
    upper = low > 0
    share = np.where(upper, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return csr_array((share, (row, column)), shape=(channels, energy.size))


def _ccd(energy: np.ndarray, sigma: np.ndarray, channel_edges: np.ndarray, tail: CcdTail) -> csr_array:
    columns = []
    for chosen in np.array_split(np.arange(energy.size), max(1, energy.size * channel_edges.size // 2_000_000)):
        e, s = energy[chosen], sigma[chosen]
        shoulder, shelf = tail.fractions(e)
        distance = channel_edges[:, None] - e
        peak = ndtr(distance / s)
        # Gaussian minus an exponential deviate; the logarithm keeps huge times tiny finite.
        width = tail.shoulder_width
        excess = np.exp(s**2 / (2 * width**2) + distance / width + log_ndtr(-distance / s - s / width))
        flat = np.clip(channel_edges[:, None] / e, 0, 1)
        below = (1 - shelf) * peak + shoulder * excess + shelf * flat
        share = np.maximum(np.diff(below, axis=0), 0.0)
        share[share < _ROUNDING] = 0.0
        columns.append(csr_array(share))
    return csr_array(hstack(columns))
