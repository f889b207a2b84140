"""The verb `demo`: a remnant, seen, fused and shown."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory to write to.")] = Path("demo"),
) -> None:
    """Fuse a small simulated observation and draw the result.

    Example: `hifred demo`
    """
    from hifred.demo import run

    for path in run(output):
        typer.echo(f"wrote {path}")
