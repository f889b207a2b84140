"""Instruments given by their calibration: RMF bins, area, PSF and vignetting at a few energies, pixels on the sky."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.sparse as sp

from hifred.grid import whole_numbers
from hifred.response.energy import EnergyMatrix, energy_operator
from hifred.response.operator import Composition, Diagonal, Identity, LinearOperator, Shape, Sum
from hifred.response.recipe import Built, Product, Recipe, Restricted, covered_pixels, energy_blur
from hifred.response.sky import DENSE_LIMIT, SkyMatrix
from hifred.response.varying import (
    BlendedSkyMatrix,
    SparseSky,
    VaryingEnergyMatrix,
    node_of,
    varying_convolution,
)


@dataclass(frozen=True, eq=False)
class Calibration(Recipe):
    """Area and exposure, then vignetting, then PSF, then redistribution, then channels and detector pixels.

    `mu[c, q] = sum_j u_j[q] sum_i R_j[c, i] sum_p M(i)[q, p] sum_e G[i, e] z[e, p]` with `i` the bins of true energy of
    the RMF, and `M(i) = sum_n h_n(i) S P_n V_n` interpolated linearly between nodes `n` in energy.

    Attributes
    ----------
    grid_shape : tuple of three int
        Shape `(L, M, N)` of the sky cube.
    gather : scipy.sparse.csr_array of shape (I, L)
        `G`: effective area x exposure (cm2 s) of each RMF bin times the part of each cube energy that falls in it.
    redistributions : tuple of scipy.sparse.csr_array of shape (channels, I)
        `R_j`: probability of each channel.
    mixture : array of shape (J, rows, columns), optional
        `u_j`: weights of the redistributions in each detector pixel; not given where there is one.
    position : array of shape (I,)
        Place of each RMF bin among the nodes, 0 to n - 1, not decreasing.
    psf : array of shape (n, t, h, w), optional
        Kernels on the sky pixels at each node, for each of `t` weights, odd sides. Not normalised: what a kernel lacks
        of 1 falls outside it.
    maps : array of shape (n, t, M, N), optional
        Vignetting times the weight of each kernel, where the photons come from.
    pixels : scipy.sparse.csr_array of shape (rows x columns, M x N), optional
        `S`: the part of each sky pixel that falls in each detector pixel; by default detector pixels are sky pixels.
    detector_shape : tuple of two int
        Rows and columns of the detector.
    channel_bounds : array of shape (channels + 1,)
        Nominal energies of the channels' edges, keV.
    """

    grid_shape: Shape
    gather: sp.csr_array
    redistributions: tuple[sp.csr_array, ...]
    mixture: np.ndarray | None
    position: np.ndarray
    psf: np.ndarray | None
    maps: np.ndarray | None
    pixels: sp.csr_array | None
    detector_shape: tuple[int, int]
    channel_bounds: np.ndarray

    @classmethod
    def checked(
        cls,
        grid_shape: Sequence,
        *,
        gather,
        redistributions: Sequence,
        channel_bounds,
        mixture=None,
        position=None,
        psf=None,
        maps=None,
        pixels=None,
        detector_shape: Sequence | None = None,
    ) -> "Calibration":
        """A calibration whose parts fit together; the arguments are the attributes.

        Raises
        ------
        ValueError
            If shapes do not fit, values are negative or not finite, or the area is zero everywhere.
        """
        shape = whole_numbers("grid_shape", grid_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"grid_shape: expected three positive sizes (energy, y, x), found {tuple(grid_shape)}")
        gather = _sparse("gather", gather, (None, shape[0]))
        if gather.nnz == 0 or gather.max() == 0:
            raise ValueError("gather: expected some positive effective area, found zero everywhere")
        bins = gather.shape[0]
        matrices = tuple(_sparse("redistributions", matrix, (None, bins)) for matrix in redistributions)
        channels = matrices[0].shape[0] if matrices else 0
        if any(matrix.shape[0] != channels for matrix in matrices) or not channels:
            raise ValueError(f"redistributions: expected one or more matrices of one shape, found {len(matrices)}")
        bounds = np.asarray(channel_bounds, dtype=float)
        if bounds.shape != (channels + 1,) or not np.all(np.diff(bounds) > 0):
            raise ValueError(f"channel_bounds: expected {channels + 1} increasing energies, found shape {bounds.shape}")
        sky = shape[1:]
        if pixels is None:
            detector = sky
        else:
            if detector_shape is None:
                raise ValueError("detector_shape: expected rows and columns of the pixels, found none")
            detector = whole_numbers("detector_shape", detector_shape)
            pixels = _sparse("pixels", pixels, (int(np.prod(detector)), int(np.prod(sky))))
        psf = None if psf is None else _array("psf", psf, 4)
        if psf is not None and (psf.shape[2] % 2 == 0 or psf.shape[3] % 2 == 0):
            raise ValueError(f"psf: expected odd sides, so that it has a centre, found {psf.shape[2:]}")
        maps = None if maps is None else _array("maps", maps, 4)
        if maps is not None and maps.shape[2:] != sky:
            raise ValueError(f"maps: expected {sky} sky pixels, found {maps.shape[2:]}")
        nodes = {array.shape[:2] for array in (psf, maps) if array is not None}
        if len(nodes) > 1:
            raise ValueError(f"maps: expected the nodes and terms of psf, found {sorted(nodes)}")
        count = nodes.pop()[0] if nodes else 1
        position = np.zeros(bins) if position is None else np.asarray(position, dtype=float)
        if position.shape != (bins,) or np.any(np.diff(position) < 0) or position[0] < 0 or position[-1] > count - 1:
            raise ValueError(
                f"position: expected {bins} increasing places from 0 to {count - 1}, found {position.size}"
                + (f" from {position.flat[0]:g} to {position.flat[-1]:g}" if position.size else "")
            )
        if mixture is not None:
            mixture = _array("mixture", mixture, 3)
            if mixture.shape != (len(matrices), *detector):
                raise ValueError(f"mixture: expected shape {(len(matrices), *detector)}, found {mixture.shape}")
        elif len(matrices) > 1:
            raise ValueError(f"mixture: expected weights for {len(matrices)} redistributions, found none")
        if bins > shape[0]:
            # More RMF bins than cube energies: fold them once, for all pixels.
            matrices, gather, position = _folded(matrices, gather, position)
        return cls(shape, gather, matrices, mixture, position, psf, maps, pixels, detector, bounds)  # pyright: ignore[reportArgumentType]

    @property
    def shape(self) -> Shape:
        """Shape of the sky cube."""
        return self.grid_shape

    @property
    def has_area(self) -> bool:
        """Yes."""
        return True

    @property
    def pixels_per_bin(self) -> float:
        """Mean area of the detector pixels that look at the sky, in sky pixels."""
        if self.pixels is None:
            return 1.0
        area = np.asarray(self.pixels.sum(1)).ravel()
        return float(max(area[area > 0].mean(), 1e-9)) if (area > 0).any() else 1.0

    def parts(self) -> tuple:
        """All arrays."""
        sparse = [m for m in (self.gather, *self.redistributions, self.pixels) if m is not None]
        return (
            self.grid_shape, self.detector_shape, self.mixture, self.position, self.psf, self.maps, self.channel_bounds,
            *(array for m in sparse for array in (m.data, m.indices, m.indptr)),
        )  # fmt: skip

    @property
    def _nodes(self) -> int:
        return next((a.shape[0] for a in (self.psf, self.maps) if a is not None), 1)

    @property
    def _terms(self) -> int:
        return next((a.shape[1] for a in (self.psf, self.maps) if a is not None), 1)

    def mean_redistribution(self) -> sp.csr_array:
        """Redistribution averaged over the pixels, (channels, I)."""
        if self.mixture is None:
            return self.redistributions[0]
        shares = self.mixture.mean((1, 2)) / self.mixture.mean((1, 2)).sum()
        return sp.csr_array(sum(share * matrix for share, matrix in zip(shares, self.redistributions, strict=True)))

    def build(self, dtype: np.dtype) -> Built:
        """Sum energies to RMF bins, then the sky, then redistribute; or the other way round where both commute."""
        sky_shape = self.grid_shape[1:]
        gather, position = self.gather, self.position
        bins, channels = gather.shape[0], self.redistributions[0].shape[0]
        uniform = self.mixture is None
        matrices = self.redistributions
        if uniform and self._nodes == 1 and bins == self.grid_shape[0] and _is_diagonal(gather):
            # The area alone: it belongs in the matrix.
            matrices, parts = (sp.csr_array(matrices[0] @ gather),), []
        else:
            parts = [energy_operator(gather, sky_shape, dtype)]
        if uniform and self._nodes == 1 and not self._is_dense and channels < bins:
            parts = [self.sky(np.zeros(channels), dtype), energy_operator(matrices[0], sky_shape, dtype), *parts]
        else:
            parts = [self._redistribute(matrices, dtype), self.sky(position, dtype), *parts]
        parts = [part for part in parts if not isinstance(part, Identity)] or [Identity(self.grid_shape)]
        operator = parts[0] if len(parts) == 1 else Composition(tuple(parts))
        mean = sp.csr_array(self.mean_redistribution() @ gather)
        weight = np.asarray(gather.sum(0)).ravel()
        unit = sp.csr_array(mean @ sp.diags_array(1 / np.where(weight > 0, weight, 1)))
        return Built(operator, sp.csr_array(mean * self.throughput()), energy_blur(unit), self._sky_blur())

    def _redistribute(self, matrices, dtype) -> LinearOperator:
        if self.mixture is None:
            return energy_operator(matrices[0], self.detector_shape, dtype)
        return VaryingEnergyMatrix.of(matrices, self.mixture, dtype)

    @property
    def _is_dense(self) -> bool:
        """Whether one dense matrix from sky to detector pixels is the cheaper form."""
        trivial = self.psf is None and self.pixels is None
        return not trivial and bool(np.prod(self.detector_shape) * np.prod(self.grid_shape[1:]) <= DENSE_LIMIT)

    def sky(self, position: np.ndarray, dtype) -> LinearOperator:
        """Vignetting, PSF and detector pixels on cubes whose energies lie at `position` among the nodes."""
        count, sky_shape = position.size, self.grid_shape[1:]
        nodes = self._nodes
        if self._is_dense:
            matrices = self.sky_matrices()
            if nodes == 1:
                return SkyMatrix(jnp.asarray(matrices[0], dtype), count, sky_shape, self.detector_shape)
            lower, fraction = node_of(position, nodes)
            bounds = tuple(int(b) for b in np.searchsorted(lower, np.arange(nodes)))
            return BlendedSkyMatrix(
                jnp.asarray(matrices, dtype), jnp.asarray(fraction, dtype), (*bounds[:-1], count), sky_shape,
                self.detector_shape,
            )  # fmt: skip
        parts = []
        if self.pixels is not None:
            parts.append(SparseSky.of(self.pixels, count, sky_shape, self.detector_shape, dtype))
        if self.psf is not None:
            parts.append(varying_convolution(self.psf, self.maps, position, sky_shape, dtype))
        elif self.maps is not None:
            lower, fraction = node_of(position, nodes)
            maps = self.maps.sum(1)
            above = maps[np.minimum(lower + 1, nodes - 1)]
            factors = maps[lower] + fraction[:, None, None] * (above - maps[lower]) if nodes > 1 else maps
            parts.append(Diagonal(jnp.asarray(factors, dtype), (count, *sky_shape)))
        parts = parts or [Identity((count, *sky_shape))]
        return parts[0] if len(parts) == 1 else Composition(tuple(parts))

    def sky_matrices(self) -> np.ndarray:
        """The matrices `S P_n V_n`, shape (n, detector, sky).

        Row by row: the image of the detector pixel, correlated with each kernel, times the weights of the sky pixels.
        """
        sky = self.grid_shape[1:]
        pixels = np.eye(int(np.prod(sky))) if self.pixels is None else self.pixels.toarray()
        images = pixels.reshape(-1, *sky)
        correlated = (lambda node, term: images) if self.psf is None else _correlations(images, self.psf)
        out = np.zeros((self._nodes, len(images), *sky))
        for node in range(self._nodes):
            for term in range(self._terms):
                part = correlated(node, term)
                out[node] += part if self.maps is None else part * self.maps[node, term]
        return np.maximum(out.reshape(self._nodes, len(images), -1), 0)

    def throughput(self) -> float:
        """Fraction of an even sky's photons that reach its detector pixels: vignetting and what PSF kernels hold."""
        kept = np.ones((1, 1)) if self.psf is None else self.psf.sum((2, 3))
        share = np.ones_like(kept) if self.maps is None else self.maps.mean((2, 3))
        return float((kept * share).sum(1).mean())

    def products(self, dtype: np.dtype) -> tuple[Product, ...]:
        """One for each node, and each redistribution where they vary from pixel to pixel."""
        lower, fraction = node_of(self.position, self._nodes)
        out = []
        for node in range(self._nodes):
            weight = np.where(lower == node, 1 - fraction, 0) + np.where(lower + 1 == node, fraction, 0)
            weighted = sp.csr_array(sp.diags_array(weight) @ self.gather)
            for number, matrix in enumerate(self.redistributions):
                share = None if self.mixture is None else self.mixture[number]
                out.append(Product(sp.csr_array(matrix @ weighted), partial(self._sky_of, node, share, dtype)))
        return tuple(out)

    def _sky_of(self, node: int, share: np.ndarray | None, dtype: np.dtype, count: int) -> LinearOperator:
        """Sky part of one node, times the weights of a redistribution in the detector pixels."""
        # Without the other nodes: their kernels would be held, and transformed, for weights of 0.
        chosen = {
            name: array[node : node + 1] for name in ("psf", "maps") if (array := getattr(self, name)) is not None
        }
        sky = replace(self, **chosen).sky(np.zeros(count), dtype)
        if share is None:
            return sky
        return Composition((Diagonal(jnp.asarray(share[None], dtype), (count, *self.detector_shape)), sky))

    def restricted(self, basis: np.ndarray, built: Built, dtype: np.dtype) -> Restricted:
        """Sum over nodes of folded spectra times sky parts: the cube is never formed."""
        rank = basis.shape[1]
        operators = [
            Composition((EnergyMatrix(jnp.asarray(part.spectral @ basis, dtype), self.detector_shape), part.sky(rank)))
            for part in self.products(dtype)
        ]
        operator = operators[0] if len(operators) == 1 else Sum(tuple(operators))
        spectra = EnergyMatrix(jnp.asarray(built.spectral @ basis, dtype), self.detector_shape)
        middle = self.sky(np.full(rank, 0.5 * (self._nodes - 1)), dtype)
        return Restricted(operator, spectra.matrix, middle, self.pixels_per_bin / built.sky_blur**2)

    def _sky_blur(self) -> float:
        side = max(1, round(np.sqrt(self.pixels_per_bin)))
        psf = None if self.psf is None else self.psf.mean((0, 1))
        return covered_pixels(psf, np.ones((side, side)))

    def channel_edges(self, edges: np.ndarray) -> np.ndarray:
        """As the RMF's EBOUNDS have them."""
        return self.channel_bounds

    def place(self) -> np.ndarray:
        """The detector pixel that covers most of each sky pixel; -1 where none covers half of it."""
        sky = self.grid_shape[1:]
        if self.pixels is None:
            return np.arange(int(np.prod(sky))).reshape(sky)
        # Sparse: dense, 1500 pixels on 1000 x 1000 of the sky would be 12 GB.
        covered, most = self.pixels.sum(0), self.pixels.tocsc().argmax(0)
        return np.where(covered > 0.5, most, -1).reshape(sky)

    def vignetting(self) -> np.ndarray:
        """Mean of the vignetting maps over each detector pixel and over nodes, relative to their mean."""
        if self.maps is None:
            return np.ones(self.detector_shape)
        image = self.maps.sum(1).mean(0)
        image = image / image.mean()
        if self.pixels is None:
            return image
        area = np.asarray(self.pixels.sum(1)).ravel()
        mean = (self.pixels @ image.ravel()) / np.where(area > 0, area, 1)
        return mean.reshape(self.detector_shape)


def _correlations(images: np.ndarray, kernels: np.ndarray) -> Callable[[int, int], np.ndarray]:
    """`out[p] = sum_q kernel[q - p + half] images[q]` by node and term, nothing beyond the frame; images (n, M, N)."""
    shape = images.shape[1:]
    centre = [n // 2 for n in kernels.shape[2:]]
    # No farther than the frame is wide. What wraps around falls into what is cut away.
    half = [min(c, n - 1) for c, n in zip(centre, shape, strict=True)]
    size = [scipy.fft.next_fast_len(n + h, real=True) for n, h in zip(shape, half, strict=True)]
    within = tuple(slice(c - h, c + h + 1) for c, h in zip(centre, half, strict=True))
    kept = (slice(None), *(slice(h, h + n) for n, h in zip(shape, half, strict=True)))
    transformed = scipy.fft.rfft2(images, size)

    def correlated(node: int, term: int) -> np.ndarray:
        kernel = scipy.fft.rfft2(kernels[node, term][within][::-1, ::-1], size)
        return scipy.fft.irfft2(transformed * kernel, size)[kept]

    return correlated


def _folded(matrices, gather: sp.csr_array, position: np.ndarray):
    """RMF bins folded into cube energies: redistribution weighted by area and overlap, and a diagonal of areas."""
    area = np.asarray(gather.sum(0)).ravel()
    share = sp.csr_array(gather @ sp.diags_array(1 / np.where(area > 0, area, 1)))
    place = np.asarray(share.T @ position)
    # Energies without area lie anywhere; places must not decrease.
    place = np.maximum.accumulate(np.where(area > 0, place, 0))
    return tuple(sp.csr_array(matrix @ share) for matrix in matrices), sp.csr_array(sp.diags_array(area)), place


def _is_diagonal(matrix: sp.csr_array) -> bool:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return bool(np.all(rows == matrix.indices))


def _sparse(name: str, matrix, shape: tuple) -> sp.csr_array:
    matrix = sp.csr_array(matrix, dtype=float)
    if any(want is not None and want != found for want, found in zip(shape, matrix.shape, strict=True)):
        raise ValueError(f"{name}: expected a matrix of shape {shape}, found {matrix.shape}")
    if not np.all(np.isfinite(matrix.data)) or np.any(matrix.data < 0):
        raise ValueError(f"{name}: expected finite values of at least 0, found {matrix.data.min()}")
    return matrix


def _array(name: str, values, dimensions: int) -> np.ndarray:
    values = np.array(values, dtype=float)
    if values.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} axes, found an array of shape {values.shape}")
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError(f"{name}: expected finite values of at least 0, found {values.min()}")
    return values
