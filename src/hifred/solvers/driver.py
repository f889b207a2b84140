"""The only loop: steps, history, stopping, checkpoints; observers look on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import equinox as eqx
import numpy as np

from hifred.grid import number, whole_numbers
from hifred.poisson import PoissonTerm, expected_cstat
from hifred.solvers.checkpoint import Checkpoint
from hifred.solvers.course import Course, Record
from hifred.solvers.denoised import FixedPoint
from hifred.solvers.interrupt import Interrupt
from hifred.solvers.solver import Problem, Solver, State

# Iterations in a row that must change little before a run counts as converged.
PATIENCE = 3
# A promise may be this many times the tolerance: steps cut at the edge of the positive cone keep only part of it.
PROMISE = 10
# Differences of the objective are counted against this at least: a change of 1 in log likelihood is the noise itself.
LEAST = 1.0
# Iterations between looks at the C-stat that is expected.
EXPECT_EVERY = 5


class Status(Enum):
    """How a run ended: the word kept in files, and a sentence for people."""

    CONVERGED = "converged", "The objective and the optimality residual fell below the tolerance."
    FIXED_POINT = (
        "fixed_point",
        "The cube changes by less than the tolerance: a fixed point of data and denoiser, not a minimum.",
    )
    NOISE_REACHED = "noise_reached", "The data are fitted to their noise: C-stat fell to its expected value."
    TUNED = "tuned", "The number of iterations was reached at which photons that were kept back were foretold best."
    MAX_ITERATIONS = "max_iterations", "The largest number of iterations was reached before convergence."
    INTERRUPTED = "interrupted", "The run was interrupted; the cube is the best one so far."
    DIVERGED = "diverged", "The objective or the residual became infinite or nan; the cube is the last one before."

    def __init__(self, word: str, sentence: str):
        self.word = word
        self.sentence = sentence


@dataclass(frozen=True)
class Stopping:
    """When a run ends.

    Attributes
    ----------
    max_iterations : int
        Largest number of iterations.
    tolerance : float
        Converged when, for three iterations in a row, the objective falls by less than this fraction of itself (counted
        from the perfect fit, at least 1), and the decrease that may still be had is below ten times it. Where there is
        no objective, when the cube changes by less than this fraction of itself.
    at_noise : bool
        End as soon as the C-stat falls to its expectation.
    tuned : bool
        The number of iterations was chosen from the data: to reach it is to be done.
    """

    max_iterations: int
    tolerance: float
    at_noise: bool
    tuned: bool = False

    def __post_init__(self):
        (most,) = whole_numbers("max_iterations", [self.max_iterations])
        tolerance = number("tolerance", self.tolerance)
        if most < 1:
            raise ValueError(f"max_iterations: expected at least 1, found {most}")
        if not 0 <= tolerance < 1:
            raise ValueError(f"tolerance: expected at least 0 and below 1, found {self.tolerance}")
        # Plain numbers, which files can hold.
        object.__setattr__(self, "max_iterations", most)
        object.__setattr__(self, "tolerance", tolerance)


Observer = Callable[[Record], None]


@dataclass(frozen=True)
class Solution:
    """The state a run ended in, how, and its history."""

    state: State
    status: Status
    history: tuple[Record, ...]


class Scorer:
    """Turns a state's progress into a record, summing in float64."""

    def __init__(self, terms: Sequence[PoissonTerm]):
        counts = [np.asarray(term.counts, dtype=float)[np.asarray(term.mask)] for term in terms]
        # sum mu - n log mu = half C-stat + sum n - n log n.
        self.perfect_fit = sum(float((n - n * np.log(np.where(n > 0, n, 1))).sum()) for n in counts)

    def __call__(self, state: State, iteration: int, seconds: float) -> Record:
        """The record of a state."""
        progress = state.progress
        halves = [float(np.asarray(c, dtype=float).sum()) for c in progress.half_cstat]
        prior = float(progress.penalty)
        data = sum(halves) + self.perfect_fit
        scale = 1.0 if isinstance(state, FixedPoint) else max(abs(sum(halves) + prior), LEAST)
        residual = float(progress.decrement) / scale
        return Record(iteration, data + prior, data, prior, residual, seconds, tuple(2 * h for h in halves))


def minimise(
    solver: Solver,
    problem: Problem,
    stopping: Stopping,
    *,
    observers: Sequence[Observer] = (),
    checkpoint: Checkpoint | None = None,
    enough: Callable[[State], bool] | None = None,
    onward: Solution | None = None,
) -> Solution:
    """Run a solver to its end.

    Parameters
    ----------
    solver : Solver
        The method.
    problem : Module
        A problem of the kind the method takes, with `terms`.
    stopping : Stopping
        When to end.
    observers : sequence of callables
        Called with each record.
    checkpoint : Checkpoint, optional
        Where to keep the state from time to time, and to find it again.
    enough : callable, optional
        Called with each state; true ends the run.
    onward : Solution, optional
        Where to go on from, in place of the solver's start: of the same problem, or of one that it was moved from
        (`factors.moved`), whose objectives then come first in the history.

    Returns
    -------
    Solution
    """
    score = Scorer(problem.terms)
    if onward is None:
        state = _init(solver, problem)
        course = Course(state, (score(state, 0, 0.0),))
    else:
        course = Course(onward.state, onward.history)
    if checkpoint is not None:
        course = checkpoint.load(course)
    began = time.perf_counter() - course.history[-1].time
    status = _finished(course, stopping, score.perfect_fit)
    with Interrupt() as interrupt:
        try:
            while status is None:
                state = _step(solver, problem, course.state)
                record = score(state, course.history[-1].iteration + 1, time.perf_counter() - began)
                if not np.isfinite(record.objective) or np.isnan(record.residual):
                    status = Status.DIVERGED
                    break
                goal = _goal(solver, problem, state, record, course.goal) if stopping.at_noise else course.goal
                course = Course(state, (*course.history, record), goal)
                for observer in observers:
                    observer(record)
                status = _finished(course, stopping, score.perfect_fit)
                if enough is not None and enough(state) and status is None:
                    status = Status.TUNED
                if checkpoint is not None:
                    checkpoint.offer(course)
                if status is None and interrupt.asked:
                    status = Status.INTERRUPTED
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        if checkpoint is not None:
            checkpoint.save(course)
    return Solution(course.state, status, course.history)


def require_finished(solution: Solution) -> None:
    """Hand on a Ctrl-C: what was cut short is of no use to the caller.

    Raises
    ------
    KeyboardInterrupt
        If the run was interrupted.
    """
    if solution.status is Status.INTERRUPTED:
        raise KeyboardInterrupt


_init = eqx.filter_jit(lambda solver, problem: solver.init(problem))
_step = eqx.filter_jit(lambda solver, problem, state: solver.step(problem, state))
_cube = eqx.filter_jit(lambda solver, problem, state: solver.cube(problem, state))


def solution_cube(solver: Solver, problem: Problem, solution: Solution) -> np.ndarray:
    """The cube of a solution: where device arrays become host arrays again."""
    return np.array(_cube(solver, problem, solution.state))


def _goal(solver: Solver, problem: Problem, state: State, record: Record, last: float) -> float:
    """C-stat expected, were the cube the truth: the last estimate, or a new one if it is due or may end the run."""
    if record.iteration % EXPECT_EVERY != 1 and sum(record.cstat) > last:
        return last
    cube = _cube(solver, problem, state)
    return sum(expected_cstat(term.predict(cube), term.mask)[0] for term in problem.terms)


def _finished(course: Course, stopping: Stopping, perfect_fit: float) -> Status | None:
    """Whether to end, after the last record."""
    last = course.history[-1]
    if stopping.at_noise and np.isfinite(course.goal) and sum(last.cstat) <= course.goal:
        return Status.NOISE_REACHED
    if isinstance(course.state, FixedPoint):
        if all(record.residual <= stopping.tolerance for record in course.history[-PATIENCE:]):
            return Status.FIXED_POINT
    elif len(course.history) > PATIENCE:
        scale = max(abs(last.objective - perfect_fit), LEAST)
        falls = [a.objective - b.objective for a, b in pairwise(course.history[-PATIENCE - 1 :])]
        if max(falls) <= stopping.tolerance * scale and last.residual <= PROMISE * stopping.tolerance:
            return Status.CONVERGED
    if last.iteration < stopping.max_iterations:
        return None
    return Status.TUNED if stopping.tuned else Status.MAX_ITERATIONS
