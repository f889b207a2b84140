import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hifred import metrics

CUBES = arrays(np.float64, (4, 3, 3), elements=st.floats(0.01, 100))


def test_nmse_by_hand():
    truth = np.array([3.0, 0.0, 0.0, 4.0]).reshape(1, 2, 2)
    result = truth + np.array([0.3, 0.0, 0.0, 0.4]).reshape(1, 2, 2)
    assert metrics.nmse(result, truth) == pytest.approx(-20)
    assert metrics.nmse(truth, truth) == -np.inf


@given(CUBES, st.sampled_from([0.125, 0.5, 4.0]))
def test_nmse_does_not_depend_on_the_unit(truth, factor):
    result = truth[::-1]
    assert metrics.nmse(factor * result, factor * truth) == pytest.approx(metrics.nmse(result, truth))


def test_spectral_angle_by_hand():
    truth = np.array([[1.0, 0.0], [1.0, 0.0]]).reshape(2, 1, 2)
    result = np.array([[1.0, 5.0], [0.0, 5.0]]).reshape(2, 1, 2)
    angles = metrics.spectral_angle_map(result, truth)
    assert angles[0, 0] == pytest.approx(45)
    assert np.isnan(angles[0, 1])
    assert metrics.spectral_angle(result, truth) == pytest.approx(45)
    assert metrics.spectral_angle_map(0 * result, truth)[0, 0] == pytest.approx(90)


def test_small_angles_are_exact():
    truth = np.array([1.0, 0.0]).reshape(2, 1, 1)
    result = np.array([1.0, 1e-10]).reshape(2, 1, 1)
    assert metrics.spectral_angle(result, truth) == pytest.approx(np.rad2deg(1e-10), rel=1e-6)


@given(CUBES, st.floats(1e-20, 1e20))
def test_angles_do_not_depend_on_brightness(cube, factor):
    assert metrics.spectral_angle(factor * cube, cube) == pytest.approx(0, abs=1e-5)
    assert metrics.mean_angular_distance(factor * cube) == pytest.approx(metrics.mean_angular_distance(cube), abs=1e-9)


def test_mean_angular_distance_by_hand():
    # Spectra along the axes of a 2-D plane: east, north-east, north; and one dark pixel.
    spectra = {(0, 0): (1, 0), (0, 1): (2, 2), (1, 0): (0, 3), (1, 1): (0, 0)}
    cube = np.zeros((2, 2, 2))
    for (y, x), spectrum in spectra.items():
        cube[:, y, x] = spectrum
    by_four = metrics.angular_distance_map(cube)
    assert by_four[0, 0] == pytest.approx((45 + 90) / 2)
    assert by_four[0, 1] == pytest.approx(45)
    assert by_four[1, 0] == pytest.approx(90)
    assert np.isnan(by_four[1, 1])
    by_eight = metrics.angular_distance_map(cube, neighbours=8)
    assert by_eight[0, 1] == pytest.approx((45 + 45) / 2)
    assert by_eight[1, 0] == pytest.approx((90 + 45) / 2)
    assert metrics.mean_angular_distance(cube) == pytest.approx((67.5 + 45 + 90) / 3)


@given(CUBES, st.sampled_from([4, 8]))
def test_angular_distance_is_the_formula_pixel_by_pixel(cube, neighbours):
    found = metrics.angular_distance_map(cube, neighbours)
    for y, x in np.ndindex(3, 3):
        angles = []
        for v, u in np.ndindex(3, 3):
            near = max(abs(v - y), abs(u - x)) == 1 if neighbours == 8 else abs(v - y) + abs(u - x) == 1
            if near:
                a, b = cube[:, y, x], cube[:, v, u]
                angles.append(np.arccos(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1)))
        assert found[y, x] == pytest.approx(np.rad2deg(np.mean(angles)), abs=1e-5)


def test_flux_per_pixel_by_hand():
    truth, result = np.ones((2, 1, 2)), np.ones((2, 1, 2))
    result[:, 0, 0], result[0, 0, 1] = 1.5, 0.5
    assert metrics.flux_error_map(result, truth) == pytest.approx(np.array([[0.5, -0.25]]))
    assert metrics.flux_per_pixel(result, truth) == pytest.approx((1 + 0.5) / 4)


def test_ergas_by_hand():
    truth = np.array([2.0, 2.0, 5.0, 5.0, 0.0, 0.0]).reshape(3, 1, 2)
    result = truth + np.array([0.2, -0.2, 1.0, 1.0, 7.0, 7.0]).reshape(3, 1, 2)
    assert metrics.ergas(result, truth) == pytest.approx(100 * np.sqrt((0.1**2 + 0.2**2) / 2))
    assert metrics.ergas(result, truth, ratio=1 / 3) == pytest.approx(100 / 3 * np.sqrt((0.1**2 + 0.2**2) / 2))


def test_ergas_leaves_out_the_energies_at_which_next_to_nothing_shines():
    truth = np.array([2.0, 2.0, 5.0, 5.0, 0.002, 0.002]).reshape(3, 1, 2)
    result = truth + np.array([0.2, -0.2, 1.0, 1.0, 7.0, 7.0]).reshape(3, 1, 2)
    assert metrics.ergas(result, truth) == pytest.approx(100 * np.sqrt((0.1**2 + 0.2**2) / 2))
    every = 100 * np.sqrt((0.1**2 + 0.2**2 + 3500.0**2) / 3)
    assert metrics.ergas(result, truth, dark=0) == pytest.approx(every)
    # The cut is relative: it does not depend on the unit.
    assert metrics.ergas(1e-9 * result, 1e-9 * truth) == pytest.approx(metrics.ergas(result, truth))
    for dark in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="dark"):
            metrics.ergas(result, truth, dark=dark)


def test_scores_are_the_measures_one_by_one():
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 2, (80, 12, 13))
    energies = np.linspace(6.4, 7.0, 80)
    truth += 30 * np.exp(-0.5 * ((energies[:, None, None] - 6.7) / 0.02) ** 2)
    result = truth + rng.normal(0, 0.1, truth.shape)
    found = metrics.score(result, truth, ratio=0.5, energies=energies, line="Fe XXV")
    assert found.nmse == metrics.nmse(result, truth)
    assert found.spectral_angle == metrics.spectral_angle(result, truth)
    assert found.ssim == metrics.ssim(result, truth)
    assert found.ergas == metrics.ergas(result, truth, 0.5)
    assert found.flux_per_pixel == metrics.flux_per_pixel(result, truth)
    assert found.angular_distance == metrics.mean_angular_distance(result)
    assert found.velocity_error == metrics.line_velocity_error(result, truth, energies, "Fe XXV", faint=0.05)


def test_a_score_that_does_not_exist_is_none():
    cube = np.ones((4, 3, 3))
    found = metrics.score(2 * cube, cube)
    assert (found.ssim, found.velocity_error) == (None, None)
    assert found.nmse == pytest.approx(0)
    dark = metrics.score(cube, 0 * cube)
    assert (dark.nmse, dark.ergas, dark.flux_per_pixel) == (None, None, None)
    with pytest.raises(ValueError, match=r"\(4, 3, 3\), found \(4, 3, 2\)"):
        metrics.score(cube[..., :2], cube)


def test_ssim_by_hand():
    truth = np.zeros((1, 11, 11))
    truth[0, 5, 5] = 1.0
    assert metrics.ssim(truth, truth) == pytest.approx(1)
    offset = np.arange(-5, 6)
    line = np.exp(-(offset**2) / 4.5)
    centre = (
        line[5] / line.sum()
    ) ** 2  # one window, in which the mean and the mean square are the weight of the pixel
    c1, c2, variance = 1e-4, 9e-4, centre - centre**2
    half = (2 * 0.5 * centre**2 + c1) / (1.25 * centre**2 + c1) * (variance + c2) / (1.25 * variance + c2)
    assert metrics.ssim(0.5 * truth, truth) == pytest.approx(half)


@given(arrays(np.float64, (2, 12, 13), elements=st.floats(0, 10)), st.floats(0.1, 10))
def test_ssim_is_at_most_one(cube, factor):
    truth = cube + np.arange(13)
    assert metrics.ssim(truth, truth) == pytest.approx(1)
    assert metrics.ssim(factor * truth[:, ::-1], truth) <= 1 + 1e-12


def test_cstat_by_hand():
    counts, predicted = np.array([0.0, 1.0, 4.0]), np.array([0.5, 2.0, 4.0])
    expected = 2 * (0.5 + (2 - 1 + np.log(0.5)))
    assert metrics.cstat(counts, predicted) == pytest.approx(expected)
    assert metrics.kl(counts, predicted) == pytest.approx(expected / 2)
    assert metrics.cstat(counts, predicted, mask=counts > 2) == 0
    assert metrics.cstat(np.ones(1), np.zeros(1)) == np.inf
    assert metrics.cstat(np.zeros(1), np.zeros(1)) == 0
    tiny = 1e-9
    assert metrics.kl(np.full(1, 1e6), np.full(1, 1e6 * (1 + tiny))) == pytest.approx(0.5e6 * tiny**2, rel=1e-4)


def test_bad_arguments_are_named():
    cube = np.ones((3, 4, 4))
    for metric in (metrics.nmse, metrics.spectral_angle, metrics.ergas, metrics.flux_per_pixel, metrics.ssim):
        with pytest.raises(ValueError, match="result must have the shape of truth"):
            metric(np.ones((2, 4, 4)), cube)
        with pytest.raises(ValueError, match="truth must be finite"):
            metric(cube, np.nan * cube)
        with pytest.raises(ValueError, match=r"must have three axes \(energy, y, x\)"):
            metric(cube[0], cube)
        with pytest.raises(ValueError, match=r"truth must|images must"):
            metric(cube, 0 * cube)
    with pytest.raises(ValueError, match="11 pixels wide, found"):
        metrics.ssim(cube, cube)
    with pytest.raises(ValueError, match="neighbours must be 4 or 8, found 6"):
        metrics.mean_angular_distance(cube, 6)
    with pytest.raises(ValueError, match="predicted must have the shape"):
        metrics.cstat(cube, np.ones(3))
    with pytest.raises(ValueError, match="mask must have the shape"):
        metrics.cstat(cube, cube, mask=np.ones(3))
    with pytest.raises(ValueError, match="counts must not be negative"):
        metrics.cstat(-cube, cube)
