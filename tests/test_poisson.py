import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred.poisson import PoissonTerm, expected_cstat, half_deviance, ratio
from hifred.response import Diagonal, EnergyMatrix, FFTConvolution, Identity
from hifred.response.sky import fft_convolution

SHAPE = (4, 3, 2)


def term(counts=None, background=0.0, mask=None, operator=None, dtype=np.float64):
    rng = np.random.default_rng(0)
    if operator is None:
        operator = EnergyMatrix(jnp.asarray(rng.random((5, 4)), dtype), SHAPE[1:])
    shape = operator.out_shape
    counts = rng.poisson(3, shape) if counts is None else counts
    mask = np.ones(shape, bool) if mask is None else mask
    background = np.broadcast_to(np.asarray(background, dtype), shape)
    return PoissonTerm(operator, jnp.asarray(counts, dtype), jnp.asarray(background), jnp.asarray(mask))


def cash(model, counts):
    """Half the C-stat, bin by bin."""
    out = np.array(model, float) - counts
    for index in np.ndindex(counts.shape):
        if counts[index] > 0:
            out[index] += counts[index] * np.log(counts[index] / model[index])
    return out


def kaastra(mu):
    """Fits of Kaastra (2017) to the mean of one bin's C-stat."""
    if mu <= 0.5:
        return -0.25 * mu**3 + 1.38 * mu**2 - 2 * mu * np.log(mu)
    if mu <= 2:
        return -0.00335 * mu**5 + 0.04259 * mu**4 - 0.27331 * mu**3 + 1.381 * mu**2 - 2 * mu * np.log(mu)
    if mu <= 5:
        return 1.019275 + 0.1345 * mu ** (0.461 - 0.9 * np.log(mu))
    if mu <= 10:
        return 1.00624 + 0.604 / mu**1.68
    return 1 + 0.1649 / mu + 0.226 / mu**2


def test_half_deviance_bin_by_bin(x64):
    rng = np.random.default_rng(0)
    model, counts = rng.random(50) * 10, rng.poisson(2, 50).astype(float)
    np.testing.assert_allclose(half_deviance(jnp.asarray(model), jnp.asarray(counts)), cash(model, counts), atol=1e-13)
    assert half_deviance(jnp.asarray(3.0), jnp.asarray(3.0)) == 0


def test_empty_bins_and_empty_models():
    value = half_deviance(jnp.array([0.0, 2, 0, 5]), jnp.array([0.0, 0, 3, 5]))
    np.testing.assert_array_equal(value, [0, 2, np.inf, 0])
    assert half_deviance(jnp.array(-1.0), jnp.array(1.0)) == np.inf


def test_ratio_is_finite_everywhere():
    found = ratio(jnp.array([0.0, 0, 2, 4]), jnp.array([0.0, 3, 0, 2]))
    assert np.all(np.isfinite(found))
    np.testing.assert_array_equal(found[jnp.array([0, 2, 3])], [0, 0, 0.5])


@pytest.mark.parametrize("background", [0.0, 0.3])
def test_gradient_is_the_derivative_of_the_value(x64, background):
    rng = np.random.default_rng(1)
    mask = rng.random((5, 3, 2)) > 0.3
    data = term(background=background, mask=mask)
    cube = jnp.asarray(rng.random(SHAPE) + 0.2)
    gradient = data.gradient(cube)
    derivative = eqx.filter_jit(lambda data, cube: jax.grad(data.value)(cube))(data, cube)
    np.testing.assert_allclose(gradient, derivative, rtol=1e-11, atol=1e-12)
    for _ in range(5):
        along = jnp.asarray(rng.normal(size=SHAPE))
        step = 1e-5
        slope = (data.value(cube + step * along) - data.value(cube - step * along)) / (2 * step)
        assert float((gradient * along).sum()) == pytest.approx(float(slope), rel=1e-7)


def test_value_is_the_masked_sum(x64):
    rng = np.random.default_rng(1)
    mask = rng.random((5, 3, 2)) > 0.5
    data = term(background=0.1, mask=mask)
    cube = rng.random(SHAPE)
    model = np.tensordot(np.asarray(data.operator.matrix), cube, 1) + 0.1
    np.testing.assert_allclose(data.predict(jnp.asarray(cube)), model, rtol=1e-13)
    expected = np.where(mask, cash(model, np.asarray(data.counts)), 0)
    assert float(data.value(jnp.asarray(cube))) == pytest.approx(expected.sum(), rel=1e-12)
    np.testing.assert_allclose(data.half_cstat(jnp.asarray(model)), expected.sum((1, 2)), rtol=1e-12)


def test_masked_bins_never_count():
    mask = np.ones((5, 3, 2), bool)
    mask[0] = mask[3, 1, 1] = False
    counts = np.random.default_rng(0).poisson(3, mask.shape).astype(float)
    wild = np.where(mask, counts, 1e6)
    cube = jnp.asarray(np.random.default_rng(1).random(SHAPE), np.float32)
    calm, other = (term(c, mask=mask, dtype=np.float32) for c in (counts, wild))
    assert calm.value(cube) == other.value(cube)
    np.testing.assert_array_equal(calm.gradient(cube), other.gradient(cube))
    np.testing.assert_array_equal(calm.back_ratio(calm.predict(cube)), other.back_ratio(other.predict(cube)))


def test_masked_empty_model_with_a_count_is_no_infinity():
    mask = np.array([True, False]).reshape(2, 1, 1)
    data = term(np.full((2, 1, 1), 3.0), mask=mask, operator=Identity((2, 1, 1)), dtype=np.float32)
    cube = jnp.asarray([[[3.0]], [[0.0]]])
    assert data.value(cube) == 0
    assert np.all(np.isfinite(data.gradient(cube)))


def test_zero_counts_and_zero_model(x64):
    counts = np.zeros((5, 3, 2))
    data = term(counts)
    cube = jnp.zeros(SHAPE)
    assert data.value(cube) == 0
    np.testing.assert_allclose(data.gradient(cube), data.sensitivity())
    np.testing.assert_allclose(jax.grad(data.value)(cube), data.sensitivity())


def test_count_over_empty_model():
    data = term(np.ones((5, 3, 2)), dtype=np.float32)
    cube = jnp.zeros(SHAPE, np.float32)
    assert data.value(cube) == np.inf
    assert np.all(np.isfinite(data.gradient(cube)))
    assert np.all(np.asarray(data.gradient(cube)) < 0)


def test_gradient_over_empty_model_is_finite_for_a_large_area():
    """A deep exposure: 1e8 cm2 s and 1000 counts in the bin."""
    operator = Diagonal(jnp.full((1, 1, 1), 1e8), (2, 1, 1))
    data = term(np.full((2, 1, 1), 1000.0), operator=operator, dtype=np.float32)
    assert np.all(np.isfinite(data.gradient(jnp.zeros((2, 1, 1)))))


def test_background_alone_explains_the_counts(x64):
    data = term(np.full((5, 3, 2), 2.0), background=2.0)
    cube = jnp.zeros(SHAPE)
    assert data.value(cube) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(data.gradient(cube), 0, atol=1e-12)


def test_sensitivity_is_the_transposed_mask(x64, as_matrix):
    mask = np.random.default_rng(1).random((5, 3, 2)) > 0.5
    data = term(mask=mask)
    expected = as_matrix(data.operator, np.float64).T @ mask.ravel()
    np.testing.assert_allclose(np.ravel(data.sensitivity()), expected, rtol=1e-12)


def test_change_is_the_difference_of_values(x64):
    rng = np.random.default_rng(1)
    mask = rng.random((5, 3, 2)) > 0.3
    data = term(background=0.1, mask=mask)
    models = [data.predict(jnp.asarray(rng.random(SHAPE))) for _ in range(2)]
    difference = data.half_cstat(models[1]).sum() - data.half_cstat(models[0]).sum()
    assert float(data.change(*models)) == pytest.approx(float(difference), rel=1e-11)


@pytest.mark.parametrize("relative", [1e-2, 1e-4, 1e-6])
def test_change_is_accurate_for_close_models(relative):
    """In single precision, with 1e4 counts per bin, where the difference of two sums has no digits left."""
    rng = np.random.default_rng(0)
    shape = (8, 20, 20)
    truth = 1e4 * (1 + rng.random(shape))
    counts = rng.poisson(truth).astype(np.float32)
    model = truth.astype(np.float32)
    new = (truth * (1 + relative * rng.normal(size=shape))).astype(np.float32)
    data = term(counts, operator=Identity(shape), dtype=np.float32)
    before, after = model.astype(float), new.astype(float)
    expected = (after - before - counts * np.log1p((after - before) / before)).sum()
    found = float(data.change(jnp.asarray(model), jnp.asarray(new)))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_change_to_an_empty_model():
    data = term(np.array([1.0, 0]).reshape(2, 1, 1), operator=Identity((2, 1, 1)), dtype=np.float32)
    full, empty = jnp.ones((2, 1, 1)), jnp.asarray([[[0.0]], [[1.0]]])
    assert data.change(full, empty) == np.inf
    assert data.change(full, jnp.asarray([[[1.0]], [[0.0]]])) == -1


def test_nan_stays_nan():
    data = term(np.ones((2, 1, 1)), operator=Identity((2, 1, 1)), dtype=np.float32)
    assert np.isnan(data.value(jnp.full((2, 1, 1), np.nan)))
    assert np.isnan(data.gradient(jnp.full((2, 1, 1), np.nan))).all()


def test_value_through_an_fft():
    """Rounding of the FFT must not make a dark corner's model negative and its value infinite."""
    psf = np.exp(-0.5 * np.hypot(*np.mgrid[-3:4, -3:4]) ** 2)
    operator = fft_convolution(psf / psf.sum(), (1, 32, 32), np.float32, reflect=False)
    assert isinstance(operator, FFTConvolution)
    cube = jnp.zeros((1, 32, 32)).at[0, 5, 5].set(1e7).at[0, 25, 25].set(1)
    counts = np.zeros((1, 32, 32), np.float32)
    counts[0, 25, 25] = counts[0, 28, 28] = 1
    assert np.isfinite(term(counts, operator=operator, dtype=np.float32).value(cube))


@pytest.mark.parametrize("mu", [0.01, 0.1, 0.4, 0.6, 1, 1.9, 2.5, 4.5, 6, 9, 12, 50, 300])
def test_expected_cstat_against_published_fits(mu):
    assert expected_cstat(np.array([mu]))[0] == pytest.approx(kaastra(mu), rel=0.01)


@pytest.mark.parametrize("mu", [0.05, 0.7, 3, 20, 2000])
def test_expected_cstat_against_draws(mu):
    counts = np.random.default_rng(0).poisson(mu, 200_000)
    values = 2 * (mu - counts + counts * np.log(np.where(counts > 0, counts / mu, 1)))
    mean, variance = expected_cstat(np.array([mu]))
    error = values.std() / np.sqrt(values.size)
    assert abs(values.mean() - mean) < 4 * error + 2e-4
    assert values.var() == pytest.approx(variance, rel=0.05)


def test_expected_cstat_adds_up_and_leaves_masked_bins_out():
    model = np.array([[[0.3, 2, 40]]])
    mean, variance = expected_cstat(model)
    singles = [expected_cstat(np.array([mu])) for mu in (0.3, 2, 40)]
    assert mean == pytest.approx(sum(m for m, _ in singles))
    assert variance == pytest.approx(sum(v for _, v in singles))
    masked = expected_cstat(model, np.array([[[True, False, True]]]))
    assert masked == pytest.approx((mean - singles[1][0], variance - singles[1][1]))


def test_expected_cstat_of_nothing_and_next_to_nothing():
    assert expected_cstat(np.zeros(3)) == (0, 0)
    mean, variance = expected_cstat(np.array([1e-12]))
    assert mean == pytest.approx(-2e-12 * np.log(1e-12), rel=0.5)
    assert 0 < variance < 1e-8


def test_expected_cstat_is_that_of_mock_counts(instruments, sky, observe):
    shape, kernels = instruments
    cube = sky(shape)
    for data in observe(cube, kernels):
        mean, variance = data.expected_cstat(cube)
        assert abs(data.cstat(cube) - mean) < 4 * np.sqrt(variance)
