import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from hifred.poisson import PoissonTerm
from hifred.priors.relative import OFFSETS, RelativeSmoothness, camera_weights, even_weights
from hifred.response import Identity
from hifred.solvers.factors import root

SHAPE = (2, 3, 5, 6)


@pytest.fixture(params=[None, 0.1])
def penalty(x64, request):
    weights = even_weights(SHAPE[2:]) * np.random.default_rng(0).random((len(OFFSETS), *SHAPE[2:]))
    edge = None if request.param is None else jnp.asarray(request.param)
    return RelativeSmoothness(jnp.asarray(weights), jnp.asarray(0.7), jnp.asarray(1.3), edge)


def by_hand(fields, penalty):
    """The penalty, pair by pair."""

    def distance(a, b):
        plain = (a - b) ** 2 / (a + b + 1e-4)
        return plain if penalty.edge is None else float(penalty.edge) * np.log(1 + plain / float(penalty.edge))

    total = 0.0
    s, j, ny, nx = fields.shape
    for sheet in fields:
        for layer in sheet:
            for number, (dy, dx) in enumerate(OFFSETS):
                for y in range(ny):
                    for x in range(nx):
                        if 0 <= y + dy < ny and 0 <= x + dx < nx:
                            a, b = layer[y, x], layer[y + dy, x + dx]
                            total += 0.7 * float(penalty.weights[number, y, x]) * distance(a, b)
        for a, b in zip(sheet[1:].ravel(), sheet[:-1].ravel(), strict=True):
            total += 1.3 * distance(a, b)
    return total


def test_value_is_the_sum_over_pairs(penalty):
    fields = np.random.default_rng(1).random(SHAPE)
    assert float(penalty.value(jnp.asarray(fields))) == pytest.approx(by_hand(fields, penalty), rel=1e-12)


def test_even_fields_cost_nothing(penalty):
    assert float(penalty.value(jnp.full(SHAPE, 0.3))) == 0


def test_above_an_edge_only_the_logarithm_of_a_step_counts(x64):
    weights, one = jnp.asarray(even_weights((1, 2))), jnp.asarray(1.0)
    plain, edged = (RelativeSmoothness(weights, one, 0 * one, edge) for edge in (None, 10 * one))

    def cost(penalty, *pair):
        return float(penalty.value(jnp.asarray(pair).reshape(1, 1, 1, 2)))

    assert cost(edged, 100.0, 101.0) == pytest.approx(cost(plain, 100.0, 101.0), rel=1e-3)
    assert cost(edged, 100.0, 1e5) == pytest.approx(10 * np.log1p(cost(plain, 100.0, 1e5) / 10), rel=1e-12)
    assert cost(edged, 100.0, 1e5) < 0.001 * cost(plain, 100.0, 1e5)


def test_gradient_is_that_of_the_value(penalty):
    fields = jnp.asarray(np.random.default_rng(2).random(SHAPE))
    np.testing.assert_allclose(penalty.slopes(fields)[0], jax.grad(penalty.value)(fields), rtol=1e-10, atol=1e-12)


def test_the_quadratic_lies_above_near_the_fields(penalty):
    rng = np.random.default_rng(3)
    fields = jnp.asarray(rng.random(SHAPE) + 0.1)
    gradient, curvature = penalty.slopes(fields)
    value = jax.jit(lambda fields: penalty.value(fields))
    for seed in range(20):
        move = 0.02 * np.random.default_rng(seed).normal(size=SHAPE)
        bound = float(value(fields) + (gradient * move).sum() + 0.5 * (curvature * move**2).sum())
        assert float(value(fields + move)) <= bound + 1e-9


def test_root_is_the_minimiser_of_its_surrogate(penalty):
    rng = np.random.default_rng(4)
    old, over, under = (jnp.asarray(rng.random(SHAPE) + 0.1) for _ in range(3))
    scale = jnp.asarray(rng.random(SHAPE[2:]) + 0.5)
    slopes = penalty.slopes(old / scale)
    new = np.asarray(root(old, over, under, (slopes[0] / scale, slopes[1] / scale**2)))
    gradient, curvature = (np.asarray(part) for part in slopes)
    for place in [(0, 0, 0, 0), (1, 2, 4, 5), (0, 1, 2, 3)]:
        o, n, d = (float(np.asarray(array)[place]) for array in (old, over, under))
        at = float(np.asarray(scale)[place[2:]])
        g, c = gradient[place] / at, curvature[place] / at**2

        def surrogate(x, o=o, n=n, d=d, g=g, c=c):
            return d * x - n * o * np.log(x) + g * (x - o) + 0.5 * c * (x - o) ** 2

        best = minimize_scalar(surrogate, bounds=(1e-9, 20), method="bounded", options={"xatol": 1e-12}).x
        assert new[place] == pytest.approx(best, rel=1e-5)


def test_camera_ties_what_is_alike_and_parts_what_is_not():
    rng = np.random.default_rng(0)
    spectra = np.array([[4.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 4.0]])
    expected = 300 * spectra[(np.arange(12) > 5).astype(int)].T[:, None, :] * np.ones((4, 10, 12))
    counts = jnp.asarray(rng.poisson(expected), jnp.float32)
    term = PoissonTerm(Identity(counts.shape), counts, jnp.zeros_like(counts), jnp.ones(counts.shape, bool))
    weights = camera_weights(term, (10, 12))
    right = weights[OFFSETS.index((0, 1))]
    assert right[:, :5].mean() > 0.5
    assert right[:, 5].max() < 1e-6
    assert right[:, 11].max() == 0  # no neighbour beyond the edge
