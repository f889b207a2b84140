import hashlib

import numpy as np
import pytest

from hifred.metrics import mean_angular_distance
from hifred.simulate import (
    ELEMENTS,
    Camera,
    Gas,
    Plan,
    expected_counts,
    plan_scene,
    register,
    scene,
    scene_names,
)
from hifred.simulate.iron import band_edges
from hifred.simulate.kernels import gaussian_spot, king_spot

TINY_COUNTS = {  # sha256 of the int32 counts of scene("tiny", seed=0), little-endian
    "xmm": "a80ad5d12d40a117d2f659c8b9bd8b427d3c872ea03dae8fe24918a74cd81955",
    "xrism": "7481682ea608217302b8bae0290596ea1980590f5be797730d0ea3ba60f58743",
}


@pytest.fixture(scope="module")
def tiny():
    return scene("tiny")


@pytest.fixture(scope="module")
def soft():
    return scene("gaussian-1kev-rebin")


def test_names():
    wanted = {"gaussian-1kev", "gaussian-1kev-rebin", "gaussian-6kev", "gaussian-6kev-rebin"}
    assert wanted | {"realistic-1kev", "tiny", "cluster", "xrism-epic-iron"} <= set(scene_names())


def test_a_scene_holds_all_that_is_promised(tiny):
    assert tiny.name == "tiny"
    assert "Fe K" in tiny.description
    truth = tiny.truth
    assert truth.values.shape == tiny.grid.shape == (60, 12, 15)
    assert truth.values.dtype == np.float64
    assert (truth.values >= 0).all()
    lit = truth.values.sum(axis=0) > 0
    maps = [truth.velocity, truth.velocity_spread, truth.temperature, *truth.abundances.values()]
    assert all((np.isfinite(m) == lit).all() for m in maps)
    assert set(truth.abundances) == set(ELEMENTS[1:])
    assert [d.name for d in tiny.datasets] == ["xmm", "xrism"]


def test_same_seed_same_scene_on_every_machine(tiny):
    found = {d.name: hashlib.sha256(np.asarray(d.counts, "<i4").tobytes()).hexdigest() for d in tiny.datasets}
    assert found == TINY_COUNTS
    again, other = scene("tiny", seed=0), scene("tiny", seed=1)
    assert (again.truth.values == tiny.truth.values).all()
    assert not np.allclose(other.truth.velocity, tiny.truth.velocity, equal_nan=True)


@pytest.mark.parametrize("counts", [None, 1e4])
def test_counts_are_as_asked(counts):
    for data in scene("tiny", counts=counts).datasets:
        expected = 2e5 if counts is None else counts
        assert np.asarray(data.counts).sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_counts_agree_with_the_response_of_their_data_set(tiny):
    for data in tiny.datasets:
        expected = np.asarray(data.response.mv(tiny.truth.values), dtype=np.float64)
        counts = np.asarray(data.counts)
        assert expected.shape == counts.shape
        assert expected.sum() == pytest.approx(2e5, rel=1e-5)
        chi2 = ((counts - expected) ** 2 / np.maximum(expected, 1e-3))[expected > 5]
        assert chi2.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / chi2.size))


def test_little_light_is_thrown_out_of_the_frame(soft):
    image = soft.truth.values.sum(axis=0, keepdims=True)
    for spot, share in ((gaussian_spot(3.0), 0.98), (king_spot(2.25, 1.5, 14), 0.9)):
        reached = expected_counts(Camera("test", np.ones(1), psf=spot), image).sum()
        assert reached > share * image.sum()


def test_spectra_vary_three_times_more_at_6_kev_than_at_1_kev(soft):
    iron = scene("gaussian-6kev-rebin")
    assert iron.truth.values.shape == (2000, 45, 45)
    assert soft.truth.values.shape == (2400, 45, 45)
    ratio = mean_angular_distance(iron.truth.values) / mean_angular_distance(soft.truth.values)
    assert ratio >= 3


def test_a_new_scene_is_one_function():
    name = "one pixel"

    @register(name, "A single pixel of hot gas.")
    def plan(seed):
        ones = np.ones((1, 1, 1))
        camera = Camera("xmm", np.ones(20))
        return Plan([Gas(1e6 * ones, 2.0 * ones, seed * ones, 200.0, {})], np.linspace(1, 2, 21), (camera,), 1)

    assert name in scene_names()
    assert scene(name, seed=3, counts=500).truth.velocity == pytest.approx(3)
    with pytest.raises(ValueError, match="exists already"):
        register(name, "Again.")(plan)


@pytest.fixture(scope="module")
def iron():
    return scene("xrism-epic-iron", counts=3e4, band=(6.6, 6.75))


def test_real_geometry_closes(iron):
    assert iron.truth.values.shape == (150, 60, 60)
    assert iron.grid is iron.truth.grid
    assert iron.grid.pixel_size == 5
    assert [data.name for data in iron.datasets] == ["epic-pn", "xrism-resolve"]
    camera, calorimeter = iron.datasets
    assert camera.counts.shape[1:] == (60, 60)
    assert calorimeter.counts.shape[1:] == (6, 6)
    assert calorimeter.mask.any(0).sum() == 35
    for data in iron.datasets:
        assert data.exposure == pytest.approx(150e3)
        data.grid.require_same(iron.grid, ("data", "truth"))
        expected = data.predict(iron.truth.values)[data.mask].sum(dtype=float)
        assert data.counts[data.mask].sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))
        value, (mean, variance) = data.cstat(iron.truth.values), data.expected_cstat(iron.truth.values)
        assert abs(value - mean) < 4 * np.sqrt(variance)
    # Nearly all of EPIC's photons land on the grid, and few of the counts are background.
    sky = camera.response.mv(iron.truth.values).sum(dtype=float)
    assert 0.9 * 3e4 < sky < iron.counts == 3e4
    assert camera.background.sum() < 0.2 * sky


def test_brightness_of_real_geometry():
    faint = plan_scene("xrism-epic-iron", 2, band=(6.65, 6.7), brightness=0.1)
    again = plan_scene("xrism-epic-iron", 2, 10 * faint.counts, band=(6.65, 6.7))
    assert again.truth.values == pytest.approx(10 * faint.truth.values)
    incident = faint.telescopes[0].incident(faint.truth.grid.energy_edges)
    assert incident == pytest.approx(again.telescopes[0].incident(faint.truth.grid.energy_edges))
    assert faint.truth.values.sum((1, 2)) @ incident == pytest.approx(faint.counts)


def test_default_brightness_is_that_of_half_a_million_photons():
    assert plan_scene("xrism-epic-iron").counts == pytest.approx(5e5, rel=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": (1.0, 3.0)}, "band: expected two increasing energies within 1.8 to 10 keV, found 1 and 3"),
        ({"band": (7.0, 6.0)}, "band: expected two increasing energies"),
        ({"band": (6.0, 7.0005)}, "whole number of steps of 1 eV"),
        ({"band": (2.0, 9.001)}, "whole number of steps of 2 eV"),
        ({"brightness": 0.0}, "brightness must be above 0"),
        ({"brightness": 2.0, "counts": 10.0}, "counts, brightness: expected one of them"),
    ],
)
def test_bad_options_of_real_geometry_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        plan_scene("xrism-epic-iron", **options)


def test_a_wide_band_has_coarser_energies():
    edges = band_edges((1.8, 10.0))
    assert edges.size == 4101
    assert band_edges((6.0, 7.2)).size == 1201


@pytest.mark.parametrize("option", [{"band": (6.0, 7.0)}, {"brightness": 1.0}])
def test_options_that_a_scene_does_not_have_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}: expected a scene with this option, found 'tiny'"):
        scene("tiny", **option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "expected one of the scenes .* found 'nowhere'"),
        (("tiny", -1), "seed must not be negative"),
        (("tiny", 0, 0), "counts must be above 0"),
        (("tiny", 0, float("nan")), "counts must be above 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        scene(*arguments)
