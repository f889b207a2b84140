"""The panels of the page as PNG pictures."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from hifred import fitsio
from hifred.report import style
from hifred.report.content import Content
from hifred.report.frame import Frame, exponent, with_power
from hifred.report.maps import SIGMAS, diverging_range, sequential_top
from hifred.report.motion import cut_top
from hifred.report.spectra import close_up, image_top, outline_x, outline_y, top_of
from hifred.report.views import View

DPI = 130
_LOOK: dict = {
    "font.size": 9, "axes.titlesize": 10, "axes.edgecolor": "#9aa4b0", "axes.labelcolor": style.MUTED,
    "xtick.color": style.MUTED, "ytick.color": style.MUTED, "text.color": style.INK, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "figure.dpi": DPI,
}  # fmt: skip

# On an axis of few decades "2" is easier to read than two times a power of ten.
_DECIMAL = FuncFormatter(lambda value, _: f"{value:g}")


def draw_pictures(content: Content, folder: str | os.PathLike) -> list[Path]:
    """Draw the panels of a report into a folder, which is made where it does not exist; returns the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_LOOK), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        for name, figure in (
            ("overview", overview(content)),
            ("velocity", velocity(content)),
            ("motion", motion(content)),
            ("residuals", residuals(content)),
            ("angles", angles(content)),
            ("course", course(content)),
            ("thinning", thinning(content)),
        ):
            if figure is not None:
                path = folder / f"{name}.png"
                with fitsio.replacing(path) as part:
                    figure.savefig(part, format="png", dpi=DPI)
                written.append(path)
    return written


def overview(content: Content) -> Figure:
    """Images of the two bands, and the spectrum of the marked pixel."""
    views, frame = content.views, content.frame
    figure = Figure(figsize=(3 * len(views) + 0.6, 9.9), layout="constrained")
    figure.suptitle(content.title, fontsize=14, fontweight="bold", parse_math=False)
    halves = figure.add_gridspec(2, 1, height_ratios=(6.7, 3.2))
    upper, lower = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    axes = upper.subplots(2, len(views), squeeze=False)
    widths = "Small numbers: width (FWHM) of a point and of a narrow line in the instrument, or the size of a voxel"
    upper.suptitle(widths, fontsize=8.5, color=style.MUTED)
    for row, band in enumerate(content.bands):
        top = image_top(content, band)
        power = exponent(top)
        for column, view in enumerate(views):
            _sky(axes[row, column], view.image(band.low, band.high) / 10.0**power, frame, "inferno",
                         0.0, top / 10.0**power, left=column == 0, below=row == 1)  # fmt: skip
            axes[row, column].plot(content.pixel[1] + 0.5, content.pixel[0] + 0.5, "o", ms=8, mfc="none", mec="w")
            if row == 0:
                axes[row, column].set_title(f"{view.title}\n{view.role}, {view.width}", parse_math=False)
        axes[row, 0].set_ylabel(f"{band.label}\n{frame.interval(band.low, band.high)}", parse_math=False)
        upper.colorbar(
            _scale("inferno", 0.0, top / 10.0**power),
            ax=list(axes[row]),
            label=with_power(power, frame.image_unit),
            pad=0.01,
            aspect=26,
        )
    near, whole = lower.subplots(1, 2, width_ratios=(1, 2.2))
    _spectrum(near, content, *close_up(content, content.bands[0]))
    _spectrum(whole, content, float(frame.edges[0]), float(frame.edges[-1]))
    whole.legend(loc="upper right")
    lower.suptitle(f"Spectrum of the circled pixel ({frame.pixel_words(content.pixel)})", fontsize=10)
    return figure


def velocity(content: Content) -> Figure | None:
    """Velocity maps, where the cube covers a line."""
    if not content.velocities or content.line is None:
        return None
    centre, half = diverging_range([values for _, values in content.velocities])
    label = f"velocity of {content.line.name} (km/s)"
    return _maps(content, content.velocities, "RdBu_r", centre - half, centre + half, label)


def motion(content: Content) -> Figure | None:
    """Maps of the velocity of all gas and of its spread, and a cut, where the cube has parts."""
    moving, frame = content.motion, content.frame
    if moving is None:
        return None
    figure = Figure(figsize=(13.6, 3.7), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(8, 5.6))
    maps, right = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    centre, half = diverging_range([moving.velocity])
    shown = (
        ("Mean velocity of all gas", moving.velocity, "RdBu_r", centre - half, centre + half),
        ("Spread of the velocity", moving.spread, "viridis", 0.0, sequential_top([moving.spread])),
    )
    row, column = content.pixel
    for axis, (title, values, palette, low, high) in zip(maps.subplots(1, 2, squeeze=False)[0], shown, strict=True):
        _sky(axis, values, frame, palette, low, high, left=True, below=True)
        axis.axhline(row + 0.5, color=style.INK, ls="--", lw=0.9)
        axis.set_title(title)
        # As high as the map, whatever its shape.
        maps.colorbar(_scale(palette, low, high), cax=axis.inset_axes((1.04, 0, 0.05, 1)), label="km/s")
    light = moving.cut(row)
    power = exponent(cut_top(light))
    axis = right.subplots()
    axis.set_facecolor(style.BLANK)
    axis.spines[:].set_visible(False)
    top = cut_top(light) / 10.0**power
    axis.pcolormesh(
        np.arange(light.shape[1] + 1), moving.edges, light / 10.0**power, cmap="inferno", vmin=0, vmax=top
    )  # fmt: skip
    axis.axvline(column + 0.5, color="w", ls="--", lw=0.9, alpha=0.7)
    ticks = frame.sky_ticks(1)
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.set(xlabel=frame.row_label, ylabel="velocity (km/s)")
    axis.set_title(f"Position-velocity cut, {frame.row_words(row)}")
    label = with_power(power, moving.unit(frame)).replace(" per ", "\nper ", 1)
    right.colorbar(_scale("inferno", 0.0, top), ax=axis, label=label)
    return figure


def thinning(content: Content) -> Figure | None:
    """How well each value of a setting foretold photons that were kept back, where settings were chosen so."""
    if content.thinning is None:
        return None
    curves = content.thinning.curves
    figure = Figure(figsize=(4.4 * len(curves) + 0.4, 3.4), layout="constrained")
    for axis, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        places, above, best = curve.places, curve.above, curve.chosen
        axis.axvline(places[best], color=style.BANDS[0], ls="--", lw=1)
        axis.plot(places, above, "o-", ms=4, color=style.FUSED)
        axis.plot(places[best], above[best], "o", ms=11, mfc="none", mec=style.BANDS[0], mew=1.8)
        for place, height, mark, rising in zip(places, above, curve.marks, curve.rising, strict=True):
            axis.annotate(mark, (place, height), (-5 if rising else 5, 4), textcoords="offset points", fontsize=8,
                          color=style.MUTED, ha="right" if rising else "left")  # fmt: skip
        axis.set_xticks(places, curve.labels, fontsize=8)
        axis.set(ylim=(-0.08 * max(above.max(), 1), 1.15 * max(above.max(), 1)), ylabel="held-out C-stat − minimum")
        axis.set_xlabel(_plain(curve.axis_label))
        axis.margins(x=0.12)
    return figure


def angles(content: Content) -> Figure:
    """Maps of the mean angular distance."""
    top = sequential_top([values for _, values in content.angles])
    return _maps(content, content.angles, "viridis", 0.0, top, "mean angular distance (degrees)")


def residuals(content: Content) -> Figure:
    """Residual maps of the data sets, and their residuals over energy."""
    frame, number = content.frame, len(content.residuals)
    figure = Figure(figsize=(3.4 * number + 5, 3.6), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(3.4 * number, 5))
    left, right = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    axes = left.subplots(1, number, squeeze=False)[0]
    for column, (axis, residual) in enumerate(zip(axes, content.residuals, strict=True)):
        _sky(axis, residual.sky, frame, "RdBu_r", -SIGMAS, SIGMAS, left=column == 0, below=True)
        axis.set_title(residual.name, parse_math=False)
    left.colorbar(_scale("RdBu_r", -SIGMAS, SIGMAS), ax=list(axes), label="(counts − predicted) / √predicted", pad=0.01)
    axis = right.subplots()
    axis.axhspan(-2, 2, color="#eef1f4")
    for k in sorted(range(number), key=lambda k: -content.residuals[k].spectrum.size):
        residual = content.residuals[k]
        axis.stairs(residual.spectrum, residual.edges, baseline=None, color=style.colour_of_input(k), lw=1,
                    label=_plain(residual.name))  # fmt: skip
    axis.set(xlabel=frame.axis_label, ylabel="σ", xlim=frame.edges[[0, -1]])
    axis.legend(loc="upper right", ncols=number)
    return figure


def course(content: Content) -> Figure | None:
    """Objective and C-stat over the iterations, where there is a history."""
    history = content.fused.history
    if len(history) < 2:
        return None
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    above = history.objective - np.nanmin(history.objective)
    left.semilogy(
        history.iteration[above > 0], above[above > 0], "o-" if len(above) < 60 else "-", ms=3, color=style.FUSED
    )
    left.set(xlabel="iteration", ylabel="objective − minimum")
    if history.cstat.ndim == 2 and history.cstat.shape[1] == len(content.agreements):
        for number, agreement in enumerate(content.agreements):
            right.semilogy(history.iteration, history.cstat[:, number] / agreement.expected,
                           color=style.colour_of_input(number), label=_plain(agreement.name))  # fmt: skip
        right.legend()
    right.yaxis.set_major_formatter(_DECIMAL)
    low, high = right.get_ylim()
    right.yaxis.set_minor_formatter(_DECIMAL if high < 10 * low else NullFormatter())
    right.axhline(1, color=style.MUTED, ls="--", lw=1)
    right.set(xlabel="iteration", ylabel="C-stat / expected")
    return figure


def _maps(
    content: Content, maps: Sequence[tuple[View, np.ndarray]], palette: str, low: float, high: float, label: str
) -> Figure:
    figure = Figure(figsize=(3.6 * len(maps) + 0.8, 3.6), layout="constrained")
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    for column, (axis, (view, values)) in enumerate(zip(axes, maps, strict=True)):
        _sky(axis, values, content.frame, palette, low, high, left=column == 0, below=True)
        axis.set_title(view.title, parse_math=False)
    figure.colorbar(_scale(palette, low, high), ax=list(axes), label=_plain(label), pad=0.01)
    return figure


def _sky(
    axis: Axes, values: np.ndarray, frame: Frame, palette: str, low: float, high: float, *, left: bool, below: bool
) -> None:  # fmt: skip
    """One image with its ticks."""
    ny, nx = frame.sky_shape
    axis.imshow(values, origin="lower", cmap=palette, vmin=low, vmax=high, extent=(0, nx, 0, ny))
    axis.set_facecolor(style.BLANK)
    axis.spines[:].set_visible(False)
    for set_ticks, number, labelled in ((axis.set_xticks, 1, below), (axis.set_yticks, 0, left)):
        ticks = frame.sky_ticks(number)
        set_ticks(list(ticks), list(ticks.values()) if labelled else [""] * len(ticks))
    if below:
        axis.set_xlabel(frame.sky_label.replace(", ", "\n"))


def _scale(palette: str, low: float, high: float) -> ScalarMappable:
    """What a colour bar shows."""
    return ScalarMappable(Normalize(low, high), palette)


def _spectrum(axis: Axes, content: Content, low: float, high: float) -> None:
    """Spectra of the marked pixel between two energies."""
    top = top_of(content.views, content.pixel, low, high)
    power = exponent(top)
    for band, colour in zip(content.bands, style.BANDS, strict=True):
        axis.axvspan(band.low, band.high, color=colour, alpha=0.15, lw=0)
    for view in sorted(content.views, key=lambda view: (view.key != "truth", view.key == "fused")):
        axis.plot(
            outline_x(view), outline_y(view.spectrum(*content.pixel)) / 10.0**power, label=_plain(view.title),
            color=style.colour_of(view), lw={"truth": 3.5, "fused": 1.3}.get(view.key, 0.9),
        )  # fmt: skip
    axis.set(xlim=(low, high), ylim=(0, top / 10.0**power), xlabel=content.frame.axis_label)
    axis.set_ylabel(with_power(power, content.frame.spectrum_unit), fontsize=8)


def _plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics, nor hide from a legend."""
    return text.replace("$", r"\$").lstrip("_") or "data"
