"""The program itself: what all verbs share, and how it ends."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from hifred.cli.compiled import keep_compiled

app = typer.Typer(
    name="hifred",
    help="Fuse X-ray observations: a cube sharp in space and a cube sharp in energy become one that is sharp in both.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
# Exit codes: bad input; a run that gave no good cube; Ctrl-C (128 + SIGINT, as shells have it).
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def _version(asked: bool) -> bool:
    if asked:
        import importlib.metadata

        typer.echo(f"hifred {importlib.metadata.version('hifred')}")
        raise typer.Exit
    return asked


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What comes before the verb."""
    keep_compiled()


def main() -> None:
    """Entry point: bad input gives one line on standard error and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ModuleNotFoundError) as error:
        Console(stderr=True, soft_wrap=True).print(f"hifred: {error}", markup=False, highlight=False)
        sys.exit(BAD_INPUT)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        line = f"hifred: not enough memory{reason}: fewer or larger pixels and energy bins need less"
        Console(stderr=True, soft_wrap=True).print(line, markup=False, highlight=False)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
