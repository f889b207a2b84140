"""The strength of a prior from the data alone: fit a part of the photons, ask the rest."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from hifred.assembly import assemble
from hifred.data.dataset import Dataset
from hifred.grid import number, whole_numbers
from hifred.poisson import half_deviance
from hifred.priors import DopplerSheets, Prior
from hifred.solvers import FactorProblem, Stopping, minimise, solution_cube

# Strengths that are tried lie a factor of 3 apart, and at most so many of them.
FACTOR, MOST = 3.0, 7
# Fits of a part of the photons end at this many times the tolerance of the last fit: their deviances differ by more.
LOOSER = 3.0
# A factorisation is not convex and fits noise in the end: its fits end when so many steps did not help the rest, and so
# many strengths are tried, which with the last fit makes four.
PATIENCE, FEW = 20, 3


@dataclass(frozen=True)
class Tuning:
    """How well fits of a part of the photons foretell the rest.

    Attributes
    ----------
    strengths : tuple of float
        Strengths that were tried, increasing.
    deviances : tuple of float
        Held-out C-stat of each: twice the Poisson deviance of the photons that were not fitted, all data sets together.
    iterations : tuple of int
        Iterations of each fit; of a factorisation those after which the rest was foretold best.
    strength : float
        The one with the smallest deviance.
    fraction : float
        Part of the photons that was fitted.
    seed : int
        Seed of the split.
    """

    strengths: tuple[float, ...]
    deviances: tuple[float, ...]
    iterations: tuple[int, ...]
    strength: float
    fraction: float
    seed: int

    @property
    def best_iterations(self) -> int:
        """Iterations of the fit with the best strength."""
        return self.iterations[self.strengths.index(self.strength)]

    @property
    def at_edge(self) -> str | None:
        """`"lowest"` or `"highest"` where the best strength is the first or last that was tried; else None."""
        if self.strength == self.strengths[0]:
            return "lowest"
        return "highest" if self.strength == self.strengths[-1] else None

    def to_json(self) -> dict:
        """As plain lists and numbers, for a file."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def thin(dataset: Dataset, fraction: float, rng: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Split photons at random: each goes to the first part with probability `fraction`.

    Both parts are Poisson and independent, with `fraction` and `1 - fraction` of the expected counts.

    Parameters
    ----------
    dataset : Dataset
        Counts must be whole numbers.
    fraction : float
        Between 0 and 1.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    part : Dataset
        With `fraction` of the background; its response is the whole one, so that a fit gives `fraction` of the sky.
    rest : array of shape (channel, y, x)
        The other counts.

    Raises
    ------
    ValueError
        If counts are not whole numbers.
    """
    counts = np.asarray(dataset.counts, dtype=float)
    whole = np.rint(counts).astype(np.int64)
    if not np.array_equal(whole, counts):
        raise ValueError(f"{dataset.name}: counts: expected whole numbers of photons to split, found others")
    part = rng.binomial(whole, fraction)
    fitted = Dataset(
        part, dataset.response, dataset.background * fraction, dataset.mask, dataset.name, dataset.grid,
        exposure=dataset.exposure, provenance=dataset.provenance,
    )  # fmt: skip
    return fitted, whole - part


def held_out(datasets: Sequence[Dataset], models: Sequence, rests: Sequence, fraction: float) -> float:
    """C-stat of the photons that were not fitted, under the sky that the others gave.

    Parameters
    ----------
    datasets : sequence of Dataset
        All data; their masks hold.
    models : sequence of arrays of shape (channel, y, x)
        Expected counts of the part that was fitted.
    rests : sequence of arrays of shape (channel, y, x)
        Counts that were not.
    fraction : float
        Part of the photons that was fitted.
    """
    total = 0.0
    for dataset, model, rest in zip(datasets, models, rests, strict=True):
        expected = model.astype(float) * ((1 - fraction) / fraction)
        total += 2 * float(np.asarray(half_deviance(expected, rest.astype(float)))[dataset.mask].sum())
    return total


def tune(
    datasets: Sequence[Dataset], prior: Prior, max_iterations: int = 200, tolerance: float | None = None, *,
    fraction: float = 0.85, seed: int = 0, say: Callable[[str], object] | None = None,
) -> Tuning:  # fmt: skip
    """Choose the strength of a prior by count thinning.

    All data sets are split; strengths are tried from the prior's own, in steps of 3, in the direction in which the
    held-out C-stat falls, until it rises. Of a factorisation, the number of iterations is chosen as well. No truth is
    used.

    Parameters
    ----------
    datasets : sequence of Dataset
        The data.
    prior : Prior
        With a `strength`.
    max_iterations, tolerance
        As for `hifred.fuse`; the tolerance is loosened threefold.
    fraction : float
        Part of the photons that is fitted.
    seed : int
        Seed of the split.
    say : callable, optional
        Called with a sentence for each fit.

    Returns
    -------
    Tuning
        The curve and the choice.

    Raises
    ------
    ValueError
        If the prior has no strength, it is 0, or the fraction is not between 0 and 1.
    """
    first = getattr(prior, "strength", None)
    if first is None or not first > 0:
        raise ValueError(f"strength: expected a prior with a positive strength to tune, found {prior!r}")
    fraction = number("fraction", fraction)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: expected a number between 0 and 1, found {fraction}")
    (seed,) = whole_numbers("seed", [seed])
    rng = np.random.default_rng(seed)
    parts, rests = zip(*(thin(dataset, fraction, rng) for dataset in datasets), strict=True)
    stopping = Stopping(max_iterations, LOOSER * (prior.tolerance if tolerance is None else tolerance), at_noise=False)
    found: dict[float, tuple[float, int]] = {}

    def attempt(strength: float) -> float:
        found[strength] = _foretold(datasets, parts, rests, replace(prior, strength=strength), stopping, fraction)
        if say is not None:
            say(f"strength {strength:.3g}: held-out C-stat {found[strength][0]:.8g}, {found[strength][1]} iterations")
        return found[strength][0]

    attempt(first)
    lower = attempt(first / FACTOR) < found[first][0]
    factor = 1 / FACTOR if lower else FACTOR
    strength = first / FACTOR if lower else first
    while len(found) < (FEW if isinstance(prior, DopplerSheets) else MOST):
        following = strength * factor
        if attempt(following) >= found[strength][0]:
            break
        strength = following
    order = sorted(found)
    best = min(order, key=lambda s: found[s][0])
    return Tuning(
        tuple(order), tuple(found[s][0] for s in order), tuple(found[s][1] for s in order), best, fraction, seed
    )


def _foretold(
    datasets: Sequence[Dataset], parts: Sequence[Dataset], rests: Sequence, prior: Prior, stopping: Stopping,
    fraction: float,
) -> tuple[float, int]:  # fmt: skip
    """Held-out C-stat of a fit of the parts, and its iterations; of a factorisation the best ones on the way."""
    solver, problem = assemble(parts, prior)
    if not isinstance(problem, FactorProblem):
        solution = minimise(solver, problem, stopping)
        models = [part.predict(solution_cube(solver, problem, solution)) for part in parts]
        return held_out(datasets, models, rests, fraction), solution.history[-1].iteration
    course: list[float] = []

    def enough(state) -> bool:
        course.append(held_out(datasets, [np.asarray(model) for model in state.models], rests, fraction))
        return len(course) - int(np.argmin(course)) > PATIENCE

    minimise(solver, problem, stopping, enough=enough)
    return min(course), int(np.argmin(course)) + 1
