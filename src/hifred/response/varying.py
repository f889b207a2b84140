"""Blurs that change: with position, with energy, and from one detector pixel to the next."""

from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Array, Complex, Float, Int

from hifred.response.energy import energy_operator
from hifred.response.frame import Frame
from hifred.response.operator import Counts, Cube, LinearOperator, Shape

# Energies transformed at once, and pixels of their padded images: a transform keeps some four such arrays in memory.
ENERGIES_AT_ONCE, PIXELS_AT_ONCE = 64, 4_000_000
# Kernels of a PSF field whose singular value is below this fraction of the first are left out.
SMALL = 1e-6


class VaryingConvolution(LinearOperator):
    """`mu[e] = sum_n h_n(e) sum_j K_nj * (m_nj o z[e])`: convolutions of the weighted image, interpolated in energy.

    The weights `m_nj` act where photons come from; `h_n(e)` are hat functions, `1 - fraction` at node `lower[e]` and
    `fraction` at the next. Beyond the frame lies nothing, or the mirror image.

    Attributes
    ----------
    transfer : array of shape (node, term, fy, fx)
        Fourier transforms of the kernels `K`.
    maps : array of shape (node, term, y, x)
        Weights `m`, or of shape (1, 1, 1, 1).
    lower, fraction : arrays of shape (energy,)
        Place of each energy among the nodes.
    """

    transfer: Complex[Array, "node term fy fx"]
    maps: Float[Array, "#node #term #y #x"]
    lower: Int[Array, " energy"]
    fraction: Float[Array, " energy"]
    frame: Frame = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.lower.shape[0], *self.frame.shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.in_shape

    @property
    def rounding(self) -> float:
        """Some units in the last place of the image's maximum, negative ones too."""
        return 8 * float(jnp.finfo(self.transfer.dtype).eps)

    def mv(self, cube: Cube) -> Counts:
        """Weight, convolve and add, some energies at a time."""
        nodes, terms = self.transfer.shape[:2]
        maps = jnp.broadcast_to(self.maps, (nodes, terms, *self.maps.shape[2:]))

        def image(operands):
            plane, lower, fraction = operands
            spectrum = jnp.zeros(self.transfer.shape[2:], self.transfer.dtype)
            for above in range(min(nodes, 2)):
                weight = fraction if above else 1 - fraction if nodes > 1 else jnp.ones_like(fraction)
                node = jnp.minimum(lower + above, nodes - 1)
                for term in range(terms):
                    weighted = plane * (weight * maps[node, term])
                    spectrum += self.frame.spectrum(weighted) * self.transfer[node, term]
            return self.frame.image(spectrum)

        ny, nx = self.frame.size
        together = max(1, min(ENERGIES_AT_ONCE, PIXELS_AT_ONCE // (ny * nx)))
        return jax.lax.map(image, (cube, self.lower, self.fraction), batch_size=together)


class BlendedSkyMatrix(LinearOperator):
    """`mu[e, q] = sum_n h_n(e) sum_p B_n[q, p] z[e, p]`: a few dense matrices, interpolated in energy.

    Attributes
    ----------
    matrices : array of shape (node, detector, sky)
        `B` at the nodes.
    fraction : array of shape (energy,)
        How far each energy is from its lower node to the next.
    bounds : tuple of int
        The energies `bounds[n] ... bounds[n + 1] - 1` lie between nodes `n` and `n + 1`.
    """

    matrices: Float[Array, "node detector sky"]
    fraction: Float[Array, " energy"]
    bounds: tuple[int, ...] = eqx.field(static=True)
    sky_shape: tuple[int, int] = eqx.field(static=True)
    detector_shape: tuple[int, int] = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.fraction.shape[0], *self.sky_shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return (self.fraction.shape[0], *self.detector_shape)

    def _by_segment(self, images, product) -> Array:
        """Both neighbouring nodes' products for the energies of each segment."""
        parts = []
        for node, (start, stop) in enumerate(zip(self.bounds[:-1], self.bounds[1:], strict=True)):
            if stop > start:
                part, t = images[start:stop], self.fraction[start:stop, None]
                parts.append((1 - t) * product(part, self.matrices[node]) + t * product(part, self.matrices[node + 1]))
        return jnp.concatenate(parts)

    def mv(self, cube: Cube) -> Counts:
        """Blur and sum each image."""
        flat = cube.reshape(cube.shape[0], -1)
        return self._by_segment(flat, lambda part, matrix: part @ matrix.T).reshape(self.out_shape)

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposed matrices."""
        flat = counts.reshape(counts.shape[0], -1)
        return self._by_segment(flat, lambda part, matrix: part @ matrix).reshape(self.in_shape)


class SparseSky(LinearOperator):
    """`mu[e, q] = sum_p B[q, p] z[e, p]` with few entries in each row and column: pixels that overlap pixels.

    Attributes
    ----------
    columns, values : arrays of shape (detector, most)
        Sky pixels of each row and their weights, padded with zeros.
    columns_back, values_back : arrays of shape (sky, most)
        The same of the transpose.
    """

    columns: Int[Array, "detector most"]
    values: Float[Array, "detector most"]
    columns_back: Int[Array, "sky most_back"]
    values_back: Float[Array, "sky most_back"]
    energies: int = eqx.field(static=True)
    sky_shape: tuple[int, int] = eqx.field(static=True)
    detector_shape: tuple[int, int] = eqx.field(static=True)

    @classmethod
    def of(cls, matrix: sp.csr_array, energies: int, sky_shape, detector_shape, dtype) -> "SparseSky":
        """The operator of a sparse matrix (detector x sky) on cubes of so many energies."""
        forward, back = _padded_rows(matrix, dtype), _padded_rows(sp.csr_array(matrix.T), dtype)
        return cls(*forward, *back, energies, tuple(sky_shape), tuple(detector_shape))

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.energies, *self.sky_shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return (self.energies, *self.detector_shape)

    def mv(self, cube: Cube) -> Counts:
        """Add up the sky pixels of each detector pixel."""
        return _gather(cube.reshape(cube.shape[0], -1), self.columns, self.values).reshape(self.out_shape)

    def rmv(self, counts: Counts) -> Cube:
        """Add up the detector pixels of each sky pixel."""
        flat = counts.reshape(counts.shape[0], -1)
        return _gather(flat, self.columns_back, self.values_back).reshape(self.in_shape)


class VaryingEnergyMatrix(LinearOperator):
    """`mu[:, q] = sum_j w_j[q] R_j z[:, q]`: redistribution that changes from pixel to pixel, between a few matrices.

    Attributes
    ----------
    matrices : tuple of LinearOperator
        `R_j`, each on all pixels.
    weights : array of shape (matrix, y, x)
        `w_j`; where they sum to 1, photons are kept.
    """

    matrices: tuple[LinearOperator, ...]
    weights: Float[Array, "matrix y x"]

    @classmethod
    def of(cls, matrices, weights, dtype) -> "VaryingEnergyMatrix":
        """The operator of sparse matrices (channels x energies) and weights (matrix, y, x)."""
        operators = tuple(energy_operator(sp.csr_array(matrix), weights.shape[1:], dtype) for matrix in matrices)
        return cls(operators, jnp.asarray(weights, dtype))

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.matrices[0].in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.matrices[0].out_shape

    def mv(self, cube: Cube) -> Counts:
        """Redistribute the weighted images and add."""
        return reduce(add, [m.mv(w * cube) for m, w in zip(self.matrices, self.weights, strict=True)])

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposes and weight."""
        return reduce(add, [w * m.rmv(counts) for m, w in zip(self.matrices, self.weights, strict=True)])


def varying_convolution(
    psf: np.ndarray, maps: np.ndarray | None, position: np.ndarray, sky_shape: tuple[int, int], dtype, *, reflect=False
) -> VaryingConvolution:
    """Operator of kernels at a few energies and for a few weights.

    Parameters
    ----------
    psf : array of shape (node, term, h, w)
        Kernels, odd sides.
    maps : array of shape (node, term, M, N), optional
        Weight of each sky pixel before the convolution; 1 if not given.
    position : array of shape (energy,)
        Place of each energy among the nodes, 0 to node - 1.
    sky_shape : tuple of two int
        `(M, N)`.
    dtype : dtype
        Precision.
    reflect : bool
        Mirror edges instead of empty ones.
    """
    frame = Frame(sky_shape, (psf.shape[2] // 2, psf.shape[3] // 2), reflect)
    lower, fraction = node_of(position, psf.shape[0])
    return VaryingConvolution(
        jnp.asarray(frame.transfer(psf), np.result_type(dtype, np.complex64)),
        jnp.ones((1, 1, 1, 1), dtype) if maps is None else jnp.asarray(maps, dtype),
        jnp.asarray(lower, jnp.int32), jnp.asarray(fraction, dtype), frame,
    )  # fmt: skip


def node_of(position: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower node and fraction towards the next of positions from 0 to nodes - 1."""
    lower = np.clip(np.floor(position), 0, max(nodes - 2, 0)).astype(int)
    return lower, position - lower


def separate(psf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write a field of kernels, one per sky pixel, as weighted sums of few: `psf[p] = sum_j m_j[p] K_j`.

    The fewest, by singular values (Lauer 2002, Proc. SPIE 4847, 167, does so for PSFs of mosaics); those below 1e-6 of
    the first are left out. Their number, and with it the cost, is small where kernels change smoothly.

    Parameters
    ----------
    psf : array of shape (M, N, h, w)

    Returns
    -------
    kernels : array of shape (1, J, h, w)
    maps : array of shape (1, J, M, N)
    """
    ny, nx, h, w = psf.shape
    maps, kernels = low_rank(psf.reshape(ny * nx, h * w))
    return kernels.reshape(1, -1, h, w), np.ascontiguousarray(maps.T).reshape(1, -1, ny, nx)


def low_rank(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write each row of a matrix as a weighted sum of few rows, `field = weights @ shapes`.

    Returns
    -------
    weights : array of shape (rows, J)
    shapes : array of shape (J, columns)
    """
    u, s, v = scipy.linalg.svd(field, full_matrices=False)
    count = max(1, int((s > SMALL * s[0]).sum()))
    return u[:, :count], s[:count, None] * v[:count]


def field_matrix(psf: np.ndarray, factors: tuple[int, int], *, reflect: bool) -> np.ndarray:
    """Dense matrix (detector x sky) of one kernel per sky pixel, (M, N, h, w), followed by block sums."""
    ny, nx, h, w = psf.shape
    mode = "reflect" if reflect else "constant"
    # Where each tap of the padded frame comes from, and which output it goes to; -1 beyond an empty edge.
    at = np.pad(np.arange(1, ny * nx + 1).reshape(ny, nx), ((h // 2,) * 2, (w // 2,) * 2), mode=mode) - 1
    y, x = np.mgrid[:ny, :nx]
    out = (y // factors[0]) * (nx // factors[1]) + x // factors[1]
    matrix = np.zeros((ny * nx // (factors[0] * factors[1]), ny * nx))
    for a in range(h):
        for b in range(w):
            source = at[y + h - 1 - a, x + w - 1 - b]
            seen = source >= 0
            values = psf.reshape(ny * nx, h, w)[source[seen], a, b]
            np.add.at(matrix, (out[seen], source[seen]), values)
    return matrix


def _padded_rows(matrix: sp.csr_array, dtype) -> tuple[Array, Array]:
    """Columns and values of each row, as many as the fullest row has."""
    counts = np.diff(matrix.indptr)
    most = max(int(counts.max(initial=0)), 1)
    columns = np.zeros((matrix.shape[0], most), np.int32)
    values = np.zeros((matrix.shape[0], most))
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    columns[rows, place], values[rows, place] = matrix.indices, matrix.data
    return jnp.asarray(columns), jnp.asarray(values, dtype)


def _gather(flat: Array, columns: Array, values: Array) -> Array:
    """`sum_m values[q, m] flat[e, columns[q, m]]`, one entry of all rows at a time."""

    def entry(m, total):
        return total + flat[:, columns[:, m]] * values[:, m]

    return jax.lax.fori_loop(0, columns.shape[1], entry, jnp.zeros((flat.shape[0], columns.shape[0]), flat.dtype))
