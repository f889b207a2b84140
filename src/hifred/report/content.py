"""Everything that a report shows, computed once for the page and the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.metrics import Scores, cstat, score
from hifred.poisson import expected_cstat
from hifred.report.bands import Band, Line, continuum_band, find_line, line_band, telling_pixel
from hifred.report.frame import Frame, frame_of
from hifred.report.maps import Residual, angles_of, residual_of, velocity_of
from hifred.report.motion import Motion, motion_of
from hifred.report.thinning import Thinning, thinning_of
from hifred.report.views import View, view_of_cube, view_of_dataset
from hifred.simulate import Truth

IN_SPACE, IN_ENERGY = "sharp in space", "sharp in energy"


@dataclass(frozen=True)
class Agreement:
    """C-stat of a data set, with mean and standard deviation of what it would be at the truth."""

    name: str
    cstat: float
    expected: float
    deviation: float

    @property
    def ratio(self) -> float:
        """C-stat over its expectation; nan where that is zero."""
        return self.cstat / self.expected if self.expected > 0 else float("nan")

    @property
    def unexplained(self) -> bool:
        """Whether the C-stat is far above what photon noise gives."""
        return self.ratio > 1.1 and self.cstat > self.expected + 5 * self.deviation


@dataclass(frozen=True, eq=False)
class Content:
    """What a report shows.

    Attributes
    ----------
    title : str
        Heading of the page.
    fused : FusedCube
        The result.
    truth : array of shape (L, ny, nx) or None
        What it should be, where that is known.
    datasets : tuple of Dataset
        What it was made from.
    frame : Frame
        Names and units of the axes.
    views : tuple of View
        Inputs, result and truth in one unit.
    bands : pair of Band
        The bands of the images at first: a line, and continuum.
    line : Line or None
        The line of the velocity map.
    pixel : pair of int
        `(y, x)` of the spectrum at first.
    residuals : tuple of Residual
        One for each data set.
    velocities : tuple of (View, array of shape (ny, nx))
        Velocity maps (km/s) of the sharpest input, result and truth; empty without a line.
    angles : tuple of (View, array of shape (ny, nx))
        Maps of the mean angular distance (degrees) of result and truth.
    agreements : tuple of Agreement
        One for each data set.
    scores : Scores or None
        Measures against the truth, where that is known.
    notes : tuple of str
        What the reader has to know besides.
    motion : Motion or None
        How the gas moves, where the cube is a factorised one.
    thinning : Thinning or None
        How the settings were chosen, where the data did.
    """

    title: str
    fused: FusedCube
    truth: np.ndarray | None
    datasets: tuple[Dataset, ...]
    frame: Frame
    views: tuple[View, ...]
    bands: tuple[Band, Band]
    line: Line | None
    pixel: tuple[int, int]
    residuals: tuple[Residual, ...]
    velocities: tuple[tuple[View, np.ndarray], ...]
    angles: tuple[tuple[View, np.ndarray], ...]
    agreements: tuple[Agreement, ...]
    scores: Scores | None = None
    notes: tuple[str, ...] = ()
    motion: Motion | None = None
    thinning: Thinning | None = None


def gather(
    fused: FusedCube,
    datasets: Sequence[Dataset],
    truth: Truth | FusedCube | np.ndarray | None = None,
    *,
    line: str | float | None = None,
    title: str | None = None,
    notes: Sequence[str] = (),
) -> Content:
    """Compute what a report shows.

    Parameters
    ----------
    fused, datasets, truth, line, title
        As in `hifred.report.write_report`.
    notes : sequence of str
        What the reader has to know besides.

    Raises
    ------
    ValueError
        If there is no data set, or data sets, truth or parts do not have the shape of the cube, or the line is not
        covered.
    """
    datasets = tuple(datasets)
    if not datasets:
        raise ValueError("datasets: expected at least one data set, found none")
    for dataset in datasets:
        if dataset.response.in_shape != fused.values.shape:
            raise ValueError(
                f"{dataset.name}: expected a data set of a cube of shape {fused.values.shape}, "
                f"found {dataset.response.in_shape}"
            )
    true = None if truth is None else np.asarray(truth if isinstance(truth, np.ndarray) else truth.values)
    if true is not None and true.shape != fused.values.shape:
        raise ValueError(f"truth: expected the shape of the fused cube {fused.values.shape}, found {true.shape}")
    frame = frame_of(fused, datasets)
    views = _views(fused, datasets, true, frame)
    found = find_line(frame, fused.values, line)
    band = line_band(frame, fused.values, found)
    predictions = [np.maximum(fused.predict(dataset), 0) for dataset in datasets]
    pairs = list(zip(datasets, predictions, strict=True))
    return Content(
        f"Fusion of {listed([dataset.name for dataset in datasets])}" if title is None else title,
        fused,
        true,
        datasets,
        frame,
        views,
        (band, continuum_band(views, _result(views), band)),
        found,
        telling_pixel(fused.values),
        tuple(residual_of(dataset, predicted, frame) for dataset, predicted in pairs),
        _velocities(views, datasets, found),
        tuple((view, angles_of(values)) for view, values in _cubes(views, fused, true)),
        tuple(agreement_of(dataset, predicted) for dataset, predicted in pairs),
        None if true is None else score_of(fused.values, true, frame, found, datasets),
        tuple(notes),
        motion_of(fused),
        thinning_of(fused.provenance),
    )


def score_of(
    values: np.ndarray, truth: np.ndarray, frame: Frame, line: Line | None, datasets: Sequence[Dataset]
) -> Scores:
    """Measures of a cube against the truth; ERGAS for the coarsest detector pixel of the data sets."""
    energies = None if frame.grid is None else frame.centres
    return score(
        values, truth, ratio=pixel_ratio(datasets), energies=energies, line=None if line is None else line.centre
    )


def pixel_ratio(datasets: Sequence[Dataset]) -> float:
    """Side of a sky pixel over that of the coarsest detector pixel; 1 without data sets."""
    return 1 / max((dataset.response.recipe.pixels_per_bin**0.5 for dataset in datasets), default=1.0)


def listed(names: Sequence[str]) -> str:
    """Names with commas and an "and"."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), names[-1]])


def _result(views: Sequence[View]) -> View:
    return next(view for view in views if view.key == "fused")


def is_input(view: View) -> bool:
    """Whether a view shows a data set, not the result or the truth."""
    return view.key not in ("fused", "truth")


def _views(fused: FusedCube, datasets: Sequence[Dataset], truth: np.ndarray | None, frame: Frame) -> tuple[View, ...]:
    """Inputs, from sharp in space to sharp in energy; result; truth."""
    views = [
        view_of_dataset(f"input-{number}", dataset, _role(dataset, datasets), frame)
        for number, dataset in enumerate(datasets)
    ]
    views.sort(key=lambda view: (view.role == IN_ENERGY) - (view.role == IN_SPACE))
    role = "sharp in both" if len(datasets) > 1 else "result"
    views.append(view_of_cube("fused", "Fused", role, fused.values, frame))
    if truth is not None:
        views.append(view_of_cube("truth", "Truth", "the sky itself", truth, frame))
    return tuple(views)


def _role(dataset: Dataset, datasets: Sequence[Dataset]) -> str:
    """What a data set is best at."""
    in_space = dataset is min(datasets, key=lambda d: d.response.sky_blur)
    in_energy = dataset is min(datasets, key=lambda d: d.response.energy_blur)
    if len(datasets) == 1 or in_space == in_energy:
        return "input"
    return IN_SPACE if in_space else IN_ENERGY


def _cubes(views: Sequence[View], fused: FusedCube, truth: np.ndarray | None) -> list[tuple[View, np.ndarray]]:
    values = {"fused": fused.values, "truth": truth}
    return [(view, values[view.key]) for view in views if not is_input(view)]


def _velocities(
    views: Sequence[View], datasets: Sequence[Dataset], line: Line | None
) -> tuple[tuple[View, np.ndarray], ...]:
    """Maps of the input with the sharpest energies, the result and the truth."""
    if line is None:
        return ()
    sharpest = min(range(len(datasets)), key=lambda k: datasets[k].response.energy_blur)
    shown = [view for view in views if not is_input(view) or view.key == f"input-{sharpest}"]
    maps = [(view, velocity_of(view, line)) for view in shown]
    return tuple((view, values) for view, values in maps if np.isfinite(values).any())


def agreement_of(dataset: Dataset, predicted: np.ndarray) -> Agreement:
    """C-stat of a data set for predicted counts, and what to expect; nan where a prediction is not finite."""
    if not np.isfinite(predicted[dataset.mask]).all():
        return Agreement(dataset.name, np.nan, np.nan, np.nan)
    mean, variance = expected_cstat(predicted, dataset.mask)
    return Agreement(dataset.name, cstat(dataset.counts, predicted, dataset.mask), mean, float(np.sqrt(variance)))
