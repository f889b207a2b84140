import tracemalloc

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from scipy.signal import convolve2d

from hifred import Response
from hifred.response import Calibration, SkyMatrix, VaryingConvolution
from hifred.response import calibration as calibration_module
from hifred.response.varying import varying_convolution


def model(parts, cube):
    """Expected counts energy by energy, node by node: area, vignetting, PSF, detector pixels, redistribution."""
    gathered = np.tensordot(parts["gather"].toarray(), cube, 1)
    position = parts.get("position", np.zeros(len(gathered)))
    psf, maps = parts.get("psf"), parts.get("maps")
    nodes = next((a.shape[0] for a in (psf, maps) if a is not None), 1)
    terms = next((a.shape[1] for a in (psf, maps) if a is not None), 1)
    blurred = []
    for image, at in zip(gathered, position, strict=True):
        total = np.zeros_like(image)
        for node in range(nodes):
            weight = max(0.0, 1 - abs(at - node))
            for term in range(terms):
                part = image if maps is None else image * maps[node, term]
                if psf is not None:
                    kernel = psf[node, term]
                    half = [n // 2 for n in kernel.shape]
                    full = convolve2d(part, kernel)
                    part = full[half[0] : half[0] + image.shape[0], half[1] : half[1] + image.shape[1]]
                total += weight * part
        blurred.append(total)
    seen = np.array(blurred).reshape(len(blurred), -1)
    shape = cube.shape[1:]
    if parts.get("pixels") is not None:
        seen, shape = seen @ parts["pixels"].toarray().T, parts["detector_shape"]
    mixture = parts.get("mixture")
    mixture = np.ones((1, *shape)) if mixture is None else mixture
    out = sum(
        w.reshape(-1) * (matrix.toarray() @ seen) for w, matrix in zip(mixture, parts["redistributions"], strict=True)
    )
    return out.reshape(-1, *shape)


@st.composite
def calibrations(draw):
    """Grid shape and parts: few and many RMF bins, nodes, terms, own pixels, redistributions that vary."""
    shape = tuple(draw(st.integers(1, n)) for n in (9, 7, 6))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    bins, channels = draw(st.integers(1, 14)), draw(st.integers(1, 8))
    gather = rng.random((bins, shape[0])) * (rng.random((bins, shape[0])) < 0.6)
    if bins == shape[0] and draw(st.booleans()):
        gather = np.diag(rng.random(bins))
    gather[0, 0] = 1.0
    parts = {"gather": sp.csr_array(gather), "channel_bounds": np.arange(channels + 1) + 1.0}
    nodes, terms = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    if draw(st.booleans()):
        sides = [2 * draw(st.integers(0, 4)) + 1 for _ in range(2)]
        parts["psf"] = rng.random((nodes, terms, *sides))
    if draw(st.booleans()):
        parts["maps"] = rng.random((nodes, terms, *shape[1:]))
    if "psf" in parts or "maps" in parts:
        parts["position"] = np.sort(rng.random(bins)) * (nodes - 1)
    detector = shape[1:]
    if draw(st.booleans()):
        detector = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
        dense = rng.random((detector[0] * detector[1], shape[1] * shape[2]))
        parts |= {"pixels": sp.csr_array(dense * (dense > 0.5)), "detector_shape": detector}
    count = draw(st.integers(1, 2))
    parts["redistributions"] = [sp.csr_array(rng.random((channels, bins))) for _ in range(count)]
    if count > 1 or draw(st.booleans()):
        parts["mixture"] = rng.random((count, *detector))
    return shape, parts


@settings(max_examples=20)
@given(case=calibrations(), dense=st.booleans())
def test_calibration_is_the_model(assert_dot, apply, case, dense):
    shape, parts = case
    if parts["gather"].shape[0] > shape[0]:  # nodes of folded bins are averages: only exact where there is one
        parts.pop("position", None)
        for name in ("psf", "maps"):
            if name in parts:
                parts[name] = parts[name][:1]
    cube = np.random.default_rng(0).random(shape)
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_module, "DENSE_LIMIT", 10**9 if dense else 0)
        response = Response.from_calibration(shape, **parts, dtype=np.float64)
        expected = model(parts, cube)
        assert response.out_shape == expected.shape
        np.testing.assert_allclose(apply(response.operator, cube), expected, rtol=1e-10, atol=1e-11)
        assert_dot(response.operator, np.float64)
        basis, maps = np.random.default_rng(1).random((shape[0], 2)), np.random.default_rng(2).random((2, *shape[1:]))
        restricted = response.restricted(basis)
        folded = model(parts, np.tensordot(basis, maps, 1))
        np.testing.assert_allclose(apply(restricted, maps), folded, rtol=1e-10, atol=1e-11)
        assert_dot(restricted.operator, np.float64)


@settings(max_examples=10)
@given(case=calibrations(), dense=st.booleans())
def test_dot_in_single_precision(assert_dot, case, dense):
    shape, parts = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_module, "DENSE_LIMIT", 10**9 if dense else 0)
        assert_dot(Response.from_calibration(shape, **parts).operator, np.float32)


def small(**changes):
    parts = {
        "gather": sp.csr_array(np.diag([1.0, 2.0, 3.0])),
        "redistributions": [sp.csr_array(np.eye(2, 3))],
        "channel_bounds": [1.0, 2.0, 3.0],
    }
    return parts | changes


ERRORS = {
    "no area": ({"gather": sp.csr_array((3, 3))}, "gather: expected some positive effective area"),
    "negative area": ({"gather": -sp.csr_array(np.eye(3))}, "gather: expected finite values of at least 0"),
    "wrong bins": ({"redistributions": [sp.csr_array(np.eye(2, 4))]}, r"redistributions: expected .* found \(2, 4\)"),
    "no redistribution": ({"redistributions": []}, "redistributions: expected one or more"),
    "falling channels": ({"channel_bounds": [3.0, 2.0, 1.0]}, "channel_bounds: expected 3 increasing"),
    "even psf": ({"psf": np.ones((1, 1, 2, 3))}, "psf: expected odd sides"),
    "flat psf": ({"psf": np.ones((3, 3))}, "psf: expected 4 axes"),
    "foreign maps": ({"maps": np.ones((1, 1, 9, 9))}, "maps: expected .* sky pixels"),
    "nodes differ": ({"psf": np.ones((1, 1, 3, 3)), "maps": np.ones((2, 1, 4, 5))}, "maps: expected the nodes"),
    "position too far": ({"position": [0.0, 1.0, 2.0]}, "position: expected 3 increasing places from 0 to 0"),
    "pixels without shape": ({"pixels": sp.csr_array(np.ones((4, 20)))}, "detector_shape: expected rows and columns"),
    "mixture missing": ({"redistributions": [sp.csr_array(np.eye(2, 3))] * 2}, "mixture: expected weights"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    changes, message = ERRORS[name]
    with pytest.raises(ValueError, match=message):
        Response.from_calibration((3, 4, 5), **small(**changes))


def test_rmf_bins_wider_than_the_cubes_lose_nothing(apply, x64):
    # Within one row an RMF does not tell energies apart: summing them first changes no expected count.
    rng = np.random.default_rng(0)
    fine, bins = 120, 9
    owner = np.sort(rng.integers(0, bins, fine))
    gather = sp.csr_array((rng.random(fine) + 0.5, (owner, np.arange(fine))), shape=(bins, fine))
    matrix = sp.csr_array(rng.random((7, bins)))
    shape = (fine, 5, 4)
    summed = Response.from_calibration(
        shape, gather=gather, redistributions=[matrix], channel_bounds=np.arange(8) + 1.0, dtype=np.float64
    )
    fold = Response.from_calibration(
        shape, gather=sp.csr_array(np.eye(fine)), redistributions=[sp.csr_array(matrix @ gather)],
        channel_bounds=np.arange(8) + 1.0, dtype=np.float64,
    )  # fmt: skip
    cube = rng.random(shape)
    np.testing.assert_allclose(apply(summed.operator, cube), apply(fold.operator, cube), rtol=1e-12)


def test_an_instrument_of_few_pixels_is_one_matrix():
    pixels = sp.csr_array(np.kron(np.eye(4), np.ones((1, 5))))
    response = Response.from_calibration(
        (3, 4, 5), **small(psf=np.full((1, 1, 3, 3), 1 / 9), pixels=pixels, detector_shape=(2, 2))
    )
    kinds = [type(part) for part in response.operator.factors]
    assert SkyMatrix in kinds
    assert VaryingConvolution not in kinds
    assert response.recipe.pixels_per_bin == pytest.approx(5)
    np.testing.assert_array_equal(response.recipe.place(), np.repeat(np.arange(4), 5).reshape(4, 5))


def test_what_no_pixel_sees_has_no_place():
    pixels = sp.csr_array(([1.0, 0.4], ([0, 1], [3, 4])), shape=(2, 6))
    recipe = Calibration.checked((3, 2, 3), **small(pixels=pixels, detector_shape=(1, 2)))
    np.testing.assert_array_equal(recipe.place(), [[-1, -1, -1], [0, -1, -1]])


@given(case=calibrations())
def test_products_add_up_to_the_response(apply, case):
    shape, parts = case
    rng = np.random.default_rng(3)
    spectrum, image = rng.random(shape[0]), rng.random(shape[1:])
    with jax.enable_x64(True):
        response = Response.from_calibration(shape, **parts, dtype=np.float64)
        whole = apply(response.operator, spectrum[:, None, None] * image)
        products = response.recipe.products(np.dtype(np.float64))
        sums = sum(
            np.asarray(part.spectral @ spectrum)[:, None, None] * apply(part.sky(1), image[None]) for part in products
        )
    np.testing.assert_allclose(sums, whole, rtol=1e-9, atol=1e-10)


def test_a_product_holds_the_kernels_of_its_node_only():
    rng = np.random.default_rng(5)
    parts = small(psf=rng.random((3, 2, 5, 5)), maps=rng.random((3, 2, 4, 5)), position=[0.0, 1.0, 2.0])
    recipe = Calibration.checked((3, 4, 5), **parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration_module, "DENSE_LIMIT", 0)
        for part in recipe.products(np.dtype(np.float32)):
            sky = part.sky(2)
            assert isinstance(sky, VaryingConvolution)
            assert (sky.transfer.shape[:2], sky.maps.shape[:2]) == ((1, 2), (1, 2))


@pytest.mark.parametrize("side", [20, 700])
def test_convolutions_of_large_images_are_few_at_once(side):
    """What a transform holds beside input and output: 64 images of 700 pixels, padded, would be 3 GB."""
    sky = varying_convolution(np.ones((1, 1, 2 * side - 1, 2 * side - 1)), None, np.zeros(64), (side, side), np.float32)
    cube = jax.ShapeDtypeStruct(sky.in_shape, np.float32)
    held = jax.jit(lambda operator, images: operator.mv(images)).lower(sky, cube).compile().memory_analysis()
    assert held is not None
    assert held.temp_size_in_bytes < 300e6


def test_places_on_a_large_sky_take_no_dense_matrix():
    """Dense, 900 pixels on 300 x 300 of the sky are 650 MB."""
    blocks = np.arange(900).reshape(30, 30).repeat(10, 0).repeat(10, 1)
    pixels = sp.csr_array((np.ones(blocks.size), (blocks.ravel(), np.arange(blocks.size))), shape=(900, blocks.size))
    recipe = Calibration.checked((3, 300, 300), **small(pixels=pixels, detector_shape=(30, 30)))
    tracemalloc.start()
    place = recipe.place()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(place, blocks)
    assert peak < 50e6
