import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from hifred.priors import DopplerSheets
from hifred.priors.template_smoothness import TemplateSmoothness

NODES, GASES, UNIT = 12, 2, 500.0


TOTALS = np.linspace(0.5, 1, NODES)


def penalty(strength, edge=0.3, totals=TOTALS):
    return TemplateSmoothness(jnp.asarray(totals), *(jnp.asarray(float(one)) for one in (UNIT, strength, edge)))


def shape_of(templates, totals=TOTALS):
    """The same, adding up to 1."""
    return templates / (jnp.asarray(totals) @ templates)


@pytest.fixture
def templates(x64):
    return shape_of(jnp.asarray(np.random.default_rng(0).gamma(4.0, size=(NODES, GASES))))


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
            d = TOTALS[n] * (a - b) ** 2 / (a + b + 1e-4)
            total += 0.7 * 0.3 * np.log(1 + d / 0.3)
    assert float(found.value(templates)) == pytest.approx(total, rel=1e-12)
    assert float(found.value(jnp.ones_like(templates))) == 0


def objective_of(found, old, up, down):
    def objective(logarithms):
        new = jnp.exp(logarithms.reshape(old.shape))
        return (down * new - old * up * jnp.log(new)).sum() + found.value(shape_of(new, found.totals))

    return objective


def test_the_step_is_the_minimum(templates, photons):
    """Against a general minimiser, with an edge far beyond all steps (there the penalty is convex)."""
    up, down = photons
    found = penalty(0.5, edge=1e9)
    objective = objective_of(found, templates, up, down)
    best = minimize(
        jax.jit(objective), np.log(np.asarray(templates)).ravel(), jac=jax.jit(jax.grad(objective)), method="BFGS",
        options={"gtol": 1e-8},
    )  # fmt: skip
    new = found.step(templates, up, down)
    before, after = (float(objective(jnp.log(one).ravel())) for one in (templates, new))
    assert after - best.fun < 0.01 * (before - best.fun)
    for _ in range(20):
        scale = found.totals @ new
        new = scale * found.step(new / scale, templates * up / new * scale, down * scale) * 1.0
    np.testing.assert_allclose(shape_of(new), shape_of(jnp.exp(best.x).reshape(NODES, GASES)), rtol=1e-3)


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0, 1e4])
def test_the_step_lowers_the_objective(templates, photons, strength):
    """That of templates that add up to 1, as they do in the end."""
    up, down = photons
    objective = objective_of(penalty(strength), templates, up, down)
    new = penalty(strength).step(templates, up, down)
    assert float(objective(jnp.log(new).ravel())) < float(objective(jnp.log(templates).ravel()))


def test_the_scale_is_not_penalised(templates, photons):
    up, down = photons
    for strength in (1.0, 100.0):
        new = penalty(strength).step(templates, up, down)
        np.testing.assert_allclose((down * new).sum(0), (templates * up).sum(0), rtol=0.02)


@pytest.mark.parametrize("ratio", [0.0, 1e-3, 1.0, 100.0])
def test_without_a_penalty_the_step_is_the_multiplicative_one(templates, photons, ratio):
    up, down = photons
    up = ratio * up
    np.testing.assert_allclose(penalty(0.0).step(templates, up, down), templates * up / down, rtol=1e-6, atol=1e-30)


def test_noise_is_smoothed_and_a_line_is_kept(x64):
    true = np.full(200, 1.0)
    true[100] = 40.0
    unit = 50 * true.sum()
    counts = np.random.default_rng(0).poisson(50 * true)
    noisy = jnp.asarray(counts[:, None] / counts.sum())
    one, down = jnp.asarray(1.0), jnp.full((200, 1), unit)
    found = TemplateSmoothness(jnp.ones(200), unit * one, one, 0.3 * one)
    new = noisy
    for _ in range(10):
        new = found.step(new, unit * noisy / new, down)
    error, before = (np.asarray(t)[:, 0] * unit / 50 - true for t in (new, noisy))
    assert np.std(np.delete(error, 100)) < 0.75 * np.std(np.delete(before, 100))
    assert abs(error[100] - before[100]) < 0.02 * 40


def test_nodes_that_nothing_sees_stay(templates, photons):
    totals = np.ones(NODES)
    totals[-3:] = 0
    seen = jnp.asarray(totals > 0)[:, None]
    up, down = (jnp.where(seen, one, 0) for one in photons)
    new = penalty(1.0, totals=totals).step(templates, up, down)
    assert np.all(np.isfinite(np.asarray(new)))
    np.testing.assert_array_equal(new[-3:], templates[-3:])
    assert np.all(np.asarray(penalty(1.0).step(jnp.zeros_like(templates), up, down)) == 0)


@pytest.mark.parametrize("unit", [1e-2, 1.0, 1e4, 1e9])
def test_single_precision_is_enough(unit, x64):
    rng = np.random.default_rng(0)
    old = rng.gamma(2.0, size=(300, 3)) * 10.0 ** rng.uniform(-6, 0, (300, 1))
    old, up = old / old.sum(0), unit * rng.gamma(5.0, 0.2, (300, 3))

    def step(dtype):
        one = jnp.asarray(1.0, dtype)
        found = TemplateSmoothness(jnp.ones(300, dtype), unit * one, one, 0.3 * one)
        return np.asarray(found.step(*(jnp.asarray(x, dtype) for x in (old, up, np.full((300, 3), unit)))))

    np.testing.assert_allclose(step(np.float32), step(np.float64), rtol=2e-3)


def test_bad_strengths_are_refused():
    for bad in (-1.0, np.nan, np.inf, 1e7):
        with pytest.raises(ValueError, match="template_strength: expected 0 to 1e"):
            DopplerSheets(template_strength=bad)
    with pytest.raises(ValueError, match="template_strength: expected a number, found 'much'"):
        DopplerSheets(template_strength="much")
