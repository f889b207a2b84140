"""Low-rank priors: spectra in a principal subspace, and smooth or sparse maps."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.priors.basis import Basis, principal_spectra
from hifred.priors.noise import noise_scale
from hifred.priors.prior import MapPenalty, SubspacePrior, strength_of, whole_of
from hifred.priors.rank_one import RankOne
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube
from hifred.response.response import Response

# The l1 norm is rounded below this fraction of the noise: too little to see, enough to have a gradient.
ROUNDING = 0.1


class NoPenalty(MapPenalty):
    """`phi = 0`."""

    def value(self, maps: Cube) -> Float[Array, ""]:
        """Zero."""
        return jnp.zeros((), maps.dtype)

    def gradient(self, maps: Cube) -> Cube:
        """Zero."""
        return jnp.zeros_like(maps)

    def curvature(self, maps: Cube) -> Callable[[Cube], Cube]:
        """Zero."""
        return jnp.zeros_like

    def diagonal(self, maps: Cube) -> Cube:
        """Zero."""
        return jnp.zeros_like(maps)


class Sobolev(MapPenalty):
    """`phi(w) = 1/2 sum_k weight_k ||grad w_k||^2`, forward differences along y and x, free edges.

    Attributes
    ----------
    weight : array of shape (r,)
        Weight of each component.
    """

    weight: Float[Array, " component"]

    def curvature(self, maps: Cube) -> Callable[[Cube], Cube]:
        """Weighted negative Laplacian; the penalty is its own quadratic."""
        return lambda direction: self.weight[:, None, None] * negative_laplacian(direction)

    def gradient(self, maps: Cube) -> Cube:
        """Weighted negative Laplacian of the maps."""
        return self.weight[:, None, None] * negative_laplacian(maps)

    def value(self, maps: Cube) -> Float[Array, ""]:
        """Half the weighted sum of squared differences."""
        squares = (jnp.diff(maps, axis=1) ** 2).sum((1, 2)) + (jnp.diff(maps, axis=2) ** 2).sum((1, 2))
        return 0.5 * (self.weight * squares).sum()

    def diagonal(self, maps: Cube) -> Cube:
        """Number of neighbours of each pixel, weighted."""
        _, ny, nx = maps.shape
        along_y = jnp.full(ny, 2.0).at[jnp.array([0, -1])].add(-1) if ny > 1 else jnp.zeros(1)
        along_x = jnp.full(nx, 2.0).at[jnp.array([0, -1])].add(-1) if nx > 1 else jnp.zeros(1)
        neighbours = (along_y[:, None] + along_x[None, :]).astype(maps.dtype)
        return self.weight[:, None, None] * neighbours


def negative_laplacian(maps: Cube) -> Cube:
    """`D'D w` with `D` the forward differences along y and x, nothing beyond the edges."""
    dy, dx = jnp.diff(maps, axis=1), jnp.diff(maps, axis=2)
    along_y = jnp.pad(dy, ((0, 0), (1, 0), (0, 0))) - jnp.pad(dy, ((0, 0), (0, 1), (0, 0)))
    along_x = jnp.pad(dx, ((0, 0), (0, 0), (1, 0))) - jnp.pad(dx, ((0, 0), (0, 0), (0, 1)))
    return along_y + along_x


class RoundedL1(MapPenalty):
    """`phi(w) = strength sum_j sum_i sqrt((lambda_ji c_ji)^2 + d^2) - d`, `c = Psi w`: the l1 norm with a rounded tip.

    With `lambda` one over the noise and `d = 0.1` it differs from the l1 norm by less than `0.1 strength` for each
    coefficient, and by nothing that can be seen above the noise.

    Attributes
    ----------
    transform : Starlet
        `Psi`, on images.
    weights : tuple of arrays of shape (component, y, x)
        `lambda_j` of each band.
    strength : float
        Overall weight.
    """

    transform: Starlet
    weights: tuple[Float[Array, "component y x"], ...]
    strength: Float[Array, ""]

    def _scaled(self, maps: Cube) -> list[Cube]:
        """Coefficients in units of their noise."""
        bands = self.transform.analysis(maps)
        return [weight * c for weight, c in zip(self.weights, bands, strict=True)]

    def _back(self, scaled: Sequence[Cube]) -> Cube:
        """Transpose of `_scaled`."""
        bands = [weight * c for weight, c in zip(self.weights, scaled, strict=True)]
        return self.transform.adjoint(bands)

    def value(self, maps: Cube) -> Float[Array, ""]:
        """The rounded norm."""
        # sqrt(c^2 + d^2) - d without the loss of digits at small c.
        terms = [(c**2 / (jnp.sqrt(c**2 + ROUNDING**2) + ROUNDING)).sum((1, 2)).sum() for c in self._scaled(maps)]
        return self.strength * jnp.stack(terms).sum()

    def gradient(self, maps: Cube) -> Cube:
        """`Psi'` of the softened signs."""
        return self.strength * self._back([c / jnp.sqrt(c**2 + ROUNDING**2) for c in self._scaled(maps)])

    def curvature(self, maps: Cube) -> Callable[[Cube], Cube]:
        """Reweighted least squares: `sqrt(c^2 + d^2)` lies below its quadratic of curvature `1 / sqrt(c0^2 + d^2)`."""
        weights = [1 / jnp.sqrt(c**2 + ROUNDING**2) for c in self._scaled(maps)]

        def product(direction: Cube) -> Cube:
            scaled = [w * c for w, c in zip(weights, self._scaled(direction), strict=True)]
            return self.strength * self._back(scaled)

        return product

    def diagonal(self, maps: Cube) -> Cube:
        """Squared weights times the energy of each wavelet, 0.8 for the finest band, falling with scale."""
        total = jnp.zeros_like(maps)
        for j, (weight, c) in enumerate(zip(self.weights, self._scaled(maps), strict=True)):
            total += 0.8 * 4.0**-j * weight**2 / jnp.sqrt(c**2 + ROUNDING**2)
        return self.strength * total


class PrincipalPrior(SubspacePrior):
    """A prior on maps of principal spectra, `rank` of them."""

    rank: eqx.AbstractVar[int | None]

    def basis(self, term: PoissonTerm, response: Response, start: RankOne) -> Basis:
        """The principal spectra of the data set with the sharpest energies."""
        return principal_spectra(term, response, start, self.rank)


class LowRank(PrincipalPrior):
    """Spectra in the principal subspace and nothing else: `phi = 0`.

    Parameters
    ----------
    rank : int, optional
        Number of component spectra, the mean included; by default those whose signal stands above the noise.
    """

    rank: int | None = whole_of("rank", None, 1, optional=True)

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne, basis: Basis) -> NoPenalty:
        """No penalty."""
        return NoPenalty()


class LowRankSobolev(PrincipalPrior):
    """Low rank with smooth maps: `phi(w) = 1/2 sum_k weight_k ||grad w_k||^2`.

    After Guilloteau et al. (2020, IEEE TCI 6, 1362) for JWST, as used by Lascar, Bobin & Acero (2025, A&A 694, A34).

    Parameters
    ----------
    strength : float
        `weight_k = strength / (g^2 variance_k)`, where `g^2` is the mean squared gradient of the broad-band image and
        `variance_k` that of the component's weight relative to the mean spectrum's: at 1 this is the Gaussian prior
        with the data's own variances. The default is an oracle constant, chosen on the authors' toy problem by its
        truth.
    rank : int, optional
        Number of component spectra, the mean included; by default those whose signal stands above the noise.
    component_weighted : bool
        Use `variance_k`; otherwise all components have the weight of the first.
    """

    strength: float = strength_of(0.01)
    rank: int | None = whole_of("rank", None, 1, optional=True)
    component_weighted: bool = True

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne, basis: Basis) -> Sobolev:
        """Weights from the image and the variances of the components."""
        image = np.asarray(start.image, dtype=float)
        differences = np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()])
        # A featureless image still has a scale: a hundredth of its brightness.
        power = max(float((differences**2).mean()) if differences.size else 0.0, (0.01 * image.mean()) ** 2)
        variance = basis.variance if self.component_weighted else np.ones_like(basis.variance)
        return Sobolev(jnp.asarray(self.strength / (power * variance), start.image.dtype))


class LowRankStarlet(PrincipalPrior):
    """Low rank with sparse maps: l1 norm of the 2D starlet coefficients of each map (analysis form).

    `phi(w) = strength sum_k sum_j ||lambda_jk o Psi_j w_k||_1`, the absolute value rounded below a tenth of the noise
    so that Newton steps apply (`RoundedL1`). (Lascar, Bobin & Acero 2025, A&A 694, A34.)

    Parameters
    ----------
    strength : float
        In units of the noise: `lambda_jk` is the standard deviation of that coefficient of the data term's gradient.
        The default is an oracle constant, chosen on the authors' toy problem by its truth.
    rank : int, optional
        Number of component spectra, the mean included; by default those whose signal stands above the noise.
    scales : int
        Number of scales.
    noise_scaled : bool
        Let the noise vary over the sky with the local brightness; otherwise one weight per band and component.
    component_weighted : bool
        Divide the weights by the standard deviation of the component's weight relative to the mean spectrum's.
    """

    strength: float = strength_of(0.3)
    rank: int | None = whole_of("rank", None, 1, optional=True)
    scales: int = whole_of("scales", 3, 1)
    noise_scaled: bool = True
    component_weighted: bool = False

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne, basis: Basis) -> RoundedL1:
        """Weights from the noise of the maps."""
        dtype = start.image.dtype
        shape = (basis.variance.size, *start.image.shape)
        maps = jnp.zeros(shape, dtype).at[0].set(start.image)
        transform = Starlet(shape, self.scales, 0, dtype)
        noise = noise_scale(terms, maps, transform, varying=self.noise_scaled)
        if self.component_weighted:
            factor = jnp.asarray(1 / np.sqrt(basis.variance), dtype)[:, None, None]
            noise = tuple(factor * scatter for scatter in noise)
        return RoundedL1(transform, noise, jnp.asarray(self.strength, dtype))
