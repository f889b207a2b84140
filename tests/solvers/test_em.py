import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from hifred import Dataset, Response, priors
from hifred.assembly import assemble
from hifred.poisson import PoissonTerm
from hifred.response import EnergyMatrix
from hifred.solvers import EM, CubeProblem, Stopping, minimise, solution_cube


@eqx.filter_jit
def _loop(solver, problem, state, steps):
    return jax.lax.fori_loop(0, steps, lambda _, state: solver.step(problem, state), state)


_start = eqx.filter_jit(lambda solver, problem: solver.init(problem))


def after(solver, problem, steps):
    """State after a number of steps."""
    return _loop(solver, problem, _start(solver, problem), jnp.asarray(steps))


def problem(background=0.0, mask=None, seed=0):
    """Eight unknowns, two instruments that see each other's mixtures."""
    rng = np.random.default_rng(seed)
    sky = 20 * rng.gamma(1, size=(4, 2, 1))
    terms = []
    for channels in (5, 6):
        matrix = rng.random((channels, 4))
        mean = np.tensordot(matrix, sky, 1) + background
        used = np.ones(mean.shape, bool) if mask is None else rng.random(mean.shape) > mask
        operator = EnergyMatrix(jnp.asarray(matrix), (2, 1))
        b = jnp.full(mean.shape, float(background))
        terms.append(PoissonTerm(operator, jnp.asarray(rng.poisson(mean).astype(float)), b, jnp.asarray(used)))
    return CubeProblem.of(terms, jnp.full((4, 2, 1), sky.mean()))


def objective(problem, cube):
    """`sum mu - n + n log(n / mu)` and its gradient, in numpy."""
    value, gradient = 0.0, np.zeros(cube.shape)
    for term in problem.terms:
        matrix, counts, mask = (np.asarray(a) for a in (term.operator.matrix, term.counts, term.mask))
        model = np.tensordot(matrix, cube, 1) + np.asarray(term.background)
        safe = np.maximum(model, 1e-300)
        logs = np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1) / safe), 0)
        value += np.where(mask, model - counts + logs, 0).sum()
        gradient += np.tensordot(matrix.T, np.where(mask, 1 - counts / safe, 0), 1)
    return value, gradient


@pytest.mark.parametrize(("background", "mask"), [(0.0, None), (3.0, None), (1.0, 0.3)])
def test_reaches_the_minimum(x64, background, mask):
    one = problem(background, mask)

    def function(x):
        value, gradient = objective(one, x.reshape(4, 2, 1))
        return value, gradient.ravel()

    best = minimize(
        function, np.full(8, 20.0), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 8,
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000},
    )  # fmt: skip
    state = after(EM(), one, 3000)
    found = objective(one, np.asarray(state.cube))[0]
    assert found == pytest.approx(best.fun, rel=1e-6)
    assert float(sum(c.sum() for c in state.progress.half_cstat)) == pytest.approx(found, rel=1e-10)


def test_momentum_pays(x64):
    """Thirty steps do more than a hundred plain ones."""
    one = problem()
    cube = np.asarray(one.start)
    for _ in range(100):
        gradient = objective(one, cube)[1]
        cube = cube * (1 - gradient / np.asarray(one.sensitivity))
    assert objective(one, np.asarray(after(EM(), one, 30).cube))[0] < objective(one, cube)[0]


def test_never_rises_and_stays_positive(x64, assert_never_rises):
    one = problem(1.0)
    solution = minimise(EM(), one, Stopping(100, 0.0, False))
    assert solution_cube(EM(), one, solution).min() >= 0
    assert_never_rises(solution.history, 1e-13)
    assert solution.history[-1].residual < 1e-3 * solution.history[1].residual


def test_sensitivity_is_what_one_photon_gives(x64, as_matrix):
    one = problem(mask=0.3)
    expected = sum(as_matrix(t.operator, np.float64).T @ np.asarray(t.mask, float).ravel() for t in one.terms)
    np.testing.assert_allclose(np.ravel(one.sensitivity), expected, rtol=1e-12)


def test_unseen_voxels_keep_their_start():
    area = np.ones((4, 3, 3))
    area[2, 1, 1] = 0
    response = Response.from_kernels((4, 3, 3), area=area)
    data = Dataset(np.random.default_rng(0).poisson(20 * area), response)
    solver, one = assemble([data], priors.Unregularized())
    cube = np.asarray(after(solver, one, 20).cube)
    assert cube[2, 1, 1] == np.asarray(one.start)[2, 1, 1]
    np.testing.assert_allclose(cube[area > 0], data.counts[area > 0], atol=1e-3)


def test_no_photons_no_sky():
    response = Response.from_kernels((4, 3, 3), lsf=np.ones(3))
    term = Dataset(np.zeros((4, 3, 3)), response).term()
    one = CubeProblem.of([term], jnp.ones((4, 3, 3)))
    solution = minimise(EM(), one, Stopping(10, 1e-4, False))
    np.testing.assert_allclose(solution_cube(EM(), one, solution), 0, atol=1e-6)
    assert solution.history[-1].objective == pytest.approx(0, abs=1e-5)
