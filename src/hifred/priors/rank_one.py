"""The simplest sky that explains all data: one spectrum times one image. Every solver starts from it."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import TINY, PoissonTerm
from hifred.response.operator import Cube

PASSES = 12
# A start well inside the positive cone: no energy and no pixel below this fraction of the mean.
LEAST = 1e-6


class RankOne(eqx.Module):
    """A cube `spectrum[e] image[y, x]`.

    Attributes
    ----------
    spectrum : array of shape (L,)
        Sums to 1; positive.
    image : array of shape (M, N)
        Photons / cm2 / s per sky pixel over all energies; positive.
    """

    spectrum: Float[Array, " energy"]
    image: Float[Array, "y x"]

    @property
    def cube(self) -> Cube:
        """The cube itself."""
        return self.spectrum[:, None, None] * self.image


@eqx.filter_jit
def rank_one(terms: Sequence[PoissonTerm]) -> RankOne:
    """Maximum-likelihood spectrum and image, by a few EM passes over all data in turn.

    A flat start and few passes keep both smooth where there are few counts. Energies and pixels that no instrument
    sees keep their start value.

    Parameters
    ----------
    terms : sequence of PoissonTerm
        The data, all on one sky cube.
    """
    energies, ny, nx = terms[0].operator.in_shape
    sensitivity = reduce(add, [term.sensitivity() for term in terms])
    counts = sum(jnp.where(term.mask, term.counts, 0).sum() for term in terms)
    spectrum = jnp.full(energies, 1 / energies, terms[0].counts.dtype)
    # A little above zero for data without any photon: everything stays positive.
    image = jnp.full((ny, nx), (counts + 1e-3) * energies / sensitivity.sum(), spectrum.dtype)

    def ratio(total, expected):
        floor = jnp.maximum(1e-6 * expected.max(), TINY)
        return jnp.where(expected > floor, jnp.maximum(total, 1e-3 * expected) / jnp.maximum(expected, floor), 1)

    def two_passes(_, model: RankOne) -> RankOne:
        back = reduce(add, [term.back_ratio(term.predict(model.cube)) for term in terms])
        image = model.image * ratio(
            jnp.einsum("e,eyx->yx", model.spectrum, back),
            jnp.einsum("e,eyx->yx", model.spectrum, sensitivity),
        )
        model = RankOne(model.spectrum, image)
        back = reduce(add, [term.back_ratio(term.predict(model.cube)) for term in terms])
        spectrum = model.spectrum * ratio(
            jnp.einsum("yx,eyx->e", image, back), jnp.einsum("yx,eyx->e", image, sensitivity)
        )
        return RankOne(spectrum / spectrum.sum(), image * spectrum.sum())

    model = jax.lax.fori_loop(0, PASSES // 2, two_passes, RankOne(spectrum, image))
    return RankOne(
        jnp.maximum(model.spectrum, LEAST * model.spectrum.mean()),
        jnp.maximum(model.image, LEAST * jnp.maximum(model.image.mean(), image.mean())),
    )
