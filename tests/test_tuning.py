import warnings
from dataclasses import replace

import numpy as np
import pytest

import hifred
from hifred.choice import NOISE, Choice, Tuning
from hifred.factorisation import ONE_SPECTRUM, single_gas
from hifred.folds import Folds
from hifred.priors import LowRankSobolev, Starlet2D1D, Unregularized
from hifred.search import MOST, SPEEDS, lowest, race, walk
from hifred.solvers import Status, Stopping, driver, minimise
from hifred.split import BRANCH, FRESH, PATIENCE, RIPE, TRUNK, Fitted, Foretold, Split, held_out, thin
from hifred.tuning import LIGHT, LIGHT_STEPS, PHOTONS, START, SURE, settle, tune

SHAPE = (12, 9, 9)


@pytest.fixture
def data(sky, observe, instruments):
    return observe(sky(SHAPE, 2e4), instruments[1])


def test_both_parts_are_poisson_and_independent():
    response = hifred.Response.from_kernels((1, 100, 100))
    rng = np.random.default_rng(0)
    dataset = hifred.Dataset(rng.poisson(20.0, (1, 100, 100)), response, 2.0, name="one")
    part, rest = next(thin(dataset, 0.85, np.random.default_rng(1)))
    np.testing.assert_array_equal(part.counts + rest, dataset.counts)
    assert part.background.max() == pytest.approx(1.7)
    first, second = part.counts.ravel().astype(float), rest.ravel().astype(float)
    assert first.mean() == pytest.approx(17, abs=0.15)
    assert first.var() == pytest.approx(17, rel=0.05)
    assert second.var() == pytest.approx(3, rel=0.05)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04


def test_held_out_is_smallest_at_the_truth(data, sky):
    truth = sky(SHAPE, 2e4)
    rng = np.random.default_rng(0)
    parts, rests = zip(*(next(thin(dataset, 0.8, rng)) for dataset in data), strict=True)
    at_truth = held_out(data, [part.predict(0.8 * truth) for part in parts], rests, 0.8).sum()
    for wrong in (0.7 * truth, 0.95 * truth, 0.8 * truth[:, ::-1]):
        assert held_out(data, [part.predict(wrong) for part in parts], rests, 0.8).sum() > at_truth


def test_the_choice_is_the_best_of_the_curve_and_the_same_again(data):
    said = []
    tuning = tune(data, LowRankSobolev(), folds=Folds.of(data, seed=3), say=said.append)
    assert tuning == tune(data, LowRankSobolev(), folds=Folds.of(data, seed=3))
    assert (tuning.fraction, tuning.seed, tuning.folds) == (0.85, 3, 1)
    assert list(tuning.strengths) == sorted(tuning.strengths)
    best = min(tuning.deviances)
    assert tuning.deviances[tuning.strengths.index(tuning.strength)] <= best + NOISE
    assert len(said) == len(tuning.strengths) >= 3
    np.testing.assert_allclose(np.diff(np.log(tuning.strengths)), np.log(3))


def test_a_strength_that_is_far_off_is_brought_back(data):
    tuning = tune(data, LowRankSobolev(strength=100.0))
    assert tuning.strength < 100 / 3
    assert tuning.at_edge in (None, "lowest")


def test_edges():
    tuning = Tuning((1.0, 3.0, 9.0), (5.0, 4.0, 6.0), (1, 2, 3), 3.0, 0.85, 0)
    assert tuning.at_edge is None
    assert tuning.best_iterations == 2
    assert Tuning((1.0, 3.0), (5.0, 6.0), (1, 2), 1.0, 0.85, 0).at_edge == "lowest"
    assert Choice("light_strength", (1.0, 3.0), (5.0, 5.5), 1.0).at_edge is None, "it hardly falls"
    assert Choice("light_strength", (1.0, 3.0, 9.0), (5.0, 500.0, 509.0), 9.0).at_edge is None, "it rises to that end"
    assert Choice("vmax", (0.0, 3.0), (5.0, 6.0), 0.0).at_edge is None, "nothing lies below 0"
    assert Choice("sheets", (1.0, 2.0), (5.0, 9.0), 1.0).at_edge is None, "nor below 1 sheet"
    assert Choice("templates", (3.0, 5.0), (5.0, 9.0), 3.0).at_edge == "lowest"
    assert Choice("templates", (3.0, 5.0, 20.0), (5.0, 9.0, 4.6), 3.0).at_edge is None, "the best is elsewhere"
    assert Tuning((1.0, 3.0), (6.0, 5.0), (1, 2), 3.0, 0.85, 0).at_edge == "highest"


def test_fuse_keeps_the_curve_and_uses_the_choice(data, tmp_path):
    fused = hifred.fuse(data, LowRankSobolev(), strength="auto", progress=False)
    curve = fused.provenance["tuning"]
    assert fused.provenance["prior"] == repr(LowRankSobolev(strength=curve["strength"]))
    plain = hifred.fuse(data, LowRankSobolev(strength=curve["strength"]), progress=False)
    np.testing.assert_array_equal(fused.values, plain.values)
    fused.write(tmp_path / "fused.fits")
    assert hifred.FusedCube.read(tmp_path / "fused.fits").provenance["tuning"] == curve


def test_the_edge_of_the_strengths_is_a_warning(data, monkeypatch):
    monkeypatch.setattr("hifred.search.MOST", 2)
    with pytest.warns(UserWarning, match="is the (lowest|highest) of those that were tried"):
        hifred.fuse(data, LowRankSobolev(strength=100.0), strength="auto", progress=False)


@pytest.mark.parametrize(("total", "few"), [(300, True), (3000, False)])
def test_few_photons_that_are_kept_back_are_a_warning(sky, observe, instruments, total, few):
    data = observe(sky(SHAPE, total), instruments[1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hifred.fuse(data, LowRankSobolev(), 2, strength="auto", progress=False)
    said = [str(one.message) for one in caught if "kept back" in str(one.message)]
    assert len(said) == few
    held = Folds.of(data).held
    assert (held < 100) == few
    if few:
        assert f"only {held} photons are kept back" in said[0]


def test_a_factorisation_is_fitted_as_far_as_the_rest_agrees(data):
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(13), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    prior = hifred.priors.DopplerSheets(templates=2, sheets=1, vmax=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the best of three strengths is often the first or last
        fused = hifred.fuse(moving, prior, strength="auto", progress=False)
    curve = fused.provenance["tuning"]
    best = curve["iterations"][curve["strengths"].index(curve["strength"])]
    assert fused.status == "tuned"
    assert fused.history[-1].iteration == best
    assert [setting["name"] for setting in curve["settings"]] == ["light_strength"]
    few = replace(prior, strength=1.5, light_strength=0.01)
    cut = hifred.fuse(moving, few, strength="auto", max_iterations=2, progress=False)
    assert (cut.history[-1].iteration, cut.status) == (2, "max_iterations"), "the photons did not say so"
    early = hifred.fuse(moving, replace(prior, light_strength=0.01), tolerance=0.5, progress=False)
    assert early.status == "converged"
    assert early.history[-1].iteration < early.provenance["max_iterations"], "a tolerance ends it before"


@pytest.mark.parametrize(("most", "status"), [(30 + PATIENCE - 1, "max_iterations"), (30 + PATIENCE, "tuned")])
def test_a_fit_that_might_have_gone_on_is_not_called_tuned(data, monkeypatch, most, status):
    monkeypatch.setattr("hifred.fusion.tune", lambda *args, **options: Tuning((1.5,), (0.0,), (30,), 1.5, 0.85, 0))
    fused = hifred.fuse(data, FIRST, strength="auto", max_iterations=most, progress=False)
    assert (fused.history[-1].iteration, fused.status) == (30, status)


def spread(deviance, scatter):
    """A held-out C-stat whose groups of pixels scatter, by that standard error of the sum."""
    noise = np.random.default_rng(int(abs(deviance)) % 1000).standard_normal(100)
    noise -= noise.mean()
    return Foretold(deviance / 100 + scatter / 10 * noise / noise.std(), 1)


def test_a_fall_is_held_against_its_standard_error():
    before, after = np.random.default_rng(0).poisson(100, (2, 400)).astype(float)
    lower, other = Foretold(after - 5, 1), Foretold(before, 1)
    error = np.sqrt(400) * (before - after + 5).std()
    fall = (before - after + 5).sum()
    assert lower.falls_below(other, 0.9 * fall / error, 1.0)
    assert not lower.falls_below(other, 1.1 * fall / error, 1.0)
    assert not lower.falls_below(other, 0.0, 1.1 * fall)
    assert not other.falls_below(lower, 0.0, 1.0)


def test_any_answer_is_better_than_an_impossible_one():
    possible, impossible = Foretold(np.full(3, 1e9), 1), Foretold(np.array([0.0, np.inf, 0.0]), 1)
    assert possible.falls_below(impossible, 3.0, 1.0)
    assert not impossible.falls_below(possible, 3.0, 1.0)
    assert not impossible.falls_below(impossible, 0.0, 0.0)


def test_groups_of_pixels_make_up_the_whole():
    shape = (3, 40, 45)
    response = hifred.Response.from_kernels(shape)
    rng = np.random.default_rng(0)
    counts, mask = rng.poisson(3.0, shape), rng.random(shape) < 0.8
    dataset = hifred.Dataset(counts, response, mask=mask, name="a")
    model, rest = np.full(shape, 4.0), rng.poisson(1.0, shape)
    groups = held_out([dataset, dataset], [model, model], [rest, rest], 0.8)
    expected = np.full(shape, 1.0)
    whole = 2 * (expected - rest + np.where(rest > 0, rest * np.log(np.maximum(rest, 1) / expected), 0))[mask].sum()
    assert groups.sum() == pytest.approx(2 * whole)
    assert groups.size == 2 * 900, "two pixels each"


def bowl(middle, depth):
    """So much worse a factor of 3 away from the middle."""
    return lambda value: spread(depth * (np.log(value / middle) / np.log(3)) ** 2, 7.0)


def taken(attempt):
    return lowest(1.0, attempt)[1]


def test_the_light_that_foretells_best_is_taken():
    for middle in (1.0, 1 / 9, 9.0, 9 * np.sqrt(3)):
        assert taken(bowl(middle, 5.0)) == pytest.approx(middle), "also between steps of 3"
    assert taken(lambda value: spread(0.1 * np.log(value), 7.0)) == pytest.approx(np.sqrt(1 / 3)), (
        "no step of 3 is enough"
    )
    found, light = lowest(1.0, lambda value: spread(-1000 * np.log(value), 7.0))
    assert (len(found), light) == (MOST + 2, max(found)), "it ends"


@pytest.mark.parametrize("middle", [1 / 30, 1 / 9, 1.0, 2.0, 9.0])
def test_no_light_is_fitted_twice(middle):
    tried, curve = [], bowl(middle, 5.0)
    found, _ = lowest(1.0, lambda value: tried.append(value) or curve(value))
    assert sorted(found) == sorted(tried)
    rungs = [round(2 * np.log(value) / np.log(3), 6) for value in tried]
    assert len(rungs) == len(set(rungs))


@pytest.mark.parametrize(
    ("curve", "rung"),
    [
        ({-1: -0.5, 0: 0.0, 1: -50.0, 2: -0.5, 3: 200.0}, 1),
        ({-4: -80.0, -3: -20.0, -2: -60.0, -6: -79.0, -5: -79.5}, -4),
        ({-2: -60.0, -3: -60.5, -4: -60.3, -6: -60.4}, -3),
    ],
    ids=["half a step up", "down", "to the edge of a plain"],
)
def test_the_lowest_is_met_wherever_it_lies(curve, rung):
    def attempt(value):
        place = round(2 * np.log(value) / np.log(3))
        return spread(curve.get(place, 0.0 if place == 0 else 1000.0), 1.0)

    assert taken(attempt) == pytest.approx(3 ** (rung / 2))


def test_alike_is_what_differs_by_less_than_an_error():
    even = np.random.default_rng(0).standard_normal(1000)
    even -= even.mean()
    best = Foretold(np.zeros(1000), 1)
    error = np.sqrt(1000) * even.std()
    assert Foretold(even + 1.9 * error / 1000, 1).is_alike(best, 2.0, 1.0)
    assert not Foretold(even + 2.1 * error / 1000, 1).is_alike(best, 2.0, 1.0)
    assert Foretold(even + 2.1 * error / 1000, 1).is_alike(best, 2.0, 2.2 * error), "less than the least"
    assert not Foretold(np.array([0.0, np.inf, 0.0]), 1).is_alike(Foretold(np.zeros(3), 1), 2.0, 1.0)


def test_larger_values_are_tried_only_where_smaller_ones_are_worse():
    found, value = walk(1.0, bowl(1 / 2, 10.0), SURE)
    assert sorted(found) == pytest.approx([1 / 3, 1])
    assert value == 1


def test_strengths_are_changed_only_for_a_clear_gain():
    # Differences of two have a standard error of about 10.
    assert walk(1.0, bowl(1.0, 50.0), SURE)[1] == 1
    assert walk(1.0, bowl(1 / 3, 10.0), SURE)[1] == 1, "10 are not enough"
    assert walk(1.0, bowl(1 / 3, 10.0), 0.0)[1] == pytest.approx(1 / 3), "but for one who asks for less"
    assert walk(1.0, bowl(1 / 9, 90.0), SURE)[1] == pytest.approx(1 / 9)
    assert walk(1.0, bowl(9.0, 90.0), SURE)[1] == pytest.approx(9)
    found, value = walk(1.0, lambda value: spread(-1000 * np.log(value), 7.0), SURE)
    assert (len(found), value) == (7, max(found)), "it ends"


def test_a_large_speed_that_learns_slowly_wins_in_the_end():
    # Held-out C-stats of gaussian-6kev-rebin (2.3e7 counts), less 388,000; after 160 steps 1114, 186 and
    # 1023. Those of 0 are made up.
    courses = {
        0.0: {40: 90000, 60: 80000, 80: 75000}, 600.0: {40: 19945}, 1800.0: {40: 12373, 60: 5088, 80: 2631},
        3120.0: {40: 19086, 60: 7384, 80: 2800}, 5400.0: {40: 17530, 60: 7006, 80: 3491},
    }  # fmt: skip

    def lead(speed):
        whole, before = (spread(float(courses[speed][n]), 10.0) for n in (80, 60))
        return whole.led_on(before, 0.75)

    last, speed = race(lambda speed: spread(float(courses[speed][40]), 10.0), lead, 0.0)
    assert speed == 3120, "not 1800, which is ahead after 80 steps"
    assert set(last) == {0.0, 1800.0, 3120.0, 5400.0}, "others are left behind"


def test_errors_that_fall_with_the_third_power_lead_to_their_limit():
    before, whole = (spread(70.0 + 1e5 / steps**3, 1.0) for steps in (30, 40))
    assert whole.led_on(before, 0.75).deviance == pytest.approx(70)
    assert whole.led_on(whole, 0.75).deviance == whole.deviance
    assert whole.led_on(before, 1.0).deviance == whole.deviance, "a fit of one step has no part"
    few, most = (spread(70.0 + 1e5 / steps**3, 1.0) for steps in (22, 30))
    assert most.led_on(few, 22 / 30).deviance == pytest.approx(70)
    nothing = Foretold(np.full(100, np.inf), 1)
    assert whole.led_on(nothing, 0.75).deviance == whole.deviance
    assert nothing.led_on(nothing, 0.75).deviance == np.inf


def test_fast_ones_that_may_be_as_good_are_not_left_behind():
    """`two-gases` at 2.3e7 counts, second sky: after 40 steps 350 and 600 km/s are ahead by less than the noise."""
    short = {0.0: -874.0, 350.0: -1100.0, 600.0: -1091.0, 1800.0: 881.0, 5400.0: 0.0}
    long = {0.0: 14081.0, 350.0: 12000.0, 600.0: 9431.0, 5400.0: 0.0, 16200.0: 900.0}
    last, speed = race(lambda speed: spread(short[speed], 1000.0), lambda speed: spread(long[speed], 10.0), 0.0)
    assert speed == 5400
    assert set(last) == set(long), "rest goes on in any case, 1800 does not"
    assert last[0.0].deviance == pytest.approx(long[0.0])


def test_the_fastest_is_not_the_last_to_be_tried():
    assert same(lambda speed: spread(-speed, 0.0))[1] == 16200


def same(attempt, step=0.0):
    """What is tried in a race whose longer fits are no better than short ones, and the speed that is taken."""
    asked = set()
    _, speed = race(lambda speed: asked.add(speed) or attempt(speed), attempt, step)
    return asked, speed


def test_slower_ones_are_tried_until_one_is_worse():
    deviances = {0.0: 900.0, 600.0: 0.0, 1800.0: 40.0, 3120.0: 5.0, 5400.0: 10.0}
    assert same(lambda speed: spread(deviances[speed], 3.0)) == ({0.0, 1800.0, 3120.0, 5400.0}, 3120)
    deviances = {0.0: 9.8, 600.0: 0.0, 350.0: 9.9, 1040.0: 9.9, 5400.0: 10.0}
    for unsure in (spread(10.3, 0.0), Foretold(np.full(1, np.inf), 0)):  # neither noise nor a failure ends it
        found = {speed: spread(deviance, 0.0) for speed, deviance in deviances.items()} | {1800.0: unsure}
        assert same(found.__getitem__)[1] == 600


def test_none_is_slower_than_a_step():
    def attempt(speed):
        return spread(speed, 0.0)

    assert same(attempt, 700.0)[0] == {0.0, 1040.0, 1800.0, 5400.0}
    assert same(attempt, 4000.0)[0] == {0.0, 5400.0}
    assert same(lambda speed: spread(-speed, 0.0), 20.0)[1] == 5400, "16200 would take too many steps"
    assert max(same(attempt, 5.0)[0]) == 1800
    assert same(attempt, 9000.0) == ({0.0}, 0.0)
    assert Choice.of("vmax", {0.0: 5.0}, 0.0).at_edge is None


def test_of_speeds_that_are_alike_the_smallest_is_taken():
    deviances = {0.0: 500.0, 600.0: 10.0, 1040.0: 0.0, 1800.0: 40.0, 5400.0: 900.0}

    def chosen(scatter):
        return same(lambda speed: spread(deviances[speed], scatter))[1]

    assert chosen(3.0) == 1040
    assert chosen(30.0) == 600
    deviances = {0.0: 1.0, 600.0: 0.0, 1800.0: 140.0, 5400.0: 900.0, 350.0: 200.0}
    assert chosen(30.0) == 600, "that nothing moves has to be the best answer"
    deviances[0.0] = -1.0
    assert chosen(30.0) == 0
    assert same(lambda _: spread(0.0, 0.0))[1] == 0
    assert same(lambda _: Foretold(np.full(100, np.inf), 1))[1] == 0


FIRST = hifred.priors.DopplerSheets(1.5, 0.01, templates=2, sheets=1, vmax=0.0)


def foretold(split, prior, most):
    """How well a fit of so many steps foretells the rest, and the fit."""
    return split.foretold(prior, Stopping(most, 0.0, at_noise=False)), split._fits[prior]


def test_strengths_part_after_the_first_steps(data, monkeypatch):
    monkeypatch.setattr("hifred.split.RIPE", TRUNK)
    split, most = Split.of(data), TRUNK + BRANCH
    _, trunk = foretold(split, FIRST, TRUNK)
    other = replace(FIRST, strength=13.5)
    parted, fit = foretold(split, other, most)
    assert (trunk.shared, fit.shared) == (0, TRUNK)
    assert fit.steps == most
    assert parted.iterations >= TRUNK + FRESH, "the best of its own steps"
    assert len({step.deviance for step in fit.course[:3]}) == 3, "its steps are not refused for a penalty of the other"
    # Parted from itself, it goes on as if nothing had been.
    split._fits.clear()
    _, again = foretold(split, FIRST, most)
    _, whole = foretold(Split.of(data), FIRST, TRUNK + 3)
    assert again.shared == TRUNK
    assert again.course[2].deviance == pytest.approx(whole.course[TRUNK + 2].deviance, rel=1e-6)


def test_first_steps_after_a_change_do_not_count(data):
    """Any weaker penalty lets them fall a little, and surely."""
    deviances = {TRUNK + 1: 90.0, TRUNK + FRESH - 1: 95.0, TRUNK + FRESH: 99.0, TRUNK + BRANCH: 120.0}
    course = tuple(Foretold(np.full(1, deviances.get(n, 110.0)), n) for n in range(TRUNK + 1, TRUNK + BRANCH + 1))
    solution = foretold(Split.of(data), FIRST, 1)[1].solution
    last = replace(solution, history=(replace(solution.history[-1], iteration=TRUNK + BRANCH),))
    assert Fitted(last, course).best(TRUNK + BRANCH).iterations == TRUNK + FRESH
    whole = tuple(Foretold(np.full(1, 100.0 + n), n) for n in range(1, TRUNK + BRANCH + 1))
    assert Fitted(last, whole).best(TRUNK + BRANCH).iterations == 1, "of a fit of its own all do"


def test_fits_that_do_not_part(data, monkeypatch):
    monkeypatch.setattr("hifred.split.RIPE", TRUNK)
    split, most = Split.of(data), TRUNK + BRANCH
    foretold(split, FIRST, TRUNK)
    others = (replace(FIRST, templates=3), most), (replace(FIRST, light_strength=0.03), most)
    for other, steps in (*others, (replace(FIRST, strength=4.5), most - 1)):
        assert foretold(split, other, steps)[1].shared == 0, "of another kind, or of few steps"
    # One that has parted is made from the start where it is asked for steps that it shared.
    late = replace(FIRST, strength=0.5)
    assert foretold(split, late, most)[1].shared == TRUNK
    few, fit = foretold(split, late, TRUNK)
    assert fit.shared == 0
    assert few.deviance == foretold(Split.of(data), late, TRUNK)[0].deviance


def test_none_parts_from_a_fit_of_noise(data):
    split = Split.of(data)
    best, _ = foretold(split, FIRST, TRUNK)
    assert best.iterations <= TRUNK - RIPE, "the rest no longer agrees"
    assert foretold(split, replace(FIRST, strength=13.5), TRUNK + BRANCH)[1].shared == 0


def test_at_its_end_a_fit_shows_the_noise_that_it_follows(data):
    """Without a penalty on light, images follow noise sooner or later; to end early would hide that."""
    stopping = Stopping(ONE_SPECTRUM, 0.0, at_noise=False)
    split, light = Split.of(data), single_gas(1e-6)
    best, end = (Split.of(data).foretold(light, stopping, at_end) for at_end in (False, True))
    assert end.iterations == ONE_SPECTRUM > best.iterations
    assert best.falls_below(end, 0.0, NOISE)
    split.foretold(light, stopping)
    assert split._fits[light].steps < ONE_SPECTRUM, "it ended early"
    assert split.foretold(light, stopping, at_end=True).deviance == end.deviance, "and goes on"
    assert split.foretold(light, replace(stopping, max_iterations=9), at_end=True).iterations == 9


def test_a_fit_that_fails_at_once_foretells_nothing(data, monkeypatch):
    def fails(solver, problem, state):
        return replace(state, progress=replace(state.progress, penalty=state.progress.penalty + np.nan))

    monkeypatch.setattr(driver, "_step", fails)
    found = Split.of(data).foretold(replace(FIRST, light_strength=0.0), Stopping(5, 0.0, at_noise=False))
    assert (found.deviance, found.iterations) == (np.inf, 0)
    works = spread(5.0, 1.0)
    assert works.falls_below(found, SURE, NOISE)
    assert not found.is_alike(works, 1.0, NOISE)
    assert found.led_on(works, 0.75).deviance == np.inf
    fused = hifred.fuse(data, replace(FIRST, strength=None), progress=False)
    assert fused.status == "diverged"


def test_a_start_is_the_same_whatever_was_fitted_before(data):
    fresh, used = Split.of(data), Split.of(data)
    for steps in (5, 200):
        foretold(used, single_gas(0.01), steps)
        used._starts.clear()
        one, other = fresh._start(FIRST), used._start(FIRST)
        np.testing.assert_allclose(other.cube, one.cube, rtol=1e-4)


def test_speeds_lead_from_the_steps_there_are(data, monkeypatch):
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(13), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    asked = []

    def foretold(self, prior, stopping, at_end=False):
        asked.append(stopping.max_iterations)
        return spread(100.0 + prior.vmax, 1.0)

    monkeypatch.setattr(Split, "foretold", foretold)
    for most, steps in ((30, {30, 22}), (60, {40, 60, 45}), (200, {40, 80, 60}), (1, {1})):
        asked.clear()
        settle(moving, hifred.priors.DopplerSheets(light_strength=0.01), most)
        assert set(asked) == steps


@pytest.mark.parametrize("folds", [1, 2])
def test_light_is_chosen_from_fits_of_one_spectrum_at_their_end(data, monkeypatch, folds):
    """Of all steps, however few the last fit may take."""
    asked = []

    def foretold(self, prior, stopping, at_end=False):
        asked.append((prior.single, stopping.max_iterations, at_end))
        return bowl(0.03, 300.0)(prior.light_strength)

    monkeypatch.setattr(Split, "foretold", foretold)
    prior = hifred.priors.DopplerSheets(templates=2, sheets=1, vmax=0.0)
    prior, (light,) = settle(data, prior, 5, folds=Folds.of(data, folds))
    assert set(asked) == {(True, LIGHT_STEPS, True)}
    assert prior.light_strength == light.chosen == pytest.approx(0.03)
    assert (light.at_edge, light.folds) == (None, folds)


@pytest.mark.parametrize("last", [0, 7])
def test_a_fit_that_fails_on_the_way_to_its_end_foretells_nothing(data, monkeypatch, last):
    worked, steps = driver._step, []

    def fails(solver, problem, state):
        steps.append(state)
        state = worked(solver, problem, state)
        bad = np.nan if len(steps) > last else 0.0
        return replace(state, progress=replace(state.progress, penalty=state.progress.penalty + bad))

    monkeypatch.setattr(driver, "_step", fails)
    found = Split.of(data).foretold(single_gas(0.01), Stopping(20, 0.0, at_noise=False), at_end=True)
    assert (found.deviance, found.iterations) == (np.inf, last)


def test_strengths_are_told_apart_after_few_steps(data, monkeypatch):
    asked = []
    prior = hifred.priors.DopplerSheets(templates=1, sheets=1, vmax=0.0, light_strength=0.01)

    def foretold(self, prior, stopping, at_end=False):
        asked.append((prior.strength, stopping.max_iterations))
        return spread(100.0 if prior.strength == START else 500.0, 1.0)

    monkeypatch.setattr(Split, "foretold", foretold)
    assert tune(data, prior, 100).strength == START
    assert asked == [(START, 60), (START / 3, 60), (START * 3, 60), (START, 100)]


def test_settings_that_are_not_given_are_chosen(data):
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(13), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    said = []
    prior, choices = settle(moving, hifred.priors.DopplerSheets(templates=2, sheets=1), say=said.append)
    assert sum(text.startswith("vmax 5.4e+03: held-out C-stat of 40 steps ") for text in said) == 1
    light, speed = choices
    assert (light.name, light.chosen, speed.name, speed.chosen) == (
        "light_strength", prior.light_strength, "vmax", prior.vmax,
    )  # fmt: skip
    tried = {float(text.split()[1].rstrip(":")) for text in said if text.startswith("vmax")}
    assert {0.0, 1800.0, 5400.0} <= tried
    assert tried - {*SPEEDS, 3 * SPEEDS[-1]}, "and one between"
    assert 0.0 in speed.values
    best = min(speed.deviances)
    assert prior.vmax <= speed.values[speed.deviances.index(best)]
    assert speed.deviances[speed.values.index(prior.vmax)] < best + 50
    assert settle(moving, prior) == (prior, ())
    still, choices = settle(data, hifred.priors.DopplerSheets(templates=2, sheets=1))
    assert len(choices) == 1
    assert still.vmax == 0, "without energies nothing moves"


def test_numbers_of_gases_and_sheets_that_are_not_given_are_chosen(data, monkeypatch):
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(13), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    asked = []

    def foretold(self, prior, stopping, at_end=False):
        asked.append((prior.templates, prior.sheets, stopping.max_iterations))
        return spread(100.0 * (prior.templates - 9) ** 2 + 10 * (prior.sheets - 2) ** 2, 0.0)

    monkeypatch.setattr(Split, "foretold", foretold)
    prior = hifred.priors.DopplerSheets(light_strength=0.01, vmax=2000.0, templates=None, sheets=None)
    settled, choices = settle(moving, prior, 10)
    assert [choice.name for choice in choices] == ["templates", "sheets"]
    assert settled.unsettled == ("strength",)
    assert (settled.templates, settled.sheets) == (10, 2)
    assert asked == [*((n, 3, 10) for n in (3, 5, 10, 20)), *((10, n, 10) for n in (1, 2, 3, 5))]
    still, _ = settle(data, replace(prior, vmax=0.0), 10)
    assert still.sheets == 1, "without motion others would be copies"


def test_of_numbers_that_foretell_the_same_the_smallest_is_taken(data, monkeypatch):
    """To a unit of C-stat: that they differ by less than a standard error is not enough."""
    heights = {3: 7.0, 5: 5.4, 10: 5.0, 20: 4.6}
    monkeypatch.setattr(Split, "foretold", lambda self, prior, *_: spread(heights[prior.templates], 9.0))
    prior = hifred.priors.DopplerSheets(light_strength=0.01, vmax=0.0, templates=None)
    assert settle(data, prior, 10)[0].templates == 5


def test_ctrl_c_ends_the_choice_of_settings(data, monkeypatch):
    """A fit cut short would be taken for one that foretells badly."""

    def interrupted(*args, **options):
        return replace(minimise(*args, **options), status=Status.INTERRUPTED)

    monkeypatch.setattr("hifred.split.minimise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hifred.fuse(data, LowRankSobolev(), strength="auto", max_iterations=2, progress=False)
    with pytest.raises(KeyboardInterrupt):
        Split.of(data).foretold(hifred.priors.DopplerSheets(1.5, 0.01, vmax=0.0), Stopping(2, 0.0, at_noise=False))


def test_a_fit_that_goes_on_is_that_of_one_go(data):
    prior = hifred.priors.DopplerSheets(1.5, 0.01, templates=2, sheets=1, vmax=0.0)
    split = Split.of(data)
    whole = Split.of(data).foretold(prior, Stopping(12, 0.0, at_noise=False))
    split.foretold(prior, Stopping(5, 0.0, at_noise=False))
    again = split.foretold(prior, Stopping(12, 0.0, at_noise=False))
    assert (again.deviance, again.iterations) == (whole.deviance, whole.iterations)
    short = Split.of(data).foretold(prior, Stopping(5, 0.0, at_noise=False))
    again = split.foretold(prior, Stopping(5, 0.0, at_noise=False))
    assert (again.deviance, again.iterations) == (short.deviance, short.iterations), "what came later does not count"


@pytest.mark.parametrize("prior", [Unregularized(), LowRankSobolev(strength=0.0), hifred.priors.DopplerSheets(0.0)])
def test_without_a_strength_there_is_nothing_to_tune(data, prior, monkeypatch):
    monkeypatch.setattr("hifred.fusion.settle", None)  # it is said before other settings are chosen
    with pytest.raises(ValueError, match="strength: expected a prior"):
        hifred.fuse(data, prior, strength="auto", progress=False)


def test_any_tolerance_may_be_loosened(data):
    tune(data, LowRankSobolev(), max_iterations=2, tolerance=0.5)
    with pytest.raises(ValueError, match=r"tolerance: .* found 1.5"):
        tune(data, LowRankSobolev(), tolerance=1.5)


def test_a_strength_may_be_a_number(data):
    fused = hifred.fuse(data, LowRankSobolev(), strength=0.5, max_iterations=2, progress=False)
    assert "strength=0.5" in fused.provenance["prior"]
    with pytest.raises(ValueError, match="strength: expected a number, found 'much'"):
        hifred.fuse(data, Starlet2D1D(), strength="much", progress=False)


def test_counts_of_a_model_are_rounded_at_random_before_they_are_split():
    dataset = hifred.Dataset(np.full((2, 50, 50), 0.4), hifred.Response.from_kernels((2, 50, 50)), name="model")
    part, rest = next(thin(dataset, 0.85, np.random.default_rng(1)))
    total = part.counts + rest
    assert set(np.unique(total)) == {0, 1}
    assert total.mean() == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("photons", [1, 200, 10**5, 10**8])
def test_lights_are_tried_from_above(photons, monkeypatch):
    """The strengths that were best on simulated scenes fell with the root of the number of photons."""
    counts = np.zeros((2, 9, 9))
    counts[0, 4, 4] = photons
    data = [hifred.Dataset(counts, hifred.Response.from_kernels(counts.shape), name="one")]
    tried = []

    def foretold(self, prior, stopping, at_end=False):
        tried.append(prior.light_strength)
        return spread(10 * np.log(prior.light_strength), 0.0)

    monkeypatch.setattr(Split, "foretold", foretold)
    settle(data, hifred.priors.DopplerSheets(templates=2, sheets=1, vmax=0.0))
    usual = LIGHT * np.sqrt(PHOTONS * 81 / photons)
    assert 3 * usual <= tried[0] < 9 * usual
