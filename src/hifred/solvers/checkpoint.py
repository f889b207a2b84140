"""Checkpoints: the whole state of a run in one file, plain arrays and JSON, no pickle."""

import dataclasses
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hifred.fitsio import FileError, replacing, require_writable
from hifred.solvers.solver import State


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
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str, every: float = 30.0):
        self.path = require_writable(path, overwrite=True)
        self.fingerprint = fingerprint
        self.every = every
        self._last = time.monotonic()

    def offer(self, state: State, history: list) -> None:
        """Save if the last save is long enough ago."""
        if time.monotonic() - self._last >= self.every:
            self.save(state, history)

    def save(self, state: State, history: list) -> None:
        """Write the state, through a temporary file and a rename."""
        header = {
            "fingerprint": self.fingerprint,
            "history": [dataclasses.asdict(record) for record in history],
        }
        arrays: dict[str, Any] = {f"state_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
        with replacing(self.path) as part, open(part, "wb") as stream:
            np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
        self._last = time.monotonic()

    def load(self, like: State) -> tuple[State, list[dict]] | None:
        """The saved state and history, or None without a file.

        Raises
        ------
        FileError
            If the file is damaged or belongs to another run.
        """
        path = Path(self.path)
        if not path.exists():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            with np.load(path, allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                found = [file[f"state_{i}"] for i in range(len(leaves))] if _ours(header, self.fingerprint) else []
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(f"{path}: expected a checkpoint, found a file that is not one ({error})") from error
        if len(found) != len(leaves) or any(a.shape != b.shape for a, b in zip(found, leaves, strict=True)):
            raise FileError(
                f"{path}: expected a checkpoint of this run, found one with other data, prior or version; "
                "remove it or name another file"
            )
        for record in header["history"]:
            record["cstat"] = tuple(record["cstat"])
        return jax.tree.unflatten(structure, [jnp.asarray(a) for a in found]), header["history"]


def _ours(header: dict, fingerprint: str) -> bool:
    return header["fingerprint"] == fingerprint
