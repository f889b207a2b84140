import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from hifred.poisson import PoissonTerm
from hifred.response import EnergyMatrix
from hifred.solvers import EM, CubeProblem, DenoisedEM, DenoisedProblem, Status, Stopping, minimise, solution_cube
from hifred.solvers.denoised import tied


def data(seed=0):
    """Eight unknowns, two instruments that see each other's mixtures; all unknowns are seen equally well."""
    rng = np.random.default_rng(seed)
    sky = 20 * rng.gamma(1, size=(4, 2, 1))
    terms = []
    for channels in (5, 6):
        matrix = rng.random((channels, 4))
        matrix /= matrix.sum(0)
        counts = jnp.asarray(rng.poisson(np.tensordot(matrix, sky, 1)).astype(float))
        operator = EnergyMatrix(jnp.asarray(matrix), (2, 1))
        terms.append(PoissonTerm(operator, counts, jnp.zeros(counts.shape), jnp.ones(counts.shape, bool)))
    return CubeProblem.of(terms, jnp.full((4, 2, 1), sky.mean()))


def objective(problem, cube):
    """Half the C-stat and its gradient, in numpy."""
    value, gradient = 0.0, np.zeros(cube.shape)
    for term in problem.terms:
        matrix, counts = np.asarray(term.operator.matrix), np.asarray(term.counts)
        model = np.maximum(np.tensordot(matrix, cube, 1), 1e-300)
        value += (model - counts + counts * np.log(np.where(counts > 0, counts, 1) / model)).sum()
        gradient += np.tensordot(matrix.T, 1 - counts / model, 1)
    return value, gradient


def solve(problem, denoised, tie, steps=3000, tolerance=0.0):
    one = DenoisedProblem(problem, denoised, jnp.asarray(tie))
    solution = minimise(DenoisedEM(), one, Stopping(steps, tolerance, False))
    return solution, solution_cube(DenoisedEM(), one, solution)


@pytest.mark.parametrize("image", [0.0, 1e-6, 0.3, 2.0, 50.0])
@pytest.mark.parametrize("denoised", [-5.0, 0.0, 0.9, 40.0])
@pytest.mark.parametrize("tie", [1e-3, 0.3, 7.0])
def test_the_root_is_the_minimum(x64, image, denoised, tie):
    def function(x):
        return x - image * np.log(x) + tie / 2 * (x - denoised) ** 2

    best = minimize_scalar(lambda t: function(np.exp(t)), bounds=(-40, 6), method="bounded", options={"xatol": 1e-10})
    found = tied(*(jnp.full((1, 1, 1), a) for a in (image, denoised)), jnp.asarray(tie)).item()
    assert found >= 0
    assert function(max(found, np.exp(-40))) <= best.fun + 1e-12 * abs(best.fun)
    assert found == pytest.approx(np.exp(best.x), rel=1e-4, abs=1e-12)


def test_without_a_tie_the_step_is_that_of_em():
    image, denoised = (jnp.asarray(values)[:, None, None] for values in ([0.0, 0.5, 3.0], [9.0, -9.0, 0.0]))
    np.testing.assert_array_equal(tied(image, denoised, jnp.asarray(0.0)), image)


def test_a_denoiser_that_changes_nothing_gives_maximum_likelihood(x64):
    one = data()
    free = minimise(EM(), one, Stopping(3000, 0.0, False))
    expected = solution_cube(EM(), one, free)
    _, found = solve(one, lambda cube: cube, 2.0)
    assert objective(one, found)[0] == pytest.approx(objective(one, expected)[0], rel=1e-9)
    bright = expected > 0.1
    np.testing.assert_allclose(found[bright], expected[bright], rtol=1e-4)


def test_a_linear_symmetric_denoiser_gives_the_minimum_of_a_quadratic_penalty(x64):
    one, tie = data(), 0.7
    mix = np.array([[0.5, 0.3, 0.1, 0.1], [0.3, 0.4, 0.2, 0.1], [0.1, 0.2, 0.5, 0.2], [0.1, 0.1, 0.2, 0.6]])
    matrix = jnp.asarray(mix)
    weight = np.asarray(one.sensitivity / one.start)
    assert np.ptp(weight) < 1e-12 * weight.max()  # so that the weighted map is symmetric too

    def function(x):
        cube = x.reshape(4, 2, 1)
        value, gradient = objective(one, cube)
        pull = weight * (cube - np.tensordot(mix, cube, 1))
        return value + tie / 2 * (cube * pull).sum(), (gradient + tie * pull).ravel()

    best = minimize(
        function, np.full(8, 20.0), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 8,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )  # fmt: skip
    solution, found = solve(one, lambda cube: jnp.tensordot(matrix, cube, 1), tie)
    assert function(found.ravel())[0] == pytest.approx(best.fun, rel=1e-9)
    np.testing.assert_allclose(found.ravel(), best.x, rtol=1e-4)
    assert solution.history[-1].residual < 1e-9


def test_the_residual_is_the_relative_change_of_the_cube(x64):
    one = data()
    problem = DenoisedProblem(one, lambda cube: 0.5 * cube, jnp.asarray(1.0))
    state = DenoisedEM().init(problem)
    following = DenoisedEM().step(problem, state)
    change = np.linalg.norm(following.image - state.cube) / np.linalg.norm(state.cube)
    assert float(following.progress.decrement) == pytest.approx(change, rel=1e-12)
    solution = minimise(DenoisedEM(), problem, Stopping(1, 0.0, False))
    assert solution.history[-1].residual == pytest.approx(change, rel=1e-12)
    assert solution.history[-1].prior_term == 0


def test_the_end_is_called_a_fixed_point():
    solution, _ = solve(data(), lambda cube: 0.9 * cube, 1.0, tolerance=1e-3)
    assert solution.status is Status.FIXED_POINT
    assert "fixed point" in solution.status.sentence
    assert "not a minimum" in solution.status.sentence
    assert all(record.residual <= 1e-3 for record in solution.history[-3:])
    assert solution.history[-4].residual > 1e-3


def test_a_denoiser_that_grows_is_no_fixed_point():
    solution, _ = solve(data(), lambda cube: 10 * cube, 5.0, steps=200, tolerance=1e-3)
    assert solution.status in (Status.DIVERGED, Status.MAX_ITERATIONS)


def test_nan_from_a_denoiser_ends_the_run_with_the_cube_before():
    solution, cube = solve(data(), lambda cube: jnp.where(cube.sum() > 0, jnp.nan, cube), 1.0)
    assert solution.status is Status.DIVERGED
    assert np.isfinite(cube).all()


def test_units_do_not_matter():
    """A cube of 1e-20 photons / cm2 / s is solved as one of 20."""
    one = data()
    terms = [
        PoissonTerm(
            EnergyMatrix(1e20 * t.operator.matrix.astype(jnp.float32), (2, 1)),
            *(jnp.asarray(a, jnp.float32) for a in (t.counts, t.background)),
            t.mask,
        )
        for t in one.terms
    ]
    small = CubeProblem.of(terms, 1e-20 * one.start.astype(jnp.float32))
    half = lambda cube: 0.5 * cube  # noqa: E731
    _, expected = solve(one, half, 1.0, steps=20)
    _, found = solve(small, half, jnp.float32(1.0), steps=20)
    np.testing.assert_allclose(1e20 * found, expected, rtol=1e-3)


def test_unseen_voxels_keep_their_start():
    matrix = jnp.asarray([[1.0, 0.0], [0.5, 0.0]])
    counts = jnp.full((2, 1, 1), 3.0)
    term = PoissonTerm(EnergyMatrix(matrix, (1, 1)), counts, jnp.zeros((2, 1, 1)), jnp.ones((2, 1, 1), bool))
    _, cube = solve(CubeProblem.of([term], jnp.full((2, 1, 1), 1.0)), lambda cube: 0 * cube, 1.0, steps=50)
    assert cube[1, 0, 0] == 1
    # The minimum of x - 6 log(x) / 1.5 + x^2 / 2, the sensitivity 1.5 divided out.
    assert cube[0, 0, 0] == pytest.approx((np.sqrt(1 + 16) - 1) / 2, rel=1e-5)
