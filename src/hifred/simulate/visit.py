"""A visit of telescopes to a simulated sky, as files like those of real ones: event lists, calibration, a plan."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hifred.data.event_writer import LAYOUTS, write_events
from hifred.data.reduce import reduce
from hifred.fitsio import replacing
from hifred.simulate.observation import noise_stream
from hifred.simulate.photons import observe
from hifred.simulate.telescope import Telescope, middle
from hifred.simulate.truth import Truth

PLAN = "reduce.toml"
EVENTS = {"epic-pn": "pn_events.fits", "xrism-resolve": "resolve_cl.evt"}
"""Names of event lists, by instrument; those of others are made of the instrument's name."""
BEYOND = 3.0
"""Full widths at half maximum by which the channels that are used reach beyond the band of the sky."""


@dataclass(frozen=True, eq=False)
class Visit:
    """A sky and the telescopes that look at it.

    Attributes
    ----------
    truth : Truth
        The sky. It ends at the edges of its band and of its grid: nothing shines beyond.
    telescopes : tuple of Telescope
        Of different instruments.
    seed : int
        Seed of the photons.
    counts : float
        Photons that are expected to reach the first telescope's detector or the sky about it; without background.
    draw : int
        Which draw of the photons.
    """

    truth: Truth
    telescopes: tuple[Telescope, ...]
    seed: int
    counts: float
    draw: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets that `hifred reduce` makes."""
        return tuple(telescope.instrument.name for telescope in self.telescopes)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `write_observations` writes."""
        made = [name for t in self.telescopes for name in (t.rmf_name, t.arf_name) if not Path(name).is_absolute()]
        return (*map(events_name, self.names), *made, PLAN)

    def datasets(self) -> tuple:
        """Event lists, written to a temporary folder and reduced.

        Returns
        -------
        tuple of Dataset
            They hold all that is needed; the files that their provenance names are gone.
        """
        with TemporaryDirectory(prefix="hifred-") as folder:
            write_observations(self, folder)
            return reduce(Path(folder) / PLAN)


def events_name(instrument: str) -> str:
    """Name of the event list of an instrument."""
    return EVENTS.get(instrument, f"{instrument}_events.fits")


def write_observations(visit: Visit, folder: str | os.PathLike, *, overwrite: bool = False) -> list[Path]:
    """Draw the photons, and write event lists, calibration, and a plan for `hifred reduce`.

    Parameters
    ----------
    visit : Visit
    folder : path
        Exists already.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    list of Path
        The files. Calibration that was read from a file is not written again: the plan names that file.

    Raises
    ------
    FileError
        If a file exists and may not be replaced, or cannot be written there.
    """
    folder = Path(folder)
    for index, telescope in enumerate(visit.telescopes, 1):
        name = events_name(telescope.instrument.name)
        stream = noise_stream(visit.seed, index, visit.draw)
        _write_photons(visit.truth, telescope, stream, folder / name, overwrite)
        if telescope.redistribution.path is None:
            telescope.redistribution.write(folder / telescope.rmf_name, overwrite=overwrite)
        if telescope.area.path is None:
            telescope.area.write(folder / telescope.arf_name, overwrite=overwrite)
    with replacing(folder / PLAN) as part:
        part.write_text(plan_text(visit), encoding="utf-8")
    return [folder / name for name in visit.files]


def _write_photons(truth: Truth, telescope: Telescope, seed: tuple[int, ...], path: Path, overwrite: bool) -> None:
    preset = telescope.instrument
    photons = observe(truth.values, truth.grid, telescope, seed)
    # Another stream than that of the photons themselves.
    time = np.random.default_rng((*seed, 1)).random(len(photons)) * telescope.exposure
    order = np.argsort(time)
    pointing = telescope.pointing(truth.grid).icrs
    write_events(
        path, preset.events, telescope=preset.telescope, instrume=preset.instrume[0], time=time[order],
        channel=photons.channel[order], sky=(photons.ra[order], photons.dec[order]),
        pixel=None if photons.pixel is None else photons.pixel[order], center=pointing,
        good_times=[[0.0, telescope.exposure]], exposure=telescope.exposure, overwrite=overwrite,
        header={"RA_PNT": pointing.ra.deg, "DEC_PNT": pointing.dec.deg, "PA_NOM": telescope.roll},
        **LAYOUTS[preset.name],
    )  # fmt: skip


_HEAD = """\
# The plan of a simulated visit: `hifred reduce` makes data sets of it. Paths are relative to this file.

[grid]
# The grid of truth.fits: nothing shines beyond its energies and pixels.
band = [{low!r}, {high!r}]
energy_step = {step!r}
pixel_size = {pixel!r}
center = [{ra!r}, {dec!r}]
size = [{nx}, {ny}]
rotation = {rotation!r}
"""

_DATASET = """
[[dataset]]
name = "{name}"
instrument = "{name}"
events = "{events}"
rmf = "{rmf}"
arf = "{arf}"
# Wider than the grid's band, so that no photon is lost: none comes in here from energies that the grid does not hold.
# Real data want the default, the grid's band less one FWHM at each end.
band = [{low!r}, {high!r}]
[dataset.background]
preset = true
"""


def plan_text(visit: Visit) -> str:
    """Text of the plan, as TOML.

    Raises
    ------
    ValueError
        If the energies of the grid are not of one width.
    """
    grid = visit.truth.grid
    edges, place = grid.energy_edges, middle(grid)
    step = float(edges[-1] - edges[0]) / (edges.size - 1)
    if np.abs(np.diff(edges) - step).max() > 1e-6 * step:
        raise ValueError("truth: expected energies of one width, found others")
    low, high = float(edges[0]), float(edges[-1])
    ny, nx = grid.sky_shape
    text = _HEAD.format(
        low=low, high=high, step=float(f"{1e3 * step:.9g}"), pixel=grid.pixel_size, nx=nx, ny=ny,
        ra=float(place.ra.deg), dec=float(place.dec.deg), rotation=grid.rotation,
    )  # fmt: skip
    for telescope in visit.telescopes:
        preset, rmf = telescope.instrument, telescope.redistribution
        wide = [low - BEYOND * float(preset.fwhm(low)), high + BEYOND * float(preset.fwhm(high))]
        wide = np.clip(wide, max(rmf.channel_lo[0], 1e-3), rmf.channel_hi[-1])
        text += _DATASET.format(
            name=preset.name, events=events_name(preset.name), rmf=telescope.rmf_name, arf=telescope.arf_name,
            low=round(float(wide[0]), 6), high=round(float(wide[1]), 6),
        )  # fmt: skip
    return text
