import numpy as np
import pytest
from scipy.sparse import csr_array

from hifred.data.calibrate import on_axis_fraction
from hifred.instruments import GaussianPSF, ImagePSF, KingPSF, PixelArray, Redistribution, instrument
from hifred.simulate.scatter import caught, channels, displacements


@pytest.mark.parametrize(
    "psf",
    [
        instrument("epic-pn").psf,
        instrument("xrism-resolve").psf,
        GaussianPSF((6.0, 0.5, 1.0)),
        ImagePSF(np.exp(-(np.hypot(*np.mgrid[-40:41, -40:41]) ** 2) / 100), 1.0),
    ],
)
def test_photons_are_thrown_as_the_psf_says(psf):
    rng = np.random.default_rng(0)
    size = 400_000
    energy, angle = rng.choice([5.0, 6.1, 7.0], size), rng.choice([0.0, 1.3, 4.0], size)
    x, y = displacements(psf, energy, angle, rng)
    radius = np.hypot(x, y)
    for e in (5.0, 6.1, 7.0):
        for t in (0.0, 1.3, 4.0):
            mine = (energy == e) & (angle == t)
            for r in (2.0, 6.0, 20.0, 100.0):
                share = float(psf.encircled(r, e, t))
                error = np.sqrt(share * (1 - share) / mine.sum())
                assert (radius[mine] < r).mean() == pytest.approx(share, abs=4.5 * error + 1e-3)
    # Round: the same to all sides, in direction and in both axes.
    turn = np.arctan2(y, x)
    quarters = np.histogram(turn, 8, (-np.pi, np.pi))[0]
    assert ((quarters - size / 8) ** 2).sum() / (size / 8) < 30


def test_no_photons_and_photons_beyond_the_table_are_no_trouble():
    rng = np.random.default_rng(1)
    x, _ = displacements(KingPSF((5.0,), (1.5,)), np.zeros(0), np.zeros(0), rng)
    assert x.size == 0
    x, y = displacements(KingPSF((5.0,), (1.01,)), np.full(1000, 6.0), np.zeros(1000), rng)
    assert np.isfinite(x).all()
    assert (np.hypot(x, y) > 1e6).any()


def small_rmf():
    # Column sums 1, 0.75 and 0; a gap in the energies between the second and the third.
    matrix = csr_array(np.array([[0.25, 0.0, 0.0], [0.0, 0.5, 0.0], [0.75, 0.25, 0.0]]))
    low, high = np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 5.0])
    return Redistribution(low, high, matrix, np.arange(3.0), np.arange(1.0, 4.0))


def test_channels_follow_the_columns():
    rng = np.random.default_rng(2)
    size = 100_000
    for energy, expected in ((1.5, [0, 0.25, 0, 0.75]), (2.5, [0.25, 0, 0.5, 0.25])):
        found = np.bincount(channels(small_rmf(), np.full(size, energy), rng) + 1, minlength=4) / size
        assert found == pytest.approx(expected, abs=0.008)
        assert (found[np.array(expected) == 0] == 0).all()


def test_photons_without_a_row_are_not_counted():
    rng = np.random.default_rng(3)
    energy = np.array([0.5, 1.0, 3.0, 3.5, 4.5, 5.0, 7.0])
    assert (channels(small_rmf(), energy, rng)[[0, 2, 3, 4, 5, 6]] == -1).all()
    assert channels(small_rmf(), np.array([4.5]), rng).tolist() == [-1]
    assert channels(small_rmf(), np.zeros(0), rng).size == 0


def test_a_matrix_with_area_is_refused():
    rmf = small_rmf()
    full = Redistribution(rmf.energy_lo, rmf.energy_hi, rmf.matrix, rmf.channel_lo, rmf.channel_hi, includes_area=True)
    with pytest.raises(ValueError, match="effective area"):
        channels(full, np.array([1.5]), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["xrism-resolve", "x-ifu"])
def test_what_an_array_catches_is_what_the_response_takes_it_to_catch(name):
    preset = instrument(name)
    array = preset.detector or PixelArray(30.0, np.arange(15).reshape(3, 5), (4,))
    share = caught(preset.psf, array, 6.5)
    assert 0.3 < share < 1
    assert share == pytest.approx(on_axis_fraction(preset.psf, array, 6.5), abs=2e-4)
