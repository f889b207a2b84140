"""Newton steps for maps of few components, inside the positive cone."""

from functools import reduce
from operator import add
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float

from hifred.poisson import TINY, PoissonTerm
from hifred.priors.prior import MapPenalty
from hifred.response.operator import Counts, Cube
from hifred.response.response import Restricted
from hifred.solvers.solver import Progress, Solver, State, change, half_cstats

# The barrier adds this fraction of the counts, spread like the rank-one model.
BARRIER = 1e-3
# The barrier starts with this many times that weight, and keeps this part of it at each step: straight towards the edge
# of the cone, the steps would jam there.
WEIGHT, SHRINK = 1000.0, 0.3
# How far towards the boundary of the cone one step may go, in each pixel.
TO_BOUNDARY = 0.9
# Few and loose: more of them cost more than the outer steps they save.
CG_STEPS, CG_TOLERANCE = 12, 0.1
HALVINGS = 20


class SubspaceProblem(eqx.Module):
    """Data terms on component maps, a penalty on them, and the barrier that keeps the cube positive.

    Attributes
    ----------
    terms : tuple of PoissonTerm
        The data, as functions of the maps (their operators are `Restricted`).
    mean : array of shape (energy,)
        Mean spectrum.
    shapes : array of shape (energy, component)
        Relative shapes `G` of the components: `z = mean o (G w)`.
    barrier : array of shape (energy, y, x)
        Weights of the logarithmic barrier, in counts.
    penalty : MapPenalty
        The prior on the maps.
    start : array of shape (component, y, x)
        Maps of the rank-one model.
    """

    terms: tuple[PoissonTerm, ...]
    mean: Float[Array, " energy"]
    shapes: Float[Array, "energy component"]
    barrier: Float[Array, "energy y x"]
    penalty: MapPenalty
    start: Float[Array, "component y x"]

    def relative(self, maps: Float[Array, "component y x"]) -> Float[Array, "energy y x"]:
        """The cube over the mean spectrum, `G w`: positive inside the cone."""
        return jnp.einsum("ek,kyx->eyx", self.shapes, maps)

    def barrier_value(self, relative: Float[Array, "energy y x"]) -> Float[Array, ""]:
        """`-sum barrier log(G w)`, zero at the start."""
        return -(self.barrier * jnp.log(relative / self.start[0])).sum((1, 2)).sum()


class NewtonState(State):
    """State of `Newton`: the maps, and how many times its final weight the barrier has now."""

    maps: Cube
    weight: Float[Array, ""]


class Newton(Solver[SubspaceProblem, NewtonState]):
    """`minimise D(V w) + phi(w) - sum b log(G w)` by preconditioned Newton-CG with a backtracking line search.

    The logarithmic barrier keeps every voxel of the cube positive: it acts as a thousandth of the counts added in the
    shape of the rank-one model. The cone is a product over pixels, so each pixel's step is cut on its own where it
    would leave the cone; without that the tightest voxel holds back all others. The data term's curvature is the true
    one, `n / mu^2`; conjugate gradients are preconditioned by that of each pixel's own maps (r x r blocks).
    """

    def init(self, problem: SubspaceProblem) -> NewtonState:
        """Start from the rank-one model."""
        inf = jnp.full((), jnp.inf, problem.start.dtype)
        return NewtonState(self._progress(problem, problem.start, inf), problem.start, jnp.full_like(inf, WEIGHT))

    def _progress(self, problem: SubspaceProblem, maps: Cube, decrement) -> Progress:
        models = [term.predict(maps) for term in problem.terms]
        prior = problem.penalty.value(maps) + problem.barrier_value(problem.relative(maps))
        return Progress(half_cstats(problem.terms, models), prior, decrement)

    def step(self, problem: SubspaceProblem, state: NewtonState) -> NewtonState:
        """One Newton step."""
        maps, terms, penalty = state.maps, problem.terms, problem.penalty
        barrier = state.weight * problem.barrier
        models = [term.predict(maps) for term in terms]
        relative = problem.relative(maps)
        gradient = (
            reduce(add, [term.gradient(maps) for term in terms])
            + penalty.gradient(maps)
            - jnp.einsum("ek,eyx->kyx", problem.shapes, barrier / relative)
        )
        curvatures = [curvature(term, model) for term, model in zip(terms, models, strict=True)]
        barrier_blocks = outer_sums(problem.shapes, barrier / relative**2)
        smooth = penalty.curvature(maps)

        def hessian(direction):
            out = smooth(direction) + jnp.einsum("klyx,lyx->kyx", barrier_blocks, direction)
            for term, h in zip(terms, curvatures, strict=True):
                out += term.operator.rmv(h * term.operator.mv(direction))
            return out

        blocks = barrier_blocks + sum(
            fisher_blocks(cast(Restricted, term.operator), h) for term, h in zip(terms, curvatures, strict=True)
        )
        inverse = invert_blocks(blocks, penalty.diagonal(maps))

        def precondition(direction):
            return jnp.einsum("klyx,lyx->kyx", inverse, direction)

        newton, _ = cg(hessian, -gradient, M=precondition, tol=CG_TOLERANCE, maxiter=CG_STEPS)
        decrement = 0.5 * abs((gradient * newton).sum()) + (state.weight - 1) * problem.barrier.sum((1, 2)).sum()
        # Cut pixel by pixel, the Newton step may point uphill; each pixel's own Newton step does not.
        direction = within_cone(newton, relative, problem.relative(newton))
        own = -precondition(gradient)
        direction = jnp.where(
            (gradient * direction).sum() < 0,
            direction,
            within_cone(own, relative, problem.relative(own)),
        )
        slope = (gradient * direction).sum()
        length = self._line_search(problem, state, direction, models, relative, slope)
        new = maps + length * direction
        weight = jnp.maximum(SHRINK * state.weight, 1)
        return NewtonState(self._progress(problem, new, decrement), new, weight)

    def _line_search(self, problem, state, direction, models, relative, slope) -> Float[Array, ""]:
        """Halve the step until the objectives with the present and the final barrier fall; 0 where they do not."""
        maps = state.maps
        model_along = [term.operator.mv(direction) for term in problem.terms]
        penalty = problem.penalty.value(maps)

        def rises(length):
            # Through the same product as everywhere: what is positive here is positive there.
            moved = problem.relative(maps + length * direction)
            inside = moved.min() > 0
            ratio = jnp.where(inside, moved, relative) / relative
            barrier = -(problem.barrier * jnp.log(ratio)).sum((1, 2)).sum()
            models_moved = [
                term.floored(m - term.background + length * d) + term.background
                for term, m, d in zip(problem.terms, models, model_along, strict=True)
            ]
            data = change(problem.terms, models, models_moved)
            final = data + barrier + problem.penalty.value(maps + length * direction) - penalty
            present = final + (state.weight - 1) * barrier
            return jnp.logical_not(inside & (present <= 1e-4 * length * slope) & (final <= 0))

        def search(carry):
            length, tries, _ = carry
            length = 0.5 * length
            return length, tries + 1, rises(length)

        one = jnp.ones((), maps.dtype)
        length, _, failed = jax.lax.while_loop(
            lambda carry: carry[2] & (carry[1] < HALVINGS), search, (one, 0, rises(one))
        )
        return jnp.where(failed, 0.0, length)

    def cube(self, problem: SubspaceProblem, state: NewtonState) -> Cube:
        """`V w`; the maximum only removes what rounding may leave below zero."""
        return problem.mean[:, None, None] * jnp.maximum(problem.relative(state.maps), 0)


def curvature(term: PoissonTerm, model: Counts) -> Counts:
    """`n / mu^2`, and a thousandth of `1 / mu` so that bins without a photon count too."""
    safe = jnp.maximum(model, TINY**0.25)
    return jnp.where(term.mask, term.counts / safe**2 + 1e-3 / safe, 0)


def outer_sums(spectra: Float[Array, "channel component"], weights: Counts) -> Float[Array, "k l row column"]:
    """`sum_e S[e, k] S[e, l] weights[e, y, x]` for all pairs of components."""
    count = spectra.shape[1]
    first, second = np.triu_indices(count)
    sums = jnp.einsum("ep,eyx->pyx", spectra[:, first] * spectra[:, second], weights)
    place = np.zeros((count, count), int)
    place[first, second] = place[second, first] = np.arange(first.size)
    return sums[place]


def fisher_blocks(operator: Restricted, weights: Counts) -> Float[Array, "k l y x"]:
    """Curvature of each pixel's own maps, `sum_q B_qp^2 sum_c S_ck S_cl h_cq`, `B^2` taken as a multiple of `B`."""
    on_detector = outer_sums(operator.spectra, weights)
    return operator.concentration * jax.lax.map(operator.blur.rmv, on_detector)


def invert_blocks(blocks: Float[Array, "k l y x"], diagonal: Cube) -> Float[Array, "k l y x"]:
    """Inverse of each pixel's block plus a diagonal, scaled to unit diagonal first."""
    count = blocks.shape[0]
    eye = jnp.eye(count, dtype=blocks.dtype)
    stacked = jnp.moveaxis(blocks + eye[:, :, None, None] * diagonal[:, None], (0, 1), (2, 3))
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(stacked, axis1=2, axis2=3), TINY))
    unit = stacked / scale[..., :, None] / scale[..., None, :] + 1e-4 * eye
    inverse = jnp.linalg.inv(unit) / scale[..., :, None] / scale[..., None, :]
    return jnp.moveaxis(inverse, (2, 3), (0, 1))


def within_cone(direction: Float[Array, "component y x"], relative: Cube, along: Cube) -> Float[Array, "component y x"]:
    """Cut each pixel's step where it would leave the cone."""
    room = jnp.min(jnp.where(along < 0, relative / jnp.where(along < 0, -along, 1), jnp.inf), axis=0)
    return direction * jnp.minimum(1.0, TO_BOUNDARY * room)
