import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from hifred.response import BandedEnergyMatrix, Diagonal, EnergyMatrix, Identity
from hifred.response.energy import banded, convolution_matrix, dense, energy_operator, rebin_matrix


def redistribution(channels, energies, width, seed=0):
    """A random band along the diagonal."""
    rng = np.random.default_rng(seed)
    centre = np.arange(channels)[:, None] * energies / channels
    inside = abs(np.arange(energies)[None, :] - centre) <= width
    return sp.csr_array(np.where(inside, rng.random((channels, energies)), 0))


@settings(max_examples=6)
@given(
    channels=st.integers(1, 20), energies=st.integers(1, 20), width=st.integers(0, 20),
    size=st.sampled_from([1, 3, 8]), sky=st.sampled_from([(1, 1), (2, 3)]), seed=st.integers(0, 99),
)  # fmt: skip
def test_dense_and_banded_agree_with_the_matrix(assert_dot, as_matrix, channels, energies, width, size, sky, seed):
    matrix = redistribution(channels, energies, width, seed)
    with jax.enable_x64(True):
        expected = np.kron(matrix.toarray(), np.eye(int(np.prod(sky))))
        for operator in (dense(matrix, sky, np.float64), banded(matrix, sky, size, np.float64)):
            np.testing.assert_allclose(as_matrix(operator, np.float64), expected, atol=1e-14)
            assert_dot(operator, np.float64, seed)
    assert_dot(banded(matrix, sky, size, np.float32), np.float32, seed)


def test_dense_dot_in_single_precision(assert_dot):
    assert_dot(dense(redistribution(9, 14, 5), (2, 3), np.float32))


@pytest.mark.parametrize("rows", [[], [0], [3], [0, 1, 2]])
def test_banded_with_channels_that_see_nothing(x64, as_matrix, rows):
    matrix = redistribution(7, 9, 2).toarray()
    matrix[rows] = 0
    operator = banded(sp.csr_array(matrix), (1, 1), 3, np.float64)
    np.testing.assert_allclose(as_matrix(operator, np.float64), matrix, atol=1e-14)


@given(length=st.integers(1, 12), half=st.integers(0, 9), boundary=st.sampled_from(["zero", "reflect"]))
def test_convolution_matrix_is_a_convolution(length, half, boundary):
    rng = np.random.default_rng(length)
    kernel, values = rng.random(2 * half + 1), rng.random(length)
    padded = np.pad(values, half, mode="reflect") if boundary == "reflect" else np.pad(values, half)
    expected = np.convolve(padded, kernel, mode="valid")
    np.testing.assert_allclose(convolution_matrix(kernel, length, boundary) @ values, expected, atol=1e-13)


def test_convolution_matrix_moves_the_right_way():
    kernel = np.array([0, 0, 1.0])
    np.testing.assert_array_equal(convolution_matrix(kernel, 4, "zero") @ np.arange(4), [0, 0, 1, 2])


def test_rebin_matrix_sums_neighbours():
    np.testing.assert_array_equal(rebin_matrix(6, 3) @ np.arange(6), [3, 12])
    assert rebin_matrix(6, 3).nnz == 6


def test_narrow_kernel_is_banded():
    operator = energy_operator(convolution_matrix(np.ones(5) / 5, 200, "zero"), (2, 2), np.float32)
    assert isinstance(operator, BandedEnergyMatrix)
    assert operator.blocks.size <= 0.5 * 200 * 200


def test_small_or_full_matrix_is_dense():
    assert isinstance(energy_operator(convolution_matrix(np.ones(5), 20, "zero"), (2, 2), np.float32), EnergyMatrix)
    full = sp.csr_array(np.random.default_rng(0).random((100, 100)))
    assert isinstance(energy_operator(full, (2, 2), np.float32), EnergyMatrix)


def test_diagonal_and_identity_are_recognised():
    assert isinstance(energy_operator(sp.csr_array(sp.eye_array(5)), (2, 2), np.float32), Identity)
    operator = energy_operator(sp.csr_array(np.diag([1.0, 2, 3])), (2, 2), np.float32)
    assert isinstance(operator, Diagonal)
    np.testing.assert_array_equal(operator.mv(jnp.ones((3, 2, 2)))[:, 0, 0], [1, 2, 3])


def test_diagonal_with_a_blind_energy(as_matrix):
    for stored in (sp.csr_array(np.diag([1.0, 0, 3])), sp.csr_array(sp.diags_array([1.0, 0, 3]))):
        operator = energy_operator(stored, (1, 1), np.float32)
        np.testing.assert_array_equal(as_matrix(operator), np.diag([1, 0, 3]))


def test_choice_does_not_change_the_answer():
    matrix = convolution_matrix(np.random.default_rng(0).random(9), 300, "reflect")
    cube = jnp.asarray(np.random.default_rng(1).random((300, 2, 3)), np.float32)
    chosen = energy_operator(matrix, (2, 3), np.float32)
    assert isinstance(chosen, BandedEnergyMatrix)
    np.testing.assert_allclose(chosen.mv(cube), dense(matrix, (2, 3), np.float32).mv(cube), rtol=1e-5)
