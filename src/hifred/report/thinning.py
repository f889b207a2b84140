"""How settings were chosen from the data: what a fused cube's provenance says of `hifred.tuning`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hifred.choice import FLOORS
from hifred.report.frame import with_power

NAMES = {
    "strength": ("strength of the prior", ""),
    "light_strength": ("strength for smooth light", ""),
    "vmax": ("largest speed", "km/s"),
    "templates": ("number of gases", ""),
    "sheets": ("number of sheets", ""),
}
"""Settings in words, and their units."""

# So many labels fit below a curve.
ROOM = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """How well fits with each value of a setting foretold the photons that were kept back.

    Attributes
    ----------
    setting : str
        What it is called in the prior.
    values : array of shape (n,)
        Values that were tried, increasing.
    above : array of shape (n,)
        Held-out C-stat of each, less the smallest.
    chosen : int
        Place of the value that was taken.
    folds : int or None
        Splits of the photons that it took, where these are not those of the strength.
    """

    setting: str
    values: np.ndarray
    above: np.ndarray
    chosen: int
    folds: int | None = None

    @property
    def axis_label(self) -> str:
        """Label of the axis of the values."""
        name, unit = NAMES.get(self.setting, (self.setting, ""))
        scale = "log scale" if self.values[0] > 0 else "evenly spaced"
        return f"{name} ({unit}, {scale})" if unit else f"{name} ({scale})"

    @property
    def places(self) -> np.ndarray:
        """Where the values stand on the axis, shape (n,): at their logarithm, or evenly where one is not positive."""
        return np.log10(self.values) if self.values[0] > 0 else np.arange(self.values.size, dtype=float)

    @property
    def labels(self) -> list[str]:
        """The values as text; nothing where it would run into another one."""
        texts = [_digits(value) for value in self.values]
        places, apart = self.places, np.ptp(self.places) / ROOM
        kept = [self.chosen]
        for number in range(places.size):
            if all(abs(places[number] - places[other]) >= apart for other in kept):
                kept.append(number)
        return [text if number in kept else "" for number, text in enumerate(texts)]

    @property
    def marks(self) -> list[str]:
        """What to write at the points, shape (n,); nothing at the chosen one."""
        texts = [f"+{above:.2g}" if above < 10 else f"+{above:.0f}" for above in self.above]
        return [text if place != self.chosen else "" for place, text in enumerate(texts)]

    @property
    def rising(self) -> np.ndarray:
        """Whether the curve rises to the right of each point, shape (n,): there is more room to its left."""
        return np.append(np.diff(self.above) > 0, True)

    @property
    def words(self) -> str:
        """What was taken, and where a better value may lie: beyond an end towards which the curve falls."""
        name, unit = NAMES.get(self.setting, (self.setting, ""))
        taken = f"{name} {_digits(self.values[self.chosen])} {unit}".rstrip()
        remarks = [] if self.folds is None else [f"by {self.folds} splits of the photons"]
        if self.above[self.chosen] > 0:
            remarks.append("no other was clearly better")
        elif self.chosen == self.values.size - 1:
            remarks.append("the largest that was tried: a better one may lie above")
        elif self.chosen == 0 and self.values[0] > FLOORS.get(self.setting, 0.0):
            remarks.append("the smallest that was tried: a better one may lie below")
        return f"{taken} ({'; '.join(remarks)})" if remarks else taken


@dataclass(frozen=True, eq=False)
class Thinning:
    """What count thinning found.

    Attributes
    ----------
    curves : tuple of Curve
        One for each setting, the strength first.
    fraction : float or None
        Part of the photons that was fitted, where that is known.
    folds : int
        How often, with other photons each time.
    iterations : int or None
        Iterations of the fit with the best strength, where that is known.
    """

    curves: tuple[Curve, ...]
    fraction: float | None = None
    folds: int = 1
    iterations: int | None = None


def thinning_of(provenance: Mapping) -> Thinning | None:
    """What a provenance says of the choice of settings; None where it says nothing that can be read."""
    entry = provenance.get("tuning")
    if not isinstance(entry, Mapping):
        return None
    strength = _curve("strength", entry.get("strengths"), entry.get("deviances"), entry.get("strength"))
    curves = [strength]
    folds = _folds(entry.get("folds"))
    settings = entry.get("settings")
    for one in settings if isinstance(settings, list) else []:
        if isinstance(one, Mapping):
            own = _folds(one.get("folds"))
            curves.append(
                _curve(
                    one.get("name"), one.get("values"), one.get("deviances"), one.get("chosen"),
                    own if own not in (1, folds) else None,
                )
            )  # fmt: skip
    found = tuple(curve for curve in curves if curve is not None)
    if not found:
        return None
    fraction = _number(entry.get("fraction"))
    return Thinning(
        found, fraction if 0 < fraction < 1 else None, folds, None if strength is None else _iterations(entry)
    )


def _folds(found: Any) -> int:
    """A number of splits, or 1 where it is none."""
    folds = _number(found)
    return int(folds) if 1 < folds < np.inf else 1


def _curve(setting: Any, values: Any, deviances: Any, chosen: Any, folds: int | None = None) -> Curve | None:
    """A curve, or None where it is not one; values whose fit failed are left out."""
    x, y, best = _numbers(values), _numbers(deviances), _number(chosen)
    if not (isinstance(setting, str) and setting.isidentifier()) or x is None or y is None or x.shape != y.shape:
        return None
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    order = np.argsort(x)
    x, y = x[order], y[order]
    if np.unique(x).size < 2 or best not in x:
        return None
    return Curve(setting, x, y - y.min(), int(np.argmax(x == best)), folds)


def _iterations(entry: Mapping) -> int | None:
    """Iterations of the fit with the chosen strength."""
    strengths, iterations = _numbers(entry.get("strengths")), _numbers(entry.get("iterations"))
    if strengths is None or iterations is None or strengths.shape != iterations.shape:
        return None
    number = float(iterations[strengths == _number(entry.get("strength"))][0])
    return int(number) if np.isfinite(number) else None


def _digits(value: float) -> str:
    """Three digits, with a power of ten only where it is far from 1."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        power = int(np.floor(np.log10(abs(value))))
        return f"{value / 10.0**power:.2g}×{with_power(power, '').strip()}"
    return f"{float(f'{value:.3g}'):g}"


def _number(found: Any) -> float:
    """A number, or nan where it is none."""
    numbers = _numbers([found])
    return float("nan") if numbers is None else float(numbers[0])


def _numbers(found: Any) -> np.ndarray | None:
    """A list of numbers as an array, or None where it is none."""
    if not isinstance(found, list | tuple):
        return None
    try:
        numbers = np.array(found, dtype=float)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers.ndim == 1 else None
