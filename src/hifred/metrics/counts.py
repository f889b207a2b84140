"""How well predicted counts agree with counts, or with other predictions."""

import numpy as np


def cstat(counts, predicted, mask=None):
    """C-statistic, `2 sum (mu - n + n ln(n / mu))`.

    Cash (1979, ApJ 228, 939), in the form that is 0 for a perfect prediction (XSPEC manual, appendix B).

    Parameters
    ----------
    counts : array
        Observed counts n.
    predicted : array
        Expected counts mu, with background, same shape.
    mask : bool array, optional
        True for the bins to use.

    Returns
    -------
    float
        Infinity if a bin with counts has a prediction of 0. `hifred.poisson.expected_cstat` says what to
        expect at the truth.

    Raises
    ------
    ValueError
        If shapes differ or a value is negative or nan.
    """
    n, mu = _checked("counts", counts, predicted, mask)
    return float(2 * np.sum(_deviance(n, mu)))


def kl(expected, predicted, mask=None):
    """Kullback-Leibler divergence of predicted from expected counts, `sum (t ln(t / mu) - t + mu)`.

    Generalised to arrays that do not sum to 1 (Csiszar 1991, Ann. Stat. 19, 2032). Half of the C-statistic
    that noiseless data would have: below about half the number of fitted quantities it is within the noise.

    Parameters
    ----------
    expected : array
        Expected counts t of the truth.
    predicted : array
        Expected counts mu of a result, same shape.
    mask : bool array, optional
        True for the bins to use.

    Returns
    -------
    float
        0 is perfect.

    Raises
    ------
    ValueError
        As `cstat`.
    """
    t, mu = _checked("expected", expected, predicted, mask)
    return float(np.sum(_deviance(t, mu)))


def _deviance(n, mu):
    """`mu - n + n ln(n / mu)` without the loss of digits near n = mu, infinity where mu = 0 < n."""
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = (n - mu) / mu  # n ln(n / mu) - (n - mu) = mu ((1 + x) ln(1 + x) - x)
        value = mu * ((1 + excess) * np.log1p(excess) - excess)
    value = np.where(n == 0, mu, value)
    return np.where((mu == 0) & (n > 0), np.inf, value)


def _checked(name, counts, predicted, mask):
    counts, predicted = np.asarray(counts, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if counts.shape != predicted.shape:
        raise ValueError(f"predicted must have the shape of {name} {counts.shape}, found {predicted.shape}")
    if mask is not None:
        mask = np.asarray(mask, dtype=bool)
        if mask.shape != counts.shape:
            raise ValueError(f"mask must have the shape of {name} {counts.shape}, found {mask.shape}")
        counts, predicted = counts[mask], predicted[mask]
    for label, array in ((name, counts), ("predicted", predicted)):
        if not np.all(array >= 0):
            raise ValueError(f"{label} must not be negative or nan, found a minimum of {np.min(array)}")
    return counts, predicted
