import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from hifred import priors
from hifred.assembly import assemble
from hifred.priors.transform import Starlet
from hifred.solvers import CubeProblem, PrimalDual, Stopping, minimise, solution_cube
from hifred.solvers.primal_dual import Steps, dual_steps, metric

SHAPE = (3, 3, 2)
PRIOR = priors.Starlet2D1D(scales=1, energy_scales=1)


@eqx.filter_jit
def _loop(solver, problem, state, steps):
    return jax.lax.fori_loop(0, steps, lambda _, state: solver.step(problem, state), state)


_start = eqx.filter_jit(lambda solver, problem: solver.init(problem))


def after(solver, problem, steps):
    """State after a number of steps."""
    return _loop(solver, problem, _start(solver, problem), jnp.asarray(steps))


_columns = eqx.filter_jit(lambda transform, units: jax.vmap(lambda unit: jnp.stack(transform.analysis(unit)))(units))


def analysis_matrix(transform, shape):
    units = jnp.asarray(np.eye(int(np.prod(shape))).reshape(-1, *shape))
    return np.asarray(_columns(transform, units)).reshape(len(units), -1).T


def with_slacks(smooth, psi, weights, start, least=0.0):
    """`minimise f(z) + w'|Psi z| over z >= least` as a smooth problem: `Psi z = p - q` with `p, q >= 0`."""
    size, count = len(start), len(weights)
    equality = np.hstack([psi, -np.eye(count), np.eye(count)])

    def function(v):
        value, gradient = smooth(v[:size])
        return value + weights @ (v[size:].reshape(2, -1).sum(0)), np.concatenate([gradient, weights, weights])

    first = psi @ start
    best = minimize(
        function, np.concatenate([start, np.maximum(first, 0), np.maximum(-first, 0)]), jac=True, method="SLSQP",
        bounds=[(least, None)] * size + [(0, None)] * (2 * count),
        constraints={"type": "eq", "fun": lambda v: equality @ v, "jac": lambda _: equality},
        options={"maxiter": 500, "ftol": 1e-12},
    )  # fmt: skip
    z = best.x[:size]
    return z, smooth(z)[0] + weights @ abs(psi @ z)


def mock(sky, observe, prior=PRIOR):
    kernels = {"a": {"rebin": (3, 1, 1)}, "b": {"rebin": (1, 3, 2)}}
    return assemble(observe(sky(SHAPE, 400), kernels, dtype=np.float64), prior)


def poisson(problem, as_matrix):
    """Half the C-stat and its gradient, from dense matrices."""
    parts = [(as_matrix(t.operator, np.float64), np.ravel(t.counts).astype(float)) for t in problem.terms]

    def smooth(z):
        value, gradient = 0.0, np.zeros(z.size)
        for matrix, counts in parts:
            model = np.maximum(matrix @ z, 1e-12)
            value += (model - counts + np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / model), 0)).sum()
            gradient += matrix.T @ (1 - counts / model)
        return value, gradient

    return smooth


@pytest.mark.parametrize("strength", [0.2, 1.0, 5.0, 20.0])
def test_reaches_the_minimum(x64, sky, observe, as_matrix, strength):
    solver, problem = mock(sky, observe, priors.Starlet2D1D(strength=strength, scales=1, energy_scales=1))
    assert isinstance(solver, PrimalDual)
    psi = analysis_matrix(problem.penalty.transform, SHAPE)
    weights = np.concatenate([np.ravel(w) for w in problem.penalty.weights])
    smooth = poisson(problem, as_matrix)
    _, least = with_slacks(smooth, psi, weights, np.ravel(problem.data.start).astype(float))
    best = np.ravel(solver.cube(problem, after(solver, problem, 6000)))
    assert smooth(best)[0] + weights @ abs(psi @ best) == pytest.approx(least, rel=1e-5)


def test_reaches_the_minimum_with_a_bright_point_on_a_faint_sky(x64, observe, as_matrix):
    cube = np.ones(SHAPE)
    cube[1, 1, 1] = 3000
    solver, problem = assemble(
        observe(cube, {"a": {"rebin": (3, 1, 1)}, "b": {"rebin": (1, 3, 2)}}, dtype=float), PRIOR
    )
    psi = analysis_matrix(problem.penalty.transform, SHAPE)
    weights = np.concatenate([np.ravel(w) for w in problem.penalty.weights])
    smooth = poisson(problem, as_matrix)
    _, least = with_slacks(smooth, psi, weights, np.ravel(problem.data.start).astype(float))
    best = np.ravel(solver.cube(problem, after(solver, problem, 6000)))
    assert smooth(best)[0] + weights @ abs(psi @ best) <= least * (1 + 1e-4)


@pytest.mark.parametrize("strength", [1.0, 5.0])
def test_same_minimum_whatever_the_start(x64, sky, observe, strength):
    solver, problem = mock(sky, observe, priors.Starlet2D1D(strength=strength, scales=1, energy_scales=1))
    found = []
    for factor in (1.0, 0.05, np.linspace(0.1, 10, SHAPE[0])[:, None, None]):
        other = eqx.tree_at(lambda p: p.data.start, problem, factor * problem.data.start)
        state = after(solver, other, 6000)
        found.append(float(sum(c.sum() for c in state.progress.half_cstat) + state.progress.penalty))
    np.testing.assert_allclose(found, found[0], rtol=1e-5)


def test_progress_is_that_of_the_best_cube(x64, sky, observe):
    solver, problem = mock(sky, observe)
    state = after(solver, problem, 37)
    cube = solver.cube(problem, state)
    assert float(problem.penalty.value(cube)) == pytest.approx(float(state.progress.penalty), rel=1e-12)
    for term, half in zip(problem.terms, state.progress.half_cstat, strict=True):
        assert float(term.value(cube)) == pytest.approx(float(half.sum()), rel=1e-12)


def test_dual_variables_stay_within_the_weights(x64, sky, observe):
    solver, problem = mock(sky, observe)
    state = after(solver, problem, 37)
    for dual, weight in zip(state.dual, problem.penalty.weights, strict=True):
        assert np.all(abs(np.asarray(dual)) <= np.asarray(weight))
    np.testing.assert_allclose(state.back, problem.penalty.transform.adjoint(state.dual), rtol=1e-12, atol=1e-12)


def test_never_rises_and_stays_positive(x64, sky, observe, assert_never_rises):
    solver, problem = mock(sky, observe)
    solution = minimise(solver, problem, Stopping(80, 0.0, False))
    assert_never_rises(solution.history, 1e-13)
    assert solution_cube(solver, problem, solution).min() >= 0
    assert solution.history[-1].objective < solution.history[0].objective


def test_strong_penalty_leaves_the_free_band(x64, sky, observe):
    """Details vanish; the smooth part, which is free, does not."""
    solver, problem = mock(sky, observe, priors.Starlet2D1D(strength=1e3, scales=1, energy_scales=1))
    cube = solver.cube(problem, after(solver, problem, 3000))
    bands, coarse = problem.penalty.transform.decompose(cube)
    assert float(abs(jnp.stack(bands)).max()) < 0.02 * float(coarse.max())
    assert float(cube.sum()) == pytest.approx(400, rel=0.1)


def test_no_strength_is_no_penalty(x64, sky, observe):
    free_solver, free = mock(sky, observe, priors.Unregularized())
    solver, problem = mock(sky, observe, priors.Starlet2D1D(strength=0.0, scales=1, energy_scales=1))
    plain, penalised = after(free_solver, free, 500).progress, after(solver, problem, 3000).progress
    assert float(penalised.penalty) == 0
    values = [float(sum(c.sum() for c in p.half_cstat)) for p in (plain, penalised)]
    assert values[1] == pytest.approx(values[0], rel=1e-3, abs=0.01)


# --- the proximal step ---


def test_prox_of_the_conjugate_is_the_clip():
    """Moreau: soft thresholding plus clipping is the identity; the first by brute force."""
    values, bound = np.linspace(-4, 4, 41), 1.3
    grid = np.linspace(-6, 6, 120_001)
    brute = np.array([grid[np.argmin(0.5 * (grid - v) ** 2 + bound * abs(grid))] for v in values])
    soft = np.sign(values) * np.maximum(abs(values) - bound, 0)
    np.testing.assert_allclose(brute, soft, atol=2e-4)
    np.testing.assert_allclose(soft + np.asarray(jnp.clip(jnp.asarray(values), -bound, bound)), values, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_dual_projection_is_the_prox_of_the_analysis_norm(x64, seed):
    """`argmin 1/2 |z - u|^2_D + sum lambda |Psi z|` over `z >= 0`, by clipped dual steps and by SLSQP."""
    rng = np.random.default_rng(seed)
    transform = Starlet(SHAPE, 1, 1, np.float64)
    psi = analysis_matrix(transform, SHAPE)
    u = rng.normal(size=SHAPE) + 0.5
    inverse = rng.uniform(0.5, 2, SHAPE)
    bounds = [jnp.asarray(rng.uniform(0.05, 0.5, SHAPE)) for _ in range(3)]
    step = jnp.asarray(inverse)
    sigma = dual_steps(transform, step)

    def primal(dual):
        return jnp.maximum(jnp.asarray(u) - step * transform.adjoint(dual), 0)

    def once(_, dual):
        bands = transform.analysis(primal(dual))
        return tuple(jnp.clip(y + sigma * c, -b, b) for y, c, b in zip(dual, bands, bounds, strict=True))

    dual = jax.lax.fori_loop(0, 5000, once, tuple(jnp.zeros(SHAPE) for _ in bounds))
    found = np.ravel(primal(dual))

    def smooth(z):
        rest = z - u.ravel()
        return 0.5 * (rest**2 / inverse.ravel()).sum(), rest / inverse.ravel()

    weights = np.concatenate([np.ravel(b) for b in bounds])
    z, least = with_slacks(smooth, psi, weights, np.maximum(u.ravel(), 0))
    value = smooth(found)[0] + weights @ abs(psi @ found)
    assert value == pytest.approx(least, rel=1e-5)
    np.testing.assert_allclose(found, z, atol=1e-4)
    moved = smooth(np.maximum(found + 1e-3 * rng.normal(size=found.size), 0))[0]
    assert value <= moved + weights.sum()


@pytest.mark.parametrize("kind", ["even", "ramp", "edge", "hole"])
def test_dual_steps_are_short_enough(x64, kind):
    """`|| sigma^1/2 Psi T^1/2 ||^2 <= 1`, also where T varies over the sky."""
    shape = (4, 8, 7)
    y, x = np.mgrid[:8, :7]
    image = {
        "even": np.ones((8, 7)), "ramp": 10 ** (0.3 * x), "edge": np.where(x > 3, 1e4, 1),
        "hole": np.where((x == 3) & (y == 4), 1e-4, 1),
    }[kind]  # fmt: skip
    step = np.broadcast_to(image, shape)
    transform = Starlet(shape, 2, 1, np.float64)
    sigma = np.asarray(dual_steps(transform, jnp.asarray(step)))
    psi = analysis_matrix(transform, shape)
    scaled = np.sqrt(np.tile(sigma.ravel(), len(psi) // step.size))[:, None] * psi * np.sqrt(step.ravel())
    assert np.linalg.norm(scaled, 2) ** 2 <= 1


def test_metric_is_the_step_of_em_or_shorter():
    sensitivity = jnp.asarray([[[2.0, 0, 4, 4]]])
    cube, curvature = jnp.full((1, 1, 4), 8.0), jnp.asarray([[[1.0, 0, 4, 16]]])
    np.testing.assert_array_equal(metric(CubeProblem((), sensitivity, cube), cube, curvature), [[[4, 0, 2, 0.5]]])


def test_primal_steps_are_short_enough(x64, sky, observe, as_matrix):
    """`T^1/2 H T^1/2 <= 1` with the Hessian of the data term, at a cube far from the counts too."""
    _, problem = mock(sky, observe)
    rng = np.random.default_rng(0)
    for cube in (problem.data.start, jnp.asarray(rng.gamma(0.3, 5.0, SHAPE))):
        step = np.ravel(Steps.at(problem, cube).primal)
        hessian = 0.0
        for term in problem.terms:
            matrix = as_matrix(term.operator, np.float64)
            hessian += matrix.T @ (np.ravel(term.counts / term.predict(cube) ** 2)[:, None] * matrix)
        assert np.linalg.norm(np.sqrt(step)[:, None] * hessian * np.sqrt(step), 2) <= 1 + 1e-6
