import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred.poisson import PoissonTerm
from hifred.priors.noise import noise_scale
from hifred.priors.transform import Starlet


@eqx.filter_jit
def coefficients(terms, cube, transform, draws):
    """Coefficients of the gradient for mock counts of each draw."""

    def one(counts):
        mock = [
            PoissonTerm(t.operator, jnp.asarray(n, t.counts.dtype), t.background, t.mask)
            for t, n in zip(terms, counts, strict=True)
        ]
        gradient = mock[0].gradient(cube)
        for term in mock[1:]:
            gradient = gradient + term.gradient(cube)
        return jnp.stack(transform.analysis(gradient))

    return jax.vmap(one)(draws)


def empirical(terms, cube, transform, count):
    rng = np.random.default_rng(0)
    models = [np.asarray(t.predict(cube), float) for t in terms]
    draws = [jnp.asarray(rng.poisson(mu, (count, *mu.shape)), np.float32) for mu in models]
    return np.asarray(coefficients(terms, cube, transform, draws)).std(0)


@pytest.fixture(scope="module")
def observation(instruments, sky, observe):
    """Data terms on a cube whose brightness varies by a factor of ten over the sky."""
    shape, kernels = instruments
    cube = sky(shape) * np.exp(-np.arange(12) / 4) + 20
    return [data.term() for data in observe(cube, kernels)], jnp.asarray(cube, np.float32), shape


@pytest.mark.parametrize("varying", [True, False])
def test_noise_is_the_scatter_of_the_gradient(observation, varying):
    terms, cube, shape = observation
    transform = Starlet(shape, 2, 1, np.float32)
    found = empirical(terms, cube, transform, 100)
    predicted = noise_scale(terms, cube, transform, varying=varying)
    assert len(predicted) == len(found)
    for scatter, noise in zip(predicted, found, strict=True):
        assert scatter.shape == shape
        power = (np.asarray(scatter, float) ** 2).mean() / (noise**2).mean()
        assert np.sqrt(power) == pytest.approx(1, abs=0.25)
    if varying:
        bright = np.asarray(cube).mean((0, 1)) > np.median(np.asarray(cube).mean((0, 1)))
        for side in (bright, ~bright):
            for scatter, noise in zip(predicted, found, strict=True):
                power = (np.asarray(scatter, float)[..., side] ** 2).mean() / (noise[..., side] ** 2).mean()
                assert np.sqrt(power) == pytest.approx(1, abs=0.35)


def test_masked_bins_make_no_noise(observation):
    terms, cube, shape = observation
    transform = Starlet(shape, 1, 0, np.float32)
    half = jnp.asarray(np.arange(12) < 6)
    masked = [PoissonTerm(t.operator, t.counts, t.background, t.mask & half[: t.mask.shape[2]]) for t in terms[:1]]
    scatter = np.asarray(noise_scale(masked, cube, transform, varying=True)[0])
    whole = np.asarray(noise_scale(terms[:1], cube, transform, varying=True)[0])
    assert scatter[:, :, 11:].max() < 0.01 * whole[:, :, 11:].max()


def test_more_counts_mean_less_noise_of_the_gradient(observation):
    terms, cube, shape = observation
    transform = Starlet(shape, 1, 1, np.float32)
    faint, bright = (noise_scale(terms, c, transform, varying=True) for c in (cube, 4 * cube))
    for a, b in zip(faint, bright, strict=True):
        np.testing.assert_allclose(np.asarray(a), 2 * np.asarray(b), rtol=1e-3)


def test_same_numbers_each_time(observation):
    terms, cube, shape = observation
    transform = Starlet(shape, 1, 1, np.float32)
    first, second = (noise_scale(terms, cube, transform, varying=True) for _ in range(2))
    np.testing.assert_array_equal(jnp.stack(first), jnp.stack(second))


def test_faint_model_has_finite_noise(observation):
    terms, cube, shape = observation
    for scatter in noise_scale(terms, 1e-15 * cube, Starlet(shape, 1, 1, np.float32), varying=True):
        assert np.all(np.isfinite(np.asarray(scatter)))
        assert np.all(np.asarray(scatter) > 0)
