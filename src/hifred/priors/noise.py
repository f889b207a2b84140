"""The noise of the data as the priors see it: the scatter of the gradient of the data term."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube

DRAWS = 2


class NoiseScale(eqx.Module):
    """Standard deviation `band[j] local[e, y, x]` of the starlet coefficients of the gradient.

    Attributes
    ----------
    local : array of shape (energy, y, x) or (component, y, x)
        How the noise varies over the unknowns.
    band : array of shape (bands,)
        The noise of each band over `local`.
    """

    local: Float[Array, "energy y x"]
    band: Float[Array, " band"]


@eqx.filter_jit
def noise_scale(
    terms: Sequence[PoissonTerm], unknowns: Cube, transform: Starlet, smooth: Starlet, *, varying: bool
) -> NoiseScale:
    """Scatter of `Psi A'(1 - n / mu)` for counts `n` drawn from a model, to know which coefficients are noise.

    At the truth the gradient of the data term is noise alone, with covariance `A' diag(1 / mu) A`. Two draws with fixed
    random numbers, averaged over a small neighbourhood, give its local standard deviation; the bands follow from the
    same draws.

    Parameters
    ----------
    terms : sequence of PoissonTerm
        The data.
    unknowns : array of shape (energy, y, x) or (component, y, x)
        A smooth model near the truth.
    transform : Starlet
        The transform `Psi` of the prior.
    smooth : Starlet
        Its coarse part is the average over a neighbourhood.
    varying : bool
        Let the noise vary over the unknowns; otherwise one number for each band (and component).
    """
    models = [jnp.maximum(term.predict(unknowns), 1e-6 * term.predict(unknowns).max()) for term in terms]

    def draw(key):
        keys = jax.random.split(key, len(terms))
        parts = [
            term.operator.rmv(term.mask * jax.random.normal(k, model.shape, model.dtype) / jnp.sqrt(model))
            for term, model, k in zip(terms, models, keys, strict=True)
        ]
        return reduce(add, parts)

    gradients = [draw(jax.random.key(i)) for i in range(DRAWS)]
    power = reduce(add, [g**2 for g in gradients]) / DRAWS
    if varying:
        local = smooth.decompose(power)[1]
    else:
        axes = (1, 2) if transform.energy_scales == 0 else (0, 1, 2)
        local = jnp.broadcast_to(power.mean(axes, keepdims=True), power.shape)
    local = jnp.sqrt(jnp.maximum(local, 1e-12 * local.max()))
    scatter = [jnp.stack([jnp.mean((c / local) ** 2) for c in transform.analysis(g)]) for g in gradients]
    return NoiseScale(local, jnp.sqrt(reduce(add, scatter) / DRAWS))
