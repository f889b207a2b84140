"""Primal-dual steps in the EM metric: maximum likelihood with an analysis l1 penalty."""

from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hifred.poisson import PoissonTerm
from hifred.priors.prior import AnalysisL1
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube
from hifred.solvers.em import CubeProblem
from hifred.solvers.solver import Progress, Solver, State, half_cstats

# A voxel keeps at least this fraction of its value in one step, so that the EM metric stays defined.
LEAST = 0.1
# Dual step over its largest allowed value at the start; halved whenever the objective rises.
CAUTION = 0.7
# Iterations between new dual steps, which follow the local brightness.
REFRESH = 10


class PenalizedProblem(eqx.Module):
    """Data terms on a sky cube and an l1 penalty on its coefficients."""

    data: CubeProblem
    penalty: AnalysisL1

    @property
    def terms(self) -> tuple[PoissonTerm, ...]:
        """The data terms."""
        return self.data.terms


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
    dual_step : array of shape (energy, y, x)
        Step of the dual variables over each voxel.
    caution : array of shape ()
        Its safety factor.
    last : array of shape ()
        Objective of the last point tried.
    iteration : array of shape ()
        Steps done.
    """

    cube: Cube
    best: Cube
    dual: tuple[Cube, ...]
    back: Cube
    dual_step: Cube
    caution: Float[Array, ""]
    last: Float[Array, ""]
    iteration: Int[Array, ""]
    progress: Progress


class PrimalDual(Solver[PenalizedProblem, PrimalDualState]):
    """`minimise D(z) + ||lambda o Psi z||_1 over z > 0` by predictor-corrector steps (PAPC) in the EM metric.

    With `T = z / s` (the EM step as a gradient step), dual variables `|y| <= lambda` and dual steps `sigma`:

        z' = z - T (grad D(z) + Psi' y)            predictor: the cube that is scored and may be returned
        y  = clip(y + sigma Psi z', lambda)        prox of the conjugate of the l1 norm
        z  = z - T (grad D(z) + Psi' y)            corrector

    (Loris & Verhoeven 2011, Inverse Problems 27, 125007; Chen, Huang & Zhang 2013, Inverse Problems 29, 025011.) It
    needs `sigma T ||Psi||^2 <= 1`, and `||Psi|| <= 1`: so sigma is one over the local mean of T, times a caution. A
    step takes one transform, one adjoint, and two passes through the responses.
    """

    def init(self, problem: PenalizedProblem) -> PrimalDualState:
        """Start from the problem's cube with no dual force."""
        cube = problem.data.start
        models = tuple(term.predict(cube) for term in problem.terms)
        coefficients = problem.penalty.transform.analysis(cube)
        inf = jnp.full((), jnp.inf, cube.dtype)
        progress = Progress(half_cstats(problem.terms, models), problem.penalty.of_coefficients(coefficients), inf)
        zero = jnp.zeros_like(cube)
        return PrimalDualState(
            progress, cube, cube, tuple(zero for _ in coefficients), zero, zero, jnp.full_like(inf, CAUTION), inf,
            jnp.zeros((), jnp.int32),
        )  # fmt: skip

    def step(self, problem: PenalizedProblem, state: PrimalDualState) -> PrimalDualState:
        """One predictor-corrector step."""
        terms, penalty, cube = problem.terms, problem.penalty, state.cube
        step = metric(problem.data, cube)
        gradient = reduce(add, [term.gradient(cube) for term in terms])
        predicted = jnp.maximum(cube - step * (gradient + state.back), LEAST * cube)
        coefficients = penalty.transform.analysis(predicted)
        half_cstat = half_cstats(terms, [term.predict(predicted) for term in terms])
        prior = penalty.of_coefficients(coefficients)
        objective = sum(c.sum() for c in half_cstat) + prior
        moved = jnp.where(step > 0, (predicted - cube) ** 2 / jnp.where(step > 0, step, 1), 0)
        decrement = 0.5 * moved.sum((1, 2)).sum()

        rounding = 1e-6 * abs(objective)
        caution = jnp.where(objective > state.last + rounding, 0.5 * state.caution, state.caution)
        dual_step = jax.lax.cond(
            state.iteration % REFRESH == 0,
            lambda: dual_steps(penalty.transform, step),
            lambda: state.dual_step,
        )
        dual = tuple(
            jnp.clip(y + caution * dual_step * c, -bound, bound)
            for y, c, bound in zip(state.dual, coefficients, penalty.weights, strict=True)
        )
        back = penalty.transform.adjoint(dual)
        corrected = jnp.maximum(cube - step * (gradient + back), LEAST * cube)

        best_objective = sum(c.sum() for c in state.progress.half_cstat) + state.progress.penalty
        better = objective < best_objective
        progress = Progress(
            tuple(jnp.where(better, a, b) for a, b in zip(half_cstat, state.progress.half_cstat, strict=True)),
            jnp.where(better, prior, state.progress.penalty),
            decrement,
        )
        best = jnp.where(better, predicted, state.best)
        return PrimalDualState(
            progress, corrected, best, dual, back, dual_step, caution, objective, state.iteration + 1
        )

    def cube(self, problem: PenalizedProblem, state: PrimalDualState) -> Cube:
        """The best cube of the run."""
        return state.best


def metric(data: CubeProblem, cube: Cube) -> Cube:
    """Primal steps `T = z / s`; zero where no instrument sees the voxel."""
    seen = data.sensitivity > 0
    return jnp.where(seen, cube / jnp.where(seen, data.sensitivity, 1), 0)


def dual_steps(transform: Starlet, step: Cube) -> Cube:
    """Dual steps: one over the larger of T and its mean over the widest wavelet."""
    wide = jnp.maximum(transform.decompose(step)[1], step)
    return 1 / jnp.maximum(wide, 1e-6 * wide.max() + 1e-37)
