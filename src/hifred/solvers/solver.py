"""What a solver is: a start, a step that never raises the objective, and the cube it stands for."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.response.operator import Cube


class Progress(eqx.Module):
    """Where a run stands, as device arrays.

    Attributes
    ----------
    half_cstat : tuple of arrays of shape (channel,)
        Half the C-stat of each data set, by channel; summed over channels in float64 by the driver.
    penalty : array of shape ()
        Prior term of the objective.
    decrement : array of shape ()
        Decrease of the objective that may still be had, by the quadratic model of the last step or the gap between
        primal and dual objective: zero at the minimum.
    """

    half_cstat: tuple[Array, ...]
    penalty: Float[Array, ""]
    decrement: Float[Array, ""]


class State(eqx.Module):
    """State of a solver; every final class adds its own arrays."""

    progress: Progress


@runtime_checkable
class Problem(Protocol):
    """What every problem has."""

    @property
    def terms(self) -> tuple[PoissonTerm, ...]:
        """The data terms, on the unknowns of the problem or on the cube."""
        ...


P = TypeVar("P", bound=Problem)
S = TypeVar("S", bound=State)


class Solver(eqx.Module, Generic[P, S]):
    """A method for one kind of problem."""

    @abstractmethod
    def init(self, problem: P) -> S:
        """The state before the first step."""

    @abstractmethod
    def step(self, problem: P, state: S) -> S:
        """One iteration; the objective of the state's cube does not rise."""

    @abstractmethod
    def cube(self, problem: P, state: S) -> Cube:
        """The sky cube of a state, never negative."""


def half_cstats(terms: Sequence[PoissonTerm], models: Sequence[Array]) -> tuple[Array, ...]:
    """Half the C-stat by channel of each data set."""
    return tuple(term.half_cstat(model) for term, model in zip(terms, models, strict=True))


def change(terms: Sequence[PoissonTerm], models: Sequence[Array], new: Sequence[Array]) -> Float[Array, ""]:
    """Change of the whole data term from one set of models to another."""
    changes = [term.change(a, b) for term, a, b in zip(terms, models, new, strict=True)]
    return jnp.stack(changes).sum()
