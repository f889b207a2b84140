"""Response matrix files: groups of channels to sparse matrices and back.

A row of a MATRIX extension lists, for one bin of true energy, N_GRP groups of neighbouring channels: the number of the
first one (F_CHAN), how many (N_CHAN), and the probabilities of all of them one after the other (MATRIX). Several MATRIX
extensions in one file add up. Source: OGIP memo CAL/GEN/92-002, section 3.
"""

import os
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from scipy.sparse import csc_array, csr_array

from hifred import fitsio
from hifred.fitsio import FileError
from hifred.instruments import ogip
from hifred.instruments.rmf import Redistribution
from hifred.instruments.table import Table, within

# The sum of parts with coarse rows is stored on fine rows; more elements than this (4 GB) are refused.
MOST_ELEMENTS = 350_000_000


@dataclass(frozen=True, eq=False)
class _Channels:
    """An EBOUNDS extension: the channels in its rows."""

    table: Table
    first: int
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class _Part:
    """A MATRIX extension on its own energies and channels."""

    table: Table
    channels: _Channels
    low: np.ndarray
    high: np.ndarray
    matrix: csr_array  # (energy, channel)


def read_rmf(path: str | os.PathLike) -> Redistribution:
    """Read an RMF: the sum of its MATRIX extensions.

    The first MATRIX gives the energies and the first EBOUNDS the channels. A row of another part that spans several of
    these energies applies to all of them, and a channel of its own that spans several of these channels is shared out
    evenly in energy.

    Notes
    -----
    F_CHAN counts from its TLMIN; without one, from the first channel of EBOUNDS. As many EBOUNDS as MATRIX extensions
    belong together in the order of the file; a single EBOUNDS serves all.

    Raises
    ------
    FileError
        If it is no whole RMF; the message names the extension, and the row or keyword.
    """
    file = fitsio.FitsFile(path, foreign=True)
    tables = ogip.tables(file, ("MATRIX", "SPECRESP MATRIX"), {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX"})
    bounds = [
        _read_channels(t) for t in ogip.tables(file, ("EBOUNDS",), {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS"})
    ]
    if len(bounds) not in (1, len(tables)):
        raise FileError(f"{path}: expected 1 or {len(tables)} extensions EBOUNDS, found {len(bounds)}")
    folded = [_includes_area(table) for table in tables]
    if len(set(folded)) > 1:
        raise FileError(f"{path}: expected the area in all MATRIX extensions or in none (HDUCLAS3), found a mixture")
    parts = [_read_part(t, bounds[min(i, len(bounds) - 1)]) for i, t in enumerate(tables)]
    first, channels = parts[0], bounds[0]
    thresholds = [ogip.number(table, "LO_THRES", 0.0) for table in tables]
    total, spread = first.matrix, False
    for part in parts[1:]:
        addition, shared = _on_first(part, first)
        total, spread = total + addition, spread or shared
    del parts
    matrix = csr_array(total.T)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    try:
        return Redistribution(
            first.low, first.high, matrix, channels.low, channels.high, channels.first,
            # Probabilities that were shared out may be as small as they like.
            0.0 if spread else min(thresholds), folded[0],
            ogip.text(first.table, "TELESCOP"), ogip.text(first.table, "INSTRUME"), str(path),
        )  # fmt: skip
    except ValueError as error:
        raise FileError(f"{first.table.where}: {error}") from error


def _includes_area(table: Table) -> bool:
    """HDUCLAS3 says so; files without it tell by the name of the extension."""
    stated = str(table.header.get("HDUCLAS3", "")).strip().upper()
    if stated not in ("", "FULL", "REDIST", "DETECTOR"):
        raise FileError(f"{table.where}: expected HDUCLAS3 = 'FULL', 'REDIST' or 'DETECTOR', found {stated!r}")
    return stated == "FULL" or (not stated and str(table.header.get("EXTNAME", "")).strip().upper() != "MATRIX")


def _read_channels(table: Table) -> _Channels:
    table.require("CHANNEL", "E_MIN", "E_MAX")
    number = table.column("CHANNEL")
    low, high = ogip.bins(table, "E_MIN", "E_MAX")
    try:
        ogip.check_bins("E_MIN, E_MAX", low, high, positive=False)
        ogip.refuse_rows(np.diff(number, prepend=number[0] - 1) != 1, "CHANNEL: expected one more in each row", number)
    except ValueError as error:
        raise FileError(f"{table.where}: {error}") from error
    lowest = table.limit("TLMIN", "CHANNEL")
    whole = int(ogip.number(table, "DETCHANS", number.size)) == number.size
    if lowest is not None and (number[0] < lowest or (whole and number[0] != lowest)):
        raise FileError(
            f"{table.where}: expected channels from {lowest} on (TLMIN of CHANNEL), found {number[0]} first"
        )
    return _Channels(table, int(number[0]), low, high)


def _read_part(table: Table, channels: _Channels) -> _Part:
    table.require("ENERG_LO", "ENERG_HI", "N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
    low, high = ogip.bins(table, "ENERG_LO", "ENERG_HI")
    try:
        ogip.check_bins("ENERG_LO, ENERG_HI", low, high, positive=True)
        starts, widths, groups = _read_groups(table, channels)
        lengths = _sum_by_row(widths, groups)
        elements = table.ragged("MATRIX")
        # Some writers put a placeholder where there is nothing to store; a fixed-length column holds the longest row.
        surplus = (elements.lengths > lengths) & (lengths > 0) & elements.variable
        bad = (elements.lengths < lengths) | surplus
        ogip.refuse_rows(bad, "MATRIX: expected as many elements as N_CHAN adds up to", lengths, elements.lengths)
    except ValueError as error:
        raise FileError(f"{table.where}: {error}") from error
    stated = ogip.number(table, "NUMELT", 0)
    if stated not in (0, lengths.sum()):
        raise FileError(
            f"{table.where}: expected NUMELT = {stated:.0f} elements, found {lengths.sum()} (sum of N_CHAN)"
        )
    values = elements.first(lengths).astype(float, copy=False)
    rows = np.r_[0, np.cumsum(lengths)]
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        row = int(np.searchsorted(rows, at, side="right"))
        raise FileError(
            f"{table.where}: MATRIX: expected finite numbers of at least 0, "
            f"found {values[at]:.9g} in row {row} of {table.rows}"
        )
    indices = within(widths)
    indices += np.repeat(starts, widths)
    size = channels.low.size
    if starts.size and (starts.min() < 0 or indices.max() >= size):
        # EBOUNDS lists some of the channels only: what goes to the others is not in the data.
        inside = (indices >= 0) & (indices < size)
        rows = np.r_[0, np.cumsum(inside)][rows]
        values, indices = values[inside], indices[inside]
    matrix = csr_array((values, indices.astype(np.int32), rows), shape=(table.rows, size))
    return _Part(table, channels, low, high, matrix)


def _read_groups(table: Table, channels: _Channels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First channel of each group as a row of EBOUNDS, its width, and the number of groups in each row."""
    groups = table.column("N_GRP")
    ogip.refuse_rows(groups < 0, "N_GRP: expected a number of groups of at least 0", groups)
    first, width = table.ragged("F_CHAN"), table.ragged("N_CHAN")
    for name, column in (("F_CHAN", first), ("N_CHAN", width)):
        ogip.refuse_rows(column.lengths < groups, f"{name}: expected N_GRP values", groups, column.lengths)
    starts, widths = first.first(groups), width.first(groups)
    row = np.repeat(np.arange(table.rows), groups)

    size = channels.low.size
    detector = int(ogip.number(table, "DETCHANS", size))
    whole = detector == size
    lowest = table.limit("TLMIN", "F_CHAN")
    if lowest is None:
        lowest = channels.first if whole else channels.table.limit("TLMIN", "CHANNEL")
        lowest = min(1, channels.first) if lowest is None else lowest
    stated = channels.table.limit("TLMIN", "CHANNEL")
    if stated not in (None, lowest):
        raise ValueError(
            f"F_CHAN: expected TLMIN = {stated} as that of CHANNEL in {channels.table.where}, found {lowest}"
        )
    _refuse_groups(widths < 0, "N_CHAN: expected a width of at least 0", widths, row, table.rows)
    used = widths > 0
    _refuse_groups(
        used & (starts < lowest), f"F_CHAN: expected a channel from {lowest} on (TLMIN)", starts, row, table.rows
    )
    last = lowest + detector - 1
    _refuse_groups(
        used & (starts + widths - 1 > last),
        f"F_CHAN, N_CHAN: expected groups up to channel {last} (DETCHANS = {detector})",
        starts + widths - 1, row, table.rows,
    )  # fmt: skip
    # With as many rows as channels, EBOUNDS and F_CHAN may count from different numbers: their order decides.
    starts = starts - (lowest if whole else channels.first)
    return np.where(used, starts, 0), widths, groups


def _refuse_groups(bad: np.ndarray, rule: str, values: np.ndarray, row: np.ndarray, rows: int) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise ValueError(f"{rule}, found {values[at]} in row {row[at] + 1} of {rows}")


def _sum_by_row(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of runs of `counts[i]` values, of which some may be empty."""
    ends = np.cumsum(counts)
    sums = np.r_[0, np.cumsum(values)]
    return sums[ends] - sums[ends - counts]


def _on_first(part: _Part, first: _Part) -> tuple[csr_array, bool]:
    """A part as (energy, channel) of the first one, and whether its channels had to be shared out."""
    rows = ogip.shares(part.low, part.high, first.low, first.high)
    matrix, spread = part.matrix, False
    own, wanted = part.channels, first.channels
    if not (np.array_equal(own.low, wanted.low) and np.array_equal(own.high, wanted.high)):
        # |new and old| / |old| : the transposed relation of the means, which divide by the new width.
        across, spread = csr_array(ogip.shares(wanted.low, wanted.high, own.low, own.high)), True
        matrix = csr_array(matrix @ across)
    repeats = np.bincount(rows.indices, minlength=part.low.size)
    stored = int(repeats @ np.diff(matrix.indptr).astype(np.int64))
    if stored > MOST_ELEMENTS:
        raise FileError(
            f"{part.table.where}: expected at most {MOST_ELEMENTS:,} elements on the energies of the first MATRIX, "
            f"found {stored:,}"
        )
    return csr_array(rows @ matrix), spread


def write_rmf(redistribution: Redistribution, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write an RMF with one MATRIX and one EBOUNDS extension.

    Runs of neighbouring elements that are positive and not below the threshold become groups.

    Raises
    ------
    FileError
        If the file exists, or cannot be written there.
    """
    path = fitsio.require_writable(path, overwrite=overwrite)
    hdus = [fits.PrimaryHDU(), _matrix_hdu(redistribution), _channels_hdu(redistribution)]
    fitsio.write(path, hdus, overwrite=overwrite)


def _matrix_hdu(r: Redistribution) -> fits.BinTableHDU:
    columns = csc_array(r.matrix)
    columns.sum_duplicates()
    keep = (columns.data >= r.threshold) & (columns.data > 0)
    energies = r.energy_lo.size
    row = np.repeat(np.arange(energies), np.diff(columns.indptr))[keep]
    channel, values = columns.indices[keep].astype(np.int64), columns.data[keep]
    begins = np.flatnonzero(np.r_[True, (np.diff(row) != 0) | (np.diff(channel) != 1)][: row.size])
    widths = np.diff(np.r_[begins, row.size])
    groups = np.bincount(row[begins], minlength=energies)
    lengths = np.bincount(row, minlength=energies)
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", ogip.single(r.energy_lo), "keV", array=r.energy_lo),
            fits.Column("ENERG_HI", ogip.single(r.energy_hi), "keV", array=r.energy_hi),
            fits.Column("N_GRP", "J", array=groups),
            fits.Column("F_CHAN", "PJ()", array=_pieces((channel[begins] + r.first_channel).astype(np.int32), groups)),
            fits.Column("N_CHAN", "PJ()", array=_pieces(widths.astype(np.int32), groups)),
            _elements(values, lengths, "cm**2" if r.includes_area else None),
        ],
        name="SPECRESP MATRIX" if r.includes_area else "MATRIX",
    )
    ogip.header(
        hdu, r.telescope, r.instrument,
        HDUCLAS1="RESPONSE", HDUCLAS2="RSP_MATRIX", HDUCLAS3="FULL" if r.includes_area else "REDIST",
        HDUVERS="1.3.0", HDUVERS1="1.0.0", HDUVERS2="1.3.0", RMFVERSN="1992a", CHANTYPE="PI", DETCHANS=r.channels,
        LO_THRES=r.threshold, NUMGRP=int(widths.size), NUMELT=int(values.size),
        TLMIN4=r.first_channel, TLMAX4=r.first_channel + r.channels - 1,
    )  # fmt: skip
    return hdu


def _elements(values: np.ndarray, lengths: np.ndarray, unit: str | None) -> fits.Column:
    form = ogip.single(values)
    stored = values.astype(np.float32 if form == "E" else float)
    return fits.Column("MATRIX", f"P{form}()", unit, array=_pieces(stored, lengths))


def _pieces(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Array of arrays, the shape in which astropy takes a variable-length column."""
    out = np.empty(lengths.size, dtype=object)
    for i, end in enumerate(np.cumsum(lengths)):
        out[i] = values[end - lengths[i] : end]
    return out


def _channels_hdu(r: Redistribution) -> fits.BinTableHDU:
    numbers = np.arange(r.first_channel, r.first_channel + r.channels)
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", array=numbers),
            fits.Column("E_MIN", ogip.single(r.channel_lo), "keV", array=r.channel_lo),
            fits.Column("E_MAX", ogip.single(r.channel_hi), "keV", array=r.channel_hi),
        ],
        name="EBOUNDS",
    )
    ogip.header(
        hdu, r.telescope, r.instrument,
        HDUCLAS1="RESPONSE", HDUCLAS2="EBOUNDS", HDUVERS="1.2.0", HDUVERS1="1.0.0", HDUVERS2="1.2.0", RMFVERSN="1992a",
        CHANTYPE="PI", DETCHANS=r.channels, TLMIN1=int(numbers[0]), TLMAX1=int(numbers[-1]),
    )  # fmt: skip
    return hdu
