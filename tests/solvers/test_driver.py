import logging
from itertools import count, pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hifred import priors
from hifred.assembly import assemble
from hifred.poisson import PoissonTerm
from hifred.response import Identity
from hifred.solvers import Progress, Solver, State, Status, Stopping, minimise, solution_cube
from hifred.solvers.driver import Scorer

SHAPE = (2, 1, 1)


class Toy(eqx.Module):
    terms: tuple[PoissonTerm, ...]


class ToyState(State):
    cube: jax.Array


class Halving(Solver):
    """Each step halves the distance to the counts; `bad` steps on, the penalty is `value`."""

    bad: int = 10**9
    value: float = np.nan
    penalty: float = 0.0
    residual: bool = True

    def state(self, problem, cube, step):
        term = problem.terms[0]
        distance = abs(cube - term.counts).sum()
        penalty = jnp.where(step >= self.bad, self.value, self.penalty)
        decrement = distance if self.residual else jnp.full((), 1e6)
        return ToyState(Progress((term.half_cstat(cube),), penalty, decrement), cube)

    def init(self, problem):
        return self.state(problem, problem.terms[0].counts + 8, 0)

    def step(self, problem, state):
        counts = problem.terms[0].counts
        done = jnp.round(jnp.log2(8 / (state.cube - counts)[0, 0, 0]))
        return self.state(problem, 0.5 * (state.cube + counts), done + 1)

    def cube(self, problem, state):
        return state.cube


@pytest.fixture
def toy():
    counts = jnp.asarray([[[10.0]], [[20.0]]])
    return Toy((PoissonTerm(Identity(SHAPE), counts, jnp.zeros(SHAPE), jnp.ones(SHAPE, bool)),))


def test_converged(toy, assert_never_rises):
    solution = minimise(Halving(), toy, Stopping(100, 1e-4, False))
    assert solution.status is Status.CONVERGED
    assert len(solution.history) < 30
    assert_never_rises(solution.history)
    assert all(a.objective - b.objective <= 1e-4 for a, b in pairwise(solution.history[-4:]))
    assert solution.history[-1].residual <= 1e-3


def test_no_convergence_while_the_residual_is_large(toy):
    solution = minimise(Halving(residual=False), toy, Stopping(18, 1e-4, False))
    assert solution.status is Status.MAX_ITERATIONS


def test_max_iterations(toy):
    solution = minimise(Halving(), toy, Stopping(5, 0.0, False))
    assert solution.status is Status.MAX_ITERATIONS
    assert [record.iteration for record in solution.history] == [0, 1, 2, 3, 4, 5]


def test_noise_reached(toy):
    solution = minimise(Halving(), toy, Stopping(100, 0.0, True))
    assert solution.status is Status.NOISE_REACHED
    last, before = solution.history[-1], solution.history[-2]
    cube = solution_cube(Halving(), toy, solution)
    from hifred.poisson import expected_cstat

    assert sum(last.cstat) <= expected_cstat(cube)[0]
    assert sum(before.cstat) > expected_cstat(2 * cube - np.asarray(toy.terms[0].counts))[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_diverged(toy, value):
    seen = []
    solution = minimise(Halving(bad=3, value=value), toy, Stopping(100, 0.0, False), observers=[seen.append])
    assert solution.status is Status.DIVERGED
    assert [record.iteration for record in solution.history] == [0, 1, 2]
    assert list(solution.history[1:]) == seen
    np.testing.assert_allclose(solution_cube(Halving(), toy, solution)[0], 12)
    assert all(np.isfinite(record.objective) for record in solution.history)


def test_interrupted(toy):
    calls = count(1)

    def observer(_):
        if next(calls) == 3:
            raise KeyboardInterrupt

    solution = minimise(Halving(), toy, Stopping(100, 0.0, False), observers=[observer])
    assert solution.status is Status.INTERRUPTED
    assert solution.history[-1].iteration == 3
    np.testing.assert_allclose(solution_cube(Halving(), toy, solution)[0], 11)


def test_other_errors_of_an_observer_are_not_hidden(toy):
    def observer(_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        minimise(Halving(), toy, Stopping(100, 0.0, False), observers=[observer])


def test_history_adds_up(toy):
    solution = minimise(Halving(penalty=2.5), toy, Stopping(4, 0.0, False))
    times = [record.time for record in solution.history]
    assert times == sorted(times)
    assert times[0] == 0
    for record, distance in zip(solution.history, (8, 4, 2, 1, 0.5), strict=True):
        counts = np.array([10.0, 20])
        model = counts + distance
        assert record.prior_term == 2.5
        assert record.data_term == pytest.approx((model - counts * np.log(model)).sum(), abs=1e-4)
        assert record.objective == record.data_term + record.prior_term
        deviance = 2 * (model - counts + counts * np.log(counts / model)).sum()
        assert record.cstat == pytest.approx((deviance,), abs=1e-4)
        assert record.residual == pytest.approx(2 * distance / (deviance / 2 + 2.5), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, 1e-4), "max_iterations: expected at least 1, found 0"),
        ((5, -1e-4), "tolerance: expected at least 0 and below 1, found -0.0001"),
        ((5, 1.0), "tolerance: expected at least 0 and below 1, found 1.0"),
        ((5, float("nan")), "tolerance: expected at least 0 and below 1, found nan"),
    ],
)
def test_stopping_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Stopping(*options, False)


def test_every_status_has_a_word_and_a_sentence():
    words = [status.word for status in Status]
    assert words == ["converged", "fixed_point", "noise_reached", "tuned", "max_iterations", "interrupted", "diverged"]
    assert all(status.sentence.endswith(".") for status in Status)


def test_perfect_fit_leaves_masked_bins_out():
    counts = np.array([3.0, 0, 5, 7]).reshape(4, 1, 1)
    mask = np.array([True, True, True, False]).reshape(4, 1, 1)
    term = PoissonTerm(Identity((4, 1, 1)), jnp.asarray(counts), jnp.zeros((4, 1, 1)), jnp.asarray(mask))
    assert Scorer([term]).perfect_fit == pytest.approx(3 - 3 * np.log(3) + 5 - 5 * np.log(5))


def test_data_term_of_the_noiseless_truth(x64, shared_data):
    """The authors' toy: `sum mu - n log mu` over both data sets at the expected counts."""
    toy = np.load(shared_data("hifred-toy/gaussian_1kev_rebin.npz"))
    terms, models = [], []
    for name in "xy":
        counts = toy[f"{name}_counts"].astype(float)
        models.append(jnp.asarray(toy[f"{name}_expected"].astype(float)))
        mask = jnp.ones(counts.shape, bool)
        terms.append(PoissonTerm(Identity(counts.shape), jnp.asarray(counts), jnp.zeros(counts.shape), mask))
    halves = sum(float(term.half_cstat(model).sum()) for term, model in zip(terms, models, strict=True))
    assert halves + Scorer(terms).perfect_fit == pytest.approx(-193_530_001, abs=1)


@pytest.mark.parametrize("name", ["Unregularized", "Starlet2D1D", "LowRankSobolev"])
def test_compiled_once_per_shape(name, instruments, sky, observe, caplog):
    shape, kernels = instruments
    prior = getattr(priors, name)(**({"rank": 3} if name == "LowRankSobolev" else {}))

    def run(seed):
        solver, problem = assemble(observe(sky(shape), kernels, seed), prior)
        solution = minimise(solver, problem, Stopping(4, 0.0, name == "Unregularized"))
        solution_cube(solver, problem, solution)

    run(0)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        jax.jit(lambda x: x + 1)(jnp.zeros(3))
        assert any("Compiling" in message for message in caplog.messages)
        caplog.clear()
        run(1)
    assert not [message for message in caplog.messages if "Compiling" in message]
