"""Photons of a simulated sky, one by one through a telescope: shares no code with the responses it checks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hifred.grid import CubeGrid
from hifred.simulate.focal import ArrayField, SkyField, field_of
from hifred.simulate.observation import rounded
from hifred.simulate.scatter import channels, displacements
from hifred.simulate.telescope import Telescope

PIECE = 2_000_000
"""Photons that are drawn at a time."""


@dataclass(frozen=True, eq=False)
class Photons:
    """What a telescope counts, in no order of time.

    Attributes
    ----------
    channel : array of int of shape (n,)
        PI.
    ra, dec : array of shape (n,)
        Where the event list puts them, degrees: their place, or a place of chance in their large pixel.
    pixel : array of int of shape (n,), optional
        Number of the large pixel.
    """

    channel: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    pixel: np.ndarray | None

    def __len__(self) -> int:
        return len(self.channel)


def observe(cube, grid: CubeGrid, telescope: Telescope, seed, *, background: bool = True) -> Photons:
    """Count the photons of a sky, and the background of the detector.

    Each voxel sends a Poisson number of photons, with energies spread evenly over its bin and positions over its pixel.
    The PSF moves each of them (`displacements`), the RMF puts it in a channel (`channels`), and the channel in one of
    the PI channels within its nominal energies.

    Parameters
    ----------
    cube : array of shape (L, ny, nx)
        Photons / cm2 / s in each voxel.
    grid : CubeGrid
        Its frame, with a centre.
    telescope : Telescope
    seed : int or sequence of int
        Seed of `numpy.random.default_rng`.
    background : bool
        Whether to add the background of the instrument's preset.

    Returns
    -------
    Photons

    Raises
    ------
    ValueError
        If the cube does not fit the grid, the grid has no centre, or the preset has no background.
    """
    if np.shape(cube) != grid.shape:
        raise ValueError(f"cube: expected the shape {grid.shape} of the grid, found {np.shape(cube)}")
    if background and telescope.instrument.background is None:
        raise ValueError(f"telescope: expected a preset with a background, found {telescope.instrument.name} without")
    rng = np.random.default_rng(seed)
    field = field_of(grid, telescope)
    pieces = [_land(telescope, field, energy, x, y, rng) for energy, x, y in _arriving(cube, grid, telescope, rng)]
    if background:
        pieces.append(_background(telescope, field, rng))
    joined = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
    ra, dec = field.wcs.wcs_pix2world(joined[1], joined[2], 0)
    return Photons(joined[0], ra, dec, None if telescope.instrument.detector is None else joined[3])


def _arriving(cube, grid: CubeGrid, telescope: Telescope, rng: np.random.Generator) -> Iterator[tuple]:
    """Energies and places (pixels of the grid) of the photons behind the mirror, some at a time."""
    edges = grid.energy_edges
    incident = telescope.incident(edges)
    y, x = np.indices(grid.sky_shape)
    off_axis = grid.wcs.pixel_to_world(x, y).separation(telescope.pointing(grid)).arcmin.ravel()  # pyright: ignore[reportOptionalMemberAccess]
    sums = np.cumsum(np.asarray(cube).sum((1, 2)) * incident)
    cuts = np.unique(np.searchsorted(sums, np.arange(PIECE, sums[-1], PIECE)))
    for low, high in zip([0, *cuts], [*cuts, len(incident)], strict=True):
        if low == high:
            continue
        expected = np.asarray(cube[low:high], float) * incident[low:high, None, None]
        number = rng.poisson(rounded(expected)).ravel()
        sender = np.flatnonzero(number)
        bins, pixels = np.divmod(np.repeat(sender, number[sender]), off_axis.size)
        rows, columns = np.divmod(pixels, grid.sky_shape[1])
        size = len(bins)
        energy = edges[low + bins] + np.diff(edges)[low + bins] * rng.random(size)
        shift = displacements(telescope.instrument.psf, energy, off_axis[pixels], rng)
        at = (columns + rng.random(size) - 0.5, rows + rng.random(size) - 0.5)
        yield energy, at[0] + shift[0] / grid.pixel_size, at[1] + shift[1] / grid.pixel_size


def _land(telescope: Telescope, field: SkyField | ArrayField, energy, x, y, rng: np.random.Generator) -> tuple:
    """PI, place and pixel of the photons that are counted."""
    on, x, y, pixel = field.place(x, y, rng)
    rmf = telescope.redistribution
    channel = channels(rmf, energy[on], rng)
    counted = channel >= 0
    channel = channel[counted]
    low, high = rmf.channel_lo[channel], rmf.channel_hi[channel]
    columns = telescope.instrument.events
    nominal = low + (high - low) * rng.random(channel.size)
    pi = np.floor((nominal - columns.pi_origin) / columns.pi_step).astype(np.int32) + columns.pi_first
    return pi, x[counted], y[counted], pixel[counted]


def _background(telescope: Telescope, field: SkyField | ArrayField, rng: np.random.Generator) -> tuple:
    """PI, place and pixel of the counts that are no photons of the sky; even over the detector."""
    preset = telescope.instrument
    rates, columns = preset.background, preset.events
    assert rates is not None
    first, last = (np.array(rates.energies)[[0, -1]] - columns.pi_origin) / columns.pi_step
    pi = np.arange(int(np.floor(first)), int(np.ceil(last))) + columns.pi_first
    per_keV = np.interp(columns.energy(pi), rates.energies, rates.rates, left=0.0, right=0.0)
    area = field.area if rates.per_arcmin2 else 1.0
    number = rng.poisson(rounded(per_keV * columns.pi_step * telescope.exposure * area))
    found = np.repeat(pi, number).astype(np.int32)
    return found, *field.anywhere(len(found), rng)
