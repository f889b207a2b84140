"""What the page opens with: a line, a band in it, a band of continuum, and a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

from hifred.doppler import energy_factor, velocity_from_energy
from hifred.metrics import LINES, line_maps
from hifred.metrics.lines import rest_energy
from hifred.report.frame import Frame
from hifred.report.views import View

REACH = 6000.0
"""Half width of the band in which a line is looked for, km/s (as in `hifred.metrics.line_maps`)."""

FAR = 3000.0
"""A line whose peak is further than this from its rest energy, km/s, is taken to be redshifted as a whole."""


@dataclass(frozen=True)
class Line:
    """A spectral line of the cube.

    Attributes
    ----------
    name : str
        Ion, or energy.
    rest : float
        Rest energy, keV.
    centre : float
        Energy at which velocity is zero, keV: `rest`, unless the whole line lies far from it.
    """

    name: str
    rest: float
    centre: float

    @property
    def redshift(self) -> float:
        """`rest / centre - 1`."""
        return self.rest / self.centre - 1


@dataclass(frozen=True)
class Band:
    """An interval of the energy axis, and what it is called."""

    label: str
    low: float
    high: float


def find_line(frame: Frame, values: np.ndarray, line: str | float | None) -> Line | None:
    """The line asked for, or the strongest known one that the cube covers; None where there is none.

    Parameters
    ----------
    frame : Frame
        The axes.
    values : array of shape (L, ny, nx)
        The cube.
    line : str or float, optional
        Name in `hifred.metrics.LINES`, or rest energy in keV.

    Raises
    ------
    ValueError
        If the line asked for is unknown, or the cube does not cover it.
    """
    if frame.grid is None:
        if line is not None:
            raise ValueError(f"line: expected a cube with energies to find {line!r} in, found one without")
        return None
    total = np.nansum(values, (1, 2), dtype=float)
    if line is not None:
        _strength(total, frame, line)
        return Line(line if isinstance(line, str) else f"{line:g} keV", rest_energy(line), _centre(total, frame, line))
    strengths = {}
    for name in LINES:
        try:
            strengths[name] = _strength(total, frame, name)
        except ValueError:
            continue
    name = max(strengths, key=strengths.__getitem__, default=None)
    if name is None or not strengths[name] > 0:
        return None
    return Line(name, LINES[name], _centre(total, frame, name))


def line_band(frame: Frame, values: np.ndarray, line: Line | None) -> Band:
    """The core of a line, as wide as half of its full width at half maximum; without a line, of the highest peak."""
    spectrum = np.nansum(values, (1, 2), dtype=float) / np.diff(frame.edges)
    excess = spectrum - median_filter(spectrum, max(3, spectrum.size // 4), mode="nearest")
    near = np.ones(spectrum.size, bool)
    if line is not None:
        near = np.abs(velocity_from_energy(frame.centres, line.centre)) <= REACH
        excess = spectrum - np.percentile(spectrum[near], 5)
    peak = int(np.argmax(np.where(near, excess, -np.inf)))
    low = high = peak
    while low > 0 and excess[low - 1] > 0.5 * excess[peak]:
        low -= 1
    while high < spectrum.size - 1 and excess[high + 1] > 0.5 * excess[peak]:
        high += 1
    quarter = (high - low) // 4
    name = "Brightest peak" if line is None else f"{line.name} line"
    return Band(name, float(frame.edges[low + quarter]), float(frame.edges[high + 1 - quarter]))


def continuum_band(views: Sequence[View], result: View, line: Band) -> Band:
    """The tenth of the energies where the result is flat and faint and all views agree, outside the line's band.

    An input disagrees where it has photons of a bright line that belong elsewhere.
    """
    spectrum = _mean_spectrum(result)
    size = max(1, spectrum.size // 10)
    smooth = uniform_filter1d(spectrum, max(1, size // 8), mode="nearest")
    windows = np.lib.stride_tricks.sliding_window_view(smooth, size)
    level = np.maximum(windows.mean(1), 1e-300)
    lit = windows.mean(1) > 0
    score = np.ptp(windows, axis=1) / level + np.log(level / np.min(level, where=lit, initial=np.max(level)))
    for view in views:
        at = np.clip(np.searchsorted(view.edges, result.centres) - 1, 0, view.edges.size - 2)
        others = np.lib.stride_tricks.sliding_window_view(_mean_spectrum(view)[at], size).mean(1)
        score += np.abs(np.log(np.clip(others / level, 1e-3, 1e3)))
    starts = np.arange(windows.shape[0])
    clear = (result.edges[starts] >= line.high) | (result.edges[starts + size] <= line.low)
    first = int(np.argmin(np.where(clear & lit, score, np.inf)))
    return Band("Continuum", float(result.edges[first]), float(result.edges[first + size]))


def telling_pixel(values: np.ndarray) -> tuple[int, int]:
    """A bright pixel whose spectrum is less like the mean spectrum than that of three in four bright ones: `(y, x)`."""
    cube = np.nan_to_num(values).astype(float)
    image = cube.sum(0)
    length = np.sqrt((cube**2).sum(0))
    along = np.tensordot(cube.sum((1, 2)), cube, 1)
    cosine = np.divide(along, length, out=np.full(image.shape, np.inf), where=length > 0)
    bright = np.flatnonzero((image >= 0.5 * np.percentile(image, 99)).ravel() & (length > 0).ravel())
    if bright.size == 0:
        return image.shape[0] // 2, image.shape[1] // 2
    order = bright[np.argsort(cosine.ravel()[bright])]
    y, x = np.unravel_index(order[order.size // 4], image.shape)
    return int(y), int(x)


def _mean_spectrum(view: View) -> np.ndarray:
    """Flux density averaged over the pixels of a view; 0 where nothing was measured."""
    known = np.isfinite(view.density)
    number = known.sum((1, 2))
    return np.where(known, view.density, 0).sum((1, 2), dtype=float) / np.maximum(number, 1)


def _strength(total: np.ndarray, frame: Frame, line: str | float) -> float:
    """Photons of a line in the whole image."""
    return float(line_maps(total[:, None, None], frame.centres, _centre(total, frame, line)).flux[0, 0])


def _centre(total: np.ndarray, frame: Frame, line: str | float) -> float:
    """Rest energy of a line, or the energy of its peak where that is far away."""
    rest = rest_energy(line)
    near = np.abs(velocity_from_energy(frame.centres, rest)) <= REACH
    if near.sum() < 3:
        return rest
    bins = max(1, round(np.diff(energy_factor([REACH, -REACH]))[0] * rest / np.diff(frame.edges).mean() / 40))
    peak = frame.centres[near][np.argmax(uniform_filter1d(total, bins, mode="nearest")[near])]
    return float(peak) if abs(velocity_from_energy(peak, rest)) > FAR else rest


def known_lines(frame: Frame, line: Line | None, band: Band) -> list[Band]:
    """Bands of the known lines that the cube covers, each as wide in velocity as the band of the line.

    Lines closer together than their names would be on the page are left out, the line itself never.
    """
    if frame.grid is None or line is None:
        return []
    stretch = np.array([band.low, band.high]) / line.centre
    apart = 0.04 * (frame.edges[-1] - frame.edges[0])
    places = {line.name: line.centre} | {name: rest / (1 + line.redshift) for name, rest in LINES.items()}
    kept: list[Band] = []
    for name, centre in places.items():
        low, high = centre * stretch
        near = any(abs(0.5 * (low + high) - 0.5 * (other.low + other.high)) < apart for other in kept)
        if frame.edges[0] < low and high < frame.edges[-1] and not near:
            kept.append(Band(name, float(low), float(high)))
    return sorted(kept, key=lambda known: known.low)
