"""Instruments given by plain arrays: PSF, redistribution, area and sums on the cube's own bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from hifred.grid import whole_numbers
from hifred.response.energy import EnergyMatrix, convolution_matrix, energy_operator, rebin_matrix
from hifred.response.operator import Composition, Diagonal, Identity, LinearOperator, Shape
from hifred.response.recipe import Built, Product, Recipe, Restricted, covered_pixels, energy_blur
from hifred.response.sky import sky_operator
from hifred.response.varying import low_rank

BOUNDARIES = ("zero", "reflect")
# Range of the largest area x exposure in cm2 s; an observation has 1e3 to 1e10.
AREAS = (1e-18, 1e18)


@dataclass(frozen=True, eq=False)
class Kernels(Recipe):
    """The plain arrays a response was made from, so that it can be written to a file and made again.

    Attributes are the arguments of `Response.from_kernels`, after normalisation.
    """

    grid_shape: Shape
    psf: np.ndarray | None
    lsf: np.ndarray | None
    area: np.ndarray | None
    rebin: tuple[int, int, int]
    boundary: str

    @classmethod
    def checked(cls, grid_shape: Sequence, psf, lsf, area, rebin, boundary: str, *, normalize: bool) -> "Kernels":
        """Kernels that fit together; see `Response.from_kernels`."""
        shape = _grid_shape(grid_shape)
        if boundary not in BOUNDARIES:
            raise ValueError(f"boundary: expected one of {', '.join(BOUNDARIES)}, found {boundary!r}")
        psf = _psf(psf, shape, normalize)
        lsf = _lsf(lsf, shape, normalize)
        area = _area(area, shape)
        matrix = lsf is not None and lsf.ndim == 2 and lsf.shape[1] == shape[0]
        factors = _rebin(rebin, (lsf.shape[0], *shape[1:]) if matrix and lsf is not None else shape)
        return cls(shape, psf, lsf, area, factors, boundary)

    @property
    def shape(self) -> Shape:
        """Shape of the sky cube."""
        return self.grid_shape

    @property
    def has_area(self) -> bool:
        """Whether an area was given."""
        return self.area is not None

    @property
    def pixels_per_bin(self) -> float:
        """Sky pixels summed into one."""
        return float(np.prod(self.rebin[1:]))

    @property
    def reflect(self) -> bool:
        """Whether the frame's edges are mirrors."""
        return self.boundary == "reflect"

    def parts(self) -> tuple:
        """All of the arguments."""
        return (self.grid_shape, self.rebin, self.boundary, self.psf, self.lsf, self.area)

    def redistribution(self) -> sp.csr_array:
        """Energy redistribution and sums, without the area, (channels, L)."""
        energies = self.grid_shape[0]
        matrix = sp.csr_array(sp.eye_array(energies))
        if self.lsf is not None:
            full = self.lsf.ndim == 2 and self.lsf.shape[1] == energies
            matrix = sp.csr_array(self.lsf) if full else convolution_matrix(self.lsf, energies, self.boundary)
        if self.rebin[0] > 1:
            matrix = sp.csr_array(rebin_matrix(matrix.shape[0], self.rebin[0]) @ matrix)
        return matrix

    def sky(self, count: int, dtype) -> LinearOperator:
        """PSF and block sums on cubes of `count` energies."""
        shape = (count, *self.grid_shape[1:])
        return sky_operator(self.psf, shape, self.rebin[1:], dtype, reflect=self.reflect)

    def build(self, dtype: np.dtype) -> Built:
        """Choose the cheapest order and form of the factors."""
        shape, area = self.grid_shape, self.area
        redistribution = self.redistribution()
        spectral = redistribution
        if area is not None:
            # The area at one energy is a number that commutes with the PSF: it belongs in the matrix.
            mean = area if area.ndim == 1 else area.mean((1, 2))
            spectral = sp.csr_array(redistribution @ sp.diags_array(mean))
        local = area is not None and area.ndim == 3
        matrix = redistribution if local else spectral
        sky = self.sky(shape[0], dtype)
        detector = sky.out_shape[1:]
        if self._energy_first(matrix, sky):
            parts = [self.sky(matrix.shape[0], dtype), energy_operator(matrix, shape[1:], dtype)]
        else:
            parts = [energy_operator(matrix, detector, dtype), sky]
        if local:
            parts.append(Diagonal(jnp.asarray(area, dtype), shape))
        parts = [part for part in parts if not isinstance(part, Identity)] or [Identity(shape)]
        operator = parts[0] if len(parts) == 1 else Composition(tuple(parts))
        return Built(operator, spectral, energy_blur(redistribution), self._sky_blur())

    def _energy_first(self, matrix: sp.csr_array, sky: LinearOperator) -> bool:
        """Whether energies are cheaper to redistribute before the blur, and may be."""
        channels, pixels = matrix.shape[0], np.prod(self.grid_shape[1:])
        detector = np.prod(sky.out_shape[1:])
        cost = float(detector) if not isinstance(sky, Identity) else 0.0
        first = matrix.nnz * pixels + channels * cost * pixels
        last = matrix.nnz * detector + self.grid_shape[0] * cost * pixels
        return not self._varies_with_energy and bool(first < last)

    @property
    def _varies_with_energy(self) -> bool:
        return self.psf is not None and self.psf.ndim == 3

    def products(self, dtype: np.dtype) -> tuple[Product, ...]:
        """One, or where PSF or vignetting vary with energy as few as reproduce them (`low_rank`)."""
        energies = self.grid_shape[0]
        one = np.ones((energies, 1))
        weights, psfs = one, [self.psf]
        if self.psf is not None and self._varies_with_energy:
            weights, kernels = low_rank(self.psf.reshape(energies, -1))
            psfs = list(kernels.reshape(-1, *self.psf.shape[1:]))
        areas, maps = one, [None]
        if self.area is not None and self.area.ndim == 3:
            areas, images = low_rank(self.area.reshape(energies, -1))
            maps = list(images.reshape(-1, *self.grid_shape[1:]))
        elif self.area is not None:
            areas = self.area[:, None]
        redistribution = self.redistribution()
        return tuple(
            Product(
                sp.csr_array(redistribution @ sp.diags_array(weights[:, i] * areas[:, j])),
                partial(self._sky_of, psf, image, dtype),
            )
            for i, psf in enumerate(psfs)
            for j, image in enumerate(maps)
        )

    def _sky_of(self, psf, image, dtype: np.dtype, count: int) -> LinearOperator:
        """A PSF and block sums, after the weights of an image."""
        shape = (count, *self.grid_shape[1:])
        sky = sky_operator(psf, shape, self.rebin[1:], dtype, reflect=self.reflect)
        return sky if image is None else Composition((sky, Diagonal(jnp.asarray(image[None], dtype), shape)))

    def restricted(self, basis: np.ndarray, built: Built, dtype: np.dtype) -> Restricted:
        """Fold the spectra first where the sky part is the same at all energies."""
        shape = (basis.shape[1], *self.grid_shape[1:])
        detector = built.operator.out_shape[1:]
        mixed = EnergyMatrix(jnp.asarray(built.spectral @ basis, dtype), detector)
        psf = self.psf.mean(0) if self.psf is not None and self._varies_with_energy else self.psf
        blur = sky_operator(psf, shape, self.rebin[1:], dtype, reflect=self.reflect)
        if not self._varies_with_energy and (self.area is None or self.area.ndim == 1):
            operator = Composition((mixed, blur))
        else:
            operator = Composition((built.operator, EnergyMatrix(jnp.asarray(basis, dtype), shape[1:])))
        concentration = self.pixels_per_bin / built.sky_blur**2
        return Restricted(operator, mixed.matrix, blur, concentration)

    def _sky_blur(self) -> float:
        psf = self.psf
        if psf is not None:
            psf = psf.reshape(-1, *psf.shape[-2:]).mean(0)
        return covered_pixels(psf, np.ones(self.rebin[1:]))

    def channel_edges(self, edges: np.ndarray) -> np.ndarray:
        """Sums of the cube's bins; for a matrix, which carries no energies, where each channel is most sensitive.

        That is the mean over the energies above 0.8 of the row's maximum. Rows within that width of the ends of the
        band are extrapolated from the others.
        """
        lsf, factor = self.lsf, self.rebin[0]
        if lsf is None or lsf.ndim == 1 or lsf.shape[1] != self.grid_shape[0]:
            return edges[::factor]
        return _sensitive_edges(lsf.reshape(-1, factor, lsf.shape[1]).sum(1), edges)

    def place(self) -> np.ndarray:
        """Blocks of sky pixels."""
        _, ny, nx = self.grid_shape
        _, ry, rx = self.rebin
        y, x = np.mgrid[:ny, :nx]
        return (y // ry) * (nx // rx) + x // rx

    def vignetting(self) -> np.ndarray:
        """From an area that varies over the sky; else 1."""
        _, ry, rx = self.rebin
        shape = self.grid_shape[1] // ry, self.grid_shape[2] // rx
        area = self.area
        if area is None or area.ndim == 1:
            return np.ones(shape)
        mean = area.mean((1, 2), keepdims=True)
        relative = np.divide(area, mean, out=np.zeros_like(area), where=mean > 0)[mean.ravel() > 0].mean(0)
        return relative.reshape(shape[0], ry, shape[1], rx).mean((1, 3))


def _sensitive_edges(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Edges of channels that lie where their rows (channels, L) are most sensitive."""
    middle = 0.5 * (edges[:-1] + edges[1:])
    top = rows.max(1)
    core = rows > 0.8 * top[:, None]
    first, last = core.argmax(1), core.shape[1] - 1 - core[:, ::-1].argmax(1)
    # Near the ends of the band the kernel is cut, or scaled up to make good for what is cut.
    free = (top > 0) & (first > last - first) & (last < core.shape[1] - 1 - (last - first))
    weights = np.where(core, rows, 0)[free]
    centres = np.maximum.accumulate((weights * middle).sum(1) / weights.sum(1))
    channels, known = np.arange(top.size), np.flatnonzero(free)
    if known.size < 2 or centres[-1] <= centres[0]:
        return np.linspace(edges[0], edges[-1], top.size + 1)
    step = float(np.median(np.diff(centres) / np.diff(known)))
    full = np.interp(channels, known, centres)
    full += step * (np.minimum(channels - known[0], 0) + np.maximum(channels - known[-1], 0))
    # A plateau would make empty channels: spread it over a hair's breadth.
    full = np.maximum.accumulate(full) + 1e-6 * step * channels
    inner = 0.5 * (full[:-1] + full[1:])
    return np.concatenate([[2 * full[0] - inner[0]], inner, [2 * full[-1] - inner[-1]]])


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
    forms = f"an image (h, w), one per energy ({shape[0]}, h, w) or one per pixel ({shape[1]}, {shape[2]}, h, w)"
    psf = _kernel("psf", psf, (2, 3, 4), forms)
    if psf.shape[-1] % 2 == 0 or psf.shape[-2] % 2 == 0:
        raise ValueError(f"psf: expected odd sides, so that it has a centre, found {psf.shape[-2:]}")
    if psf.ndim == 3 and psf.shape[0] != shape[0]:
        raise ValueError(f"psf: expected one image for each of {shape[0]} energies, found {psf.shape[0]}")
    if psf.ndim == 4 and psf.shape[:2] != shape[1:]:
        raise ValueError(f"psf: expected one image for each of {shape[1:]} sky pixels, found {psf.shape[:2]}")
    total = psf.sum((-2, -1), keepdims=True)
    if np.any(total == 0):
        raise ValueError("psf: expected a positive sum, found a kernel that sums to zero")
    return psf / total if normalize else psf


def _lsf(lsf, shape: Shape, normalize: bool) -> np.ndarray | None:
    if lsf is None:
        return None
    energies = shape[0]
    forms = f"a kernel (k,), one per energy ({energies}, k), or a matrix (channels, {energies})"
    lsf = _kernel("lsf", lsf, (1, 2), forms)
    per_energy = lsf.ndim == 2 and lsf.shape[1] != energies and lsf.shape[0] == energies
    if (lsf.ndim == 1 or per_energy) and lsf.shape[-1] % 2 == 0:
        raise ValueError(f"lsf: expected an odd length, so that it has a centre, found {lsf.shape[-1]}")
    if lsf.ndim == 2 and energies not in lsf.shape:
        raise ValueError(
            f"lsf: expected a matrix with {energies} columns, one per energy, or kernels in {energies} rows, "
            f"found {lsf.shape}"
        )
    if lsf.sum() == 0:
        raise ValueError("lsf: expected a positive sum, found a kernel that sums to zero")
    total = lsf.sum(-1 if per_energy else 0, keepdims=True)
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
