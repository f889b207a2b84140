"""Event lists of X-ray telescopes, read in pieces."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from hifred.data.event_filter import EventFilter, accepted
from hifred.data.event_table import Table
from hifred.data.event_wcs import column_wcs
from hifred.data.good_times import GoodTimes, inside, intersect, length, matches
from hifred.data.hdu_scan import scan
from hifred.fitsio import FileError
from hifred.grid import whole_numbers
from hifred.instruments.columns import EventColumns

# In this order: the first that a header has. LIVETIME and EXPOSURE leave out dead time, ONTIME does not.
EXPOSURE_KEYWORDS = ("EXPOSURE", "LIVETIME", "ONTIME")
# XRISM; XMM-Newton; Chandra.
ROLL_KEYWORDS = ("PA_NOM", "PA_PNT", "ROLL_NOM", "ROLL_PNT")


@dataclass(frozen=True, eq=False)
class Events:
    """Some events of a list; each array has one entry per event.

    Parameters
    ----------
    time : array of shape (n,)
        Arrival times in s.
    channel : array of shape (n,)
        Pulse-invariant channels (PI).
    energy : array of shape (n,)
        Energies in the middle of the channels, keV.
    x, y : array of shape (n,)
        Sky positions as 1-based FITS pixel coordinates of `EventFile.wcs`.
    pixel : array of shape (n,), optional
        Numbers of the detector pixels, for instruments that have them.
    """

    time: np.ndarray
    channel: np.ndarray
    energy: np.ndarray
    x: np.ndarray
    y: np.ndarray
    pixel: np.ndarray | None

    def __len__(self) -> int:
        return len(self.time)


class EventFile:
    """An event list on disk.

    Only headers and good times are read at construction (of a gzip file, all of the stream goes by once). The events
    come in pieces, so memory does not depend on their number.

    Parameters
    ----------
    path : path
        FITS file, plain or gzip.
    columns : EventColumns
        Where the file keeps what.

    Attributes
    ----------
    header : astropy.io.fits.Header
        Header of the table of events.
    rows : int
        Rows of the table, before any choice of events.
    wcs : astropy.wcs.WCS
        Celestial coordinates of the positions.
    good_times : array of shape (n, 2)
        Intervals in s, sorted and disjoint, when any CCD looked; see `GoodTimes` for several CCDs.
    exposure : float
        s; from the keyword EXPOSURE, else LIVETIME, else ONTIME, else the sum of the good times.
    telescope, instrume : str
        TELESCOP and INSTRUME, of the table or else the primary header; empty where neither has them.
    roll : float or None
        Roll angle of the spacecraft in degrees as the header has it (PA_NOM, PA_PNT, ROLL_NOM or ROLL_PNT).

    Raises
    ------
    FileError
        If the file is missing, cut short, no FITS, or lacks a column, a keyword or good time.
    """

    def __init__(self, path: str | os.PathLike, columns: EventColumns):
        self.path, self.columns = Path(path), columns
        extensions = scan(self.path, lambda name: matches(name, columns.gti))
        named = [extension for extension in extensions[1:] if extension.name == columns.extension.upper()]
        if not named:
            names = ", ".join(extension.label for extension in extensions)
            raise FileError(f"{self.path}: expected an extension {columns.extension}, found only {names}")
        self._table = Table(self.path, named[0])
        self.header, self.rows = self._table.keywords.header, self._table.rows
        for name in self._names():
            self._table.column(name)
        self.wcs: WCS = column_wcs(self._table, columns.x, columns.y)
        self._good = GoodTimes.read(self._table, extensions, columns.gti)
        self.good_times = self._good.intervals
        self.exposure = self._exposure()
        keys, primary = self._table.keywords, extensions[0].keywords
        self.telescope, self.instrume = (keys.text(k, primary.text(k, "")) for k in ("TELESCOP", "INSTRUME"))
        self.roll = next((keys.number(key) for key in ROLL_KEYWORDS if key in keys), None)

    def _names(self) -> list[str]:
        c = self.columns
        return [c.time, c.channel, c.x, c.y] + ([] if c.pixel is None else [c.pixel])

    def _exposure(self) -> float:
        for keyword in EXPOSURE_KEYWORDS:
            if keyword in self._table.keywords:
                value = self._table.keywords.number(keyword)
                if value <= 0:
                    raise FileError(f"{self._table.where}: expected a positive number of s in {keyword}, found {value}")
                return value
        return length(self.good_times)

    def exposure_within(self, filter: EventFilter | None) -> float:
        """Exposure in s for the events that a filter keeps: it shrinks with the good time within `filter.time`.

        Raises
        ------
        ValueError
            If no good time is left.
        """
        if filter is None or filter.time is None:
            return self.exposure
        kept = length(intersect(self.good_times, filter.time))
        if kept == 0:
            begin, end = self.good_times[0, 0], self.good_times[-1, 1]
            raise ValueError(
                f"time: expected intervals within the good times of {self.path} ({begin} to {end} s), found "
                f"{filter.time[0, 0]} to {filter.time[-1, 1]} s"
            )
        return self.exposure * kept / length(self.good_times)

    def pieces(self, size: int = 1_000_000, filter: EventFilter | None = None) -> Iterator[Events]:
        """Events in the order of the file, those of at most `size` rows at a time.

        Parameters
        ----------
        size : int
            Most rows read at once. Fewer are where the rows are wide, so that a piece stays small.
        filter : EventFilter, optional
            Which events; without it, those that the preset's rules and the good times keep.

        Raises
        ------
        FileError
            If a column of a rule is missing, the file ends early, or an event that is kept has no time.

        Notes
        -----
        Events without a position or an energy (TNULL, or not finite) are left out.
        """
        (size,) = whole_numbers("size", [size])
        if size < 1:
            raise ValueError(f"size: expected a positive number of rows, found {size}")
        chosen = EventFilter() if filter is None else filter
        rules = chosen.rules(self.columns)
        names = self._names()
        ccd = self._good.ccd_column if chosen.gti else None
        wanted = [*names, *(name for name in rules if name not in names)]
        if ccd is not None and ccd not in wanted:
            wanted.append(ccd)
        for name in wanted:
            self._table.column(name)
        return self._pieces(size, chosen, wanted, rules, ccd)

    def _pieces(self, size, chosen, wanted, rules, ccd) -> Iterator[Events]:
        c = self.columns
        first = 0
        for read in self._table.pieces(wanted, size):
            values = {name: column for name, (column, _) in zip(wanted, read, strict=True)}
            valid = {name: flags for name, (_, flags) in zip(wanted, read, strict=True)}
            time = values[c.time]
            good = np.ones(len(time), bool)
            for name in [*self._names()[1:], *rules]:
                if valid[name] is not None:
                    good &= valid[name]
            for name, rule in rules.items():
                good &= accepted(values[name], rule)
            self._require_times(good, valid[c.time], first)
            if chosen.gti:
                good &= self._good.contain(time, None if ccd is None else values[ccd])
            if chosen.time is not None:
                good &= inside(chosen.time, time)
            first += len(time)
            keep = np.flatnonzero(good)
            channel = values[c.channel][keep]
            energy = np.asarray(c.energy(channel), float)
            if chosen.energy is not None:
                low, high = chosen.energy
                band = (energy >= low) & (energy < high)
                keep, channel, energy = keep[band], channel[band], energy[band]
            pixel = None if c.pixel is None else values[c.pixel][keep]
            x, y = (values[name][keep].astype(float, copy=False) for name in (c.x, c.y))
            yield Events(time[keep].astype(float, copy=False), channel, energy, x, y, pixel)

    def _require_times(self, good: np.ndarray, valid: np.ndarray | None, first: int) -> None:
        if valid is not None and (lost := np.flatnonzero(good & ~valid)).size:
            raise FileError(
                f"{self._table.where}: expected a time in s in the column {self.columns.time}, found none in row "
                f"{first + lost[0] + 1}"
            )

    def describe(self) -> str:
        """What is in the file, in one line; the events are read once."""
        kept, low, high = 0, np.inf, -np.inf
        for piece in self.pieces():
            if len(piece):
                kept += len(piece)
                low, high = min(low, piece.energy.min()), max(high, piece.energy.max())
        x, y = (self.wcs.wcs.crpix[n] - 1 for n in (0, 1))
        center = self.wcs.pixel_to_world(x, y).icrs
        band = f", {low:.4g} to {high:.4g} keV" if kept else ""
        return (
            f"event list of {self.telescope or 'an unnamed telescope'} {self.instrume}, {kept} of {self.rows} events "
            f"kept{band}, exposure {self.exposure:.6g} s, good time {length(self.good_times):.6g} s in "
            f"{len(self.good_times)} intervals, sky centre RA {center.ra.deg:.4f} Dec {center.dec.deg:+.4f} (ICRS)"
        )
