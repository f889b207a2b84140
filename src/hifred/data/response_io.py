"""The recipe of a response in FITS: plain kernels, or calibration."""

import numpy as np
import scipy.sparse as sp
from astropy.io import fits

from hifred.fitsio import FileError, FitsFile
from hifred.response.calibration import Calibration
from hifred.response.kernels import Kernels
from hifred.response.recipe import Recipe

KERNELS, CALIBRATION, REFERENCE = "KERNELS", "CALIBRATION", "REFERENCE"


def recipe_hdus(recipe: Recipe, header: fits.Header) -> list:
    """Extensions that hold a recipe; its words go into the primary header.

    Parameters
    ----------
    recipe : Recipe
        `Kernels` or `Calibration`.
    header : Header
        Gets RECIPE, the shape of the sky cube (NENERGY, NY, NX) and what else there is.

    Returns
    -------
    list of HDUs
    """
    for key, value in zip(("NENERGY", "NY", "NX"), recipe.shape, strict=True):
        header[key] = (value, "shape of the sky cube")
    if isinstance(recipe, Kernels):
        return _kernel_hdus(recipe, header)
    if isinstance(recipe, Calibration):
        return _calibration_hdus(recipe, header)
    raise TypeError(f"recipe: expected Kernels or Calibration, found {type(recipe).__name__}")


def read_recipe(file: FitsFile) -> Recipe:
    """Read what `recipe_hdus` made.

    Raises
    ------
    FileError
        If an extension or keyword is missing.
    ValueError
        If the parts do not fit together.
    """
    shape = [file.key(0, key) for key in ("NENERGY", "NY", "NX")]
    kind = file.key(0, "RECIPE")
    if kind == KERNELS:
        return _read_kernels(file, shape)
    if kind == CALIBRATION:
        return _read_calibration(file, shape)
    raise ValueError(f"RECIPE: expected {KERNELS} or {CALIBRATION}, found {kind!r}")


def _kernel_hdus(kernels: Kernels, header: fits.Header) -> list:
    header["RECIPE"] = (KERNELS, "kind of response")
    for key, value in zip(("REBIN_E", "REBIN_Y", "REBIN_X"), kernels.rebin, strict=True):
        header[key] = (value, "bins summed")
    header["BOUNDARY"] = (kernels.boundary, "what lies beyond the frame")
    arrays = (("PSF", kernels.psf), ("LSF", kernels.lsf), ("AREA", kernels.area))
    hdus = [fits.ImageHDU(array, name=name) for name, array in arrays if array is not None]
    if kernels.area is not None:
        hdus[-1].header["BUNIT"] = "cm2 s"
    return hdus


def _read_kernels(file: FitsFile, shape: list) -> Kernels:
    psf, lsf, area = (file.data(name) if name in file else None for name in ("PSF", "LSF", "AREA"))
    rebin = [file.key(0, key) for key in ("REBIN_E", "REBIN_Y", "REBIN_X")]
    return Kernels.checked(shape, psf, lsf, area, rebin, file.key(0, "BOUNDARY"), normalize=False)


def _calibration_hdus(calibration: Calibration, header: fits.Header) -> list:
    header["RECIPE"] = (CALIBRATION, "kind of response")
    header["NREDIST"] = (len(calibration.redistributions), "number of redistribution matrices")
    header["DETROWS"], header["DETCOLS"] = calibration.detector_shape
    edges = calibration.channel_bounds
    columns = [
        fits.Column("CHANNEL", "J", array=np.arange(edges.size - 1)),
        fits.Column("E_MIN", "D", unit="keV", array=edges[:-1]),
        fits.Column("E_MAX", "D", unit="keV", array=edges[1:]),
    ]
    hdus: list = [fits.BinTableHDU.from_columns(columns, name="EBOUNDS"), _sparse_hdu("GATHER", calibration.gather)]
    hdus[-1].header["TUNIT3"] = "cm2 s"
    hdus += [_sparse_hdu(f"REDIST{number}", matrix) for number, matrix in enumerate(calibration.redistributions)]
    hdus.append(fits.ImageHDU(calibration.position, name="NODES"))
    if calibration.pixels is not None:
        hdus.append(_sparse_hdu("PIXELS", calibration.pixels))
    arrays = (("PSF", calibration.psf), ("MAPS", calibration.maps), ("MIXTURE", calibration.mixture))
    return [*hdus, *(fits.ImageHDU(array, name=name) for name, array in arrays if array is not None)]


def _read_calibration(file: FitsFile, shape: list) -> Calibration:
    psf, maps, mixture = (file.data(name) if name in file else None for name in ("PSF", "MAPS", "MIXTURE"))
    bounds = np.append(file.column("EBOUNDS", "E_MIN"), file.column("EBOUNDS", "E_MAX")[-1:])
    return Calibration.checked(
        shape,
        gather=_read_sparse(file, "GATHER"),
        redistributions=[_read_sparse(file, f"REDIST{number}") for number in range(_count(file, "NREDIST"))],
        channel_bounds=bounds,
        mixture=mixture,
        position=file.data("NODES"),
        psf=psf,
        maps=maps,
        pixels=_read_sparse(file, "PIXELS") if "PIXELS" in file else None,
        detector_shape=(file.key(0, "DETROWS"), file.key(0, "DETCOLS")),
    )


def _count(file: FitsFile, keyword: str) -> int:
    value = file.key(0, keyword)
    if type(value) is not int or value < 1:
        raise FileError(f"{file.path}[PRIMARY]: expected a positive whole number in {keyword}, found {value!r}")
    return value


def _sparse_hdu(name: str, matrix: sp.csr_array) -> fits.BinTableHDU:
    """Entries of a sparse matrix, row by row."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    columns = [
        fits.Column("ROW", "J", array=rows),
        fits.Column("COLUMN", "J", array=matrix.indices.astype(np.int32)),
        fits.Column("VALUE", "D", array=matrix.data),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header["MROWS"], hdu.header["MCOLS"] = matrix.shape
    return hdu


def _read_sparse(file: FitsFile, name: str) -> sp.csr_array:
    rows, columns, values = (np.asarray(file.column(name, key)) for key in ("ROW", "COLUMN", "VALUE"))
    shape = (file.key(name, "MROWS"), file.key(name, "MCOLS"))
    for key, numbers, size in (("ROW", rows, shape[0]), ("COLUMN", columns, shape[1])):
        bad = np.flatnonzero((numbers < 0) | (numbers >= size))
        if bad.size:
            raise FileError(
                f"{file.path}[{name}]: expected numbers from 0 to {size - 1} in the column {key}, found "
                f"{numbers[bad[0]]} in row {bad[0] + 1}"
            )
    return sp.csr_array((values.astype(float), (rows.astype(np.int32), columns.astype(np.int32))), shape=shape)
