import numpy as np
import pytest
from astropy.io import fits

from hifred.fitsio import FileError
from hifred.instruments.arf import EffectiveArea

EDGES = np.array([0.0, 0.5, 1.0, 2.0, 4.0])
AREA = np.array([0.0, 100.0, 300.0, 50.0])


def table(
    low=EDGES[:-1], high=EDGES[1:], area=AREA, units=("keV", "keV", "cm**2"), names=("ENERG_LO", "ENERG_HI", "SPECRESP")
):
    columns = [fits.Column(n, "D", u, array=v) for n, u, v in zip(names, units, (low, high, area), strict=True)]
    return fits.BinTableHDU.from_columns(columns, name="SPECRESP")


def save(path, hdu):
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


def test_what_is_written_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    for dtype in (np.float32, float):
        edges = np.sort(rng.random(101).astype(dtype)).astype(float) + 0.1
        area = EffectiveArea(edges[:-1], edges[1:], (rng.random(100) * 500).astype(dtype).astype(float), "XMM", "EPN")
        for name in ("area.arf", "area.arf.gz"):
            area.write(tmp_path / name, overwrite=True)
            again = EffectiveArea.read(tmp_path / name)
            for field in ("energy_lo", "energy_hi", "area"):
                np.testing.assert_array_equal(getattr(area, field), getattr(again, field))
                assert getattr(again, field).dtype == np.dtype(float)
            assert (again.telescope, again.instrument, again.path) == ("XMM", "EPN", str(tmp_path / name))
        with pytest.raises(FileError, match="exists"):
            area.write(tmp_path / "area.arf")
    assert fits.getheader(tmp_path / "area.arf", "SPECRESP")["HDUCLAS2"] == "SPECRESP"


def test_units_are_taken_to_ours(tmp_path):
    plain = EffectiveArea.read(save(tmp_path / "a.arf", table()))
    other = save(tmp_path / "b.arf", table(EDGES[:-1] * 1e3, EDGES[1:] * 1e3, AREA * 1e-4, ("eV", "eV", "m2")))
    again = EffectiveArea.read(other)
    np.testing.assert_allclose(again.energy_hi, plain.energy_hi, rtol=1e-15)
    np.testing.assert_allclose(again.area, plain.area, rtol=1e-15)


def test_the_mean_over_other_bins_is_that_of_the_piecewise_constant_curve():
    area = EffectiveArea(EDGES[:-1], EDGES[1:], AREA)
    edges = np.array([-1.0, 0.25, 0.75, 0.8, 1.5, 3.0, 5.0, 6.0])
    fine = np.linspace(-1, 6, 700_001)
    at = 0.5 * (fine[1:] + fine[:-1])
    curve = np.where((at > 0) & (at < 4), AREA[np.clip(np.searchsorted(EDGES, at) - 1, 0, 3)], 0)
    expected = np.histogram(at, edges, weights=curve)[0] / np.histogram(at, edges)[0]
    np.testing.assert_allclose(area.on(edges), expected, atol=1e-3)
    np.testing.assert_array_equal(area.on(EDGES), AREA)
    for bad in ([1.0], [1.0, 1.0], [2.0, 1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="edges"):
            area.on(bad)


def test_gaps_of_rounding_are_closed_and_real_gaps_are_not():
    edges = np.linspace(6, 6.01, 21)
    low, high = edges[:-1].copy(), edges[1:].copy()
    low[1::3] += 4e-7
    high[2::3] += 4e-7
    whole = EffectiveArea(low, high, np.full(20, 100.0))
    np.testing.assert_allclose(whole.on(np.linspace(6, 6.01, 101)), 100, rtol=1e-12)
    low = edges[:-1].copy()
    low[10] += 0.5 * (edges[1] - edges[0])
    gap = EffectiveArea(low, edges[1:], np.full(20, 100.0))
    assert gap.on(edges)[10] == pytest.approx(50, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": [0, 1, -2, 3]}, ["SPECRESP", "-2", "row 3"]),
        ({"area": [0, np.nan, 2, 3]}, ["SPECRESP", "nan", "row 2"]),
        ({"high": [0.5, 1, 1, 4]}, ["ENERG_HI", "row 3"]),
        ({"low": [0, 0.5, 0.8, 2]}, ["ENERG_LO", "0.8", "row 3"]),
        ({"low": [-0.1, 0.5, 1, 2]}, ["ENERG_LO", "-0.1", "row 1"]),
        ({"low": [0, 0.5, np.inf, 2]}, ["ENERG_LO", "inf", "row 3"]),
        ({"low": [2, 1, 0.5, 0], "high": [4, 2, 1, 0.5]}, ["row 2"]),
        ({"units": ("Angstrom", "Angstrom", "cm2")}, ["ENERG_LO", "Angstrom"]),
        ({"units": ("keV", "keV", "furlong")}, ["SPECRESP", "furlong"]),
        ({"names": ("ENERG_LO", "ENERG_HI", "AREA")}, ["SPECRESP", "AREA"]),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_row(change, words, tmp_path):
    path = save(
        tmp_path / "bad.arf",
        table(**{k: v if k in ("units", "names") else np.array(v, float) for k, v in change.items()}),
    )
    with pytest.raises(FileError) as caught:
        EffectiveArea.read(path)
    for word in [str(path), "[SPECRESP]", "expected", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_file_is_refused(tmp_path, channels_hdu):
    with pytest.raises(FileError, match="SPECRESP, found PRIMARY, EBOUNDS"):
        EffectiveArea.read(save(tmp_path / "x.arf", channels_hdu(EDGES)))
    image = fits.ImageHDU(np.zeros((2, 2)), name="SPECRESP")
    with pytest.raises(FileError, match="binary table"):
        EffectiveArea.read(save(tmp_path / "x.arf", image))


@pytest.mark.parametrize(
    ("name", "at", "areas", "tolerance", "telescope"),
    [
        ("xmm_epic_pn", [2], [1142], 0.5, "XMM"),
        ("xmm_epic_mos1", [2], [356], 0.5, "XMM"),
        ("acisi_aimpt_cy18", [2], [362], 0.5, "CHANDRA"),
        ("xrism_resolve_gate_valve_closed", [1.7, 2, 3, 6, 8], [0.48, 5.6, 59.7, 176.5, 144.6], 0.01, "XRISM"),
    ],
)
def test_areas_of_real_files(name, at, areas, tolerance, telescope, shared_data, tmp_path):
    area = EffectiveArea.read(shared_data(f"responses/{name}.arf.gz"))
    found = [area.on([e - 2.5e-4, e + 2.5e-4])[0] for e in at]
    np.testing.assert_allclose(found, areas, rtol=2e-3, atol=tolerance)
    assert area.telescope == telescope
    assert f"ARF of {telescope}" in area.describe()
    area.write(tmp_path / "again.arf")
    np.testing.assert_array_equal(EffectiveArea.read(tmp_path / "again.arf").area, area.area)
