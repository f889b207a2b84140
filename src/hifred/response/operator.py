"""Linear operators between cubes: `mv`, its exact transpose `T`, and composition with `@`."""

from abc import abstractmethod
from functools import reduce
from itertools import pairwise
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A sky cube and what an instrument makes of it; both are ordered (energy or channel, y, x).
Cube = Float[Array, "energy y x"]
Counts = Float[Array, "channel row column"]
Shape = tuple[int, int, int]


class LinearOperator(eqx.Module):
    """A linear map from arrays of shape `in_shape` to arrays of shape `out_shape`, both (energy, y, x)."""

    @property
    @abstractmethod
    def in_shape(self) -> Shape:
        """Shape of the input."""

    @property
    @abstractmethod
    def out_shape(self) -> Shape:
        """Shape of the output."""

    @abstractmethod
    def mv(self, cube: Cube) -> Counts:
        """Apply the operator."""

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transpose; by default the one JAX derives from `mv`, which is exact."""
        primal = jax.ShapeDtypeStruct(self.in_shape, counts.dtype)
        return jax.linear_transpose(self.mv, primal)(counts)[0]

    @property
    def rounding(self) -> float:
        """Error of an image of the output over the image's maximum; 0 where sums of positive numbers stay positive."""
        return 0.0

    @property
    def T(self) -> "LinearOperator":
        """The transpose, an operator from `out_shape` to `in_shape`."""
        return Transpose(self)

    def __matmul__(self, other: "LinearOperator") -> "LinearOperator":
        return Composition((self, other))


class Transpose(LinearOperator):
    """The transpose of an operator."""

    operator: LinearOperator

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.operator.out_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.operator.in_shape

    def mv(self, cube: Cube) -> Counts:
        """Apply the transpose."""
        return self.operator.rmv(cube)

    def rmv(self, counts: Counts) -> Cube:
        """Apply the operator itself."""
        return self.operator.mv(counts)

    @property
    def rounding(self) -> float:
        """That of the operator."""
        return self.operator.rounding

    @property
    def T(self) -> LinearOperator:
        """The operator itself."""
        return self.operator


class Composition(LinearOperator):
    """A product of operators, the last one applied first.

    Raises
    ------
    ValueError
        If the shapes of two neighbours do not fit.
    """

    factors: tuple[LinearOperator, ...]

    def __check_init__(self):
        for left, right in pairwise(self.factors):
            if left.in_shape != right.out_shape:
                raise ValueError(
                    f"operators do not fit: the left one takes shape {left.in_shape}, "
                    f"the right one gives {right.out_shape}"
                )

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.factors[-1].in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.factors[0].out_shape

    @property
    def rounding(self) -> float:
        """The largest of the factors'."""
        return max(factor.rounding for factor in self.factors)

    def mv(self, cube: Cube) -> Counts:
        """Apply the factors from right to left."""
        for factor in reversed(self.factors):
            cube = factor.mv(cube)
        return cube

    def rmv(self, counts: Counts) -> Cube:
        """Apply the transposes from left to right."""
        for factor in self.factors:
            counts = factor.rmv(counts)
        return counts


class Sum(LinearOperator):
    """A sum of operators of one shape."""

    terms: tuple[LinearOperator, ...]

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.terms[0].in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.terms[0].out_shape

    @property
    def rounding(self) -> float:
        """The largest of the terms'."""
        return max(term.rounding for term in self.terms)

    def mv(self, cube: Cube) -> Counts:
        """Apply all and add."""
        return reduce(add, [term.mv(cube) for term in self.terms])

    def rmv(self, counts: Counts) -> Cube:
        """Apply all transposes and add."""
        return reduce(add, [term.rmv(counts) for term in self.terms])


class Identity(LinearOperator):
    """The operator that changes nothing: an ideal instrument."""

    shape: Shape = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.shape

    def mv(self, cube: Cube) -> Counts:
        """Return the cube."""
        return cube

    def rmv(self, counts: Counts) -> Cube:
        """Return the cube."""
        return counts


class Diagonal(LinearOperator):
    """Multiplication of each voxel by a factor: effective area x exposure x vignetting, or a mask.

    Parameters
    ----------
    factors : array that broadcasts to `shape`
        Factor of each voxel; cm2 s for an exposure, 0 and 1 for a mask.
    shape : tuple of three int
        Shape (energy, y, x) of the input and the output.
    """

    factors: Float[Array, "#energy #y #x"]
    shape: Shape = eqx.field(static=True)

    @property
    def in_shape(self) -> Shape:
        """Shape of the input."""
        return self.shape

    @property
    def out_shape(self) -> Shape:
        """Shape of the output."""
        return self.shape

    def mv(self, cube: Cube) -> Counts:
        """Multiply voxel by voxel."""
        return jnp.multiply(self.factors, cube)

    def rmv(self, counts: Counts) -> Cube:
        """Multiply voxel by voxel: the operator is symmetric."""
        return jnp.multiply(self.factors, counts)
