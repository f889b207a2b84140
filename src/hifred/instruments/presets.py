"""Instruments as small TOML files: which columns to read, what the PSF is, and numbers for mock responses."""

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from hifred.fitsio import FileError
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.columns import EventColumns
from hifred.instruments.mock import CcdTail, mean_area, redistribution
from hifred.instruments.pixels import PixelArray
from hifred.instruments.preset_tables import (
    DetectorBackground,
    read_background,
    read_detector,
    read_events,
    read_psf,
    read_tail,
)
from hifred.instruments.psf import PSF
from hifred.instruments.rmf import Redistribution
from hifred.instruments.toml_table import TomlTable

_SUFFIX = ".toml"


@dataclass(frozen=True, eq=False)
class Instrument:
    """What the package knows of an instrument before it has seen a calibration file.

    Parameters
    ----------
    name, description : str
        The name on the command line, and a sentence.
    telescope : str
        TELESCOP in its files.
    instrume : tuple of str
        What INSTRUME may be.
    events : EventColumns
        Where its event lists keep what, and which events are kept.
    detector : PixelArray or None
        Pixels of a detector that has few, large ones; None for a CCD, whose events are binned on the sky.
    psf : PSF
        Point-spread function.
    area_table : pair of array of shape (n,)
        Energies (keV) and a coarse effective area (cm2) for mocks.
    resolution_table : pair of array of shape (m,)
        Energies (keV) and full width at half maximum (keV).
    band : pair of float
        Energies of sensible use, keV.
    tail : CcdTail or None
        Partly lost charge of a CCD; None for a calorimeter, whose lines are Gaussian in mocks.
    background : DetectorBackground or None
        Rough background of the detector.
    path : str
        The TOML file.
    """

    name: str
    description: str
    telescope: str
    instrume: tuple[str, ...]
    events: EventColumns
    detector: PixelArray | None
    psf: PSF
    area_table: tuple[np.ndarray, np.ndarray]
    resolution_table: tuple[np.ndarray, np.ndarray]
    band: tuple[float, float]
    tail: CcdTail | None
    background: DetectorBackground | None
    path: str

    def mock_area(self, energy_edges) -> EffectiveArea:
        """Effective area from the coarse table: believable, not a calibration.

        Parameters
        ----------
        energy_edges : array of shape (n + 1,)
            Edges of the energy bins, keV, positive and increasing.

        Raises
        ------
        ValueError
            If the edges are not such.
        """
        edges = _checked_edges("energy_edges", energy_edges, 0.0)
        area = mean_area(edges, *self.area_table)
        return EffectiveArea(edges[:-1], edges[1:], area, self.telescope, self.instrume[0])

    def mock_redistribution(self, energy_edges, channel_edges) -> Redistribution:
        """Redistribution from the resolution table: Gaussian, with a shoulder and a shelf for a CCD.

        Parameters
        ----------
        energy_edges : array of shape (n + 1,)
            Edges of the true-energy bins, keV, positive and increasing.
        channel_edges : array of shape (c + 1,)
            Edges of the channels, keV, not negative and increasing. The first channel has the number that it has in
            event lists, where the channels are those of the instrument; otherwise the instrument's first number.

        Returns
        -------
        Redistribution
            Columns sum to 1, less what falls outside of the channels.

        Raises
        ------
        ValueError
            If the edges are not such.
        """
        edges = _checked_edges("energy_edges", energy_edges, 0.0)
        channels = _checked_edges("channel_edges", channel_edges, -1e-12)
        steps = (channels - self.events.pi_origin) / self.events.pi_step
        own = np.allclose(steps, np.round(steps[0]) + np.arange(channels.size), rtol=0, atol=1e-3)
        return Redistribution(
            energy_lo=edges[:-1],
            energy_hi=edges[1:],
            matrix=redistribution(edges, channels, *self.resolution_table, self.tail),
            first_channel=self.events.pi_first + (round(float(steps[0])) if own else 0),
            channel_lo=channels[:-1],
            channel_hi=channels[1:],
            threshold=0.0,
            includes_area=False,
            telescope=self.telescope,
            instrument=self.instrume[0],
        )

    def fwhm(self, energy) -> np.ndarray:
        """Energy resolution at an energy (keV): full width at half maximum, keV."""
        energies, widths = self.resolution_table
        return np.asarray(np.sqrt(np.interp(energy, energies, widths**2)))

    def describe(self) -> str:
        """Say in one line what it is."""
        low, high = self.band
        middle = min(max(6.0, low), high)
        pixels = "CCD"
        if self.detector is not None:
            seen, pitch = self.detector.seen.sum(), self.detector.pitch
            pixels = f"{seen} of {self.detector.layout.size} pixels of {pitch:.3g} arcsec on the sky"
        return (
            f"{self.name}: {self.description}; {pixels}; {low:g} to {high:g} keV; "
            f"{1e3 * float(self.fwhm(middle)):.3g} eV FWHM at {middle:g} keV; {self.psf.describe()}"
        )


def instrument_names() -> tuple[str, ...]:
    """Names of the instruments that the package knows."""
    files = resources.files("hifred.instruments").joinpath("presets").iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def instrument(name_or_path: str | os.PathLike) -> Instrument:
    """Read an instrument.

    Parameters
    ----------
    name_or_path : str or path
        One of `instrument_names()`, or a TOML file (a name that ends in `.toml`) as `docs/instruments.md` describes it.

    Raises
    ------
    FileError
        If there is no such instrument, or the file has an unknown, missing or odd key; the table and key are named.
    """
    if str(name_or_path).endswith(_SUFFIX):
        return _read(Path(name_or_path))
    if str(name_or_path) not in instrument_names():
        raise FileError(
            f"{name_or_path}: expected a TOML file (.toml) or one of the instruments {', '.join(instrument_names())}"
        )
    with resources.as_file(
        resources.files("hifred.instruments").joinpath("presets", f"{name_or_path}{_SUFFIX}")
    ) as path:
        return _read(path)


def _read(path: Path) -> Instrument:
    top = TomlTable.read(path)
    area, resolution = top.table("area"), top.table("resolution")
    energies, widths = resolution.curve("fwhm", 0.01, 1e4)
    found = Instrument(
        name=top.text("name"),
        description=top.text("description"),
        telescope=top.text("telescope"),
        instrume=top.texts("instrume"),
        events=read_events(top.table("events")),
        detector=read_detector(top.table("detector")) if "detector" in top else None,
        psf=read_psf(top.table("psf"), path.parent),
        area_table=area.curve("area", 1e-12, 1e7),
        resolution_table=(energies, widths / 1e3),
        band=tuple(top.numbers("band", 1e-3, 1e3, length=2).tolist()),
        tail=read_tail(top.table("tail")) if "tail" in top else None,
        background=read_background(top.table("background")) if "background" in top else None,
        path=str(path),
    )
    for table in (area, resolution, top):
        table.end()
    low, high = found.area_table[0][[0, -1]]
    if not low <= found.band[0] < found.band[1] <= high:
        raise FileError(
            f"{path}: band: expected two increasing energies within those of [area], {low:g} to {high:g} keV, "
            f"found {list(found.band)}"
        )
    return found


def _checked_edges(name: str, values, above: float) -> np.ndarray:
    edges = np.array(values, float)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise ValueError(f"{name}: expected at least two increasing energies in keV, found shape {edges.shape}")
    if not edges[0] > above:
        raise ValueError(f"{name}: expected {'positive' if above >= 0 else 'no negative'} energies, found {edges[0]:g}")
    return edges
