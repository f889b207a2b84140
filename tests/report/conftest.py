import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hifred import CubeGrid, Dataset, FusedCube, Response
from hifred.metrics import LINES
from hifred.parts import Parts

SHAPE = (72, 9, 12)


@pytest.fixture(scope="session")
def case():
    """A cube around O VIII whose line moves from side to side, and data sets of it; parts can be exchanged."""
    grid = CubeGrid(np.linspace(0.618, 0.690, SHAPE[0] + 1), SHAPE[1:], 8.0, (83.6, 22.0))
    energy = grid.energies[:, None, None]
    y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    line = np.exp(-0.5 * ((energy - LINES["O VIII"] * (1 + 0.003 * x)) / 0.0015) ** 2)
    truth = 1e-6 * np.exp(-2 * (x**2 + y**2)) * (line + 0.05)
    taps, offsets = np.arange(-20, 21), np.hypot(*np.mgrid[-3:4, -3:4])
    area = np.full(SHAPE[0], 3e8)
    camera = Response.from_kernels(SHAPE, lsf=np.exp(-0.5 * (taps / 9) ** 2), area=area, rebin=(4, 1, 1))
    calorimeter = Response.from_kernels(
        SHAPE, psf=np.exp(-0.5 * (offsets / 1.5) ** 2), lsf=np.exp(-0.5 * taps[17:24] ** 2), area=area, rebin=(1, 3, 3)
    )

    def make(
        names=("camera", "calorimeter"), grid=grid, values=None, masks=(None, None, None), history=True, parts=None,
        tuning=None,
    ):  # fmt: skip
        rng = np.random.default_rng(0)
        responses = [camera, calorimeter, camera]
        datasets = []
        for name, response, mask in zip(names, responses, masks, strict=False):
            empty = Dataset(np.zeros(response.out_shape), response, np.array(0.1), mask, name, grid)
            datasets.append(empty.sample(truth, rng))
        cube = truth * rng.uniform(0.9, 1.1, SHAPE) if values is None else values
        dtype = [("iteration", "i4"), ("objective", "f8"), ("time", "f8"), ("cstat", "f8", (len(datasets),))]
        rows = [(k, -100 + 50.0 * 0.5**k, 0.1 * k, (3000.0 / (k + 1),) * len(datasets)) for k in range(8)]
        table = np.array(rows if history else [], dtype=dtype).view(np.recarray)
        provenance = {"prior": "LowRank(rank=3)", "unit": "photon cm-2 s-1", "inputs": [{"name": n} for n in names]}
        provenance |= {} if tuning is None else {"tuning": tuning}
        return FusedCube(cube, "converged", "It went well.", table, grid, provenance, parts), datasets, truth

    return make


@pytest.fixture(scope="session")
def moving():
    """Parts of one gas in two sheets of seven velocities, brightest in the middle; each row has a cut of its own."""
    y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    velocities = 300.0 * np.arange(-3, 4)
    means = np.stack([600 * x, -200 * y])[:, None]
    light = 1e-6 * np.exp(-3 * (x**2 + y**2))
    profiles = light * np.exp(-0.5 * ((velocities[:, None, None] - means) / 250) ** 2)
    return Parts(np.linspace(0.6, 0.7, 9), np.ones((9, 1)), velocities, profiles, np.ones((2, 1, *SHAPE[1:])))


@pytest.fixture(scope="session")
def browser_class():
    """The class of `browser.py`; skips where there is no Chromium or no Bokeh."""
    pytest.importorskip("tornado")
    spec = importlib.util.spec_from_file_location("report_browser", Path(__file__).with_name("browser.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find_browser() is None:
        pytest.skip(f"no browser: none of {', '.join(module.NAMES)} is installed")
    return module.Browser
