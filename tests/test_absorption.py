from importlib import resources

import numpy as np
import pytest

from hifred.absorption import TABLE, TYPICAL, cross_section, mean_cross_section, transmission


def test_edges_are_where_they_are_and_energy_helps():
    oxygen, iron = cross_section([0.53, 0.55]), cross_section([7.1, 7.14])
    assert oxygen[1] > 1.3 * oxygen[0]
    assert iron[1] > 1.5 * iron[0]
    # Wilms, Allen & McCray 2000, figure 1: about 2e-22 cm2 at 1 keV.
    assert 1.5 < cross_section(1.0) < 2.5
    # No edge lies between 1 and 1.3 keV.
    assert np.all(np.diff(cross_section(np.linspace(1.0, 1.3, 50))) < 0)


def test_columns_add_up():
    energy = np.array([0.4, 1.0, 5.0])
    once, twice = (transmission(energy, n) for n in (0.3, 0.6))
    assert twice == pytest.approx(once**2)
    assert np.all(np.diff(once) > 0)
    assert transmission(energy, 0.0) == pytest.approx([1, 1, 1])
    assert transmission(energy, np.zeros((2, 3))).shape == (3, 2, 3)


def test_the_table_is_small_and_holds_no_objects():
    table = resources.files("hifred").joinpath(TABLE)
    assert len(table.read_bytes()) < 1e5
    with table.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        assert "TBabs" in str(arrays["source"])


def test_without_lines_edges_stay():
    energy = np.linspace(0.3, 10.0, 20000)
    plain, without = cross_section(energy), cross_section(energy, lines=False)
    assert np.quantile(np.abs(without / plain - 1), 0.995) < 0.02
    assert cross_section(0.5274) > 40 > 8 > cross_section(np.linspace(0.52, 0.54, 500), lines=False).max()
    before, after = cross_section([7.10, 7.14], lines=False)
    assert after > 1.5 * before


def test_beyond_the_table_it_stays():
    assert cross_section(0.01) == cross_section(0.25)
    assert cross_section(50.0) == cross_section(11.0)


def test_a_bin_passes_the_mean_of_its_energies():
    edges = np.array([0.2, 0.26, 0.5, 0.527, 0.528, 0.6, 7.0, 7.2, 12.0])
    found = mean_cross_section(edges)
    for low, high, section in zip(edges, edges[1:], found, strict=False):
        fine = np.linspace(low, high, 200001)
        assert np.exp(-TYPICAL * section) == pytest.approx(transmission(fine, TYPICAL).mean(), rel=0.03)
