"""The page of the accuracy benchmark, from results that are made up."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hifred

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "accuracy.py"
RUNS = ((0, 0), (1, 0), (2, 1))


def rows(scene: str, method: str, errors: dict, commit: str = "abc") -> list[dict]:
    """Results of a method: NMSE in dB and velocity error in km/s by run."""
    return [
        {"scene": scene, "counts": 1e6, "seed": seed, "draw": draw, "method": method, "seconds": 1.0, "commit": commit,
         "settings": {"strength": 1.5}, "iterations": 9, "nmse": nmse, "velocity_error": velocity,
         "flux_per_pixel": 0.02, "noise": 0.02, "light_nmse": nmse, "shape_nmse": nmse}
        for (seed, draw), (nmse, velocity) in errors.items()
    ]  # fmt: skip


def page(folder: Path, results: list[dict]) -> str:
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in results), encoding="utf-8")
    asked = ["--table", "--results", folder / "results.jsonl", "--output", folder / "page.md"]
    subprocess.run([sys.executable, SCRIPT, *map(str, asked)], check=True, capture_output=True)
    assert (folder / "page.png").read_bytes().startswith(b"\x89PNG")
    return (folder / "page.md").read_text(encoding="utf-8")


def test_each_run_is_held_against_the_best_rival_in_it(tmp_path):
    ours = rows("cluster", "DopplerSheets blind", dict.fromkeys(RUNS, (-20.0, 60.0)))
    others = {
        "LowRankSobolev oracle": dict(zip(RUNS, [(-15.0, 100.0), (-14.0, 80.0), (-15.0, 120.0)], strict=True)),
        # One run alone, and an easy one.
        "Starlet2D1D oracle": {RUNS[1]: (-18.0, 75.0)},
        "EM oracle stop": dict.fromkeys(RUNS, (-30.0, 1.0)),  # none of the talk's three
        "DopplerSheets oracle": {RUNS[0]: (-20.4, 60.0)},
    }
    results = ours + [row for method, errors in others.items() for row in rows("cluster", method, errors)]
    text = page(tmp_path, results)
    (line,) = [line for line in text.splitlines() if line.startswith("| cluster | 1e+06")]
    entries = [entry.strip() for entry in line.strip("|").split("|")]
    assert entries[2:4] == ["3", "LowRankSobolev oracle"]
    # Gains 5, 2 (to Starlet2D1D) and 5 dB; velocities 60 over 100, 75 and 120.
    assert entries[4].startswith("4.0 +- ")
    assert entries[5].startswith("0.63 +- ")
    assert entries[7] == "0.40", "the loss of the one run that has an oracle"
    assert entries[-1] == "(4 of 9 runs of rivals)"
    assert "gain in 1 of 1, velocity in 1 of 1, flux in 1 of 1" in text
    (three,) = [line for line in text.splitlines() if line.startswith("- Against the best of the talk's three")]
    assert "NMSE lower in 3 of 3 runs, by 5.0 dB in the median (worst 2.0)" in three
    assert "velocity error lower in 3 of 3, 0.60 of theirs in the median" in three
    (with_em,) = [line for line in text.splitlines() if line.startswith("- Against the best of these")]
    assert "NMSE lower in 0 of 3 runs, by -10.0 dB" in with_em
    assert "Blind tuning loses 0.40 dB in the mean over 1 pairs" in text


@pytest.mark.parametrize(
    ("commits", "loss"),
    [(("7d95fe0", "7cf8d97"), "0.40"), (("794c40e", "7cf8d97"), ""), (("794c40e", "794c40e"), "0.40")],
)
def test_a_loss_is_of_one_code_or_of_the_same_fits(tmp_path, commits, loss):
    ours = rows("cluster", "DopplerSheets blind", dict.fromkeys(RUNS, (-20.0, 60.0)), commits[1])
    ours += rows("cluster", "LowRankSobolev oracle", dict.fromkeys(RUNS, (-15.0, 100.0)))
    results = ours + rows("cluster", "DopplerSheets oracle", {RUNS[0]: (-20.4, 60.0)}, commits[0])
    (line,) = [line for line in page(tmp_path, results).splitlines() if line.startswith("| cluster | 1e+06")]
    assert line.strip("|").split("|")[7].strip() == loss


@pytest.mark.parametrize(("ours", "failed"), [(-20.0, False), (-19.7, True)])
def test_where_nothing_moves_all_methods_are_rivals(tmp_path, ours, failed):
    results = rows("steady-remnant", "DopplerSheets blind", dict.fromkeys(RUNS, (ours, 100.0)))
    results += rows("steady-remnant", "EM oracle stop", dict.fromkeys(RUNS, (-20.0, 100.0)))
    (line,) = [line for line in page(tmp_path, results).splitlines() if line.startswith("| steady-remnant | 1e+06")]
    assert ("gain" in line.rsplit("|", 2)[1]) == failed


def test_what_is_missed_is_held_against_what_a_pixel_alone_tells(tmp_path):
    limits = json.loads((SCRIPT.parent / "accuracy_limits.json").read_text(encoding="utf-8"))["cluster"]
    assert limits["counts"] == 1e6
    ours = rows("cluster", "DopplerSheets blind", dict.fromkeys(RUNS, (-20.0, 60.0)))
    results = [row | {"flux_per_pixel": 0.04} for row in ours]  # twice the noise
    results += rows("cluster", "EM oracle stop", dict.fromkeys(RUNS, (-10.0, 70.0)))
    results += rows("cluster", "LowRankSobolev oracle", dict.fromkeys(RUNS, (-10.0, 70.0)))
    faint = [row | {"counts": 1e5} for row in results]
    text = page(tmp_path, results + faint)
    (flux,) = [line for line in text.splitlines() if line.startswith("- Flux: ")]
    limit = f"{limits['flux']:.1f} (2.0)"
    assert flux.endswith(f": cluster at 100000 {limit}, cluster at 1e+06 {limit}.")
    (velocity,) = [line for line in text.splitlines() if line.startswith("- Velocity: likewise")]
    few, many = limits["velocity"] * 10**0.5, limits["velocity"]
    assert velocity.endswith(f": cluster at 100000 {few:,.0f} (60), cluster at 1e+06 {many:,.0f} (60).")


def test_a_page_without_velocities_or_skies(tmp_path):
    toy = {"scene": "toy", "counts": 0.05, "seed": 0, "draw": 0, "method": "DopplerSheets blind", "seconds": 1.0,
           "commit": "abc", "settings": {}, "iterations": 9, "kl x": 2000.0, "kl y": 6000.0, "cstat x": 1.0,
           "cstat y": 1.0}  # fmt: skip
    text = page(tmp_path, [toy])
    assert "KL 2,000 (wanted: 3,500) and 6,000 (wanted: 5,000) for X and Y (not met)" in text
    still = rows("cluster", "DopplerSheets blind", dict.fromkeys(RUNS, (-20.0, None)))
    still += rows("cluster", "LowRankSobolev oracle", dict.fromkeys(RUNS, (-15.0, None)))
    assert "by 5.0 dB in the median (worst 5.0)." in page(tmp_path, still), "no word of velocities"


def test_a_camera_without_blur_tells_what_photons_do(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    limits = importlib.import_module("accuracy_limits")
    scenes = importlib.import_module("accuracy_scenes")
    energies, line, width, counts = np.linspace(6.5, 6.9, 400), 6.7, 300.0, 1000.0
    profile = np.exp(-0.5 * ((energies / line - 1) * 299792.458 / width) ** 2)
    light = counts * (1 + np.arange(100.0).reshape(10, 10) / 50)
    cube = (profile[:, None, None] * light / profile.sum()).astype(np.float32)
    camera = hifred.Dataset(cube, hifred.Response.from_kernels(cube.shape), name="camera")
    known = scenes.Known(cube, energies, scenes.Sky("Fe XXV"), None)
    found = limits.limits(scenes.Challenge((camera,), (cube,), known))
    assert found["flux"] == pytest.approx(1, rel=0.01)
    asked = light[2::5, 2::5]
    assert found["velocity"] == pytest.approx(width * np.sqrt(np.mean(1 / asked)), rel=0.01)
    half = hifred.Dataset(cube, hifred.Response.from_kernels(cube.shape), cube.mean(), name="camera")
    more = limits.limits(scenes.Challenge((half,), (cube,), known))
    assert more["velocity"] > 1.05 * found["velocity"], "background hides the line"
    # A pixel that nothing sees is left out.
    mask = np.ones(cube.shape, bool)
    mask[:, 2, 2] = False
    blind = hifred.Dataset(cube, hifred.Response.from_kernels(cube.shape), mask=mask, name="camera")
    less = limits.limits(scenes.Challenge((blind,), (cube,), known))
    assert less["velocity"] == pytest.approx(width * np.sqrt(np.mean(1 / asked.ravel()[1:])), rel=0.01)


@pytest.mark.parametrize("installed", [True, False])
def test_a_method_is_run_by_default_where_its_package_is_installed(monkeypatch, installed):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    methods = importlib.import_module("accuracy_methods")
    monkeypatch.setattr(methods, "find_spec", lambda name: name if installed or name != "bm3d" else None)
    left = {name for name, method in methods.METHODS.items() if not method.available}
    assert left == (set() if installed else {"Denoiser BM3D blind"})
