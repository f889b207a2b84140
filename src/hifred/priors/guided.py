"""Spectra that change little from pixel to pixel where the sharpest camera sees no change."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.grid import number
from hifred.poisson import PoissonTerm
from hifred.priors.prior import CubePrior, SeparablePenalty, require_weight, strength_of
from hifred.priors.rank_one import RankOne
from hifred.priors.relative import OFFSETS, camera_weights, even_weights
from hifred.response.operator import Cube

# The nearest pairs of pixels: all of `OFFSETS` gained nothing on the scene "tiny".
NEAREST = OFFSETS[:4]


class GuidedSmoothness(CubePrior):
    """Smoothness of spectra, relative to the light of each pixel, guided by the sharpest camera.

    `phi(z) = strength (sum_pq w_pq m_pq d(r_p, r_q) + along sum_e m_e,e+1 d(r_e, r_e+1))`, the relative difference
    penalty `d(a, b) = (a - b)^2 / (a + b)` (Nuyts et al. 2002, IEEE TNS 49, 56) of neighbours in space and in energy.

    - `r = z / R` is relative to the rank-one model `R = spectrum x image` of all data, so that an image with edges and
      a spectrum with lines cost nothing.
    - `m` is the harmonic mean of the `sqrt(N)` of the two voxels, with `N` the counts that `R` expects there. One
      strength then served skies of 0.5 and of 20 counts per voxel; with `N` itself the best ones were 0.1 and 0.005.
    - `w_pq` are the ties of `hifred.priors.relative.camera_weights`: one over the distance where the spectra that the
      camera counts in the two pixels agree within their noise, less where not; without a camera that has the sky's
      pixels, one over the distance everywhere.

    Convex, and minimised by EM steps (`hifred.solvers.EM`).

    Parameters
    ----------
    strength : float
        How much the penalty counts.
    along : float
        Weight of neighbours in energy over that of tied neighbours in space.
    guided : bool
        Use the camera.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    strength: float = strength_of(0.1)
    along: float = eqx.field(default=10.0, converter=lambda value: number("along", value))
    guided: bool = True

    def __check_init__(self):
        require_weight("along", self.along)
        if not isinstance(self.guided, bool):
            raise ValueError(f"guided: expected True or False, found {self.guided!r}")

    @property
    def ends_at_noise(self) -> bool:
        """No: the prior decides how closely the data are fitted."""
        return False

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne) -> "RelativeSpectra":
        """The penalty with the ties of the sharpest camera."""
        dtype, shape = start.image.dtype, (start.image.shape[0], start.image.shape[1])
        camera = sharpest_camera(terms, start) if self.guided else None
        ties = even_weights(shape) if camera is None else camera_weights(camera, shape)
        sensitivity = reduce(add, [term.sensitivity() for term in terms])
        along = np.append(np.full(start.spectrum.size - 1, self.strength * self.along), 0)
        return RelativeSpectra(
            start.cube,
            jnp.sqrt(sensitivity * start.cube),
            jnp.asarray(self.strength * ties[: len(NEAREST)], dtype),
            jnp.asarray(along, dtype),
        )


class RelativeSpectra(SeparablePenalty):
    """`phi(z) = sum_pq h_pq d(z_p / R_p, z_q / R_q)` over neighbours in space and energy.

    Attributes
    ----------
    reference : array of shape (energy, y, x)
        `R`, positive.
    root : array of shape (energy, y, x)
        `sqrt(N)`; the harmonic mean of two is part of `h`.
    ties : array of shape (offset, y, x)
        The other part, of each pixel and its neighbour at each of `NEAREST`; zero where there is none.
    along : array of shape (energy,)
        The same for each energy and the next one; zero for the last.
    """

    reference: Cube
    root: Cube
    ties: Float[Array, "offset y x"]
    along: Float[Array, " energy"]

    def _pairs(self) -> list[tuple[Cube, tuple[int, int, int]]]:
        """Weights of pairs `h`, and steps from the one to the other."""
        kinds = [(tie, (0, *offset)) for tie, offset in zip(self.ties, NEAREST, strict=True)]
        kinds.append((self.along[:, None, None], (1, 0, 0)))
        return [(2 * tie * _half_harmonic(self.root, _at(self.root, step)), step) for tie, step in kinds]

    def value(self, cube: Cube) -> Float[Array, ""]:
        """The penalty of a cube."""
        relative = cube / self.reference
        total = jnp.zeros((), cube.dtype)
        for weight, step in self._pairs():
            other = _at(relative, step)
            both = relative + other
            lit = both > 0
            total += (weight * jnp.where(lit, (relative - other) ** 2 / jnp.where(lit, both, 1), 0)).sum((1, 2)).sum()
        return total

    def bound(self, cube: Cube) -> tuple[Cube, Cube]:
        """From `d(a, b) = a + b - 4 / (1 / a + 1 / b)`, convex in the inverses: it lies below its tangent in them.

        With `k = a b / (a + b)` at the cube, `d(a', b') <= a' + b' + 4 k^2 (1 / a' + 1 / b') - 8 k`.
        """
        relative = cube / self.reference
        linear, inverse = jnp.zeros_like(cube), jnp.zeros_like(cube)
        for weight, step in self._pairs():
            back = (-step[0], -step[1], -step[2])
            curved = weight * 4 * _half_harmonic(relative, _at(relative, step)) ** 2
            linear += weight + _at(weight, back)
            inverse += curved + _at(curved, back)
        return linear / self.reference, inverse * self.reference


def _at(cube: Cube, step: tuple[int, int, int]) -> Cube:
    """The value at `p + step`, put at `p`; wraps round, where weights are zero."""
    return jnp.roll(cube, tuple(-size for size in step), (0, 1, 2))


def _half_harmonic(a: Cube, b: Cube) -> Cube:
    """`a b / (a + b)`, 0 where both are."""
    both = a + b
    return a * (b / jnp.where(both > 0, both, 1))


def sharpest_camera(terms: Sequence[PoissonTerm], start: RankOne) -> PoissonTerm | None:
    """The data whose pixels are the sky's and that spread a point over the fewest of them.

    Parameters
    ----------
    terms : sequence of PoissonTerm
        The data.
    start : RankOne
        The point is the brightest pixel of this model, with its spectrum.

    Returns
    -------
    PoissonTerm or None
        None where no data set has the sky's pixels.
    """
    image = start.image
    point = start.spectrum[:, None, None] * jnp.where(image == image.max(), image, 0)

    def pixels(term: PoissonTerm) -> float:
        """How many pixels share the light: one over the sum of squared shares."""
        light = np.asarray(term.operator.mv(point), dtype=float).sum(0)
        return float(light.sum() ** 2 / max((light**2).sum(), np.finfo(float).tiny))

    cameras = [term for term in terms if term.operator.out_shape[1:] == image.shape]
    return min(cameras, key=pixels, default=None)
