"""Settings of a prior from the data alone: fit a part of the photons, ask the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from hifred.assembly import require_one_grid
from hifred.choice import NOISE, Choice, Tuning
from hifred.data.dataset import Dataset
from hifred.factorisation import ONE_SPECTRUM, single_gas
from hifred.folds import Folds
from hifred.grid import CubeGrid
from hifred.priors import DopplerSheets, Prior
from hifred.priors.doppler_sheets import MOST_STEPS, SHEETS, TEMPLATES
from hifred.solvers import Stopping
from hifred.split import BRANCH, TRUNK, Foretold

# Strengths that are tried lie a factor of 3 apart, and at most so many of them; those of light may lie closer.
FACTOR, MOST = 3.0, 7
# Fits of a part of the photons end at this many times the tolerance of the last fit: their deviances differ by more.
LOOSER = 3.0
# Strengths of a factorisation are told apart after so many steps, the first of them in common; the best one goes on to
# its end.
TRIAL = TRUNK + BRANCH
# Where strengths of a factorisation start.
START = 1.5
# Largest speeds that are tried, km/s, with short fits of so many steps: from above until one is worse than a standard
# error, 0 in any case, and the mean of the best one and its better neighbour. Then so many of the best go on to `LAST`
# steps; where the last is still the best, one three times as large is tried as well. Large speeds learn slowly, and
# with many photons a small one may be ahead by then: speeds are compared by where their C-stats lead
# (`Foretold.led_on`). Of those that are alike in the end, the smallest above 0 is taken: that nothing moves has to
# foretell the rest best.
SPEEDS, SCREENING = (0.0, 600.0, 1800.0, 5400.0), 40
FINALISTS, LAST = 2, 80
# Numbers of gases and of sheets that are tried where they are to be chosen.
NUMBERS = {"templates": (3, 5, 10, 20), "sheets": (1, 2, 3, 5)}
# Strengths of the penalty on light that are tried start here (in counts). At first the sky is one spectrum, which
# takes a moment. Then, with all gases, smaller ones: the largest that was as good as the best is where they start.
LIGHT = 0.01
# Where one split leaves several light strengths alike, as with few photons, fits of one spectrum, which are short, are
# made of so many: skies were up to 1.8 dB better for it. So are those of the chosen speed and of 0, where one split
# leaves it open by less than so many standard errors whether gas moves: to be wrong costs 1 dB or more.
MORE_FOLDS, OPEN = 3, 2.0
# With all gases, the C-stat has to fall by so many standard errors for another light strength, and for another strength
# than `START`: falls within the noise of the rest led to noisy skies.
SURE = 3.0
# Fits whose C-stats differ by less than one standard error are alike: of skies that foretell the rest as well, the
# simplest is taken (the rule of Breiman et al. 1984 for trees), that of the largest light strength or of the smallest
# speed. Steps of 3 in light strength are made in so many parts.
ALIKE, PARTS = 1.0, 2
# At most so many parts above the best: with few photons, skies that differ a lot are alike.
SIMPLER = 2


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

    found, strength = _walk(first, attempt, SURE if factors else 0.0)
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

    `light_strength` first, with one spectrum for the whole sky, the largest that is as good as the best, at most three
    times it (where that leaves others alike, again with `MORE_FOLDS` splits of the photons); then `vmax`, with short
    fits, the smallest of the last ones that leads as far as the best (0 only where it leads farthest; where that is
    open, as many splits are asked, and 0 is taken if it is alike); then the numbers of templates and sheets, with fits
    as long as the rest agrees, the smallest whose C-stat is within `NOISE` of the best; then smaller values of
    `light_strength`, with all gases.

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
    choices, grid = [], require_one_grid(datasets)
    prior = without_choice(prior, grid)
    folds = Folds.of(datasets) if folds is None else folds
    number = len(folds.splits)

    def fit(name: str, like: DopplerSheets, steps: int, value: float | int, folds: Folds = folds) -> Foretold:
        return folds.foretold(replace(like, **{name: value}), Stopping(min(steps, max_iterations), 0.0, at_noise=False))

    def told(name: str, trial: Callable[[float], Foretold], value: float | int, how: str = "") -> Foretold:
        found = trial(value)
        if say is not None:
            say(f"{name} {value:.3g}: held-out C-stat {how}{found.deviance:.8g}")
        return found

    def attempt(name: str, like: DopplerSheets, steps: int, value: float | int) -> Foretold:
        return told(name, partial(fit, name, like, steps), value)

    def more() -> tuple[Folds, str]:
        several = folds.at_least(MORE_FOLDS)
        return several, f"of {len(several.splits)} splits "

    light = None
    if prior.light_strength is None:

        def smoothest(folds: Folds, how: str = "") -> tuple[dict[float, Foretold], float]:
            one = partial(fit, "light_strength", single_gas(LIGHT), ONE_SPECTRUM, folds=folds)
            return _smoothest(LIGHT, partial(told, "light_strength", one, how=how))

        found, light = smoothest(folds)
        asked = number
        if number < MORE_FOLDS and any(
            one.is_alike(found[light], ALIKE, NOISE) for value, one in found.items() if value != light
        ):
            several, how = more()
            asked = len(several.splits)
            found, light = smoothest(several, how)
        choices.append(Choice.of("light_strength", _deviances(found), light, asked))
        prior = replace(prior, light_strength=light)
    # While others are chosen, settings have values that serve most data.
    usual = {"strength": START, "templates": TEMPLATES, "sheets": SHEETS}

    def like() -> DopplerSheets:
        return replace(prior, **{name: usual[name] for name in prior.unsettled if name in usual})

    if prior.vmax is None:

        def attempt_speed(steps: int, speed: float, folds: Folds = folds, how: str = "") -> Foretold:
            steps = min(steps, max_iterations)

            def lead(speed: float) -> Foretold:
                # The longer fit first: the shorter one is then part of it.
                whole, before = fit("vmax", like(), steps, speed, folds), max(3 * steps // 4, 1)
                return whole.led_on(fit("vmax", like(), before, speed, folds), before / steps)

            return told("vmax", lead, speed, f"{how}of {steps} steps leads to ")

        found, speed = _race(attempt_speed, prior.velocity_step or 0.0)
        asked = number
        if number < MORE_FOLDS and (moving := _in_doubt(found, speed)):
            several, how = more()
            asked = len(several.splits)
            still, fast = (attempt_speed(LAST, value, several, how) for value in (0.0, moving))
            speed = moving if fast.falls_below(still, ALIKE, NOISE) else 0.0
        choices.append(Choice.of("vmax", _deviances(found), speed, asked))
        prior = without_choice(replace(prior, vmax=speed), grid)
    for name, numbers in NUMBERS.items():
        if getattr(prior, name) is None:
            found = {float(n): attempt(name, like(), max_iterations, n) for n in numbers}
            best = found[_best(found)]
            fewest = min([_best(found), *(n for n in found if found[n].is_alike(best, 0.0, NOISE))])
            choices.append(Choice.of(name, _deviances(found), fewest, number))
            prior = replace(prior, **{name: int(fewest)})
    if light is not None:
        # On the same rungs: where they start, those fits have begun.
        with_all = partial(attempt, "light_strength", like(), TRIAL)
        found, smaller = _walk(LIGHT, with_all, SURE, (-PARTS,), _number(LIGHT, light))
        if smaller != light:
            choices[0] = Choice.of("light_strength", _deviances(found), smaller, number)
            prior = replace(prior, light_strength=smaller)
    return prior, tuple(choices)


def _race(attempt: Callable[[int, float], Foretold], step: float) -> tuple[dict[float, Foretold], float]:
    """Where each speed that was tried leads, the last ones from more steps, and the speed.

    None is below a step, or above `MOST_STEPS` of them.

    Slower ones are tried until one is clearly worse, and 0. The speed is the smallest of those in the last round that
    are as good as its best; 0 has to be the best itself.
    """
    found: dict[float, Foretold] = {}
    most = MOST_STEPS * step if step > 0 else np.inf
    for speed in reversed(SPEEDS):
        if step <= speed <= most and speed > 0:
            one = found[speed] = attempt(SCREENING, speed)
            if np.isfinite(one.deviance) and not one.is_alike(found[_best(found)], ALIKE, NOISE):
                break
    found[0.0] = attempt(SCREENING, 0.0)
    best = _best(found)
    speeds = sorted(found)
    place = speeds.index(best)
    near = {speed: found[speed] for speed in speeds[max(0, place - 1) : place + 2] if speed != best}
    slow, fast = sorted((best, _best(near) if near else best))
    # A whole number, for people.
    between = float(np.round(np.sqrt(slow * fast) if slow > 0 else fast / np.sqrt(FACTOR), -1))
    if between >= step:
        found[between] = attempt(SCREENING, between)
    order = sorted(found, key=lambda speed: (found[speed].deviance, speed))
    last = {speed: attempt(LAST, speed) for speed in order[:FINALISTS]}
    if _best(last) == SPEEDS[-1] and FACTOR * SPEEDS[-1] <= most:
        last[FACTOR * SPEEDS[-1]] = attempt(LAST, FACTOR * SPEEDS[-1])
    alike = [speed for speed in last if speed > 0 and last[speed].is_alike(last[_best(last)], ALIKE, NOISE)]
    return found | last, min([_best(last), *alike])


def _in_doubt(found: Mapping[float, Foretold], speed: float) -> float:
    """The speed that was taken, or the best above 0 if that is 0, where it is open whether it or 0 is right; else 0."""
    others = {value: one for value, one in found.items() if value > 0}
    if not others:
        return 0.0
    moving = speed or _best(others)
    still, fast = found[0.0], found[moving]
    return moving if still.is_alike(fast, OPEN, NOISE) and fast.is_alike(still, OPEN, NOISE) else 0.0


def _best(found: Mapping[float, Foretold]) -> float:
    """The value of the lowest C-stat, the smallest of several."""
    return min(sorted(found), key=lambda value: found[value].deviance)


def _rung(first: float, number: int) -> float:
    """The value so many parts of steps of 3 above the first one."""
    return first * FACTOR ** (number / PARTS)


def _number(first: float, value: float) -> int:
    """How many parts of steps of 3 a value lies above the first one."""
    return round(PARTS * np.log(value / first) / np.log(FACTOR))


def _walk(
    first: float, attempt: Callable[[float], Foretold], surely: float, strides: Sequence[int] = (-PARTS, PARTS),
    start: int = 0,
) -> tuple[dict[float, Foretold], float]:  # fmt: skip
    """What was tried, by value, and the value that steps of 3 from the first one, or another rung, lead to."""
    found, place = _climb(lambda rung: attempt(_rung(first, rung)), surely, start, strides)
    return {_rung(first, rung): one for rung, one in found.items()}, _rung(first, place)


def _climb(
    attempt: Callable[[int], Foretold], surely: float, start: int, strides: Sequence[int]
) -> tuple[dict[int, Foretold], int]:
    """What was tried, by rung, and the rung that strides, downwards and upwards in turn, lead to.

    Each stride lowers the C-stat by `NOISE`, and by so many standard errors. Larger values are tried only where the
    next smaller one is worse: the curve has one valley.
    """
    found, place = {start: attempt(start)}, start
    for way in strides:
        while len(found) < MOST:
            following = found[place + way] = attempt(place + way)
            if not following.falls_below(found[place], surely, NOISE):
                break
            place += way
        if place != start or found[start + way].deviance <= found[start].deviance < np.inf:
            break
    return found, place


def _smoothest(first: float, attempt: Callable[[float], Foretold]) -> tuple[dict[float, Foretold], float]:
    """What was tried, and the largest value that is as good as the best one (`ALIKE`), at most three times it.

    It is found in steps of 3, then in `PARTS` of them.
    """
    tried: dict[int, Foretold] = {}

    def at(rung: int) -> Foretold:
        if rung not in tried:
            tried[rung] = attempt(_rung(first, rung))
        return tried[rung]

    _, place = _climb(at, 0.0, 0, (-PARTS, PARTS))
    _, place = _climb(at, 0.0, place, (-1, 1))
    best = at(place)
    for rung in range(place + 1, place + 1 + SIMPLER):
        if not at(rung).is_alike(best, ALIKE, NOISE):
            break
        place, best = rung, min(best, at(rung), key=lambda one: one.deviance)
    return {_rung(first, rung): one for rung, one in tried.items()}, _rung(first, place)


def _deviances(found: Mapping[float, Foretold]) -> dict[float, float]:
    """C-stats by value."""
    return {value: one.deviance for value, one in found.items()}
