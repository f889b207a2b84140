import hashlib
from dataclasses import replace

import numpy as np
import pytest

from hifred.absorption import transmission
from hifred.simulate import (
    Camera,
    Plan,
    PointSource,
    Visit,
    plan_scene,
    project,
    register,
    scene,
    weighted_maps,
)
from hifred.simulate.kernels import gaussian_line
from hifred.simulate.point import add_points

NAMES = ("two-gases", "steady-remnant", "absorbed", "point-source", "wrong-psf", "wrong-gain", "high-background")
TWO_GASES = {  # sha256 of the int32 counts of scene("two-gases", counts=1e4), little-endian
    "xmm": "4333e0e0cb7139b13c1bbb56f9f9e2b080fc5d6046c98a3aed588b8f1d91e19c",
    "xrism": "5b8830e95c035d515fcadcc7ea8da5c59c9b8e3b0f4323b8da5e9a26e7bc2f69",
}


def planned(name, seed=0):
    plan = plan_scene(name, seed)
    assert isinstance(plan, Plan)
    return plan


@pytest.fixture(scope="module")
def tiny():
    return scene("tiny")


@pytest.fixture
def like_tiny(request):
    """The scene "tiny" with a part of its plan changed."""

    def make(draw=0, **changes):
        name = f"{request.node.name} {sorted(changes)}"

        @register(name, "For a test.")
        def plan(seed):
            made = planned("tiny", seed)
            return replace(made, **{key: change(made) for key, change in changes.items()})

        return scene(name, draw=draw)

    return make


@pytest.fixture(scope="module")
def plans():
    return {name: planned(name) for name in ("realistic-1kev", *NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_the_frame_is_that_of_the_talk(plans, name):
    plan = plans[name]
    assert 1000 <= len(plan.energy_edges) - 1 <= 2400
    assert all(gas.emission_measure.shape == (90, 90, 90) for gas in plan.gases)
    assert [camera.rebin for camera in plan.cameras] == [(1, 1, 1), (1, 3, 3)]


def on_sky(gas, values):
    return (gas.emission_measure * values).sum(0).reshape(45, 2, 45, 2).sum((1, 3))


def test_two_gases_go_opposite_ways_at_the_same_place(plans):
    oxygen, heavy = plans["two-gases"].gases[1:]
    both = np.minimum(on_sky(oxygen, 1), on_sky(heavy, 1))
    seen = both > 0.03 * both.max()
    assert seen.sum() > 400
    means = [on_sky(gas, gas.velocity)[seen] / on_sky(gas, 1)[seen] for gas in (oxygen, heavy)]
    assert np.median(means[0]) > 500
    assert np.median(means[1]) < -500
    assert np.median(means[1] - means[0]) < -1500
    assert oxygen.abundances["Fe"] == heavy.abundances["O"] == 0
    assert np.mean(heavy.abundances["Fe"]) > 1


def test_two_gases_are_the_same_on_every_machine():
    made = scene("two-gases", counts=1e4)
    found = {d.name: hashlib.sha256(np.asarray(d.counts, "<i4").tobytes()).hexdigest() for d in made.datasets}
    assert found == TWO_GASES


def test_a_steady_remnant_stands_still(plans):
    # 4.5 eV at 0.65 keV are 2000 km/s.
    for gas in plans["steady-remnant"].gases:
        assert np.abs(gas.velocity[gas.emission_measure > 0]).max() < 100
        assert gas.broadening < 300


def test_clouds_vary(plans):
    column = plans["absorbed"].column_density
    assert column.shape == (45, 45)
    low, middle, high = np.quantile(column, [0.05, 0.5, 0.95])
    assert high > 3 * low
    assert middle == pytest.approx(0.25, rel=0.2)
    before, after = transmission([0.541, 0.549], high)
    assert after < 0.7 * before


def test_a_point_source_is_off_the_middle(plans):
    (point,) = plans["point-source"].points
    assert np.hypot(*(np.array(point.pixel) - 22)) == pytest.approx(8, abs=0.8)
    assert point.share == 0.3
    assert planned("point-source", 1).points[0].pixel != point.pixel


def test_the_psf_is_wider_than_the_response_says(plans):
    for seen, given in zip(plans["wrong-psf"].cameras, plans["realistic-1kev"].cameras, strict=True):
        np.testing.assert_array_equal(seen.assumed.psf, given.psf)
        np.testing.assert_array_equal(seen.lsf, given.lsf)
        assert seen.psf.max() < 0.9 * given.psf.max()


def test_the_gain_is_off_by_2_ev(plans):
    camera, calorimeter = plans["wrong-gain"].cameras
    step = np.diff(plans["wrong-gain"].energy_edges)[0]
    kernel, given = calorimeter.lsf, calorimeter.assumed.lsf
    shift = kernel @ (np.arange(kernel.size) - kernel.size // 2) - given @ (np.arange(given.size) - given.size // 2)
    assert shift * step == pytest.approx(2e-3, rel=1e-3)
    np.testing.assert_array_equal(camera.lsf, camera.assumed.lsf)


def test_a_line_kernel_is_shifted():
    kernel = gaussian_line(3.0, 4.3)
    at = np.arange(kernel.size) - kernel.size // 2
    assert kernel.sum() == pytest.approx(1)
    assert kernel @ at == pytest.approx(4.3, abs=1e-2)
    assert np.sqrt(kernel @ (at - 4.3) ** 2) == pytest.approx(3.0, rel=0.02)


def test_photons_follow_the_camera_and_not_what_is_assumed(tiny, like_tiny):
    def mistaken(plan):
        return tuple(replace(c, assumed=replace(c, psf=None, area=2 * c.area)) for c in plan.cameras)

    for data, right in zip(like_tiny(cameras=mistaken).datasets, tiny.datasets, strict=True):
        np.testing.assert_array_equal(data.counts, right.counts)
        assert data.response.recipe.psf is None
        predicted = (d.predict(tiny.truth.values).sum(dtype=float) for d in (data, right))
        assert next(predicted) > 1.9 * next(predicted)


def test_background_is_a_share_of_the_counts(like_tiny):
    made = like_tiny(cameras=lambda plan: tuple(replace(c, background=0.3) for c in plan.cameras))
    for data in made.datasets:
        assert data.counts.sum() == pytest.approx(2e5, abs=5 * np.sqrt(2e5))
        assert data.background.sum(dtype=float) == pytest.approx(0.3 * 2e5, rel=1e-5)
        assert np.ptp(data.background) == 0
        mean, variance = data.expected_cstat(made.truth.values)
        assert data.cstat(made.truth.values) == pytest.approx(mean, abs=5 * np.sqrt(variance))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_bad_background_is_named(share):
    with pytest.raises(ValueError, match="background: expected a share of at least 0 and below 1"):
        Camera("xmm", np.ones(3), background=share)


def test_a_point_source_has_its_share_and_no_lines(tiny, like_tiny):
    values = like_tiny(points=lambda _: (PointSource((4, 7), 0.25, 1.5),)).truth.values
    extra = values - tiny.truth.values
    assert values[:, 4, 7].sum() - tiny.truth.values[:, 4, 7].sum() == pytest.approx(0.25 * values.sum())
    passed = transmission(tiny.grid.energies, 0.2)
    spectrum = extra[:, 4, 7] / passed * tiny.grid.energies**1.5
    assert spectrum == pytest.approx(spectrum[0])
    extra[:, 4, 7] = 0
    assert not extra.any()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([PointSource((0, 0), -0.1)], "share: expected numbers of at least 0 that add up to less than 1"),
        ([PointSource((0, 0), 0.5), PointSource((1, 0), 0.5)], "share: expected numbers"),
        ([PointSource((2, 3), 0.5)], "pixel: expected one of 2 x 3 pixels, found"),
    ],
)
def test_a_bad_point_source_is_named(points, message):
    with pytest.raises(ValueError, match=message):
        add_points(np.ones((4, 2, 3)), np.linspace(1, 2, 5), points)


def test_an_absorber_hides_each_pixel_by_its_own_column():
    plan = planned("tiny")
    frame = plan.gases[1], plan.energy_edges, plan.cells_per_pixel
    soft = np.linspace(0.52, 0.9, 40)
    column = np.full((12, 15), 0.1)
    column[:, 7:] = 0.6
    for edges in (plan.energy_edges, soft):
        thin, thick, mixed = (project(plan.gases[1], edges, 4, column_density=c) for c in (0.1, 0.6, column))
        np.testing.assert_allclose(mixed[:, :, :7], thin[:, :, :7])
        np.testing.assert_allclose(mixed[:, :, 7:], thick[:, :, 7:])
    thin, thick, mixed = (weighted_maps(plan.gases, soft, 4, column_density=c) for c in (0.1, 0.6, column))
    assert not np.allclose(thin["temperature"], thick["temperature"], rtol=1e-3, equal_nan=True)
    for name in ("velocity", "temperature"):
        np.testing.assert_allclose(mixed[name][:, :7], thin[name][:, :7])
        np.testing.assert_allclose(mixed[name][:, 7:], thick[name][:, 7:])
    for bad, message in ((np.ones((15, 12)), "expected a number or shape"), (-column, "at least 0")):
        with pytest.raises(ValueError, match=f"column_density: .*{message}"):
            project(*frame, column_density=bad)


def test_draws_share_a_sky(tiny):
    first, second = scene("tiny", draw=0), scene("tiny", draw=1)
    np.testing.assert_array_equal(second.truth.values, tiny.truth.values)
    assert (first.draw, second.draw) == (0, 1)
    for data, same, other in zip(tiny.datasets, first.datasets, second.datasets, strict=True):
        np.testing.assert_array_equal(same.counts, data.counts)
        expected = data.predict(tiny.truth.values)
        bright = expected > 5
        # The difference of independent draws has twice the variance.
        chi2 = (other.counts - data.counts.astype(float))[bright] ** 2 / (2 * expected[bright])
        assert chi2.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / chi2.size))
    with pytest.raises(ValueError, match="draw must not be negative"):
        scene("tiny", draw=-1)


def test_draws_of_event_lists_share_a_sky(visit):
    made = visit(3e4, "epic-pn", seed=7)
    again, other = made.datasets()[0], replace(made, draw=1).datasets()[0]
    assert (again.counts != other.counts).mean() > 0.1
    totals = [data.counts.sum(dtype=float) for data in (again, other)]
    assert totals[1] == pytest.approx(totals[0], abs=5 * np.sqrt(2 * totals[0]))


def test_a_draw_reaches_the_event_lists_of_a_scene(monkeypatch):
    seen = []
    monkeypatch.setattr(Visit, "datasets", lambda self: seen.append(self.draw) or ())
    assert scene("xrism-epic-iron", counts=2e3, band=(6.66, 6.7), draw=3).draw == 3
    assert seen == [3]
