"""Operators along the energy axis: redistribution from energy to channel, dense or banded."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Array, Float, Int

from hifred.response.operator import Counts, Cube, Diagonal, Identity, LinearOperator, Shape


class EnergyMatrix(LinearOperator):
    """`mu[c, p] = sum_e R[c, e] z[e, p]` with a dense matrix `R` (channel x energy)."""

    matrix: Float[Array, "channel energy"]
    sky_shape: tuple[int, int] = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.matrix.shape[1], *self.sky_shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return (self.matrix.shape[0], *self.sky_shape)

    def mv(self, cube: Cube) -> Counts:
        """Redistribute energies to channels."""
        return (self.matrix @ cube.reshape(cube.shape[0], -1)).reshape(self.out_shape)

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposed matrix."""
        return (self.matrix.T @ counts.reshape(counts.shape[0], -1)).reshape(self.in_shape)


class BandedEnergyMatrix(LinearOperator):
    """The same product when each channel sees few energies: blocks of channels times windows of energies.

    Block `b` holds the channels `b B ... (b + 1) B - 1` and the energies `starts[b] ... starts[b] + W - 1`.
    """

    blocks: Float[Array, "block channel window"]
    starts: Int[Array, "block"]
    channels: int = eqx.field(static=True)
    energies: int = eqx.field(static=True)
    sky_shape: tuple[int, int] = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return (self.energies, *self.sky_shape)

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return (self.channels, *self.sky_shape)

    def mv(self, cube: Cube) -> Counts:
        """Redistribute energies to channels, one block at a time."""
        flat = cube.reshape(self.energies, -1)
        window = self.blocks.shape[2]

        def block(_, operands):
            matrix, start = operands
            return None, matrix @ jax.lax.dynamic_slice_in_dim(flat, start, window)

        _, out = jax.lax.scan(block, None, (self.blocks, self.starts))
        return out.reshape(-1, flat.shape[1])[: self.channels].reshape(self.out_shape)

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposed blocks, adding where windows overlap."""
        count, size, window = self.blocks.shape
        flat = counts.reshape(self.channels, -1)
        rows = jnp.pad(flat, ((0, count * size - self.channels), (0, 0))).reshape(count, size, -1)

        def block(total, operands):
            matrix, start, row = operands
            part = jax.lax.dynamic_slice_in_dim(total, start, window) + matrix.T @ row
            return jax.lax.dynamic_update_slice_in_dim(total, part, start, 0), None

        total = jnp.zeros((self.energies, flat.shape[1]), flat.dtype)
        total, _ = jax.lax.scan(block, total, (self.blocks, self.starts, rows))
        return total.reshape(self.in_shape)


def convolution_matrix(kernel: np.ndarray, length: int, boundary: str) -> sp.csr_array:
    """Sparse matrix (length x length) of the convolution with an odd kernel, or with one kernel per energy.

    Parameters
    ----------
    kernel : array of shape (2 h + 1,) or (length, 2 h + 1)
        Kernel; `out[i] = sum_t kernel[e, t] in[e]` with `e = i + h - t` the energy the photons have.
    length : int
        Number of energies.
    boundary : {"zero", "reflect"}
        What lies beyond the ends: nothing, or the mirror image as `numpy.pad` makes it.
    """
    taps = kernel.shape[-1]
    half = taps // 2
    rows = np.repeat(np.arange(length), taps)
    tap = np.tile(np.arange(taps), length)
    columns = rows + half - tap
    if boundary == "reflect":
        columns = np.pad(np.arange(length), half, mode="reflect")[columns + half]
    inside = (columns >= 0) & (columns < length)
    rows, tap, columns = rows[inside], tap[inside], columns[inside]
    values = kernel[tap] if kernel.ndim == 1 else kernel[columns, tap]
    return sp.csr_array((values, (rows, columns)), shape=(length, length))


def rebin_matrix(length: int, factor: int) -> sp.csr_array:
    """Sparse matrix (length / factor x length) that sums `factor` neighbours."""
    columns = np.arange(length)
    return sp.csr_array((np.ones(length), (columns // factor, columns)), shape=(length // factor, length))


def _windows(matrix: sp.csr_array, size: int) -> tuple[np.ndarray, int]:
    """First energy of each block of `size` channels, and the widest block."""
    first, last = [], []
    for start in range(0, matrix.shape[0], size):
        columns = matrix.indices[matrix.indptr[start] : matrix.indptr[min(start + size, matrix.shape[0])]]
        first.append(columns.min() if columns.size else 0)
        last.append(columns.max() + 1 if columns.size else 1)
    starts = np.array(first)
    width = int(np.max(np.array(last) - starts))
    return np.minimum(starts, matrix.shape[1] - width), width


def banded(matrix: sp.csr_array, sky_shape: tuple[int, int], size: int, dtype) -> BandedEnergyMatrix:
    """Blocks of `size` channels of a sparse matrix (channel x energy)."""
    starts, width = _windows(matrix, size)
    blocks = np.zeros((starts.size, size, width), dtype)
    for b, start in enumerate(starts):
        rows = matrix[b * size : (b + 1) * size, start : start + width].toarray()
        blocks[b, : rows.shape[0]] = rows
    return BandedEnergyMatrix(
        jnp.asarray(blocks), jnp.asarray(starts, jnp.int32), matrix.shape[0], matrix.shape[1], sky_shape
    )


def dense(matrix: sp.csr_array, sky_shape: tuple[int, int], dtype) -> EnergyMatrix:
    """A sparse matrix (channel x energy) as one dense product."""
    return EnergyMatrix(jnp.asarray(matrix.toarray(), dtype), sky_shape)


def energy_operator(matrix: sp.csr_array, sky_shape: tuple[int, int], dtype) -> LinearOperator:
    """The cheapest operator for a sparse matrix (channel x energy): identity, diagonal, banded or dense.

    The cost compared is the number of multiplications per sky pixel. A banded product runs block after block, so
    it has to save half of them to be chosen.
    """
    channels, energies = matrix.shape
    if channels == energies and matrix.nnz == matrix.diagonal().astype(bool).sum():
        diagonal = matrix.diagonal()
        if np.all(diagonal == 1):
            return Identity((energies, *sky_shape))
        return Diagonal(jnp.asarray(diagonal[:, None, None], dtype), (energies, *sky_shape))
    sizes = [size for size in (32, 64, 128, 256) if size < channels]
    costs = {size: -(-channels // size) * size * _windows(matrix, size)[1] for size in sizes}
    best = min(costs, key=costs.__getitem__, default=None)
    if best is not None and costs[best] <= 0.5 * channels * energies:
        return banded(matrix, sky_shape, best, dtype)
    return dense(matrix, sky_shape, dtype)
