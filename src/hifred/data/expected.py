"""The expected background of a data set, as a plan asks for it."""

import numpy as np

from hifred.data.background import background_cube, rate_background, read_rates, scaled_spectrum, spectrum_times_map
from hifred.data.binning import Bins, SkyBins, event_footprint
from hifred.data.calibrate import Channels
from hifred.data.event_filter import EventFilter
from hifred.data.events import EventFile
from hifred.data.plan import BackgroundPlan
from hifred.data.regions import read_regions, region_mask
from hifred.fitsio import FileError, FitsFile
from hifred.grid import CubeGrid
from hifred.instruments.pha import Spectrum
from hifred.instruments.planes import read_planes
from hifred.instruments.presets import Instrument
from hifred.overlap import average

# Area of a background region is measured on pixels of this side, arcsec.
REGION_PIXEL = 2.0
MOST_REGION_PIXELS = 4_000_000


def expected_background(
    plan: BackgroundPlan | None, instrument: Instrument, file: EventFile, chosen: EventFilter, channels: Channels,
    bins: Bins, exposure: float,
) -> np.ndarray:  # fmt: skip
    """Expected background counts.

    Parameters
    ----------
    plan : BackgroundPlan or None
        Where they come from; none for None.
    instrument : Instrument
        The preset, for its own rate.
    file, chosen
        Event list and the choice of its events, for a region of it.
    channels : Channels
        Channels of the data set.
    bins : Bins
        Its pixels.
    exposure : float
        Time used, s.

    Returns
    -------
    array of shape (channels, rows, columns)

    Raises
    ------
    FileError
        If a file is broken, or what is asked for is not known.
    """
    shape = (channels.edges.size - 1, *bins.shape)
    if plan is None:
        return np.zeros(shape)
    weights = _weights(plan, bins)
    try:
        if plan.preset:
            if instrument.background is None:
                raise FileError(f"{instrument.path}: expected a table [background] for preset = true, found none")
            values = rate_background(instrument.background, channels.bounds, exposure, weights, bins.area)
        elif plan.region is not None:
            values = _of_region(plan.region, file, chosen, channels, bins, weights)
        else:
            values = _of_file(plan, channels, bins, exposure, weights)
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{plan.file or plan.region or instrument.path}: {error}") from error
    return plan.factor * values


def _weights(plan: BackgroundPlan, bins: Bins) -> np.ndarray:
    """How a spectrum spreads over the pixels: evenly over those that see the sky, or as a map has it."""
    seen = bins.placed.seen if not isinstance(bins, SkyBins) else bins.seen
    if plan.map is None:
        return seen.astype(float)
    planes = read_planes(plan.map)
    if not planes.wcs.has_celestial:
        raise FileError(f"{planes.where}: expected a celestial WCS in CTYPE1 and CTYPE2, found none")
    on_sky = average(planes.images[0], planes.wcs, bins.grid)
    if np.any(on_sky < 0) or not np.all(np.isfinite(on_sky)):
        raise FileError(f"{planes.where}: expected finite values of at least 0, found others")
    pixels = bins.pixels
    weights = seen * (on_sky if pixels is None else (pixels @ on_sky.ravel()).reshape(bins.shape))
    if not weights.any():
        raise FileError(f"{planes.where}: expected values above 0 where the data are, found none")
    return weights


def _of_file(plan: BackgroundPlan, channels: Channels, bins: Bins, exposure: float, weights: np.ndarray) -> np.ndarray:
    """By the kind of file: rates (.h5), a spectrum (PHA), or a cube."""
    path = plan.file
    assert path is not None
    if path.suffix.lower() in (".h5", ".hdf5"):
        return rate_background(read_rates(path), channels.bounds, exposure, weights, bins.area)
    names = [part.lower() for part in path.suffixes]
    if any(name in (".pha", ".pi", ".pi2") for name in names) or _is_spectrum(path):
        spectrum = Spectrum.read(path)
        return scaled_spectrum(spectrum, channels.first + channels.edges, exposure, plan.area_ratio, weights)
    return background_cube(path, (channels.edges.size - 1, *bins.shape))


def _is_spectrum(path) -> bool:
    return "SPECTRUM" in FitsFile(path, foreign=True)


def _of_region(
    text: str, file: EventFile, chosen: EventFilter, channels: Channels, bins: Bins, weights: np.ndarray
) -> np.ndarray:
    """Spectrum of the events in a region, scaled by area and spread over the pixels."""
    if not isinstance(bins, SkyBins):
        raise ValueError("region: expected an instrument whose events are binned on the sky, found one with few pixels")
    frame = _frame(file)
    inside = region_mask(read_regions(text, file.wcs), frame.wcs, frame.sky_shape)
    fine = SkyBins(frame)
    spectrum = np.zeros(channels.edges.size - 1)
    for events in file.pieces(filter=chosen):
        channel, pixel = channels.place(events.energy), fine.place(events, file.wcs)
        used = (channel >= 0) & (pixel >= 0)
        used[used] = inside.ravel()[pixel[used]]
        spectrum += np.bincount(channel[used], minlength=spectrum.size)
    ratio = bins.area / (inside.sum() * (frame.pixel_size / 60) ** 2)
    return spectrum_times_map(spectrum * ratio, weights)


def _frame(file: EventFile) -> CubeGrid:
    """A fine image that holds the whole of the event list's sky."""
    corners = event_footprint(file, EventFilter())
    plain = CubeGrid.around([corners], energy_edges=[1.0, 2.0], pixel_size=REGION_PIXEL)
    most = float(np.prod(plain.sky_shape)) / MOST_REGION_PIXELS
    size = REGION_PIXEL * max(1.0, float(np.sqrt(most)))
    return CubeGrid.around([corners], energy_edges=[1.0, 2.0], pixel_size=size)
