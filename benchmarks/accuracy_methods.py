"""The methods of the accuracy benchmark: blind ones see the data, oracles the truth as well and say so."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from accuracy_scenes import Challenge

import hifred
from hifred import priors
from hifred.assembly import assemble
from hifred.tuning import settle

FACTOR, MOST = 3.0, 5
EM_STEPS, EM_PATIENCE = 100, 5
FACTOR_STEPS, FACTOR_EVERY = 160, 20


@dataclass(frozen=True, eq=False)
class Answer:
    """A cube, and how it was made."""

    cube: np.ndarray
    iterations: int
    settings: dict


@dataclass(frozen=True)
class Method:
    """A function of a challenge; `oracle` if it looks at the truth."""

    function: Callable[[Challenge], Answer]
    oracle: bool = False

    def takes(self, problem: Challenge) -> bool:
        """Whether it can be run: an oracle needs a true cube."""
        return not self.oracle or problem.truth is not None

    def __call__(self, problem: Challenge) -> Answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return self.function(problem)


def em_oracle(problem: Challenge) -> Answer:
    """Plain EM without momentum, stopped where its NMSE is best."""
    solver, data = assemble(problem.datasets, priors.Unregularized())
    state = eqx.filter_jit(solver.init)(data)
    step, cube = eqx.filter_jit(solver.step), eqx.filter_jit(solver.cube)
    best, found = (np.inf, 0), None
    for iteration in range(1, EM_STEPS + 1):
        state = step(data, eqx.tree_at(lambda s: s.momentum, state, jnp.ones_like(state.momentum)))
        values = np.asarray(cube(data, state))
        error = problem.error(values)
        if error < best[0]:
            best, found = (error, iteration), values
        if iteration >= best[1] + EM_PATIENCE:
            break
    return Answer(found, best[1], {})


def strength_oracle(prior: priors.Prior) -> Callable[[Challenge], Answer]:
    """The strength with the best NMSE, in steps of 3 from the default."""

    def solve(problem: Challenge) -> Answer:
        found: dict[float, tuple[float, Answer]] = {}

        def attempt(strength: float) -> float:
            fused = hifred.fuse(problem.datasets, replace(prior, strength=strength), progress=False)
            answer = Answer(fused.values, int(fused.history[-1].iteration), {"strength": strength})
            found[strength] = problem.error(fused.values), answer
            return found[strength][0]

        first = prior.strength
        factor = 1 / FACTOR if attempt(first / FACTOR) < attempt(first) else FACTOR
        strength = first / FACTOR if factor < 1 else first
        while len(found) < MOST and attempt(strength * factor) < found[strength][0]:
            strength *= factor
        return min(found.values(), key=lambda entry: entry[0])[1]

    return solve


def blind(prior: priors.Prior) -> Callable[[Challenge], Answer]:
    """All settings from the data."""

    def solve(problem: Challenge) -> Answer:
        fused = hifred.fuse(problem.datasets, prior, progress=False, strength="auto")
        tuning = fused.provenance["tuning"]
        settings = {"strength": tuning["strength"]} | {s["name"]: s["chosen"] for s in tuning.get("settings", [])}
        return Answer(fused.values, int(fused.history[-1].iteration), settings)

    return solve


def sheets_oracle(problem: Challenge) -> Answer:
    """DopplerSheets with the strength and the number of iterations of the best NMSE; the rest as chosen blindly."""
    prior, _ = settle(problem.datasets, priors.DopplerSheets())
    best = (np.inf, None)
    for strength in (0.5, 1.5, 4.5):
        solver, data = assemble(problem.datasets, replace(prior, strength=strength))
        state = eqx.filter_jit(solver.init)(data)
        step, cube = eqx.filter_jit(solver.step), eqx.filter_jit(solver.cube)
        for iteration in range(1, FACTOR_STEPS + 1):
            state = step(data, state)
            if iteration % FACTOR_EVERY == 0:
                values = np.asarray(cube(data, state))
                answer = Answer(values, iteration, {"strength": strength, "vmax": prior.vmax})
                best = min(best, (problem.error(values), answer), key=lambda entry: entry[0])
    return best[1]


METHODS = {
    "EM oracle stop": Method(em_oracle, oracle=True),
    "LowRankSobolev oracle": Method(strength_oracle(priors.LowRankSobolev()), oracle=True),
    "LowRankStarlet oracle": Method(strength_oracle(priors.LowRankStarlet()), oracle=True),
    "Starlet2D1D oracle": Method(strength_oracle(priors.Starlet2D1D()), oracle=True),
    "Denoiser blind": Method(blind(priors.Denoiser())),
    "DopplerSheets vmax=0 blind": Method(blind(priors.DopplerSheets(vmax=0.0))),
    "DopplerSheets blind": Method(blind(priors.DopplerSheets())),
    "DopplerSheets oracle": Method(sheets_oracle, oracle=True),
}
TALK = ("LowRankSobolev oracle", "LowRankStarlet oracle", "Starlet2D1D oracle")
DEFAULT = "DopplerSheets blind"
QUICK_METHODS = ("EM oracle stop", "DopplerSheets blind", "DopplerSheets vmax=0 blind")
