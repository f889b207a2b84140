"""Random fields with a power-law spectrum: the clumps of the simulated gas."""

import numpy as np


def gaussian_field(rng, size, slope, smallest=0.0, largest=1.0):
    """Periodic Gaussian random field in three dimensions, of mean 0 and variance 1.

    White noise is filtered in Fourier space by `sqrt(P(k))`, `P(k) = k^-slope exp(-(k smallest)^2)` for `k >=
    1 / largest` and 0 below. The noise is drawn cell by cell in a fixed order, so a seed gives the same field
    on every machine, to rounding.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    size : int
        Cells along each side.
    slope : float
        Slope of the power spectrum; 11/3 is Kolmogorov's turbulence, smaller means more small clumps.
    smallest : float
        Scale below which the field is smooth, as a fraction of the side.
    largest : float
        Largest wavelength, as a fraction of the side.

    Returns
    -------
    (size, size, size) array of float64

    Raises
    ------
    ValueError
        If no wave number is left between the smallest and the largest scale.
    """
    noise = np.fft.rfftn(rng.standard_normal((size, size, size)))
    full, half = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    wave = np.sqrt(full[:, None, None] ** 2 + full[:, None] ** 2 + half**2)
    inside = wave >= max(1 / largest, 1) * (1 - 1e-9)
    if not inside.any():
        raise ValueError(f"largest must be at least {2 / size} of the side, found {largest}")
    power = np.where(inside, np.maximum(wave, 1) ** -slope, 0.0) * np.exp(-((wave * smallest) ** 2))
    field = np.fft.irfftn(noise * np.sqrt(power), s=(size, size, size), axes=(0, 1, 2))
    return field / field.std()
