"""Doppler shift of light from a source that moves along the line of sight."""

import numpy as np

SPEED_OF_LIGHT = 299792.458
"""km/s (exact, by the definition of the metre)."""


def energy_factor(velocity_km_s):
    """Observed over emitted energy, `sqrt((1 - b) / (1 + b))` with `b = v / c`.

    The relativistic formula for motion along the line of sight (Rybicki & Lightman 1979, section 4.1); the
    transverse part is left out. At 5000 km/s the first-order formula would be wrong by 0.9 eV at 6.5 keV.

    Parameters
    ----------
    velocity_km_s : array_like
        Velocity in km/s, positive when the source moves away.

    Returns
    -------
    numpy.ndarray
        Dimensionless factor, same shape.

    Raises
    ------
    ValueError
        If a velocity is not below the speed of light.
    """
    beta = np.asarray(velocity_km_s, dtype=np.float64) / SPEED_OF_LIGHT
    if np.any(np.abs(beta) >= 1):
        raise ValueError(f"velocity_km_s must be below the speed of light, found {np.max(np.abs(beta)):.3g} of it")
    return np.sqrt((1 - beta) / (1 + beta))


def velocity_from_energy(observed, rest):
    """Velocity along the line of sight that moves `rest` to `observed`, the inverse of `energy_factor`.

    `v = c (1 - q^2) / (1 + q^2)` with `q = observed / rest`.

    Parameters
    ----------
    observed, rest : array_like
        Energies in the same unit; nan in `observed` stays nan.

    Returns
    -------
    numpy.ndarray
        Velocity in km/s, positive when the source moves away.
    """
    ratio = np.square(np.asarray(observed, dtype=np.float64) / rest)
    return SPEED_OF_LIGHT * (1 - ratio) / (1 + ratio)
