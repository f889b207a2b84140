"""Areas that pixels of two grids share: quadrilaterals over sky pixels, and the resampling of images by them."""

import numpy as np
from astropy.wcs import WCS
from scipy.sparse import csr_array

from hifred.grid import CubeGrid, whole_numbers

# Pairs of a quadrilateral and a pixel worked on at once: the arrays of one piece stay in the processor's cache.
_PIECE = 50_000

# Shared areas up to this, in pixels, are the rounding of coordinates of up to some hundred pixels.
_ROUNDING = 1e-13


def overlap_matrix(corners, shape: tuple[int, int]) -> csr_array:
    """Fraction of each sky pixel's area that falls in each quadrilateral.

    Parameters
    ----------
    corners : array of shape (D, 4, 2)
        Corners `(x, y)` of D convex quadrilaterals, in order round each of them (either way), in pixels of the sky
        grid: pixel (0, 0) spans -0.5 to 0.5. Quadrilaterals of any size may overlap each other and leave the grid.
        One whose four corners are all nan has no place on the grid (see `pixel_corners`) and shares nothing.
    shape : tuple of two int
        Number of sky pixels `(ny, nx)`.

    Returns
    -------
    csr_array of shape (D, ny * nx)
        `fraction[d, y * nx + x]`, float64 in 0 to 1. A row sums to the area of the part of quadrilateral d on the
        grid, in pixels. A column sums to 1 where quadrilaterals tile the pixel.

    Raises
    ------
    ValueError
        If the corners are not of that shape, some are not finite, or a quadrilateral that reaches the grid is not
        convex.

    Notes
    -----
    With corners in anticlockwise order, the area that a polygon shares with the pixel `[0, 1] x [0, 1]` is, by Green's
    theorem, `sum over its edges of the integral of clip(x, 0, 1) dy over the part of the edge with 0 <= y <= 1`: the
    closing pieces along the sides of the pixel are in the clip, or have `dy = 0`. On an edge x is linear in y, so each
    integral is exact. Fractions up to 1e-13 are rounding and left out.
    """
    corners = np.asarray(corners, float)
    ny, nx = whole_numbers("shape", shape)
    if corners.ndim != 3 or corners.shape[1:] != (4, 2):
        raise ValueError(f"corners: expected shape (quadrilaterals, 4, 2), found {corners.shape}")
    unknown = np.isnan(corners)
    missing = unknown.all(axis=(1, 2))
    if np.any(np.isinf(corners)) or np.any(unknown.any(axis=(1, 2)) != missing):
        raise ValueError("corners: expected finite numbers, or nan for all corners of a quadrilateral, found others")
    index, first, size = _reached(corners, missing, (nx, ny))
    reached = corners[index]
    _require_convex(reached, index)
    ends = np.cumsum(size.prod(axis=1))
    rows, columns, values = [], [], []
    for start in range(0, int(ends[-1]) if ends.size else 0, _PIECE):
        pair = np.arange(start, min(start + _PIECE, ends[-1]))
        which = np.searchsorted(ends, pair, side="right")
        within = pair - (ends[which] - size[which].prod(axis=1))
        pixel = first[which] + np.stack([within % size[which, 0], within // size[which, 0]], axis=1)
        area = _area_in_unit_square(reached[which] - (pixel[:, None] - 0.5))
        keep = area > _ROUNDING
        rows.append(index[which[keep]])
        columns.append(pixel[keep, 1] * nx + pixel[keep, 0])
        values.append(area[keep])
    if not rows:
        return csr_array((len(corners), ny * nx))
    counts = np.bincount(np.concatenate(rows), minlength=len(corners))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((np.concatenate(values), np.concatenate(columns), starts), shape=(len(corners), ny * nx))


def pixel_corners(wcs: WCS, shape: tuple[int, int], grid: CubeGrid) -> np.ndarray:
    """Corners of the pixels of an image in the pixel coordinates of a grid.

    Parameters
    ----------
    wcs : WCS
        Celestial WCS of the image, of two axes; any projection, orientation and frame.
    shape : tuple of two int
        Pixels of the image `(ny, nx)`.
    grid : CubeGrid
        The grid; it needs a centre.

    Returns
    -------
    array of shape (ny * nx, 4, 2)
        Corners `(x, y)` in 0-based pixels of `grid.wcs`, in order round each pixel. All are nan where one of them is
        outside of the image's projection, or 90 degrees or more from the centre of the grid.

    Raises
    ------
    ValueError
        If the WCS is not celestial of two axes, or the grid has no place on the sky.
    """
    target = grid.wcs
    if target is None:
        raise ValueError("grid: expected a grid with a centre on the sky, found none")
    if wcs.naxis != 2 or not wcs.has_celestial:
        raise ValueError(f"wcs: expected two celestial axes, found {list(wcs.wcs.ctype)}")
    ny, nx = whole_numbers("shape", shape)
    y, x = np.mgrid[: ny + 1, : nx + 1] - 0.5
    lattice = np.stack(target.world_to_pixel(wcs.pixel_to_world(x, y)), axis=-1)
    lattice[~np.isfinite(lattice).all(axis=-1)] = np.nan
    around = (lattice[:-1, :-1], lattice[:-1, 1:], lattice[1:, 1:], lattice[1:, :-1])
    corners = np.stack(around, axis=2).reshape(-1, 4, 2)
    corners[np.isnan(corners).any(axis=(1, 2))] = np.nan
    return corners


def resample(image, wcs: WCS, grid: CubeGrid) -> np.ndarray:
    """Spread the counts of an image over the pixels of a grid.

    Parameters
    ----------
    image : array of shape (..., ny, nx)
        Counts, or another quantity that adds up over pixels; leading axes (channels) are kept.
    wcs : WCS
        Celestial WCS of the image.
    grid : CubeGrid
        Where to.

    Returns
    -------
    array of shape (..., grid ny, grid nx)
        Each image pixel gives each grid pixel the share of its own area that lies there: its counts are taken as even
        over the pixel. The sum is that of the part of the image on the grid.

    Raises
    ------
    ValueError
        As `pixel_corners`; if the image is not finite in a pixel that reaches the grid.
    """
    values, shares, areas = _shares(image, wcs, grid)
    return ((values / areas) @ shares).reshape(*np.shape(image)[:-2], *grid.sky_shape)


def average(image, wcs: WCS, grid: CubeGrid) -> np.ndarray:
    """Mean of a map over the pixels of a grid.

    Parameters
    ----------
    image : array of shape (..., ny, nx)
        A quantity that does not depend on the size of the pixels, as exposure times; leading axes are kept.
    wcs : WCS
        Celestial WCS of the map.
    grid : CubeGrid
        Where to.

    Returns
    -------
    array of shape (..., grid ny, grid nx)
        Mean over the part of each grid pixel that the map covers, weighted by area; 0 where it covers nothing. Times
        `coverage`, it is the mean over the whole pixel with nothing outside of the map.

    Raises
    ------
    ValueError
        As `pixel_corners`; if the map is not finite in a pixel that reaches the grid.
    """
    values, shares, _ = _shares(image, wcs, grid)
    covered = shares.sum(axis=0)
    sums = values @ shares
    means = np.divide(sums, covered, out=np.zeros_like(sums), where=covered > 0)
    return means.reshape(*np.shape(image)[:-2], *grid.sky_shape)


def coverage(wcs: WCS, shape: tuple[int, int], grid: CubeGrid) -> np.ndarray:
    """Fraction of each pixel of a grid that an image covers.

    Parameters
    ----------
    wcs : WCS
        Celestial WCS of the image.
    shape : tuple of two int
        Pixels of the image `(ny, nx)`.
    grid : CubeGrid
        The grid.

    Returns
    -------
    array of shape (grid ny, grid nx)
        Between 0 and 1.

    Raises
    ------
    ValueError
        As `pixel_corners`.
    """
    return overlap_matrix(pixel_corners(wcs, shape, grid), grid.sky_shape).sum(axis=0).reshape(grid.sky_shape)


def _shares(image, wcs, grid):
    """Pixels of an image that reach the grid: values (images, pixels), overlaps, and areas in pixels of the grid."""
    image = np.asarray(image)
    if image.ndim < 2 or image.dtype.kind not in "biuf":
        raise ValueError(f"image: expected numbers of shape (..., ny, nx), found {image.dtype} of shape {image.shape}")
    ny, nx = image.shape[-2:]
    corners = pixel_corners(wcs, (ny, nx), grid)
    shares = overlap_matrix(corners, grid.sky_shape)
    # Off the grid an image may hold nan, which a weight of 0 would not remove.
    reached = np.flatnonzero(np.diff(shares.indptr))
    values = image.reshape(-1, ny * nx)[:, reached].astype(float)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"image: expected finite values on the grid, found {np.sum(~np.isfinite(values))} others")
    return values, shares[reached], np.abs(_signed_area(corners[reached]))


def _reached(corners, missing, sides):
    """Quadrilaterals whose boxes reach the grid of `sides` (nx, ny): which, their first pixels (x, y) and extents."""
    index = np.flatnonzero(~missing)
    boxed = corners[index]
    first = np.clip(np.floor(boxed.min(axis=1) + 0.5), 0, sides).astype(np.int64)
    end = np.clip(np.ceil(boxed.max(axis=1) + 0.5), 0, sides).astype(np.int64)
    touches = np.all(end > first, axis=1)
    return index[touches], first[touches], (end - first)[touches]


def _require_convex(corners, index):
    edges = np.roll(corners, -1, axis=1) - corners
    following = np.roll(edges, -1, axis=1)
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    length = np.abs(edges).max(axis=(1, 2))
    # Three corners in a line are allowed, and come with the rounding of their coordinates.
    tolerance = (1e-9 * length + 1e-14 * np.abs(corners).max(axis=(1, 2))) * length
    wrong = (turns.min(axis=1) < -tolerance) & (turns.max(axis=1) > tolerance)
    if wrong.any():
        worst = int(np.argmax(wrong))
        raise ValueError(
            f"corners: expected convex quadrilaterals, found {wrong.sum()} that are not, "
            f"first number {index[worst]} with corners {corners[worst].tolist()}"
        )


def _signed_area(corners):
    """Areas of quadrilaterals (D, 4, 2), by half the cross product of their diagonals."""
    one, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    return 0.5 * (one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _area_in_unit_square(corners):
    """Area of quadrilaterals (P, 4, 2) in the square from (0, 0) to (1, 1), shape (P,)."""
    x, y = np.ascontiguousarray(corners.transpose(2, 1, 0))
    total = np.zeros(len(corners))
    for start, stop in ((0, 1), (1, 2), (2, 3), (3, 0)):
        rise, run = y[stop] - y[start], x[stop] - x[start]
        low, high = np.clip(y[start], 0, 1), np.clip(y[stop], 0, 1)
        ends = []
        for level in (low, high):
            part = np.divide(level - y[start], rise, out=np.zeros_like(rise), where=rise != 0)
            # Outside of the square the parts may be huge; there high - low is 0.
            ends.append(x[start] + np.clip(part, 0, 1) * run)
        total += _mean_of_clip(*ends) * (high - low)
    return np.minimum(np.abs(total), 1.0)


def _mean_of_clip(a, b):
    """Mean of clip(x, 0, 1) over x from a to b.

    Written in differences of neighbouring numbers, which are exact, so that it holds where a and b nearly agree.
    """
    c, d = np.clip(a, 0, 1), np.clip(b, 0, 1)
    whole = 0.5 * (d - c) * (c + d) + (np.maximum(b, 1) - np.maximum(a, 1))
    return np.divide(whole, b - a, out=c, where=a != b)
