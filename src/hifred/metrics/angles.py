"""Angles between spectra: of a result and the truth, and of neighbours on the sky."""

import numpy as np

from hifred.metrics._arrays import as_cube, as_pair

HALF_NEIGHBOURS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}  # the other half by symmetry


def spectral_angle_map(result, truth):
    """Angle between the spectra of result and truth in each pixel.

    `arccos(<a, b> / (|a| |b|))`, the spectral angle mapper of Kruse et al. (1993, RSE 44, 145).

    Parameters
    ----------
    result, truth : (energy, y, x) arrays

    Returns
    -------
    (y, x) array
        Degrees; 90 where only the result is dark, nan where the truth is.

    Raises
    ------
    ValueError
        If shapes differ or a value is not finite.
    """
    result, truth = as_pair(result, truth)
    unit, length = _unit(truth)
    angle = _angle(_unit(result)[0], unit)
    return np.where(length > 0, angle, np.nan)


def spectral_angle(result, truth):
    """Mean of `spectral_angle_map` over the pixels in which the truth shines.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays

    Returns
    -------
    float
        Degrees, 0 is perfect; every pixel has the same weight, and brightness does not matter.

    Raises
    ------
    ValueError
        As `spectral_angle_map`, or if the truth is dark everywhere.
    """
    return _mean(spectral_angle_map(result, truth), "truth")


def angular_distance_map(cube, neighbours=4):
    """Mean angle between the spectrum of each pixel and those of its neighbours.

    `theta_k = sum_{k' in N} arccos(<z_k, z_k'> / sqrt(|z_k|^2 |z_k'|^2)) / card(N)`, the measure of spectral
    variability of Lascar, Bobin & Acero (2025). N holds the neighbours inside the frame that are not dark.

    Parameters
    ----------
    cube : (energy, y, x) array
    neighbours : {4, 8}
        Pixels that share an edge, or an edge or a corner.

    Returns
    -------
    (y, x) array
        Degrees; nan where the pixel or all its neighbours are dark.

    Raises
    ------
    ValueError
        If the cube does not have three axes and finite values, or `neighbours` is neither 4 nor 8.
    """
    if neighbours not in HALF_NEIGHBOURS:
        raise ValueError(f"neighbours must be 4 or 8, found {neighbours}")
    unit, length = _unit(as_cube(cube, "cube"))
    ny, nx = length.shape
    total, number = np.zeros((ny, nx)), np.zeros((ny, nx))
    for dy, dx in HALF_NEIGHBOURS[neighbours]:
        here = slice(0, ny - dy), slice(max(0, -dx), nx - max(0, dx))
        there = slice(dy, ny), slice(max(0, dx), nx - max(0, -dx))
        lit = (length[here] > 0) & (length[there] > 0)
        angle = np.where(lit, _angle(unit[:, *here], unit[:, *there]), 0.0)
        for side in (here, there):
            total[side] += angle
            number[side] += lit
    return np.divide(total, number, out=np.full((ny, nx), np.nan), where=number > 0)


def mean_angular_distance(cube, neighbours=4):
    """Mean of `angular_distance_map` over the pixels that shine: how much spectra vary from pixel to pixel.

    Parameters
    ----------
    cube, neighbours
        As in `angular_distance_map`.

    Returns
    -------
    float
        Degrees.

    Raises
    ------
    ValueError
        As `angular_distance_map`, or if no two neighbours shine.
    """
    return _mean(angular_distance_map(cube, neighbours), "cube")


def _unit(cube):
    """Spectra of length 1 (0 where dark) and their lengths; scaled first, so that tiny fluxes survive."""
    peak = np.max(np.abs(cube), axis=0)
    scaled = np.divide(cube, peak, out=np.zeros_like(cube), where=peak > 0)
    length = np.sqrt(np.sum(scaled**2, axis=0))
    return np.divide(scaled, length, out=scaled, where=length > 0), peak * length


def _angle(a, b):
    """Angle in degrees between unit vectors; unlike the arccos it is exact for small angles (Kahan)."""
    apart = np.sqrt(np.sum((a - b) ** 2, axis=0))
    together = np.sqrt(np.sum((a + b) ** 2, axis=0))
    return np.rad2deg(2 * np.arctan2(apart, together))


def _mean(angles, name):
    if np.all(np.isnan(angles)):
        raise ValueError(f"{name} must shine somewhere, found no pixel with an angle")
    return float(np.nanmean(angles))
