"""Cubes against the truth, side by side, from files."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hifred import fitsio
from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.metrics import Scores, kl
from hifred.report.bands import Line, find_line
from hifred.report.content import Agreement, agreement_of, pixel_ratio, score_of
from hifred.report.files import read_cube_like
from hifred.report.frame import frame_of


@dataclass(frozen=True)
class Fit:
    """How well a cube explains a data set.

    Attributes
    ----------
    agreement : Agreement
        C-stat, and what to expect of it.
    kl : float
        Divergence of its predicted counts from those of the truth; nan where the cube is not finite.
    """

    agreement: Agreement
    kl: float


@dataclass(frozen=True)
class CubeRow:
    """One cube: its file, its measures, and a `Fit` for each data set."""

    file: str
    scores: Scores
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class Comparison:
    """Cubes against one truth.

    Attributes
    ----------
    truth : str
        File of the truth.
    line : Line or None
        The line of the velocity errors.
    ratio : float
        Pixel size of the sharp data over that of the coarse ones, for ERGAS.
    named_data : bool
        Whether data sets were given; otherwise the ratio is 1.
    rows : tuple of CubeRow
        One for each cube.
    """

    truth: str
    line: Line | None
    ratio: float
    named_data: bool
    rows: tuple[CubeRow, ...]

    def write_json(self, path: str | os.PathLike) -> None:
        """Write the numbers as JSON; what does not exist or is infinite is null."""
        content = {
            "truth": self.truth,
            "line": None if self.line is None else asdict(self.line),
            "ratio": self.ratio,
            "cubes": [
                {
                    "file": row.file,
                    **asdict(row.scores),
                    "data": [{**asdict(fit.agreement), "kl": fit.kl} for fit in row.fits],
                }
                for row in self.rows
            ],
        }
        with fitsio.replacing(path) as part:
            part.write_text(json.dumps(_finite(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def compare_files(
    truth_path: str | os.PathLike,
    fused_paths: Sequence[str | os.PathLike],
    data_paths: Sequence[str | os.PathLike] = (),
    *,
    line: str | float | None = None,
) -> Comparison:
    """Measure cubes in files against the truth in a file.

    Parameters
    ----------
    truth_path : path
        The true sky, a cube file.
    fused_paths : sequence of path
        Cubes of the same shape and grid.
    data_paths : sequence of path
        Data set files; the cubes are also measured by how well they explain these.
    line : str or float, optional
        Line of the velocity errors: a name in `hifred.metrics.LINES` or a rest energy in keV. By default the strongest
        known line that the truth covers.

    Returns
    -------
    Comparison

    Raises
    ------
    FileError
        If a file is missing or not what it should be.
    ValueError
        If the contents do not fit together, or the line is unknown or not covered.
    """
    truth = FusedCube.read(truth_path)
    datasets = [Dataset.read(path) for path in data_paths]
    for dataset, path in zip(datasets, data_paths, strict=True):
        if dataset.response.in_shape != truth.values.shape:
            raise fitsio.FileError(
                f"{path}: expected a data set of a cube of shape {truth.values.shape} as {truth_path} has it, "
                f"found {dataset.response.in_shape}"
            )
    frame = frame_of(truth, datasets)
    found = find_line(frame, truth.values, line)
    expected = [truth.predict(dataset) for dataset in datasets]
    rows = []
    for path in fused_paths:
        fused = read_cube_like(path, truth, truth_path)
        fits = []
        for dataset, of_truth in zip(datasets, expected, strict=True):
            predicted = fused.predict(dataset)
            agreement = agreement_of(dataset, predicted)
            known = np.isfinite(predicted[dataset.mask]).all()
            fits.append(Fit(agreement, kl(of_truth, predicted, dataset.mask) if known else math.nan))
        rows.append(CubeRow(str(path), score_of(fused.values, truth.values, frame, found, datasets), tuple(fits)))
    return Comparison(str(truth_path), found, pixel_ratio(datasets), bool(datasets), tuple(rows))


def _finite(content):
    """The same with None for numbers that JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
