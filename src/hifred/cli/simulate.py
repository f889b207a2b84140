"""The verb `simulate`: a scene, as a truth and data sets to try things on."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    name: Annotated[
        str | None, typer.Argument(help="Name of the scene; --list shows them.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Directory to write to; the name of the scene if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sky and of the photon noise.")] = 0,
    counts: Annotated[
        float | None, typer.Option(help="Expected counts of each instrument; the scene's own if not given.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the names of the scenes and what they are.")] = False,
) -> None:
    """Simulate a scene: the true sky, and the data sets of two instruments that look at it.

    Example: `hifred simulate realistic-1kev -o remnant`
    """
    from hifred.simulate import scene, scene_descriptions, write_scene
    from hifred.simulate.files import MAPS, TRUTH, require_free

    if list_:
        for known, description in scene_descriptions().items():
            typer.echo(textwrap.fill(f"{known}: {description}", 80, subsequent_indent="    "))
        return
    if name is None:
        raise ValueError("NAME: expected the name of a scene (hifred simulate --list shows them), found none")
    folder = Path(name) if output is None else output
    # The names of the data sets are known after the simulation only; then all are checked before the first is written.
    require_free(folder, () if overwrite else (TRUTH, MAPS))
    simulated = scene(name, seed, counts)
    written = write_scene(simulated, folder, overwrite=overwrite)
    for path in written:
        typer.echo(f"wrote {path}")
    data = " ".join(str(folder / f"{dataset.name}.fits") for dataset in simulated.datasets)
    typer.echo(f"Fuse them with: hifred fuse {data}")
