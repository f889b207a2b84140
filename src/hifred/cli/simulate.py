"""The verb `simulate`: a scene, as a truth and data to try things on."""

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
        float | None,
        typer.Option(
            help="Expected counts of each instrument (xrism-epic-iron: of EPIC pn); the scene's own if not given."
        ),
    ] = None,
    band: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="Lowest and highest energy in keV, for xrism-epic-iron.", metavar="LOW HIGH", show_default=False
        ),
    ] = None,
    brightness: Annotated[
        float | None,
        typer.Option(help="Factor on the brightness of the sky, for xrism-epic-iron.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the names of the scenes and what they are.")] = False,
) -> None:
    """Simulate a scene: the true sky, and the data of two instruments that look at it.

    The data are data sets; for xrism-epic-iron, event lists and calibration with a plan for `hifred reduce`.

    Example: `hifred simulate realistic-1kev -o remnant`
    """
    from hifred.simulate import Visit, plan_scene, scene, scene_descriptions, write_scene, write_visit
    from hifred.simulate.files import MAPS, TRUTH, require_free
    from hifred.simulate.visit import PLAN

    if list_:
        for known, description in scene_descriptions().items():
            typer.echo(textwrap.fill(f"{known}: {description}", 80, subsequent_indent="    "))
        return
    if name is None:
        raise ValueError("NAME: expected the name of a scene (hifred simulate --list shows them), found none")
    folder = Path(name) if output is None else output
    # The names of the data are known after the simulation only; then all are checked before the first is written.
    require_free(folder, () if overwrite else (TRUTH, MAPS))
    planned = plan_scene(name, seed, counts, band=band, brightness=brightness)
    if isinstance(planned, Visit):
        for path in write_visit(name, planned, folder, overwrite=overwrite):
            typer.echo(f"wrote {path}")
        typer.echo(f"Reduce them with: hifred reduce {folder / PLAN}")
        names, then = planned.names, "Then fuse the data sets with"
    else:
        simulated = scene(name, seed, counts)
        for path in write_scene(simulated, folder, overwrite=overwrite):
            typer.echo(f"wrote {path}")
        names, then = [dataset.name for dataset in simulated.datasets], "Fuse them with"
    typer.echo(f"{then}: hifred fuse {' '.join(str(folder / f'{dataset}.fits') for dataset in names)}")
