"""Smoothness of templates along energy, by relative differences of neighbouring nodes, with edges."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.priors.relative import LEAST

# Distance `d` of neighbouring nodes from which on only the logarithm counts.
EDGE = 0.3
# Newton steps for a template, each of which may change a node by this factor at most.
NEWTON, LEAP = 3, 3.0
# Added to curvatures, in counts.
TINY = 1e-6

Templates = Float[Array, "node template"]


class TemplateSmoothness(eqx.Module):
    """`phi(T) = strength sum_nk e log(1 + d_nk / e)`, `d = w_n (a - b)^2 / (a + b)` of neighbouring nodes.

    `a = u T_nk`, `b = u T_n+1,k`: in counts. Noise of counts gives a `d` of about 1 on any template; of what differs
    far more, as a line does from what is beside it, only the logarithm counts. (Distance: Nuyts et al. 2002, IEEE TNS
    49, 56; logarithm: Hebert & Leahy 1989, IEEE TMI 8, 194.)

    Attributes
    ----------
    weights : array of shape (node - 1,)
        `w`: what a photon at either node adds to the sum of a spectrum at least; 0 where no velocity sees one of them.
    unit : array of shape ()
        `u`: counts of a template whose spectra sum to 1.
    strength, edge : arrays of shape ()
        Weight of the penalty, and `e`.
    """

    weights: Float[Array, " pair"]
    unit: Float[Array, ""]
    strength: Float[Array, ""]
    edge: Float[Array, ""]

    @classmethod
    def of(
        cls, totals: Float[Array, " node"], unit: Float[Array, ""], strength: float, edge: float = EDGE
    ) -> "TemplateSmoothness":
        """From what a photon at each node adds to the sum of a spectrum; `w` is the lesser of a pair."""
        weights = jnp.minimum(totals[:-1], totals[1:])
        return cls(weights, unit, jnp.asarray(strength, totals.dtype), jnp.asarray(edge, totals.dtype))

    def value(self, templates: Templates) -> Float[Array, ""]:
        """The penalty."""
        return self.strength * self.edge * jnp.log1p(self._distance(*self._pairs(templates)) / self.edge).sum()

    def step(self, old: Templates, up: Templates, down: Templates) -> Templates:
        """Minimiser of `down T - old up log T` and the penalty, as far as three Newton steps come.

        Each has `d / (1 + d_now / e)` in place of the logarithm, which bounds it from above, touches it, and is convex.
        They are in `T / T_now`; their matrix has three diagonals; the curvature of the data's part is `down / T`, so
        that the first one ends at `old up / down` where nothing is penalised.
        """

        def newton(now, _):
            a, b = self._pairs(now)
            tie = self.strength * self.weights[:, None] / (1 + self._distance(a, b) / self.edge)
            total = a + b + LEAST
            pull = tie * (a - b) / total
            bond = 8 * tie * total * (a / total) ** 2 * (b / total) ** 2
            slope = (
                down * now - old * up + _after(pull * a * (a + 3 * b) / total) - _before(pull * b * (b + 3 * a) / total)
            )
            diagonal = down * now + _after(bond) + _before(bond) + TINY
            move = jax.lax.linalg.tridiagonal_solve(
                -_before(bond).T, diagonal.T, -_after(bond).T, slope.T[..., None]
            )[..., 0].T  # fmt: skip
            return now * jnp.clip(1 - move, 1 / LEAP, LEAP), None

        return jax.lax.scan(newton, old, None, NEWTON)[0]

    def _pairs(self, templates: Templates) -> tuple[Array, Array]:
        """Both nodes of each pair, in counts."""
        counts = self.unit * templates
        return counts[:-1], counts[1:]

    def _distance(self, a: Array, b: Array) -> Array:
        return self.weights[:, None] * (a - b) ** 2 / (a + b + LEAST)


def _after(pairs: Array) -> Array:
    """What a pair gives to its first node."""
    return jnp.pad(pairs, ((0, 1), (0, 0)))


def _before(pairs: Array) -> Array:
    """What a pair gives to its second node."""
    return jnp.pad(pairs, ((1, 0), (0, 0)))
