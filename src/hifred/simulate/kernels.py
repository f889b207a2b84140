"""Blurs and areas of simulated instruments: analytic, smooth, with the numbers of real ones."""

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import log_ndtr, ndtr

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian in standard deviations."""

# Effective areas in cm2 at energies in keV, near those of calibration files but drawn smoothly across
# absorption edges (up to 15% off from 0.7 to 8 keV, more at the ends): believable, not a calibration.
_AREA_ENERGY = np.array([0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 6.0, 6.5, 7.0, 8.0, 10.0])
_AREA = {
    "EPIC pn": [
        167,
        730,
        904,
        1087,
        1177,
        1140,
        900,
        804,
        752,
        711,
        625,
        463,
        250,
    ],  # observation 0693760101, SAS 18
    "calorimeter": [
        8,
        40,
        120,
        246,
        336,
        300,
        260,
        291,
        294,
        289,
        278,
        231,
        130,
    ],  # Hitomi SXS, gate valve open
}


def area(instrument, energy):
    """Effective area of a camera, smooth in energy.

    Parameters
    ----------
    instrument : {"EPIC pn", "calorimeter"}
        XMM-Newton EPIC pn, or a microcalorimeter like Hitomi SXS and XRISM Resolve with the gate valve open.
    energy : (L,) array
        keV, 0.3 to 10.

    Returns
    -------
    (L,) array
        cm2.
    """
    return np.exp(PchipInterpolator(np.log(_AREA_ENERGY), np.log(_AREA[instrument]))(np.log(energy)))


def gaussian_line(sigma, shift=0.0):
    """Gaussian redistribution, integrated over bins and cut at four standard deviations.

    Parameters
    ----------
    sigma : float
        Standard deviation in energy bins.
    shift : float
        Bins by which energies are measured too high.

    Returns
    -------
    (2 n + 1,) array
        Sum 1.
    """
    half = int(np.ceil(4 * sigma + abs(shift)))
    kernel = np.diff(ndtr((np.arange(-half, half + 2) - 0.5 - shift) / sigma))
    return kernel / kernel.sum()


def gaussian_spot(sigma):
    """Gaussian point-spread function, integrated over pixels and cut at four standard deviations.

    Parameters
    ----------
    sigma : float
        Standard deviation in pixels.

    Returns
    -------
    (2 n + 1, 2 n + 1) array
        Sum 1.
    """
    line = gaussian_line(sigma)
    return line[:, None] * line


def king_spot(core, slope, half, oversampling=9):
    """Point-spread function with wings, `(1 + (r / core)^2)^-slope` (King profile), averaged over pixels.

    Parameters
    ----------
    core : float
        Core radius in pixels.
    slope : float
        Exponent; above 1, or the wings hold infinitely many photons.
    half : int
        The image has `2 half + 1` pixels on each side. What lies outside is cut, and the rest made to sum 1.
    oversampling : int
        Points across a pixel.

    Returns
    -------
    (2 half + 1, 2 half + 1) array
        Sum 1.
    """
    size = 2 * half + 1
    axis = (np.arange(size * oversampling) + 0.5) / oversampling - size / 2
    profile = (1 + (axis[:, None] ** 2 + axis**2) / core**2) ** -slope
    image = profile.reshape(size, oversampling, size, oversampling).sum(axis=(1, 3))
    return image / image.sum()


def ccd_fwhm(energy):
    """Energy resolution of EPIC pn.

    `FWHM^2 = 5126 + 5483 E` eV2 with E in keV: readout noise and Fano noise. 103, 124 and 195 eV at 1.0, 1.85
    and 6.0 keV; the matrix of observation 0693760101 has 103, 125 and 195.

    Parameters
    ----------
    energy : array_like
        keV.

    Returns
    -------
    array
        keV.
    """
    return 1e-3 * np.sqrt(5126 + 5483 * np.asarray(energy, dtype=np.float64))


def ccd_redistribution(energy_edges, channel_edges):
    """Energy redistribution of a CCD like EPIC pn: peak, low-energy shoulder and shelf.

    A photon makes a Gaussian peak of width `ccd_fwhm`. Part of the charge of photons that stop near the
    surface is lost: a fraction `0.35 (E / 0.55 keV)^-1.2` falls in an exponential shoulder of 75 eV below the
    peak, and `0.22 (E / 0.55 keV)^-2.2` in a flat shelf down to zero. The fractions are set so that about as
    many photons as in the matrix of observation 0693760101 are more than 0.2 keV too low: 18%, 8% and 3% at
    0.55, 0.8 and 1.2 keV there.

    Parameters
    ----------
    energy_edges : (L + 1,) array
        Edges of the true energy bins, keV; photons are put at the middle.
    channel_edges : (C + 1,) array
        Nominal edges of the channels, keV.

    Returns
    -------
    (C, L) array
        Probability of each channel. Columns sum to less than 1 where photons fall outside the channels.
    """
    energy = (energy_edges[1:] + energy_edges[:-1]) / 2
    sigma, tail = ccd_fwhm(energy) / FWHM, 0.075
    shoulder, shelf = 0.35 * (0.55 / energy) ** 1.2, 0.22 * (0.55 / energy) ** 2.2
    distance = np.asarray(channel_edges)[:, None] - energy
    peak = ndtr(distance / sigma)
    # Gaussian minus an exponential deviate; the logarithm keeps huge times tiny finite.
    excess = np.exp(sigma**2 / (2 * tail**2) + distance / tail + log_ndtr(-distance / sigma - sigma / tail))
    flat = np.clip(np.asarray(channel_edges)[:, None] / energy, 0, 1)
    below = (1 - shoulder - shelf) * peak + shoulder * (peak + excess) + shelf * flat
    return np.maximum(np.diff(below, axis=0), 0.0)
