"""What is to be reduced, and on which grid: a short TOML file."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hifred.fitsio import FileError
from hifred.grid import energy_bins
from hifred.instruments.toml_table import TomlTable

EMBEDDED, REFERENCE = "embedded", "reference"
# Keys of a data set with the files of its response.
FILES = ("rmf", "arf", "psf", "exposure_map")


@dataclass(frozen=True)
class GridPlan:
    """The frame of the fused cube.

    Attributes
    ----------
    band : tuple of two float
        Lowest and highest true energy, keV.
    energy_step : float
        Width of an energy bin, keV.
    pixel_size : float
        Side of a sky pixel, arcsec.
    center : tuple of two float, optional
        Right ascension and declination, degrees; by default the middle of what all instruments see.
    size : tuple of two int, optional
        Pixels along x and y; by default what all see, and `reach` beyond.
    rotation : float
        Position angle of the y axis, degrees east of north.
    reach : float, optional
        Arcsec beyond what all see; by default the half-power diameter of the widest PSF.
    """

    band: tuple[float, float]
    energy_step: float
    pixel_size: float
    center: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    rotation: float = 0.0
    reach: float | None = None


@dataclass(frozen=True)
class BackgroundPlan:
    """Where the expected background comes from: exactly one of a file, a region, or the instrument's own rate.

    Attributes
    ----------
    file : Path, optional
        Cube of expected counts (FITS image), spectrum (PHA), or rates (.h5).
    region : str, optional
        Region (file or DS9 text) of the event list without source photons: its spectrum, scaled by time and area.
    preset : bool
        The rate that the instrument's preset has.
    map : Path, optional
        Image on the sky, up to a factor, that says how a spectrum spreads over the pixels; evenly without it.
    area_ratio : float, optional
        Area of the data over that of the PHA's region; 1 (the default) for a spectrum of the whole detector.
    factor : float
        Multiplies the background.
    """

    file: Path | None = None
    region: str | None = None
    preset: bool = False
    map: Path | None = None
    area_ratio: float = 1.0
    factor: float = 1.0


@dataclass(frozen=True)
class CalibrationPlan:
    """The files that a response is made from.

    Attributes
    ----------
    rmf, arf : Path, optional
        OGIP files; no ARF where the RMF holds the area.
    psf : Path, optional
        PSF image file; by default the preset's model.
    exposure_map : Path, optional
        Exposure on the sky (s); by default all places are seen for the same time, without vignetting.
    arf_holds_psf : bool, optional
        Whether the ARF's area leaves out the photons of a point source that miss the detector: all of its pixels that
        see the sky, whichever are used. By default yes for an instrument with pixels of its own (as XRISM's `xaarfgen`
        makes it); it has to be no for a CCD.
    psf_reach : float, optional
        Arcsec to which the PSF is followed; by default over the whole grid.
    """

    rmf: Path
    arf: Path | None = None
    psf: Path | None = None
    exposure_map: Path | None = None
    arf_holds_psf: bool | None = None
    psf_reach: float | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files, by what they are."""
        return {key: path for key in FILES if (path := getattr(self, key)) is not None}


@dataclass(frozen=True)
class DatasetPlan:
    """One event list, its calibration, and which of its events are used.

    Attributes
    ----------
    name : str
        Name of the data set, and of its file.
    instrument : str
        Name of a preset, or path of an instrument's own TOML file.
    events : Path
        Event list.
    calibration : CalibrationPlan
        Files of the response.
    band : tuple of two float, optional
        Channels used, keV; by default the grid's band less the instrument's FWHM at both ends, where photons would come
        in from energies that the cube does not hold.
    channel_width : float, optional
        Channels are summed to this width, keV; by default a sixth of the FWHM, and at least the grid's energy step.
    keep : dict
        Rules for columns of the event list that replace the preset's: a list of values or ranges `[low, high]`.
    time : array of shape (n, 2), optional
        Time intervals used, s.
    region, mask : str, optional
        Regions (file or DS9 text) of the sky to use, and to leave out, by the centres of pixels.
    exclude_pixels : tuple of int
        Detector pixels to leave out.
    array_center, array_roll : optional
        Place of the detector on the sky, degrees; by default measured from the events' positions.
    background : BackgroundPlan, optional
        Expected background; none by default.
    where : str, optional
        File and table that the plan was read from, for messages.
    """

    name: str
    instrument: str
    events: Path
    calibration: CalibrationPlan
    band: tuple[float, float] | None = None
    channel_width: float | None = None
    keep: dict = field(default_factory=dict)
    time: np.ndarray | None = None
    region: str | None = None
    mask: str | None = None
    exclude_pixels: tuple[int, ...] = ()
    array_center: tuple[float, float] | None = None
    array_roll: float | None = None
    background: BackgroundPlan | None = None
    where: str | None = None

    @property
    def of_array(self) -> dict:
        """What the plan says that only detectors with pixels of their own have, by key."""
        given = {
            "exclude_pixels": list(self.exclude_pixels) or None, "array_center": self.array_center,
            "array_roll": self.array_roll, "arf_holds_psf": self.calibration.arf_holds_psf or None,
        }  # fmt: skip
        return {key: value for key, value in given.items() if value is not None}

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.where or f"data set {self.name}"

    @property
    def files(self) -> dict[str, Path]:
        """All files that are read, by what they are."""
        named: dict = {"events": self.events, **self.calibration.files}
        texts = {"region": self.region, "mask": self.mask}
        if self.instrument.endswith(".toml"):
            named["instrument"] = Path(self.instrument)
        if self.background is not None:
            named |= {"background": self.background.file, "background_map": self.background.map}
            texts["background_region"] = self.background.region
        # A region may be a text, and then no file of that name is there.
        named |= {key: Path(text) for key, text in texts.items() if text is not None and os.path.isfile(text)}
        return {key: path for key, path in named.items() if path is not None}


@dataclass(frozen=True)
class Plan:
    """What `hifred.reduce` does.

    Attributes
    ----------
    grid : GridPlan
        The frame.
    datasets : tuple of DatasetPlan
        What is put on it.
    response : {"embedded", "reference"}
        Whether the data set files hold the response, or the names and checksums of the files that make it.
    path : Path, optional
        The file it was read from.
    """

    grid: GridPlan
    datasets: tuple[DatasetPlan, ...]
    response: str = EMBEDDED
    path: Path | None = None

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Plan":
        """Read a plan; `hifred init` writes one with comments.

        Paths in it are relative to its folder.

        Raises
        ------
        FileError
            If it is no TOML, or has an unknown, missing or odd key; the table and key are named.
        """
        path = Path(path)
        top = TomlTable.read(path)
        grid = _grid(top.table("grid"))
        datasets = tuple(_dataset(table, path.parent) for table in top.tables("dataset"))
        response = top.text("response", EMBEDDED)
        top.end()
        if response not in (EMBEDDED, REFERENCE):
            raise FileError(f"{path}: response: expected {EMBEDDED} or {REFERENCE}, found {response!r}")
        names = [dataset.name for dataset in datasets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise FileError(f"{path}: name: expected a name of its own for each data set, found {twice[0]!r} twice")
        return cls(grid, datasets, response, path)


def _grid(table: TomlTable) -> GridPlan:
    band = _band(table, "band")
    plan = GridPlan(
        band=band,
        energy_step=1e-3 * table.number("energy_step", 1e-3, 1e5),
        pixel_size=table.number("pixel_size", 1e-3, 1e5),
        center=_place(table, "center") if "center" in table else None,
        size=_size(table) if "size" in table else None,
        rotation=table.number("rotation", -360, 360, default=0.0),
        reach=table.number("reach", 0, 1e5) if "reach" in table else None,
    )
    table.end()
    if (plan.center is None) != (plan.size is None):
        raise FileError(f"{table.where}: expected center and size together, or neither, found one of them")
    try:
        energy_bins(*band, plan.energy_step)
    except ValueError as error:
        raise FileError(f"{table.where}: energy_step: {error}") from error
    return plan


def _dataset(table: TomlTable, folder: Path) -> DatasetPlan:
    instrument = table.text("instrument")
    plan = DatasetPlan(
        name=_file_name(table),
        instrument=str(folder / instrument) if instrument.endswith(".toml") else instrument,
        events=folder / table.text("events"),
        calibration=CalibrationPlan(
            rmf=folder / table.text("rmf"),
            arf=_path(table, "arf", folder),
            psf=_path(table, "psf", folder),
            exposure_map=_path(table, "exposure_map", folder),
            arf_holds_psf=table.flag("arf_holds_psf", False) if "arf_holds_psf" in table else None,
            psf_reach=table.number("psf_reach", 1e-3, 1e5) if "psf_reach" in table else None,
        ),
        band=_band(table, "band") if "band" in table else None,
        channel_width=1e-3 * table.number("channel_width", 1e-3, 1e5) if "channel_width" in table else None,
        keep=table.table("keep").content() if "keep" in table else {},
        time=table.pairs("time") if "time" in table else None,
        region=_region(table, "region", folder),
        mask=_region(table, "mask", folder),
        exclude_pixels=_pixels(table) if "exclude_pixels" in table else (),
        array_center=_place(table, "array_center") if "array_center" in table else None,
        array_roll=table.number("array_roll", -360, 360) if "array_roll" in table else None,
        background=_background(table.table("background"), folder) if "background" in table else None,
        where=table.where,
    )
    table.end()
    return plan


def _background(table: TomlTable, folder: Path) -> BackgroundPlan:
    plan = BackgroundPlan(
        file=_path(table, "file", folder),
        region=_region(table, "region", folder),
        preset=table.flag("preset", False),
        map=_path(table, "map", folder),
        area_ratio=table.number("area_ratio", 1e-12, 1e12, default=1.0),
        factor=table.number("factor", 0, 1e12, default=1.0),
    )
    table.end()
    given = [key for key in ("file", "region", "preset") if getattr(plan, key)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise FileError(f"{table.where}: expected exactly one of file, region and preset = true, found {found}")
    return plan


def _path(table: TomlTable, key: str, folder: Path) -> Path | None:
    return folder / table.text(key) if key in table else None


def _region(table: TomlTable, key: str, folder: Path) -> str | None:
    """Text of a region, or the path of its file from the plan's folder."""
    if key not in table:
        return None
    text = table.text(key)
    # A file may have a bracket in its name: what is there is a file.
    return text if "(" in text and not os.path.exists(folder / text) else str(folder / text)


def _band(table: TomlTable, key: str) -> tuple[float, float]:
    low, high = table.numbers(key, 1e-3, 1e3, length=2).tolist()
    if not low < high:
        raise FileError(f"{table.where}: {key}: expected two increasing energies in keV, found {[low, high]}")
    return low, high


def _place(table: TomlTable, key: str) -> tuple[float, float]:
    ra, dec = table.numbers(key, -90, 360, length=2).tolist()
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        raise FileError(f"{table.where}: {key}: expected right ascension and declination in degrees, found {[ra, dec]}")
    return ra, dec


def _size(table: TomlTable) -> tuple[int, int]:
    size = table.wholes("size")
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise FileError(f"{table.where}: size: expected two positive numbers of pixels (x, y), found {size}")
    return size[0], size[1]


def _pixels(table: TomlTable) -> tuple[int, ...]:
    pixels = table.wholes("exclude_pixels")
    if any(isinstance(pixel, list) for pixel in pixels):
        raise FileError(f"{table.where}: exclude_pixels: expected a list of pixel numbers, found {pixels}")
    return tuple(pixels)


def _file_name(table: TomlTable) -> str:
    name = table.text("name")
    if name.startswith(".") or any(character in name for character in '/\\\0\n"'):
        raise FileError(f"{table.where}: name: expected a plain name, which a file can have, found {name!r}")
    return name
