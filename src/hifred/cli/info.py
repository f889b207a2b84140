"""The verb `info`: what is in a file."""

from pathlib import Path
from typing import Annotated

import typer


def info(
    files: Annotated[list[Path], typer.Argument(help="Any file that hifred reads.", show_default=False)],
) -> None:
    """Say what is in files: data sets, cubes, event lists, ARF, RMF, spectra, maps, PSFs, instruments, plans.

    Example: `hifred info xmm.fits fused.fits pn_events.fits pn.rmf`
    """
    from hifred.cube import CONTENT as CUBE
    from hifred.cube import FusedCube
    from hifred.data.dataset_io import CONTENT as DATASET
    from hifred.data.dataset_io import read_dataset
    from hifred.data.describe import describe
    from hifred.data.hdu_scan import scan

    for path in files:
        content = None
        if path.suffix.lower() not in (".toml", ".h5", ".hdf5"):
            content = scan(path, lambda name: False)[0].keywords.text("CONTENT", "")
        if content == DATASET:
            typer.echo(f"{path}: {_describe_dataset(read_dataset(path))}")
        elif content == CUBE:
            typer.echo(f"{path}: {_describe_cube(FusedCube.read(path))}")
        else:
            typer.echo(f"{path}: {describe(path)}")


def _energies(grid) -> str:
    return "" if grid is None else f", {grid.energy_edges[0]:g} to {grid.energy_edges[-1]:g} keV"


def _describe_dataset(dataset) -> str:
    channels, ny, nx = dataset.counts.shape
    response = dataset.response
    return (
        f"data set {dataset.name!r}, {dataset.counts[dataset.mask].sum(dtype=float):.8g} counts in {channels} channels "
        f"x {ny} x {nx} pixels, {dataset.mask.mean():.1%} of bins used; from a cube of {response.in_shape}"
        f"{_energies(dataset.grid)}; blur {response.energy_blur:.3g} energy bins, {response.sky_blur:.3g} sky pixels"
    )


def _describe_cube(cube) -> str:
    if len(cube.history) == 0:  # a truth, or a cube from elsewhere
        return f"cube of {cube.values.shape}{_energies(cube.grid)}, {cube.status}: {cube.message}"
    last = cube.history[-1]
    return (
        f"fused cube of {cube.values.shape}{_energies(cube.grid)}, {cube.status} after {last.iteration} iterations, "
        f"objective {last.objective:.8g}, prior {cube.provenance.get('prior')}, from "
        + ", ".join(entry["name"] for entry in cube.provenance.get("inputs", []))
    )
