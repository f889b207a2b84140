import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

import hifred
from hifred import priors
from hifred.assembly import assemble
from hifred.metrics import nmse, spectral_angle
from hifred.priors.guided import NEAREST, GuidedSmoothness, RelativeSpectra, sharpest_camera
from hifred.priors.rank_one import RankOne
from hifred.priors.relative import camera_weights, even_weights
from hifred.simulate import scene
from hifred.solvers import EM, Stopping, minimise, solution_cube
from hifred.solvers.rank_one import rank_one
from hifred.tuning import tune

SHAPE = (4, 3, 5)

value = eqx.filter_jit(lambda penalty, cube: penalty.value(cube))
bound = eqx.filter_jit(lambda penalty, cube: penalty.bound(cube))
gradient = eqx.filter_jit(lambda penalty, cube: jax.grad(penalty.value)(cube))


def random_penalty(seed=0, shape=SHAPE):
    rng = np.random.default_rng(seed)
    along = np.append(rng.gamma(1, size=shape[0] - 1), 0)
    ties = even_weights(shape[1:])[: len(NEAREST)] * rng.gamma(1, size=(len(NEAREST), *shape[1:]))
    arrays = rng.gamma(1, size=shape), rng.gamma(1, size=shape), ties, along
    return RelativeSpectra(*(jnp.asarray(array) for array in arrays))


def by_hand(penalty, cube):
    """The sum over pairs, one at a time."""
    reference, root, ties, along = (np.asarray(a, float) for a in jax.tree.leaves(penalty))
    relative, total = np.asarray(cube, float) / reference, 0.0
    energies, ny, nx = cube.shape
    for e, y, x in np.ndindex(*cube.shape):
        others = [(tie[y, x], e, y + dy, x + dx) for tie, (dy, dx) in zip(ties, NEAREST, strict=True)]
        for weight, k, i, j in [*others, (along[e], e + 1, y, x)]:
            if k < energies and 0 <= i < ny and 0 <= j < nx:
                a, b, m, n = relative[e, y, x], relative[k, i, j], root[e, y, x], root[k, i, j]
                total += weight * 2 * m * n / (m + n) * (a - b) ** 2 / (a + b)
    return total


def test_value_is_the_sum_over_pairs(x64):
    penalty = random_penalty()
    cube = np.random.default_rng(1).gamma(1, size=SHAPE)
    assert float(value(penalty, jnp.asarray(cube))) == pytest.approx(by_hand(penalty, cube), rel=1e-12)


def test_the_reference_costs_nothing(x64):
    penalty = random_penalty()
    assert float(value(penalty, 3 * penalty.reference)) == pytest.approx(0, abs=1e-12)
    assert float(value(penalty, jnp.zeros(SHAPE))) == 0


@pytest.mark.parametrize("seed", range(3))
def test_bound_touches_the_penalty_and_lies_above_it(x64, seed):
    penalty, rng = random_penalty(seed), np.random.default_rng(seed)
    cube = rng.gamma(0.5, size=SHAPE) + 1e-3
    here = float(value(penalty, jnp.asarray(cube)))
    linear, inverse = (np.asarray(part) for part in bound(penalty, jnp.asarray(cube)))
    assert linear.min() >= 0
    assert inverse.min() >= 0
    np.testing.assert_allclose(linear - inverse / cube**2, gradient(penalty, jnp.asarray(cube)), rtol=1e-8, atol=1e-10)
    for size in (1e-3, 0.1, 1.0, 3.0):
        other = cube * np.exp(size * rng.normal(size=SHAPE))
        above = here + (linear * (other - cube) + inverse * (1 / other - 1 / cube)).sum()
        assert above >= float(value(penalty, jnp.asarray(other))) - 1e-9 * abs(above)


def test_convex(x64):
    penalty, rng = random_penalty(), np.random.default_rng(5)
    for _ in range(5):
        a, b = (jnp.asarray(rng.gamma(0.5, size=SHAPE)) for _ in range(2))
        middle = float(value(penalty, 0.5 * (a + b)))
        assert middle <= 0.5 * float(value(penalty, a) + value(penalty, b)) + 1e-12


def test_single_precision(x64):
    """Faint skies in photons / cm2 / s stay within the range of float32."""
    penalty = random_penalty()
    faint = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), penalty)
    faint = eqx.tree_at(lambda p: p.reference, faint, 1e-15 * faint.reference)
    cube = 1e-15 * np.random.default_rng(1).gamma(1, size=SHAPE).astype(np.float32)
    assert float(value(faint, jnp.asarray(cube))) == pytest.approx(by_hand(penalty, cube / 1e-15), rel=1e-4)
    linear, inverse = (np.asarray(part) for part in bound(faint, jnp.asarray(cube)))
    assert np.all(np.isfinite(linear))
    assert inverse.max() > 0


# --- the minimum ---

KERNELS = {"camera": {"rebin": (4, 1, 1)}, "calorimeter": {"rebin": (1, 3, 2)}}


def small(sky, observe, prior, kernels=KERNELS):
    shape = (4, 3, 2)
    return assemble(observe(sky(shape, 300), kernels, dtype=np.float64), prior)


def brute_force(problem, as_matrix):
    """Least objective by L-BFGS on the logarithm, from dense matrices."""
    parts = [(as_matrix(t.operator, np.float64), np.ravel(t.counts).astype(float)) for t in problem.terms]
    shape = problem.start.shape

    def function(logs):
        z = np.exp(logs)
        total = float(value(problem.penalty, jnp.asarray(z.reshape(shape))))
        slope = np.ravel(gradient(problem.penalty, jnp.asarray(z.reshape(shape)))).astype(float)
        for matrix, counts in parts:
            model = matrix @ z
            total += (model - counts + np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / model), 0)).sum()
            slope = slope + matrix.T @ (1 - counts / model)
        return total, slope * z

    start = np.log(np.ravel(problem.start).astype(float))
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-9}
    best = scipy_minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    return np.exp(best.x).reshape(shape), best.fun


@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_reaches_the_minimum(x64, sky, observe, as_matrix, assert_never_rises, strength):
    solver, problem = small(sky, observe, GuidedSmoothness(strength=strength))
    assert isinstance(solver, EM)
    solution = minimise(solver, problem, Stopping(1500, 0.0, False))
    found = solution_cube(solver, problem, solution)
    best, least = brute_force(problem, as_matrix)
    last = solution.history[-1]
    assert 0.5 * np.sum(last.cstat) + last.prior_term == pytest.approx(least, rel=1e-6)
    np.testing.assert_allclose(found, best, rtol=0.02, atol=0.01 * best.max())
    assert_never_rises(solution.history, 1e-12)
    assert found.min() >= 0


def test_plain_steps_never_raise_the_objective(x64, sky, observe):
    """Without momentum each step is that of the bound, from any cube."""
    solver, problem = small(sky, observe, GuidedSmoothness(strength=3.0))
    step, start = eqx.filter_jit(solver.step), eqx.filter_jit(solver.init)
    for seed in range(3):
        cube = problem.start * np.random.default_rng(seed).gamma(0.2, 5, size=problem.start.shape)
        other = eqx.tree_at(lambda p: p.start, problem, jnp.maximum(cube, 1e-6 * problem.start))
        state, before = start(other), np.inf
        for _ in range(20):
            now = float(sum(c.sum() for c in state.progress.half_cstat) + state.progress.penalty)
            assert now <= before + 1e-10 * abs(now)
            before = now
            state = step(other, eqx.tree_at(lambda s: s.momentum, state, jnp.ones_like(state.momentum)))


def test_no_strength_is_no_penalty(x64, sky, observe):
    solver, problem = small(sky, observe, GuidedSmoothness(strength=0.0))
    free_solver, free = small(sky, observe, priors.Unregularized(stop_at_noise=False))
    cubes = [
        solution_cube(s, p, minimise(s, p, Stopping(30, 0.0, False)))
        for s, p in ((solver, problem), (free_solver, free))
    ]
    np.testing.assert_allclose(cubes[0], cubes[1], rtol=1e-8)


def test_strong_penalty_leaves_one_spectrum(x64, sky, observe):
    solver, problem = small(sky, observe, GuidedSmoothness(strength=1e4))
    found = solution_cube(solver, problem, minimise(solver, problem, Stopping(3000, 0.0, False)))
    ratio = found / np.asarray(problem.penalty.reference)
    assert np.ptp(ratio) < 0.01


# --- the guide ---


def test_ties_are_those_of_the_camera(instruments, sky, observe):
    shape, kernels = instruments
    data = observe(sky(shape), kernels)
    terms, start = [one.term() for one in data], rank_one(data)
    assert sharpest_camera(terms, start) is terms[0]
    penalty = GuidedSmoothness(strength=0.5).prepare(terms, start)
    expected = 0.5 * camera_weights(terms[0], shape[1:])[: len(NEAREST)]
    np.testing.assert_allclose(penalty.ties, expected, rtol=1e-5)
    np.testing.assert_allclose(penalty.along, [5.0] * (shape[0] - 1) + [0])
    counts = sum(np.asarray(term.sensitivity()) for term in terms) * np.asarray(start.cube)
    np.testing.assert_allclose(np.asarray(penalty.root) ** 2, counts, rtol=1e-4)
    even = GuidedSmoothness(strength=0.5, guided=False).prepare(terms, start)
    np.testing.assert_allclose(even.ties, 0.5 * even_weights(shape[1:])[: len(NEAREST)], rtol=1e-6)
    assert np.all(np.asarray(penalty.ties) <= np.asarray(even.ties) * 1.00001)
    assert np.asarray(penalty.ties).sum() < 0.95 * np.asarray(even.ties).sum()


def test_even_ties_without_a_camera(instruments, sky, observe):
    shape, kernels = instruments
    data = observe(sky(shape), {"calorimeter": kernels["calorimeter"]})
    terms, start = [one.term() for one in data], rank_one(data)
    assert sharpest_camera(terms, start) is None
    penalty = GuidedSmoothness(strength=1.0).prepare(terms, start)
    np.testing.assert_allclose(penalty.ties, even_weights(shape[1:])[: len(NEAREST)], rtol=1e-6)


def test_the_sharper_of_two_cameras(instruments, sky, observe):
    shape, kernels = instruments
    wide = kernels["camera"] | {"psf": np.ones((5, 5))}
    terms = [data.term() for data in observe(sky(shape), {"wide": wide, "camera": kernels["camera"]})]
    image = np.ones(shape[1:], np.float32)
    start = RankOne(jnp.full(shape[0], 1 / shape[0]), jnp.asarray(image).at[5, 5].set(2))
    assert sharpest_camera(terms, start) is terms[1]
    assert sharpest_camera(terms[::-1], start) is terms[1]


def test_one_energy_and_one_pixel(observe):
    for shape in ((1, 4, 4), (5, 1, 1)):
        data = observe(np.full(shape, 50.0), {"a": {}})
        fused = hifred.fuse(data, GuidedSmoothness(), 5, progress=False)
        assert np.all(np.isfinite(fused.values))


@pytest.mark.parametrize("bad", [-1, float("inf"), "much"])
def test_options(bad):
    with pytest.raises(ValueError, match="along: expected"):
        GuidedSmoothness(along=bad)
    with pytest.raises(ValueError, match="strength: expected"):
        GuidedSmoothness(strength=bad)


def test_whether_it_is_guided_is_yes_or_no(unchecked):
    with pytest.raises(ValueError, match="guided: expected True or False, found 'no'"):
        GuidedSmoothness(guided="no")


# --- what it is good for ---


def test_better_than_no_prior_and_low_rank():
    """Measured: -16.5 dB and 14.3 degrees; -13.4 and 20.3 without a prior; -15.7 and 19.8 with low rank and Sobolev."""
    tiny = scene("tiny")
    fits = [
        hifred.fuse(tiny.datasets, prior, progress=False).values
        for prior in (GuidedSmoothness(), priors.Unregularized(), priors.LowRankSobolev())
    ]
    errors = [nmse(fit, tiny.truth.values) for fit in fits]
    angles = [spectral_angle(fit, tiny.truth.values) for fit in fits]
    assert errors[0] < min(errors[1:]) - 0.5
    assert angles[0] < min(angles[1:]) - 3


def test_strength_from_the_data(observe, sky, instruments):
    shape, kernels = instruments
    tuning = tune(observe(sky(shape), kernels), GuidedSmoothness(), 30)
    assert tuning.strength in tuning.strengths
    assert len(tuning.strengths) >= 3
