import contextvars
import json
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax
import numpy as np
import pytest

import hifred
from hifred import priors
from hifred.factorisation import ONE_SPECTRUM, single_gas
from hifred.folds import Folds
from hifred.priors import DopplerSheets, LowRankSobolev
from hifred.solvers import Stopping, driver
from hifred.solvers.interrupt import Interrupt
from hifred.split import Foretold, Split, thin
from hifred.tuning import LIGHT, settle

SHAPE = (12, 9, 9)
STILL = DopplerSheets(1.5, 0.01, templates=2, sheets=1, vmax=0.0)
FEW = Stopping(4, 0.0, at_noise=False)
LONG = Stopping(500, 0.0, at_noise=False)


@pytest.fixture
def data(sky, observe, instruments):
    return observe(sky(SHAPE, 2e4), instruments[1])


@pytest.mark.parametrize(("fraction", "folds"), [(0.85, 6), (0.5, 2), (0.9, 10), (0.6, 2)])
def test_no_photon_is_kept_back_twice(fraction, folds):
    counts = np.random.default_rng(0).poisson(20.0, (1, 100, 100))
    dataset = hifred.Dataset(counts, hifred.Response.from_kernels(counts.shape), 2.0, name="one")
    pairs = list(thin(dataset, fraction, np.random.default_rng(1)))
    assert len(pairs) == folds
    kept = np.array([rest for _, rest in pairs])
    for part, rest in pairs:
        np.testing.assert_array_equal(part.counts + rest, counts)
        assert rest.min() >= 0
        assert rest.mean() == pytest.approx((1 - fraction) * counts.mean(), rel=0.03)
    assert (kept.sum(0) <= counts).all()
    if folds * (1 - fraction) > 0.999:
        np.testing.assert_array_equal(kept.sum(0), counts)
    many = kept.reshape(folds, -1).astype(float)
    assert np.abs(np.corrcoef(many) - np.eye(folds)).max() < 0.04, "they are independent"


def test_further_folds_leave_the_first_ones_as_they_are(data):
    one, three = Folds.of(data), Folds.of(data, 3)
    more = one.at_least(3)
    assert more.splits[0] is one.splits[0], "its fits are kept"
    for ours, theirs in zip(more.splits, three.splits, strict=True):
        for rest, same in zip(ours.rests, theirs.rests, strict=True):
            np.testing.assert_array_equal(rest, same)
    assert three.at_least(2) is three
    assert len(Folds.of(data, 1, fraction=0.5).at_least(3).splits) == 2, "photons last for no more"


@pytest.mark.parametrize("folds", [1, 4])
@pytest.mark.parametrize("alike", [True, False])
def test_lights_that_are_alike_are_told_apart_by_three_folds(data, monkeypatch, folds, alike):
    asked, values = [], set()

    def foretold(self, prior, stopping, at_end=False):
        """Lowest at a third for one split, of which half a step more is alike; of three, the larger the lower."""
        asked.append((prior.single, len(self.splits)))
        values.add(prior.light_strength)
        steps = np.log(prior.light_strength / LIGHT) / np.log(3)
        noise = np.tile([1.0, -1.0], 50) * (8 * steps if alike else 0.0)
        return Foretold(1 + (steps + (1 if len(self.splits) < 3 else 0)) ** 2 + noise, 5)

    monkeypatch.setattr(Folds, "foretold", foretold)
    prior, (light,) = settle(data, DopplerSheets(templates=2, sheets=1, vmax=0.0), folds=Folds.of(data, folds))
    more = alike and folds < 3
    assert light.folds == (3 if more else folds)
    assert len(light.values) == len([one for one in asked if one == (True, folds)]), "the curve is that of all values"
    assert set(asked) == {(True, folds)} | ({(True, 3)} if more else set())
    assert len(values) == len({round(value, 9) for value in values}), "fits of the first split are kept"
    chosen = np.sqrt(1 / 3) if more else (1.0 if folds > 3 else 1 / 3)
    assert prior.light_strength == pytest.approx(chosen * LIGHT)


@pytest.mark.parametrize("folds", [1, 2])
def test_where_photons_last_for_no_more_folds_those_decide(data, monkeypatch, folds):
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(SHAPE[0] + 1), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    noise = np.tile([1.0, -1.0], 50)

    def foretold(self, prior, stopping, at_end=False):
        """Motion is ahead by a little, with an error of twice that."""
        away = (-10 + 100 * abs(np.log(prior.vmax / 1800))) / 100 + 2 * noise if prior.vmax else 0.0
        return Foretold(np.full(100, 1.0) + away, 5)

    monkeypatch.setattr(Folds, "foretold", foretold)
    prior, choices = settle(moving, DopplerSheets(templates=2, sheets=1), folds=Folds.of(moving, folds, fraction=0.5))
    assert [choice.folds for choice in choices] == [2, 2]
    assert prior.vmax == 0, "that gas moves has to be clear where it was open"


@pytest.mark.parametrize(
    ("one", "three", "speed"),
    [(-10, 5, 0), (-10, -5, 0), (-10, np.inf, 0), (-10, -15, 1800), (10, -15, 1800), (-50, 0, 1800), (50, 0, 0)],
)
def test_whether_gas_moves_is_told_by_three_folds_where_one_leaves_it_open(data, monkeypatch, one, three, speed):
    """C-stats of motion above rest in one fold and in three, to 10: more are asked below 20."""
    grid = hifred.CubeGrid(6.0 + 0.02 * np.arange(SHAPE[0] + 1), SHAPE[1:])
    moving = [hifred.Dataset(d.counts, d.response, name=d.name, grid=grid) for d in data]
    noise = np.tile([1.0, -1.0], 50)
    asked = []

    def foretold(self, prior, stopping, at_end=False):
        if (folds := len(self.splits)) == 3:
            asked.append(prior.vmax)
        away = ({1: one, 3: three}[folds] + 100 * abs(np.log(prior.vmax / 1800))) / 100 + noise if prior.vmax else 0.0
        return Foretold(np.full(100, 1.0) + away, 5)

    monkeypatch.setattr(Folds, "foretold", foretold)
    prior, (choice,) = settle(moving, DopplerSheets(light_strength=0.01, templates=2, sheets=1))
    assert prior.vmax == choice.chosen == speed
    assert choice.folds == (3 if abs(one) < 20 else 1)
    assert set(asked) == ({0.0, 1800.0} if abs(one) < 20 else set())


@pytest.mark.parametrize("prior", [STILL, LowRankSobolev()], ids=["factors", "cube"])
def test_folds_foretell_what_each_does(data, prior):
    found = Folds.of(data, 3).foretold(prior, FEW)
    each = [split.foretold(prior, FEW) for split in Split.several(data, 3)]
    np.testing.assert_array_equal(found.groups, np.concatenate([one.groups for one in each]))
    assert found.iterations == max(one.iterations for one in each) == 4


def test_threads_keep_double_precision(x64):
    shape = (6, 5, 5)
    responses = [hifred.Response.from_kernels(shape, dtype=np.float64, rebin=rebin) for rebin in ((1, 1, 1), (2, 1, 1))]
    rng = np.random.default_rng(0)
    data = [
        hifred.Dataset(rng.poisson(5.0, response.out_shape), response, name=name)
        for name, response in zip("ab", responses, strict=True)
    ]
    found = Folds.of(data, 2).foretold(STILL, FEW)
    each = [split.foretold(STILL, FEW) for split in Split.several(data, 2)]
    np.testing.assert_array_equal(found.groups, np.concatenate([one.groups for one in each]))


@pytest.mark.parametrize(("numbers", "said"), [((3, 6, 7), 5), ((3, 10, 8), 10), ((0, 10, 4), 0)])
def test_iterations_are_the_mean_unless_one_was_cut_or_failed(data, monkeypatch, numbers, said):
    left = iter(numbers)
    monkeypatch.setattr(Split, "foretold", lambda *_: Foretold(np.ones(2), next(left)))
    assert Folds.of(data, 3).foretold(STILL, replace(LONG, max_iterations=10)).iterations == said


def test_fuse_chooses_from_all_folds(data):
    prior = DopplerSheets(templates=2, sheets=1, vmax=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the best of three strengths is often the first or last
        fused = hifred.fuse(data, prior, folds=2, max_iterations=70, progress=False)
        alone = hifred.fuse(data, prior, max_iterations=70, progress=False).provenance["tuning"]
    curve = fused.provenance["tuning"]
    assert (curve["fraction"], curve["seed"], curve["folds"]) == (0.85, 0, 2)
    json.dumps(curve)
    assert alone["folds"] == 1
    assert min(curve["deviances"]) > 1.5 * min(alone["deviances"]), "of twice as many photons"


def test_how_photons_were_split_is_kept_where_the_strength_was_given(data):
    fused = hifred.fuse(data, replace(STILL, light_strength=None), folds=2, max_iterations=5, progress=False)
    tuning = fused.provenance["tuning"]
    assert (tuning["folds"], tuning["fraction"]) == (2, 0.85)
    assert [one["name"] for one in tuning["settings"]] == ["light_strength"]


def test_a_checkpoint_is_of_the_same_run_whatever_type_a_number_has(data, tmp_path, monkeypatch):
    prior, path = LowRankSobolev(), tmp_path / "run.npz"
    first = hifred.fuse(data, prior, strength="auto", folds=True, checkpoint=path, progress=False)
    monkeypatch.setattr(Split, "foretold", None)  # nothing is to be chosen again
    again = hifred.fuse(data, prior, strength="auto", folds=1, checkpoint=path, progress=False)
    assert again.provenance["tuning"] == first.provenance["tuning"]
    np.testing.assert_array_equal(again.values, first.values)
    path.unlink()
    monkeypatch.undo()
    prior = replace(STILL, light_strength=None)
    hifred.fuse(data, prior, 3, strength=1.0, checkpoint=path, progress=False)
    monkeypatch.setattr(Split, "foretold", None)
    hifred.fuse(data, prior, 3, strength=np.float64(1), checkpoint=path, progress=False)


@pytest.fixture
def slow(monkeypatch):
    """Steps that are noted with their thread, and take a while; `slow.at(n, do)` does something at the n-th."""

    class Steps(list):
        number = 0

        def at(self, number, act):
            self.number, self.act = number, act

    steps, usual = Steps(), driver._step

    def step(*arguments):
        steps.append(threading.current_thread())
        if len(steps) == steps.number:
            steps.act()
        time.sleep(0.05)
        return usual(*arguments)

    monkeypatch.setattr(driver, "_step", step)
    return steps


def test_ctrl_c_ends_all_folds(data, slow):
    slow.at(5, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Folds.of(data, 2).foretold(STILL, LONG)
    assert len(slow) <= 8
    assert threading.main_thread() not in slow
    assert signal.getsignal(signal.SIGINT) is before
    assert not Interrupt().asked, "and is forgotten"


@pytest.mark.parametrize("folds", [1, 2])
def test_ctrl_c_in_the_last_step_of_a_fit_is_not_lost(data, slow, folds):
    """The fit is at its end by then, but what it was made for is not."""
    slow.at(folds * FEW.max_iterations, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        Folds.of(data, folds).foretold(single_gas(0.01), FEW)
    assert len(slow) == folds * FEW.max_iterations


def test_a_second_ctrl_c_is_raised_though_another_loop_noted_the_first():
    with Interrupt() as outer:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), Interrupt():
            signal.raise_signal(signal.SIGINT)
    assert outer.asked


def test_where_ctrl_c_is_ignored_it_stays_so():
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
        assert not interrupt.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


def test_ctrl_c_while_the_start_is_made_ends_the_run_after_a_step(data, slow):
    slow.at(ONE_SPECTRUM, lambda: signal.raise_signal(signal.SIGINT))
    fused = hifred.fuse(data, STILL, progress=False)
    assert (fused.status, fused.history[-1].iteration) == ("interrupted", 1)


def test_an_error_in_one_fold_ends_the_others(data, slow):
    def fail():
        raise FloatingPointError("of one fold")

    slow.at(5, fail)
    with pytest.raises(FloatingPointError, match="of one fold"):
        Folds.of(data, 2).foretold(STILL, LONG)
    assert len(slow) <= 8


def test_a_ctrl_c_is_asked_for_in_threads_that_have_the_context():
    with Interrupt() as outer, ThreadPoolExecutor(1) as pool:
        context = contextvars.copy_context()
        inner = pool.submit(context.run, Interrupt).result()
        stranger = pool.submit(Interrupt).result()
        outer.ask()
    assert inner.asked, "though the outer one has been left"
    assert not stranger.asked


def test_folds_are_fitted_with_the_precision_that_was_asked_for(data, monkeypatch):
    found = []

    def foretold(self, prior, stopping, at_end=False):
        found.append((jax.dtypes.canonicalize_dtype(float), jax.default_matmul_precision.value))
        return Foretold(np.ones(2), 3)

    monkeypatch.setattr(Split, "foretold", foretold)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        Folds.of(data, 2).foretold(STILL, FEW)
    assert found == [(np.float64, "highest")] * 2


def test_anyones_denoiser_is_called_by_one_fold_at_a_time(data):
    inside, most = [], []

    def denoise(images, sigma):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return np.asarray(images) * 0.9

    Folds.of(data, 2).foretold(priors.Denoiser(denoise), FEW)
    assert max(most) == 1
    assert len(most) >= 8


@pytest.mark.parametrize(("folds", "said"), [(0, "found 0"), (7, "1 to 6.*found 7")])
def test_folds_out_of_range(data, folds, said):
    with pytest.raises(ValueError, match=f"folds: expected .*{said}"):
        hifred.fuse(data, LowRankSobolev(), strength="auto", folds=folds, progress=False)


def test_seeds_are_not_negative(data):
    with pytest.raises(ValueError, match="seed: expected at least 0, found -1"):
        Folds.of(data, seed=-1)


def test_folds_have_to_have_something_to_choose(data):
    with pytest.raises(ValueError, match="folds: expected 1 where no setting is chosen from the data, found 2"):
        hifred.fuse(data, LowRankSobolev(), folds=2, progress=False)
    with pytest.raises(ValueError, match="folds: expected 1 where no setting is chosen from the data, found 2"):
        hifred.fuse(data, replace(STILL, vmax=None), folds=2, progress=False)  # without energies nothing moves
