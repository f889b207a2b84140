import numpy as np
import pytest
from astropy.io import fits

from hifred.instruments.arf import EffectiveArea
from hifred.instruments.rmf import Redistribution

REAL = {
    "xmm_epic_pn": ([103, 125, 195], 2.0, 0, 4096, "XMM EPN"),
    "xmm_epic_mos1": ([73, 98, 170], 2.0, 0, 2400, "XMM EMOS1"),
    "acisi_aimpt_cy18": ([111, 141, 251], 2.0, 1, 1024, "CHANDRA ACIS"),
    "hitomi_sxs": ([4.1, 4.2, 4.7], 0.06, 0, 32768, "HITOMI SXS"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_matrices(name, shared_data):
    widths, tolerance, first, channels, who = REAL[name]
    r = Redistribution.read(shared_data(f"responses/{name}.rmf.gz"))
    np.testing.assert_allclose([1e3 * r.fwhm(e) for e in (1.0, 1.85, 6.0)], widths, atol=tolerance)
    assert (r.first_channel, r.channels, f"{r.telescope} {r.instrument}") == (first, channels, who)
    assert not r.includes_area
    sums = r.row_sums
    assert sums.max() < 1.0014
    # The MOS matrix begins with empty rows; that of ACIS stops at its last channel, short of the highest energies.
    assert sums[(r.energy_lo > 0.5) & (r.energy_hi < 9)].min() > 0.999
    assert who in r.describe()
    assert f"{channels} channels from {first}" in r.describe()


def photons(low, high):
    """Photons / cm2 in bins: 1 photon / keV / cm2 / s at 1 keV, index 2, 10 ks."""
    return 1e4 * (1 / np.maximum(low, 1e-3) - 1 / high)


@pytest.mark.parametrize("name", ["xmm_epic_pn", "acisi_aimpt_cy18", "hitomi_sxs"])
def test_a_folded_power_law_agrees_with_a_loop_over_the_rows(name, shared_data):
    path = shared_data(f"responses/{name}.rmf.gz")
    arf_name = {"hitomi_sxs": "hitomi_sxs_ptsrc"}.get(name, name)
    arf_path = shared_data(f"responses/{arf_name}.arf.gz")
    r, arf = Redistribution.read(path), EffectiveArea.read(arf_path)
    edges = np.r_[r.energy_lo, r.energy_hi[-1]]
    spectrum = r.matrix @ (arf.on(edges) * photons(r.energy_lo, r.energy_hi))

    with fits.open(path) as hdus, fits.open(arf_path) as other:
        table, first = hdus["MATRIX"].data, hdus["MATRIX"].header["TLMIN4"]
        energy_lo, energy_hi = (table[c].astype(float) for c in ("ENERG_LO", "ENERG_HI"))
        flux = other["SPECRESP"].data["SPECRESP"] * photons(energy_lo, energy_hi)
        np.testing.assert_array_equal(energy_lo, other["SPECRESP"].data["ENERG_LO"])
        expected = np.zeros(hdus["MATRIX"].header["DETCHANS"])
        for n, starts, widths, elements, rate in zip(
            *(table[c] for c in ("N_GRP", "F_CHAN", "N_CHAN", "MATRIX")), flux, strict=True
        ):
            done = 0
            for start, width in zip(np.atleast_1d(starts)[:n], np.atleast_1d(widths)[:n], strict=True):
                expected[start - first : start - first + width] += rate * elements[done : done + width]
                done += width
    np.testing.assert_allclose(spectrum, expected, rtol=1e-5, atol=1e-9 * expected.max())
    assert expected.sum() > 1e5


def test_a_real_matrix_is_written_and_read_equal(shared_data, tmp_path):
    r = Redistribution.read(shared_data("responses/acisi_aimpt_cy18.rmf.gz"))
    r.write(tmp_path / "again.rmf")
    again = Redistribution.read(tmp_path / "again.rmf")
    assert (again.matrix != r.matrix).nnz == 0
    for field in ("energy_lo", "energy_hi", "channel_lo", "channel_hi"):
        np.testing.assert_array_equal(getattr(again, field), getattr(r, field))
    assert (again.first_channel, again.threshold) == (1, 1e-6)
