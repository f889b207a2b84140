"""The verb `compare`: how near the truth cubes are, as a table."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hifred.cli.choices import line_named, require_suffix


def compare(
    truth: Annotated[Path, typer.Argument(help="The true sky: a cube file.", show_default=False)],
    fused: Annotated[list[Path], typer.Argument(help="Cubes to measure against it.", show_default=False)],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Data set file, once for each; adds how well the cubes explain the counts."),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(help="Line of the velocity: a name like 'O VIII', or an energy in keV; the strongest by default."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="File (.json) to write the numbers to as well; replaced if it exists.")
    ] = None,
) -> None:
    """Measure cubes against the truth: one row for each.

    Example: `hifred compare truth.fits fused.fits sparse.fits --data xmm.fits --data xrism.fits`
    """
    from hifred.fitsio import require_writable
    from hifred.report.compare import compare_files

    require_suffix("--json", json, ".json")
    if json is not None:
        require_writable(json, overwrite=True)
    comparison = compare_files(truth, fused, data or (), line=line_named(line))
    _show(comparison)
    if json is not None:
        comparison.write_json(json)
        typer.echo(f"wrote {json}")


def _show(comparison) -> None:
    """Print the tables, and what they hold."""
    from rich.console import Console

    console = Console(highlight=False)
    velocity = "no line" if comparison.line is None else f"{comparison.line.name} km/s"
    heads = ("NMSE dB", "angle deg", "SSIM", "ERGAS", "flux %", velocity)
    table = _table("cube", *heads)
    names = _names([row.file for row in comparison.rows])
    for name, row in zip(names, comparison.rows, strict=True):
        s = row.scores
        flux = None if s.flux_per_pixel is None else 100 * s.flux_per_pixel
        table.add_row(
            name, _number(s.nmse, ".2f"), _number(s.spectral_angle, ".2f"), _number(s.ssim, ".3f"),
            _number(s.ergas, ".2f"), _number(flux, ".2f"), _number(s.velocity_error, ".0f"),
        )  # fmt: skip
    console.print(table)
    if any(row.fits for row in comparison.rows):
        console.print()
        table = _table("cube", "data set", "C-stat", "expected", "sigma", "ratio", "KL")
        for name, row in zip(names, comparison.rows, strict=True):
            for number, fit in enumerate(row.fits):
                a = fit.agreement
                table.add_row(
                    name if number == 0 else "", a.name, _number(a.cstat, ".0f"), _number(a.expected, ".0f"),
                    _number(a.deviation, ".0f"), _number(a.ratio, ".3f"), _number(fit.kl, ".4g"),
                )  # fmt: skip
        console.print(table)
    console.print()
    console.print(
        "Perfect: NMSE -inf (-20 dB is 10% rms), SSIM 1, all others 0.\n"
        f"ERGAS for a pixel ratio of {comparison.ratio:.3g}"
        + ("." if comparison.named_data else "; --data gives it that of the data sets."),
        markup=False,
    )


def _table(first: str, *others: str):
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="left" if name == "data set" else "right", no_wrap=True)
    return table


def _names(files: list[str]) -> list[str]:
    """Files as seen from the directory that holds all of them, so that rows stay short."""
    paths = [Path(file).resolve() for file in files]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or value != value else format(value, form)
