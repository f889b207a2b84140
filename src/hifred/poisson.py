"""The Poisson data term: value, gradient, C-stat and what C-stat is expected to be."""

from functools import cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.interpolate import CubicSpline
from scipy.stats import poisson

from hifred.response.operator import Counts, Cube, LinearOperator

# Least expected counts that a positive count is compared with: keeps ratios finite where the model is empty.
TINY = 1e-30
# Largest ratio of counts to expected counts: times any effective area it stays within single precision.
MOST = 1e20


def half_deviance(model, counts):
    """Half the C-stat of each bin, `mu - n + n log(n / mu)`; infinite where a count meets an empty model.

    Parameters
    ----------
    model, counts : arrays of one shape
        Expected counts `mu` and counts `n`.

    Notes
    -----
    Cash (1979, ApJ 228, 939) in the form of XSPEC's C-statistic: zero where `mu = n`, and `mu - n log mu` up to a
    constant of the data.
    """
    seen = counts > 0
    value = model - counts - jnp.where(seen, counts * log_ratio(jnp.where(seen, counts, 1), model), 0)
    return jnp.where(seen & (model <= 0), jnp.inf, value)


def log_ratio(old, new):
    """`log(new / old)` for positive numbers, with all its digits where they are close; 0 where `new` is not positive.

    So that `n log(n / mu)` and `mu - n` do not lose their digits to each other at large counts.
    """
    safe = jnp.where(new > 0, new, old)
    relative = (safe - old) / old
    near = abs(relative) < 0.5
    return jnp.where(near, jnp.log1p(jnp.where(near, relative, 0)), jnp.log(safe / old))


def ratio(model, counts):
    """`n / mu`, zero at zero counts, finite at an empty model."""
    return jnp.where(counts > 0, jnp.minimum(counts / jnp.maximum(model, TINY), MOST), 0)


def floored(expected, rounding: float):
    """Expected counts (channel, y, x), in each channel at least `rounding` times the largest."""
    return expected if rounding == 0 else jnp.maximum(expected, rounding * expected.max((1, 2), keepdims=True))


class PoissonTerm(eqx.Module):
    """Counts of one data set against the expected counts of a linear model.

    Sums over bins run over flat arrays: on the CPU, XLA makes no vector code of loops over few detector columns.

    Attributes
    ----------
    operator : LinearOperator
        From the unknowns (the sky cube, or maps of components) to expected counts.
    counts, background : arrays of shape (channel, y, x)
        Counts and expected background counts.
    mask : array of bool of shape (channel, y, x)
        Which bins are used.
    """

    operator: LinearOperator
    counts: Counts
    background: Counts
    mask: Bool[Array, "channel row column"]

    def predict(self, unknowns: Cube) -> Counts:
        """Expected counts `mu = A z + b`.

        Behind an FFT, `A z` of an image is known to some 1e-6 of its maximum only, and is taken to be at least that:
        negative expected counts next to a bright source would make any photon there impossible.
        """
        return self.floored(self.operator.mv(unknowns)) + self.background

    def floored(self, expected: Counts) -> Counts:
        """Expected counts, at least the rounding error of the operator."""
        return floored(expected, self.operator.rounding)

    def half_cstat(self, model: Counts) -> Float[Array, " channel"]:
        """Half the C-stat of each channel, masked bins left out; the sum over channels is best done in float64."""
        halves = jnp.where(self.mask.ravel(), half_deviance(model.ravel(), self.counts.ravel()), 0)
        return halves.reshape(self.mask.shape[0], -1).sum(1)

    def change(self, model: Counts, new: Counts) -> Float[Array, ""]:
        """Change of the data term from one model to another, accurate when the two are close."""
        mask, counts, model, new = (array.ravel() for array in (self.mask, self.counts, model, new))
        seen = mask & (counts > 0)
        growth = jnp.where(seen, log_ratio(jnp.maximum(model, TINY), new), 0)
        value = new - model - counts * growth
        value = jnp.where(seen & (new <= 0), jnp.inf, value)
        return jnp.where(mask, value, 0).reshape(self.mask.shape[0], -1).sum(1).sum()

    def back_ratio(self, model: Counts) -> Cube:
        """Back-projected ratio `A'(n / mu)`."""
        return jnp.maximum(self.operator.rmv(jnp.where(self.mask, ratio(model, self.counts), 0)), 0)

    def sensitivity(self) -> Cube:
        """`A'1`: expected counts per unit of each unknown; 0 where it is nothing but rounding."""
        seen = self.operator.rmv(self.mask.astype(self.counts.dtype))
        return jnp.where(seen > self.operator.rounding * abs(seen).max(), seen, 0)

    def gradient(self, unknowns: Cube) -> Cube:
        """Gradient of the data term, `A'(1 - n / mu)`."""
        model = self.predict(unknowns)
        return self.operator.rmv(jnp.where(self.mask, 1 - ratio(model, self.counts), 0))

    def value(self, unknowns: Cube) -> Float[Array, ""]:
        """Half the C-stat, `sum mu - n + n log(n / mu)`."""
        return self.half_cstat(self.predict(unknowns)).sum()


@cache
def _moments() -> tuple[CubicSpline, CubicSpline]:
    """Splines in log mu of the mean and variance of one bin's C-stat, each over its limit for small mu."""
    at = np.geomspace(1e-8, 1e3, 600)
    mean, variance = np.empty_like(at), np.empty_like(at)
    for i, mu in enumerate(at):
        n = np.arange(0, int(mu + 12 * np.sqrt(mu) + 30))
        p = poisson.pmf(n, mu)
        c = 2 * (mu - n + n * np.log(np.where(n > 0, n / mu, 1)))
        mean[i] = (p * c).sum()
        variance[i] = (p * (c - mean[i]) ** 2).sum()
    return CubicSpline(np.log(at), np.log(mean)), CubicSpline(np.log(at), np.log(variance))


def expected_cstat(model, mask=None) -> tuple[float, float]:
    """Mean and variance of the C-stat of Poisson counts whose expectation is `model`.

    Parameters
    ----------
    model : array
        Expected counts.
    mask : array of bool, optional
        Which bins are used.

    Returns
    -------
    mean, variance : float

    Notes
    -----
    Definition as in Kaastra (2017, A&A 605, A51), who gives fits to the moments of one bin; here they are summed over
    the Poisson distribution itself and interpolated between 600 values of `mu`. Above 1000 counts the values at 1000
    are used (they are within 2e-4 of the limits 1 and 2); below 1e-8 the moments are taken proportional to `mu`.
    """
    mu = np.asarray(model, dtype=float)
    mu = mu[np.asarray(mask)] if mask is not None else mu.ravel()
    mu = mu[mu > 0]
    log_mean, log_variance = _moments()
    at = np.log(np.clip(mu, 1e-8, 1e3))
    scale = np.where(mu < 1e-8, mu / 1e-8, 1.0)
    return float((np.exp(log_mean(at)) * scale).sum()), float((np.exp(log_variance(at)) * scale).sum())
