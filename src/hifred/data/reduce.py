"""From event lists and calibration files to data sets on one sky."""

import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from astropy.coordinates import SkyCoord

from hifred.data.binning import Bins, SkyBins, event_footprint, placed_array
from hifred.data.calibrate import Channels, point_spread
from hifred.data.dataset import Dataset
from hifred.data.event_filter import EventFilter
from hifred.data.events import EventFile
from hifred.data.expected import expected_background
from hifred.data.plan import DatasetPlan, GridPlan, Plan
from hifred.data.regions import read_regions, region_mask
from hifred.data.setup import Setup
from hifred.fitsio import FileError, sha256
from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.pixels import PlacedArray
from hifred.instruments.presets import Instrument, instrument, instrument_names
from hifred.response.calibration import Calibration
from hifred.response.response import Response

Say = Callable[[str], object]


def reduce(plan: Plan | str | os.PathLike, *, say: Say | None = None) -> tuple[Dataset, ...]:
    """Turn event lists and calibration files into data sets on one grid.

    Parameters
    ----------
    plan : Plan or path
        What to do; a TOML file as `hifred init` writes it.
    say : callable, optional
        Called with a sentence for each thing worth knowing: the grid that is proposed, where a detector lies.

    Returns
    -------
    tuple of Dataset
        In the order of the plan. Their provenance names the files with their checksums.

    Raises
    ------
    FileError
        If a file is broken, or files do not fit together; nothing is written.
    """
    if not isinstance(plan, Plan):
        plan = Plan.read(plan)
    say = say or (lambda sentence: None)
    observations = [Observation.open(dataset) for dataset in plan.datasets]
    grid = propose_grid(plan.grid, observations)
    centre = grid.center.icrs  # pyright: ignore[reportOptionalMemberAccess]
    say(
        f"grid: {grid.shape[0]} energies x {grid.shape[1]} x {grid.shape[2]} pixels of {grid.pixel_size:g} arcsec "
        f"about RA {centre.ra.deg:.5f} Dec {centre.dec.deg:+.5f}"
    )
    return tuple(observation.dataset(grid, say, plan.response) for observation in observations)


@dataclass(frozen=True, eq=False)
class Observation:
    """One event list, opened, with what is known before the grid is.

    Attributes
    ----------
    plan : DatasetPlan
        What to do with it.
    instrument : Instrument
        Its preset.
    file : EventFile
        The event list.
    chosen : EventFilter
        Which events are used.
    placed : PlacedArray or None
        The detector on the sky, where it has pixels of its own.
    """

    plan: DatasetPlan
    instrument: Instrument
    file: EventFile
    chosen: EventFilter
    placed: PlacedArray | None

    @classmethod
    def open(cls, plan: DatasetPlan) -> "Observation":
        """Open the event list and find out where the detector lies.

        Raises
        ------
        FileError
            If the file is broken or of another instrument.
        """
        if not plan.instrument.endswith(".toml") and plan.instrument not in instrument_names():
            known = ", ".join(instrument_names())
            raise FileError(
                f"{plan.label}: instrument: expected a TOML file (.toml) or one of {known}, found {plan.instrument!r}"
            )
        preset = instrument(plan.instrument)
        file = EventFile(plan.events, preset.events)
        for keyword, found, expected in (
            ("TELESCOP", file.telescope, (preset.telescope,)), ("INSTRUME", file.instrume, preset.instrume),
        ):  # fmt: skip
            if found and found.upper() not in {name.upper() for name in expected}:
                raise FileError(
                    f"{plan.events}[{preset.events.extension}]: {keyword}: expected {' or '.join(expected)} for the "
                    f"instrument {preset.name}, found {found}"
                )
        try:
            chosen = EventFilter(keep=plan.keep, time=plan.time)
        except ValueError as error:
            raise FileError(f"{plan.label}: {error}") from error
        array = preset.detector
        placed = None
        if array is not None:
            strange = sorted(set(plan.exclude_pixels) - set(array.layout.ravel().tolist()))
            if strange:
                raise FileError(f"{plan.label}: exclude_pixels: expected pixels of {preset.name}, found {strange}")
            placed = placed_array(file, chosen, array, plan.array_center, plan.array_roll)
        else:
            for key, value in plan.of_array.items():
                raise FileError(
                    f"{plan.label}: {key}: expected none for {preset.name}, which bins the sky, found {value}"
                )
        return cls(plan, preset, file, chosen, placed)

    @property
    def footprint(self) -> SkyCoord:
        """What the instrument sees: the corners of the detector, or of the box that holds the events."""
        if self.placed is None:
            return event_footprint(self.file, self.chosen)
        return self.placed.footprint

    def setup(self) -> Setup:
        """What makes the response, once there is a grid."""
        ra, dec = (self.file.header.get(key) for key in ("RA_PNT", "DEC_PNT"))
        known = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (ra, dec))
        placed = self.placed
        return Setup(
            instrument=self.plan.instrument,
            calibration=self.plan.calibration,
            exposure=self._exposure(),
            full_exposure=self.file.exposure,
            band=self.plan.band,
            channel_width=self.plan.channel_width,
            pointing=(float(ra), float(dec)) if known else None,  # pyright: ignore[reportArgumentType]
            detector=None if placed is None else (placed.center.ra.deg, placed.center.dec.deg, placed.roll),
            exclude_pixels=self.plan.exclude_pixels,
        )

    def dataset(self, grid: CubeGrid, say: Say, response: str) -> Dataset:
        """Count, calibrate, and put together."""
        plan, setup = self.plan, self.setup()
        bins, channels = setup.bins(grid), self._channels(setup, grid)
        counts = self._count(bins, channels)
        if not counts.any():
            self._require_on(bins)
        recipe = setup.response(grid)
        mask = self._mask(bins, recipe)
        background = expected_background(
            plan.background, self.instrument, self.file, self.chosen, channels, bins, setup.exposure
        )
        used, bounds = counts[:, mask], channels.bounds
        matrix, preset = channels.rmf, self.instrument
        if matrix.instrument and matrix.instrument.upper() not in {name.upper() for name in preset.instrume}:
            say(f"{plan.name}: the RMF is one of {matrix.telescope} {matrix.instrument}, not of {preset.name}")
        kernels = np.ones(1) if recipe.psf is None else recipe.psf.sum((2, 3))
        say(
            f"{plan.name}: {used.sum()} events in {len(counts)} channels from {bounds[0]:.4g} to {bounds[-1]:.4g} keV "
            f"and {int(mask.sum())} pixels, {setup.exposure:.6g} s, {background[:, mask].sum():.4g} of background "
            f"expected; the PSF's images leave out {1 - kernels.min():.1%} of a source's photons"
            + ("" if self.placed is None else f"; detector at {_place(self.placed)}")
        )
        return Dataset(
            counts, Response.of(recipe), background, np.broadcast_to(mask, counts.shape).copy(), plan.name, grid,
            exposure=setup.exposure, provenance=self._provenance(setup, response),
        )  # fmt: skip

    def _channels(self, setup: Setup, grid: CubeGrid) -> Channels:
        try:
            return setup.channels(grid)
        except FileError:
            raise
        except ValueError as error:
            raise FileError(f"{self.plan.label}: {error}") from error

    def _exposure(self) -> float:
        try:
            return self.file.exposure_within(self.chosen)
        except ValueError as error:
            raise FileError(f"{self.plan.label}: {error}") from error

    def _count(self, bins: Bins, channels: Channels) -> np.ndarray:
        """Photons in each bin, a piece of the list at a time."""
        size = channels.edges.size - 1
        counts = np.zeros(size * int(np.prod(bins.shape)), np.int64)
        for events in self.file.pieces(filter=self.chosen):
            channel = channels.place(events.energy)
            pixel = bins.place(events, self.file.wcs)
            inside = (channel >= 0) & (pixel >= 0)
            flat = channel[inside] * int(np.prod(bins.shape)) + pixel[inside]
            np.add.at(counts, flat, 1)
        return counts.reshape(size, *bins.shape)

    def _require_on(self, bins: Bins) -> None:
        """Check that a list without a photon in the data at least looks at the grid."""
        if not isinstance(bins, SkyBins) or not any(len(piece) for piece in self.file.pieces(filter=self.chosen)):
            return
        place = np.stack(bins.grid.wcs.world_to_pixel(self.footprint))  # pyright: ignore[reportOptionalMemberAccess]
        ny, nx = bins.shape
        # Places on the far side of the sky are nan, which is on no grid.
        if not np.all((place.max(1) > -0.5) & (place.min(1) < np.array([nx, ny]) - 0.5)):
            raise FileError(
                f"{self.plan.label}: expected events on the grid, found all of {self.plan.events} off it: is the "
                "center of [grid] right?"
            )

    def _mask(self, bins: Bins, calibration: Calibration) -> np.ndarray:
        """Pixels that are used, bool of shape (rows, columns)."""
        mask = bins.seen
        if calibration.maps is not None:
            exposure = calibration.maps.sum((0, 1))
            if calibration.pixels is not None:
                exposure = (calibration.pixels @ exposure.ravel()).reshape(bins.shape)
            # In a gap between chips the sums of overlaps leave some rounding.
            mask = mask & (exposure > 1e-6 * exposure.max())
        for key, text, inside in (("region", self.plan.region, True), ("mask", self.plan.mask, False)):
            if text is None:
                continue
            try:
                mask = mask & (_in_region(text, bins, self.file) == inside)
            except ValueError as error:
                given = text if key in self.plan.files else " ".join(text.split())
                raise FileError(f"{self.plan.label}: {key} = {given!r}: {error}") from error
        if not mask.any():
            raise FileError(f"{self.plan.label}: expected some pixels to use, found none on the grid")
        return mask

    def _provenance(self, setup: Setup, response: str) -> dict:
        return {
            "hifred": importlib.metadata.version("hifred"),
            "response": response,
            "setup": _plain(setup.to_json()),
            "files": {
                key: {"file": str(path.resolve()), "sha256": sha256(path)} for key, path in self.plan.files.items()
            },
            "plan": _plain(self.plan),
        }


def propose_grid(plan: GridPlan, observations: list[Observation]) -> CubeGrid:
    """The grid of a plan; where it has no centre, what all instruments see and the PSF's reach beyond.

    Raises
    ------
    FileError
        If the fields of the event lists do not overlap.
    """
    edges = energy_bins(*plan.band, plan.energy_step)
    if plan.center is not None and plan.size is not None:
        nx, ny = plan.size
        return CubeGrid(edges, (ny, nx), plan.pixel_size, plan.center, plan.rotation)
    energy = 0.5 * (plan.band[0] + plan.band[1])
    reach = plan.reach
    if reach is None:
        spreads = [point_spread(one.plan.calibration, one.instrument) for one in observations]
        reach = max(2 * psf.radius(0.5, energy) for psf in spreads)
    footprints = [observation.footprint for observation in observations]
    try:
        return CubeGrid.around(
            footprints, energy_edges=edges, pixel_size=plan.pixel_size, reach=reach, rotation=plan.rotation
        )
    except ValueError as error:
        text = str(error)
        for number, observation in enumerate(observations):
            text = text.replace(f"footprints[{number}]", str(observation.plan.events))
        raise FileError(f"[grid]: {text}") from error


def _in_region(text: str, bins: Bins, file: EventFile) -> np.ndarray:
    """Pixels whose centres lie in a region."""
    regions = read_regions(text, file.wcs)
    if isinstance(bins, SkyBins):
        return region_mask(regions, bins.grid.wcs, bins.shape)
    # A detector's pixels have no WCS: look up their centres on the grid.
    inside = region_mask(regions, bins.grid.wcs, bins.grid.sky_shape)
    x, y = bins.grid.wcs.world_to_pixel(bins.centers())  # pyright: ignore[reportOptionalMemberAccess]
    row, column = np.round(y).astype(int), np.round(x).astype(int)
    on_grid = (row >= 0) & (row < inside.shape[0]) & (column >= 0) & (column < inside.shape[1])
    return on_grid & inside[row.clip(0, inside.shape[0] - 1), column.clip(0, inside.shape[1] - 1)]


def _place(placed: PlacedArray) -> str:
    return f"RA {placed.center.ra.deg:.5f} Dec {placed.center.dec.deg:+.5f}, roll {placed.roll:.2f} deg"


def _plain(value):
    """Dataclasses, paths and arrays as what JSON knows."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value
