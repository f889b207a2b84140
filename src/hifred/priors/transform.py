"""Transforms whose coefficients are penalised: starlets in space and along energy, and differences of neighbours."""

from abc import abstractmethod
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


class Transform(eqx.Module):
    """A linear map `Psi` from a cube to bands of coefficients, each of the shape of the cube, of norm at most 1."""

    @abstractmethod
    def analysis(self, cube: Cube) -> list[Cube]:
        """The bands."""

    @abstractmethod
    def adjoint(self, bands: Sequence[Cube]) -> Cube:
        """Exact transpose of `analysis`."""

    @abstractmethod
    def smooth(self, cube: Cube) -> Cube:
        """Local means of a cube, over neighbourhoods of the size that the transform looks at."""

    @abstractmethod
    def spread(self, steps: Cube) -> Cube:
        """Primal steps `T` as coefficients see them: `|| spread^-1/2 Psi T^1/2 ||` is about 1 or less, in any band."""


class Starlet(Transform):
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

    def smooth(self, cube: Cube) -> Cube:
        """The smooth-smooth cube."""
        return self.decompose(cube)[1]

    def spread(self, steps: Cube) -> Cube:
        """The largest local mean of steps on any pair of scales; an edge of steps makes the norm up to 1.07."""
        return reduce(jnp.maximum, self.smoothed(steps))

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


class Differences(Transform):
    """Differences of neighbouring voxels relative to a reference cube `R = spectrum x image`, in space and energy.

    A pair of voxels p and q has the coefficient `(R_q z_p - R_p z_q) / (R_p + R_q) / sqrt(2 n)`: the difference of
    `z / R` in units of the fainter voxel. It is zero for the reference itself. Each of the `n` bands (offsets, and
    energy) is two sets of pairs without a common voxel, and the squares of a row's two factors add up to `1 / (2 n)` at
    most: so the norm of the transform is at most 1.

    Parameters
    ----------
    image : array of shape (y, x)
        Image of the reference; positive.
    spectrum : array of shape (energy,)
        Its spectrum; positive. A single energy has no neighbours, and no band of its own.
    offsets : sequence of (int, int)
        Neighbours in space that each pixel is compared with, (dy, dx); one of each opposite two.
    dtype : dtype
        Precision.
    """

    sky: Float[Array, "offset pair y x"]
    energy: Float[Array, "pair energy"]
    smoothing: tuple[Float[Array, "y y"], Float[Array, "x x"]]
    reference: tuple[Float[Array, " energy"], Float[Array, "y x"]]
    offsets: tuple[tuple[int, int], ...] = eqx.field(static=True)

    def __init__(self, image, spectrum, offsets: Sequence[tuple[int, int]], dtype):
        image, spectrum = np.asarray(image, dtype=float), np.asarray(spectrum, dtype=float)
        self.offsets = tuple(offsets)
        sky = [_shares(image, moved(image, offset), inside(image.shape, offset)) for offset in self.offsets]
        here = np.arange(spectrum.size) < spectrum.size - 1
        self.sky = jnp.asarray(np.reshape(sky, (-1, 2, *image.shape)), dtype)
        self.energy = jnp.asarray(_shares(spectrum, np.roll(spectrum, -1), here), dtype)
        self.smoothing = _matrix(image.shape[0], dtype), _matrix(image.shape[1], dtype)
        self.reference = jnp.asarray(spectrum, dtype), jnp.asarray(image, dtype)

    @property
    def shrink(self) -> float:
        """The factor `1 / sqrt(2 n)` of all coefficients."""
        return (2 * max(1, len(self.offsets) + (self.energy.shape[1] > 1))) ** -0.5

    def pairs(self, cube: Cube) -> list[Cube]:
        """For each band, the value at the other voxel of each pair; wraps round at the edges."""
        others = [moved(cube, offset) for offset in self.offsets]
        return [*others, jnp.roll(cube, -1, 0)] if len(cube) > 1 else others

    def _bands(self) -> list[tuple[Array, Array]]:
        """Factors of both voxels of each pair, of shape (y, x) or (energy, 1, 1)."""
        bands = [(pair[0], pair[1]) for pair in self.sky]
        here, there = self.energy[:, :, None, None]
        return [*bands, (here, there)] if len(here) > 1 else bands

    def analysis(self, cube: Cube) -> list[Cube]:
        """Differences at each offset, then along energy; zero where there is no neighbour."""
        return [
            self.shrink * (here * cube - there * other)
            for (here, there), other in zip(self._bands(), self.pairs(cube), strict=True)
        ]

    def adjoint(self, bands: Sequence[Cube]) -> Cube:
        """Exact transpose of `analysis`."""
        total = jnp.zeros_like(bands[0])
        for index, ((here, there), band) in enumerate(zip(self._bands(), bands, strict=True)):
            total += here * band
            if index < len(self.offsets):
                total -= moved(there * band, tuple(-step for step in self.offsets[index]))
            else:
                total -= jnp.roll(there * band, 1, 0)
        return self.shrink * total

    def smooth(self, cube: Cube) -> Cube:
        """Means of `z / R` over a few pixels (B3 spline), times the reference."""
        spectrum, image = self.reference
        return (
            spectrum[:, None, None]
            * image
            * (self.smoothing[0] @ (cube / spectrum[:, None, None] / image) @ self.smoothing[1])
        )

    def spread(self, steps: Cube) -> Cube:
        """The largest `a^2 T_p + b^2 T_q` of the pairs of a voxel, with `a` and `b` the factors without `sqrt(2 n)`."""
        return reduce(
            jnp.maximum,
            [
                here**2 * steps + there**2 * other
                for (here, there), other in zip(self._bands(), self.pairs(steps), strict=True)
            ],
        )


def _matrix(size: int, dtype) -> Array:
    return jnp.asarray(smoothing_matrix(size, 1), dtype)


def moved(values, offset: tuple[int, ...]):
    """The value at `p + offset`, put at `p`; wraps round at the edges."""
    return jnp.roll(values, (-offset[0], -offset[1]), (-2, -1))


def inside(shape: tuple[int, int], offset: tuple[int, int]) -> np.ndarray:
    """Which pixels have a neighbour at an offset; (y, x)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = offset
    return (y + dy >= 0) & (y + dy < shape[0]) & (x + dx >= 0) & (x + dx < shape[1])


def _shares(here, there, valid) -> np.ndarray:
    """`q / (p + q)` and `p / (p + q)` of pairs, zero where there is none; (2, ...)."""
    return np.where(valid, np.stack([np.asarray(there), np.asarray(here)]) / (here + np.asarray(there)), 0)
