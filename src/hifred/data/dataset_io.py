"""Data sets as FITS files: counts, background, mask, and the kernels of the response."""

import os

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.data.dataset import Dataset
from hifred.data.grid_io import grid_hdu, read_grid, sky_header
from hifred.response.response import Response

CONTENT = "HIFRED DATASET"


def write_dataset(dataset: Dataset, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a data set to a FITS file.

    Parameters
    ----------
    dataset : Dataset
        What to write.
    path : path
        Where; a name that ends in `.gz` gives a compressed file.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    FileError
        If the file exists, or cannot be written there.

    Notes
    -----
    Extensions: COUNTS, MASK (1: used) and, where there is one, BACKGROUND, each (channel, y, x); PSF, LSF and AREA (the
    arguments of `Response.from_kernels`, area in cm2 s); ENERGIES (edges in keV). The primary header has the shape of
    the cube (NENERGY, NY, NX), the rebinning (REBIN_E, REBIN_Y, REBIN_X) and the BOUNDARY.
    """
    kernels = dataset.response.kernels
    primary = fits.PrimaryHDU()
    primary.header["CONTENT"] = CONTENT
    primary.header["INSTRUME"] = (fitsio.header_text(dataset.name), "name of the data set")
    for key, value in zip(("NENERGY", "NY", "NX"), kernels.grid_shape, strict=True):
        primary.header[key] = (value, "shape of the sky cube")
    for key, value in zip(("REBIN_E", "REBIN_Y", "REBIN_X"), kernels.rebin, strict=True):
        primary.header[key] = (value, "bins summed")
    primary.header["BOUNDARY"] = (kernels.boundary, "what lies beyond the frame")
    primary.header["PRECISIO"] = (str(dataset.response.dtype), "precision of the response")
    whole = np.array_equal(dataset.counts, np.round(dataset.counts)) and dataset.counts.max() < 2**31
    counts = dataset.counts.astype(np.int32) if whole else dataset.counts
    hdus = [
        primary,
        fits.ImageHDU(counts, header=sky_header(dataset.grid, kernels.rebin[1:]), name="COUNTS"),
        fits.ImageHDU(dataset.mask.astype(np.uint8), name="MASK"),
    ]
    hdus[1].header["BUNIT"] = "count"
    if dataset.background.any():
        hdus.append(fits.ImageHDU(dataset.background, name="BACKGROUND"))
        hdus[-1].header["BUNIT"] = "count"
    for name, kernel in (("PSF", kernels.psf), ("LSF", kernels.lsf), ("AREA", kernels.area)):
        if kernel is not None:
            hdus.append(fits.ImageHDU(kernel, name=name))
    if kernels.area is not None:
        hdus[-1].header["BUNIT"] = "cm2 s"
    if dataset.grid is not None:
        hdus.append(grid_hdu(dataset.grid))
    fitsio.write(path, hdus, overwrite=overwrite)


def read_dataset(path: str | os.PathLike) -> Dataset:
    """Read a data set that `write_dataset` made.

    Raises
    ------
    FileError
        If the file is not complete FITS, lacks an extension or keyword, or its contents do not fit together.
    """
    file = fitsio.FitsFile(path)
    if file.header(0).get("CONTENT") != CONTENT:
        found = file.header(0).get("CONTENT", "no such keyword")
        raise fitsio.FileError(f"{path}[PRIMARY]: expected CONTENT = {CONTENT!r}, found {found!r}")
    try:
        response = Response.from_kernels(
            [file.key(0, key) for key in ("NENERGY", "NY", "NX")],
            **{name.lower(): file.data(name) for name in ("PSF", "LSF", "AREA") if name in file},
            rebin=[file.key(0, key) for key in ("REBIN_E", "REBIN_Y", "REBIN_X")],
            boundary=file.key(0, "BOUNDARY"),
            normalize=False,
            dtype=np.dtype(file.key(0, "PRECISIO")),
        )
        counts = _native(file.data("COUNTS"))
        background = _native(file.data("BACKGROUND")) if "BACKGROUND" in file else 0.0
        mask = file.data("MASK").astype(bool) if "MASK" in file else None
        return Dataset(
            counts, response, background, mask, fitsio.text_of_header(file.key(0, "INSTRUME")), read_grid(file)
        )
    except fitsio.FileError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise fitsio.FileError(f"{path}: {error}") from error


def _native(values: np.ndarray) -> np.ndarray:
    """FITS is big-endian; JAX wants the machine's order."""
    return values.astype(values.dtype.newbyteorder("="))
