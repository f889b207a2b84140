import numpy as np
import pytest

from hifred.instruments.arf import EffectiveArea
from hifred.instruments.mock import CcdTail, mean_area, redistribution
from hifred.instruments.presets import instrument, instrument_names
from hifred.instruments.rmf import Redistribution


def test_area_goes_through_its_table_and_ends_with_it():
    energies, areas = np.array([1.0, 2.0, 4.0]), np.array([100.0, 400.0, 100.0])
    at = mean_area(np.array([0.5, 0.9, 1.999, 2.001, 3.999, 4.0, 5.0]), energies, areas)
    assert at[0] == at[-1] == 0
    assert at[2] == pytest.approx(400, rel=1e-3)
    assert at[4] == pytest.approx(100, rel=1e-3)
    fine = mean_area(np.linspace(1, 4, 3001), energies, areas)
    assert fine.max() <= 400 + 1e-9
    # A wide bin has the mean of the narrow ones.
    assert mean_area(np.array([1.0, 2.0]), energies, areas)[0] == pytest.approx(fine[:1000].mean(), rel=0.01)


def test_gaussian_lines_have_their_width_and_place():
    edges = np.arange(5.9, 6.1, 0.0005)
    matrix = redistribution(edges, edges, np.array([1.0, 6.0]), np.array([0.0040, 0.0045])).toarray()
    energy = (edges[1:] + edges[:-1]) / 2
    line = matrix[:, 200]
    assert line.sum() == pytest.approx(1, abs=1e-7)
    mean = line @ energy
    assert mean == pytest.approx(energy[200], abs=1e-6)
    spread = np.sqrt(line @ (energy - mean) ** 2 - 0.0005**2 / 12)
    assert spread * 2.35482 == pytest.approx(0.0045, rel=1e-3)


def test_photons_outside_of_the_channels_are_lost():
    width = np.array([0.004])
    half = redistribution(np.array([1.9995, 2.0005]), np.linspace(2.0, 2.1, 201), np.array([2.0]), width)
    np.testing.assert_allclose(half.sum(axis=0), [0.5], atol=1e-9)
    wide = redistribution(np.array([2.0, 2.5]), np.linspace(1.9, 2.1, 401), np.array([2.0]), width)
    np.testing.assert_allclose(wide.sum(axis=0), [0.2], atol=1e-3)


def test_wide_bins_spread_their_photons():
    channels = np.linspace(1, 2, 1001)
    wide = redistribution(np.array([1.4, 1.6]), channels, np.array([1.0]), np.array([0.004])).toarray()[:, 0]
    np.testing.assert_allclose(wide[420:580], 0.005, rtol=1e-3)


def test_ccd_tail():
    tail = CcdTail(0.05, 0.0, 0.075, 0.04, 0.0)
    edges, channels = np.arange(0.3, 8.0, 0.01), np.arange(0.0, 10.0, 0.005)
    matrix = redistribution(edges, channels, np.array([1.0, 6.0]), np.array([0.08, 0.17]), tail).toarray()
    photon, energy = (edges[1:] + edges[:-1]) / 2, (channels[1:] + channels[:-1]) / 2
    np.testing.assert_allclose(matrix.sum(axis=0)[photon > 1], 1, atol=1e-6)
    at = int(np.searchsorted(photon, 6.0))
    # The flat shelf alone reaches 1 keV below: 4% of 5 in 6 keV.
    assert matrix[energy < 5.0, at].sum() == pytest.approx(0.04 * 5 / 6, rel=0.02)
    assert matrix.min() >= 0
    shoulder, shelf = CcdTail(0.2, -1.2, 0.075, 0.06, -2.2).fractions(np.array([0.1, 1.0]))
    np.testing.assert_allclose(shoulder + shelf, [0.6, 0.26])


@pytest.mark.parametrize("name", instrument_names())
def test_every_preset_makes_a_response(name):
    preset = instrument(name)
    low, high = preset.band
    width = float(preset.fwhm(low)) / 3
    edges = np.arange(low, min(low + 300 * width, high), width)
    channels = np.arange(0.0, edges[-1] + 30 * width, width)
    area, matrix = preset.mock_area(edges), preset.mock_redistribution(edges, channels)
    assert isinstance(area, EffectiveArea)
    assert isinstance(matrix, Redistribution)
    assert area.area.min() > 0
    assert matrix.matrix.shape == (channels.size - 1, edges.size - 1)
    sums = matrix.matrix.sum(axis=0)
    assert np.all(sums > 0.9)
    assert np.all(sums < 1 + 1e-9)
    assert not matrix.includes_area


def test_channels_of_the_instrument_keep_their_numbers():
    resolve = instrument("xrism-resolve")
    matrix = resolve.mock_redistribution(np.array([6.0, 6.0005]), np.arange(12000, 12041) * 0.0005)
    assert matrix.first_channel == 12000
    assert (
        instrument("acis-i").mock_redistribution(np.array([1.0, 1.1]), np.arange(10, 200) * 0.0146).first_channel == 11
    )
    assert resolve.mock_redistribution(np.array([6.0, 6.1]), np.array([5.0, 6.0, 7.5])).first_channel == 0


@pytest.mark.parametrize(
    ("name", "stem", "energies"),
    [
        ("epic-pn", "xmm_epic_pn", (1.0, 1.85, 6.0)),
        ("epic-mos1", "xmm_epic_mos1", (1.0, 1.85, 6.0)),
        ("acis-i", "acisi_aimpt_cy18", (1.0, 1.85, 6.0)),
    ],
)
def test_mocks_are_near_the_calibration(shared_data, name, stem, energies):
    preset = instrument(name)
    edges = np.arange(0.6, 8.0, 0.1)
    area = EffectiveArea.read(shared_data(f"responses/{stem}.arf.gz")).on(edges)
    np.testing.assert_allclose(preset.mock_area(edges).area, area, rtol=0.1)
    real = Redistribution.read(shared_data(f"responses/{stem}.rmf.gz"))
    for energy in energies:
        assert float(preset.fwhm(energy)) == pytest.approx(real.fwhm(energy), rel=0.03)


def test_resolve_area_is_that_of_the_file(shared_data):
    edges = np.arange(1.8, 10.0, 0.1)
    real = EffectiveArea.read(shared_data("responses/xrism_resolve_gate_valve_closed.arf.gz")).on(edges)
    np.testing.assert_allclose(instrument("xrism-resolve").mock_area(edges).area, real, rtol=0.05)


def test_bad_edges():
    preset = instrument("epic-pn")
    with pytest.raises(ValueError, match="energy_edges: expected at least two increasing"):
        preset.mock_area([1.0])
    with pytest.raises(ValueError, match="energy_edges: expected positive"):
        preset.mock_area([0.0, 1.0])
    with pytest.raises(ValueError, match="channel_edges: expected at least two increasing"):
        preset.mock_redistribution([1.0, 2.0], [2.0, 1.0])
    with pytest.raises(ValueError, match="shoulder_fraction: expected 0 to 1"):
        CcdTail(2.0, 0.0, 0.1, 0.0, 0.0)
