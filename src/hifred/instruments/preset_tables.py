"""The tables of an instrument's TOML file: each becomes the object it describes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hifred.fitsio import FileError
from hifred.instruments.columns import EventColumns
from hifred.instruments.mock import CcdTail
from hifred.instruments.pixels import PixelArray
from hifred.instruments.psf import PSF, GaussianPSF, KingPSF
from hifred.instruments.psf_image import ImagePSF
from hifred.instruments.toml_table import TomlTable

_PSF_KINDS = "king, gaussian or image"


@dataclass(frozen=True, eq=False)
class DetectorBackground:
    """Rough background of the detector itself.

    Parameters
    ----------
    energies : array of shape (n,)
        keV.
    rates : array of shape (n,)
        Counts / s / keV at these energies, per arcmin2 or of the whole detector; interpolated linearly, 0 outside.
    per_arcmin2 : bool
        Which of the two.
    """

    energies: np.ndarray
    rates: np.ndarray
    per_arcmin2: bool


def read_events(table: TomlTable) -> EventColumns:
    """Read `[events]`; energies in eV become keV."""
    usual = EventColumns()
    columns = EventColumns(
        extension=table.text("extension", usual.extension),
        time=table.text("time", usual.time),
        x=table.text("x", usual.x),
        y=table.text("y", usual.y),
        channel=table.text("channel", usual.channel),
        pixel=table.text("pixel") if "pixel" in table else None,
        keep=_keep(table.table("keep")) if "keep" in table else {},
        gti=table.texts("gti", usual.gti),
        pi_first=table.whole("pi_first", 0),
        pi_origin=table.number("pi_origin") / 1e3,
        pi_step=table.number("pi_step", 1e-6, 1e5) / 1e3,
    )
    table.end()
    return columns


def _keep(table: TomlTable) -> dict:
    rules = table.content()
    for column, items in rules.items():
        right = isinstance(items, list) and items
        for item in items if right else ():
            limits = item if isinstance(item, list) and len(item) == 2 else [item, item]
            right = right and all(type(n) in (int, float) for n in limits) and limits[0] <= limits[1]
        if not right:
            raise FileError(
                f"{table.where}: {column}: expected a list of numbers or ranges [low, high], found {items!r}"
            )
    return rules


def read_detector(table: TomlTable) -> PixelArray:
    """Read `[detector]`: a layout, or the shape of a lattice that is numbered row by row from 0."""
    if ("layout" in table) == ("shape" in table):
        raise FileError(f"{table.where}: expected one of the keys layout and shape, found both or none")
    if "layout" in table:
        layout = np.array(table.wholes("layout"))
    else:
        shape = table.wholes("shape")
        if len(shape) != 2 or not all(type(n) is int and 1 <= n <= 1000 for n in shape):
            raise FileError(f"{table.where}: shape: expected two numbers of pixels from 1 to 1000, found {shape}")
        layout = np.arange(shape[0] * shape[1]).reshape(shape)
    pitch, row_angle = table.number("pitch", 1e-3, 1e5), table.number("row_angle", -90, 90)
    off_sky = tuple(table.wholes("off_sky")) if "off_sky" in table else ()
    table.end()
    try:
        return PixelArray(pitch, layout, off_sky, row_angle)
    except ValueError as error:
        raise FileError(f"{table.where}: {error}") from error


def read_psf(table: TomlTable, folder: Path) -> PSF:
    """Read `[psf]`; an image is a FITS file beside the TOML file."""
    kind = table.text("kind")
    try:
        if kind == "king":
            within = table.number("within", 1e-3, 1e5) if "within" in table else None
            psf = KingPSF(tuple(table.numbers("core")), tuple(table.numbers("slope")), within)
        elif kind == "gaussian":
            psf = GaussianPSF(tuple(table.numbers("fwhm")))
        elif kind == "image":
            psf = ImagePSF.read(folder / table.text("file"))
        else:
            raise FileError(f"{table.where}: kind: expected {_PSF_KINDS}, found {kind!r}")
    except FileError:
        raise
    except ValueError as error:
        raise FileError(f"{table.where}: {error}") from error
    table.end()
    return psf


def read_tail(table: TomlTable) -> CcdTail:
    """Read `[tail]`; the width of the shoulder in eV becomes keV."""
    tail = CcdTail(
        shoulder_fraction=table.number("shoulder_fraction", 0, 1),
        shoulder_slope=table.number("shoulder_slope", -10, 10),
        shoulder_width=table.number("shoulder_width", 0.1, 1e4) / 1e3,
        shelf_fraction=table.number("shelf_fraction", 0, 1),
        shelf_slope=table.number("shelf_slope", -10, 10),
    )
    table.end()
    return tail


def read_background(table: TomlTable) -> DetectorBackground:
    """Read `[background]`."""
    per = table.text("per")
    if per not in ("arcmin2", "detector"):
        raise FileError(f"{table.where}: per: expected arcmin2 or detector, found {per!r}")
    energies, rates = table.curve("rate", 0, 1e6)
    table.end()
    return DetectorBackground(energies, rates, per == "arcmin2")
