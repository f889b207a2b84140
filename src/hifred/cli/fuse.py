"""The verb `fuse`: data sets in, a cube out."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from hifred.cli.app import FAILED, INTERRUPTED
from hifred.cli.choices import PRIORS, as_number, prior_named

EXIT_CODES = {"interrupted": INTERRUPTED, "diverged": FAILED}


def fuse(
    datasets: Annotated[
        list[Path], typer.Argument(help="Data set files, as `Dataset.write` makes them.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="FITS file to write the fused cube to.")] = Path(
        "fused.fits"
    ),
    prior: Annotated[str, typer.Option(help=f"One of {', '.join(PRIORS)}.")] = "doppler-sheets",
    strength: Annotated[
        str | None,
        typer.Option(
            help="Strength of the prior; `auto` finds it from the data alone, as the default prior does anyway."
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            help="Random splits of the photons, 1 to 6, that are fitted to choose settings; more leave less to chance."
        ),
    ] = 1,
    rank: Annotated[
        int | None,
        typer.Option(help="Number of spectra of a low-rank prior; chosen from the data if not given."),
    ] = None,
    max_iterations: Annotated[int, typer.Option(help="Largest number of iterations.")] = 200,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Relative change of the objective at which the run has converged; what suits the prior."),
    ] = None,
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
    from hifred.fusion import AUTO
    from hifred.fusion import fuse as run

    auto = AUTO if strength == AUTO else None
    chosen = prior_named(prior, strength=None if auto else as_number(strength), rank=rank)
    _require_apart(datasets, output, checkpoint)
    require_writable(output, overwrite=overwrite)
    data = [Dataset.read(path) for path in datasets]
    # Now: a run may take long enough for a file to be moved or replaced.
    sums = [sha256(path) for path in datasets]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            fused = run(
                data, chosen, max_iterations, tolerance, progress=not quiet, strength=auto, folds=folds,
                checkpoint=checkpoint, checkpoint_every=checkpoint_every,
            )  # fmt: skip
        finally:
            for warning in caught:
                typer.echo(f"hifred: {warning.message}", err=True)
    for entry, path, digest in zip(fused.provenance["inputs"], datasets, sums, strict=True):
        entry["file"], entry["file_sha256"] = str(path), digest
    fused.write(output, overwrite=overwrite)
    last = fused.history[-1]
    typer.echo(
        f"{output}: {fused.status} after {last.iteration} iterations in {last.time:.1f} s, "
        f"objective {last.objective:.8g}. {fused.message}"
    )
    if fused.status in EXIT_CODES:
        raise typer.Exit(EXIT_CODES[fused.status])


def _require_apart(inputs: list[Path], output: Path, checkpoint: Path | None) -> None:
    """Check that no file is to be written over another one of the same call."""
    taken: dict[Path, str] = {}
    for path in inputs:
        if path.resolve() in taken:
            raise ValueError(f"{path}: expected each data set once, or its photons count twice, found it again")
        taken[path.resolve()] = f"the input {path}"
    for option, path in (("--output", output), ("--checkpoint", checkpoint)):
        if path is None:
            continue
        if path.resolve() in taken:
            raise ValueError(f"{option} {path}: expected a file of its own, found {taken[path.resolve()]}")
        taken[path.resolve()] = f"the output {path}"
