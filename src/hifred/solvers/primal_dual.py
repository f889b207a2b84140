"""Primal-dual steps in the EM metric: maximum likelihood with an analysis l1 penalty."""

from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hifred.poisson import TINY, PoissonTerm
from hifred.priors.prior import AnalysisL1
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube
from hifred.solvers.em import CubeProblem
from hifred.solvers.solver import Progress, Solver, State, half_cstats

# One step changes a voxel at most by these factors (upward, of the voxel or its floor): the metric must follow.
FACTOR = (0.1, 2.0)
# Voxels have steps as if they had at least this fraction of the brightness around them: so that dark ones come back.
FLOOR = 0.5
# No voxel falls below this part of its floor: a bin that expects exactly nothing would make any photon impossible.
LEAST = 1e-6
# Dual steps times local means of primal steps: at 1 an edge between bright and dark makes them too long by 15%.
CAUTION = 0.85
# Iterations between new steps, which follow the cube.
REFRESH = 10


class PenalizedProblem(eqx.Module):
    """Data terms on a sky cube and an l1 penalty on its coefficients."""

    data: CubeProblem
    penalty: AnalysisL1

    @property
    def terms(self) -> tuple[PoissonTerm, ...]:
        """The data terms."""
        return self.data.terms


class Steps(eqx.Module):
    """Lengths of the steps, made anew from time to time.

    Attributes
    ----------
    primal : array of shape (energy, y, x)
        Largest step of each voxel: one over a bound of the curvature of the data term.
    dual : array of shape (energy, y, x)
        Step of the dual variables over each voxel.
    floor : array of shape (energy, y, x)
        Least brightness that a voxel is taken to have.
    """

    primal: Cube
    dual: Cube
    floor: Cube

    @classmethod
    def at(cls, problem: PenalizedProblem, cube: Cube) -> "Steps":
        """Steps for a cube.

        For any `t > 0` and the curvature of the data term, `u' A' diag(n / mu^2) A u <= sum_j u_j^2 / t_j
        [A'(n A t / mu^2)]_j` (Jensen): the steps are `T = t / A'(n A t / mu^2)`, or `t / s` where that is shorter, with
        `t` the cube or its floor.
        """
        transform = problem.penalty.transform
        floor = FLOOR * transform.decompose(cube)[1]
        filled = jnp.maximum(cube, floor)
        bounds = []
        for term in problem.terms:
            seen = term.mask & (term.counts > 0)
            model = jnp.where(seen, jnp.maximum(term.predict(cube), TINY), 1)
            bounds.append(
                term.operator.rmv(jnp.where(seen, term.counts / model * (term.operator.mv(filled) / model), 0))
            )
        primal = metric(problem.data, filled, reduce(add, bounds))
        return cls(primal, dual_steps(transform, primal), floor)


class PrimalDualState(State):
    """State of `PrimalDual`.

    Attributes
    ----------
    cube : array of shape (energy, y, x)
        The running primal point.
    best : array of shape (energy, y, x)
        The cube of least objective so far; `progress` speaks of it.
    dual : tuple of arrays of shape (energy, y, x)
        One dual variable per coefficient, within the penalty's weights.
    back : array of shape (energy, y, x)
        `Psi' dual`.
    steps : Steps
        Lengths of the steps.
    iteration : array of shape ()
        Steps done.
    """

    cube: Cube
    best: Cube
    dual: tuple[Cube, ...]
    back: Cube
    steps: "Steps"
    iteration: Int[Array, ""]
    progress: Progress


class PrimalDual(Solver[PenalizedProblem, PrimalDualState]):
    """`minimise D(z) + ||lambda o Psi z||_1 over z > 0` by predictor-corrector steps (PAPC) in the EM metric.

    With primal steps T near those of EM, `z / s` (`Steps`), dual variables `|y| <= lambda` and dual steps `sigma`:

        z' = z - T (grad D(z) + Psi' y)            predictor: the cube that is scored and may be returned
        y  = clip(y + sigma Psi z', lambda)        prox of the conjugate of the l1 norm
        z  = z - T (grad D(z) + Psi' y)            corrector

    (Loris & Verhoeven 2011, Inverse Problems 27, 125007; Chen, Huang & Zhang 2013, Inverse Problems 29, 025011.) It
    needs `sigma T ||Psi||^2 <= 1`, and `||Psi|| <= 1`: so sigma is one over the local mean of T. A step takes one
    transform, one adjoint, and two passes through the responses.

    The decrease that may still be had is the gap between primal and dual objective, `phi(z') - <Psi' y, z'>` and what a
    step on the smooth rest promises; the residual is made of it.
    """

    def init(self, problem: PenalizedProblem) -> PrimalDualState:
        """Start from the problem's cube with no dual force."""
        cube = problem.data.start
        models = tuple(term.predict(cube) for term in problem.terms)
        coefficients = problem.penalty.transform.analysis(cube)
        half_cstat = half_cstats(problem.terms, models)
        prior = problem.penalty.of_coefficients(coefficients)
        zero = jnp.zeros_like(cube)
        return PrimalDualState(
            Progress(half_cstat, prior, jnp.full((), jnp.inf, cube.dtype)), cube, cube,
            tuple(zero for _ in coefficients), zero, Steps(zero, zero, zero),
            jnp.zeros((), jnp.int32),
        )  # fmt: skip

    def step(self, problem: PenalizedProblem, state: PrimalDualState) -> PrimalDualState:
        """One predictor-corrector step."""
        terms, penalty, cube, best = problem.terms, problem.penalty, state.cube, state.progress
        best_objective = total(best.half_cstat) + best.penalty
        steps = jax.lax.cond(state.iteration % REFRESH == 0, lambda: Steps.at(problem, cube), lambda: state.steps)
        gradient = reduce(add, [term.gradient(cube) for term in terms])
        filled = jnp.maximum(cube, steps.floor)
        step = jnp.minimum(steps.primal, metric(problem.data, filled, problem.data.sensitivity - gradient))

        least = jnp.maximum(FACTOR[0] * cube, LEAST * steps.floor)

        def moved(back):
            return jnp.clip(cube - step * (gradient + back), least, FACTOR[1] * filled)

        predicted = moved(state.back)
        coefficients = penalty.transform.analysis(predicted)
        half_cstat = half_cstats(terms, [term.predict(predicted) for term in terms])
        prior = penalty.of_coefficients(coefficients)
        objective = total(half_cstat) + prior
        squares = jnp.where(step > 0, (predicted - cube) ** 2 / jnp.where(step > 0, step, 1), 0)
        gap = prior - (predicted * state.back).sum((1, 2)).sum() + 0.5 * squares.sum((1, 2)).sum()

        dual = tuple(
            jnp.clip(y + steps.dual * c, -bound, bound)
            for y, c, bound in zip(state.dual, coefficients, penalty.weights, strict=True)
        )
        back = penalty.transform.adjoint(dual)
        better = objective < best_objective
        progress = Progress(
            tuple(jnp.where(better, a, b) for a, b in zip(half_cstat, best.half_cstat, strict=True)),
            jnp.where(better, prior, best.penalty),
            gap,
        )
        return PrimalDualState(
            progress, moved(back), jnp.where(better, predicted, state.best), dual, back, steps,
            state.iteration + 1,
        )  # fmt: skip

    def cube(self, problem: PenalizedProblem, state: PrimalDualState) -> Cube:
        """The best cube of the run."""
        return state.best


def metric(data: CubeProblem, brightness: Cube, curvature: Cube) -> Cube:
    """Primal steps `z / max(s, A'(n / mu))`; zero where no instrument sees the voxel.

    `A'(n / mu) / z` is the curvature of the function that an EM step minimises. At the maximum of the likelihood it is
    `s / z`; a strong penalty holds the model below the counts, and there the plain EM step `z / s` would be too long.
    """
    seen = data.sensitivity > 0
    return jnp.where(seen, brightness / jnp.where(seen, jnp.maximum(data.sensitivity, curvature), 1), 0)


def dual_steps(transform: Starlet, primal: Cube) -> Cube:
    """Dual steps: a little less than one over the largest local mean of the primal steps on any scale."""
    widest = reduce(jnp.maximum, transform.smoothed(primal))
    return CAUTION / jnp.maximum(widest, 1e-6 * widest.max() + 1e-37)


def total(half_cstat: tuple[Array, ...]) -> Float[Array, ""]:
    """Half the C-stat of all data sets."""
    return reduce(add, [c.sum() for c in half_cstat])
