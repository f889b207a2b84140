"""Real sizes: one forward and transpose pass, and a whole fusion, of EPIC pn and Resolve with real responses.

1.8 to 10 keV in 0.5 eV (16,400 energies) x 60 x 60 sky pixels. Needs the shared data (HIFRED_SHARED_DATA).
Prints times and the largest memory of the process so far.
"""

import os
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import hifred
from hifred.data.plan import CalibrationPlan
from hifred.data.setup import Setup
from hifred.grid import CubeGrid, energy_bins
from hifred.response import Response

DATA = Path(os.environ.get("HIFRED_SHARED_DATA", "../shared/data")) / "responses"
CENTER = (350.866, 58.812)
PASSES = 5


def memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"


def setups() -> dict[str, Setup]:
    pn = CalibrationPlan(rmf=DATA / "xmm_epic_pn.rmf.gz", arf=DATA / "xmm_epic_pn.arf.gz")
    resolve = CalibrationPlan(rmf=DATA / "hitomi_sxs.rmf.gz", arf=DATA / "xrism_resolve_gate_valve_closed.arf.gz")
    time_s = 150e3
    return {
        "pn": Setup("epic-pn", pn, time_s, time_s, pointing=CENTER),
        "resolve": Setup("xrism-resolve", resolve, time_s, time_s, detector=(*CENTER, 30.0)),
    }


def sky(grid: CubeGrid, brightness: float) -> np.ndarray:
    """A shell of continuum, and lines in a blob of it."""
    y, x = np.mgrid[-1 : 1 : grid.sky_shape[0] * 1j, -1 : 1 : grid.sky_shape[1] * 1j]
    shell = np.exp(-0.5 * ((np.hypot(x, y) - 0.5) / 0.13) ** 2)
    blob = np.exp(-0.5 * (((x - 0.4) / 0.2) ** 2 + (y / 0.3) ** 2))
    energy = grid.energies
    lines = sum(np.exp(-0.5 * ((energy - at) / 0.015) ** 2) for at in (1.865, 2.461, 3.14, 3.9, 6.65))
    cube = energy[:, None, None] ** -2.5 * shell + 0.5 * lines[:, None, None] * blob
    return (brightness * cube / cube.sum()).astype(np.float32)


def main() -> None:
    grid = CubeGrid(energy_bins(1.8, 10.0, 5e-4), (60, 60), 5.0, CENTER)
    responses = {}
    for name, setup in setups().items():
        began = time.perf_counter()
        responses[name] = Response.of(setup.response(grid))
        print(f"{name}: response made in {time.perf_counter() - began:.2f} s, {memory()}")
    one = jnp.ones(grid.shape, jnp.float32)
    total = 0.0
    for name, response in responses.items():
        both = jax.jit(lambda cube, operator=response.operator: operator.rmv(operator.mv(cube)))
        both(one).block_until_ready()
        began = time.perf_counter()
        for _ in range(PASSES):
            both(one).block_until_ready()
        seconds = (time.perf_counter() - began) / PASSES
        total += seconds
        print(f"{name}: forward and transpose {seconds:.2f} s, {response.out_shape} data, {memory()}")
    print(f"together: {total:.2f} s")
    cube = sky(grid, 0.05)
    datasets = [
        hifred.Dataset(np.zeros(response.out_shape), response, name=name, grid=grid).sample(cube, seed)
        for seed, (name, response) in enumerate(responses.items())
    ]
    print(", ".join(f"{data.name}: {data.counts.sum():.3g} counts" for data in datasets))
    del both
    began = time.perf_counter()
    fused = hifred.fuse(datasets, hifred.priors.LowRankSobolev(), progress=False)
    error = hifred.metrics.nmse(fused.values, cube)
    print(
        f"fusion ({fused.provenance['prior'].split('(')[0]}): {fused.status}, "
        f"{fused.history[-1].iteration} iterations, "
        f"{time.perf_counter() - began:.0f} s with compilation, NMSE {error:.1f} dB, {memory()}"
    )


if __name__ == "__main__":
    main()
