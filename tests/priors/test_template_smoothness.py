import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from hifred.priors import DopplerSheets
from hifred.priors.template_smoothness import TemplateSmoothness

NODES, GASES, UNIT = 12, 2, 500.0


def penalty(strength, edge=0.3, weights=None):
    weights = np.linspace(0.5, 1, NODES - 1) if weights is None else weights
    return TemplateSmoothness(jnp.asarray(weights), *(jnp.asarray(float(one)) for one in (UNIT, strength, edge)))


@pytest.fixture
def templates(x64):
    found = np.random.default_rng(0).gamma(4.0, size=(NODES, GASES))
    return jnp.asarray(found / found.sum(0))


@pytest.fixture
def photons(x64):
    """What an EM step back-projects: more to gain here, less there; and what each node costs."""
    rng = np.random.default_rng(1)
    return jnp.asarray(UNIT * rng.gamma(9.0, 1 / 9, (NODES, GASES))), jnp.asarray(UNIT * (0.5 + rng.random((NODES, 2))))


def test_value_is_the_sum_over_neighbours(templates):
    found, total = penalty(0.7), 0.0
    for k in range(GASES):
        for n in range(NODES - 1):
            a, b = UNIT * float(templates[n, k]), UNIT * float(templates[n + 1, k])
            d = float(found.weights[n]) * (a - b) ** 2 / (a + b + 1e-4)
            total += 0.7 * 0.3 * np.log(1 + d / 0.3)
    assert float(found.value(templates)) == pytest.approx(total, rel=1e-12)
    assert float(found.value(jnp.ones_like(templates))) == 0


def test_the_step_is_the_minimum(templates, photons):
    """Against a general minimiser, with an edge far beyond all steps (there the objective is convex)."""
    up, down = photons
    found = penalty(0.5, edge=1e9)

    def objective(logarithms):
        new = jnp.exp(logarithms.reshape(NODES, GASES))
        return (down * new - templates * up * jnp.log(new)).sum() + found.value(new)

    best = minimize(
        jax.jit(objective), np.log(np.asarray(templates)).ravel(), jac=jax.jit(jax.grad(objective)), method="BFGS",
        options={"gtol": 1e-8},
    )  # fmt: skip
    new = found.step(templates, up, down)
    before, after = (float(objective(jnp.log(one).ravel())) for one in (templates, new))
    assert after - best.fun < 0.01 * (before - best.fun)
    np.testing.assert_allclose(new, np.exp(best.x).reshape(NODES, GASES), rtol=0.05)
    for _ in range(5):
        new = found.step(new, templates * up / new, down)
    np.testing.assert_allclose(new, np.exp(best.x).reshape(NODES, GASES), rtol=1e-4)


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_the_step_lowers_the_objective(templates, photons, strength):
    up, down = photons
    found = penalty(strength)

    def objective(new):
        return float((down * new - templates * up * jnp.log(new)).sum() + found.value(new))

    assert objective(found.step(templates, up, down)) < objective(templates)


def test_without_a_penalty_the_step_is_the_multiplicative_one(templates, photons):
    up, down = photons
    np.testing.assert_allclose(penalty(0.0).step(templates, up, down), templates * up / down, rtol=1e-6)


def test_noise_is_smoothed_and_a_line_is_kept(x64):
    true = np.full(200, 1.0)
    true[100] = 40.0
    unit = 50 * true.sum()
    counts = np.random.default_rng(0).poisson(50 * true)
    noisy = jnp.asarray(counts[:, None] / counts.sum())
    one, down = jnp.asarray(1.0), jnp.full((200, 1), unit)
    found = TemplateSmoothness(jnp.ones(199), unit * one, one, 0.3 * one)
    new = noisy
    for _ in range(10):
        new = found.step(new, unit * noisy / new, down)
    error, before = (np.asarray(t)[:, 0] * unit / 50 - true for t in (new, noisy))
    assert np.std(np.delete(error, 100)) < 0.75 * np.std(np.delete(before, 100))
    assert abs(error[100] - before[100]) < 0.02 * 40


def test_nodes_that_nothing_sees_stay(templates, photons):
    weights = np.ones(NODES - 1)
    weights[-3:] = 0
    seen = jnp.asarray(np.arange(NODES) < NODES - 3)[:, None]
    up, down = (jnp.where(seen, one, 0) for one in photons)
    new = penalty(1.0, weights=weights).step(templates, up, down)
    assert np.all(np.isfinite(np.asarray(new)))
    np.testing.assert_array_equal(new[-3:], templates[-3:])
    assert np.all(np.asarray(penalty(1.0).step(jnp.zeros_like(templates), up, down)) == 0)


def test_single_precision_and_huge_counts():
    rng = np.random.default_rng(0)
    old = rng.gamma(2.0, size=(300, 3)) * 10.0 ** rng.uniform(-12, 0, (300, 1))
    old = jnp.asarray(old / old.sum(0), jnp.float32)
    for unit in (1e-2, 1.0, 1e12):
        one = jnp.asarray(1.0, jnp.float32)
        found = TemplateSmoothness(jnp.ones(299, jnp.float32), unit * one, one, 0.3 * one)
        down = jnp.full((300, 3), unit, jnp.float32)
        new = np.asarray(found.step(old, down * jnp.asarray(rng.gamma(5.0, 0.2, (300, 3)), jnp.float32), down))
        assert np.all(np.isfinite(new))
        assert np.all(new >= 0)


def test_bad_strengths_are_refused():
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="template_strength: expected a finite number of at least 0, found"):
            DopplerSheets(template_strength=bad)
    with pytest.raises(ValueError, match="template_strength: expected a number, found 'much'"):
        DopplerSheets(template_strength="much")
