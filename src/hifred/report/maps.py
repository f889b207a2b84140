"""Maps for the lower half of the page: residuals, line velocities, distances between neighbouring spectra."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifred.data.dataset import Dataset
from hifred.metrics import angular_distance_map, line_maps
from hifred.metrics.scores import FAINT_LINE
from hifred.report.bands import Line
from hifred.report.frame import Frame
from hifred.report.views import View, shown_channels, sky_place

FAINT_SKY = 0.02
"""Angular distances are shown where the image has this fraction of its peak."""

SIGMAS = 4.0
"""Half width of the scale of the residual maps, standard deviations."""


@dataclass(frozen=True, eq=False)
class Residual:
    """Counts against prediction for one data set, in standard deviations.

    Attributes
    ----------
    name : str
        The data set.
    sky : array of shape (ny, nx)
        Summed over channels; nan where nothing was measured.
    edges : array of shape (channels + 1,)
        Edges of the channels.
    spectrum : array of shape (channels,)
        Summed over pixels; nan where nothing was measured.
    """

    name: str
    sky: np.ndarray
    edges: np.ndarray
    spectrum: np.ndarray


def residual_of(dataset: Dataset, predicted: np.ndarray, frame: Frame) -> Residual:
    """`sum (n - mu) / sqrt(sum mu)` over channels for the map, over pixels for the spectrum."""
    edges, starts = shown_channels(dataset, frame)
    difference = np.where(dataset.mask, dataset.counts - predicted, 0).astype(float)
    expected = np.where(dataset.mask, predicted, 0).astype(float)
    pixels = _significance(difference.sum(0), expected.sum(0))
    by_channel = [np.add.reduceat(values.sum((1, 2)), starts) for values in (difference, expected)]
    sky = np.append(pixels.ravel(), np.nan)[sky_place(dataset.response)]
    return Residual(dataset.name, sky, edges, _significance(*by_channel))


def _significance(difference: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.divide(
        difference, np.sqrt(np.maximum(expected, 0)), out=np.full(difference.shape, np.nan), where=expected > 0
    )  # fmt: skip


def velocity_of(view: View, line: Line) -> np.ndarray:
    """Velocity of the line in each sky pixel, km/s; nan where it is faint or the view does not cover it."""
    cube = np.nan_to_num(view.density) * np.diff(view.edges)[:, None, None]
    try:
        maps = line_maps(cube, view.centres, line.centre, faint=FAINT_LINE)
    except ValueError:
        return np.full(view.place.shape, np.nan)
    return view.on_sky(maps.centroid)


def angles_of(values: np.ndarray) -> np.ndarray:
    """Mean angle between the spectra of a pixel and its neighbours, degrees; nan where the sky is faint or unknown."""
    known = np.isfinite(values).all(0)
    cube = np.where(known, values, 0)
    image = cube.sum(0)
    lit = known & (image > FAINT_SKY * image.max())
    return np.where(lit, angular_distance_map(np.where(lit, cube, 0)), np.nan)


def diverging_range(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Centre and half width of one scale for all maps: 0, or the median where all lie to one side of it."""
    seen = np.concatenate([m[np.isfinite(m)] for m in maps])
    if seen.size == 0:
        return 0.0, 1.0
    low, middle, high = np.percentile(seen, [2, 50, 98])
    centre = 0.0 if low < 0 < high else float(middle)
    half = max(high - centre, centre - low)
    return centre, float(half) if half > 0 else 1.0


def sequential_top(maps: Sequence[np.ndarray], quantile: float = 99.0) -> float:
    """Upper end of one scale from 0 for all maps."""
    seen = np.concatenate([m[np.isfinite(m)] for m in maps])
    return max(float(np.percentile(seen, quantile)), 1e-300) if seen.size else 1.0
