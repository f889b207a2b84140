"""The page of the accuracy benchmark."""

from collections import defaultdict

import accuracy_summary
import numpy as np
from accuracy_methods import BM3D_RANK, METHODS

from hifred.priors.denoiser import RANK

HEAD = """\
# Accuracy

Written by `python benchmarks/accuracy.py` from `benchmarks/accuracy.jsonl` (one line for each fit, with its commit).
Only what has been run is shown; the last column says how many runs (sky seeds and noise draws) a line is the mean of,
and +- is the scatter from run to run.

"Oracle" methods choose their strength, or when to stop, by the truth; "blind" ones choose all settings from the data
(count thinning). Angle is the mean spectral angle; noise is the error of the flux per pixel that the camera's counts
alone would have, without blur; velocity is the root mean square error of the line's centroid. KL is of what the
responses expect of the true sky from what they expect of the answer; C-stat is over its expectation at the truth, for
each instrument. Seconds include tuning and, often, compilation, on a machine that other jobs shared. "Denoiser BM3D"
filters the maps of {few} principal spectra, not {usual} as the network does, at the strength that thinning finds for
the network with {few}.

![NMSE and velocity error of the methods in all scenes, means over runs; bars are the scatter of the default]({picture})
"""
# Title, form and factor by measure; those that no method of a scene has are left out.
COLUMNS = {
    "nmse": ("NMSE (dB)", "{:.1f}", 1),
    "judged_nmse": ("NMSE, judged pixels", "{:.1f}", 1),
    "spectral_angle": ("angle (deg)", "{:.2f}", 1),
    "judged_angle": ("angle, judged pixels", "{:.2f}", 1),
    "ssim": ("SSIM", "{:.3f}", 1),
    "ergas": ("ERGAS", "{:.1f}", 1),
    "angular_distance": ("angular distance (deg)", "{:.2f}", 1),
    "flux_per_pixel": ("flux error (%)", "{:.2f}", 100),
    "noise": ("noise (%)", "{:.2f}", 100),
    "velocity_error": ("velocity (km/s)", "{:.0f}", 1),
    "second_velocity_error": ("velocity, second line", "{:.0f}", 1),
    "median_velocity_error": ("velocity, median of judged", "{:.0f}", 1),
}
NOTES = {
    "xrism-epic-iron": "Judged pixels lie inside the array, above 15% of the peak of the Fe XXV complex.",
    "point-source": "Judged pixels are those not within 2.5 pixels of the point source.",
    "two-gases": "The lines are O VIII of one gas and Fe XVII (0.826 keV) of the other.",
}


def write(rows: list[dict], picture: str) -> str:
    """The whole page, with the picture of that name."""
    cells = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["scene"], row["counts"]][row["method"]].append(row)
    text = [HEAD.format(picture=picture, few=BM3D_RANK, usual=RANK), accuracy_summary.write(cells)]
    for (scene, counts), methods in sorted(cells.items()):
        text.append(_toy(counts, methods) if scene == "toy" else _scene(scene, counts, methods))
    return "\n".join(text) + "\n"


def _cell(runs: list[dict], key: str, form: str, factor: float = 1) -> str:
    """Mean and scatter."""
    values = [run[key] * factor for run in runs if run.get(key) is not None]
    if not values:
        return ""
    text = form.format(np.mean(values))
    return f"{text} +- {form.format(np.std(values, ddof=1))}" if len(values) > 1 else text


def _settings(run: dict) -> str:
    settings = [f"{key} {value:.3g}" for key, value in run["settings"].items()]
    return ", ".join([*settings, f"{run['iterations']} iterations"])


def _scene(scene: str, counts: float, methods: dict) -> str:
    every = [run for runs in methods.values() for run in runs]
    columns = {key: column for key, column in COLUMNS.items() if any(run.get(key) is not None for run in every)}
    for kind, title, form in (("cstat", "C-stat", "{:.3f}"), ("kl", "KL", "{:,.0f}")):
        names = sorted({key for run in every for key in run if key.startswith(f"{kind} ")})
        columns |= {key: (f"{title} {key.removeprefix(f'{kind} ')}", form, 1) for key in names}
    columns["seconds"] = ("s", "{:.0f}", 1)
    titles = ["method", *(title for title, _, _ in columns.values()), "settings of the first", "runs"]
    lines = [f"\n## {scene}, {counts:g} counts\n"]
    lines += [f"{NOTES[scene]}\n"] if scene in NOTES else []
    lines += [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for method in [*METHODS, *sorted(set(methods) - set(METHODS))]:
        if runs := methods.get(method):
            values = [_cell(runs, key, form, factor) for key, (_, form, factor) in columns.items()]
            lines.append(f"| {method} | {' | '.join(values)} | {_settings(runs[0])} | {len(runs)} |")
    lines.append(f"\nCommits: {', '.join(sorted({run['commit'] for run in every}))}.")
    return "\n".join(lines)


def _toy(fraction: float, methods: dict) -> str:
    lines = [
        f"\n## Authors' toy at {fraction:g} of its counts\n",
        "KL of the expected counts of X and Y from those of the answer.\n",
        "| method | KL X | KL Y | C-stat X | C-stat Y | settings | s | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for method, (run, *_) in methods.items():
        numbers = [f"{run[f'kl {key}']:,.0f}" for key in "xy"] + [f"{run[f'cstat {key}']:.3f}" for key in "xy"]
        cells = (method, *numbers, _settings(run), f"{run['seconds']:.0f}", run["commit"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
