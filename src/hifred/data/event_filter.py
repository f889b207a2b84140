"""Which events of a list are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from hifred.data.good_times import merge
from hifred.instruments.columns import EventColumns, KeepRule


@dataclass(frozen=True, eq=False)
class EventFilter:
    """A choice of events, on top of what an instrument's preset keeps.

    Parameters
    ----------
    keep : mapping of str to list or None
        By column (in any case), the values or inclusive ranges `[low, high]` of the events to keep. A rule given here
        takes the place of the preset's rule for that column, None drops it, and the preset's other rules hold. A column
        of bits counts as the number that they spell, so `{"status": [0]}` keeps the events with no bit set.
    time : array of shape (n, 2), optional
        Intervals (start, stop) in s on the clock of the file; they restrict the good times. Ends are included.
    energy : pair of float, optional
        Band (low, high) in keV: events with `low <= energy < high`, by the middle of their channel.
    gti : bool
        Whether events outside the file's good times are dropped.

    Raises
    ------
    ValueError
        If a rule, the intervals or the band make no sense.
    """

    keep: Mapping[str, KeepRule | None] = field(default_factory=dict)
    time: np.ndarray | None = None
    energy: tuple[float, float] | None = None
    gti: bool = True

    def __init__(self, keep=None, time=None, energy=None, gti=True):
        rules = {} if keep is None else dict(keep)
        for name, rule in rules.items():
            if rule is not None:
                require_rule(name, rule)
        object.__setattr__(self, "keep", rules)
        object.__setattr__(self, "time", None if time is None else _intervals(time))
        object.__setattr__(self, "energy", None if energy is None else _band(energy))
        object.__setattr__(self, "gti", bool(gti))

    def rules(self, columns: EventColumns) -> dict[str, KeepRule]:
        """The rules in force for files with these columns: the preset's, replaced and extended by `keep`."""
        own = {name.upper(): (name, rule) for name, rule in self.keep.items()}
        both = {name.upper(): (name, rule) for name, rule in columns.keep.items()} | own
        return {name: rule for name, rule in both.values() if rule is not None}


def accepted(values: np.ndarray, rule: KeepRule) -> np.ndarray:
    """Whether each value is one of those, or in one of the inclusive ranges, of a rule."""
    good = np.zeros(len(values), bool)
    for item in rule:
        low, high = (item, item) if isinstance(item, int | float) else item
        good |= (values >= low) & (values <= high)
    return good


def require_rule(name: str, rule) -> None:
    """Check that a rule is a list of numbers and of ranges `[low, high]`.

    Raises
    ------
    ValueError
        If it is not.
    """
    expected = f"keep[{name!r}]: expected a list of values and of ranges [low, high]"
    if isinstance(rule, str | bytes | Real) or not hasattr(rule, "__len__") or len(rule) == 0:
        raise ValueError(f"{expected}, found {rule!r}")
    for item in rule:
        try:
            low, high = (float(value) for value in ([item, item] if isinstance(item, Real) else item))
        except (TypeError, ValueError):
            raise ValueError(f"{expected}, found {item!r}") from None
        if not low <= high:
            raise ValueError(f"{expected}, found {item!r}")


def _intervals(time) -> np.ndarray:
    try:
        intervals = np.array(time, float)
    except (TypeError, ValueError):
        raise ValueError(f"time: expected intervals (start, stop) in s, found {time!r}") from None
    if intervals.ndim != 2 or intervals.shape[1] != 2 or len(intervals) == 0:
        raise ValueError(f"time: expected intervals of shape (n, 2) in s, found an array of shape {intervals.shape}")
    wrong = np.flatnonzero(~(np.isfinite(intervals).all(axis=1) & (intervals[:, 0] < intervals[:, 1])))
    if wrong.size:
        raise ValueError(f"time: expected finite start < stop in s, found {intervals[wrong[0]].tolist()}")
    intervals = merge(intervals)
    intervals.flags.writeable = False
    return intervals


def _band(energy) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in energy)
    except (TypeError, ValueError):
        raise ValueError(f"energy: expected a band (low, high) in keV, found {energy!r}") from None
    if not low < high:
        raise ValueError(f"energy: expected low < high in keV, found {low} and {high}")
    return low, high
