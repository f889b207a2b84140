"""What a response is made of: host-side arrays that give the operator, and that a file can hold."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import scipy.sparse as sp

from hifred.response.operator import LinearOperator, Shape


@dataclass(frozen=True, eq=False)
class Built:
    """What a recipe gives.

    Attributes
    ----------
    operator : LinearOperator
        The whole map on the device.
    spectral : scipy.sparse.csr_array of shape (channels, L)
        Area, redistribution and energy sums without the sky part: the response of an extended, even sky.
    energy_blur, sky_blur : float
        How many energy bins, and sky pixels along one axis, the instrument cannot tell apart.
    """

    operator: LinearOperator
    spectral: sp.csr_array
    energy_blur: float
    sky_blur: float


@dataclass(frozen=True, eq=False)
class Product:
    """One term of a response `sum_t S_t x M_t`: spectra are folded by `S`, images blurred by `M`.

    Attributes
    ----------
    spectral : scipy.sparse.csr_array of shape (channels, L)
        `S`: area, energy redistribution and sums.
    sky : callable
        From a number of images to the operator `M` on so many, from (count, M, N) to (count, rows, columns).
    """

    spectral: sp.csr_array
    sky: Callable[[int], LinearOperator]


class Recipe(ABC):
    """Host-side description of an instrument on one sky grid; final classes are frozen dataclasses of arrays."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape `(L, M, N)` of the sky cube."""

    @property
    @abstractmethod
    def has_area(self) -> bool:
        """Whether cubes are in photons / cm2 / s (an area is known), or in counts."""

    @property
    @abstractmethod
    def pixels_per_bin(self) -> float:
        """Area of a detector pixel in sky pixels."""

    @abstractmethod
    def build(self, dtype: np.dtype) -> Built:
        """The operator and its summary."""

    @abstractmethod
    def restricted(self, basis: np.ndarray, built: Built, dtype: np.dtype) -> "Restricted":
        """The operator on maps `w` of cubes `z = V w`, without the cube where that is possible; `basis` is V (L, r)."""

    @abstractmethod
    def products(self, dtype: np.dtype) -> tuple[Product, ...]:
        """The response as a sum of few products, for models that are spectra times images."""

    @abstractmethod
    def channel_edges(self, edges: np.ndarray) -> np.ndarray:
        """Nominal energies of the channels' edges, shape (channels + 1,), given those of the cube's bins (L + 1,)."""

    @abstractmethod
    def place(self) -> np.ndarray:
        """The detector pixel (index of the flat image) that looks at each sky pixel, shape (M, N); -1 where none."""

    @abstractmethod
    def vignetting(self) -> np.ndarray:
        """Area of each detector pixel over the mean area, averaged over energies; shape (rows, columns)."""

    @abstractmethod
    def parts(self) -> tuple:
        """Arrays and words that say all of the recipe, for a fingerprint."""


class Restricted(LinearOperator):
    """A response to component maps `w` (component, y, x) of cubes `z = V w`.

    Attributes
    ----------
    spectra : array of shape (channels, r)
        Folded spectra of the components.
    blur : LinearOperator
        The sky part on maps (its mean over energies where it varies); it serves the preconditioner only.
    concentration : float
        `sum_q B_qp^2 / sum_q B_qp` of the sky part: how much of a pixel's light falls in one detector pixel.
    """

    operator: LinearOperator
    spectra: jax.Array
    blur: LinearOperator
    concentration: float

    @property
    def in_shape(self) -> Shape:
        """Shape (r, y, x) of the component maps."""
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the data."""
        return self.operator.out_shape

    @property
    def rounding(self) -> float:
        """That of the operator."""
        return self.operator.rounding

    def mv(self, cube):
        """Expected counts of component maps."""
        return self.operator.mv(cube)

    def rmv(self, counts):
        """Apply the transpose."""
        return self.operator.rmv(counts)


def energy_blur(matrix: sp.csr_array) -> float:
    """Median over energies of `sum_e' C[e, e'] / C[e, e]` with `C = R'R`, each weighing `C[e, e]`.

    So energies outside of the channels, of which these see the tails only, hardly count.
    """
    diagonal = np.asarray(matrix.multiply(matrix).sum(0)).ravel()
    total = np.asarray(matrix.T @ (matrix @ np.ones(matrix.shape[1]))).ravel()
    seen = np.flatnonzero(diagonal > 0)
    order = seen[np.argsort(total[seen] / diagonal[seen])]
    weight = np.cumsum(diagonal[order])
    middle = order[np.searchsorted(weight, 0.5 * weight[-1])]
    return float(total[middle] / diagonal[middle])


def covered_pixels(psf: np.ndarray | None, pixel: np.ndarray) -> float:
    """Square root of the sky pixels that a PSF and a detector pixel cover: `(sum B)^2 / sum B^2`, edges left out."""
    if psf is None:
        return float(np.sqrt(pixel.sum() ** 2 / (pixel**2).sum()))
    size = [a + b - 1 for a, b in zip(psf.shape, pixel.shape, strict=True)]
    covered = np.fft.irfft2(np.fft.rfft2(psf, size) * np.fft.rfft2(pixel, size), size)
    return float(np.sqrt(covered.sum() ** 2 / (covered**2).sum()))
