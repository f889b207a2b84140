import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred.response import BandedEnergyMatrix, Composition, Diagonal, EnergyMatrix, Identity, SkyRebin, Transpose

SHAPE = (5, 3, 4)


def operators(dtype):
    rng = np.random.default_rng(1)
    matrix = EnergyMatrix(jnp.asarray(rng.random((7, 5)), dtype), SHAPE[1:])
    factors = Diagonal(jnp.asarray(rng.random(SHAPE), dtype), SHAPE)
    even = Diagonal(jnp.asarray(rng.random((5, 1, 1)), dtype), SHAPE)
    sums = SkyRebin((7, 3, 4), (3, 2))
    return {
        "identity": Identity(SHAPE),
        "diagonal": factors,
        "diagonal, one per energy": even,
        "matrix": matrix,
        "transpose": Transpose(matrix),
        "product": sums @ matrix @ factors,
        "composition": Composition((sums, matrix, factors)),
        "composition of one": Composition((matrix,)),
        "transposed product": (sums @ matrix @ factors).T,
        "normal": matrix.T @ matrix,
    }


@pytest.mark.parametrize("name", operators(np.float32))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dot(name, dtype, assert_dot):
    with jax.enable_x64(dtype == np.float64):
        assert_dot(operators(dtype)[name], dtype)


def test_products_are_matrix_products(x64, as_matrix):
    parts = operators(np.float64)
    sums = as_matrix(SkyRebin((7, 3, 4), (3, 2)), np.float64)
    expected = sums @ as_matrix(parts["matrix"], np.float64) @ as_matrix(parts["diagonal"], np.float64)
    for name in ("product", "composition"):
        np.testing.assert_allclose(as_matrix(parts[name], np.float64), expected, rtol=1e-13)
    np.testing.assert_allclose(as_matrix(parts["transposed product"], np.float64), expected.T, rtol=1e-13)
    np.testing.assert_allclose(as_matrix(parts["product"].T.T, np.float64), expected, rtol=1e-13)


def test_identity_and_diagonal_against_their_matrices(x64, as_matrix):
    parts = operators(np.float64)
    np.testing.assert_array_equal(as_matrix(parts["identity"], np.float64), np.eye(60))
    diagonal = as_matrix(parts["diagonal"], np.float64)
    np.testing.assert_array_equal(diagonal, np.diag(np.asarray(parts["diagonal"].factors).ravel()))
    spread = np.broadcast_to(np.asarray(parts["diagonal, one per energy"].factors), SHAPE)
    np.testing.assert_array_equal(as_matrix(parts["diagonal, one per energy"], np.float64), np.diag(spread.ravel()))


def test_default_transpose_is_the_one_of_the_matrix(x64, as_matrix):
    """`rmv` by hand and the one JAX derives are the same."""
    matrix = EnergyMatrix(jnp.asarray(np.random.default_rng(0).random((6, 5))), (2, 3))
    counts = jnp.asarray(np.random.default_rng(1).random((6, 2, 3)))
    derived = jax.linear_transpose(matrix.mv, jax.ShapeDtypeStruct(matrix.in_shape, counts.dtype))(counts)[0]
    np.testing.assert_allclose(matrix.rmv(counts), derived, rtol=1e-13)


def test_operators_that_do_not_fit():
    matrix = operators(np.float32)["matrix"]
    with pytest.raises(ValueError, match=r"left one takes shape \(5, 3, 4\), the right one gives \(7, 3, 4\)"):
        matrix @ matrix


def test_transpose_of_transpose_is_the_operator():
    operator = operators(np.float32)["matrix"]
    assert operator.T.T is operator
    assert operator.T.in_shape == operator.out_shape
    assert operator.T.out_shape == operator.in_shape


def test_banded_is_a_matrix_with_windows(x64, as_matrix):
    rng = np.random.default_rng(2)
    blocks, starts = rng.random((2, 3, 4)), [0, 2]
    operator = BandedEnergyMatrix(jnp.asarray(blocks), jnp.asarray(starts, jnp.int32), 5, 6, (1, 1))
    expected = np.zeros((6, 6))
    for block, start, row in zip(blocks, starts, (0, 3), strict=True):
        expected[row : row + 3, start : start + 4] = block
    np.testing.assert_allclose(as_matrix(operator, np.float64), expected[:5], rtol=1e-13)
