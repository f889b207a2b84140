"""Numbers of the spectrum panel: outlines of binned spectra, and how far the axes reach."""

from collections.abc import Sequence

import numpy as np

from hifred.report.bands import Band
from hifred.report.content import Content, is_input
from hifred.report.views import View


def outline_x(view: View) -> np.ndarray:
    """Energies of the corners of a spectrum drawn as steps, shape (2 n,)."""
    return np.repeat(view.edges, 2)[1:-1]


def outline_y(values: np.ndarray) -> np.ndarray:
    """Values at those corners."""
    return np.repeat(values, 2)


def top_of(views: Sequence[View], pixel: tuple[int, int], low: float, high: float) -> float:
    """Upper end of the flux axis for a pixel's spectra between two energies.

    Result and truth are shown whole; noise of an input may go up to twice as far.
    """
    best, noisy = 0.0, 0.0
    for view in views:
        values = view.spectrum(*pixel)[(view.edges[1:] > low) & (view.edges[:-1] < high)]
        values = np.sort(values[np.isfinite(values)])
        if values.size == 0:
            continue
        if is_input(view):
            noisy = max(noisy, float(values[int(0.99 * (values.size - 1))]))
        else:
            best = max(best, float(values[-1]))
    top = max(best, min(noisy, 2 * best) if best > 0 else noisy)
    return 1.08 * top if top > 0 else 1.0


def image_top(content: Content, band: Band) -> float:
    """Upper end of the colour scale of a band: that of result and truth, single bright pixels left aside."""
    top = 0.0
    for view in content.views:
        if not is_input(view):
            values = view.image(band.low, band.high)
            values = np.sort(values[np.isfinite(values)])
            if values.size:
                top = max(top, float(values[int(0.995 * (values.size - 1))]), 0.5 * float(values[-1]))
    return top if top > 0 else 1.0


def close_up(content: Content, band: Band) -> tuple[float, float]:
    """The surroundings of a band: five times as wide, and at least thirty bins."""
    edges = content.frame.edges
    half = max(2.5 * (band.high - band.low), 15 * float(np.median(np.diff(edges))))
    middle = 0.5 * (band.low + band.high)
    low, high = max(middle - half, edges[0]), min(middle + half, edges[-1])
    return float(low), float(high)
