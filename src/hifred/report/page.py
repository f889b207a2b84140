"""The page: one HTML file that holds the figures, the cubes and the script that ties them together."""

import importlib.metadata
import json
from importlib.resources import files

from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from bokeh.themes import Theme
from jinja2 import Environment
from markupsafe import Markup

from hifred.report import style
from hifred.report.bands import Band, known_lines
from hifred.report.content import Content, listed
from hifred.report.course import course, residual_spectra
from hifred.report.curves import spectra
from hifred.report.encode import BUDGET, encode, encode_views
from hifred.report.frame import exponent, with_power
from hifred.report.measures import STATUS, key_numbers, measures, settings, status_sentence, unfinished, warnings
from hifred.report.motion import Motion, cut_top
from hifred.report.motion_plots import motion_plots, thinning_plots
from hifred.report.panels import angle_maps, band_images, residual_maps, velocity_maps
from hifred.report.sky import SkyCanvas
from hifred.report.spectra import close_up, image_top, top_of
from hifred.report.words import words

_TEXT = {"text_font": style.FONT, "text_color": style.INK}
THEME = Theme(
    json={
        "attrs": {
            "Plot": {
                "background_fill_color": "#ffffff", "border_fill_color": None, "outline_line_color": style.RULE,
            },
            "Axis": {
                "axis_label_text_font": style.FONT, "axis_label_text_font_style": "normal",
                "axis_label_text_font_size": "12px", "axis_label_text_color": style.MUTED,
                "major_label_text_font": style.FONT, "major_label_text_font_size": "11px",
                "major_label_text_color": style.MUTED, "axis_line_color": style.RULE,
                "major_tick_line_color": style.RULE, "minor_tick_line_color": None, "major_tick_in": 0,
                "major_tick_out": 4, "major_label_standoff": 4, "axis_label_standoff": 6,
            },
            "Grid": {"grid_line_color": "#eef1f4"},
            "ColorBar": {"major_label_text_font": style.FONT},
        }
    }
)  # fmt: skip


def render(content: Content, budget: int = BUDGET) -> str:
    """The page as text, with at most about `budget` characters of cubes."""
    canvas = SkyCanvas(content.frame, content.pixel)
    lines = known_lines(content.frame, content.line, content.bands[0])
    velocity, course_plots = velocity_maps(content, canvas), course(content)
    thinning = thinning_plots(content)
    plots = {
        **band_images(content, canvas), **spectra(content, lines), **velocity,
        **residual_maps(content, canvas), **residual_spectra(content), **angle_maps(content, canvas), **course_plots,
        **motion_plots(content, canvas), **thinning,
    }  # fmt: skip
    embedding, places = _embed(plots)
    cubes = encode_views(content.views, budget)
    static = files("hifred.report") / "static"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((static / "page.html").read_text(encoding="utf-8"))
    return template.render(
        plots={name: Markup(place) for name, place in places.items()},
        embedding=Markup(embedding),
        bokeh=Markup(Resources(mode="inline", components=["bokeh"]).render_js()),
        css=Markup((static / "page.css").read_text(encoding="utf-8")),
        script=Markup((static / "page.js").read_text(encoding="utf-8")),
        data=Markup(_json(page_data(content, cubes))),
        coarser=_coarser(content, cubes),
        lines=lines,
        velocity=[
            {"title": view.title, "plot": f"velocity-{number}"} for number, (view, _) in enumerate(content.velocities)
        ],
        angles=[{"title": view.title, "plot": f"angle-{number}"} for number, (view, _) in enumerate(content.angles)],
        residuals=[
            {
                "title": residual.name,
                "plot": f"residual-{number}",
                "line": "2px",
                "colour": style.colour_of_input(number),
            }
            for number, residual in enumerate(content.residuals)
        ],
        course=list(course_plots),
        thinning=list(thinning),
        **_texts(content),
    )


def _embed(plots: dict) -> tuple[str, dict[str, str]]:
    """Bokeh's script, and a place for each figure."""
    document = Document(theme=THEME)
    # Otherwise the models of all figures are collected anew for each one that is added.
    with document.models.freeze():
        for plot in plots.values():
            document.add_root(plot)
    return components(plots)


def page_data(content: Content, cubes: list[dict]) -> dict:
    """What the script of the page needs to know."""
    frame = content.frame
    bands = [{"label": band.label, "low": band.low, "high": band.high} for band in content.bands]
    return {
        "views": cubes,
        "motion": None
        if content.motion is None
        else {"cube": encode(content.motion.view()), "unit": content.motion.unit(frame)},
        "shape": list(frame.sky_shape),
        "pixel": list(content.pixel),
        "pixel_size": None if frame.grid is None else frame.grid.pixel_size,
        "rotation": frame.rotation,
        "bands": bands,
        "start": {"bands": bands, "pixel": list(content.pixel)},
        "ends": [float(frame.edges[0]), float(frame.edges[-1])],
        "bin": float((frame.edges[-1] - frame.edges[0]) / (frame.edges.size - 1)),
        "energies": frame.grid is not None,
        "decimals": frame.decimals,
        "image_unit": frame.image_unit,
        "spectrum_unit": frame.spectrum_unit,
    }


def _texts(content: Content) -> dict:
    """All words of the page; the template escapes them."""
    frame, line = content.frame, content.line
    pixel = content.pixel
    whole = top_of(content.views, pixel, float(frame.edges[0]), float(frame.edges[-1]))
    near = top_of(content.views, pixel, *close_up(content, content.bands[0]))
    return {
        "title": content.title,
        "status": STATUS.get(content.fused.status, content.fused.status.capitalize()),
        "sky_label": frame.sky_label,
        "unfinished": unfinished(content),
        "sentence": status_sentence(content),
        "message": content.fused.message,
        "numbers": key_numbers(content),
        "notes": warnings(content),
        "views": [
            {
                "key": view.key, "title": view.title, "role": view.role, "width": view.width,
                "colour": style.colour_of(view), "line": "5px" if view.key == "truth" else "2px",
            }
            for view in content.views
        ],
        "bands": [_band(content, number, band) for number, band in enumerate(content.bands)],
        "pixel": frame.pixel_words(pixel),
        "cut": None if content.motion is None else _cut(content, content.motion),
        "near_unit": with_power(exponent(near), frame.spectrum_unit),
        "whole_unit": with_power(exponent(whole), frame.spectrum_unit),
        "velocity_title": "Line velocity" if line is None else f"Velocity of the {line.name} line (km/s)",
        "words": words(content),
        "measures": measures(content),
        "goal": "perfect / expected" if content.truth is not None else "expected",
        "settings": settings(content),
        "version": importlib.metadata.version("hifred"),
    }  # fmt: skip


def _cut(content: Content, motion: Motion) -> dict:
    row = content.pixel[0]
    unit = with_power(exponent(cut_top(motion.cut(row))), motion.unit(content.frame))
    return {"row": content.frame.row_words(row), "unit": unit}


def _band(content: Content, number: int, band: Band) -> dict:
    top = image_top(content, band)
    return {
        "label": band.label,
        "interval": content.frame.interval(band.low, band.high),
        "unit": with_power(exponent(top), content.frame.image_unit),
        "colour": style.BANDS[number],
        "plots": [f"image-{number}-{view.key}" for view in content.views],
        "bar": f"bar-{number}",
    }


def _coarser(content: Content, cubes: list[dict]) -> str:
    """Say which cubes had to be made coarser for the page."""
    names = [
        f"{view.title} ({cube['bins']} of {view.density.shape[0]} energy bins)"
        for view, cube in zip(content.views, cubes, strict=True)
        if cube["bins"] < view.density.shape[0]
    ]
    return f" To keep it small, clicks and drags show fewer bins of {listed(names)}." if names else ""


def _json(data: dict) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")
