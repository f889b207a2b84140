import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred.doppler import energy_factor
from hifred.priors.doppler_shift import template_grid


def grid(velocity_max=3000.0, step=500.0, smoothing=0.0):
    return template_grid(6.0 + 0.002 * np.arange(601), velocity_max, step, smoothing, np.float64)


def test_a_line_moves_by_the_doppler_formula(x64):
    made = grid()
    rest = 6.7
    template = np.exp(-0.5 * ((made.energies - rest) / 0.01) ** 2)[:, None]
    spectra = np.asarray(made.shift.spectra(jnp.asarray(template)))
    energies = 6.001 + 0.002 * np.arange(600)
    for spectrum, velocity in zip(spectra[:, :, 0].T, made.velocities, strict=True):
        centroid = (spectrum * energies).sum() / spectrum.sum()
        assert centroid == pytest.approx(rest * energy_factor(velocity), abs=2e-4)


def test_velocities_are_multiples_of_the_step(x64):
    made = grid(2000.0, 500.0)
    np.testing.assert_allclose(made.velocities, np.arange(-2000, 2001, 500), rtol=1e-4)


@pytest.mark.parametrize("largest", [999.0, 1234.0, 3120.0])
def test_the_largest_speed_is_seen(largest):
    assert template_grid(6.0 + 0.002 * np.arange(601), largest, largest / 10, 0.0, np.float32).velocities.size == 21


def test_without_velocity_a_template_is_the_spectrum(x64):
    made = grid(0.0, 1.0)
    assert made.velocities.tolist() == [0.0]
    template = np.cos(5 * made.energies)[:, None] + 2
    spectrum = np.asarray(made.shift.spectra(jnp.asarray(template)))[:, 0, 0]
    np.testing.assert_allclose(spectrum, np.cos(5 * (6.001 + 0.002 * np.arange(600))) + 2, rtol=1e-4)


def test_smoothing_has_its_width(x64):
    made = grid(0.0, 1.0, 250.0)
    template = np.zeros((made.shift.nodes, 1))
    template[made.shift.nodes // 2] = 1
    spectrum = np.asarray(made.shift.spectra(jnp.asarray(template)))[:, 0, 0]
    energies = 6.001 + 0.002 * np.arange(600)
    mean = (spectrum * energies).sum() / spectrum.sum()
    width = np.sqrt((spectrum * (energies - mean) ** 2).sum() / spectrum.sum())
    assert width / mean * 299792 == pytest.approx(250, rel=0.05)


def test_edges_of_an_absorber_stay_where_lines_move(x64):
    made = template_grid(0.5 + 0.001 * np.arange(501), 3000.0, 500.0, 150.0, np.float64)
    column, energies = 0.3, 0.5005 + 0.001 * np.arange(500)
    line = 1 + 5 * np.exp(-0.5 * ((made.energies - 0.654) / 0.004) ** 2)

    seen, at_rest = (np.exp(-column * np.asarray(o)) for o in (made.shift.opacity, made.shift.rest_opacity))
    assert seen.min() < 0.1 * seen.max()
    at_rest = jnp.asarray((line * at_rest)[:, None])
    spectra = np.asarray(made.shift.spectra(at_rest, column))[:, :, 0]
    emitted = spectra / seen[:, None]
    away = np.abs(energies - 0.654) > 0.03
    np.testing.assert_allclose(emitted[away], np.mean(emitted[away]), rtol=1e-4)
    peaks = energies[emitted.argmax(0)]
    np.testing.assert_allclose(peaks, 0.654 * energy_factor(made.velocities), atol=0.0011)
    # Without a column in front, edges move with the gas.
    moved = np.asarray(made.shift.spectra(at_rest))[:, :, 0] / seen[:, None]
    assert np.ptp(moved[away]) > 0.3 * np.mean(moved[away])


def test_transpose(x64):
    made = grid(1000.0, 250.0, 125.0)
    rng = np.random.default_rng(0)
    templates = jnp.asarray(rng.random((made.shift.nodes, 3)))
    spectra, back = jax.vjp(made.shift.spectra, templates)
    other = jnp.asarray(rng.random(spectra.shape))
    assert float((spectra * other).sum()) == pytest.approx(float((templates * back(other)[0]).sum()), rel=1e-12)


def test_wide_bins_hold_more():
    edges = np.array([6.0, 6.1, 6.3, 6.4])
    made = template_grid(edges, 0.0, 1.0, 0.0, np.float32)
    spectra = np.asarray(made.shift.spectra(jnp.ones((made.shift.nodes, 1), jnp.float32)))[:, 0, 0]
    np.testing.assert_allclose(spectra / spectra[0], [1, 2, 1], rtol=1e-5)


WIDE = np.concatenate([np.linspace(0.5, 2.0, 301), np.linspace(2.0, 10.0, 401)[1:]])  # bins of 5 and 20 eV


@pytest.mark.parametrize("edges", [np.linspace(0.5, 10.0, 1901), WIDE])
def test_a_flat_template_is_flat_in_every_bin(edges, x64):
    made = template_grid(edges, 3000.0, 300.0, 150.0, np.float64)
    spectra = np.asarray(made.shift.spectra(jnp.ones((made.shift.nodes, 1))))
    widths = np.diff(edges)
    np.testing.assert_allclose(spectra[:, :, 0], np.tile(widths[:, None] / widths.mean(), (1, 21)), rtol=1e-12)


@pytest.mark.parametrize("edges", [np.linspace(0.5, 10.0, 1901), WIDE])
@pytest.mark.parametrize("rest", [0.65, 1.9, 6.7])
def test_bins_hold_the_photons_of_a_narrow_line(edges, rest, x64):
    made = template_grid(edges, 3000.0, 300.0, 0.0, np.float64)
    node = int(np.searchsorted(made.energies, rest))
    template = np.zeros((made.shift.nodes, 1))
    template[node] = 1
    spectra = np.asarray(made.shift.spectra(jnp.asarray(template)))[:, :, 0]
    centres, mean_width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges).mean()
    spacing = np.log(made.energies[1] / made.energies[0])
    for spectrum, velocity in zip(spectra.T, made.velocities, strict=True):
        at = made.energies[node] * energy_factor(velocity)
        assert spectrum.sum() * mean_width == pytest.approx(at * spacing, rel=0.02)
        # As narrow as the bins allow: the line touches three of them at most.
        touched = np.flatnonzero(spectrum)
        assert touched.size <= 3
        assert edges[touched[0]] <= at * (1 + spacing)
        assert at * (1 - spacing) <= edges[touched[-1] + 1]
        assert (spectrum * centres).sum() / spectrum.sum() == pytest.approx(at, abs=0.51 * np.diff(edges).max())


def test_at_rest_bins_are_the_nodes(x64):
    made = template_grid(WIDE, 0.0, 1.0, 0.0, np.float64)
    template = np.random.default_rng(0).random((made.shift.nodes, 2))
    spectra = np.asarray(made.shift.spectra(jnp.asarray(template)))[:, 0]
    widths = np.diff(WIDE)
    np.testing.assert_allclose(spectra, template[: widths.size] * (widths / widths.mean())[:, None], rtol=1e-12)
    assert (made.used.start, made.used.stop) == (0, widths.size)


@pytest.mark.parametrize("count", [*range(1, 12), 50, 299])
def test_bins_of_even_logarithm_have_whole_cells(count, x64):
    made = template_grid(np.geomspace(0.3, 7.0, count + 1), 3000.0, 300.0, 150.0, np.float64)
    bins, cells = np.asarray(made.shift.bins), np.asarray(made.shift.cells)
    assert cells.max() < made.shift.reach
    assert bins.max() == count - 1
    filled = np.bincount(bins, np.asarray(made.shift.overlap))
    np.testing.assert_allclose(filled, np.asarray(made.shift.width), rtol=1e-6)


def test_one_narrow_bin_does_not_make_a_grid_without_end():
    edges = np.array([1.0, 1.5, 1.500001, 2.0])
    assert template_grid(edges, 0.0, 1.0, 300.0, np.float32).shift.reach <= 24
