"""The verb `init`: a plan to start from."""

from pathlib import Path
from typing import Annotated

import typer


def init(
    events: Annotated[
        list[Path] | None,
        typer.Argument(help="Event lists to plan for; their instruments are recognised.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Plan (.toml) to write.")] = Path("reduce.toml"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented plan for `hifred reduce`.

    Example: `hifred init pn_events.fits resolve_cl.evt`
    """
    from hifred.cli.choices import require_suffix
    from hifred.data.template import init as write

    require_suffix("--output", output, ".toml")
    write(events or (), output, overwrite=overwrite)
    typer.echo(f"wrote {output}")
    typer.echo(f"Fill in the calibration files, then: hifred reduce {output}")
