"""Smoothness of templates along energy, by relative differences of neighbouring nodes, with edges."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import TINY
from hifred.priors.relative import LEAST

# Distance `d` of neighbouring nodes from which on only the logarithm counts.
EDGE = 0.3
# Newton steps for a template, each of which may change a node by this factor at most.
NEWTON, LEAP = 3, 3.0
# Strengths are this at most: single precision holds no more.
MOST_STIFF = 1e6

Templates = Float[Array, "node template"]


class TemplateSmoothness(eqx.Module):
    """`phi(T) = strength sum_nk e log(1 + d_nk / e)`, `d = w_n (a - b)^2 / (a + b)` of neighbouring nodes.

    `a = u T_nk`, `b = u T_n+1,k`: in counts, of templates that share these evenly. Noise of counts gives a `d` of about
    1 then (more of a fainter template); of what differs far more, as a line does from what is beside it, only the
    logarithm counts. (Distance: Nuyts et al. 2002, IEEE TNS 49, 56; logarithm: Hebert & Leahy 1989, IEEE TMI 8, 194.)

    Attributes
    ----------
    totals : array of shape (node,)
        What a photon at each node adds to the sum of a spectrum, 0 where no velocity sees it; `w` is the lesser of two.
    unit : array of shape ()
        `u`: counts of a template whose spectra sum to 1.
    strength, edge : arrays of shape ()
        Weight of the penalty, and `e`.
    """

    totals: Float[Array, " node"]
    unit: Float[Array, ""]
    strength: Float[Array, ""]
    edge: Float[Array, ""]

    @classmethod
    def of(
        cls, totals: Float[Array, " node"], unit: Float[Array, ""], strength: float, edge: float = EDGE
    ) -> "TemplateSmoothness":
        """With numbers in the precision of the nodes."""
        return cls(totals, unit, jnp.asarray(strength, totals.dtype), jnp.asarray(edge, totals.dtype))

    def value(self, templates: Templates) -> Float[Array, ""]:
        """The penalty of templates that add up to 1, `totals @ T`."""
        return self.strength * self.edge * jnp.log1p(self._distance(*self._pairs(templates)) / self.edge).sum()

    def step(self, old: Templates, up: Templates, down: Templates) -> Templates:
        """Minimiser of `down T - old up log T` and the penalty of `T / (totals @ T)`, as far as Newton steps come.

        Each has `d / (1 + d_now / e)` in place of the logarithm, which bounds it from above, touches it, and is convex.
        They are in `T / T_now`; their matrix has three diagonals; the curvature of the data's part is `down / T`. Where
        nothing is penalised they stay at the multiplicative step, `old up / down`.
        """
        plain = jnp.where(down > 0, old * up / jnp.where(down > 0, down, 1), old)

        def newton(now, _):
            a, b = self._pairs(now)
            total = a + b + LEAST
            tie = self.strength * self._weights / (1 + self._distance(a, b) / self.edge)
            relative = (a - b) / total
            bond = 8 * tie * total * (a / total) ** 2 * (b / total) ** 2
            pull = _after(tie * relative * a * (2 - relative)) - _before(tie * relative * b * (2 + relative))
            # What is penalised is the shape: along the scale, which adds up, nothing is to be gained.
            pull -= pull.sum(0) / jnp.maximum(self.totals @ now, TINY) * self.totals[:, None] * now
            slope = down * now - old * up + pull
            diagonal = down * now + _after(bond) + _before(bond)
            move = jax.lax.linalg.tridiagonal_solve(
                -_before(bond).T, jnp.where(diagonal > 0, diagonal, 1).T, -_after(bond).T, slope.T[..., None]
            )[..., 0].T  # fmt: skip
            return now * jnp.clip(1 - move, 1 / LEAP, LEAP), None

        return jax.lax.scan(newton, jnp.where(self.strength > 0, old, plain), None, NEWTON)[0]

    @property
    def _weights(self) -> Float[Array, "pair 1"]:
        return jnp.minimum(self.totals[:-1], self.totals[1:])[:, None]

    def _pairs(self, templates: Templates) -> tuple[Array, Array]:
        """Both nodes of each pair, in counts."""
        counts = self.unit * templates
        return counts[:-1], counts[1:]

    def _distance(self, a: Array, b: Array) -> Array:
        return self._weights * (a - b) ** 2 / (a + b + LEAST)


def _after(pairs: Array) -> Array:
    """What a pair gives to its first node."""
    return jnp.pad(pairs, ((0, 1), (0, 0)))


def _before(pairs: Array) -> Array:
    """What a pair gives to its second node."""
    return jnp.pad(pairs, ((1, 0), (0, 0)))
