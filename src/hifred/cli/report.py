"""The verb `report`: a page that shows a fusion."""

from pathlib import Path
from typing import Annotated

import typer

from hifred.cli.choices import line_named, require_suffix


def report(
    fused: Annotated[Path, typer.Argument(help="Fused cube, as `hifred fuse` writes it.", show_default=False)],
    truth: Annotated[Path | None, typer.Option(help="The true sky, where it is known: a cube file.")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data set file, once for each; by default those the cube was made from."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Page (.html) to write; replaced if it exists.")
    ] = Path("report.html"),
    pictures: Annotated[Path | None, typer.Option(help="Directory for PNG pictures of the panels.")] = None,
    line: Annotated[
        str | None, typer.Option(help="Line of the velocity map: a name like 'O VIII', or an energy in keV.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
) -> None:
    """Write a page that shows a fusion: images, spectra, velocities, residuals, measures.

    The page is one file that needs no network: click on an image for a spectrum, drag over a spectrum for an image.

    Example: `hifred report fused.fits --truth truth.fits -o report.html`
    """
    from hifred.report import report_files

    require_suffix("--output", output, ".html")
    written = report_files(
        fused, truth, output, pictures=pictures, datasets=data or None, line=line_named(line), title=title
    )
    for path in written:
        typer.echo(f"wrote {path}")
