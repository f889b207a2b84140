"""What an instrument does to a cube: area, PSF, redistribution and bins, as one exact linear operator."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike

from hifred.response.calibration import Calibration
from hifred.response.kernels import Kernels
from hifred.response.operator import LinearOperator, Shape
from hifred.response.recipe import Built, Recipe, Restricted


@dataclass(frozen=True, eq=False)
class Response:
    """Expected counts of an instrument as a linear function of the sky cube.

    `mu = S R P (A o z)` (METHOD, section 1): effective area x exposure `A`, point-spread function `P`, energy
    redistribution `R`, sums over channels and detector pixels `S`.

    Attributes
    ----------
    operator : LinearOperator
        The whole map on the device, from `in_shape` to `out_shape`.
    spectral : scipy.sparse.csr_array of shape (channels, L)
        Area, redistribution and energy sums without the sky part: the response of an extended, even sky.
    recipe : Recipe
        The arrays it was made from: `Kernels` or `Calibration`.
    dtype : numpy.dtype
        Precision of the operator.
    energy_blur, sky_blur : float
        How many energy bins, and sky pixels along one axis, the instrument cannot tell apart: `sum / diagonal` of
        the autocorrelation of the response, where it is typical. 1 for an ideal instrument.
    """

    operator: LinearOperator
    spectral: sp.csr_array
    recipe: Recipe
    dtype: np.dtype
    energy_blur: float = field(repr=False)
    sky_blur: float = field(repr=False)

    @classmethod
    def of(cls, recipe: Recipe, dtype: DTypeLike = np.float32) -> "Response":
        """Response of a recipe.

        Raises
        ------
        ValueError
            If `dtype` is neither float32 nor float64, or float64 without JAX's x64 mode.
        """
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype: expected float32 or float64, found {dtype}")
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(f"dtype: expected a precision that JAX is set to, found {dtype} without the x64 mode")
        built = recipe.build(dtype)
        return cls(built.operator, built.spectral, recipe, dtype, built.energy_blur, built.sky_blur)

    @classmethod
    def from_kernels(
        cls,
        grid_shape: Sequence,
        psf=None,
        lsf=None,
        area=None,
        rebin: Sequence = (1, 1, 1),
        boundary: str = "zero",
        *,
        normalize: bool = True,
        dtype: DTypeLike = np.float32,
    ) -> "Response":
        """Response of an instrument given by plain arrays.

        Parameters
        ----------
        grid_shape : (L, M, N)
            Shape of the sky cube (energy, y, x).
        psf : array of shape (h, w), (L, h, w) or (M, N, h, w), optional
            Point-spread function on the sky pixels, odd sides, centred; one for all, one for each energy, or one for
            each sky pixel (where the photons come from).
        lsf : array of shape (k,), (L, k) or (channels, L), optional
            Energy redistribution: an odd kernel on the energy bins, one for each energy, or a full matrix from energy
            to channel (which a square array is taken to be).
        area : array of shape (L,) or (L, M, N), optional
            Effective area x exposure in cm2 s, at the true energy (and position: vignetting). Default 1.
        rebin : three int
            Numbers of channels, and of sky pixels along y and x, summed into one bin of the data.
        boundary : {"zero", "reflect"}
            What lies beyond the frame, in space and in energy: nothing, so that photons leave the frame, or the mirror
            image as `numpy.pad(mode="reflect")` makes it (the edge sample is not repeated).
        normalize : bool
            Scale the PSF (each of them) and the kernel (each) to sum 1, and each column of a full matrix to sum 1
            (columns of zeros stay: energies the instrument does not see).
        dtype : dtype
            Precision of the operator; float64 needs JAX's x64 mode.

        Returns
        -------
        Response

        Raises
        ------
        ValueError
            If a kernel is even, negative, not finite, sums to zero or does not fit the grid; if `rebin` does not
            divide the shape; if `boundary` is unknown; if `dtype` is float64 without JAX's x64 mode.
        """
        return cls.of(Kernels.checked(grid_shape, psf, lsf, area, rebin, boundary, normalize=normalize), dtype)

    @classmethod
    def from_calibration(cls, grid_shape: Sequence, *, dtype: DTypeLike = np.float32, **parts) -> "Response":
        """Response of a calibrated instrument; `parts` are the arguments of `Calibration.checked`.

        Raises
        ------
        ValueError
            If the parts do not fit together.
        """
        return cls.of(Calibration.checked(grid_shape, **parts), dtype)

    @property
    def in_shape(self) -> Shape:
        """Shape `(L, M, N)` of the sky cube."""
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:
        """Shape `(channels, y, x)` of the data."""
        return self.operator.out_shape

    @property
    def T(self) -> LinearOperator:
        """The exact transpose, from data to sky cube."""
        return _Checked(self.operator.T, "response.T.mv", self.dtype)

    def mv(self, cube):
        """Expected counts, without background.

        Parameters
        ----------
        cube : array of shape (L, M, N)
            Photons / cm2 / s in each voxel.

        Returns
        -------
        array of shape (channels, y, x)

        Raises
        ------
        ValueError
            If the shape is not that of the grid.
        """
        return _Checked(self.operator, "response.mv", self.dtype).mv(cube)

    def restricted(self, basis: np.ndarray) -> Restricted:
        """Return the response to cubes `z = V w`, without forming the cube where the sky part allows it.

        Parameters
        ----------
        basis : array of shape (L, r)
            Spectra `V` of the components.
        """
        built = Built(self.operator, self.spectral, self.energy_blur, self.sky_blur)
        return self.recipe.restricted(np.asarray(basis, dtype=float), built, self.dtype)


class _Checked(LinearOperator):
    """An operator that takes any array-like and says what is wrong with its shape."""

    operator: LinearOperator
    name: str
    dtype: np.dtype

    @property
    def in_shape(self) -> Shape:
        return self.operator.in_shape

    @property
    def out_shape(self) -> Shape:
        return self.operator.out_shape

    def mv(self, cube):
        cube = jnp.asarray(cube)
        if cube.shape != self.in_shape:
            raise ValueError(f"{self.name}: expected an array of shape {self.in_shape}, found {cube.shape}")
        return self.operator.mv(cube.astype(self.dtype))
