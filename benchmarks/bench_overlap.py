"""Resampling of images: time, memory, counts kept, and where point sources land.

    python benchmarks/bench_overlap.py

The sources are Gaussians, as wide (sigma) as the larger pixel, integrated over the pixels of an image of another
orientation and frame than the grid. A narrower source falls into one pixel, and its centroid says nothing.
"""

import time
import tracemalloc

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from scipy.special import ndtr

from hifred.grid import CubeGrid
from hifred.overlap import coverage, overlap_matrix, pixel_corners, resample

CENTER = SkyCoord(228.48, -59.14, unit="deg")


def image_wcs(side: int, pixel: float, turn: float = 0.0, projection: str = "TAN") -> WCS:
    """WCS in FK5 of a square image about a place near `CENTER`, turned by `turn` degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = [CENTER.ra.deg + 0.01, CENTER.dec.deg - 0.005]
    wcs.wcs.crpix = [(side + 1) / 2, (side + 1) / 2]
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    wcs.wcs.pc = [[cos, -sin], [sin, cos]]
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    return wcs


def source(shape: tuple[int, int], x: float, y: float, sigma: float) -> np.ndarray:
    """Gaussian of one count, integrated over pixels."""
    profiles = [np.diff(ndtr((np.arange(n + 1) - 0.5 - at) / sigma)) for n, at in zip(shape, (y, x), strict=True)]
    return np.multiply.outer(*profiles)


def miss(wcs: WCS, shape: tuple[int, int], grid: CubeGrid, sigma: float, seed: int) -> float:
    """Distance in pixels of the grid between a source and the centroid of its resampled image."""
    rng = np.random.default_rng(seed)
    ny, nx = grid.sky_shape
    wanted = rng.uniform(0.47, 0.53, 2) * (nx, ny)
    x, y = wcs.world_to_pixel(grid.wcs.pixel_to_world(*wanted))
    found = resample(source(shape, float(x), float(y), sigma), wcs, grid)
    rows, columns = np.mgrid[:ny, :nx]
    centroid = np.array([(columns * found).sum(), (rows * found).sum()]) / found.sum()
    return float(np.hypot(*(centroid - wanted)))


print("image               onto               corners     overlaps    memory   entries   counts: image, grid, change")
rng = np.random.default_rng(0)
for side, pixel, turn, sky, size, rotation in (
    (648, 4.0, 0.0, 60, 4.0, 37.0),
    (648, 4.0, 0.0, 60, 5.0, 0.0),
    (1024, 0.492, 12.0, 48, 5.0, 201.0),
    (1024, 0.492, 12.0, 160, 5.0, 201.0),
    (6, 30.645, 61.0, 100, 3.0, 0.0),
):
    grid = CubeGrid([1, 2], (sky, sky), size, CENTER, rotation)
    wcs = image_wcs(side, pixel, turn)
    began = time.perf_counter()
    corners = pixel_corners(wcs, (side, side), grid)
    middle = time.perf_counter()
    shares = overlap_matrix(corners, grid.sky_shape)
    ended = time.perf_counter()
    image = rng.poisson(0.5, (side, side))
    tracemalloc.start()
    total = resample(image, wcs, grid).sum()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = 1.5 * side * pixel < sky * size
    kept = f"{image.sum():,} {total:,.3f} {total / image.sum() - 1:.1e}" if whole else "the image is the larger"
    print(
        f'{side:4} x {pixel:6.3f}" {turn:3.0f}°   {sky:3} x {size}" {rotation:3.0f}°'
        f"   {middle - began:8.2f} s {ended - middle:8.2f} s {peak / 1e6:8.0f} MB {shares.nnz:9,}   {kept}"
    )

print()
print("the farthest of 20 sources from its place, in pixels of the grid")
for pixel, size, turn, rotation, projection in (
    (0.492, 5.0, 0.0, 0.0, "TAN"),
    (0.492, 5.0, 12.0, 201.0, "TAN"),
    (4.0, 4.0, 0.0, 37.0, "TAN"),
    (4.0, 2.0, 33.0, 0.0, "SIN"),
    (10.0, 1.0, 45.0, 10.0, "CAR"),
):
    grid = CubeGrid([1, 2], (160, 160), size, CENTER, rotation)
    side = int(1.6 * 160 * size / pixel)
    wcs, sigma = image_wcs(side, pixel, turn, projection), max(pixel, size) / pixel
    worst = max(miss(wcs, (side, side), grid, sigma, seed) for seed in range(20))
    print(f'{pixel:6.3f}" {turn:3.0f}° {projection}   onto {size}" {rotation:3.0f}°   {worst:.1e}')

print()
print("area of a grid covered by an image larger than it, least and most")
grid = CubeGrid([1, 2], (60, 60), 4.0, CENTER, 37.0)
covered = coverage(image_wcs(648, 4.0), (648, 648), grid)
print(f"1 - {1 - covered.min():.1e}, 1 + {covered.max() - 1:.1e}")
