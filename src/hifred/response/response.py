"""What an instrument does to a cube: area, PSF, redistribution and bins, as one exact linear operator."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike

from hifred.grid import whole_numbers
from hifred.response.energy import (
    EnergyMatrix,
    convolution_matrix,
    energy_operator,
    rebin_matrix,
)
from hifred.response.operator import Composition, Diagonal, Identity, LinearOperator, Shape
from hifred.response.sky import sky_operator

BOUNDARIES = ("zero", "reflect")
# Range of the largest area x exposure in cm2 s; an observation has 1e3 to 1e10.
AREAS = (1e-18, 1e18)


@dataclass(frozen=True, eq=False)
class Kernels:
    """The plain arrays a response was made from, so that it can be written to a file and made again.

    Attributes are the arguments of `Response.from_kernels`, after normalisation.
    """

    grid_shape: Shape
    psf: np.ndarray | None
    lsf: np.ndarray | None
    area: np.ndarray | None
    rebin: tuple[int, int, int]
    boundary: str


@dataclass(frozen=True, eq=False)
class Response:
    """Expected counts of an instrument as a linear function of the sky cube.

    `mu = S R P (A o z)` (METHOD, section 1): effective area x exposure `A`, point-spread function `P`, energy
    redistribution `R`, sums over channels and detector pixels `S`.

    Attributes
    ----------
    operator : LinearOperator
        The whole map on the device, from `in_shape` to `out_shape`.
    spectral : scipy.sparse.csr_array of shape (channels, L)
        Area, redistribution and energy sums without the sky part: the response of an extended, even sky.
    sky : LinearOperator
        PSF and block sums alone, on cubes of `L` energies.
    dtype : numpy.dtype
        Precision of the operator.
    energy_blur, sky_blur : float
        How many energy bins, and sky pixels along one axis, the instrument cannot tell apart: `sum / diagonal` of
        the autocorrelation of the response, averaged. 1 for an ideal instrument.
    """

    operator: LinearOperator
    spectral: sp.csr_array
    sky: LinearOperator
    kernels: Kernels
    dtype: np.dtype
    energy_blur: float = field(repr=False)
    sky_blur: float = field(repr=False)

    @classmethod
    def from_kernels(
        cls,
        grid_shape: Sequence,
        psf=None,
        lsf=None,
        area=None,
        rebin: Sequence = (1, 1, 1),
        boundary: str = "zero",
        *,
        normalize: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> "Response":
        """Response of an instrument given by plain arrays.

        Parameters
        ----------
        grid_shape : (L, M, N)
            Shape of the sky cube (energy, y, x).
        psf : array of shape (h, w) or (L, h, w), optional
            Point-spread function on the sky pixels, odd sides, centred; one for all energies or one for each.
        lsf : array of shape (k,) or (channels, L), optional
            Energy redistribution: an odd kernel on the energy bins, or a full matrix from energy to channel.
        area : array of shape (L,) or (L, M, N), optional
            Effective area x exposure in cm2 s, at the true energy (and position: vignetting). Default 1.
        rebin : three int
            Numbers of channels, and of sky pixels along y and x, summed into one bin of the data.
        boundary : {"zero", "reflect"}
            What lies beyond the frame, in space and in energy: nothing, so that photons leave the frame, or the mirror
            image as `numpy.pad(mode="reflect")` makes it (the edge sample is not repeated).
        normalize : bool
            Scale the PSF (each of them) and the kernel to sum 1, and each column of a full matrix to sum 1 (columns of
            zeros stay: energies the instrument does not see).
        dtype : dtype
            Precision of the operator; float64 needs JAX's x64 mode.

        Returns
        -------
        Response

        Raises
        ------
        ValueError
            If a kernel is even, negative, not finite, sums to zero or does not fit the grid; if `rebin` does not
            divide the shape; if `boundary` is unknown; if `dtype` is float64 without JAX's x64 mode.
        """
        shape = _grid_shape(grid_shape)
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype: expected float32 or float64, found {dtype}")
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"dtype: expected a precision that JAX is set to, found {dtype} without the x64 mode")
        if boundary not in BOUNDARIES:
            raise ValueError(f"boundary: expected one of {', '.join(BOUNDARIES)}, found {boundary!r}")
        psf = _psf(psf, shape, normalize)
        lsf = _lsf(lsf, shape, normalize)
        area = _area(area, shape)
        factors = _rebin(rebin, shape if lsf is None or lsf.ndim == 1 else (lsf.shape[0], *shape[1:]))
        kernels = Kernels(shape, psf, lsf, area, factors, boundary)
        return _assemble(kernels, dtype)

    @property
    def in_shape(self) -> Shape:
        """Shape `(L, M, N)` of the sky cube."""
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape `(channels, y, x)` of the data."""
        return self.operator.out_shape

    @property
    def T(self) -> LinearOperator:
        """The exact transpose, from data to sky cube."""
        return _Checked(self.operator.T, "response.T.mv", self.dtype)

    def mv(self, cube):
        """Expected counts, without background.

        Parameters
        ----------
        cube : array of shape (L, M, N)
            Photons / cm2 / s in each voxel.

        Returns
        -------
        array of shape (channels, y, x)

        Raises
        ------
        ValueError
            If the shape is not that of the grid.
        """
        return _Checked(self.operator, "response.mv", self.dtype).mv(cube)

    def restricted(self, basis: np.ndarray) -> "Restricted":
        """Return the response to cubes `z = V w`, without forming the cube where the sky part allows it.

        Parameters
        ----------
        basis : array of shape (L, r)
            Spectra `V` of the components.
        """
        basis = np.asarray(basis, dtype=float)
        shape = (basis.shape[1], *self.in_shape[1:])
        mixed = EnergyMatrix(jnp.asarray(self.spectral @ basis, self.dtype), self.out_shape[1:])
        psf = self.kernels.psf
        blur = sky_operator(
            psf.mean(0) if psf is not None and psf.ndim == 3 else psf,
            shape, self.kernels.rebin[1:], self.dtype, reflect=self.kernels.boundary == "reflect",
        )  # fmt: skip
        if self._separable:
            operator = Composition((mixed, blur))
        else:
            operator = Composition((self.operator, EnergyMatrix(jnp.asarray(basis, self.dtype), shape[1:])))
        return Restricted(operator, mixed.matrix, blur, self._concentration)

    @property
    def _concentration(self) -> float:
        """How much of a sky pixel's light falls in one detector pixel."""
        return float(np.prod(self.kernels.rebin[1:])) / self.sky_blur**2

    @property
    def _separable(self) -> bool:
        """Whether the sky part is the same at all energies."""
        psf, area = self.kernels.psf, self.kernels.area
        return (psf is None or psf.ndim == 2) and (area is None or area.ndim == 1)


class _Checked(LinearOperator):
    """An operator that takes any array-like and says what is wrong with its shape."""

    operator: LinearOperator
    name: str
    dtype: np.dtype

    @property
    def in_shape(self) -> Shape:
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:
        return self.operator.out_shape

    def mv(self, cube):
        cube = jnp.asarray(cube)
        if cube.shape != self.in_shape:
            raise ValueError(f"{self.name}: expected an array of shape {self.in_shape}, found {cube.shape}")
        return self.operator.mv(cube.astype(self.dtype))


class Restricted(LinearOperator):
    """A response to component maps `w` (component, y, x) of cubes `z = V w`.

    Attributes
    ----------
    spectra : array of shape (channels, r)
        Folded spectra of the components.
    blur : LinearOperator
        The sky part on maps (its mean over energies where the PSF varies); it serves the preconditioner only.
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


def _assemble(kernels: Kernels, dtype: np.dtype) -> Response:
    """Choose the cheapest order and form of the factors."""
    shape, factors = kernels.grid_shape, kernels.rebin
    reflect = kernels.boundary == "reflect"
    energies = shape[0]
    spectral = sp.csr_array(sp.eye_array(energies))
    if kernels.lsf is not None:
        one = kernels.lsf.ndim == 1
        spectral = convolution_matrix(kernels.lsf, energies, kernels.boundary) if one else sp.csr_array(kernels.lsf)
    if factors[0] > 1:
        spectral = sp.csr_array(rebin_matrix(spectral.shape[0], factors[0]) @ spectral)
    redistribution = spectral
    area = kernels.area
    if area is not None:
        # The area at one energy is a number that commutes with the PSF: it belongs in the matrix.
        mean = area if area.ndim == 1 else area.mean((1, 2))
        spectral = sp.csr_array(spectral @ sp.diags_array(mean))
    local = area is not None and area.ndim == 3
    matrix = redistribution if local else spectral
    channels = matrix.shape[0]

    def blur(count):
        return sky_operator(kernels.psf, (count, *shape[1:]), factors[1:], dtype, reflect=reflect)

    sky = blur(energies)
    detector = sky.out_shape[1:]
    varies = kernels.psf is not None and kernels.psf.ndim == 3
    sky_cost = float(np.prod(detector)) if not isinstance(sky, Identity) else 0.0
    energy_first = (
        not varies and matrix.nnz * np.prod(shape[1:]) + channels * sky_cost * np.prod(shape[1:])
        < matrix.nnz * np.prod(detector) + energies * sky_cost * np.prod(shape[1:])
    )  # fmt: skip
    if energy_first:
        parts = [blur(channels), energy_operator(matrix, shape[1:], dtype)]
    else:
        parts = [energy_operator(matrix, detector, dtype), sky]
    if local:
        parts.append(Diagonal(jnp.asarray(area, dtype), shape))
    parts = [part for part in parts if not isinstance(part, Identity)] or [Identity(shape)]
    operator = parts[0] if len(parts) == 1 else Composition(tuple(parts))
    return Response(operator, spectral, sky, kernels, dtype, _energy_blur(redistribution), _sky_blur(kernels))


def _energy_blur(matrix: sp.csr_array) -> float:
    """Mean over energies of `sum_e' C[e, e'] / C[e, e]` with `C = R'R`."""
    diagonal = np.asarray(matrix.multiply(matrix).sum(0)).ravel()
    total = np.asarray(matrix.T @ (matrix @ np.ones(matrix.shape[1]))).ravel()
    seen = diagonal > 0
    return float(np.mean(total[seen] / diagonal[seen]))


def _sky_blur(kernels: Kernels) -> float:
    """Square root of the pixels that PSF and detector pixels cover: `1 / sum B^2`, boundaries left out."""
    ry, rx = kernels.rebin[1:]
    if kernels.psf is None:
        return float(np.sqrt(ry * rx))
    psf = kernels.psf if kernels.psf.ndim == 2 else kernels.psf.mean(0)
    pixel = np.ones((ry, rx))
    size = [a + b - 1 for a, b in zip(psf.shape, pixel.shape, strict=True)]
    covered = np.fft.irfft2(np.fft.rfft2(psf, size) * np.fft.rfft2(pixel, size), size)
    return float(np.sqrt(covered.sum() ** 2 / (covered**2).sum()))


def _grid_shape(grid_shape) -> Shape:
    shape = whole_numbers("grid_shape", grid_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"grid_shape: expected three positive sizes (energy, y, x), found {tuple(grid_shape)}")
    return shape


def _kernel(name: str, values, dimensions: tuple[int, ...], expected: str) -> np.ndarray:
    values = np.array(values, dtype=float)
    values.flags.writeable = False
    if values.ndim not in dimensions:
        raise ValueError(f"{name}: expected {expected}, found an array of shape {values.shape}")
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(f"{name}: expected finite values of at least 0, found {values.min()}")
    return values


def _psf(psf, shape: Shape, normalize: bool) -> np.ndarray | None:
    if psf is None:
        return None
    psf = _kernel("psf", psf, (2, 3), f"an image (h, w) or one per energy ({shape[0]}, h, w)")
    if psf.shape[-1] % 2 == 0 or psf.shape[-2] % 2 == 0:
        raise ValueError(f"psf: expected odd sides, so that it has a centre, found {psf.shape[-2:]}")
    if psf.ndim == 3 and psf.shape[0] != shape[0]:
        raise ValueError(f"psf: expected one image for each of {shape[0]} energies, found {psf.shape[0]}")
    total = psf.sum((-2, -1), keepdims=True)
    if np.any(total == 0):
        raise ValueError("psf: expected a positive sum, found a kernel that sums to zero")
    return psf / total if normalize else psf


def _lsf(lsf, shape: Shape, normalize: bool) -> np.ndarray | None:
    if lsf is None:
        return None
    lsf = _kernel("lsf", lsf, (1, 2), f"a kernel (k,) or a matrix (channels, {shape[0]})")
    if lsf.ndim == 1 and lsf.size % 2 == 0:
        raise ValueError(f"lsf: expected an odd length, so that it has a centre, found {lsf.size}")
    if lsf.ndim == 2 and lsf.shape[1] != shape[0]:
        raise ValueError(f"lsf: expected a matrix with {shape[0]} columns, one per energy, found {lsf.shape}")
    if lsf.sum() == 0:
        raise ValueError("lsf: expected a positive sum, found a kernel that sums to zero")
    total = lsf.sum(0, keepdims=True)
    return lsf / np.where(total > 0, total, 1) if normalize else lsf


def _area(area, shape: Shape) -> np.ndarray | None:
    if area is None:
        return None
    area = _kernel("area", area, (1, 3), f"shape ({shape[0]},) or {shape}")
    if area.shape not in ((shape[0],), shape):
        raise ValueError(f"area: expected shape ({shape[0]},) or {shape}, found {area.shape}")
    if area.max() == 0:
        raise ValueError("area: expected some positive effective area, found zero everywhere")
    if not AREAS[0] <= area.max() <= AREAS[1]:
        raise ValueError(
            f"area: expected a largest value of {AREAS[0]:g} to {AREAS[1]:g} cm2 s, which single precision holds with "
            f"room for its square, found {area.max():g}; choose other units"
        )
    return area


def _rebin(rebin, shape: Shape) -> tuple[int, int, int]:
    factors = whole_numbers("rebin", rebin)
    if len(factors) != 3 or min(factors) < 1:
        raise ValueError(f"rebin: expected three positive integers (energy, y, x), found {tuple(rebin)}")
    for axis, size, factor in zip(("energy", "y", "x"), shape, factors, strict=True):
        if size % factor:
            raise ValueError(f"rebin: expected a divisor of {size} along {axis}, found {factor}")
    return factors
