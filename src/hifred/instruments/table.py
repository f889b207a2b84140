"""Binary tables of FITS files as plain arrays, variable-length columns included, without a Python object per row.

The layout (`TFORMn`, descriptors, heap, `THEAP`, `TSCALn`, `TZEROn`) is that of the FITS standard 4.0, section 7.3.
"""

import re
from dataclasses import dataclass

import numpy as np

from hifred.fitsio import FileError, FitsFile

_TYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_SIZES = {"X": 0, "A": 1, "C": 8, "M": 16, "P": 8, "Q": 16} | {code: np.dtype(t).itemsize for code, t in _TYPES.items()}


def within(counts: np.ndarray) -> np.ndarray:
    """`0, 1, ... counts[0] - 1, 0, 1, ... counts[1] - 1, ...`: the place of each element in its row."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - counts, counts)


@dataclass(frozen=True, eq=False)
class Ragged:
    """A column whose rows hold different numbers of values.

    Parameters
    ----------
    lengths : array (rows,)
        Number of values in each row.
    starts : array (rows,)
        Place of the first of them in `buffer`, bytes.
    buffer : memoryview
        The table, or its heap.
    dtype : dtype
        Type of the values as stored.
    scale, zero : float or int
        A value is `stored * scale + zero`.
    variable : bool
        The lengths are those of the rows, not of the column.
    """

    lengths: np.ndarray
    starts: np.ndarray
    buffer: memoryview
    dtype: np.dtype
    scale: float
    zero: float
    variable: bool

    def first(self, counts: np.ndarray) -> np.ndarray:
        """The first `counts[i]` values of every row `i`, one row after the other: int64 or float64."""
        size = self.dtype.itemsize
        # One entry per byte: values in a heap need not be aligned.
        places = max(len(self.buffer) - size + 1, 0)
        entries = np.ndarray((places,), self.dtype, self.buffer, strides=(1,))
        at = within(counts)
        at *= size
        at += np.repeat(self.starts, counts)
        values = entries[at]
        if self.dtype.kind == "f" or self.scale != 1 or self.zero != int(self.zero):
            values = values.astype(float)
            return values if (self.scale, self.zero) == (1, 0) else values * self.scale + self.zero
        return values.astype(np.int64) + int(self.zero)


class Table:
    """A binary table of a foreign file.

    Parameters
    ----------
    file : FitsFile
        A file opened as foreign.
    number : int
        Which HDU.

    Raises
    ------
    FileError
        If the HDU is no binary table, or its columns do not fit its rows.
    """

    def __init__(self, file: FitsFile, number: int):
        self.file, self.number = file, number
        self.header = file.hdus[number].header
        name = file.hdus[number].name or "PRIMARY"
        same = [i for i, hdu in enumerate(file.hdus) if hdu.name == file.hdus[number].name]
        self.where = f"{file.path}[{name}{f',{same.index(number) + 1}' if len(same) > 1 else ''}]"
        if self.header.get("XTENSION", "").strip() != "BINTABLE":
            raise FileError(f"{self.where}: expected a binary table, found {self.header.get('XTENSION', 'an image')!r}")
        self.rows = int(self.header["NAXIS2"])
        self._columns: dict[str, tuple[int, int, str, int]] = {}  # name: (number, repeat, type, offset in the row)
        self._layout()

    def _layout(self) -> None:
        offset = 0
        for n in range(1, int(self.header["TFIELDS"]) + 1):
            form = str(self.header.get(f"TFORM{n}", "")).strip()
            match = re.match(r"(\d*)([LXBIJKAEDCMPQ])(.*)$", form)
            if not match:
                raise FileError(f"{self.where}: expected the format of a column in TFORM{n}, found {form!r}")
            repeat, kind = int(match[1] or 1), match[2] + match[3][:1] if match[2] in "PQ" else match[2]
            name = str(self.header.get(f"TTYPE{n}", f"column {n}")).strip().upper()
            self._columns[name] = (n, repeat, kind, offset)
            offset += (repeat + 7) // 8 if kind == "X" else repeat * _SIZES[match[2]]
        self._row_size = int(self.header["NAXIS1"])
        if offset != self._row_size:
            raise FileError(
                f"{self.where}: expected rows of NAXIS1 = {self._row_size} bytes, found columns of {offset}"
            )

    def __contains__(self, column: str) -> bool:
        return column in self._columns

    def require(self, *columns: str) -> None:
        """Check that columns are there.

        Raises
        ------
        FileError
            Naming those that are not.
        """
        missing = [name for name in columns if name not in self]
        if missing:
            found = ", ".join(self._columns) or "none"
            raise FileError(f"{self.where}: expected the columns {', '.join(columns)}, found {found}")

    def of_column(self, keyword: str, column: str):
        """A keyword that describes a column, such as `TLMIN` or `TUNIT`; None where there is none."""
        value = self.header.get(f"{keyword}{self._columns[column][0]}") if column in self else None
        return value if value is None or isinstance(value, int | float) else str(value).strip()

    def limit(self, keyword: str, column: str) -> int | None:
        """`TLMIN` or `TLMAX` of a column of whole numbers.

        Raises
        ------
        FileError
            If it is no whole number.
        """
        value = self.of_column(keyword, column)
        try:
            if value is None or float(value) == int(float(value)):
                return None if value is None else int(float(value))
        except (ValueError, OverflowError):
            pass  # a text, inf or nan: told below
        raise FileError(f"{self.where}: expected a whole number in {keyword} of {column}, found {value!r}")

    def ragged(self, column: str) -> Ragged:
        """A column with any number of values per row, of fixed or variable length.

        Raises
        ------
        FileError
            If it holds no numbers, or a row points beyond the heap.
        """
        self.require(column)
        number, repeat, kind, offset = self._columns[column]
        code, variable = kind[-1], len(kind) > 1
        if code not in _TYPES or code == "L" or (variable and repeat > 1):
            form = self.header[f"TFORM{number}"]
            raise FileError(f"{self.where}: expected numbers in the column {column}, found the format {form!r}")
        dtype = np.dtype(_TYPES[code])
        buffer = self.file.raw(self.number)
        starts = np.arange(self.rows, dtype=np.int64) * self._row_size + offset
        lengths = np.full(self.rows, repeat, np.int64)
        if variable and repeat:
            pair = Ragged(lengths * 2, starts, buffer, np.dtype(">i8" if kind[0] == "Q" else ">i4"), 1.0, 0.0, False)
            lengths, starts = np.ascontiguousarray(pair.first(lengths * 2).reshape(-1, 2).T)
            buffer = buffer[int(self.header.get("THEAP", self.rows * self._row_size)) :]
            bad = (lengths < 0) | (starts < 0) | (starts + lengths * dtype.itemsize > len(buffer))
            if (bad & (lengths != 0)).any():
                row = int(np.argmax(bad & (lengths != 0)))
                raise FileError(
                    f"{self.where}: expected values of {column} inside the heap of {len(buffer)} bytes, "
                    f"found {lengths[row]} from byte {starts[row]} in row {row + 1}"
                )
        scale, zero = self.of_column("TSCAL", column), self.of_column("TZERO", column)
        scale, zero = 1.0 if scale is None else float(scale), 0.0 if zero is None else float(zero)
        return Ragged(lengths, starts, buffer, dtype, scale, zero, variable)

    def column(self, name: str) -> np.ndarray:
        """A column with one number per row, shape (rows,): int64 or float64.

        Raises
        ------
        FileError
            If the column is missing or its rows hold other than one number.
        """
        values = self.ragged(name)
        if (values.lengths != 1).any():
            row = int(np.argmax(values.lengths != 1))
            raise FileError(
                f"{self.where}: expected one number per row in the column {name}, "
                f"found {values.lengths[row]} in row {row + 1}"
            )
        return values.first(values.lengths)
