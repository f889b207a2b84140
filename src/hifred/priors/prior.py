"""What a prior is: either a penalty on the cube, or a subspace of spectra with a penalty on its maps."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.grid import number, whole_numbers
from hifred.poisson import PoissonTerm
from hifred.priors.basis import Basis
from hifred.priors.rank_one import RankOne
from hifred.priors.transform import Starlet
from hifred.response.operator import Cube
from hifred.response.response import Response

# Weights of penalties are at most this: far heavier ones leave the range of single precision.
HEAVIEST = 1e12


def strength_of(default: float):
    """Field of a prior for its strength: any real number, kept as a float so that two priors can be told apart."""
    return eqx.field(default=default, converter=lambda value: number("strength", value))


def require_weight(name: str, value: float) -> None:
    """Check that the weight of a penalty is 0 to `HEAVIEST`.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not 0 <= value <= HEAVIEST:
        raise ValueError(f"{name}: expected 0 to {HEAVIEST:g}, found {value}")


def whole_of(name: str, default: int | None, least: int, *, optional: bool = False):
    """Field of a prior for a whole number of at least `least`, or None if optional; kept as an int.

    Priors that are equal then look alike, whatever type a number had. ValueError names the option for anything else.
    """

    def convert(value):
        if optional and value is None:
            return None
        (found,) = whole_numbers(name, [value])
        if found < least:
            raise ValueError(f"{name}: expected at least {least}, found {found}")
        return found

    return eqx.field(default=default, converter=convert)


class Prior(eqx.Module):
    """What is believed of the sky before the data; final classes are options only, made ready by `prepare`."""

    def __repr__(self) -> str:
        # By value, as checkpoints know their run by this: that of equinox names a default where it was given anew.
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        usual = {field.name: field.default for field in fields(self)}
        given = [f"{name}={value!r}" for name, value in options.items() if value != usual[name]]
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def tolerance(self) -> float:
        """Relative change of the objective at which a run has converged, unless the caller says otherwise."""
        return 1e-4

    def __check_init__(self):
        strength = getattr(self, "strength", 0.0)
        if strength is not None:
            require_weight("strength", strength)


class CubePrior(Prior):
    """A penalty on the cube itself, or none."""

    @property
    @abstractmethod
    def ends_at_noise(self) -> bool:
        """Whether a run ends as soon as C-stat is what it is expected to be at the truth."""

    @abstractmethod
    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne) -> "AnalysisL1 | SeparablePenalty | None":
        """The penalty with its weights set by the data; None for no penalty."""


class AnalysisL1(eqx.Module):
    """`phi(z) = sum_j sum_i lambda_ji |(Psi_j z)_i|`.

    Attributes
    ----------
    transform : Starlet
        `Psi`; its norm is at most 1.
    weights : tuple of arrays of shape (energy, y, x)
        `lambda_j` of each band, per photons / cm2 / s.
    """

    transform: Starlet
    weights: tuple[Cube, ...]

    def of_coefficients(self, bands: Sequence[Cube]) -> Float[Array, ""]:
        """The penalty, given the coefficients `Psi z`."""
        sums = [(weight * abs(c)).sum((1, 2)).sum() for weight, c in zip(self.weights, bands, strict=True)]
        return jnp.stack(sums).sum()

    def value(self, cube: Cube) -> Float[Array, ""]:
        """The penalty of a cube."""
        return self.of_coefficients(self.transform.analysis(cube))


class SeparablePenalty(eqx.Module):
    """A smooth penalty on the cube that lies below sums over voxels, so that it fits into a step of EM."""

    @abstractmethod
    def value(self, cube: Cube) -> Float[Array, ""]:
        """The penalty of a cube."""

    @abstractmethod
    def bound(self, cube: Cube) -> tuple[Cube, Cube]:
        """Factors `w, v >= 0` of `phi(z') <= phi(z) + sum w (z' - z) + v (1 / z' - 1 / z)`, for all `z' > 0`."""


class SubspacePrior(Prior):
    """Cubes `z = V w` with `V` the principal spectra of the sharpest-energy data, and a penalty on the maps `w`."""

    @abstractmethod
    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne, basis: Basis) -> "MapPenalty":
        """The penalty on the maps; `terms` already act on them."""

    @abstractmethod
    def basis(self, term: PoissonTerm, response: Response, start: RankOne) -> Basis:
        """The spectra, from the data set with the sharpest energies."""


class MapPenalty(eqx.Module):
    """A convex penalty on component maps, with quadratic majorisers."""

    @abstractmethod
    def value(self, maps: Cube) -> Float[Array, ""]:
        """The penalty of maps."""

    @abstractmethod
    def gradient(self, maps: Cube) -> Cube:
        """Its gradient."""

    @abstractmethod
    def curvature(self, maps: Cube) -> Callable[[Cube], Cube]:
        """Hessian product of a quadratic that touches the penalty at `maps` and lies above it."""

    @abstractmethod
    def diagonal(self, maps: Cube) -> Cube:
        """Diagonal of that Hessian, or a close guess: it serves as a preconditioner."""
