"""Photons split at random: a part to be fitted, and the rest, which the fit is to foretell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hifred.assembly import assemble, start_of
from hifred.data.dataset import Dataset
from hifred.factorisation import ONE_SPECTRUM, single_gas
from hifred.grid import number, whole_numbers
from hifred.poisson import half_deviance
from hifred.priors import DopplerSheets, Prior
from hifred.priors.rank_one import RankOne
from hifred.response.operator import Counts
from hifred.solvers import FactorProblem, FactorState, Solution, Status, Stopping, minimise, solution_cube
from hifred.solvers.driver import require_finished
from hifred.solvers.factors import moved
from hifred.solvers.rank_one import rank_one

# A factorisation is not convex and fits noise in the end: its fits end when so many steps did not help the rest.
PATIENCE = 20
# Fits of factorisations of several gases that differ in strength alone are one for so many steps, and then take so
# many of their own at least; where the first one was best so many steps before or more, each is made from the start.
TRUNK, BRANCH, RIPE = 40, 20, 5
# Of a fit that parted from another one, its own steps count from this one on: any weaker penalty lets the first few
# fall, by little but surely, and some then follow noise.
FRESH = 10
# C-stats have errors that fall with this power of the number of steps.
POWER = 3
# C-stats of the rest are kept for about so many groups of neighbouring detector pixels of each data set.
GROUPS = 1000


def thin(dataset: Dataset, fraction: float, rng: np.random.Generator) -> Iterator[tuple[Dataset, np.ndarray]]:
    """Split photons at random, again and again: each goes to the first part with probability `fraction`.

    Both parts are Poisson and independent, with `fraction` and `1 - fraction` of the expected counts. No photon is in
    the rest of two folds, so that rests are independent of each other as well; there are `most_folds` of them.

    Parameters
    ----------
    dataset : Dataset
        Counts that are no whole numbers (of a model, not of photons) are first rounded up or down at random, so that
        their mean stays.
    fraction : float
        Between 0 and 1.
    rng : numpy.random.Generator
        Source of randomness.

    Yields
    ------
    pair
        A part, with `fraction` of the background (its response is the whole one, so that a fit gives `fraction` of the
        sky), and the other counts, an array of shape (channel, y, x).
    """
    counts = np.asarray(dataset.counts, dtype=float)
    whole = np.floor(counts)
    if not np.array_equal(whole, counts):
        whole += rng.random(counts.shape) < counts - whole
    left = whole = whole.astype(np.int64)
    background = dataset.background * fraction
    for fold in range(most_folds(fraction)):
        # Of the photons that are left, as many go on to be left.
        before, after = (1 - n * (1 - fraction) for n in (fold, fold + 1))
        onward = rng.binomial(left, max(after, 0.0) / before)
        rest, left = left - onward, onward
        fitted = Dataset(
            whole - rest, dataset.response, background, dataset.mask, dataset.name, dataset.grid,
            exposure=dataset.exposure, provenance=dataset.provenance,
        )  # fmt: skip
        yield fitted, rest


def most_folds(fraction: float) -> int:
    """How often photons last, where a part of them is kept back each time."""
    return int(1 / (1 - fraction) + 1e-9)


def held_out(
    datasets: Sequence[Dataset], models: Sequence, rests: Sequence, fraction: float
) -> Float[np.ndarray, " group"]:
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

    Returns
    -------
    array of shape (group,)
        Of groups of detector pixels, all data sets one after the other: the C-stat is their sum.
    """
    groups = []
    for dataset, model, rest in zip(datasets, models, rests, strict=True):
        fitted, counts = (jnp.asarray(array, dataset.response.dtype) for array in (model, rest))
        pixels = np.asarray(_by_pixel(fitted, counts, dataset.mask, (1 - fraction) / fraction), dtype=float)
        groups.append(np.add.reduceat(pixels, np.arange(0, pixels.size, -(-pixels.size // GROUPS))))
    return np.concatenate(groups)


@jax.jit
def _by_pixel(model: Counts, counts: Counts, mask: Array | np.ndarray, scale: Array | float) -> Float[Array, " pixel"]:
    """C-stat of each detector pixel under so many times the model; over flat arrays, see `PoissonTerm`."""
    parts = jnp.where(mask.ravel(), half_deviance(scale * model.ravel(), counts.ravel()), 0)
    return 2 * parts.reshape(mask.shape[0], -1).sum(0)


@dataclass(frozen=True, eq=False)
class Foretold:
    """How well a fit foretells the photons that it did not see.

    Attributes
    ----------
    groups : array of shape (group,)
        Held-out C-stat of groups of detector pixels, see `held_out`; one infinite group where a fit failed at once.
    iterations : int
        Those of the fit; of a factorisation, those after which the rest was foretold best, unless its end counts.
    """

    groups: Float[np.ndarray, " group"]
    iterations: int

    @property
    def deviance(self) -> float:
        """Held-out C-stat, all data sets together."""
        return float(self.groups.sum())

    def falls_below(self, other: "Foretold", surely: float, least: float) -> bool:
        """Whether the C-stat is lower than another by so many standard errors, and by so much.

        The standard error is that of the sum of the paired differences of all groups, which are taken for independent
        (those of several folds nearly are: rests share no photon, but fits have seen those of the others).
        """
        possible, before = (bool(np.isfinite(one.deviance)) for one in (self, other))
        if not (possible and before):
            return possible and not before
        falls = other.groups - self.groups
        return bool(falls.sum() >= max(surely * _error(falls), least))

    def is_alike(self, best: "Foretold", within: float, least: float) -> bool:
        """Whether the C-stat is above the best one by less than so many standard errors, or by less than the least."""
        if not (np.isfinite(self.deviance) and np.isfinite(best.deviance)):
            return False
        rises = self.groups - best.groups
        return bool(rises.sum() < max(within * _error(rises), least))

    def led_on(self, before: "Foretold", part: float) -> "Foretold":
        """Where the C-stat leads (Richardson's extrapolation), from this fit and itself after a part of the steps.

        Both are the lowest on the way: a fit that is past its best leads no further.
        Momentum lets a convex objective fall as `1 / n^2` at least (Nesterov 1983); these fell faster at first.
        """
        if not np.isfinite(before.deviance) or part >= 1:
            return self
        return replace(self, groups=self.groups - (before.groups - self.groups) / (part**-POWER - 1))


def _error(differences: Float[np.ndarray, " group"]) -> float:
    """Standard error of their sum."""
    return float(np.sqrt(differences.size) * differences.std())


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit of a factorisation as far as it went, and how well each of its own steps foretells the rest.

    One that has only just parted from another has no steps of its own, and its state is that of the other's problem.
    """

    solution: Solution
    course: tuple[Foretold, ...] = ()

    @property
    def steps(self) -> int:
        """All steps, with those before it parted from another one."""
        return self.solution.history[-1].iteration

    @property
    def shared(self) -> int:
        """Steps before it parted from another one."""
        return self.steps - len(self.course)

    @property
    def over(self) -> bool:
        """Whether the last `PATIENCE` steps did not help the rest."""
        return bool(self.course) and self.steps - _lowest(self.course).iterations >= PATIENCE

    def end(self, most: int) -> Foretold:
        """How well the last of its own steps foretells the rest, of so many at most in all; infinite if it failed."""
        own = [step for step in self.course if step.iterations <= most]
        failed = self.solution.status is Status.DIVERGED or not own
        return Foretold(np.full(1, np.inf), self.steps) if failed else own[-1]

    def best(self, most: int) -> Foretold:
        """That of its own steps, of so many at most in all, which foretells the rest best; infinite for none.

        Those of one that parted from another count from the `FRESH`-th on.
        """
        first = self.shared + FRESH if self.shared else 0
        own = [step for step in self.course if first <= step.iterations <= most]
        return _lowest(own) if own else Foretold(np.full(1, np.inf), self.steps)


def _lowest(course: Sequence[Foretold]) -> Foretold:
    """The step that foretells the rest best."""
    return min(course, key=lambda step: step.deviance)


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
    rests: tuple[Array, ...]
    fraction: float
    seed: int
    _starts: dict = field(default_factory=dict)
    _fits: dict[DopplerSheets, Fitted] = field(default_factory=dict)
    _trunks: dict[DopplerSheets, Solution] = field(default_factory=dict)

    @classmethod
    def of(cls, datasets: Sequence[Dataset], fraction: float = 0.85, seed: int = 0) -> "Split":
        """A new split.

        Raises
        ------
        ValueError
            If the fraction is not between 0 and 1.
        """
        return cls.several(datasets, 1, fraction, seed)[0]

    @classmethod
    def several(
        cls, datasets: Sequence[Dataset], folds: int, fraction: float = 0.85, seed: int = 0
    ) -> "tuple[Split, ...]":
        """So many new splits of the same data sets, which keep back different photons.

        Raises
        ------
        ValueError
            If the fraction is not between 0 and 1, there are more folds than `1 / (1 - fraction)`, or the seed is
            negative.
        """
        fraction = number("fraction", fraction)
        if not 0 < fraction < 1:
            raise ValueError(f"fraction: expected a number between 0 and 1, found {fraction}")
        (folds,) = whole_numbers("folds", [folds])
        most = most_folds(fraction)
        if not 1 <= folds <= most:
            raise ValueError(
                f"folds: expected 1 to {most}, as {1 - fraction:.3g} of the photons are kept back in each, none of "
                f"them twice, found {folds}"
            )
        (seed,) = whole_numbers("seed", [seed])
        if seed < 0:
            raise ValueError(f"seed: expected at least 0, found {seed}")
        rng = np.random.default_rng(seed)
        # One fold of all data sets after the other: the first ones are the same whatever their number.
        dealt = zip(*[thin(dataset, fraction, rng) for dataset in datasets], strict=True)
        splits = []
        for pairs in islice(dealt, folds):
            held = tuple(jnp.asarray(rest, part.response.dtype) for part, rest in pairs)
            splits.append(cls(tuple(datasets), tuple(part for part, _ in pairs), held, fraction, seed))
        return tuple(splits)

    def foretold(self, prior: Prior, stopping: Stopping, at_end: bool = False) -> Foretold:
        """How well a fit of the parts foretells the rest; a factorisation at its best on the way.

        A factorisation that has been fitted before goes on from where it was. One of several gases that differs from it
        in strength alone, and takes `TRUNK + BRANCH` steps or more, goes on from where the first such fit was after
        `TRUNK`, where the rest still agreed with that; the best on the way is then of its own steps.

        Parameters
        ----------
        prior : Prior
            With all its settings.
        stopping : Stopping
            When to end at the latest.
        at_end : bool
            A factorisation takes all its steps, and counts as it is after them: an early end holds back noise as the
            penalties do, and would hide what they tell. Nothing to other priors.

        Returns
        -------
        Foretold

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C: a fit cut short tells nothing.
        """
        if isinstance(prior, DopplerSheets):
            return self._factors_foretold(prior, stopping, at_end)
        solver, problem = assemble(self.parts, prior, self._start(prior))
        solution = minimise(solver, problem, stopping)
        require_finished(solution)
        models = [part.predict(solution_cube(solver, problem, solution)) for part in self.parts]
        groups = held_out(self.datasets, models, self.rests, self.fraction)
        return Foretold(groups, solution.history[-1].iteration)

    def _factors_foretold(self, prior: DopplerSheets, stopping: Stopping, at_end: bool) -> Foretold:
        """The same of a factorisation."""
        most = stopping.max_iterations
        kind = replace(prior, strength=None)
        fit = self._fits.get(prior)
        if fit is not None and fit.shared and most < fit.shared + FRESH:
            fit = None
        if fit is None and kind in self._trunks and most >= TRUNK + BRANCH:
            fit = Fitted(self._trunks[kind])
        if fit is None or fit.steps < TRUNK:
            fit = self._grown(prior, fit, replace(stopping, max_iterations=min(TRUNK, most)), at_end)
        if fit.steps == TRUNK and not prior.single and fit.course and _lowest(fit.course).iterations > TRUNK - RIPE:
            self._trunks.setdefault(kind, fit.solution)
        if fit.steps < most:
            fit = self._grown(prior, fit, stopping, at_end)
        self._fits[prior] = fit
        return fit.end(most) if at_end else fit.best(most)

    def _grown(self, prior: DopplerSheets, fit: Fitted | None, stopping: Stopping, at_end: bool) -> Fitted:
        """A fit that began, parted from another one, or went on, as far as the rest agrees, or to its end."""
        if fit is not None and fit.over and not at_end:
            return fit
        solver, problem = assemble(self.parts, prior, self._start(prior))
        onward, course = (None, []) if fit is None else (fit.solution, list(fit.course))
        if onward is not None and not course:
            onward = replace(onward, state=moved(cast(FactorProblem, problem), cast(FactorState, onward.state)))
        before = 0 if fit is None else fit.shared

        def enough(state) -> bool:
            groups = held_out(self.datasets, state.models, self.rests, self.fraction)
            course.append(Foretold(groups, before + len(course) + 1))
            return not at_end and course[-1].iterations - _lowest(course).iterations >= PATIENCE

        solution = minimise(solver, problem, stopping, enough=enough, onward=onward)
        require_finished(solution)
        return Fitted(solution, tuple(course))

    @cached_property
    def _simplest(self) -> RankOne:
        """The simplest sky of the parts."""
        return rank_one(self.parts)

    def _start(self, prior: Prior) -> RankOne:
        """Where fits start: those of several gases depend on the strength of the penalty on light alone."""
        key = (prior.light_strength, prior.single) if isinstance(prior, DopplerSheets) else None
        if key not in self._starts:
            known = None if key is None or key[0] is None else self._fits.get(single_gas(key[0]))
            onward = known.solution if known is not None and known.steps <= ONE_SPECTRUM else None
            self._starts[key] = start_of(self.parts, prior, self._simplest, onward)
        return self._starts[key]
