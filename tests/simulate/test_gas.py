import numpy as np
import pytest

from hifred.simulate import ClusterModel, RemnantModel, cluster, remnant
from hifred.simulate.fields import gaussian_field


@pytest.fixture(scope="module")
def shells():
    return remnant(RemnantModel(), (30, 36), 12.0, seed=4)


def test_remnant_is_two_nested_gases_with_a_margin(shells):
    medium, _ = shells
    assert medium.emission_measure.shape == (72, 60, 72)
    axes = [(np.arange(n) - (n - 1) / 2) / 24 for n in (72, 60, 72)]
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))
    mean = [np.average(radius, weights=gas.emission_measure) for gas in shells]
    assert 0.5 < mean[1] < 0.84 < mean[0] < 1.1
    for gas in shells:
        assert gas.emission_measure[radius > 1.2].max() == 0
        assert (gas.emission_measure >= 0).all()
    # Limb-brightened: more light from the ring than from the middle.
    image = medium.emission_measure.sum(axis=0)
    ring = np.hypot(axes[1][:, None], axes[2])
    assert image[(ring > 0.8) & (ring < 0.9)].mean() > 2 * image[ring < 0.4].mean()


def test_ejecta_expand_freely(shells):
    medium, ejecta = shells
    height = (np.arange(72) - 35.5)[:, None, None] / 24
    assert ejecta.velocity == pytest.approx(RemnantModel().expansion * height * np.ones((72, 60, 72)))
    assert np.abs(medium.velocity).max() < np.abs(ejecta.velocity).max()


def test_remnant_varies_in_temperature_and_in_each_element(shells):
    ejecta = shells[1]
    lit = ejecta.emission_measure > 0
    assert ejecta.temperature[lit].std() > 0.1
    maps = {name: np.log(values[lit]) for name, values in ejecta.abundances.items()}
    assert min(values.std() for values in maps.values()) > 0.3
    assert abs(np.corrcoef(maps["O"], maps["Fe"])[0, 1]) < 0.8
    clumps = np.log(ejecta.emission_measure[lit])
    assert clumps.std() > 1


def test_seed_and_asymmetry():
    same = [remnant(RemnantModel(), (12, 12), 5.0, seed=s)[1].emission_measure for s in (1, 1, 2)]
    assert (same[0] == same[1]).all()
    assert not np.allclose(same[0], same[2])
    model = RemnantModel(asymmetry=0.0, clumpiness=0.0, ambient_gradient=0.0)
    medium = remnant(model, (24, 24), 10.0, seed=1)[0].emission_measure
    halves = medium[:, :, :24].sum(), medium[:, :, 24:].sum()
    assert halves[0] == pytest.approx(halves[1], rel=0.3)


def test_remnant_must_fit():
    with pytest.raises(ValueError, match=r"must be at most 12\.5 for"):
        remnant(RemnantModel(), (30, 36), 15.0)
    with pytest.raises(ValueError, match=r"reverse=0\.9"):
        RemnantModel(reverse=0.9)


def test_cluster_has_a_cool_core_and_pressure_balance():
    gas = cluster(ClusterModel(sloshing=0.0), 20, seed=0)[0]
    middle = tuple(n // 2 for n in gas.temperature.shape)
    assert gas.temperature[middle] == gas.temperature.min() < gas.temperature[0, 0, 0]
    assert gas.abundances["Fe"][middle] > gas.abundances["Fe"][0, 0, 0]
    calm, sloshed = (cluster(ClusterModel(sloshing=s), 20, seed=0)[0] for s in (0.0, 0.3))
    pressure = [np.sqrt(g.emission_measure) * g.temperature for g in (calm, sloshed)]
    assert pressure[0] == pytest.approx(pressure[1], rel=1e-9)
    assert not np.allclose(calm.temperature, sloshed.temperature)
    assert sloshed.velocity.mean() == pytest.approx(ClusterModel().recession, abs=100)


def test_random_fields_have_the_spectrum_they_are_asked_for():
    field = gaussian_field(np.random.default_rng(0), 64, 3.0, largest=0.5)
    assert field.mean() == pytest.approx(0, abs=1e-12)
    assert field.std() == pytest.approx(1)
    power = np.abs(np.fft.fftn(field)) ** 2
    wave = np.fft.fftfreq(64, 1 / 64)
    k = np.sqrt(wave[:, None, None] ** 2 + wave[:, None] ** 2 + wave**2)
    assert power[k < 1.9].sum() < 1e-12 * power.sum()
    bands = [power[(k >= a) & (k < a + 1)].mean() for a in (4, 16)]
    assert np.log(bands[0] / bands[1]) / np.log(16.5 / 4.5) == pytest.approx(3.0, abs=0.3)
    with pytest.raises(ValueError, match="largest must be at least"):
        gaussian_field(np.random.default_rng(0), 8, 3.0, largest=0.01)
