"""The verb `reduce`: event lists and calibration in, data sets out."""

from pathlib import Path
from typing import Annotated

import typer


def reduce(
    plan: Annotated[
        Path, typer.Argument(help="Plan (TOML), as `hifred init` writes one with comments.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory to write to; that of the plan if not given.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what was written.")] = False,
) -> None:
    """Turn event lists and calibration files into data sets on one sky grid.

    Example: `hifred reduce reduce.toml && hifred fuse epic-pn.fits xrism-resolve.fits`
    """
    from hifred.data.plan import Plan
    from hifred.data.reduce import reduce as run
    from hifred.fitsio import FileError, require_folder, require_writable

    read = Plan.read(plan)
    folder = plan.parent if output is None else output
    if folder.exists() and not folder.is_dir():
        raise FileError(f"--output {folder}: expected a directory, found a file")
    require_folder(folder)
    files = [folder / f"{dataset.name}.fits" for dataset in read.datasets]
    inputs = {path.resolve() for dataset in read.datasets for path in dataset.files.values()} | {plan.resolve()}
    for file in files:
        if file.resolve() in inputs:
            raise FileError(f"{file}: expected a data set to have a name of its own, found that of an input")
        if folder.exists():
            require_writable(file, overwrite=overwrite)
    datasets = run(read, say=None if quiet else typer.echo)
    folder.mkdir(parents=True, exist_ok=True)
    for dataset, file in zip(datasets, files, strict=True):
        dataset.write(file, overwrite=overwrite)
        typer.echo(f"wrote {file}")
    typer.echo(f"Fuse them with: hifred fuse {' '.join(str(file) for file in files)}")
