"""Counts spectra: the PHA files of OGIP memo OGIP/92-007, of type I (one spectrum in one table)."""

import os
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.fitsio import FileError
from hifred.instruments import ogip
from hifred.instruments.table import Table

# Fields of `Spectrum` that name another file, and their keywords.
_FILES = {"background_file": "BACKFILE", "response_file": "RESPFILE", "area_file": "ANCRFILE"}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Counts by channel.

    Parameters
    ----------
    counts : array (channels,)
        Counts; not whole where they come from rates or a model.
    exposure : float
        Exposure, s.
    first_channel : int
        Number of the first channel; channel `i` has the number `first_channel + i`.
    backscale, areascale : float or array (channels,)
        BACKSCAL and AREASCAL.
    quality : array of int (channels,), optional
        0 where the channel is good.
    grouping : array of int (channels,), optional
        1 where a group of channels begins, -1 where it goes on, 0 without groups.
    stat_error : array (channels,), optional
        Standard errors of the counts, where they are not those of a Poisson draw.
    background_file, response_file, area_file : str, optional
        Names of the files that go with the spectrum, as it states them.
    telescope, instrument : str
        TELESCOP and INSTRUME.
    detector_channels : tuple of two int, optional
        Numbers of the first and last channel of the detector (TLMIN, DETCHANS), of which those of the spectrum may be a
        part; by default they are all.
    net : bool
        The background has been subtracted, so that counts may be negative (HDUCLAS2 = 'NET').
    path : str, optional
        The file it was read from.

    Raises
    ------
    ValueError
        If shapes differ, the exposure is not positive, or counts are not finite or, unless `net`, negative.
    """

    counts: np.ndarray
    exposure: float
    first_channel: int = 0
    backscale: float | np.ndarray = 1.0
    areascale: float | np.ndarray = 1.0
    quality: np.ndarray | None = None
    grouping: np.ndarray | None = None
    stat_error: np.ndarray | None = None
    background_file: str | None = None
    response_file: str | None = None
    area_file: str | None = None
    telescope: str = ""
    instrument: str = ""
    detector_channels: tuple[int, int] | None = None
    net: bool = False
    path: str | None = None

    def __post_init__(self):
        counts = np.array(self.counts, dtype=float)
        if counts.ndim != 1 or counts.size == 0:
            raise ValueError(f"counts: expected a number per channel, found an array of shape {counts.shape}")
        object.__setattr__(self, "counts", counts)
        for name in ("quality", "grouping"):
            value = getattr(self, name)
            value = np.zeros(counts.size, int) if value is None else np.array(value, dtype=int)
            object.__setattr__(self, name, value)
        for name in ("quality", "grouping", "stat_error", "backscale", "areascale"):
            shape = np.shape(getattr(self, name))
            if getattr(self, name) is not None and shape not in (counts.shape, () if "scale" in name else counts.shape):
                raise ValueError(f"{name}: expected the shape {counts.shape} of the counts, found {shape}")
        numbers = self.channel_numbers
        first, last = self.all_channels
        if first > numbers[0] or last < numbers[-1]:
            raise ValueError(
                f"detector_channels: expected {numbers[0]} to {numbers[-1]} among them, found {first} to {last}"
            )
        if not (np.isfinite(self.exposure) and self.exposure > 0):
            raise ValueError(f"exposure (EXPOSURE): expected a positive number of seconds, found {self.exposure}")
        ogip.refuse_rows(~np.isfinite(counts), "counts (COUNTS): expected finite numbers", counts)
        if not self.net:
            ogip.check_not_negative("counts (COUNTS)", counts)
        if self.stat_error is not None:
            object.__setattr__(self, "stat_error", np.array(self.stat_error, dtype=float))
            ogip.check_not_negative("stat_error (STAT_ERR)", np.asarray(self.stat_error))

    @property
    def channel_numbers(self) -> np.ndarray:
        """Numbers of the channels, shape (channels,)."""
        return np.arange(self.first_channel, self.first_channel + self.counts.size)

    @property
    def all_channels(self) -> tuple[int, int]:
        """Numbers of the first and last channel of the detector."""
        numbers = self.channel_numbers
        return self.detector_channels or (int(numbers[0]), int(numbers[-1]))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Spectrum":
        """Read a PHA file.

        The channels are those from the first to the last that the file lists; one between them that it leaves out has
        no counts. Rates become counts with the exposure.

        Raises
        ------
        FileError
            If it is no whole PHA file of type I; the message names the extension, and the row or keyword.
        """
        file = fitsio.FitsFile(path, foreign=True)
        table = ogip.tables(file, ("SPECTRUM",), {"HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM"})[0]
        table.require("CHANNEL")
        rated = "COUNTS" not in table and "RATE" in table
        table.require("RATE" if rated else "COUNTS")
        if "SPEC_NUM" in table or (table.ragged("CHANNEL").lengths != 1).any():
            raise FileError(f"{table.where}: expected one spectrum in the table (type I), found several (type II)")
        place, detector = _places(table)
        exposure = ogip.number(table, "EXPOSURE")
        factor = exposure if rated else 1.0
        counts = _spread(table.column("RATE" if rated else "COUNTS").astype(float) * factor, place, 0.0)
        error = None
        if "STAT_ERR" in table and table.header.get("POISSERR", False) is not True:
            error = _spread(table.column("STAT_ERR").astype(float) * factor, place, 0.0)
        try:
            return cls(
                counts, exposure, int(table.column("CHANNEL")[0]),
                _scale(table, "BACKSCAL", place), _scale(table, "AREASCAL", place),
                _flags(table, "QUALITY", place), _flags(table, "GROUPING", place), error,
                **{field: ogip.text(table, keyword) or None for field, keyword in _FILES.items()},
                telescope=ogip.text(table, "TELESCOP"), instrument=ogip.text(table, "INSTRUME"),
                detector_channels=detector, net=ogip.text(table, "HDUCLAS2").upper() == "NET", path=str(path),
            )  # fmt: skip
        except ValueError as error:
            raise FileError(f"{table.where}: {error}") from error

    def write(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write a PHA file; what `read` gives back is equal to the last bit.

        Raises
        ------
        FileError
            If the file exists, or cannot be written there.
        """
        whole = np.array_equal(self.counts, np.round(self.counts)) and np.abs(self.counts).max() < 2**31
        form = "J" if whole else ogip.single(self.counts)
        columns = [
            fits.Column("CHANNEL", "J", array=self.channel_numbers),
            fits.Column("COUNTS", form, "count", array=self.counts),
        ]
        keywords = {}
        if self.stat_error is not None:
            columns.append(fits.Column("STAT_ERR", ogip.single(self.stat_error), "count", array=self.stat_error))
        for name, values in (("QUALITY", self.quality), ("GROUPING", self.grouping)):
            if np.any(values):
                columns.append(fits.Column(name, "I", array=values))
            else:
                keywords[name] = 0
        for name, value in (("BACKSCAL", self.backscale), ("AREASCAL", self.areascale)):
            if np.ndim(value):
                columns.append(fits.Column(name, ogip.single(np.asarray(value)), array=value))
            else:
                keywords[name] = float(value)
        hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
        first, last = self.all_channels
        ogip.header(
            hdu, self.telescope, self.instrument,
            HDUCLAS1="SPECTRUM", HDUCLAS2="NET" if self.net else "TOTAL", HDUCLAS3="COUNT", HDUVERS="1.2.1",
            EXPOSURE=float(self.exposure), POISSERR=self.stat_error is None, SYS_ERR=0, CORRFILE="none", CORRSCAL=1.0,
            CHANTYPE="PI", DETCHANS=last - first + 1, TLMIN1=first, TLMAX1=last,
            **keywords, **{keyword: getattr(self, field) or "none" for field, keyword in _FILES.items()},
        )  # fmt: skip
        fitsio.write(path, [fits.PrimaryHDU(), hdu], overwrite=overwrite)

    def describe(self) -> str:
        """One line: whose spectrum it is, its counts, exposure and channels."""
        files = ", ".join(f"{getattr(self, f)}" for f in _FILES if getattr(self, f))
        return (
            f"PHA of {self.telescope or 'an unnamed telescope'} {self.instrument}".rstrip()
            + f": {self.counts.sum():.10g} {'net ' if self.net else ''}counts in {self.exposure:.6g} s, "
            f"{self.counts.size} channels from {self.first_channel}" + (f"; goes with {files}" if files else "")
        )


def _places(table: Table) -> tuple[np.ndarray, tuple[int, int]]:
    """Where each row goes (its channel counted from the first one that is listed), and all channels of the detector."""
    number = table.column("CHANNEL")
    if number.size == 0:
        raise FileError(f"{table.where}: expected channels, found a table without rows")
    lowest = table.limit("TLMIN", "CHANNEL")
    lowest = min(1, int(number[0])) if lowest is None else lowest
    last = lowest + int(ogip.number(table, "DETCHANS", int(number[-1]) - lowest + 1)) - 1
    try:
        ogip.refuse_rows(np.r_[False, np.diff(number) <= 0], "CHANNEL: expected rising numbers", number)
        rule = f"CHANNEL: expected numbers from {lowest} (TLMIN) to {last} (DETCHANS)"
        ogip.refuse_rows((number < lowest) | (number > last), rule, number)
    except ValueError as error:
        raise FileError(f"{table.where}: {error}") from error
    return number - number[0], (lowest, last)


def _spread(values: np.ndarray, place: np.ndarray, missing: float) -> np.ndarray:
    out = np.full(place[-1] + 1, missing, dtype=values.dtype)
    out[place] = values
    return out


def _scale(table: Table, name: str, place: np.ndarray) -> float | np.ndarray:
    if name in table:
        return _spread(table.column(name).astype(float), place, 1.0)
    return ogip.number(table, name, 1.0)


def _flags(table: Table, name: str, place: np.ndarray) -> np.ndarray:
    if name in table:
        return _spread(table.column(name), place, 1.0 if name == "GROUPING" else 0.0)
    return np.full(place[-1] + 1, int(ogip.number(table, name, 0)))
