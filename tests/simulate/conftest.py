from dataclasses import replace

import numpy as np
import pytest

from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.presets import instrument
from hifred.simulate import Truth, Visit
from hifred.simulate.iron import mock_telescope


@pytest.fixture(scope="session")
def small_truth():
    """A turned sky with a bright spot, a faint one and a halo, well inside of its frame."""
    ny, nx = 24, 26
    grid = CubeGrid(energy_bins(6.4, 6.46, 1e-3), (ny, nx), 10.0, (350.8, 58.8), 20.0)
    y, x = np.mgrid[:ny, :nx]
    image = 0.1 * np.exp(-((x - nx / 2) ** 2 + (y - ny / 2 - 1) ** 2) / 20)
    image[ny // 2 - 3, nx // 2 + 4] += 1
    image[ny // 2 + 3, nx // 2 - 6] += 0.5
    spectrum = 1.2 + np.sin(np.arange(60) / 4)
    empty = np.zeros((ny, nx))
    return Truth(spectrum[:, None, None] * image, grid, empty, empty, empty, {"Fe": empty})


@pytest.fixture(scope="session")
def telescope(small_truth):
    """A telescope with the mock calibration of its preset."""

    def make(name, **changes):
        return replace(mock_telescope(instrument(name), small_truth.grid.energy_edges), **changes)

    return make


@pytest.fixture(scope="session")
def visit(small_truth, telescope):
    """A visit of telescopes, at the first of which so many photons are thrown."""

    def make(photons, *telescopes, seed=0):
        telescopes = [telescope(t) if isinstance(t, str) else t for t in telescopes]
        total = small_truth.values.sum((1, 2)) @ telescopes[0].incident(small_truth.grid.energy_edges)
        truth = replace(small_truth, values=small_truth.values * photons / total)
        return Visit(truth, tuple(telescopes), seed, photons)

    return make
