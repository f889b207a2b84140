"""The starlet transform: isotropic undecimated wavelets in space, and along energy."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.response.operator import Cube

B3 = np.array([1, 4, 6, 4, 1]) / 16


def smoothing_matrix(length: int, step: int) -> np.ndarray:
    """Matrix of the B3 spline filter with holes `step` and mirror edges (the edge sample is repeated).

    This mirror makes the matrix symmetric, and all scales commute: the discrete cosine transform diagonalises them.
    """
    matrix = np.zeros((length, length))
    for tap, weight in zip(range(-2, 3), B3, strict=True):
        np.add.at(matrix, (np.arange(length), mirrored(length, tap * step)), weight)
    return matrix


def mirrored(length: int, shift: int) -> np.ndarray:
    """Positions `i + shift` of `length` samples, folded back at the edges as often as it takes."""
    source = (np.arange(length) + shift % (2 * length)) % (2 * length)
    return np.where(source < length, source, 2 * length - 1 - source)


class Starlet(eqx.Module):
    """Detail coefficients of a cube: `scales` in space, then `energy_scales` along energy on each spatial scale.

    The smooth image `c_j` of scale `j` is the last one filtered by the B3 spline with holes `2^j`; the detail is
    `w_j = c_(j-1) - c_j` (Starck, Fadili & Murtagh 2007, IEEE TIP 16, 297). The filters' transfer functions lie in
    [0, 1] and the bands add up to the cube, so the norm of the transform is at most 1.

    Parameters
    ----------
    shape : tuple of three int
        Shape (energy, y, x) of the cubes; component maps are cubes too.
    scales : int
        Number of scales in space.
    energy_scales : int
        Number of scales along energy; 0 for images.
    dtype : dtype
        Precision.
    """

    along_y: tuple[Float[Array, "y y"], ...]
    along_x: tuple[Float[Array, "x x"], ...]
    energy_scales: int = eqx.field(static=True)

    def __init__(self, shape, scales: int, energy_scales: int, dtype):
        self.along_y = tuple(jnp.asarray(smoothing_matrix(shape[1], 2**j), dtype) for j in range(scales))
        self.along_x = tuple(jnp.asarray(smoothing_matrix(shape[2], 2**j), dtype) for j in range(scales))
        self.energy_scales = energy_scales

    def _smooth_sky(self, cube: Cube, scale: int) -> Cube:
        return jnp.matmul(self.along_y[scale], cube) @ self.along_x[scale]

    def _smooth_energy(self, cube: Cube, scale: int) -> Cube:
        step, length = 2**scale, cube.shape[0]
        if 2 * step > length:
            folded = [float(h) * cube[mirrored(length, k * step)] for k, h in zip(range(-2, 3), B3, strict=True)]
            return reduce(add, folded)
        padded = jnp.pad(cube, ((2 * step, 2 * step), (0, 0), (0, 0)), mode="symmetric")
        taps = [float(h) * padded[k * step : k * step + length] for k, h in enumerate(B3)]
        return reduce(add, taps)

    def _split_energy(self, cube: Cube) -> list[Cube]:
        """Energy details of a cube, and what is left smooth, last."""
        bands = []
        for scale in range(self.energy_scales):
            smooth = self._smooth_energy(cube, scale)
            bands.append(cube - smooth)
            cube = smooth
        return [*bands, cube]

    def _join_energy(self, bands: Sequence[Cube]) -> Cube:
        """Transpose of `_split_energy`."""
        total = bands[-1]
        for scale in reversed(range(self.energy_scales)):
            total = bands[scale] + self._smooth_energy(total - bands[scale], scale)
        return total

    def decompose(self, cube: Cube) -> tuple[list[Cube], Cube]:
        """All detail bands, and the smooth-smooth cube; together they add up to `cube`."""
        bands = []
        for scale in range(len(self.along_y)):
            smooth = self._smooth_sky(cube, scale)
            bands.extend(self._split_energy(cube - smooth))
            cube = smooth
        *details, coarse = self._split_energy(cube)
        return [*bands, *details], coarse

    def smoothed(self, cube: Cube) -> list[Cube]:
        """The cube and its local means on each pair of scales."""
        means = [cube]
        for spatial in range(len(self.along_y) + 1):
            along = cube
            for scale in range(self.energy_scales):
                along = self._smooth_energy(along, scale)
                means.append(along)
            if spatial < len(self.along_y):
                cube = self._smooth_sky(cube, spatial)
                means.append(cube)
        return means

    def analysis(self, cube: Cube) -> list[Cube]:
        """The detail bands; `(scales + 1)(energy_scales + 1) - 1` of them, fine to coarse."""
        return self.decompose(cube)[0]

    def adjoint(self, bands: Sequence[Cube]) -> Cube:
        """Exact transpose of `analysis`."""
        group = self.energy_scales + 1
        scales = len(self.along_y)
        details = list(bands[scales * group :])
        total = self._join_energy([*details, jnp.zeros_like(bands[0])])
        for scale in reversed(range(scales)):
            part = self._join_energy(bands[scale * group : (scale + 1) * group])
            total = part + self._smooth_sky(total - part, scale)
        return total
