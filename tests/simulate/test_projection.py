import dataclasses

import numpy as np
import pytest

from hifred.absorption import transmission
from hifred.doppler import energy_factor
from hifred.simulate import ELEMENTS, Gas, Plasma, project, weighted_maps

EDGES = np.linspace(6.19, 6.91, 721)


def small_gas(seed=0, shape=(5, 4, 6), broadening=300.0):
    rng = np.random.default_rng(seed)
    return Gas(
        emission_measure=rng.uniform(0, 1e12, shape) * (rng.uniform(size=shape) > 0.3),
        temperature=rng.uniform(0.5, 5, shape),
        velocity=rng.uniform(-4000, 4000, shape),
        broadening=broadening,
        abundances={"Fe": rng.uniform(0, 5, shape), "Ni": 2.0},
    )


def cell_by_cell(gas, edges, cells_per_pixel, plasma):
    """The same cube, one spectrum for each cell."""
    depth, ny, nx = gas.emission_measure.shape
    cube = np.zeros((len(edges) - 1, ny // cells_per_pixel, nx // cells_per_pixel))
    for z, y, x in np.ndindex(depth, ny, nx):
        abundances = {k: float(v[z, y, x] if np.ndim(v) else v) for k, v in gas.abundances.items()}
        motion = gas.velocity[z, y, x], gas.broadening
        spectrum = plasma.spectrum(edges, gas.temperature[z, y, x], abundances, *motion)
        cube[:, y // cells_per_pixel, x // cells_per_pixel] += gas.emission_measure[z, y, x] * spectrum
    return cube


def test_uniform_plasma_has_the_spectrum_of_the_table():
    shape, plasma = (6, 4, 4), Plasma.load()
    kT, abundances = plasma.temperatures[9], {"Fe": 2.0, "O": 0.5}
    ones = np.ones(shape)
    for edges in (np.linspace(0.5, 1.4, 2401), EDGES):
        gas = Gas(1e10 * ones, kT * ones, 1234.0 * ones, 300.0, abundances)
        cube = project(gas, edges, 2)
        expected = 6 * 4 * 1e10 * plasma.spectrum(edges, kT, abundances, 1234.0, 300.0)
        assert cube.shape == (len(edges) - 1, 2, 2)
        error = np.abs(cube - expected[:, None, None]).max(axis=(1, 2))
        assert (error < 0.01 * expected).all()
        assert error.sum() < 0.003 * expected.sum()


def test_cube_equals_the_sum_of_its_cells():
    gas, plasma = small_gas(), Plasma.load()
    cube, expected = project(gas, EDGES, 2), cell_by_cell(gas, EDGES, 2, plasma)
    assert np.abs(cube - expected).sum() < 0.002 * expected.sum()


def test_flux_is_conserved_along_the_line_of_sight():
    plasma = Plasma.load()
    between = (plasma.line_energy > 6.0) & (plasma.line_energy < 7.2)
    lines = dataclasses.replace(
        plasma,
        line_emissivity=plasma.line_emissivity * between,
        continuum_emissivity=np.zeros_like(plasma.continuum_emissivity),
    )
    gas, wide = small_gas(), np.linspace(5.4, 7.9, 501)
    still = dataclasses.replace(gas, velocity=np.zeros_like(gas.velocity), broadening=1.0)
    photons = cell_by_cell(still, wide, 2, lines).sum(axis=0)
    assert project(gas, wide, 2, lines).sum(axis=0) == pytest.approx(photons, rel=1e-6)


@pytest.mark.parametrize("velocity", [-4321.0, 17.0, 3210.0])
def test_a_moving_slab_shifts_its_line_by_the_doppler_formula(velocity):
    plasma, edges = Plasma.load(), np.linspace(6.0, 7.4, 3891)  # channels of 0.36 eV
    row = 12
    lines = slice(*plasma.line_start[row : row + 2])
    iron = (plasma.line_number[lines] == 26) & (np.abs(plasma.line_energy[lines] - 6.7) < 0.002)
    only = np.zeros_like(plasma.line_emissivity)
    strongest = plasma.line_start[row] + np.argmax(plasma.line_emissivity[lines] * iron)
    only[strongest] = 1.0
    line = dataclasses.replace(
        plasma, line_emissivity=only, continuum_emissivity=np.zeros_like(plasma.continuum_emissivity)
    )
    ones = np.ones((1, 1, 1))
    gas = Gas(ones, plasma.temperatures[row] * ones, velocity * ones, 400.0, {})
    spectrum = project(gas, edges, 1, line)[:, 0, 0]
    centroid = spectrum @ (edges[1:] + edges[:-1]) / 2 / spectrum.sum()
    expected = plasma.line_energy[strongest] * energy_factor(velocity)
    assert abs(centroid - expected) < 0.01 * (edges[1] - edges[0])


def test_absorption_is_in_front_of_everything():
    gas, edges = small_gas(), np.linspace(0.6, 0.9, 301)
    passed = transmission((edges[1:] + edges[:-1]) / 2, 0.5)
    expected = project(gas, edges, 2) * passed[:, None, None]
    assert project(gas, edges, 2, column_density=0.5) == pytest.approx(expected)


def test_maps_weigh_by_light():
    measure = np.zeros((2, 1, 2))
    measure[:, 0, 0] = 3.0, 1.0
    velocity = np.array([1000.0, -1000.0])[:, None, None] * np.ones((2, 1, 2))
    gas = Gas(measure, np.full((2, 1, 2), 2.0), velocity, 200.0, {"Fe": 1.5})
    maps = weighted_maps([gas], EDGES, 1)
    assert maps["velocity"][0, 0] == pytest.approx(500)
    assert maps["velocity_spread"][0, 0] == pytest.approx(np.sqrt(1000**2 - 500**2 + 200**2))
    assert maps["temperature"][0, 0] == pytest.approx(2)
    assert maps["abundances"]["Fe"][0, 0] == pytest.approx(1.5)
    assert maps["abundances"].keys() == set(ELEMENTS[1:])
    assert np.isnan(maps["velocity"][0, 1])


def test_maps_weights_are_the_photons_of_the_cube():
    gas = small_gas()
    alone = [dataclasses.replace(gas, emission_measure=gas.emission_measure * (gas.velocity > 0) ** k) for k in (0, 1)]
    light, approaching = (project(g, EDGES, 2).sum(axis=0) for g in alone)
    sign = dataclasses.replace(gas, velocity=np.where(gas.velocity > 0, 1.0, 0.0))
    share = weighted_maps([sign], EDGES, 2)["velocity"]
    assert share == pytest.approx(approaching / light, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emission_measure": -np.ones((5, 4, 6))}, "emission_measure must be finite and not negative"),
        ({"temperature": np.ones((1, 2, 3))}, "temperature must have the shape"),
        ({"velocity": np.ones(3)}, "velocity must have the shape"),
        ({"abundances": {"Fe": np.ones(3)}}, r"abundances\['Fe'\] must have the shape"),
        ({"abundances": {"Unobtainium": 1.0}}, "found Unobtainium"),
        ({"broadening": 0.0}, "broadening must be above 0"),
    ],
)
def test_bad_gas_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small_gas(), **change)


def test_bad_frames_are_refused():
    gas = small_gas()
    with pytest.raises(ValueError, match="whole number of pixels of 4 cells, found 4 x 6"):
        project(gas, EDGES, 4)
    dark = dataclasses.replace(gas, emission_measure=np.zeros_like(gas.emission_measure))
    with pytest.raises(ValueError, match="must emit somewhere"):
        project(dark, EDGES, 2)
