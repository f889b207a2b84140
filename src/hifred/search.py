"""How values of one setting are tried, one after the other, and which of them is taken."""

from collections.abc import Callable, Mapping

import numpy as np

from hifred.choice import NOISE
from hifred.priors.doppler_sheets import MOST_STEPS
from hifred.split import Foretold

# Strengths that are tried lie a factor of 3 apart, and at most so many of them.
FACTOR, MOST = 3.0, 7
# Largest speeds that are tried, km/s, with short fits of so many steps: from above until one is worse than a standard
# error, 0 in any case, and the mean of the best one and its better neighbour. So early the order is not settled: fast
# ones learn slowly, and slow ones may be ahead, or fall faster. So not only the best ones go on to `LAST` steps, but
# also that mean, the fastest that is as good as the best, and 0; where the fastest of all is still the best, one three
# times as fast is tried as well. There speeds are compared by where their C-stats lead (`Foretold.led_on`; from the
# short fits that misleads). Of those that are alike in the end, the smallest above 0 is taken: that nothing moves has
# to foretell the rest best.
SPEEDS, SCREENING = (0.0, 600.0, 1800.0, 5400.0), 40
FINALISTS, LAST = 2, 80
# Values whose C-stats differ by less than one standard error are alike. Of such speeds the smallest is taken (the rule
# of Breiman et al. 1984 for trees).
ALIKE = 1.0
# By fewer standard errors it is open whether gas moves.
OPEN = 2.0


def race(
    screen: Callable[[float], Foretold], lead: Callable[[float], Foretold], step: float
) -> tuple[dict[float, Foretold], float]:
    """Choose the largest speed: short fits of several, then longer ones of some.

    Slower ones are tried until one is clearly worse, and 0. The speed is the smallest of those in the last round that
    are as good as its best; 0 has to be the best itself.

    Parameters
    ----------
    screen : callable
        From a speed, km/s, to how well a short fit foretells the rest.
    lead : callable
        From a speed to where a longer fit leads.
    step : float
        Step of the velocities, km/s: no speed is below it, or above `MOST_STEPS` of them; 0 for any.

    Returns
    -------
    last : dict
        Where each speed of the last round leads, 0 among them. Short fits are not to be held against these.
    speed : float
        The one to take.
    """
    found: dict[float, Foretold] = {}
    most = MOST_STEPS * step if step > 0 else np.inf
    for speed in reversed(SPEEDS):
        if step <= speed <= most and speed > 0:
            one = found[speed] = screen(speed)
            if np.isfinite(one.deviance) and not _alike(found, speed):
                break
    found[0.0] = screen(0.0)
    best = best_of(found)
    speeds = sorted(found)
    place = speeds.index(best)
    near = {speed: found[speed] for speed in speeds[max(0, place - 1) : place + 2] if speed != best}
    slow, fast = sorted((best, best_of(near) if near else best))
    # A whole number, for people.
    between = float(np.round(np.sqrt(slow * fast) if slow > 0 else fast / np.sqrt(FACTOR), -1))
    also = [0.0]
    if between >= step:
        found[between] = screen(between)
        also.append(between)
    also.append(max((speed for speed in found if _alike(found, speed)), default=0.0))
    order = sorted(found, key=lambda speed: (found[speed].deviance, speed))
    last = {speed: lead(speed) for speed in dict.fromkeys([*order[:FINALISTS], *also])}
    if best_of(last) == SPEEDS[-1] and FACTOR * SPEEDS[-1] <= most:
        last[FACTOR * SPEEDS[-1]] = lead(FACTOR * SPEEDS[-1])
    return last, min([best_of(last), *(speed for speed in last if speed > 0 and _alike(last, speed))])


def _alike(found: Mapping[float, Foretold], value: float) -> bool:
    """Whether a value is as good as the best one."""
    return found[value].is_alike(found[best_of(found)], ALIKE, NOISE)


def moving_in_doubt(found: Mapping[float, Foretold], speed: float) -> float:
    """The speed that was taken, or the best above 0 if that is 0, where it is open whether it or 0 is right; else 0."""
    others = {value: one for value, one in found.items() if value > 0}
    if not others:
        return 0.0
    moving = speed or best_of(others)
    still, fast = found[0.0], found[moving]
    return moving if still.is_alike(fast, OPEN, NOISE) and fast.is_alike(still, OPEN, NOISE) else 0.0


def best_of(found: Mapping[float, Foretold]) -> float:
    """The value of the lowest C-stat, the smallest of several."""
    return min(sorted(found), key=lambda value: found[value].deviance)


def walk(first: float, attempt: Callable[[float], Foretold], surely: float) -> tuple[dict[float, Foretold], float]:
    """Choose a value in steps of 3: on in one direction as long as the C-stat falls.

    Parameters
    ----------
    first : float
        Where to start.
    attempt : callable
        From a value to how well a fit with it foretells the rest.
    surely : float
        Each step has to lower the C-stat by so many standard errors, and by `NOISE`.

    Returns
    -------
    found : dict
        What was tried, by value.
    value : float
        The one to take.
    """
    found, place = _climb(lambda rung: attempt(_value_at(first, rung)), surely)
    return {_value_at(first, rung): one for rung, one in found.items()}, _value_at(first, place)


def lowest(first: float, attempt: Callable[[float], Foretold]) -> tuple[dict[float, Foretold], float]:
    """Choose a value of the lowest C-stat: in steps of 3, as long as each lowers it by `NOISE`, then half a step away.

    Parameters
    ----------
    first : float
        Where to start. Below the lowest the curve may be flat: start above it.
    attempt : callable
        From a value to how well a fit with it foretells the rest.

    Returns
    -------
    found : dict
        What was tried, by value.
    value : float
        The one to take.
    """
    found, place = _climb(lambda rung: attempt(_value_at(first, rung)), 0.0)
    for rung in (place - 1, place + 1):
        found[rung] = attempt(_value_at(first, rung))
    place = min((place, place - 1, place + 1), key=lambda rung: found[rung].deviance)
    return {_value_at(first, rung): one for rung, one in found.items()}, _value_at(first, place)


def _value_at(first: float, rung: int) -> float:
    """The value so many halves of steps of 3 above the first one."""
    return first * FACTOR ** (rung / 2)


def _climb(attempt: Callable[[int], Foretold], surely: float) -> tuple[dict[int, Foretold], int]:
    """What was tried, by rung, and the rung that steps of two, downwards and upwards in turn, lead to.

    Each step lowers the C-stat by `NOISE`, and by so many standard errors. Larger values are tried only where the next
    smaller one is worse: the curve has one valley.
    """
    found, place = {0: attempt(0)}, 0
    for way in (-2, 2):
        while len(found) < MOST:
            following = found[place + way] = attempt(place + way)
            if not following.falls_below(found[place], surely, NOISE):
                break
            place += way
        if place != 0 or found[way].deviance <= found[0].deviance < np.inf:
            break
    return found, place
