"""Where a run stands: its state, and what it went through to get there."""

from dataclasses import dataclass

from hifred.solvers.solver import State


@dataclass(frozen=True)
class Record:
    """One line of the history.

    Attributes
    ----------
    iteration : int
        Steps done; 0 is the start.
    objective : float
        `sum mu - n log mu + phi`: the function that is minimised, at the cube that would be returned now.
    data_term, prior_term : float
        Its two parts.
    residual : float
        Decrease that may still be had, as the last step promised it, over the objective (counted from the perfect fit,
        at least 1): zero at the minimum. Of a method without an objective: relative change of the cube in the last
        step.
    time : float
        Seconds since the start, compilation included, checkpoints resumed counted in.
    cstat : tuple of float
        C-stat of each data set.
    """

    iteration: int
    objective: float
    data_term: float
    prior_term: float
    residual: float
    time: float
    cstat: tuple[float, ...]


@dataclass(frozen=True)
class Course:
    """A run so far: all that is needed to go on with it.

    Attributes
    ----------
    state : State
        State of the solver.
    history : tuple of Record
        One for the start and one for each step.
    goal : float
        C-stat expected at the truth, as last estimated; infinite before the first estimate.
    """

    state: State
    history: tuple[Record, ...]
    goal: float = float("inf")
