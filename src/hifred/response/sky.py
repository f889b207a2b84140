"""Operators on the sky axes: PSF convolution and block sums, as one matrix or by FFT."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from hifred.response.frame import Frame
from hifred.response.operator import Composition, Counts, Cube, Identity, LinearOperator, Shape
from hifred.response.varying import field_matrix, separate, varying_convolution

# Multiplications per image below which one dense matrix beats an FFT (benchmarks/bench_response.py).
DENSE_LIMIT = 2_000_000


class SkyMatrix(LinearOperator):
    """`mu[e, q] = sum_p B[q, p] z[e, p]`: a PSF and block sums as one dense matrix (detector x sky pixels)."""

    matrix: Float[Array, "detector sky"]
    energies: int = eqx.field(static=True)
    sky_shape: tuple[int, int] = eqx.field(static=True)
    detector_shape: tuple[int, int] = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.energies, *self.sky_shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return (self.energies, *self.detector_shape)

    def mv(self, cube: Cube) -> Counts:
        """Blur and sum each image."""
        return (cube.reshape(cube.shape[0], -1) @ self.matrix.T).reshape(self.out_shape)

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposed matrix to each image."""
        return (counts.reshape(counts.shape[0], -1) @ self.matrix).reshape(self.in_shape)


class FFTConvolution(LinearOperator):
    """Convolution of each image with a PSF, one for all energies or one for each, by FFT.

    Beyond the frame lies nothing, or the mirror image. The transpose is the one JAX derives, exact for both.
    """

    transfer: Complex[Array, "#energy fy fx"]
    energies: int = eqx.field(static=True)
    frame: Frame = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.energies, *self.frame.shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.in_shape

    @property
    def rounding(self) -> float:
        """Some units in the last place of the image's maximum, negative ones too."""
        return 8 * float(jnp.finfo(self.transfer.dtype).eps)

    def mv(self, cube: Cube) -> Counts:
        """Convolve each image."""
        return self.frame.image(self.frame.spectrum(cube) * self.transfer)


class SkyRebin(LinearOperator):
    """Sums over blocks of sky pixels."""

    shape: Shape = eqx.field(static=True)
    factors: tuple[int, int] = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        energy, ny, nx = self.shape
        return (energy, ny // self.factors[0], nx // self.factors[1])

    def mv(self, cube: Cube) -> Counts:
        """Sum each block."""
        energy, ny, nx = self.out_shape
        return cube.reshape(energy, ny, self.factors[0], nx, self.factors[1]).sum((2, 4))

    def rmv(self, counts: Counts) -> Cube:
        """Give the value of a block to each of its pixels."""
        return jnp.repeat(jnp.repeat(counts, self.factors[0], 1), self.factors[1], 2)


def _axis_taps(length: int, taps: int, factor: int, reflect: bool) -> np.ndarray:
    """Which input pixel each tap of a kernel adds to each (summed) output pixel; shape (taps, out, in)."""
    half = taps // 2
    out = np.zeros((taps, length // factor, length))
    source = np.pad(np.arange(length), half, mode="reflect") if reflect else np.arange(-half, length + half)
    for tap in range(taps):
        pixels = source[np.arange(length) + 2 * half - tap]
        inside = (pixels >= 0) & (pixels < length)
        np.add.at(out[tap], (np.arange(length)[inside] // factor, pixels[inside]), 1.0)
    return out


def sky_matrix(psf: np.ndarray, sky_shape: tuple[int, int], factors: tuple[int, int], *, reflect: bool) -> np.ndarray:
    """Dense matrix (detector x sky pixels) of a PSF of odd shape followed by block sums.

    Parameters
    ----------
    psf : array of shape (h, w)
        Point-spread function, odd sides.
    sky_shape : tuple of two int
        Sky pixels `(ny, nx)`.
    factors : tuple of two int
        Sky pixels summed along y and x.
    reflect : bool
        Mirror edges instead of empty ones.
    """
    along_y = _axis_taps(sky_shape[0], psf.shape[0], factors[0], reflect)
    along_x = _axis_taps(sky_shape[1], psf.shape[1], factors[1], reflect)
    half = np.einsum("ab,aip->bip", psf, along_y, optimize=True)
    full = np.einsum("bip,bjq->ijpq", half, along_x, optimize=True)
    return full.reshape(full.shape[0] * full.shape[1], -1)


def fft_convolution(psf: np.ndarray, shape: Shape, dtype, *, reflect: bool) -> FFTConvolution:
    """FFT operator for a PSF of shape (h, w), or (energy, h, w) for one per energy."""
    kernels = psf if psf.ndim == 3 else psf[None]
    frame = Frame((shape[1], shape[2]), (kernels.shape[1] // 2, kernels.shape[2] // 2), reflect)
    complex_dtype = np.result_type(dtype, np.complex64)
    return FFTConvolution(jnp.asarray(frame.transfer(kernels), complex_dtype), shape[0], frame)


def sky_operator(
    psf: np.ndarray | None, shape: Shape, factors: tuple[int, int], dtype, *, reflect: bool
) -> LinearOperator:
    """The cheapest operator for a PSF and block sums on cubes of `shape`: matrix, FFT, or sums alone.

    The PSF is one image (h, w), one per energy (energy, h, w) or one per sky pixel (M, N, h, w).
    """
    rebin = SkyRebin(shape, factors) if factors != (1, 1) else None
    if psf is None or (psf.shape[-2:] == (1, 1) and np.all(psf == 1)):
        return rebin if rebin is not None else Identity(shape)
    detector = (shape[1] // factors[0], shape[2] // factors[1])
    if psf.ndim != 3 and np.prod(detector) * np.prod(shape[1:]) <= DENSE_LIMIT:
        if psf.ndim == 2:
            matrix = sky_matrix(psf, shape[1:], factors, reflect=reflect)
        else:
            matrix = field_matrix(psf, factors, reflect=reflect)
        return SkyMatrix(jnp.asarray(matrix, dtype), shape[0], shape[1:], detector)
    if psf.ndim == 4:
        kernels, maps = separate(psf)
        blur = varying_convolution(kernels, maps, np.zeros(shape[0]), shape[1:], dtype, reflect=reflect)
    else:
        blur = fft_convolution(psf, shape, dtype, reflect=reflect)
    return blur if rebin is None else Composition((rebin, blur))
