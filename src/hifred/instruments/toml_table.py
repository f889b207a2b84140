"""Tables of a TOML file, read strictly: each key with its type and range, and no other may be there."""

import os
import tomllib
from pathlib import Path

import numpy as np

from hifred.fitsio import FileError


class TomlTable:
    """One table of a TOML file.

    Parameters
    ----------
    content : dict
        What the file has there.
    where : str
        File and table, for messages.
    """

    def __init__(self, content: dict, where: str):
        self.where = where
        self._content = content
        self._known: list[str] = []

    @classmethod
    def read(cls, path: str | os.PathLike) -> "TomlTable":
        """Read a file.

        Raises
        ------
        FileError
            If it is missing or no TOML.
        """
        try:
            return cls(tomllib.loads(Path(path).read_text(encoding="utf-8")), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"{path}: expected a TOML file, found: {getattr(error, 'strerror', error)}") from error
        except tomllib.TOMLDecodeError as error:
            raise FileError(f"{path}: expected a TOML file, found: {error}") from error

    def __contains__(self, key: str) -> bool:
        self._known.append(key)
        return key in self._content

    def table(self, key: str) -> "TomlTable":
        """Table within this one."""
        value = self._get(key, "a table", lambda v: isinstance(v, dict))
        return TomlTable(value, f"{self.where} [{key}]" if "[" not in self.where else f"{self.where[:-1]}.{key}]")

    def tables(self, key: str) -> list["TomlTable"]:
        """Tables of a list (`[[key]]`), at least one; each is called by its name, where it has one, or its number."""
        rows = self._get(
            key, f"one or more tables [[{key}]]",
            lambda v: isinstance(v, list) and v and all(isinstance(row, dict) for row in v),
        )  # fmt: skip
        # A name may be anything: without its line breaks a message stays one line.
        names = [" ".join(str(row.get("name", n)).split()) for n, row in enumerate(rows, start=1)]
        return [TomlTable(row, f"{self.where} [{key} {name}]") for name, row in zip(names, rows, strict=True)]

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return self._get(key, "true or false", lambda v: isinstance(v, bool)) if key in self else default

    def text(self, key: str, default: str | None = None) -> str:
        """Text that is not empty."""
        if default is not None and key not in self:
            return default
        return self._get(key, "a text", lambda v: isinstance(v, str) and bool(v.strip()))

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """List of texts, not empty."""
        if default is not None and key not in self:
            return default
        return tuple(
            self._get(
                key, "a list of texts", lambda v: isinstance(v, list) and v and all(isinstance(t, str) and t for t in v)
            )
        )

    def number(self, key: str, low=-np.inf, high=np.inf, default=None) -> float:
        """Finite number from `low` to `high`."""
        if default is not None and key not in self:
            return default
        limits = "" if np.isinf(low) and np.isinf(high) else f" from {low:g} to {high:g}"
        return float(self._get(key, f"a number{limits}", lambda v: _is_number(v) and low <= v <= high))

    def whole(self, key: str, low: int, default: int | None = None) -> int:
        """Whole number of at least `low`."""
        if default is not None and key not in self:
            return default
        return self._get(key, f"a whole number of at least {low}", lambda v: type(v) is int and v >= low)

    def numbers(self, key: str, low=-np.inf, high=np.inf, length: int | None = None) -> np.ndarray:
        """List of finite numbers from `low` to `high`."""
        limits = "" if np.isinf(low) and np.isinf(high) else f" from {low:g} to {high:g}"
        count = "" if length is None else f"{length} "
        return np.array(
            self._get(
                key,
                f"a list of {count}numbers{limits}",
                lambda v: (
                    isinstance(v, list)
                    and len(v) > 0
                    and length in (None, len(v))
                    and all(_is_number(n) and low <= n <= high for n in v)
                ),
            ),
            float,
        )

    def pairs(self, key: str) -> np.ndarray:
        """List of pairs of finite numbers, shape (n, 2)."""

        def right(value):
            if not isinstance(value, list) or not value:
                return False
            return all(isinstance(row, list) and len(row) == 2 and all(map(_is_number, row)) for row in value)

        return np.array(self._get(key, "a list of pairs [low, high] of numbers", right), float)

    def wholes(self, key: str) -> list:
        """Whole numbers, in a list or a list of lists of one length."""

        def right(value):
            if not isinstance(value, list):
                return False
            rows = value if all(isinstance(row, list) for row in value) else [value]
            return len({len(row) for row in rows}) <= 1 and all(type(n) is int for row in rows for n in row)

        return self._get(key, "whole numbers, in rows of one length", right)

    def curve(self, value: str, low, high) -> tuple[np.ndarray, np.ndarray]:
        """Lists `energy` (keV, increasing) and `value` (in `low` to `high`) of one length, at least two."""
        energies = self.numbers("energy", 1e-3, 1e3)
        if energies.size < 2 or np.any(np.diff(energies) <= 0):
            found = ", ".join(f"{energy:g}" for energy in energies[:20])
            raise FileError(f"{self.where}: energy: expected at least two increasing energies in keV, found {found}")
        return energies, self.numbers(value, low, high, length=energies.size)

    def content(self) -> dict:
        """All keys and values as they are."""
        self._known.extend(self._content)
        return dict(self._content)

    def end(self) -> None:
        """Check that nothing else is there.

        Raises
        ------
        FileError
            If there are keys that were never asked for; they are named, and those that may be there.
        """
        unknown = sorted(set(self._content) - set(self._known))
        if unknown:
            known = ", ".join(dict.fromkeys(self._known))
            raise FileError(f"{self.where}: expected only the keys {known}, found {', '.join(unknown)}")

    def _get(self, key: str, expected: str, right):
        self._known.append(key)
        if key not in self._content:
            raise FileError(f"{self.where}: expected the key {key} ({expected}), found none")
        value = self._content[key]
        if not right(value):
            raise FileError(f"{self.where}: {key}: expected {expected}, found {value!r}")
        return value


def _is_number(value) -> bool:
    return type(value) in (int, float) and bool(np.isfinite(value))
