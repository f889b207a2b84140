import dataclasses
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hifred.doppler import SPEED_OF_LIGHT, energy_factor, velocity_from_energy
from hifred.simulate import ELEMENTS, Plasma

SHARED = Path(os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
APEC = SHARED / "plasma" / "apec_3.0.9_compact.npz"


@pytest.fixture(scope="module")
def plasma():
    return Plasma.load()


@pytest.fixture(scope="module")
def lines_only(plasma):
    return dataclasses.replace(plasma, continuum_emissivity=np.zeros_like(plasma.continuum_emissivity))


@pytest.fixture(scope="module")
def apec():
    if not APEC.exists():
        pytest.skip(f"the full APEC table is not at {APEC}; set HIFRED_SHARED_DATA")
    with np.load(APEC) as table:
        return {name: table[name] for name in table}


def full_table_spectrum(plasma, apec, row, edges, broadening):
    """Every line and the fine continuum of the full table at one temperature, at solar abundance."""
    node = int(np.argmin(np.abs(apec["kT_kev"] - plasma.temperatures[row])))
    mine = apec["line_temperature"] == node
    number = apec["line_element"][mine]
    full = dataclasses.replace(
        plasma,
        temperatures=plasma.temperatures[row : row + 1],
        line_start=np.array([0, mine.sum()]),
        line_energy=apec["line_energy_kev"][mine].astype(float),
        line_emissivity=apec["line_emissivity"][mine].astype(float),
        line_number=number,
        line_group=np.zeros(mine.sum(), int),
        continuum_emissivity=np.zeros_like(plasma.continuum_emissivity[:1]),
    )
    energy = apec["continuum_energy_kev"].astype(float)
    density = apec["continuum_emissivity"][node].astype(float).sum(axis=0)
    steps = np.diff(energy) * (density[1:] + density[:-1]) / 2
    continuum = np.diff(np.interp(edges, energy, np.concatenate([[0], np.cumsum(steps)])))
    return continuum + full.element_spectra(edges, 0, 0.0, broadening).sum(axis=0)


@pytest.mark.parametrize(
    ("low", "high", "lowest_kT"), [(0.5, 1.4, 0.2), (6.19, 6.91, 1.6), (1.8, 5.0, 0.6), (0.31, 9.9, 0.2)]
)
def test_shipped_table_equals_the_full_one(plasma, apec, low, high, lowest_kT):
    edges = np.linspace(low, high, 1001)
    for row in np.flatnonzero(plasma.temperatures >= lowest_kT)[::3]:
        expected = full_table_spectrum(plasma, apec, row, edges, 200.0)
        found = plasma.spectrum(edges, plasma.temperatures[row], broadening_km_s=200.0)
        assert np.abs(found - expected).sum() < 0.01 * expected.sum()
        assert found.sum() == pytest.approx(expected.sum(), rel=1e-3)


def test_shipped_table_is_small_and_holds_no_objects():
    table = files("hifred.simulate").joinpath("data/plasma.npz")
    assert len(table.read_bytes()) < 1.5e6
    with table.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype.kind in "fiuU" for name in arrays)
        assert "APEC 3.0.9" in str(arrays["source"])


@given(velocity=st.floats(-6000, 6000), broadening=st.floats(0, 2000), kT=st.floats(0.25, 10))
@settings(max_examples=20, deadline=None)
def test_lines_keep_their_photons_however_they_move(lines_only, velocity, broadening, kT):
    edges = np.linspace(1.5, 9.0, 751)
    bright = (lines_only.line_energy > 2.0) & (lines_only.line_energy < 8.0)
    inner = dataclasses.replace(lines_only, line_emissivity=lines_only.line_emissivity * bright)
    at_rest = inner.spectrum(edges, kT)
    moved = inner.spectrum(edges, kT, velocity_km_s=velocity, broadening_km_s=broadening)
    assert moved.sum() == pytest.approx(at_rest.sum(), rel=1e-8)
    assert (moved >= 0).all()


@given(velocity=st.floats(-5000, 5000), broadening=st.floats(50, 1000))
@settings(max_examples=20, deadline=None)
def test_a_shifted_line_is_where_the_doppler_formula_puts_it(lines_only, velocity, broadening):
    row = int(np.argmin(np.abs(lines_only.temperatures - 0.5)))
    strongest = lines_only.line_start[row] + np.argmax(
        lines_only.line_emissivity[slice(*lines_only.line_start[row : row + 2])]
    )
    only = np.zeros_like(lines_only.line_emissivity)
    only[strongest] = 1.0
    line = dataclasses.replace(lines_only, line_emissivity=only)
    rest = line.line_energy[strongest]
    edges = np.linspace(0.85 * rest, 1.15 * rest, 1001)
    spectrum = line.element_spectra(edges, row, velocity, broadening).sum(axis=0)
    centroid = spectrum @ (edges[1:] + edges[:-1]) / 2 / spectrum.sum()
    beta = velocity / SPEED_OF_LIGHT
    expected = rest * np.sqrt((1 - beta) / (1 + beta))
    assert abs(centroid - expected) < 0.01 * (edges[1] - edges[0])


def test_a_line_narrower_than_a_bin_stays_whole(lines_only):
    edges = np.linspace(2.0, 8.0, 13)
    row = 10
    mine = slice(*lines_only.line_start[row : row + 2])
    energy, emissivity = lines_only.line_energy[mine], lines_only.line_emissivity[mine]
    expected = np.histogram(energy, edges, weights=emissivity)[0]
    assert lines_only.element_spectra(edges, row).sum(axis=0) == pytest.approx(expected, rel=0.01)


@given(st.integers(2, 40), st.floats(0.25, 8))
@settings(max_examples=15, deadline=None)
def test_bins_add_up(plasma, factor, kT):
    fine = np.linspace(0.6, 1.2, 10 * factor + 1)
    total = plasma.spectrum(fine, kT, broadening_km_s=100.0).reshape(10, factor).sum(axis=1)
    coarse = plasma.spectrum(fine[::factor], kT, broadening_km_s=100.0)
    assert total == pytest.approx(coarse, rel=1e-7, abs=1e-9 * coarse.sum())


def test_abundances_scale_their_element(plasma):
    edges = np.linspace(6.0, 7.0, 51)
    elements = plasma.element_spectra(edges, 12)
    kT = plasma.temperatures[12]
    assert plasma.spectrum(edges, kT) == pytest.approx(elements.sum(axis=0))
    assert plasma.spectrum(edges, kT, {"Fe": 3.0}) == pytest.approx(
        elements.sum(axis=0) + 2 * elements[ELEMENTS.index("Fe")]
    )
    assert plasma.spectrum(edges, kT, 0) == pytest.approx(elements[0])


def test_between_two_temperatures_the_emissivity_is_linear_in_log_temperature(plasma):
    edges = np.linspace(0.5, 2.0, 31)
    low, high = plasma.temperatures[5:7]
    middle = plasma.spectrum(edges, np.sqrt(low * high))
    assert middle == pytest.approx((plasma.spectrum(edges, low) + plasma.spectrum(edges, high)) / 2)


@given(st.floats(-2e5, 2e5))
def test_doppler_formulas_are_inverse(velocity):
    assert velocity_from_energy(6.7 * energy_factor(velocity), 6.7) == pytest.approx(velocity, abs=1e-6, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], 0.1), "kT must be within"),
        (([1.0, 2.0], float("nan")), "kT must be within"),
        (([2.0, 1.0], 1.0), "ascending"),
        (([0.1, 1.0], 1.0), "must be within 0.28"),
        (([1.0, 2.0], 1.0, {"Xx": 1.0}), "found 'Xx'"),
        (([1.0, 2.0], 1.0, {"H": 2.0}), "found 'H'"),
        (([1.0, 2.0], 1.0, {"O": -1.0}), "not negative"),
        (([1.0, 2.0], 1.0, None, 3e5), "speed of light"),
    ],
)
def test_bad_arguments_are_named(plasma, arguments, message):
    with pytest.raises(ValueError, match=message):
        plasma.spectrum(*arguments)
