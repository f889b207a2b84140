"""One test against each fault of the published code."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred import Dataset, Response, fuse, priors
from hifred.assembly import assemble
from hifred.poisson import PoissonTerm
from hifred.priors.subspace_priors import Sobolev
from hifred.priors.transform import Starlet
from hifred.response import Identity
from hifred.solvers import EM, CubeProblem, Stopping, minimise

SHAPE = (24, 12, 12)


@pytest.fixture(scope="module")
def datasets(instruments, sky, observe):
    return observe(sky(SHAPE), instruments[1])


def test_fault_1_scale_numbers_are_not_exchanged():
    """Three scales in space reach 14 pixels either side, two along energy 6 bins."""
    transform = Starlet((41, 41, 41), 3, 2, np.float32)
    coarse = np.asarray(transform.decompose(jnp.zeros((41, 41, 41)).at[20, 20, 20].set(1.0))[1])
    reach = [np.ptp(np.flatnonzero(coarse.max(axes) > 0)) // 2 for axes in ((1, 2), (0, 2), (0, 1))]
    assert reach == [6, 14, 14]
    prior = priors.Starlet2D1D()
    assert (prior.scales, prior.energy_scales) == (3, 2)


def test_fault_2_one_fixed_objective_with_weights_by_scale(datasets, assert_never_rises):
    """The weights are set once, differ between scales, and explain the prior term of every iterate."""
    prior = priors.Starlet2D1D()
    problem = assemble(datasets, prior)[1]
    levels = [float(w.mean()) for w in problem.penalty.weights]
    assert max(levels) > 2 * min(levels)
    cubes = []
    for steps in (5, 40):
        fused = fuse(datasets, prior, max_iterations=steps, tolerance=0.0, progress=False)
        assert_never_rises(fused.history)
        value = float(problem.penalty.value(jnp.asarray(fused.values)))
        assert fused.history[-1].prior_term == pytest.approx(value, rel=1e-4)
        cubes.append(fused.values)
    assert not np.array_equal(*cubes)


@pytest.mark.parametrize(
    ("prior", "options"),
    [
        (
            priors.Starlet2D1D(scales=1, energy_scales=1),
            {"strength": 3.0, "scales": 2, "energy_scales": 0, "noise_scaled": False},
        ),
        (priors.LowRankSobolev(rank=3), {"strength": 3.0, "rank": 2, "component_weighted": False}),
        (
            priors.LowRankStarlet(rank=3, scales=1),
            {"strength": 3.0, "rank": 2, "scales": 2, "noise_scaled": False, "component_weighted": True},
        ),
        (priors.LowRank(rank=3), {"rank": 2}),
        (priors.Unregularized(), {"stop_at_noise": False}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fault_3_every_option_does_something(datasets, prior, options):
    def result(prior):
        if isinstance(prior, priors.Unregularized):
            return [prior.ends_at_noise]
        problem = assemble(datasets, prior)[1]
        leaves = jax.tree.leaves((problem.penalty, getattr(problem, "shapes", None)))
        return [np.asarray(leaf) for leaf in leaves]

    assert set(options) == set(prior.__dataclass_fields__)
    plain = result(prior)
    for name, value in options.items():
        other = result(dataclasses.replace(prior, **{name: value}))
        same = len(plain) == len(other) and all(np.array_equal(a, b) for a, b in zip(plain, other, strict=True))
        assert not same, name


def test_fault_4_sobolev_costs_along_one_axis_only():
    y, x = np.mgrid[:8, :8]
    penalty = Sobolev(jnp.ones(1))
    along_y, along_x = (float(penalty.value(jnp.asarray(image[None], np.float32))) for image in (y, x))
    assert along_y == along_x == pytest.approx(0.5 * 7 * 8)
    mixed = np.diff(np.diff(y, axis=0), axis=1)
    assert not mixed.any()


def test_fault_5_basis_is_real_sorted_and_never_empty(instruments):
    shape, kernels = instruments
    response = Response.from_kernels(shape, **kernels["calorimeter"])
    for level in (0.01, 10):
        data = Dataset(np.random.default_rng(0).poisson(level, response.out_shape), response)
        problem = assemble([data], priors.LowRank())[1]
        assert problem.shapes.shape[1] >= 1
        assert problem.shapes.dtype == np.float32
        _, wide = assemble([data], priors.LowRankSobolev(rank=6))
        weights = np.asarray(wide.penalty.weight)
        assert np.all(np.diff(weights[1:]) >= 0)


@pytest.mark.parametrize("name", ["LowRank", "LowRankSobolev", "LowRankStarlet"])
def test_fault_6_positive_and_in_the_subspace_at_once(instruments, sky, observe, name):
    """Few counts and a dark rim: where clipping and projecting would fight each other."""
    shape, kernels = instruments
    cube = sky(shape, 2e4)
    cube[:, :3] = 0
    data = observe(cube, kernels)
    prior = getattr(priors, name)(rank=3)
    fused = fuse(data, prior, progress=False)
    assert fused.values.min() >= 0
    problem = assemble(data, prior)[1]
    spectra = np.asarray(problem.mean[:, None] * problem.shapes, float)
    flat = fused.values.astype(float).reshape(len(spectra), -1)
    scale = np.asarray(problem.mean, float)[:, None]
    left = np.linalg.lstsq(spectra / scale, flat / scale, rcond=None)[0]
    np.testing.assert_allclose(spectra @ left, flat, atol=1e-4 * flat.max())


def test_fault_7_reported_cost_is_the_one_minimised(datasets):
    """It includes the prior, and value and gradient speak of the same bins, faint ones too."""
    fused = fuse(datasets, priors.Starlet2D1D(), max_iterations=10, progress=False)
    assert np.all(fused.history.prior_term > 0)
    np.testing.assert_allclose(fused.history.objective, fused.history.data_term + fused.history.prior_term)
    rng = np.random.default_rng(0)
    shape = (4, 3, 3)
    counts = jnp.asarray(rng.poisson(1, shape), np.float32)
    term = PoissonTerm(Identity(shape), counts, jnp.zeros(shape), jnp.asarray(rng.random(shape) > 0.2))
    faint = jnp.asarray(10.0 ** rng.uniform(-6, 1, shape), np.float32)
    np.testing.assert_allclose(term.gradient(faint), jax.grad(term.value)(faint), rtol=1e-5)


def test_fault_8_nan_is_never_replaced(datasets):
    """Not in the data, which are refused; not in a run, which says that it diverged."""
    counts = datasets[0].counts.copy()
    counts[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="1 that are nan or infinite"):
        Dataset(counts, datasets[0].response)
    term = datasets[0].term()
    start = jnp.ones(SHAPE).at[3, 3, 3].set(jnp.nan)
    assert np.isnan(np.asarray(term.gradient(start))).any()
    solution = minimise(EM(), CubeProblem.of([term], start), Stopping(5, 1e-4, False))
    assert solution.status.word == "diverged"


@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_fault_9_transpose_is_exact_at_the_edges(x64, boundary, as_matrix):
    rng = np.random.default_rng(0)
    kernels = {"psf": rng.random((5, 5)), "lsf": rng.random(7), "rebin": (2, 2, 1)}
    response = Response.from_kernels((6, 6, 5), **kernels, boundary=boundary, dtype=np.float64)
    forward = as_matrix(response.operator, np.float64)
    back = as_matrix(response.operator.T, np.float64)
    np.testing.assert_allclose(back, forward.T, atol=1e-13)
    edge = np.zeros((6, 6, 5), bool)
    edge[[0, -1]] = edge[:, [0, -1]] = edge[:, :, [0, -1]] = True
    sensitivity = np.asarray(response.T.mv(np.ones(response.out_shape)))
    np.testing.assert_allclose(sensitivity[edge], forward.sum(0).reshape(6, 6, 5)[edge], rtol=1e-12)


def test_fault_10_each_data_set_keeps_its_own_area(instruments, sky, observe):
    """The sky comes out in photons per cm2 and s for any pair of areas; exchanged areas do not fit."""
    shape, kernels = instruments
    truth = sky(shape) / 100
    energy = np.linspace(0, 1, shape[0])
    areas = {"camera": 150 * (1.5 - energy), "calorimeter": 30 * (0.5 + energy)}
    data = observe(truth, {name: {**one, "area": areas[name]} for name, one in kernels.items()})
    prior = priors.LowRankSobolev(rank=3)
    right = fuse(data, prior, progress=False)
    assert right.values.sum() == pytest.approx(truth.sum(), rel=0.02)
    exchanged = [
        Dataset(d.counts, Response.from_kernels(shape, **kernels[d.name], area=areas[other]), name=d.name)
        for d, other in zip(data, ("calorimeter", "camera"), strict=True)
    ]
    wrong = fuse(exchanged, prior, progress=False)
    assert wrong.history[-1].cstat.sum() > 1.5 * right.history[-1].cstat.sum()


def test_fault_11_background_both_blurs_and_pixels_of_their_own(instruments, sky):
    """Each instrument with a PSF that varies with energy, a redistribution matrix, a background, and its own pixels."""
    shape, kernels = instruments
    truth = sky(shape)
    widths = np.linspace(0.8, 1.4, shape[0])[:, None, None]
    psf = np.exp(-0.5 * (np.hypot(*np.mgrid[-3:4, -3:4]) / widths) ** 2)
    matrix = np.exp(-0.5 * ((np.arange(20)[:, None] * 1.2 - np.arange(24)) / 1.5) ** 2)
    responses = {
        "camera": Response.from_kernels(shape, psf=psf, lsf=kernels["camera"]["lsf"], rebin=(3, 1, 2)),
        "calorimeter": Response.from_kernels(shape, psf=kernels["calorimeter"]["psf"], lsf=matrix, rebin=(1, 4, 3)),
    }
    data = []
    for i, (name, response) in enumerate(responses.items()):
        background = 0.5 * response.mv(truth).mean() * np.ones(response.out_shape)
        data.append(Dataset(np.zeros(response.out_shape), response, background, name=name).sample(truth, i))
    assert [d.counts.shape for d in data] == [(8, 12, 6), (20, 3, 4)]
    fused = fuse(data, priors.Unregularized(), progress=False)
    assert fused.status == "noise_reached"
    assert fused.values.sum() == pytest.approx(truth.sum(), rel=0.1)
    for d in data:
        mean, variance = d.expected_cstat(fused.values)
        assert abs(d.cstat(fused.values) - mean) < 8 * np.sqrt(variance)
