"""Bokeh figures of the sky: images with one field of view and one marker, and colour scales."""

from collections.abc import Sequence

import numpy as np
from bokeh.events import Tap
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJS,
    CustomJSHover,
    CustomJSTickFormatter,
    FixedTicker,
    HoverTool,
    Image,
    LinearAxis,
    LinearColorMapper,
    Range1d,
)
from bokeh.plotting import figure

from hifred.report.frame import Frame

# Room in pixels beside an image with and without tick labels, and for a colour bar; page.css counts on them.
LABELS_LEFT, LABELS_BELOW, NO_LABELS_BELOW, NARROW = 38, 20, 8, 3
BAR_WIDTH = 64

PICK = "window.hifred.pick(cb_obj.x, cb_obj.y)"
NUMBER = "return window.hifred.number(tick, range.end)"


class SkyCanvas:
    """Makes images that share one field of view and one marker.

    Parameters
    ----------
    frame : Frame
        The axes.
    pixel : pair of int
        The marked pixel.
    """

    def __init__(self, frame: Frame, pixel: tuple[int, int]):
        ny, nx = frame.sky_shape
        side = max(ny, nx)
        self.frame = frame
        self.x_range = Range1d(start=(nx - side) / 2, end=(nx + side) / 2)
        self.y_range = Range1d(start=(ny - side) / 2, end=(ny + side) / 2)
        self.marker = ColumnDataSource({"x": [pixel[1] + 0.5], "y": [pixel[0] + 0.5]}, name="marker")

    def draw(
        self, name: str, values: np.ndarray, mapper: LinearColorMapper, unit: str, digits: str, *, left=True,
        below=True, dark=True,
    ):  # fmt: skip
        """One image (ny, nx); clicks pick a pixel.

        Parameters
        ----------
        name : str
            Name of the figure.
        values : array of shape (ny, nx)
            What to show.
        mapper : LinearColorMapper
            Its colours.
        unit, digits : str
            What its values are called where the mouse points, and how they are written there (as `printf` does).
        left, below : bool
            Whether to write tick labels there.
        dark : bool
            Whether the image is mostly dark, so that the marker has to be light.
        """
        ny, nx = self.frame.sky_shape
        plot = figure(
            x_range=self.x_range, y_range=self.y_range, tools=[], toolbar_location=None, sizing_mode="stretch_both",
            min_border_left=LABELS_LEFT if left else NARROW, min_border_right=NARROW, min_border_top=NARROW,
            min_border_bottom=LABELS_BELOW if below else NO_LABELS_BELOW, name=name,
        )  # fmt: skip
        image = plot.add_glyph(
            ColumnDataSource({"image": [values.astype(np.float32)]}, name=f"{name}-source"),
            Image(image="image", x=0, y=0, dw=nx, dh=ny, color_mapper=mapper),
        )
        for colour, width in (("#000000", 4), ("#ffffff", 2)) if dark else (("#ffffff", 5), ("#000000", 2)):
            plot.scatter(
                "x", "y", source=self.marker, marker="circle", size=15, fill_color=None, line_color=colour,
                line_width=width, level="overlay",
            )  # fmt: skip
        if left and self.frame.grid is not None and self.frame.grid.rotation % 360:
            self._compass(plot, "#ffffff" if dark else "#000000")
        plot.add_tools(self._hover(image, unit, digits))
        plot.grid.visible = False
        for axis, number, labelled in ((plot.xaxis, 1, below), (plot.yaxis, 0, left)):
            ticks = self.frame.sky_ticks(number)
            hidden = {} if labelled else {"major_label_text_font_size": "0px", "major_label_standoff": 0}
            for one in axis:
                one.update(
                    ticker=FixedTicker(ticks=list(ticks)), major_label_overrides=ticks,
                    major_tick_out=3 if labelled else 0, **hidden,
                )  # fmt: skip
        plot.js_on_event(Tap, CustomJS(code=PICK))
        return plot

    def _compass(self, plot, colour: str):
        """Lines to the north and to the east in a corner of a rotated image."""
        ny, nx = self.frame.sky_shape
        length = 0.1 * min(ny, nx)
        # Whichever way they point, the letters stay inside.
        x, y = nx - 1.8 * length, ny - 1.8 * length
        steps = length * np.array(self._directions()).T
        plot.segment([x, x], [y, y], x + steps[0], y + steps[1], line_color=colour, level="overlay")
        plot.text(
            x + 1.4 * steps[0], y + 1.4 * steps[1], ["N", "E"], text_color=colour, text_align="center",
            text_baseline="middle", text_font_size="11px", level="overlay",
        )  # fmt: skip

    def _directions(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Steps (x, y) of length 1 on the image to the north and to the east."""
        angle = 0.0 if self.frame.grid is None else np.radians(self.frame.grid.rotation)
        return (float(np.sin(angle)), float(np.cos(angle))), (-float(np.cos(angle)), float(np.sin(angle)))

    def _hover(self, image, unit: str, digits: str) -> HoverTool:
        ny, nx = self.frame.sky_shape
        if self.frame.grid is None:
            label, place = "x, y", {"x": "Math.floor(value)", "y": "Math.floor(value)"}
        else:
            size = self.frame.grid.pixel_size
            label = "east, north"
            north, east = (
                f"(((special_vars.x - {nx / 2}) * {dx} + (special_vars.y - {ny / 2}) * {dy}) * {size}).toFixed(0) + '″'"
                for dx, dy in self._directions()
            )
            place = {"x": east, "y": north}
        tooltips = [(label, "$x{custom}, $y{custom}"), (unit, f"@image{{{digits}}}")]
        formatters: dict = {f"${axis}": CustomJSHover(code=f"return {code}") for axis, code in place.items()}
        formatters["@image"] = "printf"
        return HoverTool(
            renderers=[image], tooltips=tooltips, formatters=formatters, visible=False, attachment="vertical"
        )


def colour_bar(name: str, palette: Sequence[str] | str, low: float, high: float, *, powers=False, below=True):
    """A colour scale beside a row of images, named `NAME`; its axis is the range `NAME-range`.

    With `powers` the numbers are over the power of ten of their largest; `below` as for the images.
    """
    scale = Range1d(start=low, end=high, name=f"{name}-range")
    plot = figure(
        x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1), extra_y_ranges={"scale": scale}, tools=[],
        toolbar_location=None, sizing_mode="stretch_both", min_border_left=2, min_border_top=NARROW,
        min_border_right=BAR_WIDTH - 14, min_border_bottom=LABELS_BELOW if below else NO_LABELS_BELOW, name=name,
    )  # fmt: skip
    plot.axis.visible = plot.grid.visible = False
    steps = LinearColorMapper(palette=palette, low=0, high=1)
    plot.add_glyph(
        ColumnDataSource({"image": [np.linspace(0, 1, 256, dtype=np.float32)[:, None]]}),
        Image(image="image", x=0, y=0, dw=1, dh=1, color_mapper=steps),
    )
    axis = LinearAxis(y_range_name="scale", ticker=BasicTicker(desired_num_ticks=5), axis_line_color=None)
    if powers:
        axis.update(formatter=CustomJSTickFormatter(args={"range": scale}, code=NUMBER))
    plot.add_layout(axis, "right")
    return plot
