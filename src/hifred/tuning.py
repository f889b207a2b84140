"""Settings of a prior from the data alone: fit a part of the photons, ask the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import cast

import numpy as np

from hifred.assembly import require_one_grid
from hifred.choice import NOISE, Choice, Tuning
from hifred.data.dataset import Dataset
from hifred.factorisation import single_gas
from hifred.folds import Folds
from hifred.grid import CubeGrid
from hifred.priors import DopplerSheets, Prior
from hifred.priors.doppler_sheets import SHEETS, TEMPLATES
from hifred.search import (
    ALIKE,
    FACTOR,
    LAST,
    SCREENING,
    best_of,
    lowest,
    moving_in_doubt,
    race,
    walk,
)
from hifred.solvers import Stopping
from hifred.split import BRANCH, TRUNK, Foretold

# Fits of a part of the photons end at this many times the tolerance of the last fit: their deviances differ by more.
LOOSER = 3.0
# Strengths of a factorisation are told apart after so many steps, the first of them in common; the best one goes on to
# its end.
TRIAL = TRUNK + BRANCH
# Where strengths of a factorisation start.
START = 1.5
# Numbers of gases and of sheets that are tried where they are to be chosen.
NUMBERS = {"templates": (3, 5, 10, 20), "sheets": (1, 2, 3, 5)}
# Strengths of the penalty on light (in counts) lie about this one with so many photons for each sky pixel, and are
# tried from above: where it is weak, images of few photons are all noise, and C-stats alike. The sky is one spectrum
# for that, and fits take so many steps: at their best, after a few, the weakest penalty looks as good as any.
LIGHT, PHOTONS, LIGHT_STEPS = 0.01, 50.0, 30
# Where one split leaves light strengths alike, or leaves it open whether gas moves, so many decide between these, or
# between the chosen speed and 0: to be wrong costs 1 dB or more.
MORE_FOLDS = 3
# The C-stat has to fall by so many standard errors for another strength than `START`: falls within the noise of the
# rest led to noisy skies.
SURE = 3.0


def tune(
    datasets: Sequence[Dataset], prior: Prior, max_iterations: int = 200, tolerance: float | None = None, *,
    folds: Folds | None = None, say: Callable[[str], object] | None = None,
) -> Tuning:  # fmt: skip
    """Choose the strength of a prior by count thinning.

    All data sets are split; strengths are tried from the prior's own, in steps of 3, first downwards, in the direction
    in which the held-out C-stat falls by `NOISE`, until it does not. A factorisation is fitted in a few steps for that,
    the first of them with the first strength, and the C-stat has to fall by `SURE` standard errors; then it is fitted
    as far as the rest agrees, which gives the number of iterations. No truth is used.

    Parameters
    ----------
    datasets : sequence of Dataset
        The data.
    prior : Prior
        With a `strength`; of `DopplerSheets`, with all other settings (see `settle`).
    max_iterations, tolerance
        As for `hifred.fuse`; the tolerance is loosened threefold. Fits of a factorisation end by the rest alone.
    folds : Folds, optional
        Splits of these data sets, by default one of 85% of the photons. Fits that were made of them before are not made
        again. C-stats of several are summed, and their iterations averaged: the noise of choices falls with the root of
        their number, the work grows with it.
    say : callable, optional
        Called with a sentence for each fit.

    Returns
    -------
    Tuning
        The curve and the choice.

    Raises
    ------
    ValueError
        If the prior has no strength, or it is 0.
    """
    first = first_strength(prior)
    folds = Folds.of(datasets) if folds is None else folds
    factors = isinstance(prior, DopplerSheets)
    stopping = Stopping(max_iterations, prior.tolerance if tolerance is None else tolerance, at_noise=False)
    # The photons that were kept back end fits of a factorisation, not a tolerance, which is below 1 always.
    loose = 0.0 if factors else min(LOOSER * stopping.tolerance, max(stopping.tolerance, 1 / LOOSER))
    stopping = replace(stopping, tolerance=loose)
    iterations: dict[float, int] = {}

    trial = replace(stopping, max_iterations=min(TRIAL, max_iterations)) if factors else stopping

    def attempt(strength: float) -> Foretold:
        found = folds.foretold(replace(prior, strength=strength), trial)
        iterations[strength] = found.iterations
        if say is not None:
            say(f"strength {strength:.3g}: held-out C-stat {found.deviance:.8g}, {found.iterations} iterations")
        return found

    found, strength = walk(first, attempt, SURE if factors else 0.0)
    curve = Choice.of("strength", _deviances(found), strength)
    if factors and max_iterations > TRIAL:
        whole = folds.foretold(replace(prior, strength=curve.chosen), stopping)
        iterations[curve.chosen] = whole.iterations
    return Tuning(
        curve.values, curve.deviances, tuple(iterations[s] for s in curve.values), curve.chosen, **folds.to_json()
    )


def first_strength(prior: Prior) -> float:
    """Where the strengths that are tried begin.

    Raises
    ------
    ValueError
        If the prior has no strength, or it is 0.
    """
    first = START if isinstance(prior, DopplerSheets) and prior.strength is None else getattr(prior, "strength", None)
    if first is None or not first > 0:
        raise ValueError(f"strength: expected a prior with a positive strength to tune, found {prior!r}")
    return first


def without_choice(prior: DopplerSheets, grid: CubeGrid | None) -> DopplerSheets:
    """The prior with the settings that leave no choice: at rest without energies, and what is at rest in one sheet."""
    if prior.vmax is None and grid is None:
        prior = replace(prior, vmax=0.0)
    return replace(prior, sheets=1) if prior.sheets is None and prior.vmax == 0 else prior


def settle(
    datasets: Sequence[Dataset], prior: DopplerSheets, max_iterations: int = 200, *,
    folds: Folds | None = None, say: Callable[[str], object] | None = None,
) -> tuple[DopplerSheets, tuple[Choice, ...]]:  # fmt: skip
    """Choose the settings of `DopplerSheets` that are None, all but the strength, by count thinning.

    `light_strength` first, that of the lowest C-stat at the end of fits of one spectrum for the whole sky (those that
    are alike: of `MORE_FOLDS` splits of the photons); then `vmax`, with short fits and longer ones of some,
    the smallest of the last that leads as far as the best (0 only where it leads farthest; where that is open, as many
    splits are asked, and 0 is taken if it is alike); then the numbers of templates and sheets, with fits as long as the
    rest agrees, the smallest whose C-stat is within `NOISE` of the best.

    Parameters
    ----------
    datasets, max_iterations, folds, say
        As for `tune`.
    prior : DopplerSheets
        Settings that are not None stay.

    Returns
    -------
    prior : DopplerSheets
        With all settings.
    choices : tuple of Choice
        How they were found.
    """
    grid = require_one_grid(datasets)
    prior, choices = without_choice(prior, grid), []
    folds = Folds.of(datasets) if folds is None else folds
    trials = _Trials(folds, max_iterations, say)
    if prior.light_strength is None:
        choices.append(_light(trials))
        prior = replace(prior, light_strength=choices[-1].chosen)
    if prior.vmax is None:
        choices.append(_speed(trials, _usual(prior)))
        prior = without_choice(replace(prior, vmax=choices[-1].chosen), grid)
    for name, numbers in NUMBERS.items():
        if getattr(prior, name) is None:
            choices.append(_fewest(trials, _usual(prior), name, numbers))
            prior = replace(prior, **{name: int(choices[-1].chosen)})
    return prior, tuple(choices)


def _usual(prior: DopplerSheets) -> DopplerSheets:
    """The prior with values that serve most data for settings that are still to be chosen, but the largest speed."""
    usual = {"strength": START, "templates": TEMPLATES, "sheets": SHEETS}
    return replace(prior, **{name: usual[name] for name in prior.unsettled if name in usual})


@dataclass(frozen=True, eq=False)
class _Trials:
    """Fits of a part of the photons, and what is said of them; `how` names the splits where further ones were asked."""

    folds: Folds
    max_iterations: int
    say: Callable[[str], object] | None
    how: str = ""

    @property
    def number(self) -> int:
        """How many splits there are."""
        return len(self.folds.splits)

    @cached_property
    def more(self) -> "_Trials":
        """The same with `MORE_FOLDS` splits."""
        folds = self.folds.at_least(MORE_FOLDS)
        return replace(self, folds=folds, how=f"of {len(folds.splits)} splits ")

    def fit(self, prior: DopplerSheets, steps: int) -> Foretold:
        """A fit of so many steps at most."""
        return self.folds.foretold(prior, Stopping(min(steps, self.max_iterations), 0.0, at_noise=False))

    def told(self, prior: DopplerSheets, steps: int, name: str, how: str = "") -> Foretold:
        """The same, with a sentence about the setting of that name."""
        return self.report(name, getattr(prior, name), self.fit(prior, steps), how)

    def lead(self, prior: DopplerSheets, steps: int) -> Foretold:
        """Where a fit of so many steps leads to, with a sentence about the speed."""
        steps = min(steps, self.max_iterations)
        # The longer fit first: the shorter one is then part of it.
        whole, before = self.fit(prior, steps), max(3 * steps // 4, 1)
        found = whole.led_on(self.fit(prior, before), before / steps)
        return self.report("vmax", cast(float, prior.vmax), found, f"of {steps} steps leads to ")

    def report(self, name: str, value: float | int, found: Foretold, how: str = "") -> Foretold:
        """Say what was found."""
        if self.say is not None:
            self.say(f"{name} {value:.3g}: held-out C-stat {self.how}{how}{found.deviance:.8g}")
        return found


def _light(trials: _Trials) -> Choice:
    """The strength of the penalty on light, with one spectrum; of more splits where one leaves others alike."""

    def attempt(trials: _Trials, value: float) -> Foretold:
        found = trials.folds.foretold(single_gas(value), Stopping(LIGHT_STEPS, 0.0, at_noise=False), at_end=True)
        return trials.report("light_strength", value, found)

    found, light = lowest(_strong_light(trials.folds), partial(attempt, trials))
    asked = trials
    alike = [value for value, one in found.items() if one.is_alike(found[light], ALIKE, NOISE)]
    if trials.number < MORE_FOLDS and len(alike) > 1:
        asked = trials.more
        light = best_of({value: attempt(asked, value) for value in alike})
    return Choice.of("light_strength", _deviances(found), light, asked.number)


def _strong_light(folds: Folds) -> float:
    """A light strength above those that were best on simulated scenes, `LIGHT` with `PHOTONS` for each sky pixel.

    Those fell with the root of the number of photons.
    """
    datasets = folds.splits[0].datasets
    photons = max(float(dataset.counts[dataset.mask].sum(dtype=float)) for dataset in datasets)
    pixels = np.prod(datasets[0].response.in_shape[1:])
    usual = np.sqrt(PHOTONS * pixels / max(photons, 1.0))
    return LIGHT * FACTOR ** float(np.ceil(np.log(usual) / np.log(FACTOR)) + 1)


def _speed(trials: _Trials, like: DopplerSheets) -> Choice:
    """The largest speed; of more splits where one leaves it open whether gas moves."""
    few = min(SCREENING, trials.max_iterations)

    def screen(speed: float) -> Foretold:
        return trials.told(replace(like, vmax=speed), few, "vmax", f"of {few} steps ")

    def lead(trials: _Trials, speed: float) -> Foretold:
        return trials.lead(replace(like, vmax=speed), LAST)

    found, speed = race(screen, partial(lead, trials), like.velocity_step or 0.0)
    asked = trials
    if trials.number < MORE_FOLDS and (moving := moving_in_doubt(found, speed)):
        asked = trials.more
        still, fast = (lead(asked, value) for value in (0.0, moving))
        speed = moving if fast.falls_below(still, ALIKE, NOISE) else 0.0
    return Choice.of("vmax", _deviances(found), speed, asked.number)


def _fewest(trials: _Trials, like: DopplerSheets, name: str, numbers: Sequence[int]) -> Choice:
    """The smallest number of gases or sheets that is as good as the best, from fits as long as the rest agrees."""
    found = {float(n): trials.told(replace(like, **{name: n}), trials.max_iterations, name) for n in numbers}
    best = best_of(found)
    fewest = min([best, *(n for n in found if found[n].is_alike(found[best], 0.0, NOISE))])
    return Choice.of(name, _deviances(found), fewest, trials.number)


def _deviances(found: Mapping[float, Foretold]) -> dict[float, float]:
    """C-stats by value."""
    return {value: one.deviance for value, one in found.items()}
