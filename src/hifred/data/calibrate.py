"""The response of an instrument on a grid, from calibration files."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from scipy.sparse import csr_array, diags_array

from hifred.data.binning import ArrayBins, Bins
from hifred.data.plan import CalibrationPlan
from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments import ogip
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.maps import ExposureMap
from hifred.instruments.pixels import PixelArray
from hifred.instruments.presets import Instrument
from hifred.instruments.psf import PSF
from hifred.instruments.psf_image import ImagePSF
from hifred.instruments.rmf import Redistribution
from hifred.response.calibration import Calibration

# Nodes are added until half-way between two the kernel is interpolated to this, the sum of absolute differences: half a
# percent of the photons in a wrong pixel, where widths are known to some 20%.
KERNEL_ERROR = 1e-2
MOST_NODES, MOST_TERMS = 9, 5
# Exposure of a map over that of the events: more than dead time can explain is another unit or observation.
MOST_EXPOSURE = 1.3
# And less: seconds that are thousands of seconds, or a field that the map hardly reaches.
LEAST_EXPOSURE = 1e-2
# How many times wider or narrower than the preset's a file's PSF may be: minutes of arc for seconds are a factor of 60.
WIDTHS_APART = 50.0
# Kernels end where no pixel further out has more than this part of the photons.
NOTHING = 1e-15
# Channels are by default this part of the FWHM.
CHANNELS_PER_FWHM = 6
# Detector pixels are cut into this many parts along a side to find how much of a PSF falls in them.
PARTS = 8
# A sky pixel is a source of even brightness. Within this many pixels of it, its image is the mean over as many parts.
NEAR, SOURCE_PARTS = 8, 5


@dataclass(frozen=True, eq=False)
class Channels:
    """Sums of an RMF's channels that a data set has.

    Attributes
    ----------
    rmf : Redistribution
        With the summed channels.
    edges : array of int of shape (C + 1,)
        First RMF channel of each, counted from 0, and the one after the last.
    nominal : tuple of arrays of shape (channels,)
        Lower and upper energies of all channels of the file, keV.
    first : int
        Number of the file's first channel.
    """

    rmf: Redistribution
    edges: np.ndarray
    nominal: tuple[np.ndarray, np.ndarray]
    first: int

    @property
    def bounds(self) -> np.ndarray:
        """Nominal energies of the edges, keV, shape (C + 1,)."""
        return np.append(self.rmf.channel_lo, self.rmf.channel_hi[-1])

    def place(self, energy: np.ndarray) -> np.ndarray:
        """Index of the summed channel of events, by the energy in the middle of their PI channel; -1 outside."""
        low, high = self.nominal
        channel = np.searchsorted(low, energy, side="right") - 1
        channel = np.where((channel >= 0) & (energy <= high[channel]), channel, -1)
        place = np.searchsorted(self.edges, channel, side="right") - 1
        return np.where((channel < 0) | (channel >= self.edges[-1]), -1, place)


def choose_channels(
    path: Path, instrument: Instrument, grid: CubeGrid, band: tuple[float, float] | None, width: float | None
) -> Channels:
    """Read the RMF and choose its channels.

    Parameters
    ----------
    path : path
        RMF.
    instrument : Instrument
        The preset.
    grid : CubeGrid
        The grid.
    band : tuple of two float, optional
        Lowest and highest energy of the channels, keV; by default the grid's band less the FWHM at both ends.
    width : float, optional
        Channels are summed to this width, keV; by default a sixth of the FWHM, and at least the grid's energy step.

    Raises
    ------
    FileError
        If the file is no whole RMF, or has no channel in the band.
    ValueError
        If the grid is too narrow for the default band.
    """
    rmf = Redistribution.read(path)
    low, high = grid.energy_edges[[0, -1]]
    if band is None:
        band = low + float(instrument.fwhm(low)), high - float(instrument.fwhm(high))
        if not band[0] < band[1]:
            raise ValueError(
                f"band: expected one, where the grid is no wider than twice the FWHM of {instrument.name}, found none "
                f"and a grid of {low:g} to {high:g} keV"
            )
    inside = np.flatnonzero((rmf.channel_lo >= band[0] - 1e-6) & (rmf.channel_hi <= band[1] + 1e-6))
    if not inside.size:
        raise FileError(
            f"{path}[EBOUNDS]: expected channels within {band[0]:.4g} to {band[1]:.4g} keV, found "
            f"{rmf.channel_lo[0]:.4g} to {rmf.channel_hi[-1]:.4g} keV"
        )
    middle = 0.5 * (band[0] + band[1])
    step = float(np.median(np.diff(grid.energy_edges)))
    width = width or max(float(instrument.fwhm(middle)) / CHANNELS_PER_FWHM, step)
    # The mean of many: files hold edges in single precision, to which one channel's width is 1e-3 of itself off.
    native = float(rmf.channel_hi[inside[-1]] - rmf.channel_lo[inside[0]]) / inside.size
    count = min(max(1, int(width / native + 1e-3)), inside.size)
    edges = np.arange(inside[0], inside[-1] + 2, count)
    return Channels(rmf.grouped(edges), edges, (rmf.channel_lo, rmf.channel_hi), rmf.first_channel)


def calibrate(
    plan: CalibrationPlan, instrument: Instrument, channels: Channels, bins: Bins, exposure: float,
    pointing: SkyCoord | None, full_exposure: float | None = None,
) -> Calibration:  # fmt: skip
    """Put area, exposure, vignetting, PSF, redistribution and pixels together.

    Parameters
    ----------
    plan : CalibrationPlan
        The files.
    instrument : Instrument
        The preset.
    channels : Channels
        The RMF, with the channels of the data set.
    bins : Bins
        The detector pixels, on the grid.
    exposure : float
        Time used, s.
    pointing : SkyCoord, optional
        Optical axis; by default the middle of the grid.
    full_exposure : float, optional
        Time of the whole observation, which an exposure map is relative to, s; by default `exposure`.

    Raises
    ------
    FileError
        If a file is broken, or does not cover the energies or the sky of the grid.
    """
    grid, rmf = bins.grid, channels.rmf
    area = _area(plan, rmf, grid)
    psf = point_spread(plan, instrument)
    array = instrument.detector
    middle = 0.5 * (rmf.energy_lo + rmf.energy_hi)
    holds = array is not None if plan.arf_holds_psf is None else plan.arf_holds_psf
    if holds and array is not None:
        knots = np.linspace(grid.energy_edges[0], grid.energy_edges[-1], 9)
        with _naming(plan, instrument):
            caught = [on_axis_fraction(psf, array, energy) for energy in knots]
        area = area / np.interp(middle, knots, caught)
    overlap = ogip.shares(rmf.energy_lo, rmf.energy_hi, grid.energy_edges[:-1], grid.energy_edges[1:])
    _require_cover(overlap, f"{plan.rmf}[MATRIX]", grid)
    gather = csr_array(diags_array(area * exposure) @ overlap.T)
    used = np.flatnonzero(np.diff(gather.indptr) > 0)
    gather, matrix, middle = csr_array(gather[used]), csr_array(rmf.matrix[:, used]), middle[used]
    for path, found, what in ((plan.arf or plan.rmf, gather, "effective area"), (plan.rmf, matrix, "probability")):
        if not found.sum() > 0:
            low, high = grid.energy_edges[[0, -1]]
            raise FileError(f"{path}: expected some {what} from {low:g} to {high:g} keV, found zero everywhere")
    vignetting = None if plan.exposure_map is None else _vignetting(plan, grid, full_exposure or exposure)
    with _naming(plan, instrument):
        kernels = _kernels(plan, psf, bins, middle, off_axes(grid, pointing), vignetting)
    maps = np.repeat(kernels.weights, kernels.energies.size, axis=0)
    if vignetting is not None:
        maps = maps * np.array([vignetting(energy) for energy in kernels.energies])[:, None]
    trivial = vignetting is None and kernels.images.shape[1] == 1
    return Calibration.checked(
        grid.shape, gather=gather, redistributions=[matrix], channel_bounds=channels.bounds,
        position=np.interp(middle, kernels.energies, np.arange(kernels.energies.size)), psf=kernels.images,
        maps=None if trivial else maps, pixels=bins.pixels,
        detector_shape=bins.shape if isinstance(bins, ArrayBins) else None,
    )  # fmt: skip


@contextmanager
def _naming(plan: CalibrationPlan, instrument: Instrument):
    """Say whose PSF it is that does not hold at some energy or angle."""
    try:
        yield
    except ValueError as error:
        raise FileError(f"{plan.psf or instrument.path} [psf]: {error}") from error


def point_spread(plan: CalibrationPlan, instrument: Instrument) -> PSF:
    """The PSF of a plan: images of a file, or else the preset's.

    Raises
    ------
    FileError
        If the file is broken, or its PSF has a width that cannot be the instrument's.
    """
    if plan.psf is None:
        return instrument.psf
    psf = ImagePSF.read(plan.psf)
    middle = 0.5 * sum(instrument.band)
    usual, found = instrument.psf.radius(0.5, middle), psf.radius(0.5, middle)
    if not usual / WIDTHS_APART < found < usual * WIDTHS_APART:
        raise FileError(
            f"{plan.psf}: expected a PSF of {instrument.name}, half of the photons within some {usual:.3g} arcsec, "
            f"found them within {found:.3g}: are its pixels right?"
        )
    return psf


def on_axis_fraction(psf: PSF, array: PixelArray, energy: float) -> float:
    """Part of the photons of a point source in the middle of a detector that its pixels catch."""
    rows, columns = array.shape
    size, half = array.pitch / PARTS, PARTS * max(rows, columns)
    image = psf.kernel(energy, pixel_size=size, half=half)
    # The middle of a detector with an even number of pixels is a corner of parts: take the mean of the four about it.
    image = 0.25 * (image[:-1, :-1] + image[1:, :-1] + image[:-1, 1:] + image[1:, 1:])
    y, x = half - PARTS * rows // 2, half - PARTS * columns // 2
    inner = image[y : y + PARTS * rows, x : x + PARTS * columns]
    parts = inner.reshape(rows, PARTS, columns, PARTS).sum((1, 3))
    return float(parts[array.seen].sum())


def off_axes(grid: CubeGrid, pointing: SkyCoord | None) -> np.ndarray:
    """Angle of each sky pixel from the optical axis, arcmin, shape (ny, nx)."""
    if pointing is None:
        pointing = grid.center
    y, x = np.mgrid[: grid.sky_shape[0], : grid.sky_shape[1]]
    return grid.wcs.pixel_to_world(x, y).separation(pointing).arcmin  # pyright: ignore[reportOptionalMemberAccess]


@dataclass(frozen=True, eq=False)
class Kernels:
    """PSF images at nodes in energy and in off-axis angle.

    Attributes
    ----------
    energies : array of shape (n,)
        Nodes, keV.
    images : array of shape (n, t, h, h)
        Part of a source's photons in each pixel about its own.
    weights : array of shape (1, t, ny, nx)
        Weight of each off-axis angle in each sky pixel.
    """

    energies: np.ndarray
    images: np.ndarray
    weights: np.ndarray


def _kernels(
    plan: CalibrationPlan, psf: PSF, bins: Bins, energies: np.ndarray, angles: np.ndarray,
    vignetting: Callable[[float], np.ndarray] | None,
) -> Kernels:  # fmt: skip
    grid = bins.grid
    if isinstance(psf, ImagePSF) and grid.rotation % 360 != 0:
        raise ValueError(
            f"expected a grid that is not rotated beside an image of the PSF, whose axes are north and east, found a "
            f"rotation of {grid.rotation:g} degrees"
        )
    half = max(grid.sky_shape) - 1
    if plan.psf_reach is not None:
        half = min(half, int(np.ceil(plan.psf_reach / grid.pixel_size)))
    # Detector pixels that cut sky pixels take photons to be even over these: that is the source's extent already.
    kernel = psf.kernel if isinstance(bins, ArrayBins) else partial(source_kernel, psf)

    def image(energy: float, angle: float) -> np.ndarray:
        return kernel(energy, angle, pixel_size=grid.pixel_size, half=half)

    # A model's formulas end somewhere off the axis; beyond, the PSF is taken to be that of the last angle.
    angles = np.minimum(angles, min(psf.farthest(float(energy)) for energy in energies[[0, -1]]))
    typical = float(np.median(angles))
    nodes = _nodes(energies[0], energies[-1], lambda energy: image(energy, typical), MOST_NODES)
    centre = float(np.median(nodes))
    if vignetting is not None:
        # It is interpolated between the same nodes: as many as the more demanding of the two needs.
        scale = vignetting(centre).sum()
        others = _nodes(energies[0], energies[-1], lambda energy: vignetting(energy) / scale, MOST_NODES)
        nodes = max(nodes, others, key=len)
    places = _nodes(float(angles.min()), float(angles.max()), lambda angle: image(centre, angle), MOST_TERMS)
    images = _trimmed(np.array([[image(energy, angle) for angle in places] for energy in nodes]))
    at = np.interp(angles, places, np.arange(len(places)))
    weights = np.maximum(1 - np.abs(at - np.arange(len(places))[:, None, None]), 0)
    return Kernels(nodes, images, weights[None])


def _trimmed(images: np.ndarray) -> np.ndarray:
    """Kernels (n, t, h, h) up to where the widest ends: a PSF may end long before the grid does."""
    half = images.shape[-1] // 2
    rows, columns = np.nonzero(images.max((0, 1)) > NOTHING)
    reach = int(max(np.abs(rows - half).max(initial=0), np.abs(columns - half).max(initial=0)))
    return images[..., half - reach : half + reach + 1, half - reach : half + reach + 1]


def source_kernel(psf: PSF, energy: float, angle: float, *, pixel_size: float, half: int) -> np.ndarray:
    """Part of the photons in each pixel, of a source that is even over the middle pixel; as `PSF.kernel`."""
    image = psf.kernel(energy, angle, pixel_size=pixel_size, half=half).copy()
    near = min(NEAR, half)
    reach = SOURCE_PARTS * near + SOURCE_PARTS - 1
    fine = psf.kernel(energy, angle, pixel_size=pixel_size / SOURCE_PARTS, half=reach)
    # Of the pairs of a part of the source and a part of a pixel, so many are at each distance: a triangle.
    distance = np.arange(-reach, reach + 1) - SOURCE_PARTS * np.arange(-near, near + 1)[:, None]
    sums = np.maximum(1 - np.abs(distance) / SOURCE_PARTS, 0)
    inner = slice(half - near, half + near + 1)
    image[inner, inner] = sums @ fine @ sums.T
    return image


def _nodes(low: float, high: float, image, most: int) -> np.ndarray:
    """Places between which kernels are interpolated well enough; one where all are alike."""
    ends = image(low), image(high)
    if high <= low or np.abs(ends[1] - ends[0]).sum() <= KERNEL_ERROR:
        return np.array([0.5 * (low + high)])
    for count in (2, 3, 5, most):
        nodes = np.linspace(low, high, min(count, most))
        between = 0.5 * (nodes[1:] + nodes[:-1])
        images = [image(node) for node in nodes]
        halves = [0.5 * (a + b) for a, b in zip(images[1:], images[:-1], strict=True)]
        error = max(np.abs(image(at) - half).sum() for at, half in zip(between, halves, strict=True))
        if error <= KERNEL_ERROR or count >= most:
            break
    return nodes


def _area(plan: CalibrationPlan, rmf: Redistribution, grid: CubeGrid) -> np.ndarray:
    """Effective area in the energy bins of the RMF, cm2; 1 where the RMF holds it."""
    if rmf.includes_area:
        if plan.arf is not None:
            raise FileError(f"{plan.rmf}[MATRIX]: expected no ARF beside an RMF that holds the area, found {plan.arf}")
        return np.ones(rmf.energy_lo.size)
    if plan.arf is None:
        raise FileError(f"{plan.rmf}[MATRIX]: expected an ARF beside an RMF without area, found none (key arf)")
    arf = EffectiveArea.read(plan.arf)
    cover = ogip.shares(arf.energy_lo, arf.energy_hi, grid.energy_edges[:-1], grid.energy_edges[1:])
    _require_cover(cover, f"{plan.arf}[SPECRESP]", grid)
    return ogip.shares(arf.energy_lo, arf.energy_hi, rmf.energy_lo, rmf.energy_hi) @ arf.area


def _require_cover(overlap: csr_array, where: str, grid: CubeGrid) -> None:
    cover = np.asarray(overlap.sum(1)).ravel()
    lost = np.flatnonzero(cover < 1 - 1e-3)
    if lost.size:
        low, high = grid.energy_edges[lost[0]], grid.energy_edges[lost[0] + 1]
        raise FileError(
            f"{where}: expected true energies over all of the grid's band, {grid.energy_edges[0]:g} to "
            f"{grid.energy_edges[-1]:g} keV, found none at {low:.5g} to {high:.5g} keV"
        )


def _vignetting(plan: CalibrationPlan, grid: CubeGrid, exposure: float) -> Callable[[float], np.ndarray]:
    """Exposure map over the exposure, shape (ny, nx), by energy."""
    found = ExposureMap.read(plan.exposure_map)  # pyright: ignore[reportArgumentType]
    if found.unit != "s":
        raise FileError(f"{plan.exposure_map}: expected an exposure map in s, found {found.unit}; the ARF has the area")
    try:
        maps = found.on(grid) / exposure
    except ValueError as error:
        raise FileError(str(error)) from error
    if maps.max() > MOST_EXPOSURE:
        raise FileError(
            f"{plan.exposure_map}: expected at most the exposure of the events, {exposure:.6g} s, found up to "
            f"{maps.max() * exposure:.6g}"
        )
    if maps.max() < LEAST_EXPOSURE:
        raise FileError(
            f"{plan.exposure_map}: expected about the exposure of the events, {exposure:.6g} s, found no more than "
            f"{maps.max() * exposure:.6g} on the grid"
        )
    knots = found.energies
    if knots is None or len(maps) == 1:
        return lambda energy: maps[0]

    def at(energy: float) -> np.ndarray:
        place = float(np.interp(energy, knots, np.arange(len(maps))))
        lower = min(int(place), len(maps) - 2)
        return (1 - place + lower) * maps[lower] + (place - lower) * maps[lower + 1]

    return at
