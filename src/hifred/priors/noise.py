"""The noise of the data as the priors see it: the scatter of the gradient of the data term."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp

from hifred.poisson import PoissonTerm
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube

DRAWS = 4
# Bins are taken to expect at least this fraction of the mean: the noise of empty bins would drown that of their
# neighbours in the averages.
LEAST = 0.01


@eqx.filter_jit
def noise_scale(terms: Sequence[PoissonTerm], unknowns: Cube, transform: Starlet, *, varying: bool) -> tuple[Cube, ...]:
    """Standard deviation of `Psi A'(1 - n / mu)` for counts `n` drawn from a model: which coefficients are noise.

    At the truth the gradient of the data term is noise alone, with covariance `A' diag(1 / mu) A`. Its scatter over
    draws with fixed random numbers, averaged over a neighbourhood of the size of the widest wavelet, is the noise of
    each coefficient.

    Parameters
    ----------
    terms : sequence of PoissonTerm
        The data.
    unknowns : array of shape (energy, y, x) or (component, y, x)
        A smooth model near the truth.
    transform : Starlet
        The transform `Psi` of the prior.
    varying : bool
        Let the noise vary over the unknowns; otherwise one number for each band (and component).

    Returns
    -------
    tuple of arrays of the shape of `unknowns`
        One for each band.
    """
    predictions = [term.predict(unknowns) for term in terms]
    models = [jnp.maximum(mu, LEAST * mu.mean()) for mu in predictions]

    def draw(index):
        keys = jax.random.split(jax.random.key(index), len(terms))
        parts = [
            term.operator.rmv(term.mask * jax.random.normal(key, mu.shape, mu.dtype) / jnp.sqrt(mu))
            for term, mu, key in zip(terms, models, keys, strict=True)
        ]
        return [c**2 for c in transform.analysis(reduce(add, parts))]

    def more(index, total):
        return tuple(a + b for a, b in zip(total, draw(index), strict=True))

    powers = jax.lax.fori_loop(1, DRAWS, more, tuple(draw(0)))

    def scatter(power):
        if varying:
            power = transform.decompose(power)[1]
        else:
            axes = (1, 2) if transform.energy_scales == 0 else (0, 1, 2)
            power = jnp.broadcast_to(power.mean(axes, keepdims=True), power.shape)
        return jnp.sqrt(jnp.maximum(power, 1e-12 * power.max()) / DRAWS)

    return tuple(scatter(power) for power in powers)
