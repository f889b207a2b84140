"""Steps towards the fixed point of the data and a denoiser."""

from collections.abc import Callable
from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.response.operator import Cube
from hifred.solvers.em import CubeProblem
from hifred.solvers.solver import Progress, Solver, State, half_cstats

# Bounds of the factor by which extrapolation may change a voxel, and of its exponent.
FACTOR = (0.2, 5.0)
MOMENTUM = 0.9


class DenoisedProblem(eqx.Module):
    """Data terms on a sky cube, and a denoised cube it is tied to.

    Attributes
    ----------
    data : CubeProblem
        The data; its start is also the unit `z0` of the tie.
    denoised : callable
        From cubes to denoised cubes, both (energy, y, x).
    tie : array of shape ()
        Strength of the tie: its curvature is `tie s / z0`, of the kind of the data term's, `s / z`.
    """

    data: CubeProblem
    denoised: Callable[[Cube], Cube]
    tie: Float[Array, ""]

    @property
    def terms(self) -> tuple[PoissonTerm, ...]:
        """The data terms."""
        return self.data.terms


class FixedPoint(State):
    """State of a method that has no objective: it ends where a step changes nothing.

    The penalty of its progress is 0, and the decrement `||z' - z|| / ||z||` of the last step.
    """


class DenoisedState(FixedPoint):
    """State of `DenoisedEM`: the cube, the last plain image of a cube, the models, the momentum, the last change."""

    cube: Cube
    image: Cube
    models: tuple[Array, ...]
    momentum: Float[Array, ""]
    length: Float[Array, ""]


def tied(image: Cube, denoised: Cube, tie: Float[Array, ""]) -> Cube:
    """`argmin over x > 0 of x - image log x + tie / 2 (x - denoised)^2`: the root of its derivative, all in one unit.

    Parameters
    ----------
    image : array of shape (energy, y, x)
        Where a plain EM step would go, at least 0.
    denoised : array of shape (energy, y, x)
        Where the denoiser would go, of any sign.
    tie : array of shape ()
        At least 0.
    """
    slope = 1 - tie * denoised
    root = jnp.sqrt(slope**2 + 4 * tie * image)
    # Of two forms of the root the one without a difference of like numbers.
    falling = slope > 0
    return jnp.where(
        falling, 2 * image / jnp.where(falling, slope + root, 1), (root - slope) / jnp.where(falling, 1, 2 * tie)
    )


class DenoisedEM(Solver[DenoisedProblem, DenoisedState]):
    """EM steps tied to a denoised cube, `z' = argmin Q(x; z) + tie / 2 sum (s / z0) (x - D(z))^2`, with momentum.

    `Q` is what an EM step minimises, so that without a tie, or with a denoiser that changes nothing, the fixed points
    are those of EM. A fixed point satisfies `grad D(z) + tie (s / z0) (z - D(z)) = 0` (regularisation by denoising:
    Romano, Elad & Milanfar 2017, SIAM J. Imaging Sci. 10, 1804). Where `(s / z0) D` is a symmetric linear map, this is
    the minimum of the data term plus `tie / 2 sum z (s / z0) (z - D(z))`; for other denoisers there is no objective,
    and convergence is not promised: the run reports how much a step changes the cube, and ends where that is little.

    Nesterov's momentum (1983) on the logarithm is dropped whenever a step has changed the cube more than the one
    before (counted in the metric `s / z`).
    """

    def init(self, problem: DenoisedProblem) -> DenoisedState:
        """Start from the problem's cube."""
        start = problem.data.start
        models = tuple(term.predict(start) for term in problem.terms)
        zero = jnp.zeros((), start.dtype)
        progress = Progress(half_cstats(problem.terms, models), zero, zero + jnp.inf)
        return DenoisedState(progress, start, start, models, zero + 1, zero + jnp.inf)

    def step(self, problem: DenoisedProblem, state: DenoisedState) -> DenoisedState:
        """One step and an extrapolation."""
        terms, cube, sensitivity, unit = problem.terms, state.cube, problem.data.sensitivity, problem.data.start
        seen = sensitivity > 0
        back = reduce(add, [term.back_ratio(model) for term, model in zip(terms, state.models, strict=True)])
        plain = cube * jnp.where(seen, back / jnp.where(seen, sensitivity, 1), 1)
        image = jnp.where(seen, unit * tied(plain / unit, problem.denoised(cube) / unit, problem.tie), cube)

        change = image - cube
        lit = cube > 0
        length = (jnp.where(lit, sensitivity * change**2 / jnp.where(lit, cube, 1), 0)).sum((1, 2)).sum()
        largest = cube.max()
        relative = jnp.sqrt(((change / largest) ** 2).sum() / ((cube / largest) ** 2).sum())

        calm = length <= state.length
        following = jnp.where(calm, 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2)), 1)
        exponent = jnp.where(calm, jnp.minimum((state.momentum - 1) / following, MOMENTUM), 0)
        growth = jnp.where(state.image > 0, image / jnp.where(state.image > 0, state.image, 1), 1)
        ahead = image * jnp.clip(growth**exponent, *FACTOR)
        models = tuple(term.predict(ahead) for term in terms)
        progress = Progress(half_cstats(terms, models), jnp.zeros_like(relative), relative)
        return DenoisedState(progress, ahead, image, models, following, length)

    def cube(self, problem: DenoisedProblem, state: DenoisedState) -> Cube:
        """The cube of the state."""
        return state.cube
