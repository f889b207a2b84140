"""Rows of images: bands, velocities, residuals, angular distances; each row has one colour scale."""

from collections.abc import Sequence

import numpy as np
from bokeh.models import LinearColorMapper
from bokeh.palettes import RdBu11, interp_palette

from hifred.report import style
from hifred.report.content import Content
from hifred.report.maps import SIGMAS, diverging_range, sequential_top
from hifred.report.sky import SkyCanvas, colour_bar
from hifred.report.spectra import image_top

# From blue, approaching or too few photons, to red.
BLUE_RED = interp_palette(RdBu11, 256)


def band_images(content: Content, canvas: SkyCanvas) -> dict:
    """Images of each view in each band, and a colour bar for each band; named `image-BAND-VIEW` and `bar-BAND`."""
    plots = {}
    for number, band in enumerate(content.bands):
        top = image_top(content, band)
        mapper = LinearColorMapper(
            palette=style.SEQUENTIAL, low=0, high=top, nan_color=style.BLANK, name=f"scale-{number}"
        )  # fmt: skip
        below = number == len(content.bands) - 1
        for view in content.views:
            name = f"image-{number}-{view.key}"
            plots[name] = canvas.draw(
                name, view.image(band.low, band.high), mapper, "flux", "%.3e",
                left=view is content.views[0], below=below,
            )  # fmt: skip
        plots[f"bar-{number}"] = colour_bar(
            f"bar-{number}", style.SEQUENTIAL, 0.0, top, powers=True, below=below
        )  # fmt: skip
    return plots


def velocity_maps(content: Content, canvas: SkyCanvas) -> dict:
    """Maps `velocity-N` and their colour bar `velocity-bar`; none without a line."""
    if not content.velocities:
        return {}
    maps = [values for _, values in content.velocities]
    centre, half = diverging_range(maps)
    return _row("velocity", maps, canvas, BLUE_RED, centre - half, centre + half, "km/s", "%.0f")


def angle_maps(content: Content, canvas: SkyCanvas) -> dict:
    """Maps `angle-N` and their colour bar `angle-bar`."""
    maps = [values for _, values in content.angles]
    return _row("angle", maps, canvas, style.PLAIN, 0.0, sequential_top(maps), "degrees", "%.2f", dark=True)


def residual_maps(content: Content, canvas: SkyCanvas) -> dict:
    """Maps `residual-N` and their colour bar `residual-bar`."""
    maps = [residual.sky for residual in content.residuals]
    return _row("residual", maps, canvas, BLUE_RED, -SIGMAS, SIGMAS, "σ", "%.2f")


def _row(
    name: str, maps: Sequence[np.ndarray], canvas: SkyCanvas, palette: Sequence[str] | str, low: float, high: float,
    unit: str, digits: str, *, dark: bool = False,
) -> dict:  # fmt: skip
    mapper = LinearColorMapper(palette=palette, low=low, high=high, nan_color=style.BLANK)
    plots = {
        f"{name}-{number}": canvas.draw(f"{name}-{number}", values, mapper, unit, digits, left=number == 0, dark=dark)
        for number, values in enumerate(maps)
    }
    plots[f"{name}-bar"] = colour_bar(f"{name}-bar", palette, low, high)
    return plots
