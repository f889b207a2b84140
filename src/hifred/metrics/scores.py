"""All measures of a cube against the truth at once."""

from collections.abc import Callable
from dataclasses import dataclass

from hifred.metrics.angles import mean_angular_distance, spectral_angle
from hifred.metrics.fidelity import ergas, flux_per_pixel, nmse, ssim
from hifred.metrics.lines import line_velocity_error

FAINT_LINE = 0.05
"""Velocities are compared where the line has this fraction of its flux in the brightest pixel."""


@dataclass(frozen=True)
class Scores:
    """Measures of a cube; None for one that does not exist (no line, or images too small for SSIM).

    Attributes
    ----------
    nmse : float
        Normalised mean squared error, dB; lower is better.
    spectral_angle : float
        Mean angle between the spectra of result and truth, degrees.
    ssim : float
        Structural similarity of the images; 1 is perfect.
    ergas : float
        Relative error of the images; 0 is perfect.
    flux_per_pixel : float
        Photons in the wrong pixel over all photons.
    angular_distance : float
        Mean angle between the spectra of neighbouring pixels of the result, degrees; that of the truth is best.
    velocity_error : float
        Root mean square error of the line's velocity, km/s.
    """

    nmse: float | None
    spectral_angle: float | None
    ssim: float | None
    ergas: float | None
    flux_per_pixel: float | None
    angular_distance: float | None
    velocity_error: float | None


def score(result, truth, *, ratio=1.0, energies=None, line=None):
    """Measure a cube against the truth in all ways.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays
        In the same unit.
    ratio : float
        Pixel size of the sharp data over that of the coarse ones, for ERGAS.
    energies : (L,) array, optional
        Bin centres, keV; without them there is no velocity.
    line : str or float, optional
        The line of the velocity: a name in `hifred.metrics.LINES`, or an energy in keV.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        If the shapes of result and truth differ.
    """
    if result.shape != truth.shape:
        raise ValueError(f"result must have the shape of truth {truth.shape}, found {result.shape}")
    with_line = energies is not None and line is not None
    return Scores(
        _or_none(lambda: nmse(result, truth)),
        _or_none(lambda: spectral_angle(result, truth)),
        _or_none(lambda: ssim(result, truth)),
        _or_none(lambda: ergas(result, truth, ratio)),
        _or_none(lambda: flux_per_pixel(result, truth)),
        _or_none(lambda: mean_angular_distance(result)),
        _or_none(lambda: line_velocity_error(result, truth, energies, line, faint=FAINT_LINE)) if with_line else None,
    )


def _or_none(measure: Callable[[], float]) -> float | None:
    """A measure, or None where it does not exist for these cubes."""
    try:
        return measure()
    except ValueError:
        return None
