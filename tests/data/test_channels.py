import numpy as np
import pytest

from hifred.data.calibrate import choose_channels
from hifred.fitsio import FileError
from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.presets import instrument

NAMES = {"epic-pn": "pn", "xrism-resolve": "resolve", "acis-i": "acis"}


def chosen(made, name, band=None, width=None, grid_band=(2.0, 2.6)):
    preset = instrument(name)
    grid = CubeGrid(energy_bins(*grid_band, 0.02), (3, 3), 1.0, (0.0, 0.0))
    return preset, choose_channels(made / f"{NAMES[name]}.rmf", preset, grid, band, width)


# First channel of the RMF, its lower edge and width in eV, and those of PI.
COUNTED = {
    "epic-pn": (0, 0.0, 5.0, 0, 1.0), "xrism-resolve": (3400, 1700.0, 0.5, 0, 0.5), "acis-i": (1, 0.0, 14.6, 1, 14.6),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_pi_goes_to_its_channel(made, name):
    """Each mission numbers its channels in its own way: EPIC has eV in the list and 5 eV in the RMF, ACIS begins at 1."""
    first, origin, width, pi_first, pi_width = COUNTED[name]
    preset, channels = chosen(made, name, band=(2.1, 2.5))
    assert channels.first == first
    pi = np.arange(pi_first, pi_first + round(4000 / pi_width))
    lowest = (pi - pi_first) * pi_width  # eV, lower edge
    of_rmf = np.floor((lowest - origin) / width + 1e-9).astype(int)
    if name != "epic-pn":  # a channel of the list is one of the RMF
        np.testing.assert_array_equal(of_rmf[of_rmf >= 0] + first, pi[of_rmf >= 0])
    expected = np.full(pi.size, -1)
    for index, (a, b) in enumerate(zip(channels.edges[:-1], channels.edges[1:], strict=True)):
        expected[(of_rmf >= a) & (of_rmf < b)] = index
    np.testing.assert_array_equal(channels.place(preset.events.energy(pi)), expected)
    assert set(expected) == {-1, *range(channels.edges.size - 1)}
    # All of them lie between the nominal energies of their channel.
    energy = preset.events.energy(pi)[expected >= 0]
    place = expected[expected >= 0]
    assert np.all((energy > channels.bounds[place]) & (energy < channels.bounds[place + 1]))


@pytest.mark.parametrize("name", COUNTED)
def test_the_usual_band_and_width(made, name):
    preset, channels = chosen(made, name)
    native = COUNTED[name][2] / 1e3
    low, high = 2.0 + preset.fwhm(2.0), 2.6 - preset.fwhm(2.6)
    wanted = max(float(preset.fwhm(0.5 * (low + high))) / 6, 0.02)
    count = int(wanted / native + 1e-6)
    assert count >= 1
    np.testing.assert_array_equal(np.diff(channels.edges), count)
    bounds = channels.bounds
    np.testing.assert_allclose(np.diff(bounds), count * native, rtol=1e-9)
    # Within the band, and no more left over than one channel at either end.
    assert low - 1e-6 <= bounds[0] < low + native
    assert high - (count + 1) * native < bounds[-1] <= high + 1e-6


def test_band_and_width_as_asked_for(made):
    _, channels = chosen(made, "epic-pn", band=(2.0, 2.5), width=0.1)
    np.testing.assert_allclose(channels.bounds, [2.0, 2.1, 2.2, 2.3, 2.4, 2.5], rtol=1e-12)
    _, channels = chosen(made, "epic-pn", band=(2.001, 2.249), width=0.001)
    np.testing.assert_array_equal(channels.edges, np.arange(401, 450))  # never finer than the RMF
    _, channels = chosen(made, "epic-pn", band=(2.0, 2.1), width=5.0)
    np.testing.assert_allclose(channels.bounds, [2.0, 2.1], rtol=1e-12)  # one channel of all
    rmf = channels.rmf
    assert rmf.matrix.shape[0] == 1


def test_a_band_without_channels_is_named(made):
    with pytest.raises(FileError, match=r"pn\.rmf\[EBOUNDS\]: expected channels within 7 to 8 keV, found 0 to 4 keV"):
        chosen(made, "epic-pn", band=(7.0, 8.0))
    with pytest.raises(ValueError, match=r"band: expected one.*epic-pn, found none"):
        chosen(made, "epic-pn", grid_band=(2.0, 2.2))


def test_energies_outside_the_channels_have_none(made):
    _, channels = chosen(made, "xrism-resolve")
    place = channels.place(np.array([-1.0, 0.0, 1.5, 1.7, 2.0, 2.3, 2.95, 20.0, np.nan]))
    np.testing.assert_array_equal(place[[0, 1, 2, 3, 4, 6, 7, 8]], -1)
    assert place[5] >= 0
