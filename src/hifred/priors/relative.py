"""Smoothness of maps by relative differences, tied to what the sharpest camera sees."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hifred.poisson import PoissonTerm

# Pairs of pixels that are compared: half of a 5 x 5 window, without the far corners.
OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (1, 2), (2, 1), (-1, 2), (2, -1))
FARTHEST = max(abs(step) for offset in OFFSETS for step in offset)
# Added to sums of two values, which may both be 0.
LEAST = 1e-4
# Excess of chi2 over 1 at which the tie of two pixels has fallen to 1/e.
EXCESS = 0.5
# Channels of the camera are summed to about so many before spectra are compared.
CHANNELS = 60

Fields = Float[Array, "sheet layer y x"]


class RelativeSmoothness(eqx.Module):
    """`phi(r) = strength sum_pq w_pq d(r_p, r_q) + along sum_j d(r_j, r_j+1)`, `d(a, b) = (a - b)^2 / (a + b)`.

    The relative difference penalty (Nuyts et al. 2002, IEEE TNS 49, 56; 1e-4 is added to `a + b`) on neighbours in
    space, and on neighbouring layers (velocities). With an edge `e`, `e log(1 + d / e)` in place of `d` (the potential
    of Hebert & Leahy 1989, IEEE TMI 8, 194): the same where values differ little, but of steps far above the edge only
    the logarithm counts. It is not convex.

    With second differences, `strength sum_po (w_pq + w_pq') d(r_p, m_po)`: a pixel is compared with the mean of the two
    neighbours `q` and `q'` on opposite sides of it, `m_po = (w_pq r_q + w_pq' r_q') / (w_pq + w_pq')`. A slope costs
    nothing; where one of the two is beyond the border or not tied, it is the difference from the other (so a pair that
    is tied to nothing else counts twice).

    Attributes
    ----------
    weights : array of shape (offset, y, x)
        `w` of each pixel and its neighbour at each of `OFFSETS`.
    strength, along : arrays of shape ()
        Weights of neighbours in space and between layers.
    edge : array of shape (), optional
        Distance `d` of two values with an edge between them.
    second : bool
        Whether differences in space are second ones.
    """

    weights: Float[Array, "offset y x"]
    strength: Float[Array, ""]
    along: Float[Array, ""]
    edge: Float[Array, ""] | None = None
    second: bool = eqx.field(default=False, static=True)

    def value(self, fields: Fields) -> Float[Array, ""]:
        """The penalty."""
        flat = _flat(fields)

        def add(total, ties):
            offset = ties[1]
            ahead, behind = self._sides(*ties)
            here, other, weight = _seen(flat, 0, fields.shape), _seen(flat, offset, fields.shape), ahead
            if self.second:
                ahead, behind, weight = _shares(ahead, behind)
                other = ahead * other + behind * _seen(flat, -offset, fields.shape)
            return total + (weight * self._distance(here, other)).sum((0, 1)), None

        total, _ = jax.lax.scan(add, jnp.zeros(_window(0, fields.shape)[1], fields.dtype), self._ties)
        total = self.strength * total.sum()
        if fields.shape[1] > 1:
            total += self.along * self._distance(fields[:, 1:], fields[:, :-1]).sum((2, 3)).sum()
        return total

    def slopes(self, fields: Fields) -> tuple[Fields, Fields]:
        """Gradient, and curvature of a separable quadratic that has it and is not below the penalty near `fields`."""
        shape, flat = fields.shape, _flat(fields)

        def add_pairs(total, ties):
            offset, here = ties[1], _seen(flat, 0, shape)
            ahead, behind = self._sides(*ties)
            for weight, side in (ahead, offset), (behind, -offset):
                slopes = self._slopes(here, _seen(flat, side, shape))
                total = tuple(_added(part, 0, weight * slope, shape) for part, slope in zip(total, slopes, strict=True))
            return total, None

        def add_means(total, ties):
            offset, here = ties[1], _seen(flat, 0, shape)
            ahead, behind, weight = _shares(*self._sides(*ties))
            mean = ahead * _seen(flat, offset, shape) + behind * _seen(flat, -offset, shape)

            def spread(part, slope, of_mean):
                # What the mean feels, its two pixels feel by their shares: shares sum to 1, so that this holds for rows
                # of the Hessian as well.
                part = _added(part, 0, weight * slope, shape)
                part = _added(part, offset, ahead * weight * of_mean, shape)
                return _added(part, -offset, behind * weight * of_mean, shape)

            parts = zip(total, self._slopes(here, mean), self._slopes(mean, here), strict=True)
            return tuple(spread(*part) for part in parts), None

        total = jnp.zeros_like(flat), jnp.zeros_like(flat)
        total, _ = jax.lax.scan(add_means if self.second else add_pairs, total, self._ties)
        gradient, curvature = (self.strength * _image(part, shape) for part in total)
        if fields.shape[1] > 1:
            last, first = ((0, 0), (0, 1), (0, 0), (0, 0)), ((0, 0), (1, 0), (0, 0), (0, 0))
            up, down = self._slopes(fields[:, :-1], fields[:, 1:]), self._slopes(fields[:, 1:], fields[:, :-1])
            gradient += self.along * (jnp.pad(up[0], last) + jnp.pad(down[0], first))
            curvature += self.along * (jnp.pad(up[1], last) + jnp.pad(down[1], first))
        return gradient, curvature

    @property
    def _ties(self) -> tuple[Array, Array]:
        """Weights at each offset, flat, and the offsets in a row."""
        row = _row(self.weights.shape)
        return _flat(self.weights[:, None, None]), jnp.asarray([dy * row + dx for dy, dx in OFFSETS])

    def _sides(self, weights: Array, offset: Int[Array, ""]) -> tuple[Array, Array]:
        """Weights of each pixel and its neighbours at an offset and opposite to it; zero where that is outside."""
        shape = self.weights.shape
        return _seen(weights, 0, shape)[0, 0], _seen(weights, -offset, shape)[0, 0]

    def _distance(self, a: Array, b: Array) -> Array:
        plain = (a - b) ** 2 / (a + b + LEAST)
        return plain if self.edge is None else self.edge * jnp.log1p(plain / self.edge)

    def _slopes(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Derivative of the distance by `a`, and the sum of its row of the Hessian's absolute values.

        With an edge, of the plain distance times `1 / (1 + d / e)`: a multiple of it that lies above and touches.
        """
        scale = 1 / (a + b + LEAST)
        relative = scale * (a - b)
        slope, bend = relative * (2 - relative), 4 * scale * (1 - relative)
        if self.edge is None:
            return slope, bend
        tie = 1 / (1 + relative * (a - b) / self.edge)
        return tie * slope, tie * bend


def _shares(ahead: Array, behind: Array) -> tuple[Array, Array, Array]:
    """Shares of two neighbours in their mean, and their weight together."""
    both = ahead + behind
    divisor = jnp.where(both > 0, both, 1)
    return ahead / divisor, behind / divisor, both


def _row(shape: tuple[int, ...]) -> int:
    """Length of a row of pixels with the zeros on both sides."""
    return shape[-1] + 2 * FARTHEST


def _flat(fields: Float[Array, "*other y x"]) -> Float[Array, "*other padded"]:
    """With zeros all round, one row after the other: a neighbour is a fixed number of places away."""
    margin = [(0, 0)] * (fields.ndim - 2) + [(FARTHEST, FARTHEST)] * 2
    return jnp.pad(fields, margin).reshape(*fields.shape[:-2], -1)


def _window(offset: Int[Array, ""] | int, shape: tuple[int, ...]) -> tuple[tuple, int]:
    """Where in flat fields the places begin that lie so far from each pixel, and how many these are.

    From the first to the last pixel, with the zeros between rows.
    """
    row = _row(shape)
    return (0, 0, FARTHEST * row + FARTHEST + offset), (shape[-2] - 1) * row + shape[-1]


def _seen(flat: Array, offset: Int[Array, ""] | int, shape: tuple[int, ...]) -> Float[Array, "sheet layer span"]:
    """The values so far from each pixel."""
    first, span = _window(offset, shape)
    return jax.lax.dynamic_slice(flat, first, (*flat.shape[:2], span))


def _added(flat: Array, offset: Int[Array, ""] | int, values: Array, shape: tuple[int, ...]) -> Array:
    """With a value of each pixel added so far from it."""
    first, _ = _window(offset, shape)
    return jax.lax.dynamic_update_slice(flat, _seen(flat, offset, shape) + values, first)


def _image(flat: Array, shape: tuple[int, ...]) -> Fields:
    """Without the zeros all round."""
    whole = flat.reshape(*shape[:-2], shape[-2] + 2 * FARTHEST, _row(shape))
    return whole[..., FARTHEST:-FARTHEST, FARTHEST:-FARTHEST]


def even_weights(sky_shape: tuple[int, int], farthest: float = np.inf) -> np.ndarray:
    """One over the distance of each pair of neighbours, zero beyond the edge or farther apart; (offset, y, x)."""
    ny, nx = sky_shape
    out = np.zeros((len(OFFSETS), ny, nx))
    for number, (dy, dx) in enumerate(OFFSETS):
        here, _ = _pair(sky_shape, dy, dx)
        distance = np.hypot(dy, dx)
        out[number][here] = 1 / distance if distance <= farthest else 0
    return out


def camera_weights(term: PoissonTerm, sky_shape: tuple[int, int]) -> np.ndarray:
    """Even weights, times `exp(-max(chi2 - 1, 0) / 0.5)`: alike within noise, pixels are tied.

    `chi2` compares the spectra, over their sums, that a camera whose pixels are sky pixels counts in two of them.

    Parameters
    ----------
    term : PoissonTerm
        Counts of shape (channel, y, x) of the sky.
    sky_shape : tuple of two int
        `(y, x)`.

    Returns
    -------
    array of shape (offset, y, x)
    """
    counts = np.where(term.mask, term.counts, 0).astype(float)
    factor = max(1, len(counts) // CHANNELS)
    counts = np.add.reduceat(counts, np.arange(0, len(counts), factor), axis=0)
    light = counts.sum(0) + 1e-9
    mean = counts.sum((1, 2)) / max(counts.sum(), 1e-9)
    weights = even_weights(sky_shape)
    for number, (dy, dx) in enumerate(OFFSETS):
        here, there = _pair(sky_shape, dy, dx)
        p, q = counts[:, *here], counts[:, *there]
        lp, lq = light[here], light[there]
        variance = ((p + q) / (lp + lq) + 1e-3 * mean[:, None, None]) * (1 / lp + 1 / lq)
        # Channels without a photon anywhere tell nothing.
        excess = np.divide((p / lp - q / lq) ** 2, variance, out=np.zeros_like(variance), where=variance > 0)
        chi2 = excess.sum(0) / max(np.count_nonzero(mean), 1)
        weights[number][here] *= np.exp(-np.maximum(chi2 - 1, 0) / EXCESS)
    return weights


def _pair(sky_shape: tuple[int, int], dy: int, dx: int):
    """Slices of the pixels that have a neighbour at an offset, and of these neighbours."""
    ny, nx = sky_shape
    here = slice(max(0, -dy), max(0, ny - max(0, dy))), slice(max(0, -dx), max(0, nx - max(0, dx)))
    there = slice(max(0, dy), max(0, ny - max(0, -dy))), slice(max(0, dx), max(0, nx - max(0, -dx)))
    return here, there
