import numpy as np
import pytest

from hifred import Dataset, Response
from hifred.priors.basis import MAX_AUTOMATIC_RANK, _left_vectors, noise_edge, principal_spectra, signal_power
from hifred.solvers.rank_one import rank_one

SKY = (12, 12)


def observation(spectra, maps, **kernels):
    """Data of one instrument: `sum_k spectra[k] maps[k]`."""
    cube = np.einsum("ke,kyx->eyx", spectra, maps)
    response = Response.from_kernels(cube.shape, **kernels)
    data = Dataset(np.zeros(response.out_shape), response).sample(cube)
    return data, data.term()


def three_components(photons):
    rng = np.random.default_rng(0)
    energy = np.arange(40)
    spectra = np.stack([np.exp(-energy / 20), *(np.exp(-0.5 * ((energy - at) / 2) ** 2) for at in (12, 28))])
    y, x = np.mgrid[-1 : 1 : SKY[0] * 1j, -1 : 1 : SKY[1] * 1j]
    maps = np.stack([1 + 0.3 * rng.random(SKY), np.exp(-3 * (x + 0.4) ** 2), np.exp(-3 * (y - 0.4) ** 2)])
    scale = photons / np.einsum("ke,kyx->", spectra, maps)
    return spectra, scale * maps


def basis(data, term, rank=None):
    return principal_spectra(term, data.response, rank_one([data]), rank)


def largest_angle(found, truth):
    """Largest angle, in radians, between the truth and the subspace found."""
    q, _ = np.linalg.qr(found)
    p, _ = np.linalg.qr(truth)
    return np.arccos(np.clip(np.linalg.svd(q.T @ p)[1].min(), -1, 1))


def test_noise_edge_bounds_pure_noise():
    singular = np.linalg.svd(np.random.default_rng(0).normal(size=(200, 80)))[1]
    assert singular[0] == pytest.approx(noise_edge(200, 80), rel=0.05)
    assert noise_edge(200, 80) == noise_edge(80, 200)


@pytest.mark.parametrize(("channels", "pixels"), [(100, 30), (30, 100), (5, 5)])
def test_signal_power_there_and_back(channels, pixels):
    power = np.array([50, 4, 1.2, 1.01]) * np.sqrt(channels * pixels)
    singular = np.sqrt((power + channels) * (power + pixels) / power)
    np.testing.assert_allclose(signal_power(singular, channels, pixels), power, rtol=1e-9)


def test_signal_power_below_the_edge_is_zero():
    edge = noise_edge(100, 30)
    found = signal_power(np.array([1.001, 0.999, 0.5, 0]) * edge, 100, 30)
    assert found[0] > 0
    np.testing.assert_array_equal(found[1:], 0)


def test_signal_power_of_simulated_noise():
    rng = np.random.default_rng(0)
    left, right = np.linalg.qr(rng.normal(size=(200, 1)))[0], np.linalg.qr(rng.normal(size=(80, 1)))[0]
    matrix = 40 * left @ right.T + rng.normal(size=(200, 80))
    found = signal_power(np.linalg.svd(matrix)[1], 200, 80)
    assert np.sqrt(found[0]) == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (6, 6)])
def test_left_vectors_are_those_of_the_svd(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    vectors, singular = _left_vectors(matrix)
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    count = min(shape)
    np.testing.assert_allclose(singular[:count], s, rtol=1e-8)
    np.testing.assert_allclose(abs((vectors[:, :count] * u).sum(0)), 1, rtol=1e-8)
    assert np.all(vectors.sum(0) >= 0)


def test_left_vectors_of_nothing():
    vectors, singular = _left_vectors(np.zeros((4, 3)))
    assert np.all(np.isfinite(vectors))
    np.testing.assert_array_equal(singular, 0)


def test_recovers_the_subspace_of_three_components():
    spectra, maps = three_components(3e6)
    found = basis(*observation(spectra, maps), rank=3)
    assert found.spectra.shape == (40, 3)
    assert largest_angle(found.spectra, spectra.T) < 0.05


def test_recovers_it_through_area_and_redistribution():
    """A line response well below the width of the lines, and an area that falls by ten."""
    spectra, maps = three_components(3e6)
    area = np.exp(-np.arange(40) / 17)
    found = basis(*observation(spectra, maps, area=area, lsf=[0.25, 0.5, 0.25], boundary="reflect"), rank=3)
    assert largest_angle(found.spectra, spectra.T) < 0.15


def test_real_sorted_and_led_by_the_mean():
    found = basis(*observation(*three_components(1e6)), rank=8)
    for array in (found.mean, found.shapes, found.variance, found.spectra):
        assert array.dtype == np.float64
    assert found.mean.sum() == pytest.approx(1, rel=1e-5)
    assert np.all(found.mean > 0)
    np.testing.assert_array_equal(found.shapes[:, 0], 1)
    assert found.variance[0] == 1
    assert np.all(np.diff(found.variance[1:]) <= 0)
    assert np.all(found.variance > 0)
    np.testing.assert_allclose(found.spectra, found.mean[:, None] * found.shapes)


def test_fewer_photons_show_fewer_components():
    ranks = [basis(*observation(*three_components(photons))).shapes.shape[1] for photons in (1e3, 1e4, 1e6)]
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    # Where the sky is far from rank one, its noise is not that of the model: one more may pass the edge.
    assert 3 <= ranks[-1] <= 4


@pytest.mark.parametrize("level", [0.02, 1, 100])
def test_pure_noise_has_at_least_the_mean(level):
    found = basis(*observation(np.ones((1, 40)), np.full((1, *SKY), level)))
    assert 1 <= found.shapes.shape[1] <= 2
    assert np.all(np.isfinite(found.spectra))


def test_empty_data_has_the_mean():
    response = Response.from_kernels((40, *SKY))
    data = Dataset(np.zeros(response.out_shape), response)
    found = basis(data, data.term())
    assert found.shapes.shape == (40, 1)
    assert np.all(np.isfinite(found.spectra))


def test_automatic_rank_is_bounded():
    rng = np.random.default_rng(0)
    found = basis(*observation(rng.random((40, 40)), 1e4 * rng.random((40, *SKY))))
    assert found.shapes.shape[1] == MAX_AUTOMATIC_RANK


def test_rank_beyond_the_data():
    data, term = observation(*three_components(1e4), rebin=(8, 1, 1))
    assert basis(data, term, rank=6).shapes.shape == (40, 6)
    with pytest.raises(ValueError, match="rank: expected at most 6 with these data, found 7"):
        basis(data, term, rank=7)


def test_masked_pixels_do_not_speak():
    spectra, maps = three_components(1e6)
    data, _ = observation(spectra, maps)
    mask = np.ones(data.counts.shape, bool)
    mask[:, 3, 4] = mask[7] = False
    found = []
    for fill in (0, 1e5):
        counts = np.where(mask, data.counts, fill)
        masked = Dataset(counts, data.response, mask=mask)
        found.append(basis(masked, masked.term()).spectra)
    np.testing.assert_array_equal(*found)


def test_background_is_not_a_component():
    """A flat background of half the counts changes the spectrum of the counts from place to place, not of the sky."""
    spectra, maps = three_components(3e6)
    cube = np.einsum("e,yx->eyx", spectra[0], maps[1])
    response = Response.from_kernels(cube.shape)
    data = Dataset(np.zeros(cube.shape), response, background=float(cube.mean())).sample(cube)
    assert basis(data, data.term()).shapes.shape[1] <= 2
