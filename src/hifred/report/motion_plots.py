"""Bokeh figures of a factorised cube: how its gas moves, and how its settings were chosen."""

import numpy as np
from bokeh.core.properties import value
from bokeh.events import Tap
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    FixedTicker,
    Image,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from hifred.report import style
from hifred.report.content import Content
from hifred.report.maps import diverging_range, sequential_top
from hifred.report.motion import Motion, cut_top
from hifred.report.panels import BLUE_RED
from hifred.report.sky import SkyCanvas, colour_bar
from hifred.report.thinning import Curve

PICK_COLUMN = "window.hifred.pick(cb_obj.x, window.hifred.page.pixel[0] + 0.5)"
NUMBER = "return window.hifred.number(tick, mapper.high)"


def motion_plots(content: Content, canvas: SkyCanvas) -> dict:
    """Maps `motion-velocity` and `motion-spread`, each with a bar `...-bar`, and the cut `cut`; none without parts."""
    motion = content.motion
    if motion is None:
        return {}
    centre, half = diverging_range([motion.velocity])
    shown = {
        "motion-velocity": (motion.velocity, BLUE_RED, centre - half, centre + half),
        "motion-spread": (motion.spread, style.PLAIN, 0.0, sequential_top([motion.spread])),
    }
    plots = {}
    for name, (values, palette, low, high) in shown.items():
        mapper = LinearColorMapper(palette=palette, low=low, high=high, nan_color=style.BLANK)
        plots[name] = canvas.draw(name, values, mapper, "km/s", "%.0f", dark=False)
        plots[name].hspan(y="y", source=canvas.marker, line_color=style.INK, line_dash=[5, 4], line_width=1)
        plots[f"{name}-bar"] = colour_bar(f"{name}-bar", palette, low, high)
    return plots | {"cut": _cut(motion, content, canvas)}


def _cut(motion: Motion, content: Content, canvas: SkyCanvas):
    """Light along the marked pixel's row, by velocity; a click picks another pixel of that row."""
    frame = content.frame
    light = motion.cut(content.pixel[0]).astype(np.float32)
    low, high = float(motion.edges[0]), float(motion.edges[-1])
    plot = figure(
        x_range=Range1d(start=0, end=frame.sky_shape[1]), y_range=Range1d(start=low, end=high), tools=[],
        toolbar_location=None, sizing_mode="stretch_both", min_border_left=56, min_border_top=3, name="cut",
        x_axis_label=frame.row_label, y_axis_label="velocity (km/s)",
    )  # fmt: skip
    mapper = LinearColorMapper(
        palette=style.SEQUENTIAL, low=0, high=cut_top(light), nan_color=style.BLANK, name="cut-scale"
    )
    plot.add_glyph(
        ColumnDataSource({"image": [light]}, name="cut-source"),
        Image(image="image", x=0, y=low, dw=frame.sky_shape[1], dh=high - low, color_mapper=mapper),
    )
    plot.vspan(x="x", source=canvas.marker, line_color="#ffffff", line_alpha=0.7, line_dash=[5, 4], line_width=1)
    ticks = frame.sky_ticks(1)
    plot.xaxis.update(ticker=FixedTicker(ticks=list(ticks)), major_label_overrides=ticks)
    plot.grid.visible = False
    bar = ColorBar(
        color_mapper=mapper, ticker=BasicTicker(desired_num_ticks=5), width=12, padding=8, bar_line_color=None,
        major_label_text_color=style.MUTED, major_label_text_font_size="11px", major_tick_line_color=None,
        formatter=CustomJSTickFormatter(args={"mapper": mapper}, code=NUMBER),
    )  # fmt: skip
    plot.add_layout(bar, "right")
    plot.js_on_event(Tap, CustomJS(code=PICK_COLUMN))
    return plot


def thinning_plots(content: Content) -> dict:
    """One figure for each setting that was chosen from the data, named `thinning-N`."""
    curves = () if content.thinning is None else content.thinning.curves
    return {f"thinning-{number}": _curve(f"thinning-{number}", curve) for number, curve in enumerate(curves)}


def _curve(name: str, curve: Curve):
    places, above = curve.places, curve.above
    margin, top = 0.12 * float(np.ptp(places)), max(float(above.max()), 1.0)
    plot = figure(
        name=name, tools=[], toolbar_location=None, sizing_mode="stretch_both", min_border_left=56, min_border_right=8,
        x_range=Range1d(start=float(places[0]) - margin, end=float(places[-1]) + margin),
        y_range=Range1d(start=-0.08 * top, end=1.18 * top), x_axis_label=curve.axis_label,
        y_axis_label="held-out C-stat − minimum",
    )  # fmt: skip
    best = float(places[curve.chosen])
    plot.add_layout(Span(location=best, dimension="height", line_color=style.BANDS[0], line_dash="dashed"))
    plot.line(places, above, color=style.FUSED, line_width=1.8)
    plot.scatter(places, above, color=style.FUSED, size=6)
    plot.scatter(
        [best], [float(above[curve.chosen])], size=14, fill_color=None, line_color=style.BANDS[0], line_width=2.5
    )
    for rising, side, offset in ((True, "right", -6), (False, "left", 6)):
        at = np.flatnonzero(curve.rising == rising)
        plot.text(
            places[at], above[at], [curve.marks[k] for k in at], x_offset=offset, y_offset=-5, text_align=side,
            text_baseline="bottom", text_font_size="11px", text_color=style.MUTED, text_font=value(style.FONT),
        )  # fmt: skip
    plot.xaxis.update(
        ticker=FixedTicker(ticks=places.tolist()),
        major_label_overrides=dict(zip(places.tolist(), curve.labels, strict=True)),
    )
    plot.xgrid.visible = False
    return plot
