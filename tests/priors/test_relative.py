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


@pytest.fixture(params=[(None, False), (0.1, False), (None, True), (0.1, True)], ids=str)
def penalty(x64, request):
    edge, second = request.param
    weights = even_weights(SHAPE[2:]) * np.random.default_rng(0).random((len(OFFSETS), *SHAPE[2:]))
    edge = None if edge is None else jnp.asarray(edge)
    return RelativeSmoothness(jnp.asarray(weights), jnp.asarray(0.7), jnp.asarray(1.3), edge, second)


def by_hand(fields, penalty):
    """The penalty, pixel by pixel."""

    def distance(a, b):
        plain = (a - b) ** 2 / (a + b + 1e-4)
        return plain if penalty.edge is None else float(penalty.edge) * np.log(1 + plain / float(penalty.edge))

    def sides(number, layer, y, x, dy, dx):
        """Weights and values of the neighbours on both sides, None for one that is not there."""
        for at, (v, u) in (((y, x), (y + dy, x + dx)), ((y - dy, x - dx), (y - dy, x - dx))):
            inside = 0 <= v < layer.shape[0] and 0 <= u < layer.shape[1]
            yield (float(penalty.weights[number][at]), layer[v, u]) if inside else None

    total = 0.0
    for sheet in fields:
        for layer in sheet:
            for number, (dy, dx) in enumerate(OFFSETS):
                for y, x in np.ndindex(layer.shape):
                    ahead, behind = sides(number, layer, y, x, dy, dx)
                    found = [side for side in (ahead, behind) if side is not None]
                    if penalty.second and found:
                        both = sum(weight for weight, _ in found)
                        mean = sum(weight * value for weight, value in found) / both
                        total += 0.7 * both * distance(layer[y, x], mean)
                    elif ahead is not None:
                        total += 0.7 * ahead[0] * distance(layer[y, x], ahead[1])
        for a, b in zip(sheet[1:].ravel(), sheet[:-1].ravel(), strict=True):
            total += 1.3 * distance(a, b)
    return total


def test_value_is_that_by_hand(penalty):
    fields = np.random.default_rng(1).random(SHAPE)
    assert float(penalty.value(jnp.asarray(fields))) == pytest.approx(by_hand(fields, penalty), rel=1e-12)


def test_even_fields_cost_nothing(penalty):
    # A mean of equal values may differ from them in the last digit.
    assert float(penalty.value(jnp.full(SHAPE, 0.3))) <= (1e-25 if penalty.second else 0)


def test_second_differences_let_slopes_pass_but_at_the_border(x64):
    weights, one = jnp.asarray(even_weights((9, 9))), jnp.asarray(1.0)
    slope = jnp.asarray(1 + 0.1 * np.add.outer(np.arange(9), 2 * np.arange(9)))[None, None]
    gradient = np.asarray(RelativeSmoothness(weights, one, 0 * one, second=True).slopes(slope)[0])[0, 0]
    np.testing.assert_allclose(gradient[4, 4], 0, atol=1e-12)
    assert np.abs(gradient[0]).min() > 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 2)])
def test_second_differences_tie_pixels_of_small_skies(x64, shape):
    one = jnp.asarray(1.0)
    penalty = RelativeSmoothness(jnp.asarray(even_weights(shape)), one, 0 * one, second=True)
    fields = jnp.asarray(np.random.default_rng(0).random((1, 1, *shape)) + 0.1)
    gradient, curvature = penalty.slopes(fields)
    np.testing.assert_allclose(gradient, jax.grad(penalty.value)(fields), rtol=1e-10, atol=1e-12)
    assert (float(penalty.value(fields)) > 0) == (np.prod(shape) > 1)
    assert (np.asarray(curvature).min() > 0) == (np.prod(shape) > 1)


@pytest.mark.parametrize("second", [False, True])
def test_ties_as_weak_as_single_precision_holds_do_no_harm(second):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(even_weights((6, 7)) * 10 ** -rng.uniform(0, 45, (len(OFFSETS), 6, 7)), jnp.float32)
    one = jnp.asarray(1.0, jnp.float32)
    penalty = RelativeSmoothness(weights, one, 0 * one, second=second)
    fields = jnp.asarray(rng.random((1, 1, 6, 7)) + 0.1, jnp.float32)
    gradient, curvature = penalty.slopes(fields)
    np.testing.assert_allclose(gradient, jax.grad(penalty.value)(fields), rtol=1e-3, atol=1e-5)
    assert np.isfinite(curvature).all()
    assert np.asarray(curvature).min() >= 0


def test_where_one_side_is_not_tied_the_other_is_what_a_pixel_is_compared_with(x64):
    weights, one = np.array(even_weights((1, 3))), jnp.asarray(1.0)
    weights[OFFSETS.index((0, 2))] = 0
    weights[OFFSETS.index((0, 1)), 0, 0] = 0  # the first pixel is on its own
    fields = np.array([7.0, 1.0, 2.0])
    penalty = RelativeSmoothness(jnp.asarray(weights), one, 0 * one, second=True)
    # Once from the second pixel, once from the third.
    expected = 2 * (1 - 2) ** 2 / (1 + 2 + 1e-4)
    assert float(penalty.value(jnp.asarray(fields).reshape(1, 1, 1, 3))) == pytest.approx(expected, rel=1e-12)


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


def test_curvature_is_no_less_than_the_rows_of_the_hessian(penalty):
    fields = jnp.asarray(np.random.default_rng(5).random(SHAPE) + 0.1)
    hessian = np.asarray(jax.hessian(penalty.value)(fields)).reshape(fields.size, fields.size)
    curvature = np.asarray(penalty.slopes(fields)[1]).ravel()
    if penalty.edge is None:
        assert (curvature >= np.abs(hessian).sum(1) * (1 - 1e-9)).all()
    # With an edge the penalty is not convex: only the bound as a whole holds.
    assert np.linalg.eigvalsh(np.diag(curvature) - hessian).min() >= -1e-9 * curvature.max()


@pytest.mark.parametrize("second", [False, True])
def test_the_bound_is_touched_where_neighbours_move_apart(x64, second):
    weights, one = np.array(even_weights((1, 6))), jnp.asarray(1.0)
    weights[OFFSETS.index((0, 2))] = 0
    weights[OFFSETS.index((0, 1)), 0, :5] *= np.linspace(0.3, 1, 5)
    penalty = RelativeSmoothness(jnp.asarray(weights), one, 0 * one, second=second)
    fields, move = jnp.full((1, 1, 1, 6), 0.5), np.array([1.0, -1, 1, -1, 1, -1])
    hessian = np.asarray(jax.hessian(penalty.value)(fields)).reshape(6, 6)
    curvature = np.asarray(penalty.slopes(fields)[1]).ravel()
    assert move @ hessian @ move == pytest.approx((curvature * move**2).sum(), rel=1e-9)


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
