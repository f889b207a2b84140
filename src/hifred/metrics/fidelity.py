"""How close a cube is to the truth, voxel by voxel and image by image."""

import numpy as np
from scipy.ndimage import correlate1d

from hifred.metrics._arrays import as_pair

SSIM_SIGMA, SSIM_HALF = 1.5, 5  # window of Wang et al. (2004): Gaussian, 11 x 11
SSIM_K1, SSIM_K2 = 0.01, 0.03

DARK = 1e-3
"""Energies with less than this fraction of the truth's mean brightness are dark to `ergas`."""


def nmse(result, truth):
    """Normalised mean squared error in decibel, `10 log10(sum (result - truth)^2 / sum truth^2)`.

    Lower is better: -20 dB is an error of 10% of the truth's root mean square. The mean squared error over
    the truth's power, as in Lascar, Bobin & Acero (2025).

    Parameters
    ----------
    result, truth : (energy, y, x) arrays
        In the same unit.

    Returns
    -------
    float
        dB; minus infinity for a perfect result.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the truth is zero.
    """
    result, truth = as_pair(result, truth)
    power = np.sum(truth**2)
    if power == 0:
        raise ValueError("truth must not be zero everywhere")
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum((result - truth) ** 2) / power))


def flux_error_map(result, truth):
    """Relative error of the photons of each pixel, `sum_E result / sum_E truth - 1`.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays

    Returns
    -------
    (y, x) array
        nan where the truth is dark.

    Raises
    ------
    ValueError
        As `nmse`, but a dark truth is allowed.
    """
    result, truth = (cube.sum(axis=0) for cube in as_pair(result, truth))
    return np.divide(result - truth, truth, out=np.full(truth.shape, np.nan), where=truth > 0)


def flux_per_pixel(result, truth):
    """Photons in the wrong pixel over all photons, `sum_p |F_result - F_truth| / sum_p F_truth`, `F = sum_E`.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays

    Returns
    -------
    float
        0 is perfect; 0.01 means that 1% of the flux is misplaced, missing or invented.

    Raises
    ------
    ValueError
        As `nmse`.
    """
    result, truth = (cube.sum(axis=0) for cube in as_pair(result, truth))
    if truth.sum() <= 0:
        raise ValueError(f"truth must have a positive flux, found {truth.sum()}")
    return float(np.abs(result - truth).sum() / truth.sum())


def ergas(result, truth, ratio=1.0, *, dark=DARK):
    """Relative dimensionless global error in synthesis, `100 ratio sqrt(mean_E (RMSE_E / mean_E)^2)`.

    Wald, L. 2000, "Quality of high resolution synthesised images: is there a simple criterion?", Fusion of
    Earth Data, 99. `RMSE_E` and `mean_E` are those of one energy's image. The formula divides by `mean_E`, so
    that energies at which hardly anything shines would decide it alone: those whose true mean is not above
    `dark` times the mean over all energies are left out.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays
    ratio : float
        Pixel size of the sharp image over that of the coarse one (1/3 for calorimeter pixels of 3 x 3).
    dark : float
        Fraction of the truth's mean brightness; 0 leaves out only what is quite dark.

    Returns
    -------
    float
        0 is perfect.

    Raises
    ------
    ValueError
        As `nmse`; or if `dark` is not at least 0 and below 1.
    """
    result, truth = as_pair(result, truth)
    if not 0 <= dark < 1:
        raise ValueError(f"dark must be at least 0 and below 1, found {dark}")
    mean = truth.mean(axis=(1, 2))
    lit = (mean > 0) & (mean > dark * mean.mean())
    if not lit.any():
        raise ValueError("truth must have a positive mean at some energy")
    mse = np.mean((result - truth) ** 2, axis=(1, 2))
    return float(100 * ratio * np.sqrt(np.mean(mse[lit] / mean[lit] ** 2)))


def ssim(result, truth):
    """Mean structural similarity of the images, averaged over energies.

    `(2 m_a m_b + C1)(2 s_ab + C2) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))` in a Gaussian window of
    standard deviation 1.5 and 11 x 11 pixels, averaged over all windows inside the image; `C1 = (0.01 D)^2`,
    `C2 = (0.03 D)^2`, with D the range of the truth's image at that energy (Wang, Bovik, Sheikh & Simoncelli
    2004, IEEE TIP 13, 600). Energies at which the truth is flat are left out.

    Parameters
    ----------
    result, truth : (energy, y, x) arrays
        At least 11 x 11 pixels.

    Returns
    -------
    float
        1 is perfect.

    Raises
    ------
    ValueError
        As `nmse`; or if the images are smaller than the window, or flat at all energies.
    """
    result, truth = as_pair(result, truth)
    if min(truth.shape[1:]) < 2 * SSIM_HALF + 1:
        raise ValueError(f"images must be at least {2 * SSIM_HALF + 1} pixels wide, found {truth.shape[1:]}")
    spread = np.ptp(truth, axis=(1, 2))
    if not (spread > 0).any():
        raise ValueError("truth must not be flat at all energies")
    a, b, spread = result[spread > 0], truth[spread > 0], spread[spread > 0, None, None]
    mean_a, mean_b = _window(a), _window(b)
    var_a, var_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    c1, c2 = (SSIM_K1 * spread) ** 2, (SSIM_K2 * spread) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float(np.mean(luminance * (2 * covariance + c2) / (var_a + var_b + c2)))


def _window(images):
    """Weighted mean in each window that lies inside the image."""
    weights = np.exp(-0.5 * (np.arange(-SSIM_HALF, SSIM_HALF + 1) / SSIM_SIGMA) ** 2)
    for axis in (1, 2):
        images = correlate1d(images, weights / weights.sum(), axis=axis)
    return images[:, SSIM_HALF:-SSIM_HALF, SSIM_HALF:-SSIM_HALF]
