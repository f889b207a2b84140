"""The methods of the accuracy benchmark: blind ones see the data, oracles the truth as well and say so."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from accuracy_scenes import Challenge

import hifred
from hifred import priors
from hifred.assembly import assemble
from hifred.priors.denoisers import bm3d_denoiser
from hifred.search import SPEEDS
from hifred.tuning import START, settle, tune

# Strengths of an oracle are so far apart, and at most so many: far more than any has needed.
FACTOR, MOST = 3.0, 9
EM_STEPS, EM_PATIENCE = 100, 5
# A factorisation is measured after every so many steps, until it has been worse so often.
FACTOR_STEPS, FACTOR_EVERY, FACTOR_PATIENCE = 200, 10, 3
# Without noise: weights for each count, numbers of gases and steps, and speeds in km/s, of which the better one counts.
WEAK, WEAK_LIGHT = 5e-11, 5e-14
CLEAN_TEMPLATES, CLEAN_STEPS, CLEAN_SPEEDS = 10, 400, (600.0, 3120.0)
# Principal spectra whose maps BM3D filters: half a second for each in each step.
BM3D_RANK = 4


Strong = priors.LowRankSobolev | priors.LowRankStarlet | priors.Starlet2D1D


@dataclass(frozen=True, eq=False)
class Answer:
    """A cube, and how it was made."""

    cube: np.ndarray
    iterations: int
    settings: dict


@dataclass(frozen=True)
class Method:
    """A function of a challenge; `oracle` if it looks at the truth, `once` if neither counts nor draw matter.

    `package` is what it needs besides hifred.
    """

    function: Callable[[Challenge], Answer]
    oracle: bool = False
    once: bool = False
    package: str | None = None

    @property
    def available(self) -> bool:
        """Whether the package that it needs, if any, is installed."""
        return self.package is None or find_spec(self.package) is not None

    def __call__(self, problem: Challenge) -> Answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return self.function(problem)


def em_oracle(problem: Challenge) -> Answer:
    """Plain EM without momentum, stopped where its NMSE is best."""
    solver, data = assemble(problem.datasets, priors.Unregularized())
    state = eqx.filter_jit(solver.init)(data)
    step, cube = eqx.filter_jit(solver.step), eqx.filter_jit(solver.cube)
    best, found = (np.inf, 0), np.zeros(0)
    for iteration in range(1, EM_STEPS + 1):
        state = step(data, eqx.tree_at(lambda s: s.momentum, state, jnp.ones_like(state.momentum)))
        values = np.asarray(cube(data, state))
        error = problem.error(values)
        if error < best[0]:
            best, found = (error, iteration), values
        if iteration >= best[1] + EM_PATIENCE:
            break
    return Answer(found, best[1], {})


def strength_oracle(prior: Strong) -> Callable[[Challenge], Answer]:
    """The strength with the best NMSE, in steps of 3 from the default."""

    def solve(problem: Challenge) -> Answer:
        def attempt(strength: float) -> tuple[float, Answer]:
            fused = hifred.fuse(problem.datasets, replace(prior, strength=strength), progress=False)
            answer = Answer(fused.values, int(fused.history[-1].iteration), {"strength": strength})
            return problem.error(fused.values), answer

        return _walk(prior.strength, attempt)

    return solve


def _walk(first: float, attempt: Callable[[float], tuple[float, Answer]]) -> Answer:
    """The best answer of values a factor of 3 apart, from the first one on until the next is worse."""
    best, lower = attempt(first), attempt(first / FACTOR)
    factor = 1 / FACTOR if lower[0] < best[0] else FACTOR
    best, value = (lower, first / FACTOR) if factor < 1 else (best, first)
    for _ in range(MOST - 2):
        value *= factor
        following = attempt(value)
        if following[0] >= best[0]:
            break
        best = following
    return best[1]


def blind(prior: priors.Prior) -> Callable[[Challenge], Answer]:
    """All settings from the data."""

    def solve(problem: Challenge) -> Answer:
        fused = hifred.fuse(problem.datasets, prior, progress=False, strength="auto")
        tuning = fused.provenance["tuning"]
        settings = {"strength": tuning["strength"]} | {s["name"]: s["chosen"] for s in tuning.get("settings", [])}
        return Answer(fused.values, int(fused.history[-1].iteration), settings)

    return solve


def bm3d_blind(problem: Challenge) -> Answer:
    """BM3D as denoiser, with the strength that count thinning finds for the network in its place, which is faster."""
    prior = priors.Denoiser(rank=BM3D_RANK)
    strength = tune(problem.datasets, prior).strength
    prior = replace(prior, strength=strength, denoise=bm3d_denoiser())
    fused = hifred.fuse(problem.datasets, prior, progress=False)
    return Answer(fused.values, int(fused.history[-1].iteration), {"strength": strength})


def sheets_oracle(problem: Challenge) -> Answer:
    """DopplerSheets with speed, weight of the light, strength and iterations of the best NMSE, one after another."""
    prior, _ = settle(problem.datasets, priors.DopplerSheets())
    light, speeds = prior.light_strength or 0.0, sorted({*SPEEDS, prior.speed})
    prior = replace(prior, strength=START)

    def attempt(name: str, value: float) -> tuple[float, Answer]:
        return _course(problem, replace(prior, **{name: value}))

    for name, values in (("vmax", speeds), ("light_strength", [light / FACTOR, light, light * FACTOR])):
        prior = replace(prior, **{name: min(values, key=lambda value, name=name: attempt(name, value)[0])})
    return _walk(START, partial(attempt, "strength"))


def noiseless(problem: Challenge) -> Answer:
    """What blur alone leaves: DopplerSheets, hardly smoothed, fitted to what is expected of the true sky."""
    counts = sum(float(dataset.counts.sum(dtype=float)) for dataset in problem.datasets) / len(problem.datasets)
    datasets = tuple(d.with_counts(mean) for d, mean in zip(problem.datasets, problem.expected, strict=True))
    prior = priors.DopplerSheets(WEAK * counts, WEAK_LIGHT * counts, templates=CLEAN_TEMPLATES)
    clean = replace(problem, datasets=datasets)
    fits = [_course(clean, replace(prior, vmax=speed), CLEAN_STEPS) for speed in CLEAN_SPEEDS]
    return min(fits, key=lambda fit: fit[0])[1]


def _course(problem: Challenge, prior: priors.DopplerSheets, steps: int = FACTOR_STEPS) -> tuple[float, Answer]:
    """NMSE and answer of a factorisation that stops where it is best."""
    solver, data = assemble(problem.datasets, prior)
    state = eqx.filter_jit(solver.init)(data)
    step, cube = eqx.filter_jit(solver.step), eqx.filter_jit(solver.cube)
    settings = {name: getattr(prior, name) for name in ("strength", "light_strength", "vmax")}
    best, found = (np.inf, 0), Answer(np.zeros(0), 0, settings)
    for iteration in range(1, steps + 1):
        state = step(data, state)
        if iteration % FACTOR_EVERY:
            continue
        values = np.asarray(cube(data, state))
        error = problem.error(values)
        if error < best[0]:
            best, found = (error, iteration), Answer(values, iteration, settings)
        if iteration >= best[1] + FACTOR_EVERY * FACTOR_PATIENCE:
            break
    return best[0], found


METHODS = {
    "EM oracle stop": Method(em_oracle, oracle=True),
    "LowRankSobolev oracle": Method(strength_oracle(priors.LowRankSobolev()), oracle=True),
    "LowRankStarlet oracle": Method(strength_oracle(priors.LowRankStarlet()), oracle=True),
    "Starlet2D1D oracle": Method(strength_oracle(priors.Starlet2D1D()), oracle=True),
    "Denoiser blind": Method(blind(priors.Denoiser())),
    "Denoiser BM3D blind": Method(bm3d_blind, package="bm3d"),
    "GuidedSmoothness blind": Method(blind(priors.GuidedSmoothness())),
    "DopplerSheets vmax=0 blind": Method(blind(priors.DopplerSheets(vmax=0.0))),
    "DopplerSheets blind": Method(blind(priors.DopplerSheets())),
    "DopplerSheets oracle": Method(sheets_oracle, oracle=True),
    "DopplerSheets noiseless": Method(noiseless, oracle=True, once=True),
}
TALK = ("LowRankSobolev oracle", "LowRankStarlet oracle", "Starlet2D1D oracle")
DEFAULT = "DopplerSheets blind"
QUICK_METHODS = ("EM oracle stop", "LowRankStarlet oracle", DEFAULT)
