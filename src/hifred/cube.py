"""The answer: a cube sharp in space and in energy, with where it came from."""

import os
from dataclasses import dataclass, field

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.data.dataset import Dataset
from hifred.data.grid_io import grid_hdu, read_grid, sky_header
from hifred.grid import CubeGrid
from hifred.jsonhdu import json_hdu, read_json
from hifred.parts import Parts

CONTENT = "HIFRED CUBE"


@dataclass(frozen=True, eq=False)
class FusedCube:
    """A fused sky cube.

    Attributes
    ----------
    values : array of shape (energy, y, x)
        Photons / cm2 / s in each voxel (counts, where the responses carry no area), never negative.
    status : str
        How the run ended: `converged`, `noise_reached`, `tuned`, `max_iterations`, `interrupted`, `diverged`.
    message : str
        The same as a sentence.
    history : recarray
        One row per iteration: `iteration`, `objective`, `data_term`, `prior_term`, `residual`, `time` (s) and `cstat`
        (one per data set).
    grid : CubeGrid or None
        Energies and place on the sky, where the data sets had them.
    provenance : dict
        Versions, options, and the inputs with their checksums.
    parts : Parts or None
        Gases, velocities and mixtures, where the prior is a factorisation.
    """

    values: np.ndarray
    status: str
    message: str
    history: np.recarray = field(repr=False)
    grid: CubeGrid | None = None
    provenance: dict = field(default_factory=dict, repr=False)
    parts: Parts | None = field(default=None, repr=False)

    def predict(self, dataset: Dataset) -> np.ndarray:
        """Expected counts in a data set, background included; shape (channel, y, x)."""
        return dataset.predict(self.values)

    def spectrum(self, region=None) -> np.ndarray:
        """Sum over sky pixels.

        Parameters
        ----------
        region : array of bool of shape (y, x), or pair of int, optional
            The pixels to sum, or one pixel `(y, x)`; by default all.

        Returns
        -------
        array of shape (energy,)
            Photons / cm2 / s per energy bin.

        Raises
        ------
        ValueError
            If the region is neither, or does not fit the image.
        """
        if region is None:
            return self.values.sum((1, 2), dtype=float)
        sky = self.values.shape[1:]
        region = np.asarray(region)
        if region.dtype == bool and region.shape == sky:
            return self.values[:, region].sum(1, dtype=float)
        if np.issubdtype(region.dtype, np.integer) and region.shape == (2,):
            y, x = region
            if 0 <= y < sky[0] and 0 <= x < sky[1]:
                return self.values[:, y, x].astype(float)
        raise ValueError(
            f"region: expected bool of shape {sky} or a pixel (y, x) inside it, "
            f"found {region.dtype} of shape {region.shape}"
        )

    def image(self, e_min: float | None = None, e_max: float | None = None) -> np.ndarray:
        """Sum over an energy band.

        Parameters
        ----------
        e_min, e_max : float, optional
            Ends of the band in keV; bins whose centre lies between them are summed. By default the whole range.

        Returns
        -------
        array of shape (y, x)
            Photons / cm2 / s per pixel.

        Raises
        ------
        ValueError
            If the energies are not known, or no bin lies in the band.
        """
        if e_min is None and e_max is None:
            return self.values.sum(0, dtype=float)
        if self.grid is None:
            raise ValueError("image: expected a cube with energies, found none; give its data sets a grid")
        energies = self.grid.energies
        low, high = energies[0] if e_min is None else e_min, energies[-1] if e_max is None else e_max
        band = (energies >= low) & (energies <= high)
        if not band.any():
            edges = self.grid.energy_edges
            raise ValueError(
                f"image: expected a band within {edges[0]:g} to {edges[-1]:g} keV, found {low:g} to {high:g}"
            )
        return self.values[band].sum(0, dtype=float)

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write to a FITS file: CUBE, HISTORY, PROVENANCE and, where known, ENERGIES and the extensions of `Parts`.

        Raises
        ------
        FileError
            If the file exists and may not be overwritten, or cannot be written there.
        """
        primary = fits.PrimaryHDU()
        primary.header["CONTENT"] = CONTENT
        primary.header["STATUS"] = self.status
        primary.header["MESSAGE"] = self.message
        cube = fits.ImageHDU(self.values, header=_cube_header(self.grid), name="CUBE")
        cube.header["BUNIT"] = unit = self.provenance.get("unit", "photon cm-2 s-1")
        history = fits.BinTableHDU(np.asarray(self.history), name="HISTORY")
        hdus = [primary, cube, history, json_hdu(self.provenance)]
        if self.grid is not None:
            hdus.append(grid_hdu(self.grid))
        if self.parts is not None:
            hdus += self.parts.hdus(unit)
        fitsio.write(path, hdus, overwrite=overwrite)

    @staticmethod
    def read(path: str | os.PathLike) -> "FusedCube":
        """Read a cube that `write` made.

        Raises
        ------
        FileError
            If the file is not complete FITS, lacks an extension or keyword, or its parts do not fit together.
        """
        file = fitsio.FitsFile(path)
        if file.header(0).get("CONTENT") != CONTENT:
            found = file.header(0).get("CONTENT", "no such keyword")
            raise fitsio.FileError(f"{path}[PRIMARY]: expected CONTENT = {CONTENT!r}, found {found!r}")
        values = file.data("CUBE")
        table = np.array(file.data("HISTORY"))
        history = table.astype(table.dtype.newbyteorder("=")).view(np.recarray)
        provenance = read_json(file)
        grid = read_grid(file)
        if values.ndim != 3 or (grid is not None and grid.shape != values.shape):
            expected = "three axes (energy, y, x)" if grid is None else f"shape {grid.shape} as ENERGIES has it"
            raise fitsio.FileError(f"{path}[CUBE]: expected {expected}, found shape {values.shape}")
        return FusedCube(
            values.astype(values.dtype.newbyteorder("=")), file.key(0, "STATUS"), file.key(0, "MESSAGE"),
            history, grid, provenance, Parts.read(file),
        )  # fmt: skip


def _cube_header(grid: CubeGrid | None) -> fits.Header:
    """WCS of the cube: the sky's, and the energy axis where the bins are equal."""
    header = sky_header(grid)
    if grid is None:
        return header
    widths = np.diff(grid.energy_edges)
    if np.allclose(widths, widths.mean(), rtol=1e-3):
        if grid.wcs is not None:
            header["WCSAXES"] = 3
        header["CTYPE3"] = "ENER"
        header["CUNIT3"] = "keV"
        header["CRPIX3"] = 1.0
        header["CRVAL3"] = grid.energies[0]
        header["CDELT3"] = float(widths.mean())
    return header
