"""One data set, seen by a factorised cube."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.data.dataset import Dataset
from hifred.poisson import PoissonTerm, ratio
from hifred.response.energy import energy_operator
from hifred.response.operator import Counts, LinearOperator

# Expected counts, and what is divided by, are at least this.
TINY = 1e-30

Spectra = Float[Array, "energy component"]
Maps = Float[Array, "component y x"]


class FactorTerm(eqx.Module):
    """One data set for cubes `z = sum_r V_r a_r`: `mu = sum_t (S_t V) (M_t a) + b`.

    Images may be blurred before or after spectra are folded, `(S_t V) (M_t a) = M_t ((S_t V) a)`: components or
    channels, as few as there are.

    Attributes
    ----------
    data : PoissonTerm
        Counts, background and mask.
    folds, blurs : tuples of LinearOperator
        `S_t` on spectra, as cubes of shape (energy, 1, component), and `M_t` on as many images as are blurred.
    channels, energies : arrays of shape (channel,) and tuple of arrays of shape (energy,)
        Channels that are used, and `S_t'` of them: how much each energy counts.
    sky : tuple of arrays of shape (y, x)
        `M_t'` of the detector pixels that are used. Of a product, both factors may be negative.
    fold_first : bool
        Whether channels are blurred, not components.
    whole : bool
        Whether whole channels and whole pixels are used; otherwise ones are projected back like ratios.
    """

    data: PoissonTerm
    folds: tuple[LinearOperator, ...]
    blurs: tuple[LinearOperator, ...]
    channels: Float[Array, " channel"]
    energies: tuple[Float[Array, " energy"], ...]
    sky: tuple[Float[Array, "y x"], ...]
    fold_first: bool = eqx.field(static=True)
    whole: bool = eqx.field(static=True)

    @classmethod
    def of(cls, dataset: Dataset, components: int) -> "FactorTerm":
        """The term of a data set."""
        dtype = dataset.response.dtype
        channels, pixels = np.any(dataset.mask, axis=(1, 2)), np.any(dataset.mask, axis=0)
        whole = np.array_equal(dataset.mask, channels[:, None, None] & pixels)
        products = dataset.response.recipe.products(dtype)
        used = jnp.asarray(pixels[None], dtype)
        one = [part.sky(1) for part in products]
        detector, sky = pixels.size, int(np.prod(dataset.response.in_shape[1:]))
        fold_first = channels.size < components and detector == sky
        return cls(
            dataset.term(),
            tuple(energy_operator(part.spectral, (1, components), dtype) for part in products),
            tuple(part.sky(channels.size if fold_first else components) for part in products),
            jnp.asarray(channels, dtype),
            tuple(jnp.asarray(part.spectral.T @ channels.astype(float), dtype) for part in products),
            tuple(blur.rmv(used)[0] for blur in one),
            fold_first,
            whole,
        )

    def fold(self, spectra: Spectra) -> tuple[Array, ...]:
        """Folded spectra `S_t V`, (channel, component) each."""
        return tuple(fold.mv(spectra[:, None, :])[:, 0] for fold in self.folds)

    def predict(self, folded: Sequence[Array], maps: Maps) -> Counts:
        """Expected counts."""
        if self.fold_first:
            parts = [b.mv(jnp.einsum("cr,ryx->cyx", a, maps)) for a, b in zip(folded, self.blurs, strict=True)]
        else:
            parts = [jnp.einsum("cr,ryx->cyx", a, b.mv(maps)) for a, b in zip(folded, self.blurs, strict=True)]
        return jnp.maximum(self.data.floored(reduce(add, parts)), TINY) + self.data.background

    def ratio(self, model: Counts) -> Counts:
        """`n / mu` in the bins that are used."""
        return jnp.where(self.data.mask, ratio(model, self.data.counts), 0)

    @property
    def _ones(self) -> Counts:
        """One in the bins that are used."""
        return self.data.mask.astype(self.channels.dtype)

    def to_maps(self, folded: Sequence[Array], ratios: Counts) -> Maps:
        """`sum_t M_t' (S_t V)' ratios`."""
        if self.fold_first:
            parts = [jnp.einsum("cr,cyx->ryx", a, b.rmv(ratios)) for a, b in zip(folded, self.blurs, strict=True)]
        else:
            parts = [b.rmv(jnp.einsum("cr,cyx->ryx", a, ratios)) for a, b in zip(folded, self.blurs, strict=True)]
        return jnp.maximum(reduce(add, parts), 0)

    def map_sensitivity(self, folded: Sequence[Array]) -> Maps:
        """The same of ones."""
        if not self.whole:
            return self.to_maps(folded, self._ones)
        weights = [self.channels @ a for a in folded]
        return jnp.maximum(reduce(add, [w[:, None, None] * sky for w, sky in zip(weights, self.sky, strict=True)]), 0)

    def to_spectra(self, maps: Maps, ratios: Counts) -> Spectra:
        """`sum_t S_t' ratios (M_t a)'`."""
        if self.fold_first:
            products = [jnp.einsum("cyx,ryx->cr", b.rmv(ratios), maps) for b in self.blurs]
        else:
            products = [jnp.einsum("cyx,ryx->cr", ratios, b.mv(maps)) for b in self.blurs]
        parts = [fold.rmv(p[:, None, :])[:, 0] for p, fold in zip(products, self.folds, strict=True)]
        return jnp.maximum(reduce(add, parts), 0)

    def spectrum_sensitivity(self, maps: Maps) -> Spectra:
        """The same of ones."""
        if not self.whole:
            return self.to_spectra(maps, self._ones)
        weights = [jnp.einsum("yx,ryx->r", sky, maps) for sky in self.sky]
        return jnp.maximum(reduce(add, [e[:, None] * w for e, w in zip(self.energies, weights, strict=True)]), 0)
