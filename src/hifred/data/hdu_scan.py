"""What lies where in a FITS file, plain or gzip, without reading its data."""

import gzip
import math
import os
import warnings
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from hifred.fitsio import CONTENTS, FileError

BLOCK = 2880
CARD = 80


@dataclass(frozen=True, eq=False)
class Keywords:
    """Values of header keywords, checked for what they must be.

    Parameters
    ----------
    where : str
        File and extension, for messages.
    header : astropy.io.fits.Header
        The header.
    """

    where: str
    header: fits.Header

    def __contains__(self, key: str) -> bool:
        return key in self.header

    def get(self, key: str, default=None):
        """A value as it is, or the default where there is none.

        Raises
        ------
        FileError
            Here and below: if the value is missing without a default, unreadable, or of another kind.
        """
        try:
            value = self.header.get(key, default)
        except VerifyError:
            raise FileError(f"{self.where}: expected a value of the keyword {key}, found an unreadable card") from None
        return default if isinstance(value, fits.card.Undefined) else value

    def text(self, key: str, default: str | None = None) -> str:
        """A value as text, without blanks at the ends."""
        value = self.get(key, default)
        if value is None:
            raise FileError(f"{self.where}: expected the keyword {key}, found none")
        return str(value).strip()

    def number(self, key: str, default: float | int | None = None) -> float:
        """A finite number."""
        self.text(key, None if default is None else str(default))
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise FileError(f"{self.where}: expected a number in the keyword {key}, found {value!r}")
        return float(value)

    def whole(self, key: str, default: int | None = None, least: int | None = None) -> int:
        """A whole number, not below `least`."""
        self.text(key, None if default is None else str(default))
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            bound = "" if least is None else f" from {least} on"
            raise FileError(f"{self.where}: expected a whole number{bound} in the keyword {key}, found {value!r}")
        return value


@dataclass(frozen=True, eq=False)
class Extension:
    """One HDU as it lies in a file: name, version, keywords, offset of its data, and the data if kept."""

    name: str
    version: int
    keywords: Keywords
    offset: int
    data: bytes | None

    @property
    def label(self) -> str:
        """Name for messages; the version tells extensions of one name apart."""
        return self.name if self.version == 1 else f"{self.name},{self.version}"


@contextmanager
def opened(path: Path):
    """The bytes of a file, decompressed if need be, and its size (None where only reading tells)."""
    if not path.is_file():
        found = "found a directory" if path.is_dir() else "no such file"
        raise FileError(f"{path}: expected a FITS file, {found}")
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream, None
            else:
                yield raw, os.fstat(raw.fileno()).st_size
    except (OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path}: expected a complete FITS file, found: {reason}") from error


def skip(stream, count: int, size: int | None) -> int:
    """Go on by `count` bytes of what `opened` gave; how many of them there are."""
    if size is not None:
        there = max(0, min(count, size - stream.tell()))
        stream.seek(there, os.SEEK_CUR)
        return there
    left = count
    while left and (chunk := stream.read(min(left, 1 << 20))):
        left -= len(chunk)
    return count - left


def scan(path: str | os.PathLike, keep: Callable[[str], bool]) -> list[Extension]:
    """Go through the HDUs of a file once, without its data except those of small extensions.

    Parameters
    ----------
    path : path
        FITS file, plain or gzip. A gzip file is decompressed to its end, which also checks its checksum.
    keep : callable
        Whether the data of the extension of this name are kept in memory.

    Returns
    -------
    list of Extension
        In the order of the file; the first is the primary HDU, named PRIMARY.

    Raises
    ------
    FileError
        If the file is missing, not FITS, or cut short anywhere.
    """
    path = Path(path)
    found: list[Extension] = []
    with opened(path) as (stream, size):
        while (header := _read_header(stream, path, len(found))) is not None:
            number = Keywords(f"{path}[HDU {len(found)}]", header)
            name = number.text("EXTNAME", "").upper() if found else "PRIMARY"
            keywords = Keywords(f"{path}[{name or f'HDU {len(found)}'}]", header)
            count = _data_bytes(keywords)
            offset = stream.tell()
            padded = -(-count // BLOCK) * BLOCK
            data = stream.read(count) if found and keep(name) else None
            read = len(data) if data is not None else 0
            there = read + skip(stream, padded - read, size)
            if there < padded:
                raise FileError(f"{keywords.where}: expected {padded} bytes of data, found {there}: it is truncated")
            found.append(Extension(name, keywords.whole("EXTVER", 1), keywords, offset, data))
        while size is None and stream.read(1 << 20):
            continue  # to the checksum at the end of the stream
    listed = [name for name in found[0].keywords.text(CONTENTS, "").split(",") if name]
    missing = [name for name in listed if name not in {extension.name for extension in found}]
    if missing:
        raise FileError(f"{path}: expected the extensions that {CONTENTS} lists, found none named {', '.join(missing)}")
    return found


def _read_header(stream, path: Path, number: int) -> fits.Header | None:
    """Next header, or None at the end of the file."""
    text = stream.read(BLOCK)
    if number and not text.startswith(b"XTENSION"):  # the end, or special records, which the standard allows
        return None
    if not text.startswith((b"SIMPLE  =", b"XTENSION=")):
        raise FileError(f"{path}: expected a FITS file, found other contents")
    while True:
        cards = [text[at : at + CARD] for at in range(len(text) - BLOCK, len(text), CARD)]
        if any(card.rstrip() == b"END" for card in cards):
            break
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise FileError(f"{path}[HDU {number}]: expected a FITS header with an END card, found the end of the file")
        text += block
    with warnings.catch_warnings():
        # Odd cards are common in real files; those that are used are checked one by one.
        warnings.simplefilter("ignore")
        header = fits.Header.fromstring(text)
        _ = list(header.keys())
    return header


def _data_bytes(keywords: Keywords) -> int:
    axes = [keywords.whole(f"NAXIS{n + 1}", least=0) for n in range(keywords.whole("NAXIS", least=0))]
    elements = math.prod(axes) if axes else 0
    width = abs(keywords.whole("BITPIX")) // 8
    return width * keywords.whole("GCOUNT", 1, least=0) * (keywords.whole("PCOUNT", 0, least=0) + elements)
