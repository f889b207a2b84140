"""Bokeh figures without a sky: residuals over energy, and the course of the run."""

import numpy as np
from bokeh.models import BoxAnnotation, Range1d, Span
from bokeh.plotting import figure

from hifred.report import style
from hifred.report.content import Content


def residual_spectra(content: Content) -> dict:
    """One figure `residual-spectrum`: residuals of all data sets over energy."""
    edges = content.frame.edges
    size = [np.abs(residual.spectrum[np.isfinite(residual.spectrum)]) for residual in content.residuals]
    reach = max([5.0, *(float(np.percentile(values, 99.5)) * 1.1 for values in size if values.size)])
    plot = _plain_figure(
        "residual-spectrum", content.frame.axis_label, "σ", Range1d(start=float(edges[0]), end=float(edges[-1])),
        Range1d(start=-reach, end=reach),
    )  # fmt: skip
    plot.add_layout(BoxAnnotation(bottom=-2, top=2, fill_color=style.MUTED, fill_alpha=0.1, line_color=None))
    plot.add_layout(Span(location=0, dimension="width", line_color=style.MUTED, line_width=1))
    # The finest curve is the noisiest: it lies at the bottom.
    for number in sorted(range(len(content.residuals)), key=lambda k: -content.residuals[k].spectrum.size):
        residual = content.residuals[number]
        plot.line(
            np.repeat(residual.edges, 2)[1:-1], np.repeat(residual.spectrum, 2), line_width=1.2, alpha=0.9,
            color=style.colour_of_input(number),
        )  # fmt: skip
    return {"residual-spectrum": plot}


def course(content: Content) -> dict:
    """Figures `objective` and `cstat`: the run, iteration by iteration; none where there is no history."""
    history = content.fused.history
    if len(history) < 2 or not {"iteration", "objective"} <= set(history.dtype.names or ()):
        return {}
    above = history.objective - np.nanmin(history.objective)
    shown = np.isfinite(above) & (above > 0)
    plots = {}
    if shown.any():
        values = above[shown]
        plots["objective"] = plot = _plain_figure(
            "objective", "iteration", "objective − minimum", None, _log_range(values), log=True
        )
        plot.line(history.iteration[shown], values, color=style.FUSED, line_width=1.8)
        if values.size < 60:
            plot.scatter(history.iteration[shown], values, color=style.FUSED, size=4)
    cstat = _cstat_course(content)
    if cstat is not None:
        plots["cstat"] = cstat
    return plots


def _cstat_course(content: Content):
    history = content.fused.history
    if "cstat" not in (history.dtype.names or ()) or history.cstat.ndim != 2:
        return None
    if history.cstat.shape[1] != len(content.agreements):
        return None
    expected = np.array([agreement.expected for agreement in content.agreements])
    ratio = history.cstat / np.where(expected > 0, expected, np.nan)
    seen = ratio[np.isfinite(ratio) & (ratio > 0)]
    if seen.size == 0:
        return None
    plot = _plain_figure("cstat", "iteration", "C-stat / expected", None, _log_range(np.append(seen, 1.0)), log=True)
    plot.add_layout(Span(location=1, dimension="width", line_color=style.MUTED, line_dash="dashed", line_width=1.2))
    for number in range(ratio.shape[1]):
        plot.line(history.iteration, ratio[:, number], color=style.colour_of_input(number), line_width=2)
    return plot


def _plain_figure(name: str, x_label: str, y_label: str, x_range, y_range, *, log: bool = False):
    ranges = {key: value for key, value in (("x_range", x_range), ("y_range", y_range)) if value is not None}
    plot = figure(
        name=name, tools=[], toolbar_location=None, sizing_mode="stretch_both", x_axis_label=x_label,
        y_axis_label=y_label, y_axis_type="log" if log else "linear", min_border_left=56, min_border_right=8,
        **ranges,
    )  # fmt: skip
    plot.xgrid.visible = False
    return plot


def _log_range(values: np.ndarray) -> Range1d:
    low, high = float(values.min()), float(values.max())
    margin = max((high / low) ** 0.05, 1.05)
    return Range1d(start=low / margin, end=high * margin)
