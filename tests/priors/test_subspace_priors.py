import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred.priors import LowRank, LowRankSobolev, LowRankStarlet
from hifred.priors.basis import Basis
from hifred.priors.rank_one import RankOne
from hifred.priors.subspace_priors import ROUNDING, NoPenalty, RoundedL1, Sobolev
from hifred.priors.transform import Starlet

SHAPE = (2, 5, 4)


def maps(seed=0, shape=SHAPE, size=1.0):
    return jnp.asarray(size * np.random.default_rng(seed).normal(size=shape))


def sobolev():
    return Sobolev(jnp.asarray([0.7, 3.0]))


def rounded(shape=SHAPE, scales=2, dtype=np.float64):
    rng = np.random.default_rng(5)
    weights = tuple(jnp.asarray(0.5 + rng.random(shape), dtype) for _ in range(scales))
    return RoundedL1(Starlet(shape, scales, 0, dtype), weights, jnp.asarray(1.3, dtype))


PENALTIES = {"none": NoPenalty, "Sobolev": sobolev, "rounded l1": rounded}


def hessian(penalty, at):
    units = jnp.asarray(np.eye(at.size).reshape(at.size, *at.shape))
    return np.asarray(eqx.filter_jit(jax.vmap(penalty.curvature(at)))(units)).reshape(at.size, -1)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("size", [0.01, 100])
def test_gradient_is_the_derivative(x64, name, size):
    penalty, at = PENALTIES[name](), maps(size=size)
    np.testing.assert_allclose(penalty.gradient(at), jax.grad(penalty.value)(at), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("size", [0.01, 1, 100])
def test_curvature_majorises(x64, name, size):
    penalty, at = PENALTIES[name](), maps(size=size)
    value, gradient, product = penalty.value(at), penalty.gradient(at), penalty.curvature(at)
    for seed in range(20):
        step = maps(seed + 1, size=10 ** np.random.default_rng(seed).uniform(-3, 2))
        above = value + (gradient * step).sum() + 0.5 * (step * product(step)).sum()
        below = penalty.value(at + step)
        assert below <= above + 1e-12 * (1 + abs(above))


@pytest.mark.parametrize("name", PENALTIES)
def test_curvature_is_symmetric_and_not_negative(x64, name):
    matrix = hessian(PENALTIES[name](), maps())
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_are_even_and_zero_at_zero(x64, name):
    penalty, at = PENALTIES[name](), maps()
    assert float(penalty.value(jnp.zeros(SHAPE))) == 0
    assert float(penalty.value(at)) == pytest.approx(float(penalty.value(-at)))


def test_no_penalty_is_zero():
    at = maps()
    assert NoPenalty().value(at) == 0
    for zero in (NoPenalty().gradient(at), NoPenalty().curvature(at)(at), NoPenalty().diagonal(at)):
        np.testing.assert_array_equal(zero, np.zeros(SHAPE))


def test_sobolev_by_loops(x64):
    at, expected = np.asarray(maps()), 0.0
    for k, weight in enumerate((0.7, 3.0)):
        for y in range(5):
            for x in range(4):
                if y + 1 < 5:
                    expected += 0.5 * weight * (at[k, y + 1, x] - at[k, y, x]) ** 2
                if x + 1 < 4:
                    expected += 0.5 * weight * (at[k, y, x + 1] - at[k, y, x]) ** 2
    assert float(sobolev().value(jnp.asarray(at))) == pytest.approx(expected, rel=1e-13)


def test_sobolev_is_its_own_quadratic(x64):
    units = np.eye(40).reshape(40, *SHAPE)
    differences = [np.diff(units, axis=axis).reshape(40, 2, -1) for axis in (2, 3)]
    exact = sum(np.einsum("k,akp,bkp->ab", [0.7, 3.0], d, d) for d in differences)
    np.testing.assert_allclose(hessian(sobolev(), maps(1)), exact, atol=1e-13)
    step = maps(2)
    parabola = sobolev().value(maps()) + (sobolev().gradient(maps()) * step).sum()
    parabola += 0.5 * np.ravel(step) @ exact @ np.ravel(step)
    assert float(sobolev().value(maps() + step)) == pytest.approx(float(parabola), rel=1e-12)


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 1, 4), (2, 5, 1), (2, 2, 2), (2, 1, 1)])
def test_sobolev_diagonal(x64, shape):
    at = maps(shape=shape)
    np.testing.assert_allclose(np.ravel(sobolev().diagonal(at)), np.diagonal(hessian(sobolev(), at)), atol=1e-13)


def test_sobolev_of_an_even_map_is_zero():
    assert sobolev().value(jnp.full(SHAPE, 3.0)) == 0


def test_rounded_l1_by_loops(x64):
    penalty, at, expected = rounded(), maps(), 0.0
    for weight, band in zip(penalty.weights, penalty.transform.analysis(at), strict=True):
        for index in np.ndindex(SHAPE):
            expected += 1.3 * (np.hypot(float(weight[index] * band[index]), ROUNDING) - ROUNDING)
    assert float(penalty.value(at)) == pytest.approx(expected, rel=1e-12)


def test_rounded_l1_is_close_to_the_l1_norm(x64):
    penalty, at = rounded(), maps(size=10)
    bands = penalty.transform.analysis(at)
    norm = 1.3 * sum(float((w * abs(b)).sum()) for w, b in zip(penalty.weights, bands, strict=True))
    assert norm - 1.3 * ROUNDING * 2 * 40 <= float(penalty.value(at)) <= norm


def test_rounded_l1_keeps_its_digits_at_small_maps():
    """In single precision, 1e-5 of the rounding: `sqrt(c^2 + d^2) - d` would be zero."""
    at = maps(size=1e-6).astype(np.float32)
    penalty = rounded(dtype=np.float32)
    with jax.enable_x64(True):
        exact = float(rounded().value(jnp.asarray(np.asarray(at), np.float64)))
    assert float(penalty.value(at)) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("size", [0.001, 0.3, 10])
def test_rounded_l1_diagonal_is_close(x64, size):
    """Within a factor of 4 on maps whose brightness varies little: it only preconditions."""
    shape = (1, 12, 12)
    penalty = rounded(shape, 3)
    at = maps(shape=shape, size=size)
    quotient = np.ravel(penalty.diagonal(at)) / np.diagonal(hessian(penalty, at))
    assert 0.25 < np.median(quotient) < 4
    if size < ROUNDING / 10:
        assert quotient.min() > 0.25
        assert quotient.max() < 4


# --- weights ---


def start(shape=(6, 8, 8)):
    rng = np.random.default_rng(0)
    return RankOne(
        jnp.full(shape[0], 1 / shape[0], np.float32), jnp.asarray(50 + 50 * rng.random(shape[1:]), np.float32)
    )


def basis(energies=6):
    variance = np.array([1, 0.04, 0.0025])
    return Basis(np.full(energies, 1 / energies), np.random.default_rng(0).normal(size=(energies, 3)), variance)


def test_low_rank_has_no_penalty():
    assert isinstance(LowRank().prepare([], start(), basis()), NoPenalty)


@pytest.mark.parametrize("weighted", [True, False])
def test_sobolev_weights(weighted):
    first = start()
    image = np.asarray(first.image, float)
    steps = np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()])
    penalty = LowRankSobolev(strength=0.4, component_weighted=weighted).prepare([], first, basis())
    expected = 0.4 / (steps**2).mean() / (basis().variance if weighted else np.ones(3))
    np.testing.assert_allclose(penalty.weight, expected, rtol=1e-5)


@pytest.mark.parametrize("sky", [(8, 8), (1, 1)])
def test_sobolev_weights_of_a_featureless_image_are_finite(sky):
    first = RankOne(jnp.full(6, 1 / 6), jnp.full(sky, 7.0))
    penalty = LowRankSobolev(strength=0.4).prepare([], first, basis())
    np.testing.assert_allclose(penalty.weight, 0.4 / 0.07**2 / basis().variance, rtol=1e-5)


@pytest.fixture(scope="module")
def mock(instruments, sky, observe):
    """Data terms on component maps, the rank-one model and the basis of a small observation."""
    from hifred.poisson import PoissonTerm
    from hifred.solvers.rank_one import rank_one

    shape, kernels = instruments
    data = observe(sky(shape), kernels)
    terms = [d.term() for d in data]
    first = rank_one(data)
    spectra = LowRank(rank=3).basis(terms[1], data[1].response, first)
    restricted = [
        PoissonTerm(d.response.restricted(spectra.spectra), t.counts, t.background, t.mask)
        for d, t in zip(data, terms, strict=True)
    ]
    return restricted, first, spectra


def test_starlet_strength_scales_the_penalty(mock):
    one, two = (LowRankStarlet(strength=s).prepare(*mock) for s in (0.5, 1.0))
    at = jnp.asarray(np.random.default_rng(0).normal(size=(3, 12, 12)), np.float32)
    assert float(two.value(at)) == pytest.approx(2 * float(one.value(at)), rel=1e-5)


def test_starlet_scales_are_the_number_of_bands(mock):
    for scales in (1, 3):
        penalty = LowRankStarlet(scales=scales).prepare(*mock)
        assert len(penalty.weights) == len(penalty.transform.analysis(jnp.zeros((3, 12, 12)))) == scales


def test_starlet_noise_that_varies_or_not(mock):
    varying, even = (LowRankStarlet(noise_scaled=flag).prepare(*mock) for flag in (True, False))
    for weight in varying.weights:
        assert np.all(np.ptp(np.asarray(weight), axis=(1, 2)) > 0.02 * np.asarray(weight).mean((1, 2)))
    for one, other in zip(varying.weights, even.weights, strict=True):
        flat = np.asarray(other)
        np.testing.assert_allclose(flat, np.broadcast_to(flat[:, :1, :1], flat.shape), rtol=1e-6)
        power = (np.asarray(one) ** 2).mean((1, 2)) / (flat**2).mean((1, 2))
        np.testing.assert_allclose(power, 1, rtol=0.1)


def test_starlet_component_weights(mock):
    plain, weighted = (LowRankStarlet(component_weighted=flag).prepare(*mock) for flag in (False, True))
    factor = 1 / np.sqrt(mock[2].variance)
    for one, other in zip(plain.weights, weighted.weights, strict=True):
        np.testing.assert_allclose(other, np.asarray(one) * factor[:, None, None], rtol=1e-5)
