"""Spectra vary little between neighbours that look alike to the sharpest camera: guided total variation."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from hifred.grid import number
from hifred.poisson import PoissonTerm
from hifred.priors.prior import AnalysisL1, CubePrior, strength_of
from hifred.priors.rank_one import RankOne
from hifred.priors.relative import OFFSETS, camera_weights, even_weights
from hifred.priors.transform import Differences
from hifred.response.operator import Cube

# Neighbours that are compared: the nearest four pairs. Each costs a dual variable for every voxel.
NEAREST = OFFSETS[:4]


class GuidedVariation(CubePrior):
    """Total variation of the spectra, relative to the light of each pixel, guided by the sharpest camera.

    `phi(z) = strength sum_pq w_pq sqrt(N_pq) |r_p - r_q|` over neighbours in space, and with `w = along` over
    neighbouring energies. `r = z / R` is relative to the rank-one model `R = spectrum x image` of all data: an image
    with edges but one spectrum costs nothing. `N = 2 N_p N_q / (N_p + N_q)` are the counts that `R` expects in the
    two voxels: the noise of the gradient of the data term by `r` goes as `sqrt(N)`, so that one strength suits all
    brightnesses. `w_pq` are the ties of `hifred.priors.relative.camera_weights`: near 1 where the spectra that the
    camera counts in the two pixels agree, near 0 where not; all alike without a camera that has the sky's pixels.

    Convex; the minimum itself is found, by `hifred.solvers.primal_dual`, with one dual variable per voxel and band
    (four in space, one along energy).

    Parameters
    ----------
    strength : float
        In units of the noise.
    along : float
        Weight of neighbouring energies over that of tied neighbours in space; 0 for none.
    guided : bool
        Use the camera; otherwise all neighbours are tied alike.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    strength: float = strength_of(0.03)
    along: float = eqx.field(default=3.0, converter=lambda value: number("along", value))
    guided: bool = True

    def __check_init__(self):
        if not 0 <= self.along < float("inf"):
            raise ValueError(f"along: expected a finite number of at least 0, found {self.along}")

    @property
    def ends_at_noise(self) -> bool:
        """No: the prior decides how closely the data are fitted."""
        return False

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne) -> AnalysisL1:
        """Weights from the counts of the rank-one model and the spectra of the sharpest camera."""
        dtype = start.image.dtype
        transform = Differences(start.image, start.spectrum, NEAREST, dtype)
        camera = sharpest_camera(terms, start) if self.guided else None
        shape = (start.image.shape[0], start.image.shape[1])
        ties = even_weights(shape) if camera is None else camera_weights(camera, shape)
        counts = reduce(add, [term.sensitivity() for term in terms]) * start.cube
        bands = [*jnp.asarray(self.strength * ties[: len(NEAREST)], dtype)]
        if start.spectrum.size > 1:
            last = jnp.arange(start.spectrum.size) == start.spectrum.size - 1
            bands.append(jnp.where(last, 0, self.strength * self.along).astype(dtype)[:, None, None])
        # A coefficient is (r_p - r_q) over this scale, times the transform's own factor.
        scale = 1 / start.cube
        weights = [
            tie * jnp.sqrt(harmonic(counts, other)) * (scale + far) / transform.shrink
            for tie, other, far in zip(bands, transform.pairs(counts), transform.pairs(scale), strict=True)
        ]
        return AnalysisL1(transform, tuple(weights))


def harmonic(a: Cube, b: Cube) -> Cube:
    """Harmonic mean, `2 a b / (a + b)`; 0 where both are."""
    return 2 * a * (b / jnp.where(a + b > 0, a + b, 1))


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
