import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from scipy.signal import convolve2d

from hifred import Response
from hifred.response import (
    BandedEnergyMatrix,
    Composition,
    Diagonal,
    EnergyMatrix,
    FFTConvolution,
    Identity,
    SkyMatrix,
    SkyRebin,
)
from hifred.response import sky as sky_module
from hifred.response.energy import energy_operator
from hifred.response.sky import sky_operator


def model(cube, psf=None, lsf=None, area=None, rebin=(1, 1, 1), boundary="zero"):
    """Expected counts by pads, direct convolutions and sums."""
    mode = {"zero": "constant", "reflect": "reflect"}[boundary]
    out = np.array(cube, float)
    if area is not None:
        out = out * (area[:, None, None] if area.ndim == 1 else area)
    if psf is not None and psf.ndim == 4:
        out = spread(out, psf / psf.sum((2, 3), keepdims=True), mode)
    elif psf is not None:
        kernels = np.broadcast_to(psf, (len(out), *psf.shape[-2:]))
        half = [(n // 2, n // 2) for n in psf.shape[-2:]]
        out = np.stack(
            [
                convolve2d(np.pad(image, half, mode=mode), kernel / kernel.sum(), mode="valid")
                for image, kernel in zip(out, kernels, strict=True)
            ]
        )
    if lsf is not None and lsf.ndim == 1:
        half = lsf.size // 2
        padded = np.pad(out, ((half, half), (0, 0), (0, 0)), mode=mode)
        out = np.apply_along_axis(np.convolve, 0, padded, lsf / lsf.sum(), mode="valid")
    elif lsf is not None and lsf.shape[1] != len(cube):
        # Each photon of an energy, mirror energies too, is spread by the kernel of that energy.
        half = lsf.shape[1] // 2
        kernels = lsf / lsf.sum(1, keepdims=True)
        at = np.pad(np.arange(len(cube)) + 1, half, mode=mode) - 1
        wide = np.zeros((len(cube) + 4 * half, *out.shape[1:]))
        for place, source in enumerate(at):
            if source >= 0:
                wide[place : place + 2 * half + 1] += kernels[source][:, None, None] * out[source]
        out = wide[2 * half : 2 * half + len(cube)]
    elif lsf is not None:
        total = lsf.sum(0)
        out = np.tensordot(lsf / np.where(total > 0, total, 1), out, 1)
    e, y, x = rebin
    shape = out.shape
    return out.reshape(shape[0] // e, e, shape[1] // y, y, shape[2] // x, x).sum((1, 3, 5))


def spread(cube, psf, mode):
    """Each photon of a pixel, mirror pixels too, is spread by the kernel of that pixel; (M, N, h, w)."""
    _, ny, nx = cube.shape
    hy, hx = psf.shape[2] // 2, psf.shape[3] // 2
    at = np.pad(np.arange(ny * nx).reshape(ny, nx) + 1, ((hy, hy), (hx, hx)), mode=mode) - 1
    wide = np.zeros((len(cube), ny + 4 * hy, nx + 4 * hx))
    for y, x in np.argwhere(at >= 0):
        sy, sx = divmod(at[y, x], nx)
        wide[:, y : y + 2 * hy + 1, x : x + 2 * hx + 1] += psf[sy, sx] * cube[:, sy, sx, None, None]
    return wide[:, 2 * hy : 2 * hy + ny, 2 * hx : 2 * hx + nx]


def divisors(n):
    return st.sampled_from([d for d in range(1, n + 1) if n % d == 0])


@st.composite
def arguments(draw):
    """Grid shape and kernels: sizes odd and even, kernels beyond the image, all kinds of area and redistribution."""
    shape = tuple(draw(st.integers(1, n)) for n in (8, 7, 6))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    out = {"boundary": draw(st.sampled_from(["zero", "reflect"]))}
    channels = shape[0]
    match draw(st.sampled_from(["none", "kernel", "kernels", "matrix"])):
        case "kernel":
            out["lsf"] = rng.random(2 * draw(st.integers(0, 9)) + 1)
        case "kernels":
            taps = 2 * draw(st.integers(0, 9)) + 1
            out["lsf"] = rng.random((shape[0], taps if taps != shape[0] else taps + 2))
        case "matrix":
            channels = draw(st.integers(1, 9))
            out["lsf"] = rng.random((channels, shape[0]))
    sides = [2 * draw(st.integers(0, 5)) + 1 for _ in range(2)]
    match draw(st.sampled_from(["none", "one", "many", "everywhere"])):
        case "one":
            out["psf"] = rng.random(sides)
        case "everywhere":
            out["psf"] = rng.random((*shape[1:], *sides))
        case "many":
            out["psf"] = rng.random((shape[0], *sides))
    match draw(st.sampled_from(["none", "energy", "cube"])):
        case "energy":
            out["area"] = rng.random(shape[0]) + 0.1
        case "cube":
            out["area"] = rng.random(shape) + 0.1
    out["rebin"] = tuple(draw(divisors(n)) for n in (channels, *shape[1:]))
    return shape, out


@settings(max_examples=20)
@given(case=arguments(), dense=st.booleans())
def test_response_is_the_model(assert_dot, apply, case, dense):
    shape, kernels = case
    cube = np.random.default_rng(0).random(shape)
    expected = model(cube, **kernels)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sky_module, "DENSE_LIMIT", 10**9 if dense else 0)
        response = Response.from_kernels(shape, **kernels, dtype=np.float64)
        assert response.in_shape == shape
        assert response.out_shape == expected.shape
        np.testing.assert_allclose(apply(response.operator, cube), expected, rtol=1e-11, atol=1e-12)
        assert_dot(response.operator, np.float64)


@settings(max_examples=10)
@given(case=arguments(), dense=st.booleans())
def test_dot_in_single_precision(assert_dot, case, dense):
    shape, kernels = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sky_module, "DENSE_LIMIT", 10**9 if dense else 0)
        assert_dot(Response.from_kernels(shape, **kernels).operator, np.float32)


@given(case=arguments())
def test_products_add_up_to_the_response(apply, case):
    shape, kernels = case
    rng = np.random.default_rng(3)
    spectrum, image = rng.random(shape[0]), rng.random(shape[1:])
    with jax.enable_x64(True):
        response = Response.from_kernels(shape, **kernels, dtype=np.float64)
        products = response.recipe.products(np.dtype(np.float64))
        sums = sum(
            np.asarray(part.spectral @ spectrum)[:, None, None] * apply(part.sky(1), image[None]) for part in products
        )
    expected = model(spectrum[:, None, None] * image, **kernels)
    np.testing.assert_allclose(sums, expected, rtol=1e-6, atol=1e-7 * expected.max())


@settings(max_examples=10)
@given(case=arguments(), rank=st.integers(1, 3))
def test_restricted_is_the_response_of_the_combined_spectra(assert_dot, apply, case, rank):
    shape, kernels = case
    rng = np.random.default_rng(1)
    basis, maps = rng.normal(size=(shape[0], rank)), rng.normal(size=(rank, *shape[1:]))
    with jax.enable_x64(True):
        response = Response.from_kernels(shape, **kernels, dtype=np.float64)
        restricted = response.restricted(basis)
        assert restricted.in_shape == maps.shape
        expected = model(np.tensordot(basis, maps, 1), **kernels)
        np.testing.assert_allclose(apply(restricted, maps), expected, rtol=1e-10, atol=1e-11)
        assert_dot(restricted, np.float64)


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("vignetted", [False, True])
def test_restricted_dot_in_single_precision(assert_dot, varies, vignetted):
    rng = np.random.default_rng(0)
    shape = (6, 4, 6)
    psf = rng.random((6, 3, 5)) if varies else rng.random((3, 5))
    area = rng.random(shape) if vignetted else rng.random(6)
    response = Response.from_kernels(shape, psf=psf, lsf=rng.random(5), area=area, rebin=(2, 2, 3), boundary="reflect")
    assert_dot(response.restricted(rng.normal(size=(6, 3))))


@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_response_against_its_matrix(x64, as_matrix, boundary):
    rng = np.random.default_rng(0)
    shape = (4, 3, 4)
    kernels = {"psf": rng.random((3, 5)), "lsf": rng.random(11), "area": rng.random(shape), "rebin": (2, 3, 2)}
    response = Response.from_kernels(shape, **kernels, boundary=boundary, dtype=np.float64)
    units = np.eye(48).reshape(48, *shape)
    expected = np.stack([model(unit, **kernels, boundary=boundary).ravel() for unit in units], 1)
    np.testing.assert_allclose(as_matrix(response.operator, np.float64), expected, atol=1e-13)
    np.testing.assert_allclose(as_matrix(response.operator.T, np.float64), expected.T, atol=1e-13)


def parts(response):
    operator = response.operator
    return [type(part) for part in (operator.factors if isinstance(operator, Composition) else [operator])]


def test_order_of_the_factors():
    """The axis that shrinks most goes first."""
    psf, lsf = np.ones((3, 3)), np.ones((60, 60))
    energy_first = Response.from_kernels((60, 6, 6), psf=psf, lsf=lsf, rebin=(30, 1, 1))
    assert parts(energy_first) == [SkyMatrix, EnergyMatrix]
    sky_first = Response.from_kernels((60, 6, 6), psf=psf, lsf=lsf, rebin=(1, 6, 6))
    assert parts(sky_first) == [EnergyMatrix, SkyMatrix]


def test_factors_that_do_nothing_are_left_out():
    assert parts(Response.from_kernels((3, 4, 4))) == [Identity]
    assert parts(Response.from_kernels((3, 4, 4), lsf=[1.0], psf=[[1.0]])) == [Identity]
    assert parts(Response.from_kernels((3, 4, 4), area=[1.0, 2, 3])) == [Diagonal]
    assert parts(Response.from_kernels((3, 4, 4), rebin=(1, 2, 2))) == [SkyRebin]
    assert parts(Response.from_kernels((3, 4, 4), area=np.ones((3, 4, 4)))) == [Diagonal]


def test_narrow_kernel_of_many_energies_is_banded():
    assert parts(Response.from_kernels((300, 2, 2), lsf=np.ones(5))) == [BandedEnergyMatrix]


def test_psf_per_energy_goes_before_the_redistribution():
    response = Response.from_kernels((4, 5, 5), psf=np.ones((4, 3, 3)), lsf=np.ones((1, 4)))
    assert parts(response) == [EnergyMatrix, FFTConvolution]


@pytest.mark.parametrize("factors", [(1, 1, 1), (6, 1, 1), (1, 2, 3), (3, 2, 2)])
def test_both_orders_agree(x64, factors):
    rng = np.random.default_rng(0)
    shape, psf = (6, 4, 6), rng.random((5, 3))
    cube = jnp.asarray(rng.random(shape))
    response = Response.from_kernels(
        shape, psf=psf, lsf=rng.random((6, 6)), area=rng.random(6), rebin=factors, normalize=False, dtype=np.float64
    )
    matrix = sp.csr_array(response.spectral)
    detector = response.out_shape[1:]
    channels = matrix.shape[0]

    def blur(count):
        return sky_operator(psf, (count, *shape[1:]), factors[1:], np.float64, reflect=False)

    energy_first = blur(channels) @ energy_operator(matrix, shape[1:], np.float64)
    sky_first = energy_operator(matrix, detector, np.float64) @ blur(shape[0])
    np.testing.assert_allclose(energy_first.mv(cube), sky_first.mv(cube), rtol=1e-12)
    np.testing.assert_allclose(response.mv(cube), sky_first.mv(cube), rtol=1e-12)


def test_numpy_in_both_directions():
    response = Response.from_kernels((4, 3, 3), lsf=np.ones(3), rebin=(2, 1, 1))
    cube, counts = np.ones((4, 3, 3)), np.ones((2, 3, 3), int)
    assert response.mv(cube).shape == (2, 3, 3)
    assert response.T.mv(counts).shape == (4, 3, 3)
    assert response.mv(cube).dtype == response.T.mv(counts).dtype == np.float32
    dot = float((np.asarray(response.mv(cube)) * counts).sum() - (cube * np.asarray(response.T.mv(counts))).sum())
    assert abs(dot) < 1e-5


def test_ideal_instrument_takes_whole_numbers():
    response = Response.from_kernels((2, 2, 2))
    assert response.mv(np.ones((2, 2, 2), int)).dtype == np.float32


def test_wrong_shapes():
    response = Response.from_kernels((4, 3, 3), rebin=(2, 1, 1))
    with pytest.raises(ValueError, match=r"response\.mv: expected an array of shape \(4, 3, 3\), found \(2, 3, 3\)"):
        response.mv(np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match=r"response\.T\.mv: expected an array of shape \(2, 3, 3\), found \(4, 3, 3\)"):
        response.T.mv(np.ones((4, 3, 3)))


def test_kernels_keep_their_sum_if_asked():
    cube = np.ones((3, 3, 3))
    response = Response.from_kernels((3, 3, 3), psf=[[2.0]], lsf=[3.0], normalize=False)
    np.testing.assert_allclose(response.mv(cube), 6)
    np.testing.assert_allclose(Response.from_kernels((3, 3, 3), psf=[[2.0]], lsf=[3.0]).mv(cube), 1)


def test_columns_of_a_matrix_are_normalised_and_blind_energies_stay_blind():
    response = Response.from_kernels((3, 1, 1), lsf=[[2.0, 0, 1], [2, 0, 3]])
    np.testing.assert_allclose(response.spectral.toarray(), [[0.5, 0, 0.25], [0.5, 0, 0.75]])


def test_mirror_edges_keep_an_even_sky_even():
    response = Response.from_kernels((5, 4, 6), psf=np.ones((9, 3)), lsf=np.ones(7), boundary="reflect")
    np.testing.assert_allclose(response.mv(np.ones((5, 4, 6))), 1, rtol=1e-6)


def test_photons_leave_an_open_frame():
    response = Response.from_kernels((3, 3, 3), psf=np.ones((3, 3)), lsf=np.ones(3))
    seen = response.mv(np.ones((3, 3, 3)))
    np.testing.assert_allclose(seen[1, 1, 1], 1, rtol=1e-6)
    np.testing.assert_allclose(seen[0, 0, 0], (2 / 3) ** 3, rtol=1e-6)


def test_spectral_part_is_the_response_of_an_even_sky(x64):
    rng = np.random.default_rng(0)
    shape = (6, 4, 4)
    response = Response.from_kernels(
        shape, psf=rng.random((3, 3)), lsf=rng.random(5), area=rng.random(6), rebin=(2, 2, 2), boundary="reflect",
        dtype=np.float64,
    )  # fmt: skip
    spectrum = rng.random(6)
    even = np.broadcast_to(spectrum[:, None, None], shape)
    np.testing.assert_allclose(response.mv(even)[:, 0, 0], 4 * (response.spectral @ spectrum), rtol=1e-12)


def test_blurs_of_ideal_and_known_instruments():
    ideal = Response.from_kernels((6, 6, 6))
    assert ideal.energy_blur == pytest.approx(1)
    assert ideal.sky_blur == pytest.approx(1)
    sums = Response.from_kernels((6, 6, 6), rebin=(3, 2, 3))
    assert sums.energy_blur == pytest.approx(3)
    assert sums.sky_blur == pytest.approx(np.sqrt(6))
    even = Response.from_kernels((31, 31, 31), psf=np.ones((5, 5)), lsf=np.ones(5), boundary="reflect")
    assert even.sky_blur == pytest.approx(5)
    assert even.energy_blur == pytest.approx(5, rel=0.05)


def test_energies_that_only_tails_bring_in_leave_the_blur_as_it_is():
    # Channels of the middle third: the others see next to nothing, equally blurred.
    line = np.exp(-0.5 * (np.arange(30)[:, None] - np.arange(30)) ** 2 / 1.5**2) + 1e-9
    whole = Response.from_kernels((30, 4, 4), lsf=line, normalize=False)
    part = Response.from_kernels((30, 4, 4), lsf=line[10:20], normalize=False)
    assert part.energy_blur == pytest.approx(2 * np.sqrt(np.pi) * 1.5, rel=0.1)
    assert part.energy_blur == pytest.approx(whole.energy_blur, rel=0.1)


def test_concentration_is_that_of_the_matrix(as_matrix):
    psf = np.exp(-0.5 * np.hypot(*np.mgrid[-2:3, -2:3]) ** 2)
    for factors in ((1, 1, 1), (1, 3, 3)):
        response = Response.from_kernels((1, 15, 15), psf=psf, rebin=factors)
        matrix = as_matrix(response.operator)
        inner = np.zeros((15, 15), bool)
        inner[3:12, 3:12] = True
        share = (matrix**2).sum(0) / matrix.sum(0)
        found = response.restricted(np.ones((1, 1))).concentration
        assert found == pytest.approx(share[inner.ravel()].mean(), rel=0.15)


ERRORS = {
    "grid of two axes": ({"grid_shape": (3, 4)}, r"grid_shape: expected three positive sizes .* found \(3, 4\)"),
    "empty grid": ({"grid_shape": (3, 0, 4)}, r"grid_shape: .* found \(3, 0, 4\)"),
    "boundary": ({"boundary": "wrap"}, "boundary: expected one of zero, reflect, found 'wrap'"),
    "even psf": ({"psf": np.ones((3, 4))}, r"psf: expected odd sides, .* found \(3, 4\)"),
    "psf of one axis": ({"psf": np.ones(3)}, r"psf: expected an image .* found an array of shape \(3,\)"),
    "psf count": ({"psf": np.ones((5, 3, 3))}, "psf: expected one image for each of 6 energies, found 5"),
    "zero psf": ({"psf": np.zeros((3, 3))}, "psf: expected a positive sum, found a kernel that sums to zero"),
    "one zero psf": ({"psf": np.eye(6)[:, :1, None]}, "psf: expected a positive sum"),
    "negative psf": ({"psf": [[-1.0]]}, "psf: expected finite values of at least 0, found -1"),
    "psf of nan": ({"psf": [[np.nan]]}, "psf: expected finite values of at least 0, found nan"),
    "even lsf": ({"lsf": np.ones(4)}, "lsf: expected an odd length, .* found 4"),
    "lsf columns": ({"lsf": np.ones((3, 5))}, r"lsf: expected a matrix with 6 columns, .* found \(3, 5\)"),
    "lsf of three axes": ({"lsf": np.ones((3, 5, 1))}, r"lsf: expected a kernel .* found an array of shape"),
    "zero lsf": ({"lsf": np.zeros(3)}, "lsf: expected a positive sum, found a kernel that sums to zero"),
    "zero lsf matrix": ({"lsf": np.zeros((3, 6))}, "lsf: expected a positive sum"),
    "negative lsf": ({"lsf": [-1.0, 3, 1]}, "lsf: expected finite values of at least 0, found -1"),
    "infinite lsf": ({"lsf": [1.0, np.inf, 1]}, "lsf: expected finite values"),
    "area length": ({"area": np.ones(5)}, r"area: expected shape \(6,\) or \(6, 4, 4\), found \(5,\)"),
    "area shape": ({"area": np.ones((6, 4, 3))}, r"area: expected shape .* found \(6, 4, 3\)"),
    "area axes": ({"area": np.ones((6, 4))}, r"area: expected shape .* found an array of shape \(6, 4\)"),
    "zero area": ({"area": np.zeros(6)}, "area: expected some positive effective area, found zero everywhere"),
    "negative area": ({"area": [1, 1, 1, 1, 1, -2.0]}, "area: expected finite values of at least 0, found -2"),
    "area of nan": ({"area": np.full(6, np.nan)}, "area: expected finite values"),
    "rebin axes": ({"rebin": (2, 2)}, r"rebin: expected three positive integers .* found \(2, 2\)"),
    "rebin of zero": ({"rebin": (1, 0, 1)}, r"rebin: expected three positive integers .* found \(1, 0, 1\)"),
    "rebin along energy": ({"rebin": (4, 1, 1)}, "rebin: expected a divisor of 6 along energy, found 4"),
    "rebin along y": ({"rebin": (1, 3, 1)}, "rebin: expected a divisor of 4 along y, found 3"),
    "rebin along x": ({"rebin": (1, 1, 3)}, "rebin: expected a divisor of 4 along x, found 3"),
    "rebin of channels": ({"lsf": np.ones((5, 6)), "rebin": (2, 1, 1)}, "expected a divisor of 5 along energy"),
    "precision": ({"dtype": np.float64}, "dtype: expected a precision that JAX is set to, found float64"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    options, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        Response.from_kernels(**{"grid_shape": (6, 4, 4), **options})


@pytest.mark.parametrize("options", [{"rebin": (1.5, 1, 1)}, {"grid_shape": (6.7, 4, 4)}])
def test_fractions_are_not_cut_to_whole_numbers(options):
    with pytest.raises(ValueError, match="found"):
        Response.from_kernels(**{"grid_shape": (6, 4, 4), **options})


@pytest.mark.parametrize("dtype", [np.int32, np.complex64])
def test_precision_that_is_not_real(dtype):
    with pytest.raises(ValueError, match="dtype"):
        Response.from_kernels((6, 4, 4), lsf=np.ones(3), dtype=dtype)


def test_empty_kernels():
    for options in ({"psf": np.ones((0, 3))}, {"lsf": np.ones(0)}, {"lsf": np.ones((0, 6))}, {"psf": np.ones((3, 0))}):
        with pytest.raises(ValueError, match="expected"):
            Response.from_kernels((6, 4, 4), **options)


def test_double_precision(x64):
    response = Response.from_kernels((6, 4, 4), lsf=np.ones(3), dtype=np.float64)
    assert response.dtype == np.float64
    assert response.mv(np.ones((6, 4, 4))).dtype == np.float64


def test_double_precision_of_an_instrument_without_kernels(x64):
    response = Response.from_kernels((6, 4, 4), rebin=(1, 2, 2), dtype=np.float64)
    assert response.dtype == np.float64
    assert response.mv(np.full((6, 4, 4), 1 / 3)).dtype == np.float64


def test_kernels_make_the_same_response_again():
    rng = np.random.default_rng(0)
    response = Response.from_kernels((6, 4, 4), psf=rng.random((3, 3)), lsf=rng.random(5), rebin=(2, 1, 1))
    kernels = response.recipe
    again = Response.from_kernels(
        kernels.grid_shape, kernels.psf, kernels.lsf, kernels.area, kernels.rebin, kernels.boundary, normalize=False
    )
    cube = rng.random((6, 4, 4))
    np.testing.assert_array_equal(response.mv(cube), again.mv(cube))


def test_kernels_of_the_caller_are_not_tied_to_the_response():
    psf = np.ones((3, 3))
    response = Response.from_kernels((2, 4, 4), psf=psf, normalize=False)
    psf[:] = 7
    np.testing.assert_array_equal(response.recipe.psf, 1)
