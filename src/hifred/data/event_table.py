"""Rows of FITS tables in pieces: plain files by seeking, gzip by streaming, never more than a piece in memory."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifred.data.hdu_scan import Extension, opened, skip
from hifred.fitsio import FileError

# Bytes of rows read at once, so that wide tables need no more memory than narrow ones.
READ_BYTES = 1 << 23
# Bytes and numpy type of one element of a TFORM (FITS 4.0, table 18); None where the values are of no use here.
FORMS = {
    "L": (1, "u1"), "X": (0, "u1"), "B": (1, "u1"), "I": (2, ">i2"), "J": (4, ">i4"), "K": (8, ">i8"), "A": (1, None),
    "E": (4, ">f4"), "D": (8, ">f8"), "C": (8, None), "M": (16, None), "P": (8, None), "Q": (16, None),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table: number (from 1), numpy type and offset in the row, and how stored values are meant."""

    name: str
    number: int
    kind: str
    repeat: int
    offset: int
    scale: float
    zero: float
    null: int | None

    def values(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Stored values as int64 or float64, and where they are valid (None: everywhere)."""
        if self.kind == "X":  # the first bit is the highest; the last byte is padded
            total = np.zeros(len(raw), np.int64)
            for byte in raw.reshape(len(raw), -1).T:
                total = (total << 8) | byte
            return total >> (-self.repeat % 8), None
        if self.kind == "L":
            return (raw == ord("T")).astype(np.int64), None
        if self.kind in "ED":
            values = raw.astype(np.float64) * self.scale + self.zero
            return values, np.isfinite(values)
        valid = None if self.null is None else raw != self.null
        if self.scale == 1 and self.zero.is_integer() and abs(self.zero) < 2**62:
            return raw.astype(np.int64) + int(self.zero), valid
        return raw * self.scale + self.zero, valid


class Table:
    """Columns of one binary table, read in pieces.

    Parameters
    ----------
    path : path
        The file.
    extension : Extension
        The table, from `scan`.

    Raises
    ------
    FileError
        If it is no binary table, is compressed, or its columns do not make up its rows.
    """

    def __init__(self, path: str | os.PathLike, extension: Extension):
        self.path, self.extension, self.keywords = Path(path), extension, extension.keywords
        self.where = f"{self.path}[{extension.label}]"
        keys = self.keywords
        kind = keys.text("XTENSION", "IMAGE")
        if kind != "BINTABLE" or keys.get("ZTABLE", False):
            raise FileError(f"{self.where}: expected an uncompressed binary table, found XTENSION {kind}")
        if keys.whole("BITPIX") != 8 or keys.whole("GCOUNT", 1) != 1:
            found = f"BITPIX {keys.get('BITPIX')} and GCOUNT {keys.get('GCOUNT')}"
            raise FileError(f"{self.where}: expected BITPIX = 8 and GCOUNT = 1, found {found}")
        self.rows, self.width = keys.whole("NAXIS2", least=0), keys.whole("NAXIS1", least=0)
        self._columns: dict[str, Column] = {}
        offset = 0
        for number in range(1, keys.whole("TFIELDS", least=0) + 1):
            column = self._read_column(number, offset)
            self._columns.setdefault(column.name.upper(), column)
            offset += -(-column.repeat // 8) if column.kind == "X" else column.repeat * FORMS[column.kind][0]
        if offset != self.width:
            raise FileError(f"{self.where}: expected NAXIS1 = {offset} (the width of its columns), found {self.width}")

    def _read_column(self, number: int, offset: int) -> Column:
        keys = self.keywords
        form = keys.text(f"TFORM{number}")
        match = re.match(r"(\d*)([LXBIJKAEDCMPQ])", form)
        if match is None:
            raise FileError(f"{self.where}: expected the format of column {number} in TFORM{number}, found {form!r}")
        null = keys.whole(f"TNULL{number}") if f"TNULL{number}" in keys and match[2] in "BIJK" else None
        scale, zero = keys.number(f"TSCAL{number}", 1), keys.number(f"TZERO{number}", 0)
        name = keys.text(f"TTYPE{number}", "")
        return Column(name, number, match[2], int(match[1] or 1), offset, scale, zero, null)

    def __contains__(self, name: str) -> bool:
        return name.upper() in self._columns

    def column(self, name: str) -> Column:
        """A column by name, in any case.

        Raises
        ------
        FileError
            If there is none, or it does not hold one number per row.
        """
        if name not in self:
            names = ", ".join(column.name for column in self._columns.values())
            raise FileError(f"{self.where}: expected a column {name}, found only {names}")
        column = self._columns[name.upper()]
        limit = 63 if column.kind == "X" else 1
        if FORMS[column.kind][1] is None or not 1 <= column.repeat <= limit:
            form = self.keywords.text(f"TFORM{column.number}")
            raise FileError(
                f"{self.where}: expected one number per row in the column {column.name}, found TFORM {form}"
            )
        return column

    def pieces(self, names: Sequence[str], size: int) -> Iterator[list[tuple[np.ndarray, np.ndarray | None]]]:
        """Values of some columns and where they are valid (None: everywhere), at most `size` rows at a time.

        Raises
        ------
        FileError
            If a column is missing, or the file ends before the table.
        """
        columns = [self.column(name) for name in names]
        dtype = self._row_type(columns)
        step = max(1, min(size, READ_BYTES // max(1, self.width)))
        if self.extension.data is not None:
            yield self._decode(columns, np.frombuffer(self.extension.data, dtype, self.rows))
            return
        with opened(self.path) as (stream, total):
            skip(stream, self.extension.offset, total)
            for first in range(0, self.rows, step):
                count = min(step, self.rows - first)
                content = stream.read(count * self.width)
                if len(content) < count * self.width:
                    at = first + len(content) // self.width
                    raise FileError(f"{self.where}: expected {self.rows} rows, found {at}: the file is truncated")
                yield self._decode(columns, np.frombuffer(content, dtype, count))

    def _row_type(self, columns: list[Column]) -> np.dtype:
        formats = []
        for column in columns:
            element = FORMS[column.kind][1]
            formats.append((element, (-(-column.repeat // 8),)) if column.kind == "X" else element)
        return np.dtype(
            {
                "names": [f"c{n}" for n in range(len(columns))],
                "formats": formats,
                "offsets": [column.offset for column in columns],
                "itemsize": self.width,
            }
        )

    @staticmethod
    def _decode(columns: list[Column], rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        return [column.values(rows[f"c{n}"]) for n, column in enumerate(columns)]
