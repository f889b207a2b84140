"""Where on the sky, and in which bins of the data, an instrument counts its photons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from scipy.sparse import csr_array

from hifred.data.event_filter import EventFilter
from hifred.data.events import EventFile, Events
from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments.pixels import PixelArray, PlacedArray, fit_placement, placement_from_header
from hifred.overlap import overlap_matrix

# Events from which the place of a detector is measured: more would not make it better than its calibration.
PLACING_EVENTS = 200_000
# With fewer, the nominal pointing is the better guess (30 arcsec / sqrt(6 n) is 1 arcsec at 150).
FEWEST_EVENTS = 150
# A detector pixel of which less than this part lies on the grid sees sky that the cube does not hold.
WHOLE = 0.999


@dataclass(frozen=True, eq=False)
class SkyBins:
    """The sky pixels of the grid themselves: for cameras whose pixels are small, and events have positions.

    Attributes
    ----------
    grid : CubeGrid
        The grid.
    """

    grid: CubeGrid

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.sky_shape

    @property
    def pixels(self) -> csr_array | None:
        """None: detector pixels are sky pixels."""
        return None

    @property
    def seen(self) -> np.ndarray:
        """All, bool of shape (ny, nx)."""
        return np.ones(self.shape, bool)

    @property
    def area(self) -> float:
        """Area of all pixels, arcmin2."""
        return float(np.prod(self.shape)) * (self.grid.pixel_size / 60) ** 2

    def place(self, events: Events, wcs: WCS) -> np.ndarray:
        """Index of the flat image of each event, -1 for those off the grid."""
        x, y = grid_positions(events, wcs, self.grid)
        ny, nx = self.shape
        column, row = np.floor(x + 0.5), np.floor(y + 0.5)
        inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
        return np.where(inside, row * nx + column, -1).astype(int)

    def centers(self) -> SkyCoord:
        """Sky positions of the middles of the pixels, shape (ny, nx)."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        return self.grid.wcs.pixel_to_world(x, y)  # pyright: ignore[reportOptionalMemberAccess]


@dataclass(frozen=True, eq=False)
class ArrayBins:
    """Few, large pixels with numbers, wherever they lie on the sky.

    Attributes
    ----------
    grid : CubeGrid
        The grid.
    placed : PlacedArray
        The detector on the sky.
    exclude : tuple of int
        Numbers of pixels that are not used.
    """

    grid: CubeGrid
    placed: PlacedArray
    exclude: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.placed.array.shape

    @property
    def pixels(self) -> csr_array:
        """Part of each sky pixel that falls in each detector pixel, (rows x columns, ny x nx); none off the sky."""
        corners = self.placed.corners(self.grid.wcs)
        matrix = overlap_matrix(corners, self.grid.sky_shape)
        return csr_array(matrix.multiply(self.placed.seen.ravel()[:, None]))

    @property
    def seen(self) -> np.ndarray:
        """Pixels that see the sky, lie on the grid as a whole, and are not excluded."""
        covered = np.asarray(self.pixels.sum(1)).ravel() * (self.grid.pixel_size / self.placed.array.pitch) ** 2
        number = self.placed.array.layout
        return self.placed.seen & (covered.reshape(self.shape) > WHOLE) & ~np.isin(number, self.exclude)

    @property
    def area(self) -> float:
        """Area of the pixels that see the sky, arcmin2."""
        return float(self.placed.seen.sum()) * (self.placed.array.pitch / 60) ** 2

    def place(self, events: Events, wcs: WCS) -> np.ndarray:
        """Index of the flat layout of each event, -1 for pixel numbers that are not in it."""
        if events.pixel is None:
            raise ValueError("events: expected numbers of detector pixels, found none; name their column")
        layout = self.placed.array.layout.ravel()
        order = np.argsort(layout)
        at = np.searchsorted(layout[order], events.pixel).clip(0, layout.size - 1)
        return np.where(layout[order][at] == events.pixel, order[at], -1)

    def centers(self) -> SkyCoord:
        """Sky positions of the middles of the pixels, shape (rows, columns)."""
        return self.placed.centers()


Bins = SkyBins | ArrayBins


def grid_positions(events: Events, wcs: WCS, grid: CubeGrid) -> tuple[np.ndarray, np.ndarray]:
    """Positions of events in 0-based pixel coordinates of a grid."""
    if grid.wcs is None:
        raise ValueError("grid: expected one with a centre on the sky, found none")
    return grid.wcs.world_to_pixel(wcs.pixel_to_world(events.x - 1, events.y - 1))


def placed_array(
    file: EventFile, chosen: EventFilter, array: PixelArray, center: Sequence[float] | None, roll: float | None
) -> PlacedArray:
    """The detector on the sky: as told, as the events have it, or by the nominal pointing where there are few.

    Raises
    ------
    FileError
        If the events do not follow the layout, or the header has no pointing.
    """
    if center is not None and roll is not None:
        return array.on_sky(SkyCoord(*center, unit="deg"), roll)
    found: list[Events] = []
    count = 0
    for piece in file.pieces(filter=chosen):
        found.append(piece)
        count += len(piece)
        if count >= PLACING_EVENTS:
            break
    try:
        if count >= FEWEST_EVENTS:
            x, y, pixel = (np.concatenate([getattr(piece, name) for piece in found]) for name in ("x", "y", "pixel"))
            measured = fit_placement(x, y, pixel, file.wcs, array)
        else:
            measured = placement_from_header(file.header, str(file.path))
    except ValueError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{file.path}[{file.columns.extension}]: {error}") from error
    return array.on_sky(
        measured.center if center is None else SkyCoord(*center, unit="deg"), measured.roll if roll is None else roll
    )


def event_footprint(file: EventFile, chosen: EventFilter) -> SkyCoord:
    """Corners, on the sky, of the box in the event list's own coordinates that holds all events that are kept.

    Raises
    ------
    FileError
        If no event is kept.
    """
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for piece in file.pieces(filter=chosen):
        if len(piece):
            at = np.stack([piece.x, piece.y])
            low, high = np.minimum(low, at.min(1)), np.maximum(high, at.max(1))
    if not np.all(np.isfinite(low)):
        raise FileError(f"{file.path}[{file.columns.extension}]: expected some events to keep, found none")
    x, y = np.array([low[0], high[0], high[0], low[0]]), np.array([low[1], low[1], high[1], high[1]])
    return file.wcs.pixel_to_world(x - 1, y - 1)
