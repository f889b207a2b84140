"""What the OGIP files have in common: how to find their extensions, and the rules for their rows.

Sources: OGIP memos CAL/GEN/92-002 and 92-002a (ARF, RMF) and OGIP/92-007 (PHA). Messages count rows from 1, as FITS
viewers do.
"""

import numpy as np
from astropy.io import fits
from scipy.sparse import csr_array

from hifred.fitsio import FileError, FitsFile
from hifred.instruments.table import Table, within

# What 1 of these units is in ours. The memos prescribe keV and cm**2: a column without a unit is taken to have it.
ENERGY_UNITS = {"kev": 1.0, "ev": 1e-3, "mev": 1e3}
AREA_UNITS = {"cm2": 1.0, "m2": 1e4, "mm2": 1e-2}


def tables(file: FitsFile, names: tuple[str, ...], hduclas: dict[str, str]) -> list[Table]:
    """All tables that have one of the names, or the HDUCLASn keywords, in the order of the file.

    Raises
    ------
    FileError
        If there is none.
    """
    found = []
    for number, hdu in enumerate(file.hdus):
        stated = {key: str(hdu.header.get(key, "")).strip().upper() for key in hduclas}
        if hdu.name.upper() in names or stated == hduclas:
            found.append(Table(file, number))
    if not found:
        there = ", ".join(hdu.name or "PRIMARY" for hdu in file.hdus)
        raise FileError(f"{file.path}: expected an extension {' or '.join(names)}, found {there}")
    return found


def text(table: Table, keyword: str) -> str:
    """A keyword of the extension, or else of the primary header; empty where there is none or it says so."""
    value = str(table.header.get(keyword, table.file.hdus[0].header.get(keyword, ""))).strip()
    return "" if value.upper() in ("UNKNOWN", "NONE") else value


def number(table: Table, keyword: str, default: float | int | None = None) -> float:
    """A number of the header of the extension, or else of the primary header.

    Raises
    ------
    FileError
        If it is missing without a default, or is no number.
    """
    value = table.header.get(keyword, table.file.hdus[0].header.get(keyword, default))
    if value is None:
        raise FileError(f"{table.where}: expected the keyword {keyword}, found none")
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise FileError(f"{table.where}: expected a number in {keyword}, found {value!r}")
    return float(value)


def unit(table: Table, column: str, units: dict[str, float]) -> float:
    """Factor that takes a column to our unit.

    Raises
    ------
    FileError
        If the column's unit is not one of `units`.
    """
    stated = table.of_column("TUNIT", column) or ""
    plain = str(stated).lower().replace("**", "").replace("^", "").replace(" ", "")
    if plain and plain not in units:
        raise FileError(f"{table.where}: expected {column} in one of {', '.join(units)}, found the unit {stated!r}")
    return units.get(plain, 1.0)


def bins(table: Table, low: str, high: str) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper energies of the rows, keV."""
    table.require(low, high)
    return tuple(
        values if factor == 1 else values * factor
        for values, factor in ((table.column(c).astype(float), unit(table, c, ENERGY_UNITS)) for c in (low, high))
    )  # pyright: ignore[reportReturnType]  # the comprehension has two items


def refuse_rows(bad: np.ndarray, rule: str, *values: np.ndarray) -> None:
    """Raise a ValueError that says `rule` and the values of the first bad row, counted from 1."""
    if bad.any():
        row = int(np.argmax(bad))
        found = " and ".join(f"{value[row]:.9g}" for value in values)
        raise ValueError(f"{rule}, found {found} in row {row + 1} of {bad.size}")


def check_bins(name: str, low: np.ndarray, high: np.ndarray, *, positive: bool) -> None:
    """Check that bins are finite, wider than nothing, in rising order and do not overlap.

    Overlaps of single-precision rounding pass: see `joined`.

    Raises
    ------
    ValueError
        Naming the row.
    """
    if low.ndim != 1 or low.shape != high.shape or low.size == 0:
        raise ValueError(f"{name}: expected as many lower as upper energies, found {low.shape} and {high.shape}")
    refuse_rows(~(np.isfinite(low) & np.isfinite(high)), f"{name}: expected finite energies", low, high)
    if positive:
        refuse_rows(low < 0, f"{name}: expected energies of at least 0 keV", low)
    refuse_rows(low >= high, f"{name}: expected the lower energy below the upper", low, high)
    over = np.r_[False, low[1:] - high[:-1] < -_rounding(low, high)]
    before = np.r_[np.nan, high[:-1]]
    refuse_rows(over, f"{name}: expected each bin to start where the one before ends or above", before, low)


def check_not_negative(name: str, values: np.ndarray) -> None:
    """Check that there is one finite number of at least 0 per row.

    Raises
    ------
    ValueError
        Naming the row.
    """
    refuse_rows(~(np.isfinite(values) & (values >= 0)), f"{name}: expected finite numbers of at least 0", values)


def _rounding(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Gap between neighbouring bins that is no more than rounding: 1% of the narrower, or 4 single-precision steps."""
    width = high - low
    steps = np.spacing(np.abs(high[:-1]).astype(np.float32)).astype(float)
    return np.maximum(0.01 * np.minimum(width[1:], width[:-1]), 4 * steps)


def joined(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins whose gaps and overlaps of mere rounding are closed; those that touch stay as they are."""
    touching = np.abs(low[1:] - high[:-1]) <= _rounding(low, high)
    edge = np.where(low[1:] == high[:-1], low[1:], 0.5 * (low[1:] + high[:-1]))
    return (
        np.r_[low[0], np.where(touching, edge, low[1:])],
        np.r_[np.where(touching, edge, high[:-1]), high[-1]],
    )


def shares(low: np.ndarray, high: np.ndarray, new_low: np.ndarray, new_high: np.ndarray) -> csr_array:
    """Fraction of each new bin that each old bin covers, shape (new, old).

    Applied to a curve that is constant in each old bin it gives its mean over each new bin, with 0 where there is no
    old bin: `S[j, i] = |new_j and old_i| / |new_j|`.
    """
    low, high = joined(low, high)
    first = np.searchsorted(high, new_low, side="right")
    counts = np.maximum(np.searchsorted(low, new_high, side="left") - first, 0)
    old = np.repeat(first, counts) + within(counts)
    new = np.repeat(np.arange(new_low.size), counts)
    overlap = np.minimum(high[old], new_high[new]) - np.maximum(low[old], new_low[new])
    weights = overlap / (new_high - new_low)[new]
    return csr_array((weights, old, np.r_[0, np.cumsum(counts)]), shape=(new_low.size, low.size))


def checked_edges(name: str, edges) -> np.ndarray:
    """Edges of bins as an array of floats.

    Raises
    ------
    ValueError
        If they are not at least two finite, strictly increasing numbers.
    """
    edges = np.asarray(edges, dtype=float)
    if edges.ndim != 1 or edges.size < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise ValueError(f"{name}: expected at least two finite, strictly increasing numbers, found {edges}")
    return edges


def single(values: np.ndarray) -> str:
    """Format of a column that keeps floats exactly: `E` where single precision holds them, else `D`."""
    return "E" if np.array_equal(values.astype(np.float32).astype(float), values) else "D"


def header(hdu: fits.BinTableHDU, telescope: str, instrument: str, **keywords) -> None:
    """Keywords that every OGIP extension has, and others of its own."""
    common = {"TELESCOP": telescope or "unknown", "INSTRUME": instrument or "unknown", "FILTER": "none"}
    for key, value in (common | {"HDUCLASS": "OGIP"} | keywords).items():
        hdu.header[key] = value
