"""How images lie in the arrays that a convolution by FFT transforms."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Complex


@dataclass(frozen=True)
class Frame:
    """Images of one shape under kernels of one shape: padded so that what wraps round stays outside.

    Beyond empty edges (`reflect` false) nothing needs to be known, so that an array as large as the image and half of
    the kernel is enough, and parts of a kernel that reach across the whole image do not count. Mirror images are made
    first.

    Attributes
    ----------
    shape : tuple of two int
        `(M, N)` of the images.
    half : tuple of two int
        Half sides of the kernels: `2 half + 1` pixels.
    reflect : bool
        Mirror edges, as `numpy.pad(mode="reflect")` makes them, instead of empty ones.
    """

    shape: tuple[int, int]
    half: tuple[int, int]
    reflect: bool

    @property
    def reach(self) -> tuple[int, int]:
        """Half sides of what counts of the kernels."""
        if self.reflect:
            return self.half
        return min(self.half[0], self.shape[0] - 1), min(self.half[1], self.shape[1] - 1)

    @property
    def first(self) -> tuple[int, int]:
        """Where the convolved image starts."""
        edges = 2 if self.reflect else 1
        return edges * self.reach[0], edges * self.reach[1]

    @property
    def size(self) -> tuple[int, int]:
        """Shape of the arrays that are transformed."""
        ny, nx = (n + first for n, first in zip(self.shape, self.first, strict=True))
        return scipy.fft.next_fast_len(ny, real=True), scipy.fft.next_fast_len(nx, real=True)

    def transfer(self, kernels: np.ndarray) -> Complex[np.ndarray, "... fy fx"]:
        """Fourier transforms of kernels (..., h, w)."""
        rows, columns = (slice(h - r, h + r + 1) for h, r in zip(self.half, self.reach, strict=True))
        return np.fft.rfft2(kernels[..., rows, columns], s=self.size)

    def spectrum(self, images: Array) -> Complex[Array, "... fy fx"]:
        """Fourier transforms of images (..., M, N)."""
        if self.reflect:
            sides = [(0, 0)] * (images.ndim - 2) + [(h, h) for h in self.half]
            images = jnp.pad(images, sides, mode="reflect")
        return jnp.fft.rfft2(images, s=self.size)

    def image(self, spectra: Array) -> Array:
        """Images of products of both."""
        rows, columns = (slice(first, first + n) for n, first in zip(self.shape, self.first, strict=True))
        return jnp.fft.irfft2(spectra, s=self.size)[..., rows, columns]
