"""The command line: the same verbs as the library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="hifred",
    help="Fuse X-ray observations: a cube sharp in space and a cube sharp in energy become one that is sharp in both.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
PRIORS = {
    "low-rank-sobolev": "LowRankSobolev",
    "low-rank-starlet": "LowRankStarlet",
    "starlet-2d1d": "Starlet2D1D",
    "low-rank": "LowRank",
    "unregularized": "Unregularized",
}
INTERRUPTED = 130


@app.command()
def fuse(
    datasets: Annotated[
        list[Path], typer.Argument(help="Data set files, as `Dataset.write` makes them.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="FITS file to write the fused cube to.")] = Path(
        "fused.fits"
    ),
    prior: Annotated[str, typer.Option(help=f"One of {', '.join(PRIORS)}.")] = "low-rank-sobolev",
    strength: Annotated[float | None, typer.Option(help="Strength of the prior; its own default if not given.")] = None,
    rank: Annotated[
        int | None,
        typer.Option(help="Number of spectra of a low-rank prior; chosen from the data if not given."),
    ] = None,
    max_iterations: Annotated[int, typer.Option(help="Largest number of iterations.")] = 200,
    tolerance: Annotated[
        float, typer.Option(help="Relative change of the objective at which the run has converged.")
    ] = 1e-4,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to keep the run in; if it exists, the run goes on from it.")
    ] = None,
    checkpoint_every: Annotated[float, typer.Option(help="Seconds between writes of the checkpoint.")] = 30.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Fuse data sets into one cube.

    Example: `hifred fuse xmm.fits xrism.fits -o fused.fits`
    """
    from hifred.data.dataset import Dataset
    from hifred.fitsio import require_writable, sha256
    from hifred.fusion import fuse as run

    chosen = _prior(prior, strength=strength, rank=rank)
    require_writable(output, overwrite=overwrite)
    data = [Dataset.read(path) for path in datasets]
    fused = run(
        data, chosen, max_iterations, tolerance, progress=not quiet, checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
    )  # fmt: skip
    for entry, path in zip(fused.provenance["inputs"], datasets, strict=True):
        entry["file"], entry["file_sha256"] = str(path), sha256(path)
    fused.write(output, overwrite=overwrite)
    last = fused.history[-1]
    typer.echo(
        f"{output}: {fused.status} after {last.iteration} iterations in {last.time:.1f} s, "
        f"objective {last.objective:.8g}. {fused.message}"
    )
    if fused.status == "interrupted":
        raise typer.Exit(INTERRUPTED)


@app.command()
def info(
    files: Annotated[list[Path], typer.Argument(help="Data set or cube files.", show_default=False)],
) -> None:
    """Say what is in data set and cube files.

    Example: `hifred info xmm.fits fused.fits`
    """
    from hifred.cube import CONTENT as CUBE
    from hifred.cube import FusedCube
    from hifred.data.dataset_io import CONTENT as DATASET
    from hifred.data.dataset_io import read_dataset
    from hifred.fitsio import FileError, FitsFile

    for path in files:
        content = FitsFile(path).header(0).get("CONTENT")
        if content == DATASET:
            typer.echo(f"{path}: {_describe_dataset(read_dataset(path))}")
        elif content == CUBE:
            typer.echo(f"{path}: {_describe_cube(FusedCube.read(path))}")
        else:
            raise FileError(f"{path}[PRIMARY]: expected CONTENT = {DATASET!r} or {CUBE!r}, found {content!r}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write to.")] = Path("demo"),
) -> None:
    """Fuse a small simulated observation and draw the result.

    Example: `hifred demo`
    """
    from hifred.demo import run

    for path in run(output):
        typer.echo(f"wrote {path}")


def _prior(name: str, **options):
    from hifred import priors

    if name not in PRIORS:
        raise ValueError(f"--prior: expected one of {', '.join(PRIORS)}, found {name!r}")
    kind = getattr(priors, PRIORS[name])
    given = {key: value for key, value in options.items() if value is not None}
    unknown = [key for key in given if key not in kind.__dataclass_fields__]
    if unknown:
        raise ValueError(f"--{unknown[0]}: expected a prior with this option, found {name}")
    return kind(**given)


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
    last = cube.history[-1]
    return (
        f"fused cube of {cube.values.shape}{_energies(cube.grid)}, {cube.status} after {last.iteration} iterations, "
        f"objective {last.objective:.8g}, prior {cube.provenance.get('prior')}, from "
        + ", ".join(entry["name"] for entry in cube.provenance.get("inputs", []))
    )


def main() -> None:
    """Entry point: bad input gives one line on standard error and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"hifred: {error}", markup=False, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
