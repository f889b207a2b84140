import jax.numpy as jnp
import numpy as np
import pytest

from hifred import CubeGrid, Dataset, Response

SHAPE = (12, 6, 5)


@pytest.fixture(scope="module")
def response():
    return Response.from_kernels(SHAPE, psf=np.ones((3, 3)), lsf=[1, 2, 1], area=np.linspace(1, 2, 12), rebin=(3, 2, 1))


@pytest.fixture(scope="module")
def sky():
    return np.random.default_rng(3).gamma(1.0, 4.0, SHAPE)


def test_predict_is_the_response_and_the_background(response, sky):
    background = np.arange(60.0).reshape(4, 3, 5)
    data = Dataset(np.zeros((4, 3, 5)), response, background)
    np.testing.assert_allclose(data.predict(sky), np.asarray(response.mv(sky)) + background, rtol=1e-6)
    np.testing.assert_allclose(data.predict(np.zeros(SHAPE)), background, rtol=1e-6)
    assert isinstance(data.predict(sky), np.ndarray)


def test_a_background_may_be_a_number_or_a_spectrum(response):
    counts = np.zeros((4, 3, 5))
    np.testing.assert_array_equal(Dataset(counts, response, 2).background, np.full((4, 3, 5), 2.0))
    spectrum = np.arange(4.0)[:, None, None]
    np.testing.assert_array_equal(Dataset(counts, response, spectrum).background, spectrum * np.ones((4, 3, 5)))


def test_samples_have_the_mean_and_variance_of_their_expectation(response, sky):
    data = Dataset(np.zeros((4, 3, 5)), response, background=3.0, name="mock")
    expected = data.predict(sky)
    draws = np.stack([data.sample(sky, seed).counts for seed in range(300)])
    error = (draws.mean(0) - expected) / np.sqrt(expected / 300)
    assert abs(error.mean()) < 5 / np.sqrt(error.size)
    assert abs(error).max() < 5
    assert ((draws - expected) ** 2 / expected).mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(draws, np.round(draws))


def test_a_sample_keeps_all_but_the_counts(response, sky):
    grid = CubeGrid(np.linspace(1, 2, 13), SHAPE[1:])
    mask = np.ones((4, 3, 5), bool)
    mask[0] = False
    data = Dataset(np.zeros((4, 3, 5)), response, 1.0, mask, "mock", grid)
    mock = data.sample(sky, 7)
    assert (mock.response, mock.grid, mock.name) == (response, grid, "mock")
    np.testing.assert_array_equal(mock.mask, mask)
    np.testing.assert_array_equal(mock.background, data.background)
    np.testing.assert_array_equal(data.sample(sky, 7).counts, mock.counts)
    np.testing.assert_array_equal(data.sample(sky, np.random.default_rng(7)).counts, mock.counts)
    assert not np.array_equal(data.sample(sky, 8).counts, mock.counts)
    assert data.counts.sum() == 0


@pytest.mark.parametrize("brightness", [0.01, 0.5, 20.0])
def test_cstat_at_the_truth_is_the_expected_one(brightness, response, sky):
    mask = np.ones((4, 3, 5), bool)
    mask[1, 1] = False
    data = Dataset(np.zeros((4, 3, 5)), response, 0.01, mask)
    truth = brightness * sky
    mean, variance = data.expected_cstat(truth)
    values = np.array([data.sample(truth, seed).cstat(truth) for seed in range(200)])
    assert abs(values.mean() - mean) < 5 * np.sqrt(variance / 200)
    assert values.var() == pytest.approx(variance, rel=0.5)


def test_masked_bins_do_not_count(response, sky):
    mask = np.ones((4, 3, 5), bool)
    mask[2] = False
    counts = Dataset(np.zeros((4, 3, 5)), response).sample(sky).counts
    spoilt = counts.copy()
    spoilt[2] = 1e6
    assert Dataset(spoilt, response, mask=mask).cstat(sky) == Dataset(counts, response, mask=mask).cstat(sky)
    assert Dataset(spoilt, response).cstat(sky) > 1e6


def test_a_count_where_nothing_is_expected_is_impossible(response):
    counts = np.zeros((4, 3, 5))
    assert Dataset(counts, response).cstat(np.zeros(SHAPE)) == 0
    counts[0, 0, 0] = 1
    assert Dataset(counts, response).cstat(np.zeros(SHAPE)) == np.inf


@pytest.mark.parametrize("change", [
    lambda a: a.astype(np.int64),
    lambda a: a.astype(np.uint8),
    lambda a: a.astype(">f4"),
    lambda a: a.astype(">i2"),
    np.asfortranarray,
    lambda a: np.repeat(a, 2, 2)[:, :, ::2],
    lambda a: a[::-1][::-1],
    lambda a: a.tolist(),
])  # fmt: skip
def test_counts_of_any_kind_are_the_same_counts(change, response, sky):
    counts = np.minimum(Dataset(np.zeros((4, 3, 5)), response).sample(sky).counts, 255)
    plain, other = Dataset(counts, response), Dataset(change(counts), response)
    np.testing.assert_array_equal(other.counts, plain.counts)
    assert other.counts.dtype == response.dtype == np.float32
    assert other.counts.dtype.isnative
    assert other.cstat(sky) == plain.cstat(sky)
    assert float(other.term().value(jnp.asarray(sky, jnp.float32))) == pytest.approx(plain.cstat(sky) / 2, rel=1e-5)


def test_the_data_set_has_its_own_arrays(response):
    counts = np.ones((4, 3, 5), np.float32)
    mask = np.ones((4, 3, 5), bool)
    background = np.ones((4, 3, 5), np.float32)
    data = Dataset(counts, response, background, mask)
    counts[:], mask[:], background[:] = 7, False, 7
    assert data.counts.sum() == 60
    assert data.mask.all()
    assert data.background.sum() == 60


def changed(value, at=0):
    array = np.ones((4, 3, 5))
    array.flat[at] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": changed(-1)}, r"mock: counts: expected values of at least 0, found -1"),
        ({"counts": changed(np.nan)}, r"mock: counts: expected finite values, found 1 that"),
        ({"counts": changed(-np.inf)}, r"mock: counts: expected finite values, found 1 that"),
        ({"counts": np.ones((4, 5, 3))}, r"mock: counts: expected shape \(4, 3, 5\).*found \(4, 5, 3\)"),
        ({"counts": np.ones(60)}, r"mock: counts: expected shape \(4, 3, 5\).*found \(60,\)"),
        ({"counts": np.full((4, 3, 5), "x")}, r"mock: counts: expected real numbers, found <U1"),
        ({"counts": np.full((4, 3, 5), 1j)}, r"mock: counts: expected real numbers"),
        ({"counts": np.full((4, 3, 5), None)}, r"mock: counts: expected real numbers, found object"),
        ({"counts": np.full((4, 3, 5), np.timedelta64(1))}, r"mock: counts: expected real numbers, found timedelta64"),
        ({"background": -0.1}, r"mock: background: expected values of at least 0, found -0.1"),
        ({"background": np.inf}, r"mock: background: expected finite"),
        ({"background": np.ones(4)}, r"mock: background: expected a number or shape \(4, 3, 5\), found \(4,\)"),
        ({"background": np.ones((1, 4, 3, 5))}, r"mock: background: expected a number or shape \(4, 3, 5\)"),
        ({"mask": np.ones((4, 3, 5))}, r"mock: mask: expected bool"),
        ({"mask": np.ones((3, 5), bool)}, r"mock: mask: expected bool of shape \(4, 3, 5\), found bool of \(3, 5\)"),
        ({"mask": np.zeros((4, 3, 5), bool)}, r"mock: mask: expected some bins to use, found none"),
        ({"grid": CubeGrid([1, 2, 3], (6, 5))}, r"mock: grid: expected shape \(12, 6, 5\), found \(2, 6, 5\)"),
        ({"counts": changed(1e19)}, r"mock: counts: expected values of at most 1e\+18, found 1e\+19"),
        ({"background": 1e39}, r"mock: background: expected values of at most 3.4e\+38, found 1e\+39"),
        ({"background": "low"}, r"mock: background: expected real numbers"),
        ({"exposure": 0.0}, r"mock: exposure: expected a positive number of s, found 0"),
        ({"exposure": -5}, r"mock: exposure: expected a positive number of s, found -5"),
        ({"exposure": "100"}, r"mock: exposure: expected a number, found '100'"),
        ({"exposure": 10**400}, r"mock: exposure: expected a number, found 1000"),
        ({"response": 3}, r"mock: response: expected a Response, found int"),
        ({"grid": 3}, r"mock: grid: expected a CubeGrid, found int"),
        ({"provenance": "mine"}, r"mock: provenance: expected a dict, found str"),
    ],
)
def test_bad_arguments_are_named(arguments, message, response, unchecked):
    with pytest.raises(ValueError, match=message):
        Dataset(**{"counts": np.ones((4, 3, 5)), "response": response, "name": "mock", **arguments})


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.uint8, np.int64, bool])
def test_numbers_may_be_of_any_kind(kind, response):
    found = Dataset(np.ones((4, 3, 5), kind), response, kind(1))
    assert found.counts.dtype == found.background.dtype == response.dtype
    np.testing.assert_array_equal(found.counts, found.background)


def test_masked_counts_may_be_anything_finite(response):
    # What a masked bin holds is checked too: a file with nan under its mask is refused, not guessed at.
    mask = np.ones((4, 3, 5), bool)
    mask.flat[0] = False
    with pytest.raises(ValueError, match="finite"):
        Dataset(changed(np.nan), response, mask=mask)
    assert Dataset(changed(1e6), response, mask=mask).counts.max() == 1e6


def test_a_cube_of_another_shape_is_refused(response, sky):
    data = Dataset(np.ones((4, 3, 5)), response)
    for call in (data.predict, data.sample, data.cstat, data.expected_cstat):
        with pytest.raises(ValueError, match=r"expected an array of shape \(12, 6, 5\), found \(12, 5, 6\)"):
            call(sky.transpose(0, 2, 1))


def test_nan_in_a_cube_is_not_turned_into_counts(response, sky):
    data = Dataset(np.ones((4, 3, 5)), response)
    spoilt = sky.copy()
    spoilt[0, 0, 0] = np.nan
    assert np.isnan(data.predict(spoilt)).any()
    assert np.isnan(data.cstat(spoilt))
    with pytest.raises(ValueError, match=r"lam|finite"):
        data.sample(spoilt)
