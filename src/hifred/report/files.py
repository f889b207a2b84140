"""A report from files: the fused cube says which data sets it was made from."""

import os
from collections.abc import Sequence
from pathlib import Path

from hifred import fitsio
from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.report.content import Content, gather


def content_of_files(
    fused_path: str | os.PathLike,
    truth_path: str | os.PathLike | None = None,
    *,
    datasets: Sequence[str | os.PathLike] | None = None,
    line: str | float | None = None,
    title: str | None = None,
) -> Content:
    """Read a fused cube, its data sets and the truth, and compute what a report shows.

    Parameters
    ----------
    fused_path : path
        Fused cube, as `hifred fuse` writes it.
    truth_path : path, optional
        The true sky, written with `FusedCube.write`.
    datasets : sequence of path, optional
        Data set files; by default those the cube names.
    line : str or float, optional
        Line of the velocity map: a name in `hifred.metrics.LINES` or a rest energy in keV.
    title : str, optional
        Heading of the report.

    Raises
    ------
    FileError
        If a file is missing or not what it should be, or the cube does not name its data sets.
    ValueError
        If the contents do not fit together.
    """
    fused = FusedCube.read(fused_path)
    paths, notes = _inputs(fused, Path(fused_path)) if datasets is None else ([Path(path) for path in datasets], [])
    data = [Dataset.read(path) for path in paths]
    truth = None if truth_path is None else read_cube_like(truth_path, fused, fused_path).values
    return gather(fused, data, truth, line=line, title=title, notes=notes)


def read_cube_like(path: str | os.PathLike, other: FusedCube, other_path: str | os.PathLike) -> FusedCube:
    """Read a cube that has to lie on the grid of another one.

    Raises
    ------
    FileError
        If the file is missing or no cube, or shape or grid differ.
    """
    cube = FusedCube.read(path)
    if cube.values.shape != other.values.shape:
        raise fitsio.FileError(
            f"{path}: expected a cube of shape {other.values.shape} as {other_path} has it, found {cube.values.shape}"
        )
    if cube.grid is not None and other.grid is not None:
        other.grid.require_same(cube.grid, (str(other_path), str(path)))
    return cube


def _inputs(fused: FusedCube, fused_path: Path) -> tuple[list[Path], list[str]]:
    """Files of the data sets of a cube, and what is odd about them."""
    entries = fused.provenance.get("inputs", [])
    unnamed = [str(entry.get("name", "?")) for entry in entries if "file" not in entry]
    if unnamed or not entries:
        raise fitsio.FileError(
            f"{fused_path}[PROVENANCE]: expected the files of its data sets, found none"
            + (f" for {', '.join(unnamed)}" if unnamed else "")
            + "; the cube was not made by `hifred fuse`, so name the data set files"
        )
    paths, notes = [], []
    for entry in entries:
        path = _find(Path(entry["file"]), fused_path)
        if path is None:
            raise fitsio.FileError(
                f"{entry['file']}: no such file, but {fused_path} was made from it ({entry.get('name', '?')})"
            )
        if "file_sha256" in entry and fitsio.sha256(path) != entry["file_sha256"]:
            notes.append(f"The file {path} has changed since the fusion: the numbers below are for the file of now.")
        paths.append(path)
    return paths, notes


def _find(named: Path, fused_path: Path) -> Path | None:
    """A file where it was, or where it lies if it moved together with the cube."""
    places = (named, fused_path.parent / named, fused_path.parent / named.name)
    return next((place for place in places if place.is_file()), None)
