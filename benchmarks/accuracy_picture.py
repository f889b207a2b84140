"""The accuracy benchmark at a glance: errors of methods in all scenes."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from accuracy_methods import DEFAULT, METHODS
from accuracy_scenes import SCENES
from accuracy_summary import CLEAN, ORACLE
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

# Colour and marker by method; colours of Okabe and Ito, which colour-blind people tell apart. Those that are entered
# later are black; other settings of the default, or no noise, are not drawn.
MARKS = {
    "EM oracle stop": ("#999999", "x"),
    "LowRankSobolev oracle": ("#56b4e9", "s"),
    "LowRankStarlet oracle": ("#0072b2", "D"),
    "Starlet2D1D oracle": ("#009e73", "^"),
    "Denoiser blind": ("#cc79a7", "v"),
    "GuidedSmoothness blind": ("#f0c000", "P"),
    "DopplerSheets vmax=0 blind": ("#e69f00", "<"),
    DEFAULT: ("#d55e00", "o"),
}
ENTERED = "*1234"
HIDDEN = (ORACLE, CLEAN)
MEASURES = {
    "nmse": "NMSE (dB)",
    "velocity_error": "error of the line velocity (km/s)",
}
LEVELS = ("few photons", "more", "many")
SPEEDS = (20, 50, 100, 200, 500, 1000)  # km/s, on the axis


def draw(rows: list[dict]) -> Figure:
    """Means over runs, of the counts that scenes have; bars are the scatter from run to run of the default."""
    cells: dict[tuple, list[dict]] = {}
    for row in rows:
        cells.setdefault((row["scene"], row["counts"], row["method"]), []).append(row)
    figure = Figure(figsize=(13, 11), layout="constrained")
    axes = figure.subplots(len(MEASURES), len(LEVELS), sharex="row", sharey=True)
    for line, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for level, (axis, name) in enumerate(zip(line, LEVELS, strict=True)):
            _panel(axis, cells, measure, level)
            axis.set_xlabel(f"{label}, lower is better")
            axis.set_title(f"{name}: {' and '.join(f'{counts:,.0f}' for counts in _levels(level))} counts", fontsize=10)
    handles, titles = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, titles, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _levels(level: int) -> list[float]:
    """Counts of the camera that scenes have at a level."""
    return sorted({sky.counts[level] for sky in SCENES.values() if level < len(sky.counts)})


def _panel(axis: Axes, cells: Mapping[tuple, list[dict]], measure: str, level: int) -> None:
    scenes = [scene for scene, sky in SCENES.items() if level < len(sky.counts)]
    places = {scene: -place for place, scene in enumerate(SCENES)}
    entered = [method for method in METHODS if method not in MARKS and method not in HIDDEN]
    marks = MARKS | {method: ("black", marker) for method, marker in zip(entered, cycle(ENTERED), strict=False)}
    drawn = False
    for method, (colour, marker) in marks.items():
        ours = method == DEFAULT
        found = {}
        for scene in scenes:
            runs = cells.get((scene, SCENES[scene].counts[level], method), ())
            if values := [run[measure] for run in runs if run.get(measure) is not None]:
                found[scene] = values
                drawn = True
        heights = [places[scene] for scene in found]
        means = [np.mean(values) for values in found.values()]
        scatter = [np.std(values, ddof=1) if ours and len(values) > 1 else 0.0 for values in found.values()]
        axis.errorbar(
            means, heights, xerr=scatter if ours else None, fmt=marker, color=colour, label=method,
            ms=9 if ours else 6, mfc=colour if ours or marker == "x" else "none", mew=1.5, zorder=3 if ours else 2,
        )  # fmt: skip
    axis.set_yticks(list(places.values()), list(places))
    axis.grid(axis="y", color="#e2e6ea", lw=6, zorder=0)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if measure != "nmse" and drawn:
        axis.set_xscale("log")
        axis.set_xticks(SPEEDS, [str(speed) for speed in SPEEDS])
        axis.xaxis.set_minor_formatter(NullFormatter())
