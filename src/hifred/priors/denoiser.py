"""Plug and play: a denoiser of images in the place of a penalty."""

from collections.abc import Callable
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.grid import number
from hifred.poisson import PoissonTerm
from hifred.priors.basis import Basis, principal_spectra
from hifred.priors.denoisers import made_fit, trained
from hifred.priors.prior import Prior, strength_of, whole_of
from hifred.priors.rank_one import RankOne
from hifred.response.operator import Cube
from hifred.response.response import Response

# Principal spectra whose maps are denoised, where the data have as many: those of noise alone are denoised to nothing.
RANK = 16
# Least strength of the tie to the subspace: what the principal spectra leave is held down by it.
TIE = 3.0
# The noise of pixels that the sharpest instrument hardly sees is counted as if it saw this part of its best.
LEAST = 1e-3
# Spectra that differ from those before them by less than this are left out.
INDEPENDENT = 1e-5


class Denoiser(Prior):
    """Plug and play: the sky is what a denoiser leaves as it is.

    The cube is written on the principal spectra of the data with the sharpest energies, `z = V w` (one voxel holds far
    too few photons to be denoised by itself). In units of the noise that an ideal instrument of the same exposure would
    leave in each pixel, the maps `u = w / n` are images with white noise of about 1, and these are given to the
    denoiser. The run looks for the cube at which

        grad D(z) + (s / z0) (strength (V w - V n denoise(w / n)) + tie (z - V w)) = 0

    with `D` the data term, `s` the sensitivity, `z0` the rank-one model of the data and `tie = max(3, strength)`
    (regularisation by denoising: Romano, Elad & Milanfar 2017, SIAM J. Imaging Sci. 10, 1804; plug and play:
    Venkatakrishnan, Bouman & Wohlberg 2013, GlobalSIP). It is a fixed point, **not a minimum**: unless the denoiser is
    the gradient of some function there is no objective, and nothing promises that a run gets there (with the network it
    did wherever it was tried). The history gives the data term as objective, no prior term, and as residual the
    relative change of the cube in a step. At the default tolerance a run ends a little before the fixed point, which
    fits the noise a little more: 0.1 to 0.8 dB of mean squared error on simulated scenes.

    Parameters
    ----------
    denoise : callable, optional
        `denoise(images, sigma)`: from an array of shape (n, y, x), the maps of all principal spectra, whose noise has
        standard deviation `sigma`, to one of the same shape. A module of equinox or a function that JAX can trace is
        compiled; any other function is called on the host with numpy arrays. It is to depend on its arguments alone;
        checkpoints know it by its name. One call at a time, even where several fits run.
        By default the small network that comes with the package (`hifred.priors.denoisers.trained`);
        `hifred.priors.denoisers.bm3d_denoiser()` is another.
    strength : float
        How much the denoiser counts: at 1 a map that it would change by the noise pulls as much as the data do.
    noise : float
        `sigma`, in units of the noise.
    rank : int, optional
        Number of principal spectra, the mean included; by default 16, or as many as the data have.

    Raises
    ------
    ValueError
        If `denoise` is no function, or an option is out of range.
    """

    denoise: Callable | None = None
    strength: float = strength_of(0.3)
    noise: float = eqx.field(default=1.0, converter=lambda value: number("noise", value))
    rank: int | None = whole_of("rank", None, 1, optional=True)

    def __check_init__(self):
        if self.denoise is not None and not callable(self.denoise):
            raise ValueError(f"denoise: expected a function of images and sigma, found {self.denoise!r}")
        if not 0 < self.noise < float("inf"):
            raise ValueError(f"noise: expected a finite number above 0, found {self.noise}")

    def __repr__(self) -> str:
        # By name: the address of a function would change from run to run, and checkpoints know their run by this.
        name = (
            "None" if self.denoise is None else getattr(self.denoise, "__qualname__", type(self.denoise).__qualname__)
        )
        return f"Denoiser(denoise={name}, strength={self.strength}, noise={self.noise}, rank={self.rank})"

    @property
    def tolerance(self) -> float:
        """Relative change of the cube in a step at which it is taken for a fixed point."""
        return 5e-4

    @property
    def tie(self) -> float:
        """Strength of the tie of the cube to the denoised one."""
        return max(TIE, self.strength)

    def prepare(self, terms: list[PoissonTerm], sharpest: int, response: Response, start: RankOne) -> "DenoisedMaps":
        """The map from cubes to denoised cubes.

        Parameters
        ----------
        terms : list of PoissonTerm
            The data.
        sharpest : int
            Which of them has the sharpest energies.
        response : Response
            Its response.
        start : RankOne
            The rank-one model of all data.

        Raises
        ------
        ValueError
            If the denoiser does not return images of the shape that it was given, or the data have less spectra than
            `rank`.
        """
        term, dtype = terms[sharpest], start.image.dtype
        used = np.asarray(term.mask & (term.predict(start.cube) > 0))
        most = min(int(used.any((1, 2)).sum()), int(used.any(0).sum())) + 1
        shapes = independent(
            principal_spectra(term, response, start, min(RANK, most) if self.rank is None else self.rank)
        )
        spectrum = start.spectrum
        seen = jnp.einsum("e,eyx->yx", spectrum, term.sensitivity())
        every = jnp.einsum("e,eyx->yx", spectrum, reduce(add, [one.sensitivity() for one in terms]))
        # All instruments know the image; what sets the spectra apart is known to the sharpest one only.
        levels = [jnp.sqrt(start.image / jnp.maximum(known, LEAST * known.max())) for known in (every, seen)]
        noise = jnp.stack([levels[0], *[levels[1]] * (shapes.shape[1] - 1)])
        denoise = made_fit(trained() if self.denoise is None else self.denoise, noise.shape, dtype)
        share = jnp.asarray(self.strength / self.tie, dtype)
        return DenoisedMaps(spectrum, jnp.asarray(shapes, dtype), noise, denoise, self.noise, share)


def independent(basis: Basis) -> np.ndarray:
    """Shapes that are orthonormal under the mean spectrum, the first one 1: `sum_e mean S_k S_l = delta_kl`.

    Parameters
    ----------
    basis : Basis
        Principal spectra.

    Returns
    -------
    array of shape (L, r)
        Those that are independent of the ones before.
    """
    root = np.sqrt(basis.mean)[:, None]
    q, r = np.linalg.qr(root * basis.shapes)
    sizes = np.linalg.norm(root * basis.shapes, axis=0)
    kept = abs(np.diag(r)) > INDEPENDENT * sizes.max(initial=0, where=sizes > 0)
    return np.sign(np.diag(r))[kept] * q[:, kept] / root


class DenoisedMaps(eqx.Module):
    """Cubes to denoised cubes: `D(z) = V ((1 - share) w + share n denoise(w / n))` with `w` the maps of `z`.

    Attributes
    ----------
    mean : array of shape (L,)
        Mean spectrum, sums to 1.
    shapes : array of shape (L, r)
        Principal spectra over the mean, orthonormal under it: `V = mean S`, `w = S' z`.
    noise : array of shape (r, y, x)
        Noise `n` of the maps, photons / cm2 / s per pixel.
    denoise : callable
        From images of shape (r, y, x) and `sigma` to images.
    sigma : float
        Noise that the denoiser is told.
    share : array of shape ()
        How far to go from the maps to the denoised ones, at most 1.
    """

    mean: Float[Array, " energy"]
    shapes: Float[Array, "energy component"]
    noise: Float[Array, "component y x"]
    denoise: Callable
    sigma: float = eqx.field(static=True)
    share: Float[Array, ""]

    def __call__(self, cube: Cube) -> Cube:
        """The denoised cube; it may be negative."""
        images = jnp.einsum("ek,eyx->kyx", self.shapes, cube) / self.noise
        images += self.share * (self.denoise(images, self.sigma) - images)
        return self.mean[:, None, None] * jnp.einsum("ek,kyx->eyx", self.shapes, images * self.noise)
