import signal
import threading

import numpy as np
import pytest

import hifred
from hifred.folds import Folds
from hifred.priors import DopplerSheets, LowRankSobolev
from hifred.solvers import Stopping, driver
from hifred.split import Split, thin

SHAPE = (12, 9, 9)
STILL = DopplerSheets(1.5, 0.01, templates=2, sheets=1, vmax=0.0)
FEW = Stopping(4, 0.0, at_noise=False)


@pytest.fixture
def data(sky, observe, instruments):
    return observe(sky(SHAPE, 2e4), instruments[1])


@pytest.mark.parametrize(("fraction", "folds"), [(0.85, 6), (0.5, 2), (0.9, 10), (0.3, 1)])
def test_no_photon_is_kept_back_twice(fraction, folds):
    counts = np.random.default_rng(0).poisson(20.0, (1, 100, 100))
    dataset = hifred.Dataset(counts, hifred.Response.from_kernels(counts.shape), 2.0, name="one")
    pairs = thin(dataset, fraction, np.random.default_rng(1), folds)
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


@pytest.mark.parametrize("prior", [STILL, LowRankSobolev()], ids=["factors", "cube"])
def test_folds_foretell_what_each_does(data, prior):
    found = Folds.of(data, folds=3).foretold(prior, FEW)
    each = [split.foretold(prior, FEW) for split in Split.several(data, folds=3)]
    np.testing.assert_array_equal(found.groups, np.concatenate([one.groups for one in each]))
    assert found.iterations == round(np.mean([one.iterations for one in each]))


def test_fuse_keeps_the_number_of_folds(data):
    fused = hifred.fuse(data, LowRankSobolev(), strength="auto", folds=2, progress=False)
    curve = fused.provenance["tuning"]
    assert curve["folds"] == 2
    alone = hifred.fuse(data, LowRankSobolev(), strength="auto", progress=False).provenance["tuning"]
    assert alone["folds"] == 1
    both = [d for s, d in zip(curve["strengths"], curve["deviances"], strict=True) if s in alone["strengths"]]
    assert min(both) > 1.5 * min(alone["deviances"]), "of twice as many photons"


def test_ctrl_c_ends_all_folds(data, monkeypatch):
    steps, usual = [], driver._step

    def step(*arguments):
        steps.append(threading.current_thread())
        if len(steps) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return usual(*arguments)

    monkeypatch.setattr(driver, "_step", step)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Folds.of(data, folds=2).foretold(STILL, Stopping(500, 0.0, at_noise=False))
    assert len(steps) < 200
    assert threading.main_thread() not in steps
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert Folds.of(data, folds=2).foretold(STILL, FEW).iterations >= 1, "and is forgotten"


def test_an_error_in_a_fold_is_that_of_all(data):
    with pytest.raises(ValueError, match="DopplerSheets: expected data sets with a grid"):
        Folds.of(data, folds=2).foretold(DopplerSheets(1.5, 0.01, vmax=1000.0), FEW)


@pytest.mark.parametrize(("folds", "said"), [(0, "found 0"), (7, "1 to 6.*found 7")])
def test_folds_out_of_range(data, folds, said):
    with pytest.raises(ValueError, match=f"folds: expected .*{said}"):
        hifred.fuse(data, LowRankSobolev(), strength="auto", folds=folds, progress=False)


def test_folds_have_to_have_something_to_choose(data):
    with pytest.raises(ValueError, match="folds: expected 1 where no setting is chosen from the data, found 2"):
        hifred.fuse(data, LowRankSobolev(), folds=2, progress=False)
