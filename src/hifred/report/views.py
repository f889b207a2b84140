"""Inputs, result and truth as cubes of one unit, so that they can be looked at side by side."""

from dataclasses import dataclass

import numpy as np

from hifred.data.dataset import Dataset
from hifred.report.frame import Frame
from hifred.response.response import Response

# Bins shown for each autocorrelation length of an instrument's energy response: about three for each FWHM.
BINS_PER_BLUR = 5

# Autocorrelation length of a Gaussian, 2 sqrt(pi) sigma, over its full width at half maximum.
GAUSSIAN = 1.505


@dataclass(frozen=True, eq=False)
class View:
    """Flux density per sky pixel, as one instrument, the fusion or the truth has it.

    Attributes
    ----------
    key : str
        Name for the page's own use.
    title, role, width : str
        What people read above the images: a name, what it is good at, and how wide points and lines are in it.
    edges : array of shape (n + 1,)
        Edges of the energy bins, on the axis of the frame.
    density : array of shape (n, py, px)
        Flux per unit of the energy axis and sky pixel; nan where nothing was measured.
    place : array of int of shape (ny, nx)
        For each sky pixel the index of the pixel of `density` that looks at it.
    """

    key: str
    title: str
    role: str
    width: str
    edges: np.ndarray
    density: np.ndarray
    place: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """Centres of the energy bins, shape (n,)."""
        return 0.5 * (self.edges[:-1] + self.edges[1:])

    def on_sky(self, pixels: np.ndarray) -> np.ndarray:
        """Values of the view's own pixels, spread over the sky pixels they look at; shape (ny, nx)."""
        return np.asarray(pixels).ravel()[self.place]

    def image(self, low: float, high: float) -> np.ndarray:
        """Flux in a band, shape (ny, nx).

        Bins that are partly in the band count in part; bins that were not measured are taken to be like the others of
        their pixel. nan where none was.
        """
        inside = np.minimum(self.edges[1:], high) - np.maximum(self.edges[:-1], low)
        rows = np.flatnonzero(inside > 0)
        if rows.size == 0:
            return np.full(self.place.shape, np.nan)
        weight = inside[rows, None, None]
        values = self.density[rows]
        used = np.isfinite(values)
        seen = (used * weight).sum(0)
        flux = (np.where(used, values, 0) * weight).sum(0, dtype=float)
        mean = np.divide(flux, seen, out=np.full(seen.shape, np.nan), where=seen > 0)
        return self.on_sky(mean * weight.sum())

    def spectrum(self, y: int, x: int) -> np.ndarray:
        """Flux density of the pixel that looks at sky pixel `(y, x)`, shape (n,)."""
        return self.density.reshape(self.density.shape[0], -1)[:, self.place[y, x]]

    def coarser(self, factor: int) -> "View":
        """The same with `factor` neighbouring bins averaged into one."""
        starts = np.arange(0, self.density.shape[0], factor)
        edges = np.append(self.edges[starts], self.edges[-1])
        width = np.diff(self.edges)[:, None, None]
        used = np.isfinite(self.density)
        flux = np.add.reduceat(np.where(used, self.density, 0) * width, starts, axis=0)
        seen = np.add.reduceat(used * width, starts, axis=0)
        density = np.divide(flux, seen, out=np.full(flux.shape, np.nan), where=seen > 0)
        return View(self.key, self.title, self.role, self.width, edges, density.astype(np.float32), self.place)


def view_of_cube(key: str, title: str, role: str, values: np.ndarray, frame: Frame) -> View:
    """A sky cube, in flux per voxel, as flux density."""
    density = (values / np.diff(frame.edges)[:, None, None]).astype(np.float32)
    density[~np.isfinite(density)] = np.nan
    place = np.arange(density[0].size).reshape(density.shape[1:])
    return View(key, title, role, frame.widths(1.0, 1.0), frame.edges, density, place)


def view_of_dataset(key: str, dataset: Dataset, role: str, frame: Frame) -> View:
    """Counts of an instrument as flux density per sky pixel.

    `(n - b) / (X m)`: background subtracted, over the exposure `X_c = sum_e S_ce dE_e` of the channel (`S` the
    response to an even sky: area, time and redistribution), over the `m` sky pixels that the detector pixel looks at.
    What the instrument blurs stays blurred. Channels much narrower than the energy resolution are summed.
    """
    response = dataset.response
    edges, starts = shown_channels(dataset, frame)
    place = sky_place(response)
    pixels = response.out_shape[1:]
    shared = np.bincount(place.ravel(), minlength=int(np.prod(pixels)) + 1)[:-1].reshape(pixels)
    exposure = np.asarray(response.spectral @ np.diff(frame.edges)).ravel()

    def summed(values):
        return np.add.reduceat(np.where(dataset.mask, values, 0), starts, axis=0, dtype=float)

    counts = summed(dataset.counts - dataset.background)
    light = summed(np.broadcast_to(exposure[:, None, None], dataset.counts.shape))
    light *= response.recipe.vignetting() * shared
    density = np.divide(counts, light, out=np.full(counts.shape, np.nan), where=light > 0)
    if place.max() == shared.size:
        # Sky that no pixel looks at: one more row, of nothing.
        density = np.append(density, np.full_like(density[:, :1], np.nan), axis=1)
    width = frame.widths(response.sky_blur / GAUSSIAN, response.energy_blur / GAUSSIAN)
    return View(key, dataset.name, role, width, edges, density.astype(np.float32), place)


def sky_place(response: Response) -> np.ndarray:
    """The detector pixel that looks at each sky pixel, (ny, nx); where none does, one past the last."""
    place = response.recipe.place()
    return np.where(place < 0, int(np.prod(response.out_shape[1:])), place)


def shown_channels(dataset: Dataset, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the bins in which the channels of a data set are shown, and the first channel of each.

    Channels much narrower than the energy resolution are summed.
    """
    edges = dataset.response.recipe.channel_edges(frame.edges)
    width = np.median(np.diff(edges)) / np.median(np.diff(frame.edges))
    factor = int(np.clip(dataset.response.energy_blur / width / BINS_PER_BLUR, 1, max(edges.size - 2, 1)))
    starts = np.arange(0, edges.size - 1, factor)
    return np.append(edges[starts], edges[-1]), starts
