import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.signal import convolve2d

from hifred.response import Composition, FFTConvolution, Identity, SkyMatrix, SkyRebin
from hifred.response import sky as module
from hifred.response.sky import fft_convolution, sky_matrix, sky_operator


def blurred(image, psf, reflect):
    """Direct convolution of the padded image."""
    half = [(n // 2, n // 2) for n in psf.shape]
    padded = np.pad(image, half, mode="reflect") if reflect else np.pad(image, half)
    return convolve2d(padded, psf, mode="valid")


def summed(image, factors):
    ny, nx = image.shape[0] // factors[0], image.shape[1] // factors[1]
    return image.reshape(ny, factors[0], nx, factors[1]).sum((1, 3))


sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
kernels = st.tuples(st.sampled_from([1, 3, 5, 9]), st.sampled_from([1, 3, 5, 9]))


@settings(max_examples=7)
@given(sky=sizes, psf=kernels, reflect=st.booleans(), seed=st.integers(0, 99), varies=st.booleans())
def test_fft_against_direct_convolution(assert_dot, apply, sky, psf, reflect, seed, varies):
    rng = np.random.default_rng(seed)
    shape = (3, *sky)
    kernel, cube = rng.random((3, *psf) if varies else psf), rng.random(shape)
    expected = [blurred(image, kernel[e] if varies else kernel, reflect) for e, image in enumerate(cube)]
    with jax.enable_x64(True):
        operator = fft_convolution(kernel, shape, np.float64, reflect=reflect)
        np.testing.assert_allclose(apply(operator, cube), expected, atol=1e-12)
        assert_dot(operator, np.float64, seed)
    assert_dot(fft_convolution(kernel, shape, np.float32, reflect=reflect), np.float32, seed)


@given(
    blocks=sizes, factors=st.tuples(st.integers(1, 3), st.integers(1, 3)), psf=kernels, reflect=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_matrix_against_direct_convolution_and_sums(blocks, factors, psf, reflect, seed):
    rng = np.random.default_rng(seed)
    sky = (blocks[0] * factors[0], blocks[1] * factors[1])
    kernel, image = rng.random(psf), rng.random(sky)
    found = sky_matrix(kernel, sky, factors, reflect=reflect) @ image.ravel()
    np.testing.assert_allclose(found.reshape(blocks), summed(blurred(image, kernel, reflect), factors), atol=1e-12)


@settings(max_examples=8)
@given(
    blocks=sizes, factors=st.tuples(st.integers(1, 3), st.integers(1, 3)), psf=kernels, reflect=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_matrix_and_fft_agree(assert_dot, apply, blocks, factors, psf, reflect, seed):
    rng = np.random.default_rng(seed)
    shape = (2, blocks[0] * factors[0], blocks[1] * factors[1])
    kernel, cube = rng.random(psf), rng.random(shape)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        found = []
        for limit in (10**9, 0):
            patch.setattr(module, "DENSE_LIMIT", limit)
            operator = sky_operator(kernel, shape, factors, np.float64, reflect=reflect)
            found.append(apply(operator, cube))
        np.testing.assert_allclose(*found, atol=1e-11)
        assert_dot(operator, np.float64, seed)
    assert_dot(sky_operator(kernel, shape, factors, np.float32, reflect=reflect), np.float32, seed)


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize("varies", [False, True])
def test_fft_against_its_matrix(x64, as_matrix, reflect, varies):
    rng = np.random.default_rng(0)
    kernel = rng.random((2, 5, 3)) if varies else rng.random((5, 3))
    operator = fft_convolution(kernel, (2, 3, 4), np.float64, reflect=reflect)
    kernels = kernel if varies else [kernel, kernel]
    expected = np.zeros((24, 24))
    for e, one in enumerate(kernels):
        expected[12 * e : 12 * e + 12, 12 * e : 12 * e + 12] = sky_matrix(one, (3, 4), (1, 1), reflect=reflect)
    np.testing.assert_allclose(as_matrix(operator, np.float64), expected, atol=1e-12)
    np.testing.assert_allclose(as_matrix(operator.T, np.float64), expected.T, atol=1e-12)


@pytest.mark.parametrize("factors", [(1, 1), (3, 2), (1, 4), (3, 4)])
def test_block_sums(x64, as_matrix, assert_dot, factors):
    operator = SkyRebin((2, 3, 4), factors)
    cube = np.random.default_rng(0).random((2, 3, 4))
    np.testing.assert_allclose(operator.mv(jnp.asarray(cube)), [summed(image, factors) for image in cube])
    assert_dot(operator, np.float64)
    matrix = as_matrix(operator, np.float64)
    np.testing.assert_array_equal(as_matrix(operator.T, np.float64), matrix.T)
    assert set(np.unique(matrix)) == {0.0, 1.0}
    np.testing.assert_array_equal(matrix.sum(0), 1)


@pytest.mark.parametrize("reflect", [False, True])
def test_sky_matrix_operator_against_its_matrix(x64, as_matrix, reflect):
    psf = np.random.default_rng(0).random((3, 7))
    operator = sky_operator(psf, (2, 4, 5), (2, 1), np.float64, reflect=reflect)
    assert isinstance(operator, SkyMatrix)
    one = sky_matrix(psf, (4, 5), (2, 1), reflect=reflect)
    np.testing.assert_allclose(as_matrix(operator, np.float64), np.kron(np.eye(2), one), atol=1e-14)


def test_choice_of_form(monkeypatch):
    psf = np.ones((3, 3)) / 9
    shape, sums = (2, 6, 6), (2, 3)
    limit = 6 * 36

    def choose(psf, factors=sums):
        return sky_operator(psf, shape, factors, np.float32, reflect=False)

    monkeypatch.setattr(module, "DENSE_LIMIT", limit)
    assert isinstance(choose(psf), SkyMatrix)
    monkeypatch.setattr(module, "DENSE_LIMIT", limit - 1)
    above = choose(psf)
    assert isinstance(above, Composition)
    assert [type(part) for part in above.factors] == [SkyRebin, FFTConvolution]
    assert isinstance(choose(psf, (1, 1)), FFTConvolution)
    assert isinstance(choose(None), SkyRebin)
    assert isinstance(choose(None, (1, 1)), Identity)
    assert isinstance(choose(np.ones((1, 1)), (1, 1)), Identity)
    assert isinstance(choose(np.ones((1, 1))), SkyRebin)


def test_psf_per_energy_is_never_one_matrix():
    operator = sky_operator(np.ones((2, 3, 3)) / 9, (2, 4, 4), (1, 1), np.float32, reflect=False)
    assert isinstance(operator, FFTConvolution)


def test_point_source_becomes_the_psf():
    psf = np.random.default_rng(0).random((3, 5))
    point = jnp.zeros((1, 7, 9)).at[0, 3, 4].set(1)
    for limit in (10**9, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "DENSE_LIMIT", limit)
            image = sky_operator(psf, (1, 7, 9), (1, 1), np.float32, reflect=True).mv(point)[0]
        np.testing.assert_allclose(image[2:5, 2:7], psf, atol=1e-6)
