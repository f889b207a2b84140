"""Where a spectral line is and how wide, in km/s, in each pixel."""

from dataclasses import dataclass

import numpy as np

from hifred.doppler import velocity_from_energy
from hifred.metrics._arrays import as_cube, as_pair

LINES = {
    "O VII": 0.57396,
    "O VIII": 0.65362,
    "Ne IX": 0.92200,
    "Ne X": 1.02180,
    "Mg XI": 1.35225,
    "Mg XII": 1.47232,
    "Si XIII": 1.86500,
    "Si XIV": 2.00549,
    "S XV": 2.46063,
    "S XVI": 2.62169,
    "Ar XVII": 3.13958,
    "Ca XIX": 3.90237,
    "Fe XXV": 6.70040,
    "Fe XXVI": 6.96600,
}
"""Rest energies in keV from AtomDB 3.0.9.

The resonance line of helium-like ions, the mean of the Lyman alpha doublet of hydrogen-like ones (2 to 1).
"""


@dataclass(frozen=True, eq=False)
class LineMaps:
    """Moments of a line above its continuum.

    Attributes
    ----------
    flux : (y, x) array
        Sum over the line, in the unit of the cube.
    centroid : (y, x) array
        Mean velocity away from the observer, km/s; nan where the line is faint.
    width : (y, x) array
        Standard deviation, km/s; nan where the line is faint.
    """

    flux: np.ndarray
    centroid: np.ndarray
    width: np.ndarray


def line_maps(cube, energies, line, reach=6000.0, side=2000.0, faint=0.01):
    """Flux, centroid and width of a line in each pixel.

    The continuum is a straight line through the means of two side bands, `reach` to `reach + side` km/s away
    on both sides (or the mean of one, where the other is outside the cube). What is above it within `reach`
    is the line; what is below counts as 0, so that noise in faint pixels cannot throw the mean out of the
    band. Then `flux = sum w`, `E = sum w E / flux` and so on, with energies as velocities by the relativistic
    formula (`hifred.doppler`). Apply it with the same arguments to the truth and the result; other lines in
    the band belong to it in both.

    Parameters
    ----------
    cube : (energy, y, x) array
    energies : (L,) array
        Bin centres, keV, ascending.
    line : str or float
        A name in `LINES`, or a rest energy in keV.
    reach : float
        Half width of the line's band, km/s: more than the fastest gas.
    side : float
        Width of each side band, km/s.
    faint : float
        Pixels with less than this fraction of the brightest pixel's line flux are nan.

    Returns
    -------
    LineMaps

    Raises
    ------
    ValueError
        If the line is unknown, or its band or both side bands are outside the energies.
    """
    cube, rest = as_cube(cube, "cube"), rest_energy(line)
    energies = np.asarray(energies, dtype=np.float64)
    if energies.shape != cube.shape[:1]:
        raise ValueError(f"energies must have shape {cube.shape[:1]} as the cube, found {energies.shape}")
    velocity = velocity_from_energy(energies, rest)
    band = np.abs(velocity) <= reach
    if np.sum(band) < 3 or velocity[0] < reach / 2 or velocity[-1] > -reach / 2:
        raise ValueError(
            f"expected energies {reach} km/s to both sides of {rest} keV, "
            f"found {energies[0]:.4g} to {energies[-1]:.4g} keV"
        )
    excess = np.maximum(cube[band] - _continuum(cube, energies, velocity, reach, side)[band], 0)
    flux = excess.sum(axis=0)
    lit = flux > faint * flux.max()
    centroid = _mean_over(excess, velocity[band], flux, lit)
    square = _mean_over(excess, (velocity[band, None, None] - np.where(lit, centroid, 0)) ** 2, flux, lit)
    return LineMaps(flux, centroid, np.sqrt(square))


def line_centroid(cube, energies, line, **options):
    """Velocity of a line in each pixel, a mean in km/s away from the observer: `line_maps(...).centroid`.

    Parameters
    ----------
    cube, energies, line, **options
        As in `line_maps`.

    Returns
    -------
    (y, x) array
        nan where the line is faint.
    """
    return line_maps(cube, energies, line, **options).centroid


def line_width(cube, energies, line, **options):
    """Width of a line in each pixel, a standard deviation in km/s: `line_maps(...).width`.

    Parameters
    ----------
    cube, energies, line, **options
        As in `line_maps`.

    Returns
    -------
    (y, x) array
        nan where the line is faint.
    """
    return line_maps(cube, energies, line, **options).width


def line_velocity_error(result, truth, energies, line, **options):
    """Root mean square difference of the line's velocity in result and truth, km/s.

    Over the pixels in which the line is seen in both, each with the same weight.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays
    energies, line, **options
        As in `line_maps`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As `line_maps`, or if no pixel has the line in both.
    """
    maps = [line_centroid(cube, energies, line, **options) for cube in as_pair(result, truth)]
    difference = maps[0] - maps[1]
    seen = np.isfinite(difference)
    if not seen.any():
        raise ValueError("expected the line in some pixel of both result and truth, found none")
    return float(np.sqrt(np.mean(difference[seen] ** 2)))


def rest_energy(line):
    """Energy of a named line, or of a number itself, keV.

    Parameters
    ----------
    line : str or float

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the name is unknown or the energy not above 0.
    """
    if isinstance(line, str):
        if line not in LINES:
            raise ValueError(f"expected one of the lines {', '.join(LINES)}, found {line!r}")
        return LINES[line]
    if not line > 0:
        raise ValueError(f"the rest energy must be above 0 keV, found {line}")
    return float(line)


def _continuum(cube, energies, velocity, reach, side):
    """Straight line through the side bands, (L, y, x)."""
    bands = [(v > reach) & (v <= reach + side) for v in (velocity, -velocity)]
    bands = [band for band in bands if band.any()]
    if not bands:
        raise ValueError(f"expected energies beyond {reach} km/s from the line for its continuum, found none")
    levels = [cube[band].mean(axis=0) for band in bands]
    if len(bands) == 1:
        return np.broadcast_to(levels[0], cube.shape)
    places = [energies[band].mean() for band in bands]
    weight = (energies - places[0]) / (places[1] - places[0])
    return levels[0] + weight[:, None, None] * (levels[1] - levels[0])


def _mean_over(weights, values, total, lit):
    values = values if np.ndim(values) == 3 else values[:, None, None]
    return np.divide(np.sum(weights * values, axis=0), total, out=np.full(total.shape, np.nan), where=lit)
