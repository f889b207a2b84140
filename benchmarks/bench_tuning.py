"""What it costs to let the data choose all settings of the default prior: seconds, in fits, and memory.

    python benchmarks/bench_tuning.py [scene] [counts]        by default realistic-1kev (2400 x 45 x 45 voxels), 1e6

The same fusion twice, so that the second compiles nothing; then fits with the settings that were found, given: one of
as many iterations as were chosen, one that ends by itself.
"""

import resource
import sys
import time
import warnings

import hifred
from hifred import priors, simulate


def timed(datasets, prior: priors.DopplerSheets, iterations: int = 200) -> tuple[hifred.FusedCube, float]:
    """A fusion and its seconds."""
    began = time.perf_counter()
    fused = hifred.fuse(datasets, prior, iterations, progress=False)
    return fused, time.perf_counter() - began


def main() -> None:
    """Print a table."""
    given = dict(enumerate(sys.argv[1:]))
    name, counts = given.get(0, "realistic-1kev"), float(given.get(1, 1e6))
    scene = simulate.scene(name, 0, counts)
    warnings.simplefilter("ignore", UserWarning)
    _, cold = timed(scene.datasets, priors.DopplerSheets())
    fused, warm = timed(scene.datasets, priors.DopplerSheets())
    tuning = fused.provenance["tuning"]
    chosen = {setting["name"]: setting["chosen"] for setting in tuning["settings"]}
    settled = priors.DopplerSheets(tuning["strength"], **chosen)
    iterations = int(fused.history[-1].iteration)
    timed(scene.datasets, settled, iterations)
    _, single = timed(scene.datasets, settled, iterations)
    whole, given_seconds = timed(scene.datasets, settled)
    print(f"{name}, {counts:g} counts, {' x '.join(map(str, fused.values.shape))} voxels, {settled}\n")
    print("| | s | over the last fit | over a fit with these settings given |\n|---|---|---|---|")
    for label, seconds in (
        ("with compilation", cold),
        ("compiled", warm),
        (f"last fit, {iterations} iterations", single),
        (f"settings given, {whole.history[-1].iteration} iterations", given_seconds),
    ):
        print(f"| {label} | {seconds:.1f} | {seconds / single:.1f} | {seconds / given_seconds:.1f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"\nPeak memory of the process {peak / 1e9:.1f} GB, {peak / fused.values.size:.0f} bytes for each voxel.")


if __name__ == "__main__":
    main()
