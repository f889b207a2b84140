"""What an instrument saw: counts with the response, background and mask that explain them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from hifred.grid import CubeGrid, number
from hifred.poisson import PoissonTerm, expected_cstat, floored, half_deviance
from hifred.response.response import Response

# Counts of a bin are at most this: whole numbers up to there are those that can be split at random.
MOST_COUNTS = 1e18


@dataclass(frozen=True, eq=False)
class Dataset:
    """Photon counts of one instrument and what is needed to predict them.

    Parameters
    ----------
    counts : array of shape (channel, y, x)
        Photon counts, finite and not negative.
    response : Response
        From the sky cube to expected counts.
    background : float or array that broadcasts to the shape of `counts`
        Expected background counts per bin.
    mask : array of bool of the shape of `counts`, optional
        Which bins are used; by default all.
    name : str
        Name of the instrument, for messages, history and files.
    grid : CubeGrid, optional
        Energies and sky position of the cube the response starts from.
    exposure : float, optional
        Time observed, s; the response already holds it.
    provenance : dict, optional
        Files and options the data set was made from; must be JSON.

    Raises
    ------
    ValueError
        If counts or background are negative, not finite, above 1e18 (counts) or beyond the precision of the response,
        shapes do not fit, no bin is used, the exposure is not positive, or an argument is of another kind than it
        should be.
    """

    counts: np.ndarray
    response: Response
    background: np.ndarray
    mask: np.ndarray
    name: str
    grid: CubeGrid | None
    exposure: float | None
    provenance: dict

    def __init__(
        self,
        counts: Any,
        response: Response,
        background: Any = 0.0,
        mask: Any = None,
        name: str = "xmm",
        grid: CubeGrid | None = None,
        *,
        exposure: float | None = None,
        provenance: dict | None = None,
    ):
        if not isinstance(response, Response):
            raise ValueError(f"{name}: response: expected a Response, found {type(response).__name__}")
        if grid is not None and not isinstance(grid, CubeGrid):
            raise ValueError(f"{name}: grid: expected a CubeGrid, found {type(grid).__name__}")
        if provenance is not None and not isinstance(provenance, Mapping):
            raise ValueError(f"{name}: provenance: expected a dict, found {type(provenance).__name__}")
        if exposure is not None:
            exposure = number(f"{name}: exposure", exposure)
            if not 0 < exposure < np.inf:
                raise ValueError(f"{name}: exposure: expected a positive number of s, found {exposure:g}")
        shape = response.out_shape
        dtype = response.dtype
        counts = np.asarray(counts)
        if counts.shape != shape:
            raise ValueError(f"{name}: counts: expected shape {shape} as the response gives, found {counts.shape}")
        most = float(np.finfo(dtype).max)
        _require_counts(f"{name}: counts", counts, min(most, MOST_COUNTS))
        background = np.asarray(background)
        try:
            background = np.broadcast_to(background, shape)
        except ValueError:
            raise ValueError(
                f"{name}: background: expected a number or shape {shape}, found {background.shape}"
            ) from None
        _require_counts(f"{name}: background", background, most)
        mask = np.ones(shape, bool) if mask is None else np.array(mask)
        if mask.shape != shape or mask.dtype != bool:
            raise ValueError(f"{name}: mask: expected bool of shape {shape}, found {mask.dtype} of {mask.shape}")
        if not mask.any():
            raise ValueError(f"{name}: mask: expected some bins to use, found none")
        if grid is not None and grid.shape != response.in_shape:
            raise ValueError(f"{name}: grid: expected shape {response.in_shape}, found {grid.shape}")
        for field, value in (
            ("counts", counts.astype(dtype)), ("response", response), ("background", background.astype(dtype)),
            ("mask", mask), ("name", str(name)), ("grid", grid), ("exposure", exposure),
            ("provenance", dict(provenance or {})),
        ):  # fmt: skip
            object.__setattr__(self, field, value)

    def predict(self, cube) -> np.ndarray:
        """Expected counts of a sky cube, background included; at least the rounding of an FFT, as in the fit.

        Parameters
        ----------
        cube : array of shape (L, M, N)
            Photons / cm2 / s in each voxel.

        Returns
        -------
        array of shape (channel, y, x)
        """
        return np.asarray(floored(self.response.mv(cube), self.response.operator.rounding)) + self.background

    def sample(self, cube, seed: int | np.random.Generator = 0) -> "Dataset":
        """Mock data: this data set with its counts drawn from the expected counts of a sky cube.

        Parameters
        ----------
        cube : array of shape (L, M, N)
            Photons / cm2 / s in each voxel, not negative.
        seed : int or numpy.random.Generator
            Source of randomness.

        Raises
        ------
        ValueError
            If the cube is negative somewhere or not finite.
        """
        _require_counts(f"{self.name}: sample: cube", np.asarray(cube))
        expected = self.predict(cube).astype(float)
        counts = np.random.default_rng(seed).poisson(expected)
        return self.with_counts(counts)

    def with_counts(self, counts) -> "Dataset":
        """The same data set with other counts, (channel, y, x)."""
        return Dataset(
            counts, self.response, self.background, self.mask, self.name, self.grid,
            exposure=self.exposure, provenance=self.provenance,
        )  # fmt: skip

    def cstat(self, cube) -> float:
        """C-stat of a sky cube over the bins used."""
        value = np.asarray(half_deviance(jnp.asarray(self.predict(cube)), jnp.asarray(self.counts)))
        return 2 * float(value[self.mask].sum(dtype=float))

    def expected_cstat(self, cube) -> tuple[float, float]:
        """Mean and variance of the C-stat, were a sky cube the truth."""
        return expected_cstat(self.predict(cube), self.mask)

    def write(self, path, *, overwrite: bool = False) -> None:
        """Write the data set to a FITS file; see `hifred.data.dataset_io.write_dataset`."""
        from hifred.data.dataset_io import write_dataset

        write_dataset(self, path, overwrite=overwrite)

    @staticmethod
    def read(path) -> "Dataset":
        """Read a data set from a FITS file; see `hifred.data.dataset_io.read_dataset`."""
        from hifred.data.dataset_io import read_dataset

        return read_dataset(path)

    def term(self) -> PoissonTerm:
        """The data term on the device: where host arrays become device arrays."""
        return PoissonTerm(
            self.response.operator,
            jnp.asarray(self.counts),
            jnp.asarray(self.background),
            jnp.asarray(self.mask),
        )


def _require_counts(name: str, values: np.ndarray, most: float = np.inf) -> None:
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{name}: expected real numbers, found {values.dtype}")
    if not np.all(np.isfinite(values)):
        bad = int((~np.isfinite(values)).sum())
        raise ValueError(f"{name}: expected finite values, found {bad} that are nan or infinite")
    if values.min() < 0:
        raise ValueError(f"{name}: expected values of at least 0, found {values.min():g}")
    if float(values.max()) > most:
        raise ValueError(f"{name}: expected values of at most {most:.3g}, found {values.max():g}")
