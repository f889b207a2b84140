import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from hifred import Dataset, Response, priors
from hifred.assembly import assemble
from hifred.poisson import PoissonTerm
from hifred.response import EnergyMatrix
from hifred.solvers import Newton, Stopping, minimise, solution_cube
from hifred.solvers.newton import curvature, fisher_blocks, invert_blocks, outer_sums, within_cone

SHAPE = (8, 3, 4)
PRIORS = {
    "Sobolev": priors.LowRankSobolev(rank=2, strength=0.3),
    "Starlet": priors.LowRankStarlet(rank=2, scales=2, strength=1.0),
}


def mock(sky, observe, prior, background=0.0):
    kernels = {
        "a": {"lsf": np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2), "rebin": (2, 1, 1)},
        "b": {"psf": np.exp(-0.5 * np.hypot(*np.mgrid[-1:2, -1:2]) ** 2), "rebin": (1, 3, 2)},
    }
    cube = sky(SHAPE, 2e3)
    data = [Dataset(d.counts, d.response, np.asarray(background)) for d in observe(cube, kernels, dtype=np.float64)]
    return assemble(data, prior)


def objective(problem, maps):
    """The whole objective, from the counts up; infinite outside the cone."""
    total = problem.penalty.value(maps)
    for term in problem.terms:
        total += term.value(maps)
    relative = jnp.einsum("ek,kyx->eyx", problem.shapes, maps)
    inside = relative.min() > 0
    logs = jnp.log(jnp.where(inside, relative, 1) / problem.start[0])
    return jnp.where(inside, total - (problem.barrier * logs).sum(), jnp.inf)


@pytest.mark.parametrize("name", PRIORS)
def test_reaches_the_minimum(x64, sky, observe, assert_never_rises, name):
    solver, problem = mock(sky, observe, PRIORS[name])
    assert isinstance(solver, Newton)
    start = problem.start
    function = jax.jit(jax.value_and_grad(lambda x: objective(problem, x.reshape(start.shape))))

    def gradient(x):
        return np.asarray(function(x)[1])

    def hessian(x):
        steps = 1e-6 * np.eye(x.size)
        rows = np.stack([gradient(x + step) - gradient(x - step) for step in steps]) / 2e-6
        return 0.5 * (rows + rows.T)

    best = minimize(
        lambda x: float(function(x)[0]), np.asarray(start).ravel(), method="trust-exact", jac=gradient, hess=hessian,
        options={"gtol": 1e-7},
    )  # fmt: skip
    solution = minimise(solver, problem, Stopping(60, 1e-12, False))
    maps = solution.state.maps
    assert float(objective(problem, maps)) == pytest.approx(best.fun, rel=1e-9)
    spectra = np.asarray(problem.mean[:, None] * problem.shapes)
    np.testing.assert_allclose(
        np.tensordot(spectra, np.asarray(maps), 1), np.tensordot(spectra, best.x.reshape(start.shape), 1), rtol=1e-3
    )
    assert_never_rises(solution.history, 1e-12)
    last = solution.history[-1]
    halves = sum(last.cstat) / 2
    assert halves + last.prior_term == pytest.approx(best.fun, rel=1e-9)
    assert last.residual < 1e-9
    assert len(solution.history) < 40


def test_background_stays_out_of_the_sky(x64, sky, observe):
    plain, problem = mock(sky, observe, PRIORS["Sobolev"])
    lifted, other = mock(sky, observe, PRIORS["Sobolev"], background=5.0)
    cubes = [
        solution_cube(s, p, minimise(s, p, Stopping(40, 1e-8, False))) for s, p in ((plain, problem), (lifted, other))
    ]
    assert cubes[1].sum() < cubes[0].sum() - 100


def test_curvature_is_the_one_of_the_data(x64):
    rng = np.random.default_rng(0)
    counts, model = rng.poisson(5, (3, 2, 2)).astype(float), jnp.asarray(3 + rng.random((3, 2, 2)))
    mask = np.ones((3, 2, 2), bool)
    mask[0, 0, 0] = False
    from hifred.response import Identity

    term = PoissonTerm(Identity((3, 2, 2)), jnp.asarray(counts), jnp.zeros((3, 2, 2)), jnp.asarray(mask))
    exact = np.where(mask, counts / np.asarray(model) ** 2, 0)
    found = np.asarray(curvature(term, model))
    assert found[0, 0, 0] == 0
    np.testing.assert_allclose(found, exact, atol=2e-3 / 3)
    assert np.all(np.isfinite(curvature(term, jnp.zeros((3, 2, 2)))))


def test_outer_sums_by_loops(x64):
    rng = np.random.default_rng(0)
    spectra, weights = rng.normal(size=(5, 3)), rng.random((5, 2, 4))
    found = outer_sums(jnp.asarray(spectra), jnp.asarray(weights))
    np.testing.assert_allclose(found, np.einsum("ek,el,eyx->klyx", spectra, spectra, weights), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 1, 1), (1, 2, 2)])
def test_blocks_of_the_curvature(x64, as_matrix, factors):
    """Without a PSF they are those of the whole matrix."""
    rng = np.random.default_rng(0)
    response = Response.from_kernels((6, 2, 4), rebin=factors, dtype=np.float64)
    restricted = response.restricted(rng.random((6, 2)))
    weights = rng.random(response.out_shape)
    matrix = as_matrix(restricted, np.float64)
    whole = (matrix.T @ (weights.ravel()[:, None] * matrix)).reshape(2, 8, 2, 8)
    expected = np.einsum("kplp->klp", whole).reshape(2, 2, 2, 4)
    np.testing.assert_allclose(fisher_blocks(restricted, jnp.asarray(weights)), expected, rtol=1e-10)


def test_inverse_of_the_blocks(x64):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(2, 3, 3, 5)) * np.array([1e-3, 1, 1e3])[:, None]
    blocks, diagonal = np.einsum("yxka,yxla->klyx", root, root), rng.random((3, 2, 3))
    found = invert_blocks(jnp.asarray(blocks), jnp.asarray(diagonal))
    for y in range(2):
        for x in range(3):
            whole = blocks[:, :, y, x] + np.diag(diagonal[:, y, x])
            scale = np.sqrt(np.diagonal(whole))
            eye = found[:, :, y, x] @ whole * scale[None, :].T / scale[None, :]
            np.testing.assert_allclose(eye, np.eye(3), atol=0.05)


def test_step_is_cut_pixel_by_pixel(x64):
    relative = jnp.asarray([[[1.0, 1, 1]], [[4.0, 4, 4]]])
    direction = jnp.asarray([[[-2.0, 0.5, -0.1]]])
    along = jnp.concatenate([direction, 2 * direction])
    np.testing.assert_allclose(within_cone(direction, relative, along), [[[-0.9, 0.5, -0.1]]])


def test_restricted_operators_are_what_newton_works_on(x64, sky, observe):
    _, problem = mock(sky, observe, PRIORS["Sobolev"])
    maps = jnp.asarray(np.random.default_rng(0).random(problem.start.shape))
    cube = problem.mean[:, None, None] * problem.relative(maps)
    direct = EnergyMatrix(problem.mean[:, None] * problem.shapes, SHAPE[1:]).mv(maps)
    np.testing.assert_allclose(cube, direct, rtol=1e-12)
