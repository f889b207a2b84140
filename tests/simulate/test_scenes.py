import hashlib

import numpy as np
import pytest

from hifred.metrics import mean_angular_distance
from hifred.simulate import ELEMENTS, Camera, Gas, Plan, expected_counts, register, scene, scene_names
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
    assert wanted | {"realistic-1kev", "tiny", "cluster"} <= set(scene_names())


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
