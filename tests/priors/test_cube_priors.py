import numpy as np
import pytest

from hifred.priors import Starlet2D1D, Unregularized
from hifred.priors.noise import noise_scale
from hifred.solvers.rank_one import rank_one


@pytest.fixture(scope="module")
def mock(instruments, sky, observe):
    """Data terms and the rank-one model of a small observation."""
    shape, kernels = instruments
    data = observe(sky(shape), kernels)
    return [one.term() for one in data], rank_one(data)


def test_unregularized_has_no_penalty(mock):
    assert Unregularized().prepare(*mock) is None
    assert Unregularized().ends_at_noise
    assert not Unregularized(stop_at_noise=False).ends_at_noise


def test_starlet_weights_are_the_noise_times_the_strength(mock):
    prior = Starlet2D1D(strength=2.0)
    penalty = prior.prepare(*mock)
    assert not prior.ends_at_noise
    noise = noise_scale(mock[0], mock[1].cube, penalty.transform, varying=True)
    assert len(noise) == len(penalty.weights) == 11
    for weight, scatter in zip(penalty.weights, noise, strict=True):
        np.testing.assert_allclose(weight, 2 * np.asarray(scatter), rtol=1e-5)
        assert np.all(np.asarray(weight) > 0)


def test_starlet_scales(mock):
    penalty = Starlet2D1D(scales=2, energy_scales=1).prepare(*mock)
    assert len(penalty.weights) == 5
    assert len(penalty.transform.along_y) == 2
    assert penalty.transform.energy_scales == 1


def test_starlet_noise_that_varies_or_not(mock):
    varying, even = (Starlet2D1D(noise_scaled=flag).prepare(*mock) for flag in (True, False))
    for one, other in zip(varying.weights, even.weights, strict=True):
        assert np.ptp(np.asarray(one)) > 0.05 * np.asarray(one).mean()
        assert np.ptp(np.asarray(other)) < 1e-6 * np.asarray(other).mean()
        assert (np.asarray(one) ** 2).mean() == pytest.approx((np.asarray(other) ** 2).mean(), rel=0.1)
