"""What is in a file of a telescope, in one line."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hifred.data.background import background_cube, read_rates
from hifred.data.events import EventFile
from hifred.data.hdu_scan import Extension, scan
from hifred.data.plan import Plan
from hifred.data.template import recognised
from hifred.fitsio import FileError
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.maps import ExposureMap
from hifred.instruments.pha import Spectrum
from hifred.instruments.planes import read_planes
from hifred.instruments.presets import instrument
from hifred.instruments.psf_image import ImagePSF
from hifred.instruments.rmf import Redistribution
from hifred.instruments.toml_table import TomlTable

# By the name of an extension, or its class (HDUCLAS2 for responses, HDUCLAS1 for spectra).
_TABLES = {
    "SPECRESP": EffectiveArea,
    "MATRIX": Redistribution,
    "SPECRESP MATRIX": Redistribution,
    "RSP_MATRIX": Redistribution,
    "SPECTRUM": Spectrum,
}
# An image whose sum is between these is a PSF: parts of a source's photons.
_PSF_SUM = (0.2, 1.01)


def describe(path: str | os.PathLike) -> str:
    """Say what is in a calibration file, event list, instrument or plan.

    Parameters
    ----------
    path : path
        FITS, HDF5 (`.h5`) or TOML.

    Returns
    -------
    str
        One line.

    Raises
    ------
    FileError
        If the file is broken, or of no kind that hifred reads.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".toml":
        return _of_toml(path)
    if suffix in (".h5", ".hdf5"):
        return _of_rates(path)
    extensions = scan(path, lambda name: False)
    for extension in extensions:
        for name in (extension.name, *(extension.keywords.text(key, "") for key in ("HDUCLAS2", "HDUCLAS1"))):
            if name in _TABLES:
                return _TABLES[name].read(path).describe()
    if any(_is_event_list(extension) for extension in extensions):
        return EventFile(path, recognised(path).events).describe()
    if any(extension.keywords.whole("NAXIS", 0) in (2, 3) and not _is_table(extension) for extension in extensions):
        return _of_cube(path, extensions) or _of_image(path)
    names = ", ".join(extension.label for extension in extensions)
    raise FileError(
        f"{path}: expected an event list, ARF, RMF, spectrum, exposure map, PSF, data set or cube, found only {names}"
    )


def _is_table(extension: Extension) -> bool:
    return extension.keywords.text("XTENSION", "IMAGE").upper() in ("BINTABLE", "TABLE")


def _is_event_list(extension: Extension) -> bool:
    return extension.name == "EVENTS" or extension.keywords.text("HDUCLAS1", "") == "EVENTS"


def _of_toml(path: Path) -> str:
    top = TomlTable.read(path)
    if "dataset" not in top and "events" in top:
        return f"instrument {instrument(path).describe()}"
    plan = Plan.read(path)
    low, high = plan.grid.band
    names = ", ".join(f"{dataset.name} ({dataset.instrument})" for dataset in plan.datasets)
    return (
        f"plan for hifred reduce: {low:g} to {high:g} keV in bins of {1e3 * plan.grid.energy_step:g} eV, pixels of "
        f"{plan.grid.pixel_size:g} arcsec; {names}"
    )


def _of_rates(path: Path) -> str:
    rates = read_rates(path)
    area = " and arcmin2" if rates.per_arcmin2 else ""
    return (
        f"background rates at {rates.energies.size} energies from {rates.energies[0]:.4g} to {rates.energies[-1]:.4g} "
        f"keV, {np.mean(rates.rates):.3g} counts per s, keV{area} on average"
    )


def _of_cube(path: Path, extensions: Sequence[Extension]) -> str | None:
    """Of a file whose first image has a third axis without energies; None for others."""
    images = [part for part in extensions if part.keywords.whole("NAXIS", 0) > 1 and not _is_table(part)]
    layers, ny, nx = (images[0].keywords.whole(f"NAXIS{axis}", 1) for axis in (3, 2, 1))
    if layers == 1 or any(part.name == "ENERGIES" for part in extensions):
        return None
    total = background_cube(path, (layers, ny, nx)).sum()
    return f"cube of {layers} x {ny} x {nx} (channel, y, x), as of a background, {total:.8g} counts in all"


def _of_image(path: Path) -> str:
    planes = read_planes(path)
    celestial = planes.wcs.has_celestial
    # Only a PSF has pixels of known size without a place on the sky.
    sized = not celestial and "CDELT1" in planes.header and "CUNIT1" in planes.header
    if sized or _PSF_SUM[0] < float(planes.images[0].sum()) < _PSF_SUM[1]:
        return ImagePSF.read(path).describe()
    size = f"image of {' x '.join(str(n) for n in planes.images.shape[1:])} pixels"
    if not celestial:
        return f"{size} without a place on the sky"
    if "BUNIT" not in planes.header:
        return f"{size} on the sky, without a unit (BUNIT), up to {planes.images.max():.4g}"
    return ExposureMap.read(path).describe()
