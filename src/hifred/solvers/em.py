"""Accelerated expectation maximisation: maximum likelihood without a step size."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.response.operator import Cube
from hifred.solvers.solver import Progress, Solver, State, change, half_cstats

# Bounds of the factor by which extrapolation may change a voxel, and of its exponent.
FACTOR = (0.2, 5.0)
MOMENTUM = 0.95


class CubeProblem(eqx.Module):
    """Data terms on a sky cube.

    Attributes
    ----------
    terms : tuple of PoissonTerm
        The data.
    sensitivity : array of shape (energy, y, x)
        Expected counts of all data per unit of each voxel.
    start : array of shape (energy, y, x)
        A positive cube near the answer.
    """

    terms: tuple[PoissonTerm, ...]
    sensitivity: Cube
    start: Cube

    @classmethod
    def of(cls, terms: Sequence[PoissonTerm], start: Cube) -> "CubeProblem":
        """Problem with its sensitivity computed."""
        return cls(tuple(terms), reduce(add, [term.sensitivity() for term in terms]), start)


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
    """

    def init(self, problem: CubeProblem) -> EMState:
        """Start from the problem's cube."""
        models = tuple(term.predict(problem.start) for term in problem.terms)
        zero = jnp.zeros((), problem.start.dtype)
        progress = Progress(half_cstats(problem.terms, models), zero, zero + jnp.inf)
        return EMState(progress, problem.start, problem.start, models, zero + 1)

    def step(self, problem: CubeProblem, state: EMState) -> EMState:
        """One EM step and an extrapolation."""
        terms, cube = problem.terms, state.cube
        seen = problem.sensitivity > 0
        back = reduce(add, [term.back_ratio(model) for term, model in zip(terms, state.models, strict=True)])
        factor = jnp.where(seen, back / jnp.where(seen, problem.sensitivity, 1), 1)
        image = cube * factor
        decrement = 0.5 * (problem.sensitivity * cube * (factor - 1) ** 2).sum((1, 2)).sum()

        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        exponent = jnp.minimum((state.momentum - 1) / following, MOMENTUM)
        growth = jnp.where(state.image > 0, image / jnp.where(state.image > 0, state.image, 1), 1)
        ahead = image * jnp.clip(growth**exponent, *FACTOR)
        models = tuple(term.predict(ahead) for term in terms)
        better = change(terms, state.models, models) <= 0

        def accept():
            return ahead, models, following

        def restart():
            return image, tuple(term.predict(image) for term in terms), jnp.ones_like(following)

        cube, models, momentum = jax.lax.cond(better, accept, restart)
        progress = Progress(half_cstats(terms, models), jnp.zeros_like(decrement), decrement)
        return EMState(progress, cube, image, models, momentum)

    def cube(self, problem: CubeProblem, state: EMState) -> Cube:
        """The cube of the state."""
        return state.cube
