"""Checkpoints: the whole state of a run in one file, plain arrays and JSON, no pickle."""

import dataclasses
import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hifred.fitsio import FileError, replacing, require_writable
from hifred.grid import number
from hifred.solvers.course import Course, Record


class Checkpoint:
    """A file that a run writes from time to time, and starts from if it is there.

    Parameters
    ----------
    path : path
        The file (npz).
    fingerprint : str
        What the run depends on: data, responses, prior. A file of another run is refused.
    every : float
        Seconds between writes; 0 writes after each iteration.

    Raises
    ------
    FileError
        If the file cannot be written there.
    ValueError
        If `every` is negative or not a number.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str, every: float = 30.0):
        self.path = require_writable(path, overwrite=True)
        self.fingerprint = fingerprint
        self.every = number("checkpoint_every", every)
        if not self.every >= 0:
            raise ValueError(f"checkpoint_every: expected at least 0 seconds, found {every}")
        self._last = time.monotonic()
        self._given = ""
        self._settings: dict[str, Any] = {}

    def keep(self, asked: str, settings: dict[str, dict]) -> None:
        """Write settings that took long to choose with the run, at once.

        Parameters
        ----------
        asked : str
            Fingerprint of all that was asked for.
        settings : dict of dict
            As JSON holds them.
        """
        self._settings = {"asked": asked, "found": settings}
        self._last = -np.inf

    def kept(self, given: str, asked: str) -> dict[str, dict] | None:
        """The settings in the file; None without any, or where they were chosen for something else.

        Parameters
        ----------
        given : str
            Fingerprint of what is known of the run before any setting is chosen, written with it from now on.
        asked : str
            As for `keep`.

        Raises
        ------
        FileError
            If the file is no checkpoint, or that of a run that was given something else.
        """
        self._given = given
        if not self.path.exists():
            return None
        with _opened(self.path) as file:
            header = json.loads(file["header"].tobytes())
            settings = header["settings"]
            found = settings["found"] if settings.get("asked") == asked else {}
            if any(not isinstance(part, dict) for part in found.values()):
                raise ValueError("settings that are none")
        if header["given"] != given:
            raise FileError(self._other)
        return found or None

    @property
    def _other(self) -> str:
        return (
            f"{self.path}: expected a checkpoint of this run, found one with other data, prior or version; "
            "remove it or name another file"
        )

    def offer(self, course: Course) -> None:
        """Save if the last save is long enough ago."""
        if time.monotonic() - self._last >= self.every:
            self.save(course)

    def save(self, course: Course) -> None:
        """Write a run, through a temporary file and a rename.

        Raises
        ------
        FileError
            If it cannot be written.
        """
        header = {
            "fingerprint": self.fingerprint,
            "given": self._given,
            "goal": course.goal,
            "settings": self._settings,
            "history": [dataclasses.asdict(record) for record in course.history],
        }
        leaves = jax.tree.leaves(course.state)
        arrays: dict[str, Any] = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        try:
            with replacing(self.path) as part, open(part, "wb") as stream:
                np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
        except OSError as error:
            raise FileError(f"{self.path}: could not be written ({error.strerror or error})") from error
        self._last = time.monotonic()

    def load(self, start: Course) -> Course:
        """The saved run; without a file, the start as it is.

        Raises
        ------
        FileError
            If the file is damaged or belongs to another run.
        """
        if not self.path.exists():
            return start
        leaves, structure = jax.tree.flatten(start.state)
        with _opened(self.path) as file:
            header = json.loads(file["header"].tobytes())
            ours = header["fingerprint"] == self.fingerprint
            found = [file[f"state_{i}"] for i in range(len(leaves))] if ours else []
            records = [Record(**record | {"cstat": tuple(record["cstat"])}) for record in header["history"]]
            goal = float(header["goal"])
            if not records:
                raise ValueError("no history")
        same = len(found) == len(leaves) and all(
            a.shape == b.shape and a.dtype == b.dtype for a, b in zip(found, leaves, strict=True)
        )
        if not same:
            raise FileError(self._other)
        return Course(jax.tree.unflatten(structure, [jnp.asarray(a) for a in found]), tuple(records), goal)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """A checkpoint's arrays; what goes wrong while they are read becomes one error."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise FileError(f"{path}: expected a checkpoint, found a file that is not one ({error})") from error
