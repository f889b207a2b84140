"""Good-time intervals of an event list."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from hifred.data.event_table import Table
from hifred.data.hdu_scan import Extension
from hifred.fitsio import FileError

# Columns and keywords with the number of an event's CCD: Chandra ACIS, XMM-Newton EPIC.
CCD_NAMES = ("CCD_ID", "CCDNR")
# EPIC tables carry it in their names: STDGTI04, or GTI00401 after filtering (CCD 4).
EPIC_NAMES = (re.compile(r"STDGTI(\d\d)"), re.compile(r"GTI0(\d\d)\d\d"))


def merge(intervals: np.ndarray) -> np.ndarray:
    """Sorted, disjoint intervals (n, 2) with the same union; those without length are left out."""
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if len(intervals) == 0:
        return intervals
    reached = np.maximum.accumulate(intervals[:, 1])
    first = np.flatnonzero(np.concatenate([[True], intervals[1:, 0] > reached[:-1]]))
    return np.column_stack([intervals[first, 0], reached[np.append(first[1:] - 1, -1)]])


def intersect(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection of two sets of sorted, disjoint intervals."""
    edges = np.unique(np.concatenate([a.ravel(), b.ravel()]))
    middles = 0.5 * (edges[:-1] + edges[1:])
    keep = inside(a, middles) & inside(b, middles)
    return merge(np.column_stack([edges[:-1], edges[1:]])[keep])


def inside(intervals: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Whether each time is in one of sorted, disjoint intervals, ends included."""
    if len(intervals) == 0:
        return np.zeros(np.shape(time), bool)
    at = np.searchsorted(intervals[:, 0], time, side="right") - 1
    return (at >= 0) & (time <= intervals[at, 1])


def length(intervals: np.ndarray) -> float:
    """Total length of disjoint intervals, s."""
    return float(np.sum(intervals[:, 1] - intervals[:, 0]))


@dataclass(frozen=True, eq=False)
class GoodTimes:
    """When an instrument looked.

    Parameters
    ----------
    intervals : array of shape (n, 2)
        Start and stop in s, sorted and disjoint: the times when any CCD looked.
    by_ccd : dict of int to array of shape (n, 2)
        The intervals of each CCD, where the file tells them apart; else empty.
    ccd_column : str, optional
        Column with the CCD of an event, where `by_ccd` is not empty.

    Notes
    -----
    Extensions that name their CCD (keyword CCD_ID or CCDNR; for EPIC the number in the name) hold for its events;
    several for one CCD are intersected. All others hold for every event and are intersected with each other and with
    those of each CCD. Events of a CCD without intervals of its own have no good time where other CCDs have some.
    """

    intervals: np.ndarray
    by_ccd: dict[int, np.ndarray]
    ccd_column: str | None

    @classmethod
    def read(cls, table: Table, extensions: list[Extension], patterns: tuple[str, ...]) -> "GoodTimes":
        """Good times of a table of events.

        Parameters
        ----------
        table : Table
            The events; without `patterns` its keywords TSTART and TSTOP bound the one interval.
        extensions : list of Extension
            All HDUs of the file, those of good times with their data.
        patterns : tuple of str
            Patterns of the names of extensions with good times.

        Raises
        ------
        FileError
            If there are none, a row has no times or stops before it starts, or the total is zero.
        """
        if not patterns:
            return cls(_whole_observation(table), {}, None)
        found = [extension for extension in extensions[1:] if matches(extension.name, patterns)]
        if not found:
            names = ", ".join(extension.label for extension in extensions)
            raise FileError(f"{table.path}: expected an extension {' or '.join(patterns)}, found only {names}")
        ccd_column = next((name for name in CCD_NAMES if name in table), None)
        common: np.ndarray | None = None
        by_ccd: dict[int, np.ndarray] = {}
        for extension in found:
            intervals = _intervals(Table(table.path, extension))
            ccd = None if ccd_column is None else _ccd(extension, ccd_column)
            if ccd is None:
                common = intervals if common is None else intersect(common, intervals)
            else:
                by_ccd[ccd] = intersect(by_ccd[ccd], intervals) if ccd in by_ccd else intervals
        if common is not None:
            by_ccd = {ccd: intersect(common, intervals) for ccd, intervals in by_ccd.items()}
        if by_ccd:
            common = merge(np.concatenate(list(by_ccd.values())))
        if common is None or len(common) == 0:
            names = ", ".join(extension.label for extension in found)
            raise FileError(f"{table.path}[{names}]: expected some good time, found 0 s in total")
        return cls(common, by_ccd, ccd_column if by_ccd else None)

    def contain(self, time: np.ndarray, ccd: np.ndarray | None) -> np.ndarray:
        """Whether each event is in good time, of its own CCD where the file tells them apart."""
        if ccd is None:
            return inside(self.intervals, time)
        good = np.zeros(len(time), bool)
        for number, intervals in self.by_ccd.items():
            own = ccd == number
            good[own] = inside(intervals, time[own])
        return good


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name matches one of the patterns, in any case."""
    return any(fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


def _ccd(extension: Extension, ccd_column: str) -> int | None:
    for name in CCD_NAMES:
        if name in extension.keywords:
            return extension.keywords.whole(name)
    if ccd_column == "CCDNR":
        for pattern in EPIC_NAMES:
            if match := pattern.fullmatch(extension.name):
                return int(match[1])
    return None


def _intervals(table: Table) -> np.ndarray:
    (start, _), (stop, _) = next(table.pieces(["START", "STOP"], max(1, table.rows)))
    wrong = np.flatnonzero(~(np.isfinite(start) & np.isfinite(stop) & (start <= stop)))
    if wrong.size:
        row = wrong[0]
        raise FileError(
            f"{table.where}: expected START <= STOP, found START {start[row]} and STOP {stop[row]} in row {row + 1}"
        )
    return merge(np.column_stack([start, stop]).astype(float))


def _whole_observation(table: Table) -> np.ndarray:
    times = [table.keywords.number(keyword) for keyword in ("TSTART", "TSTOP")]
    if not times[0] < times[1]:
        raise FileError(f"{table.where}: expected TSTART < TSTOP, found {times[0]} and {times[1]}")
    return np.array([times])
