"""The simplest sky: one spectrum times one image. Every solver starts from one."""

import equinox as eqx
from jaxtyping import Array, Float

from hifred.response.operator import Cube


class RankOne(eqx.Module):
    """A cube `spectrum[e] image[y, x]`.

    Attributes
    ----------
    spectrum : array of shape (L,)
        Sums to 1; positive.
    image : array of shape (M, N)
        Photons / cm2 / s per sky pixel over all energies; positive.
    """

    spectrum: Float[Array, " energy"]
    image: Float[Array, "y x"]

    @property
    def cube(self) -> Cube:
        """The cube itself."""
        return self.spectrum[:, None, None] * self.image
