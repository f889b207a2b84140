"""Each scene fused with each prior at its default strength, scored against the truth, as Markdown.

    python benchmarks/bench_scenes.py [SCENE ...] > benchmarks/SCENES.md

Two answers that need no fusion are the ground floor: the CCD's image times the calorimeter's spectrum, and the
calorimeter's cube interpolated over space. EM without a prior, stopped where its NMSE is best, is an oracle: it looks
at the truth. The default strengths were chosen on the authors' toy problem by its truth, not on these scenes.
"""

import sys
import time

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import map_coordinates

import hifred
from hifred import metrics, priors, simulate
from hifred.assembly import assemble

PRIORS = (priors.LowRankSobolev(), priors.LowRankStarlet(), priors.Starlet2D1D(), priors.Unregularized())
LINES = {"gaussian-1kev": "O VIII", "realistic-1kev": "O VIII"}
EM_STEPS, EM_PATIENCE = 100, 5


def flux(dataset) -> np.ndarray:
    """Counts of a data set over its area, where its channels are the energies."""
    area = dataset.response.recipe.area
    return dataset.counts if area is None else dataset.counts / np.where(area > 0, area, np.inf)[:, None, None]


def image_times_spectrum(camera, calorimeter) -> np.ndarray:
    """The CCD's image, repeated over energy with the calorimeter's spectrum."""
    image = camera.counts.sum(0, dtype=float)
    return flux(calorimeter).sum((1, 2))[:, None, None] * image / image.sum()


def interpolated(calorimeter) -> np.ndarray:
    """The calorimeter's cube, linearly interpolated on the sky pixels."""
    _, fy, fx = calorimeter.response.recipe.rebin
    cube = flux(calorimeter) / (fy * fx)
    _, ny, nx = calorimeter.response.in_shape
    at = np.meshgrid((np.arange(ny) + 0.5) / fy - 0.5, (np.arange(nx) + 0.5) / fx - 0.5, indexing="ij")
    return np.stack([map_coordinates(image, at, order=1, mode="nearest") for image in cube])


def best_em(datasets, truth) -> tuple[int, np.ndarray]:
    """EM without momentum, stopped by the truth."""
    solver, problem = assemble(datasets, priors.Unregularized())
    state = eqx.filter_jit(solver.init)(problem)
    step, cube = eqx.filter_jit(solver.step), eqx.filter_jit(solver.cube)
    best = (np.inf, 0, None)
    for iteration in range(1, EM_STEPS + 1):
        state = step(problem, eqx.tree_at(lambda s: s.momentum, state, jnp.ones_like(state.momentum)))
        values = np.asarray(cube(problem, state))
        best = min(best, (metrics.nmse(values, truth), iteration, values), key=lambda entry: entry[0])
        if iteration >= best[1] + EM_PATIENCE:
            break
    return best[1], best[2]


def row(label, values, scene, line, seconds="", status="") -> str:
    """One line of the table."""
    truth, datasets = scene.truth.values, scene.datasets
    camera, calorimeter = datasets
    ratio = camera.response.recipe.rebin[1] / calorimeter.response.recipe.rebin[1]
    s = metrics.score(values, truth, ratio=ratio, energies=scene.grid.energies, line=line)
    divergences = [metrics.kl(d.predict(truth), d.predict(values)) for d in datasets]
    cstats = [d.cstat(values) / d.expected_cstat(truth)[0] for d in datasets]
    velocity = "" if s.velocity_error is None else f"{s.velocity_error:.0f}"
    return (
        f"| {label} | {s.nmse:.1f} | {s.spectral_angle:.2f} | {s.ssim:.3f} | {s.ergas:.1f} | {s.flux_per_pixel:.1%} "
        f"| {velocity} | {cstats[0]:.3f} {cstats[1]:.3f} | {divergences[0]:,.0f} {divergences[1]:,.0f} "
        f"| {status} | {seconds} |"
    )


def compare(name: str) -> float:
    """Print the table of a scene; gives the mean angular distance of its truth."""
    scene = simulate.scene(name)
    truth, (camera, calorimeter) = scene.truth.values, scene.datasets
    line = LINES.get(name.removesuffix("-rebin"), "Fe XXV")
    angle = metrics.mean_angular_distance(truth)
    print(f"\n## {name}\n\nMean angular distance of the truth {angle:.2f} deg; velocities of {line}.\n")
    print("| answer | NMSE (dB) | angle (deg) | SSIM | ERGAS | flux error | velocity rms (km/s) | C-stat / expected "
          "X Y | KL X Y | status | s |")  # fmt: skip
    print("|" + "---|" * 11)
    print(row("X image x Y spectrum", image_times_spectrum(camera, calorimeter), scene, line))
    print(row("Y interpolated", interpolated(calorimeter), scene, line))
    steps, values = best_em(scene.datasets, truth)
    print(row(f"EM, {steps} steps (oracle)", values, scene, line), flush=True)
    for prior in PRIORS:
        began = time.perf_counter()
        fused = hifred.fuse(scene.datasets, prior, progress=False)
        seconds = f"{time.perf_counter() - began:.0f}"
        status = f"{fused.status}, {fused.history.iteration[-1]}"
        print(row(type(prior).__name__, fused.values, scene, line, seconds, status), flush=True)
    return angle


if __name__ == "__main__":
    names = sys.argv[1:] or [name for name in simulate.scene_names() if name != "tiny"]
    print(
        "# Scenes, priors and measures\n\nWritten by `python benchmarks/bench_scenes.py`; seconds include compilation."
    )
    angles = {name: compare(name) for name in names}
    if {"gaussian-1kev", "gaussian-6kev"} <= set(angles):
        print("\nMean angular distance, 6 keV over 1 keV:", f"{angles['gaussian-6kev'] / angles['gaussian-1kev']:.2f}")
