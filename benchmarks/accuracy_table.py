"""The page of the accuracy benchmark."""

from collections import defaultdict

import numpy as np
from accuracy_methods import DEFAULT, METHODS, TALK

HEAD = """\
# Accuracy

Written by `python benchmarks/accuracy.py` from `benchmarks/accuracy.jsonl` (one line for each fit, with its commit).
Only what has been run is shown; the last column says how many runs (sky seeds and noise draws) a line is the mean of,
and +- is the scatter from run to run.

"Oracle" methods choose their strength, or when to stop, by the truth; "blind" ones choose all settings from the data
(count thinning). Angle is the mean spectral angle; noise is the error of the flux per pixel that the camera's counts
alone would have, without blur; velocity is the root mean square error of the line's centroid. Seconds include tuning
and, often, compilation, on a machine that other jobs shared.
"""
COLUMNS = {
    "nmse": ("NMSE (dB)", "{:.1f}"),
    "spectral_angle": ("angle (deg)", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "ergas": ("ERGAS", "{:.1f}"),
    "flux_per_pixel": ("flux error (%)", "{:.2f}"),
    "noise": ("noise (%)", "{:.2f}"),
    "velocity_error": ("velocity (km/s)", "{:.0f}"),
    "seconds": ("s", "{:.0f}"),
}
PERCENT = ("flux_per_pixel", "noise")


def write(rows: list[dict]) -> str:
    """The whole page."""
    cells = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["scene"], row["counts"]][row["method"]].append(row)
    text = [HEAD, _summary(cells)]
    for (scene, counts), methods in sorted(cells.items()):
        text.append(_toy(counts, methods) if scene == "toy" else _scene(scene, counts, methods))
    return "\n".join(text)


def _mean(runs: list[dict], key: str) -> float:
    values = [run[key] for run in runs if run.get(key) is not None]
    return float(np.mean(values)) * (100 if key in PERCENT else 1) if values else float("nan")


def _scatter(runs: list[dict], key: str, form: str) -> str:
    values = [run[key] * (100 if key in PERCENT else 1) for run in runs if run.get(key) is not None]
    if not values:
        return ""
    text = form.format(np.mean(values))
    return f"{text} +- {form.format(np.std(values, ddof=1))}" if len(values) > 1 else text


def _scene(scene: str, counts: float, methods: dict) -> str:
    instruments = sorted({key[6:] for runs in methods.values() for key in runs[0] if key.startswith("cstat ")})
    titles = [title for title, _ in COLUMNS.values()] + [f"C-stat / expected {name}" for name in instruments]
    lines = [f"\n## {scene}, {counts:g} counts\n", f"| method | {' | '.join(titles)} | settings | runs |"]
    lines.append("|---" * (len(titles) + 3) + "|")
    for method in METHODS:
        if runs := methods.get(method):
            values = [_scatter(runs, key, form) for key, (_, form) in COLUMNS.items()]
            values += [_scatter(runs, f"cstat {name}", "{:.3f}") for name in instruments]
            settings = ", ".join(f"{key} {value:.3g}" for key, value in runs[0]["settings"].items())
            settings = f"{settings}; {runs[0]['iterations']} iterations".removeprefix("; ")
            lines.append(f"| {method} | {' | '.join(values)} | {settings} | {len(runs)} |")
    return "\n".join(lines)


def _toy(fraction: float, methods: dict) -> str:
    lines = [
        f"\n## Authors' toy at {fraction:g} of its counts\n",
        "KL of the expected counts of X and Y from those of the answer; settings of the first run.\n",
        "| method | KL X | KL Y | settings | s |\n|---|---|---|---|---|",
    ]
    for method, runs in methods.items():
        settings = ", ".join(f"{key} {value:.3g}" for key, value in runs[0]["settings"].items())
        settings += f"; {runs[0]['iterations']} iterations"
        kls = " | ".join(f"{_mean(runs, f'kl {key}'):,.0f}" for key in "xy")
        lines.append(f"| {method} | {kls} | {settings} | {_mean(runs, 'seconds'):.0f} |")
    return "\n".join(lines)


def _summary(cells: dict) -> str:
    """The default against the best of the talk's three, and against itself with the truth."""
    lines = [
        "\n## The default, tuned blindly, against the talk's three with oracle strengths\n",
        "Gain: NMSE of the best of the three less that of the default (wanted: 3 dB). Velocity: ratio to the best of "
        "the three (wanted: 0.7). Flux: error over the camera's photon noise. Loss: NMSE of blind tuning less that "
        "with strength and iterations chosen by the truth (wanted: 0.5 dB in the mean).\n",
        "| scene | counts | gain (dB) | velocity | flux / noise | loss (dB) |\n|---|---|---|---|---|---|",
    ]
    losses = []
    for (scene, counts), methods in sorted(cells.items()):
        if scene == "toy" or DEFAULT not in methods:
            continue
        ours, talk = methods[DEFAULT], [methods[name] for name in TALK if name in methods]
        gain, velocity = "not run", "not run"
        if talk:
            by = f" ({len(talk)} of 3 run)" if len(talk) < len(TALK) else ""
            gain = f"{min(_mean(runs, 'nmse') for runs in talk) - _mean(ours, 'nmse'):.1f}{by}"
            best = min(_mean(runs, "velocity_error") for runs in talk)
            velocity = f"{_mean(ours, 'velocity_error') / best:.2f}"
        loss = "not run"
        if (oracle := methods.get("DopplerSheets oracle")) is not None:
            losses.append(_mean(ours, "nmse") - _mean(oracle, "nmse"))
            loss = f"{losses[-1]:.2f}"
        flux = _mean(ours, "flux_per_pixel") / _mean(ours, "noise")
        lines.append(f"| {scene} | {counts:g} | {gain} | {velocity} | {flux:.1f} | {loss} |")
    if losses:
        lines.append(f"\nMean loss of blind tuning: {np.mean(losses):.2f} dB over {len(losses)} of these lines.")
    return "\n".join(lines)
