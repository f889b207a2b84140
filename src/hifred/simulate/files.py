"""A scene as files: the truth as a cube like a fused one, its maps, and the data sets."""

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.cube import FusedCube
from hifred.data.grid_io import sky_header
from hifred.simulate.truth import Scene, Truth
from hifred.simulate.visit import Visit, write_observations

TRUTH, MAPS = "truth.fits", "truth_maps.fits"


def require_free(folder: str | os.PathLike, names: Iterable[str]) -> None:
    """Check that a scene can be written to a folder without replacing a file.

    Parameters
    ----------
    folder : path
        Where the scene is to be written; need not exist.
    names : iterable of str
        Names of the files that must not exist yet.

    Raises
    ------
    FileError
        If one exists, or the folder is a file or cannot be made.
    """
    if Path(folder).exists() and not Path(folder).is_dir():
        raise fitsio.FileError(f"{folder}: expected a directory to write to, found a file")
    fitsio.require_folder(folder)
    for name in names:
        if (Path(folder) / name).exists():
            raise fitsio.FileError(
                f"{Path(folder) / name}: the file exists; choose another directory or allow overwriting (--overwrite)"
            )


def truth_cube(scene: Scene) -> FusedCube:
    """The truth of a scene as a cube that can be written, compared and shown like a fused one.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    FusedCube
        In single precision, with the status "truth", no history, and name and seed of the scene in its provenance.
    """
    return _cube(scene.truth, len(scene.datasets), scene=scene.name, seed=scene.seed, counts=scene.counts)


def _cube(truth: Truth, instruments: int, **facts) -> FusedCube:
    history = np.recarray(
        0,
        dtype=[
            ("iteration", "i4"),
            *((name, "f8") for name in ("objective", "data_term", "prior_term", "residual", "time")),
            ("cstat", "f8", (instruments,)),
        ],
    )
    provenance = {
        "versions": {name: importlib.metadata.version(name) for name in ("hifred", "numpy", "astropy")},
        **facts,
        "unit": "photon cm-2 s-1",
    }
    message = "The sky that the simulated counts were drawn from."
    return FusedCube(truth.values.astype(np.float32), "truth", message, history, truth.grid, provenance)


def write_scene(scene: Scene, folder: str | os.PathLike, *, overwrite: bool = False) -> list[Path]:
    """Write the truth of a scene, its maps and its data sets as FITS files.

    Parameters
    ----------
    scene : Scene
    folder : path
        Made where it does not exist.
    overwrite : bool
        Replace existing files; otherwise nothing is written if there is one.

    Returns
    -------
    list of Path
        The files: `truth.fits` (`FusedCube.read` reads it), `truth_maps.fits` (an image for each of velocity, velocity
        spread, temperature and abundances) and a file for each data set, under its name.

    Raises
    ------
    FileError
        If a file exists and may not be replaced, or cannot be written there.
    """
    data = [f"{dataset.name}.fits" for dataset in scene.datasets]
    folder = _made(folder, () if overwrite else (TRUTH, MAPS, *data))
    written = _write_truth(truth_cube(scene), scene.truth, folder, overwrite=overwrite)
    for dataset, name in zip(scene.datasets, data, strict=True):
        dataset.write(folder / name, overwrite=overwrite)
    return [*written, *(folder / name for name in data)]


def write_visit(name: str, visit: Visit, folder: str | os.PathLike, *, overwrite: bool = False) -> list[Path]:
    """Write the truth of a visit, its maps, and what real ones have: event lists, calibration and a plan.

    Parameters
    ----------
    name : str
        Name of the scene, for the provenance of the truth.
    visit : Visit
    folder : path
        Made where it does not exist.
    overwrite : bool
        Replace existing files; otherwise nothing is written if there is one.

    Returns
    -------
    list of Path
        The files: `truth.fits` and `truth_maps.fits` as of `write_scene`, event lists, RMF and ARF of each telescope,
        and `reduce.toml`, with which `hifred reduce` makes the data sets.

    Raises
    ------
    FileError
        If a file exists and may not be replaced, or cannot be written there.
    """
    folder = _made(folder, () if overwrite else (TRUTH, MAPS, *visit.files))
    cube = _cube(visit.truth, len(visit.telescopes), scene=name, seed=visit.seed, counts=visit.counts)
    written = _write_truth(cube, visit.truth, folder, overwrite=overwrite)
    return [*written, *write_observations(visit, folder, overwrite=overwrite)]


def _made(folder: str | os.PathLike, free: Iterable[str]) -> Path:
    """The folder, made where it does not exist; files that must not exist are looked for first."""
    folder = Path(folder)
    require_free(folder, free)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fitsio.FileError(f"{folder}: could not be made ({error.strerror})") from error
    return folder


def _write_truth(cube: FusedCube, truth: Truth, folder: Path, *, overwrite: bool) -> list[Path]:
    cube.write(folder / TRUTH, overwrite=overwrite)
    _write_maps(truth, folder / MAPS, overwrite=overwrite)
    return [folder / TRUTH, folder / MAPS]


def _write_maps(truth: Truth, path: Path, *, overwrite: bool) -> None:
    maps = [
        ("VELOCITY", "km/s", truth.velocity),
        ("SPREAD", "km/s", truth.velocity_spread),
        ("TEMPERATURE", "keV", truth.temperature),
        *((f"ABUND_{element.upper()}", "", values) for element, values in truth.abundances.items()),
    ]
    hdus: list = [fits.PrimaryHDU()]
    for name, unit, values in maps:
        hdus.append(fits.ImageHDU(values.astype(np.float32), header=sky_header(truth.grid), name=name))
        hdus[-1].header["BUNIT"] = unit
    fitsio.write(path, hdus, overwrite=overwrite)
