import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from hifred.simulate import Camera, draw_counts, expected_counts
from hifred.simulate.kernels import (
    FWHM,
    area,
    ccd_fwhm,
    ccd_redistribution,
    gaussian_line,
    gaussian_spot,
    king_spot,
)


@pytest.fixture
def cube():
    return np.random.default_rng(1).uniform(0, 1, (20, 9, 12))


def by_convolution(camera, cube):
    out = cube * camera.area[:, None, None]
    if camera.psf is not None:
        out = fftconvolve(out, camera.psf[None], mode="same", axes=(1, 2))
    if camera.lsf is not None:
        out = fftconvolve(out, camera.lsf[:, None, None], mode="same", axes=0)
    e, y, x = camera.rebin
    n, ny, nx = (size // factor for size, factor in zip(cube.shape, camera.rebin, strict=True))
    return out.reshape(n, e, ny, y, nx, x).sum(axis=(1, 3, 5))


@given(
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 4),
    st.sampled_from([(1, 1, 1), (4, 3, 3), (2, 1, 4)]),
)
@settings(max_examples=25, deadline=None)
def test_expected_counts_are_the_convolutions(h, w, n, rebin):
    rng = np.random.default_rng(h + 10 * w + 100 * n)
    cube = rng.uniform(0, 1, (20, 9, 12))
    psf, lsf = rng.uniform(size=(2 * h + 1, 2 * w + 1)), rng.uniform(size=2 * n + 1)
    camera = Camera("test", rng.uniform(1, 2, 20), lsf, psf, rebin)
    assert expected_counts(camera, cube) == pytest.approx(by_convolution(camera, cube), rel=1e-10)


def test_expected_counts_with_a_matrix(cube):
    matrix = np.random.default_rng(2).uniform(size=(5, 20))
    found = expected_counts(Camera("test", np.full(20, 3.0), lsf=matrix), cube)
    assert found == pytest.approx(np.einsum("ce,eyx->cyx", matrix, 3 * cube))


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (Camera("a", np.ones(3)), r"area must have shape \(20,\)"),
        (Camera("a", np.ones(20), rebin=(1, 2, 3)), "does not divide the 9 x 12 pixels"),
        (Camera("a", np.ones(20), rebin=(3, 1, 1)), "does not divide the 20 channels"),
        (Camera("a", np.ones(20), lsf=np.ones((5, 4))), "lsf must have 20 columns"),
    ],
)
def test_bad_cameras_are_refused(cube, camera, message):
    with pytest.raises(ValueError, match=message):
        expected_counts(camera, cube)


def test_draws_do_not_depend_on_the_last_bits():
    rng = np.random.default_rng(3)
    expected = 10 ** rng.uniform(-4, 5, 200_000)
    noise = 1 + 1e-14 * rng.standard_normal(expected.shape)
    first = draw_counts(expected, 7)
    assert (first == draw_counts(expected * noise, 7)).all()
    assert (first != draw_counts(expected, 8)).mean() > 0.2
    pull = (first - expected) / np.sqrt(expected)
    bright = expected > 5
    assert pull[bright].mean() == pytest.approx(0, abs=0.02)
    assert pull[bright].std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_expectations_are_refused(bad):
    with pytest.raises(ValueError, match="finite and not negative"):
        draw_counts(np.array([1.0, bad]), 0)


def test_kernels_hold_all_photons():
    for kernel in (gaussian_line(0.3), gaussian_line(7.0), gaussian_spot(2.0), king_spot(1.0, 1.5, 6)):
        assert kernel.sum() == pytest.approx(1)
        assert kernel == pytest.approx(kernel[::-1])
        assert all(size % 2 for size in kernel.shape)
    offset = np.arange(-28, 29)
    assert np.sqrt(gaussian_line(7.0) @ offset**2) == pytest.approx(7.0, rel=0.01)


def test_king_profile_has_wings():
    spot = king_spot(2.25, 1.5, 14)
    r = np.hypot(*np.meshgrid(np.arange(-14, 15), np.arange(-14, 15)))
    # Enclosed fraction 1 - (1 + (r / rc)^2)^(1 - slope), relative to that within 14 pixels.
    within = [1 - (1 + (q / 2.25) ** 2) ** -0.5 for q in (5.5, 14)]
    inside = spot[r < 5.5].sum() / spot[r < 14].sum()
    assert inside == pytest.approx(within[0] / within[1], rel=0.02)


def test_ccd_redistribution_has_a_peak_a_shoulder_and_a_shelf():
    channels = np.linspace(0, 3, 3001)
    # Photons more than 0.2 keV too low in the matrix of EPIC pn: 18, 8 and 3 per cent.
    for energy, low in ((0.55, 0.18), (0.8, 0.083), (1.2, 0.033)):
        column = ccd_redistribution(np.array([energy - 1e-4, energy + 1e-4]), channels)[:, 0]
        assert (column >= 0).all()
        assert column.sum() == pytest.approx(1, abs=1e-3)
        assert column[: int(1000 * (energy - 0.2))].sum() == pytest.approx(low, rel=0.35)
        assert abs(channels[np.argmax(column)] - energy) < 0.02
    assert 1e3 * ccd_fwhm([1.0, 1.85, 6.0]) == pytest.approx([103, 125, 195], rel=0.02)
    assert pytest.approx(2.354820045) == FWHM


@pytest.mark.parametrize(("name", "known"), [("EPIC pn", 1142), ("calorimeter", 290)])
def test_areas_are_smooth_and_believable(name, known):
    energy = np.linspace(0.5, 8, 2000)
    curve = area(name, energy)
    assert np.interp(2.0, energy, curve) == pytest.approx(known, rel=0.1)
    assert np.abs(np.diff(np.log(curve))).max() < 0.03
