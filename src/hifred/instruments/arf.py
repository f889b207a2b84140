"""Effective areas: the ancillary response files (ARF) of OGIP memo CAL/GEN/92-002."""

import os
from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from hifred import fitsio
from hifred.instruments import ogip


@dataclass(frozen=True, eq=False)
class EffectiveArea:
    """Effective area, constant in each bin of true energy.

    Parameters
    ----------
    energy_lo, energy_hi : array (n,)
        Edges of the bins, keV, in rising order.
    area : array (n,)
        Effective area, cm2.
    telescope, instrument : str
        TELESCOP and INSTRUME.
    path : str, optional
        The file it was read from.

    Raises
    ------
    ValueError
        If the shapes differ, energies do not rise, or an area is negative or not finite; the row is named.
    """

    energy_lo: np.ndarray
    energy_hi: np.ndarray
    area: np.ndarray
    telescope: str = ""
    instrument: str = ""
    path: str | None = None

    def __post_init__(self):
        for name in ("energy_lo", "energy_hi", "area"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=float))
        ogip.check_bins("energy_lo, energy_hi (ENERG_LO, ENERG_HI)", self.energy_lo, self.energy_hi, positive=True)
        if self.area.shape != self.energy_lo.shape:
            raise ValueError(f"area: expected one per energy {self.energy_lo.shape}, found {self.area.shape}")
        ogip.check_not_negative("area (SPECRESP)", self.area)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "EffectiveArea":
        """Read an ARF.

        Raises
        ------
        FileError
            If it is no whole ARF; the message names the extension, and the row or keyword.
        """
        file = fitsio.FitsFile(path, foreign=True)
        table = ogip.tables(file, ("SPECRESP",), {"HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP"})[0]
        table.require("ENERG_LO", "ENERG_HI", "SPECRESP")
        low, high = ogip.bins(table, "ENERG_LO", "ENERG_HI")
        area = table.column("SPECRESP") * ogip.unit(table, "SPECRESP", ogip.AREA_UNITS)
        try:
            return cls(low, high, area, ogip.text(table, "TELESCOP"), ogip.text(table, "INSTRUME"), str(path))
        except ValueError as error:
            raise fitsio.FileError(f"{table.where}: {error}") from error

    def write(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write an ARF; what `read` gives back is equal to the last bit.

        Raises
        ------
        FileError
            If the file exists, or cannot be written there.
        """
        hdu = fits.BinTableHDU.from_columns(
            [
                fits.Column(name, ogip.single(values), unit, array=values)
                for name, unit, values in (
                    ("ENERG_LO", "keV", self.energy_lo),
                    ("ENERG_HI", "keV", self.energy_hi),
                    ("SPECRESP", "cm**2", self.area),
                )
            ],
            name="SPECRESP",
        )
        ogip.header(
            hdu, self.telescope, self.instrument,
            HDUCLAS1="RESPONSE", HDUCLAS2="SPECRESP", HDUVERS="1.1.0", HDUVERS1="1.0.0", HDUVERS2="1.1.0",
            ARFVERSN="1992a",
        )  # fmt: skip
        fitsio.write(path, [fits.PrimaryHDU(), hdu], overwrite=overwrite)

    def on(self, edges) -> np.ndarray:
        """Mean area in each bin of other edges, 0 where the curve has no bin.

        Parameters
        ----------
        edges : array (m + 1,)
            Edges in keV.

        Returns
        -------
        array (m,)
            `sum_i area_i |bin and bin_i| / |bin|`, cm2: exact for a curve that is constant in each of its bins.

        Raises
        ------
        ValueError
            If the edges do not increase.
        """
        edges = ogip.checked_edges("edges", edges)
        return ogip.shares(self.energy_lo, self.energy_hi, edges[:-1], edges[1:]) @ self.area

    def describe(self) -> str:
        """One line: whose area it is, its energies and its peak."""
        peak = int(np.argmax(self.area))
        return (
            f"ARF of {self.telescope or 'an unnamed telescope'} {self.instrument}".rstrip()
            + f": {self.area.size} energies {self.energy_lo[0]:.4g} to {self.energy_hi[-1]:.4g} keV, "
            f"peak {self.area[peak]:.4g} cm2 at {0.5 * (self.energy_lo[peak] + self.energy_hi[peak]):.3g} keV"
        )
