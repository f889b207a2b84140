"""Data sets as FITS files: counts, background, mask, response, and where they come from."""

import os

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.data import plan
from hifred.data.dataset import Dataset
from hifred.data.grid_io import grid_hdu, read_grid, sky_header
from hifred.data.response_io import REFERENCE, read_recipe, recipe_hdus
from hifred.grid import CubeGrid
from hifred.jsonhdu import PROVENANCE, json_hdu, read_json
from hifred.response.calibration import Calibration
from hifred.response.recipe import Recipe
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
    Extensions: COUNTS, MASK (1: used) and, where there is one, BACKGROUND, each (channel, y, x); the response (see
    `hifred.data.response_io`: PSF, LSF and AREA of plain kernels, or the parts of a `Calibration`); PROVENANCE (JSON:
    files and options the data set was made from); ENERGIES (edges in keV). The primary header has the shape of the
    cube (NENERGY, NY, NX), the kind of response (RECIPE) and the EXPOSURE in s.
    """
    primary = fits.PrimaryHDU()
    primary.header["CONTENT"] = CONTENT
    primary.header["INSTRUME"] = (fitsio.header_text(dataset.name), "name of the data set")
    recipe = []
    if dataset.provenance.get("response") == plan.REFERENCE:
        primary.header["RECIPE"] = (REFERENCE, "made from the files in PROVENANCE")
    else:
        recipe = recipe_hdus(dataset.response.recipe, primary.header)
    primary.header["PRECISIO"] = (str(dataset.response.dtype), "precision of the response")
    if dataset.exposure is not None:
        primary.header["EXPOSURE"] = (dataset.exposure, "[s] time observed")
    whole = np.array_equal(dataset.counts, np.round(dataset.counts)) and dataset.counts.max() < 2**31
    counts = dataset.counts.astype(np.int32) if whole else dataset.counts
    hdus = [
        primary,
        fits.ImageHDU(counts, header=_image_header(dataset), name="COUNTS"),
        fits.ImageHDU(dataset.mask.astype(np.uint8), name="MASK"),
    ]
    hdus[1].header["BUNIT"] = "count"
    if dataset.background.any():
        hdus.append(fits.ImageHDU(dataset.background, name="BACKGROUND"))
        hdus[-1].header["BUNIT"] = "count"
    hdus += recipe
    if dataset.provenance:
        hdus.append(json_hdu(dataset.provenance))
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
        grid = read_grid(file)
        provenance = read_json(file) if PROVENANCE in file else {}
        recipe = _referred(file, grid, provenance) if file.key(0, "RECIPE") == REFERENCE else read_recipe(file)
        response = Response.of(recipe, _precision(file))
        counts = _native(file.data("COUNTS"))
        background = _native(file.data("BACKGROUND")) if "BACKGROUND" in file else 0.0
        mask = file.data("MASK").astype(bool) if "MASK" in file else None
        return Dataset(
            counts, response, background, mask, fitsio.text_of_header(file.key(0, "INSTRUME")), grid,
            exposure=_exposure(file), provenance=provenance,
        )  # fmt: skip
    except fitsio.FileError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise fitsio.FileError(f"{path}: {error}") from error


def _image_header(dataset: Dataset) -> fits.Header:
    """Celestial WCS of the counts, where their pixels are blocks of sky pixels."""
    sky, detector = dataset.response.in_shape[1:], dataset.response.out_shape[1:]
    if any(n % m for n, m in zip(sky, detector, strict=True)) or _has_own_pixels(dataset.response):
        return fits.Header()
    return sky_header(dataset.grid, (sky[0] // detector[0], sky[1] // detector[1]))


def _has_own_pixels(response: Response) -> bool:
    return isinstance(response.recipe, Calibration) and response.recipe.pixels is not None


def _referred(file: fitsio.FitsFile, grid: CubeGrid | None, provenance: dict) -> Recipe:
    """The response made again from its files."""
    from hifred.data.setup import Setup

    where = f"{file.path}[{PROVENANCE}]"
    if grid is None or "setup" not in provenance:
        raise fitsio.FileError(f"{where}: expected the setup of a response, and a grid in ENERGIES, found none")
    return Setup.from_json(provenance["setup"], where).response(grid)


def _precision(file: fitsio.FitsFile) -> np.dtype:
    name = file.key(0, "PRECISIO")
    if name not in ("float32", "float64"):
        raise fitsio.FileError(f"{file.path}[PRIMARY]: expected PRECISIO to be float32 or float64, found {name!r}")
    return np.dtype(name)


def _exposure(file: fitsio.FitsFile) -> float | None:
    value = file.header(0).get("EXPOSURE")
    if value is not None and (type(value) not in (int, float) or not value > 0):
        raise fitsio.FileError(f"{file.path}[PRIMARY]: expected a positive number of s in EXPOSURE, found {value!r}")
    return None if value is None else float(value)


def _native(values: np.ndarray) -> np.ndarray:
    """FITS is big-endian; JAX wants the machine's order."""
    return values.astype(values.dtype.newbyteorder("="))
