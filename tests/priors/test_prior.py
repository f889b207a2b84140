import re

import jax.numpy as jnp
import numpy as np
import pytest

from hifred import priors
from hifred.priors.prior import AnalysisL1
from hifred.priors.transform import Starlet

WITH_STRENGTH = [priors.Starlet2D1D, priors.LowRankSobolev, priors.LowRankStarlet]


@pytest.mark.parametrize("prior", WITH_STRENGTH)
@pytest.mark.parametrize("strength", [-1.0, float("inf"), float("nan"), 1e300])
def test_strength_out_of_range(prior, strength):
    with pytest.raises(ValueError, match=re.escape(f"strength: expected 0 to 1e+12, found {strength}")):
        prior(strength=strength)


@pytest.mark.parametrize("prior", [priors.LowRank, priors.LowRankSobolev, priors.LowRankStarlet])
@pytest.mark.parametrize("rank", [0, -2])
def test_rank_out_of_range(prior, rank):
    with pytest.raises(ValueError, match=f"rank: expected at least 1, found {rank}"):
        prior(rank=rank)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.Starlet2D1D(scales=0), "scales: expected at least 1, found 0"),
        (lambda: priors.Starlet2D1D(energy_scales=-1), "energy_scales: expected at least 0, found -1"),
        (lambda: priors.LowRankStarlet(scales=0), "scales: expected at least 1, found 0"),
    ],
)
def test_scales_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_priors_are_options_only():
    """They can be compared, shown, and not changed."""
    for prior in (*WITH_STRENGTH, priors.LowRank, priors.Unregularized):
        assert prior() == prior()
        assert prior.__name__ in repr(prior())
        assert eval(repr(prior()), vars(priors)) == prior()
        with pytest.raises(AttributeError):
            prior().strength = 2


def test_equal_priors_look_alike():
    """Checkpoints know their run by it."""
    usual = priors.LowRankSobolev()
    assert repr(priors.LowRankSobolev(float(str(usual.strength)))) == repr(usual) == "LowRankSobolev()"
    assert repr(priors.LowRank(np.int64(3))) == "LowRank(rank=3)"
    assert repr(priors.DopplerSheets(templates=np.int64(4))) == "DopplerSheets(templates=4)"
    assert repr(priors.DopplerSheets(0.5, vmax=0)) == "DopplerSheets(strength=0.5, vmax=0.0)"


def test_analysis_penalty_by_loops(x64):
    rng = np.random.default_rng(0)
    shape = (3, 4, 5)
    transform = Starlet(shape, 2, 1, np.float64)
    cube = jnp.asarray(rng.normal(size=shape))
    bands = [np.asarray(b) for b in transform.analysis(cube)]
    weights = [rng.random(shape) for _ in bands]
    expected = 0.0
    for weight, band in zip(weights, bands, strict=True):
        for index in np.ndindex(shape):
            expected += weight[index] * abs(band[index])
    penalty = AnalysisL1(transform, tuple(jnp.asarray(w) for w in weights))
    assert float(penalty.value(cube)) == pytest.approx(expected, rel=1e-13)
    assert float(penalty.of_coefficients(transform.analysis(cube))) == pytest.approx(expected, rel=1e-13)
    assert float(penalty.value(3 * cube)) == pytest.approx(3 * expected, rel=1e-13)
    assert float(penalty.value(jnp.ones(shape))) == pytest.approx(0, abs=1e-12)
