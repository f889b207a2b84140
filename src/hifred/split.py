"""Photons split at random: a part to be fitted, and the rest, which the fit is to foretell."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hifred.assembly import assemble, start_of
from hifred.data.dataset import Dataset
from hifred.grid import number, whole_numbers
from hifred.poisson import half_deviance
from hifred.priors import Prior
from hifred.solvers import FactorProblem, Stopping, minimise, solution_cube
from hifred.solvers.driver import require_finished

# A factorisation is not convex and fits noise in the end: its fits end when so many steps did not help the rest.
PATIENCE = 20


def thin(dataset: Dataset, fraction: float, rng: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """Split photons at random: each goes to the first part with probability `fraction`.

    Both parts are Poisson and independent, with `fraction` and `1 - fraction` of the expected counts.

    Parameters
    ----------
    dataset : Dataset
        Counts that are no whole numbers (of a model, not of photons) are first rounded up or down at random, so that
        their mean stays.
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
    """
    counts = np.asarray(dataset.counts, dtype=float)
    whole = np.floor(counts)
    if not np.array_equal(whole, counts):
        whole += rng.random(counts.shape) < counts - whole
    whole = whole.astype(np.int64)
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
        total += 2 * float(np.asarray(half_deviance(expected, rest.astype(float)))[dataset.mask].sum(dtype=float))
    return total


@dataclass(frozen=True, eq=False)
class Split:
    """Data sets split at random, and fits of the first part, which can go on.

    Attributes
    ----------
    datasets : tuple of Dataset
        All counts.
    parts : tuple of Dataset
        Those to be fitted.
    rests : tuple of arrays of shape (channel, y, x)
        Those to be foretold.
    fraction : float
        Part of the photons to be fitted.
    seed : int
        Seed of the split.
    """

    datasets: tuple[Dataset, ...]
    parts: tuple[Dataset, ...]
    rests: tuple[Any, ...]
    fraction: float
    seed: int
    _starts: dict = field(default_factory=dict)
    _fits: dict = field(default_factory=dict)

    @classmethod
    def of(cls, datasets: Sequence[Dataset], fraction: float = 0.85, seed: int = 0) -> "Split":
        """A new split.

        Raises
        ------
        ValueError
            If the fraction is not between 0 and 1.
        """
        fraction = number("fraction", fraction)
        if not 0 < fraction < 1:
            raise ValueError(f"fraction: expected a number between 0 and 1, found {fraction}")
        (seed,) = whole_numbers("seed", [seed])
        rng = np.random.default_rng(seed)
        parts, rests = zip(*(thin(dataset, fraction, rng) for dataset in datasets), strict=True)
        return cls(tuple(datasets), parts, rests, fraction, seed)

    def foretold(self, prior: Prior, stopping: Stopping) -> tuple[float, int]:
        """Held-out C-stat of a fit of the parts, and its iterations; of a factorisation the best ones on the way.

        A factorisation that has been fitted before goes on from where it was.

        Parameters
        ----------
        prior : Prior
            With all its settings.
        stopping : Stopping
            When to end at the latest.

        Returns
        -------
        deviance : float
            Held-out C-stat, all data sets together.
        iterations : int
            Those it was reached after.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C: a fit cut short tells nothing.
        """
        # Where fits start depends on the strength of the penalty on light alone.
        key = (type(prior), getattr(prior, "light_strength", None), getattr(prior, "single", False))
        if key not in self._starts:
            self._starts[key] = start_of(self.parts, prior)
        solver, problem = assemble(self.parts, prior, self._starts[key])
        if not isinstance(problem, FactorProblem):
            solution = minimise(solver, problem, stopping)
            require_finished(solution)
            models = [part.predict(solution_cube(solver, problem, solution)) for part in self.parts]
            return held_out(self.datasets, models, self.rests, self.fraction), solution.history[-1].iteration
        onward, course = self._fits.get(prior, (None, []))

        def over() -> bool:
            return len(course) - int(np.argmin(course)) > PATIENCE

        def enough(state) -> bool:
            models = [np.asarray(model) for model in state.models]
            course.append(held_out(self.datasets, models, self.rests, self.fraction))
            return over()

        if onward is None or (onward.history[-1].iteration < stopping.max_iterations and not over()):
            onward = minimise(solver, problem, stopping, enough=enough, onward=onward)
            require_finished(onward)
            self._fits[prior] = onward, course
        asked = course[: stopping.max_iterations]
        return min(asked), int(np.argmin(asked)) + 1
