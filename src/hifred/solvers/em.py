"""Accelerated expectation maximisation: maximum likelihood, penalised or not, without a step size."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.priors.prior import SeparablePenalty
from hifred.response.operator import Cube
from hifred.solvers.solver import Progress, Solver, State, change, half_cstats

# Bounds of the factor by which extrapolation may change a voxel, and of its exponent.
FACTOR = (0.2, 5.0)
MOMENTUM = 0.95


class CubeProblem(eqx.Module):
    """Data terms on a sky cube, and a penalty.

    Attributes
    ----------
    terms : tuple of PoissonTerm
        The data.
    sensitivity : array of shape (energy, y, x)
        Expected counts of all data per unit of each voxel.
    start : array of shape (energy, y, x)
        A positive cube near the answer.
    penalty : SeparablePenalty, optional
        None for maximum likelihood.
    """

    terms: tuple[PoissonTerm, ...]
    sensitivity: Cube
    start: Cube
    penalty: SeparablePenalty | None = None

    @classmethod
    def of(cls, terms: Sequence[PoissonTerm], start: Cube, penalty: SeparablePenalty | None = None) -> "CubeProblem":
        """Problem with its sensitivity computed."""
        return cls(tuple(terms), reduce(add, [term.sensitivity() for term in terms]), start, penalty)

    def prior_term(self, cube: Cube) -> Float[Array, ""]:
        """The penalty of a cube."""
        return jnp.zeros((), cube.dtype) if self.penalty is None else self.penalty.value(cube)


class EMState(State):
    """State of `EM`: the cube, the last plain EM image of a cube, the models, and the momentum counter."""

    cube: Cube
    image: Cube
    models: tuple[Array, ...]
    momentum: Float[Array, ""]


class EM(Solver[CubeProblem, EMState]):
    """Richardson-Lucy for any number of instruments, `z <- z / s o A'(n / mu)`, with momentum on log z.

    The plain step (Shepp & Vardi 1982, IEEE TMI 1, 113) needs no step size, keeps the cube positive and never lowers
    the likelihood. Nesterov's momentum (1983) on the logarithm makes it several times faster; where the extrapolated
    cube is worse than the one before, the plain step is taken and the momentum starts again.

    With a penalty below `sum w z + v / z` (`SeparablePenalty`), the step is the positive root of
    `(s + w) z'^2 - z A'(n / mu) z' - v = 0`: it never raises the objective either.
    """

    def init(self, problem: CubeProblem) -> EMState:
        """Start from the problem's cube."""
        models = tuple(term.predict(problem.start) for term in problem.terms)
        one = jnp.ones((), problem.start.dtype)
        progress = Progress(half_cstats(problem.terms, models), problem.prior_term(problem.start), one * jnp.inf)
        return EMState(progress, problem.start, problem.start, models, one)

    def step(self, problem: CubeProblem, state: EMState) -> EMState:
        """One EM step and an extrapolation."""
        terms, cube = problem.terms, state.cube
        back = reduce(add, [term.back_ratio(model) for term, model in zip(terms, state.models, strict=True)])
        image, decrement = plain_step(problem, cube, back)

        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        exponent = jnp.minimum((state.momentum - 1) / following, MOMENTUM)
        growth = jnp.where(state.image > 0, image / jnp.where(state.image > 0, state.image, 1), 1)
        ahead = image * jnp.clip(growth**exponent, *FACTOR)
        models = tuple(term.predict(ahead) for term in terms)
        prior_term = problem.prior_term(ahead)
        better = change(terms, state.models, models) + (prior_term - state.progress.penalty) <= 0

        def accept():
            return ahead, models, following, prior_term

        def restart():
            models = tuple(term.predict(image) for term in terms)
            return image, models, jnp.ones_like(following), problem.prior_term(image)

        cube, models, momentum, prior_term = jax.lax.cond(better, accept, restart)
        progress = Progress(half_cstats(terms, models), prior_term, decrement)
        return EMState(progress, cube, image, models, momentum)

    def cube(self, problem: CubeProblem, state: EMState) -> Cube:
        """The cube of the state."""
        return state.cube


def plain_step(problem: CubeProblem, cube: Cube, back: Cube) -> tuple[Cube, Float[Array, ""]]:
    """The minimum of the bound of the objective that touches it at `cube`, and half its slope times the step.

    Voxels that no instrument sees stay.
    """
    seen = problem.sensitivity > 0
    safe = jnp.where(seen, problem.sensitivity, 1)
    if problem.penalty is None:
        factor = jnp.where(seen, back / safe, 1)
        return cube * factor, 0.5 * (problem.sensitivity * cube * (factor - 1) ** 2).sum((1, 2)).sum()
    linear, inverse = problem.penalty.bound(cube)
    expected, slope = cube * back, safe + linear
    image = jnp.where(seen, (expected + jnp.sqrt(expected**2 + 4 * slope * inverse)) / (2 * slope), cube)
    lit = seen & (cube > 0)
    gradient = jnp.where(lit, slope - back - inverse / jnp.where(lit, cube, 1) ** 2, 0)
    return image, 0.5 * (gradient * (cube - image)).sum((1, 2)).sum()
