import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hifred.doppler import energy_factor
from hifred.metrics import LINES, line_centroid, line_maps, line_velocity_error, line_width

ENERGIES = 0.6 + 0.0002 * np.arange(550)  # keV, bins of 90 km/s around O VIII
REST = LINES["O VIII"]


def gaussian_line(velocity, width, continuum=1e-3, slope=0.0):
    centre, sigma = REST * energy_factor(velocity), REST * width / 299792.458
    profile = np.exp(-0.5 * ((ENERGIES - centre) / sigma) ** 2) / sigma
    return 1e-2 * profile + continuum * (1 + slope * (ENERGIES - REST))


@given(st.floats(-2500, 2500), st.floats(300, 700), st.floats(0, 10), st.floats(-5, 5))
@settings(max_examples=40, deadline=None)
def test_centroid_and_width_of_a_gaussian_line(velocity, width, continuum, slope):
    cube = gaussian_line(velocity, width, continuum, slope)[:, None, None]
    maps = line_maps(cube, ENERGIES, "O VIII")
    assert maps.centroid[0, 0] == pytest.approx(velocity, abs=15)
    assert maps.width[0, 0] == pytest.approx(width, abs=15)


def test_brightness_and_names_do_not_matter():
    cube = np.stack([gaussian_line(800, 400), 0.05 * gaussian_line(-300, 600)], axis=1)[:, None, :]
    named, by_energy = line_centroid(cube, ENERGIES, "O VIII"), line_centroid(cube, ENERGIES, REST)
    assert named == pytest.approx(np.array([[800, -300]]), abs=10)
    assert (named == by_energy).all()
    assert line_width(cube, ENERGIES, "O VIII") == pytest.approx(np.array([[400, 600]]), abs=10)


def test_faint_pixels_are_nan_and_noise_cannot_throw_the_mean_out():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((len(ENERGIES), 4, 4))
    cube = gaussian_line(1000, 400)[:, None, None] + 0.3 * noise
    cube[:, 0, 0] = 1e-3  # continuum without a line
    maps = line_maps(cube, ENERGIES, "O VIII", reach=4000.0)
    assert np.isnan(maps.centroid[0, 0])
    assert np.isnan(maps.width[0, 0])
    rest = np.delete(maps.centroid.ravel(), 0)
    assert np.abs(rest).max() < 4000
    assert rest.mean() == pytest.approx(1000, abs=400)


def test_the_velocity_error_is_the_rms_where_both_have_the_line():
    truth = np.stack([gaussian_line(v, 400) for v in (0, 500, 1000)], axis=1)[:, None, :]
    result = np.stack([gaussian_line(v, 400) for v in (300, 900, 0)], axis=1)[:, None, :]
    result[:, 0, 2] = 1e-6  # here the result has no line
    found = line_velocity_error(result, truth, ENERGIES, "O VIII")
    assert found == pytest.approx(np.sqrt((300**2 + 400**2) / 2), abs=10)
    with pytest.raises(ValueError, match="of both"):
        line_velocity_error(0 * result, truth, ENERGIES, "O VIII")


def test_one_side_band_is_enough():
    cut = REST * energy_factor(4200) < ENERGIES
    cube = gaussian_line(500, 300)[cut, None, None]
    assert line_centroid(cube, ENERGIES[cut], "O VIII", reach=4000.0)[0, 0] == pytest.approx(500, abs=10)


@pytest.mark.parametrize(
    ("line", "options", "message"),
    [
        ("O IX", {}, "expected one of the lines .* found 'O IX'"),
        (-1.0, {}, "must be above 0"),
        ("Fe XXV", {}, "expected energies 6000.0 km/s to both sides of 6.7004 keV"),
        ("O VIII", {"reach": 40000.0}, "expected energies"),
    ],
)
def test_bad_lines_are_named(line, options, message):
    with pytest.raises(ValueError, match=message):
        line_maps(np.ones((len(ENERGIES), 1, 1)), ENERGIES, line, **options)


def test_energies_must_fit():
    with pytest.raises(ValueError, match="energies must have shape"):
        line_maps(np.ones((5, 1, 1)), ENERGIES, "O VIII")
