import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from hifred.priors.transform import B3, Starlet, smoothing_matrix

decompose = eqx.filter_jit(lambda transform, cube: transform.decompose(cube))
adjoint = eqx.filter_jit(lambda transform, bands: transform.adjoint(bands))
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))


def smooth(values, axis, step):
    """B3 spline with holes and mirror edges that repeat the edge sample."""
    values = np.moveaxis(values, axis, 0)
    padded = np.pad(values, [(2 * step, 2 * step), (0, 0), (0, 0)], mode="symmetric")
    out = sum(h * padded[k * step : k * step + len(values)] for k, h in enumerate(B3))
    return np.moveaxis(out, 0, axis)


def reference(cube, scales, energy_scales):
    """Bands of the 2D-1D starlet, and the smooth-smooth cube."""
    bands = []
    for j in range(scales + 1):
        blurred = smooth(smooth(cube, 1, 2**j), 2, 2**j)
        rest = cube - blurred if j < scales else cube
        cube = blurred
        for i in range(energy_scales):
            low = smooth(rest, 0, 2**i)
            bands.append(rest - low)
            rest = low
        if j < scales:
            bands.append(rest)
    return bands, rest


@settings(max_examples=6)
@given(shape=shapes, scales=st.integers(1, 4), energy_scales=st.integers(0, 3), single=st.booleans())
def test_definition_sum_and_dot(shape, scales, energy_scales, single):
    dtype, rounding, tolerance = (np.float32, 1e-6, 1e-6) if single else (np.float64, 2e-15, 1e-12)
    rng = np.random.default_rng(0)
    cube = rng.normal(size=shape).astype(dtype)
    with jax.enable_x64(True):
        transform = Starlet(shape, scales, energy_scales, dtype)
        bands, coarse = jax.tree.map(np.asarray, decompose(transform, jnp.asarray(cube)))
        y = [rng.normal(size=shape).astype(dtype) for _ in bands]
        back = np.asarray(adjoint(transform, [jnp.asarray(b) for b in y]), float)
    assert len(bands) == (scales + 1) * (energy_scales + 1) - 1
    assert coarse.dtype == dtype
    expected, rest = reference(cube, scales, energy_scales)
    for found, band in zip(bands, expected, strict=True):
        np.testing.assert_allclose(found, band, atol=4 * rounding)
    np.testing.assert_allclose(coarse, rest, atol=4 * rounding)
    np.testing.assert_allclose(sum(b.astype(float) for b in bands) + coarse, cube, atol=4 * rounding)
    forward, y = np.stack(bands).astype(float), np.stack(y).astype(float)
    size = np.linalg.norm(forward) * np.linalg.norm(y)
    assert abs((forward * y).sum() - (cube.astype(float) * back).sum()) <= tolerance * max(size, 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 1)])
def test_sizes_below_the_filter(x64, shape):
    cube = np.random.default_rng(0).normal(size=shape)
    bands, coarse = decompose(Starlet(shape, 3, 2, np.float64), jnp.asarray(cube))
    np.testing.assert_allclose(sum(bands) + coarse, cube, atol=1e-14)


@pytest.mark.parametrize(("shape", "scales", "energy_scales"), [((4, 5, 4), 3, 2), ((1, 7, 6), 2, 0)])
def test_matrix_adjoint_and_norm(x64, shape, scales, energy_scales):
    transform = Starlet(shape, scales, energy_scales, np.float64)
    size = int(np.prod(shape))
    units = jnp.asarray(np.eye(size).reshape(size, *shape))
    analyse = eqx.filter_jit(jax.vmap(lambda unit: jnp.stack(transform.analysis(unit))))
    matrix = np.asarray(analyse(units)).reshape(size, -1).T
    coefficients = np.eye(len(matrix)).reshape(len(matrix), -1, *shape)
    gather = eqx.filter_jit(jax.vmap(lambda band: transform.adjoint(list(band))))
    np.testing.assert_allclose(np.asarray(gather(jnp.asarray(coefficients))).reshape(-1, size), matrix, atol=1e-14)
    assert np.linalg.norm(matrix, 2) <= 1 + 1e-12


def test_norm_by_power_iteration():
    transform = Starlet((24, 20, 17), 3, 2, np.float32)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(24, 20, 17)), np.float32)

    @jax.jit
    def power(x):
        def once(_, x):
            x = transform.adjoint(transform.analysis(x))
            return x / jnp.linalg.norm(x)

        x = jax.lax.fori_loop(0, 100, once, x)
        return jnp.linalg.norm(transform.adjoint(transform.analysis(x)))

    assert 0.5 < power(x) <= 1 + 1e-5


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_smoothing_matrix(length, step):
    matrix = smoothing_matrix(length, step)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-16)
    np.testing.assert_allclose(matrix.sum(1), 1)
    values = np.linalg.eigvalsh(matrix)
    assert values.min() > -1e-14
    assert values.max() < 1 + 1e-14
    cube = np.random.default_rng(0).normal(size=(length, 1, 1))
    np.testing.assert_allclose(matrix @ cube[:, 0, 0], smooth(cube, 0, step)[:, 0, 0], atol=1e-14)


def test_smooth_sky_has_no_details():
    transform = Starlet((5, 6, 7), 3, 2, np.float32)
    bands, coarse = transform.decompose(jnp.full((5, 6, 7), 3.0))
    np.testing.assert_allclose(coarse, 3, rtol=1e-6)
    np.testing.assert_allclose(jnp.stack(bands), 0, atol=1e-6)


def test_images_need_no_energy_scales():
    transform = Starlet((2, 8, 8), 3, 0, np.float32)
    maps = np.random.default_rng(0).normal(size=(2, 8, 8)).astype(np.float32)
    both = transform.analysis(jnp.asarray(maps))
    alone = transform.analysis(jnp.asarray(maps * np.array([1, 0], np.float32)[:, None, None]))
    assert len(both) == 3
    for a, b in zip(both, alone, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=1e-6)
        np.testing.assert_array_equal(b[1], 0)
