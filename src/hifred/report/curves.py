"""Bokeh figures of the spectra of the marked pixel, from which bands are chosen by dragging."""

from collections.abc import Sequence

from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxAnnotation,
    BoxSelectTool,
    BoxZoomTool,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    FixedTicker,
    LinearAxis,
    Range1d,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

from hifred.report import style
from hifred.report.bands import Band
from hifred.report.content import Content
from hifred.report.sky import NUMBER
from hifred.report.spectra import close_up, outline_x, outline_y, top_of


def spectrum_sources(content: Content) -> dict[str, ColumnDataSource]:
    """Spectra of the pixel, one source for each view."""
    return {
        view.key: ColumnDataSource(
            {"x": outline_x(view), "y": outline_y(view.spectrum(*content.pixel))}, name=f"spectrum-{view.key}"
        )
        for view in content.views
    }


def spectrum_plot(
    content: Content, name: str, sources: dict[str, ColumnDataSource], low: float, high: float,
    lines: Sequence[Band],
):  # fmt: skip
    """Spectra of the marked pixel between two energies; dragging picks a band."""
    select = BoxSelectTool(dimensions="width", renderers=[])
    plot = figure(
        x_range=Range1d(start=low, end=high, name=f"{name}-x"),
        y_range=Range1d(start=0, end=top_of(content.views, content.pixel, low, high), name=f"{name}-y"),
        tools=[select, BoxZoomTool(dimensions="width"), WheelZoomTool(dimensions="width"), ResetTool()],
        active_drag=select, active_scroll=None, toolbar_location="right" if name == "whole" else None,
        sizing_mode="stretch_both", min_border_left=46, min_border_right=8, min_border_top=8, name=name,
        x_axis_label=content.frame.axis_label,
    )  # fmt: skip
    plot.toolbar.logo = None
    for number, band in enumerate(content.bands):
        plot.add_layout(
            BoxAnnotation(
                left=band.low, right=band.high, fill_color=style.BANDS[number], fill_alpha=0.16,
                line_color=style.BANDS[number], line_alpha=0.5, line_width=1, name=f"{name}-box-{number}",
                propagate_hover=True,
            )
        )  # fmt: skip
    # Drawn last lies on top: the truth as a wide band below, the result above all.
    for view in sorted(content.views, key=lambda view: (view.key != "truth", view.key == "fused")):
        width, alpha = {"truth": (5, 0.9), "fused": (1.6, 1)}.get(view.key, (1.2, 0.85))
        plot.line(
            "x", "y", source=sources[view.key], color=style.colour_of(view), line_width=width,
            alpha=alpha, line_join="round", name=f"{name}-line-{view.key}",
        )  # fmt: skip
    plot.yaxis.formatter = CustomJSTickFormatter(args={"range": plot.y_range}, code=NUMBER)
    plot.xgrid.visible = False
    if lines:
        ticks = {0.5 * (line.low + line.high): line.label for line in lines}
        axis = LinearAxis(axis_line_color=None, minor_tick_line_color=None, major_label_text_color=style.MUTED)
        axis.update(ticker=FixedTicker(ticks=list(ticks)), major_label_overrides=ticks)
        plot.add_layout(axis, "above")
    plot.js_on_event(SelectionGeometry, CustomJS(code="window.hifred.drag(cb_obj.geometry)"))
    return plot


def spectra(content: Content, lines: Sequence[Band]) -> dict:
    """The whole spectrum and a close-up of the first band, sharing their data."""
    sources = spectrum_sources(content)
    edges = content.frame.edges
    near = close_up(content, content.bands[0])
    return {
        "whole": spectrum_plot(content, "whole", sources, float(edges[0]), float(edges[-1]), lines),
        "near": spectrum_plot(content, "near", sources, *near, ()),
    }
