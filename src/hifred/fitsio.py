"""FITS files, read with every fault named and written whole or not at all."""

import gzip
import hashlib
import io
import os
import stat
import tempfile
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from astropy.io import fits

# Keyword of the primary header that lists the extensions, so that a file cut between two of them is noticed.
CONTENTS = "EXTLIST"


class FileError(ValueError):
    """A file that cannot be used; the message names the file, the part of it, what was expected and found."""


def require_writable(path: str | os.PathLike, *, overwrite: bool) -> Path:
    """Check, before any long work, that `path` can be written.

    Raises
    ------
    FileError
        If the file exists and `overwrite` is not set, is no regular file, or its directory is missing or read-only.
    """
    path = Path(path)
    folder = path.resolve().parent
    if path.is_dir():
        raise FileError(f"{path}: expected the name of a file to write, found a directory")
    if path.exists() and not path.is_file():
        raise FileError(f"{path}: expected the name of a file to write, found a device, pipe or socket")
    if path.exists() and not overwrite:
        raise FileError(f"{path}: the file exists; choose another name or allow overwriting (--overwrite)")
    if not folder.is_dir():
        raise FileError(f"{path}: the directory {folder} does not exist")
    if not _can_write(folder):
        raise FileError(f"{path}: the directory {folder} is read-only")
    return path


def require_folder(path: str | os.PathLike) -> None:
    """Check, before any long work, that a folder is there or can be made.

    Raises
    ------
    FileError
        If the nearest part of its path that exists is no directory; if the folder would be new, also where that
        directory is read-only.
    """
    path = Path(path)
    whole = path.resolve()
    nearest = next(part for part in (whole, *whole.parents) if part.exists())
    if not nearest.is_dir():
        raise FileError(f"{path}: expected a directory to write to, found a file {nearest}")
    if nearest != whole and not _can_write(nearest):
        raise FileError(f"{path}: could not be made: the directory {nearest} is read-only")


def _can_write(folder: Path) -> bool:
    # A super-user passes os.access everywhere; a directory without any write bit is meant to be left alone.
    return os.access(folder, os.W_OK) and bool(folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


@contextmanager
def replacing(path: str | os.PathLike):
    """Give a temporary name beside `path`; on success it is renamed to `path`, on failure removed.

    Where `path` is a symbolic link, the file it leads to is replaced and the link stays.
    """
    target = Path(path).resolve()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot write there ({error.strerror})") from error
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    try:
        yield Path(name)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write(path: str | os.PathLike, hdus: list, *, overwrite: bool) -> None:
    """Write HDUs to `path` with checksums, through a temporary file and a rename; compressed if it ends in `.gz`."""
    path = require_writable(path, overwrite=overwrite)
    whole = fits.HDUList(hdus)
    whole[0].header[CONTENTS] = ",".join(hdu.name for hdu in whole[1:])  # a comment may not fit beside it
    try:
        with replacing(path) as part, (gzip.open if path.suffix == ".gz" else open)(part, "wb") as stream:
            whole.writeto(stream, checksum=True)
    except OSError as error:
        raise FileError(f"{path}: could not be written ({error.strerror or error})") from error


class FitsFile:
    """The HDUs of one FITS file in memory, with accessors that name what is missing.

    Parameters
    ----------
    path : path
        The file; gzip is understood.
    foreign : bool
        The file was made elsewhere: what astropy merely warns of (units and cards that bend the standard) is no fault.
        Its data are read when they are asked for; `raw` gives their bytes.
    checksums : bool
        Check the checksums of a foreign file; those of our own are always checked.

    Raises
    ------
    FileError
        If the file is missing, not FITS, truncated, or its checksums do not hold.
    """

    def __init__(self, path: str | os.PathLike, *, foreign: bool = False, checksums: bool = True):
        self.path = Path(path)
        self._foreign = foreign
        if not self.path.is_file():
            found = "found a directory" if self.path.is_dir() else "no such file"
            raise FileError(f"{self.path}: expected a FITS file, {found}")
        try:
            content = self.path.read_bytes()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            with self._warnings():
                self.hdus = fits.open(io.BytesIO(content), memmap=False, checksum=not foreign, lazy_load_hdus=False)
                for hdu in self.hdus:
                    if foreign:
                        hdu.verify("silentfix+ignore")  # now, so that no card warns when it is read later
                    else:
                        _ = hdu.data
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FileError(f"{self.path}: expected a complete FITS file, found: {reason}") from error
        self._content = content if foreign else b""
        if foreign:
            self._check_bytes(checksums)
        listed = self.hdus[0].header.get(CONTENTS, "").split(",")
        missing = [name for name in listed if name and name not in self.hdus]
        if missing:
            raise FileError(
                f"{self.path}: expected the extensions that {CONTENTS} lists, found none named {', '.join(missing)}"
            )

    @contextmanager
    def _warnings(self):
        """Warnings of astropy as errors; of a foreign file, only that its HDUs could not all be found."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if self._foreign else "error")
            if self._foreign:
                warnings.filterwarnings("error", message=r"(?s).*(Error validating header|truncated)")
            yield

    def _check_bytes(self, checksums: bool) -> None:
        """Check the length and the checksums of a foreign file on its bytes as they are.

        astropy writes the header anew before it sums, and cannot take an empty DATASUM, which means that none is
        defined (Chandra).
        """
        for hdu in self.hdus:
            where = f"{self.path}[{hdu.name or 'PRIMARY'}]"
            place = hdu.fileinfo()
            begin, start, end = place["hdrLoc"], place["datLoc"], place["datLoc"] + place["datSpan"]
            if start + hdu.size > len(self._content):
                raise FileError(
                    f"{where}: expected a complete file, found {max(len(self._content) - start, 0)} bytes of data "
                    f"where the header announces {hdu.size} (truncated)"
                )
            for keyword, first in (("DATASUM", start), ("CHECKSUM", begin)):
                stated = str(hdu.header.get(keyword, "")).strip()
                if not (checksums and stated):
                    continue
                expected = int(stated) if keyword == "DATASUM" and stated.isdecimal() else 0
                if (_ones_sum(memoryview(self._content)[first:end]) - expected) % _ONES:
                    raise FileError(f"{where}: expected data that fit the checksum {keyword} = {stated}, found others")

    def raw(self, number: int) -> memoryview:
        """Bytes of the data of an HDU of a foreign file, a heap included, without a copy."""
        start = self.hdus[number].fileinfo()["datLoc"]
        return memoryview(self._content)[start : start + self.hdus[number].size]

    def __contains__(self, extension: str) -> bool:
        return extension in self.hdus

    def header(self, extension: str | int):
        """Header of an extension."""
        if isinstance(extension, str) and extension not in self.hdus:
            found = ", ".join(hdu.name or "PRIMARY" for hdu in self.hdus)
            raise FileError(f"{self.path}: expected an extension {extension}, found {found}")
        return self.hdus[extension].header

    def data(self, extension: str):
        """Array or table of an extension."""
        self.header(extension)
        try:
            with self._warnings():
                data = self.hdus[extension].data
        except Exception as error:
            raise FileError(
                f"{self.path}[{extension}]: expected data, found: {' '.join(str(error).split())}"
            ) from error
        if data is None:
            raise FileError(f"{self.path}[{extension}]: expected data, found none")
        return data

    def column(self, extension: str, name: str):
        """Column of a table."""
        table = self.data(extension)
        if table.dtype.names is None or name not in table.dtype.names:
            raise FileError(f"{self.path}[{extension}]: expected a table with the column {name}, found none")
        with self._warnings():
            return table[name]

    def key(self, extension: str | int, keyword: str):
        """Value of a header keyword."""
        header = self.header(extension)
        if keyword not in header:
            raise FileError(f"{self.path}[{extension}]: expected the keyword {keyword}, found none")
        return header[keyword]


# Checksums are sums of 32-bit words in one's complement, that is modulo 2^32 - 1; that of a whole HDU is zero.
_ONES = 2**32 - 1


def _ones_sum(content: memoryview) -> int:
    whole = len(content) // 4 * 4
    rest = bytes(content[whole:]).ljust(4, b"\0")  # a file may end before its last block is full
    return (int(np.frombuffer(content[:whole], ">u4").sum(dtype=np.uint64)) + int.from_bytes(rest, "big")) % _ONES


def header_text(text: str) -> str:
    """Any text as one that a FITS header can hold: printable ASCII, without blanks at the ends that it would drop."""
    escaped = text.encode("unicode_escape").decode("ascii").replace("&", "\\x26")
    inner = escaped.strip(" ")
    before = len(escaped) - len(escaped.lstrip(" "))
    after = len(escaped) - len(inner) - before if inner else 0
    return "\\x20" * before + inner + "\\x20" * after


def text_of_header(value) -> str:
    """Inverse of `header_text`."""
    return str(value).encode("ascii").decode("unicode_escape")


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, for provenance."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
