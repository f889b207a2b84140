"""Images of a FITS file that belong to energies: one image, several extensions, or a cube with a table of energies."""

import os
import re
import warnings
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from hifred.fitsio import FileError, FitsFile

_ENERGIES = "ENERGIES"
_HIGHEST = 100.0  # keV; a larger number is in eV and has lost its unit


@dataclass(frozen=True, eq=False)
class Planes:
    """Images on the same pixels.

    Parameters
    ----------
    images : array of shape (n, y, x)
        Values, finite and not negative.
    energies : array of shape (n,) or None
        keV; None for a single image without energy.
    off_axes : array of shape (n,) or None
        arcmin; None where the file does not say.
    header : Header
        Header of the first image.
    where : str
        File and extension, for messages.
    """

    images: np.ndarray
    energies: np.ndarray | None
    off_axes: np.ndarray | None
    header: fits.Header
    where: str

    @property
    def wcs(self) -> WCS:
        """WCS of the two axes of the images."""
        return plane_wcs(self.header, self.where)


def plane_wcs(header: fits.Header, where: str) -> WCS:
    """WCS of the first two axes of an image.

    Raises
    ------
    FileError
        If the keywords make no WCS; `where` names the file and extension.
    """
    with warnings.catch_warnings():
        # Old keywords (RADECSYS, dates) are put right by astropy, which tells of each.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, fix=True)
        except ValueError as error:  # astropy's own errors of WCS are ValueErrors
            raise FileError(f"{where}: expected a WCS, found: {' '.join(str(error).split())}") from error
        return wcs if wcs.naxis == 2 else wcs.sub(2)


def read_planes(path: str | os.PathLike) -> Planes:
    """Read the images of a file.

    Every HDU with an image is read. The energy of a 2D image is its keyword ENERGY, in keV, or in the unit that opens
    its comment (`[eV]`); the off-axis angle the keyword OFF_AXIS, in arcmin or in the unit of its comment. The energies
    of a 3D image are in the table ENERGIES: column ENERGY, or the middles of ENERG_LO and ENERG_HI, in keV or in the
    column's unit.

    Raises
    ------
    FileError
        If there is no image, one has other pixels or another WCS than the first, an energy is missing or odd, or values
        are negative or not finite.
    """
    file = FitsFile(path, foreign=True)
    found = [(n, hdu) for n, hdu in enumerate(file.hdus) if hdu.is_image and hdu.data is not None]
    if not found:
        raise FileError(f"{path}: expected an image in the primary or an IMAGE extension, found none")
    images, energies, off_axes = [], [], []
    first = found[0][1]
    for n, hdu in found:
        where = f"{path}[{hdu.name or n}]"
        image = _checked_image(hdu, where)
        if image.shape[-2:] != first.data.shape[-2:]:
            raise FileError(
                f"{where}: expected {first.data.shape[-2:]} pixels as in the first image, found {image.shape[-2:]}"
            )
        if not plane_wcs(hdu.header, where).wcs.compare(plane_wcs(first.header, where).wcs, tolerance=1e-6):
            raise FileError(f"{where}: expected the WCS of the first image, found another")
        if image.ndim == 3 and not (len(image) == 1 and "ENERGY" in hdu.header):
            known = _table_energies(file, path, len(image))
        else:
            known = [_quantity(hdu.header, "ENERGY", u.keV, where)]
        images.extend(image if image.ndim == 3 else [image])
        energies.extend(known)
        off_axes.extend([_quantity(hdu.header, "OFF_AXIS", u.arcmin, where)] * len(known))
    missing = [e is None for e in energies]
    if len(images) > 1 and any(missing):
        raise FileError(f"{path}: expected the keyword ENERGY in each of the {len(found)} images, found one without")
    if any(t is None for t in off_axes) and any(t is not None for t in off_axes):
        raise FileError(f"{path}: expected the keyword OFF_AXIS in each image or in none, found some with it")
    return Planes(
        np.stack(images),
        None if any(missing) else np.array(energies, float),
        None if off_axes[0] is None else np.array(off_axes, float),
        first.header,
        f"{path}[{first.name or found[0][0]}]",
    )


def _checked_image(hdu, where: str) -> np.ndarray:
    image = np.asarray(hdu.data, float)
    if image.ndim not in (2, 3):
        raise FileError(f"{where}: expected an image of 2 axes or a cube of 3, found {image.ndim} axes")
    bad = ~np.isfinite(image)
    if bad.any():
        place = ", ".join(str(i) for i in np.argwhere(bad)[0])
        raise FileError(
            f"{where}: expected finite values, found {int(bad.sum())} nan or infinite, the first at ({place})"
        )
    if image.min() < 0:
        place = ", ".join(str(i) for i in np.argwhere(image < 0)[0])
        raise FileError(f"{where}: expected values of at least 0, found {image.min():g}, the first at ({place})")
    return image


def _table_energies(file: FitsFile, path, length: int) -> list[float]:
    where = f"{path}[{_ENERGIES}]"
    if _ENERGIES not in file:
        raise FileError(f"{path}: expected a table {_ENERGIES} with the energies of the image's third axis, found none")
    table = file.data(_ENERGIES)
    names = table.dtype.names or ()
    columns = ["ENERGY"] if "ENERGY" in names else ["ENERG_LO", "ENERG_HI"]
    values = np.zeros(len(table))
    for name in columns:
        number = names.index(name) + 1 if name in names else 0
        unit = file.header(_ENERGIES).get(f"TUNIT{number}", "keV")
        values += _convert(file.column(_ENERGIES, name), unit, u.keV, f"{where}: column {name}") / len(columns)
    if len(values) != length:
        raise FileError(f"{where}: expected {length} rows, one for each plane of the image, found {len(values)}")
    return [_checked_energy(value, f"{where}: row {n + 1}") for n, value in enumerate(values)]


def _quantity(header: fits.Header, keyword: str, unit: u.UnitBase, where: str) -> float | None:
    if keyword not in header:
        return None
    found = header[keyword]
    stated = re.match(r"\s*\[([^\]]+)\]", header.comments[keyword])
    if isinstance(found, (bool, str)):
        raise FileError(f"{where}: expected a number in {keyword}, found {found!r}")
    value = float(_convert(found, stated[1] if stated else str(unit), unit, f"{where}: {keyword}"))
    if keyword == "ENERGY":
        return _checked_energy(value, f"{where}: ENERGY")
    if not (np.isfinite(value) and value >= 0):
        raise FileError(f"{where}: expected {keyword} of at least 0 {unit}, found {value:g}")
    return value


def _checked_energy(value: float, where: str) -> float:
    if not 0 < value <= _HIGHEST:
        raise FileError(
            f"{where}: expected an energy of 0 to {_HIGHEST:g} keV (or its unit, as [eV]), found {value:g} keV"
        )
    return float(value)


def _convert(values, found: str, unit: u.UnitBase, where: str) -> np.ndarray:
    try:
        return np.asarray(np.asarray(values, float) * u.Unit(found.strip()).to(unit))
    except (ValueError, TypeError) as error:
        raise FileError(f"{where}: expected a unit like {unit}, found {found!r}") from error
