"""The simplest sky that explains all data: where every solver starts."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp

from hifred.data.dataset import Dataset
from hifred.priors.rank_one import RankOne
from hifred.solvers.factor_term import TINY, FactorTerm

PASSES = 12
# A start well inside the positive cone: no energy and no pixel below this fraction of the mean.
LEAST = 1e-6


def rank_one(datasets: Sequence[Dataset]) -> RankOne:
    """Maximum-likelihood spectrum and image, by a few EM passes over all data in turn; no cube is formed.

    A flat start and few passes keep both smooth where there are few counts. Energies and pixels that no instrument
    sees keep their start value.

    Parameters
    ----------
    datasets : sequence of Dataset
        The data, all on one sky cube.
    """
    return _passes(tuple(FactorTerm.of(dataset, 1) for dataset in datasets))


@eqx.filter_jit
def _passes(terms: tuple[FactorTerm, ...]) -> RankOne:
    energies, ny, nx = terms[0].data.operator.in_shape
    counts = sum(jnp.where(term.data.mask, term.data.counts, 0).sum() for term in terms)
    dtype = terms[0].data.counts.dtype
    flat = jnp.full((energies, 1), 1 / energies, dtype)
    seen = reduce(add, [term.map_sensitivity(term.fold(flat)).sum() for term in terms])
    # A little above zero for data without any photon: everything stays positive.
    start = (counts + 1e-3) / seen

    def ratio(total, expected):
        floor = jnp.maximum(1e-6 * expected.max(), TINY)
        return jnp.where(expected > floor, jnp.maximum(total, 1e-3 * expected) / jnp.maximum(expected, floor), 1)

    def ratios(folded, image):
        return [term.ratio(term.predict(one, image)) for term, one in zip(terms, folded, strict=True)]

    def two_passes(_, model):
        spectrum, image = model
        folded = [term.fold(spectrum) for term in terms]
        each = list(zip(terms, folded, ratios(folded, image), strict=True))
        image *= ratio(
            reduce(add, [term.to_maps(one, r) for term, one, r in each]),
            reduce(add, [term.map_sensitivity(one) for term, one, _ in each]),
        )
        back = reduce(add, [t.to_spectra(image, r) for t, r in zip(terms, ratios(folded, image), strict=True)])
        spectrum *= ratio(back, reduce(add, [term.spectrum_sensitivity(image) for term in terms]))
        return spectrum / spectrum.sum(), image * spectrum.sum()

    spectrum, image = jax.lax.fori_loop(0, PASSES // 2, two_passes, (flat, jnp.full((1, ny, nx), start, dtype)))
    return RankOne(
        jnp.maximum(spectrum[:, 0], LEAST * spectrum.mean()),
        jnp.maximum(image[0], LEAST * jnp.maximum(image.mean(), start)),
    )
