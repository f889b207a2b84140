"""The verb `demo`: a remnant, seen, fused and shown."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write to.")] = Path("demo"),
    scene: Annotated[
        str, typer.Option(help="Name of the scene; `hifred simulate --list` shows them.")
    ] = "realistic-1kev",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Simulate a supernova remnant, fuse what two telescopes see of it, and show the result as a page.

    Takes some minutes on two cores, most of them for choosing settings from the data. Files of an earlier demonstration
    in the same directory are replaced.

    Example: `hifred demo`
    """
    from hifred.demo import PAGE, run

    for path in run(output, scene, progress=not quiet, say=typer.echo):
        typer.echo(f"wrote {path}")
    typer.echo(f"Open this page in a browser: {(output / PAGE).resolve().as_uri()}")
