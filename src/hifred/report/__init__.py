"""A report of a fusion: one HTML page to look at and click on, and its panels as pictures."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hifred import fitsio
from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.report.content import Content, gather
from hifred.report.files import content_of_files
from hifred.simulate import Truth

__all__ = ["report_files", "write_pictures", "write_report"]


def write_report(
    path: str | os.PathLike,
    fused: FusedCube,
    datasets: Sequence[Dataset],
    truth: Truth | FusedCube | np.ndarray | None = None,
    *,
    line: str | float | None = None,
    title: str | None = None,
) -> Path:
    """Write one HTML page that shows a fusion; it holds all its data and needs no network.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced.
    fused : FusedCube
        The result.
    datasets : sequence of Dataset
        What it was made from.
    truth : Truth, FusedCube or array of shape (L, ny, nx), optional
        The true sky, photons / cm2 / s per voxel.
    line : str or float, optional
        Line of the first images and of the velocity map: a name in `hifred.metrics.LINES` or a rest energy in keV. By
        default the strongest known line that the cube covers.
    title : str, optional
        Heading of the page.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If data sets, truth and cube do not fit together, or the line is unknown or not covered.
    ModuleNotFoundError
        If Bokeh is not installed.
    """
    require_bokeh()
    return _write_page(gather(fused, datasets, truth, line=line, title=title), Path(path))


def write_pictures(
    folder: str | os.PathLike,
    fused: FusedCube,
    datasets: Sequence[Dataset],
    truth: Truth | FusedCube | np.ndarray | None = None,
    *,
    line: str | float | None = None,
    title: str | None = None,
) -> list[Path]:
    """Draw the panels of a report as PNG pictures.

    Parameters
    ----------
    folder : path
        Where to write; made where it does not exist.
    fused, datasets, truth, line, title
        As in `write_report`.

    Returns
    -------
    list of Path
        The files: overview, velocity (where the cube covers a line), motion (where its prior is a factorisation with
        moving gas), residuals, angles, course, thinning (where settings were chosen from the data).

    Raises
    ------
    ValueError
        As `write_report`.
    """
    from hifred.report.pictures import draw_pictures

    return draw_pictures(gather(fused, datasets, truth, line=line, title=title), folder)


def report_files(
    fused_path: str | os.PathLike,
    truth_path: str | os.PathLike | None = None,
    output: str | os.PathLike = "report.html",
    *,
    pictures: str | os.PathLike | None = None,
    datasets: Sequence[str | os.PathLike] | None = None,
    line: str | float | None = None,
    title: str | None = None,
) -> list[Path]:
    """Write the report of a fused cube that lies in a file.

    Parameters
    ----------
    fused_path : path
        Fused cube, as `hifred fuse` writes it: its provenance names the files of its data sets.
    truth_path : path, optional
        The true sky, written with `FusedCube.write`.
    output : path
        Page to write.
    pictures : path, optional
        Folder for the pictures; by default none are drawn.
    datasets : sequence of path, optional
        Data set files, where the cube does not name them or they have moved.
    line, title
        As in `write_report`.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    FileError
        If a file is missing or not what it should be, or the cube does not name its data sets.
    ValueError
        As `write_report`.
    ModuleNotFoundError
        If Bokeh is not installed.
    """
    require_bokeh()
    fitsio.require_writable(output, overwrite=True)
    content = content_of_files(fused_path, truth_path, datasets=datasets, line=line, title=title)
    written = [_write_page(content, Path(output))]
    if pictures is not None:
        from hifred.report.pictures import draw_pictures

        written += draw_pictures(content, pictures)
    return written


def require_bokeh() -> None:
    """Check, before any long work, that a page can be made.

    Raises
    ------
    ModuleNotFoundError
        If Bokeh is not installed.
    """
    if importlib.util.find_spec("bokeh") is None:
        raise ModuleNotFoundError("a page needs Bokeh: install hifred[report]", name="bokeh")


def _write_page(content: Content, path: Path) -> Path:
    from hifred.report.page import render

    page = render(content)
    with fitsio.replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path
