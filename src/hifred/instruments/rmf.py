"""Energy redistribution: the response matrix files (RMF) of OGIP memos CAL/GEN/92-002 and 92-002a."""

import os
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from hifred.instruments import ogip

# The photons of a row go to the channels once; calibration files exceed 1 by rounding and smoothing (ACIS by 0.0013).
ROW_SUM_LIMIT = 1.01


@dataclass(frozen=True, eq=False)
class Redistribution:
    """Probability that a photon of a true energy is counted in a channel.

    Parameters
    ----------
    energy_lo, energy_hi : array (n,)
        Edges of the bins of true energy, keV, in rising order.
    matrix : csr_array (channels, n)
        Probabilities; times the effective area in cm2 if `includes_area`.
    channel_lo, channel_hi : array (channels,)
        Nominal energies of the channels, keV (EBOUNDS).
    first_channel : int
        Number of the first channel.
    threshold : float
        Smallest probability that was kept (LO_THRES).
    includes_area : bool
        The matrix holds the effective area too (HDUCLAS3 = 'FULL').
    telescope, instrument : str
        TELESCOP and INSTRUME.
    path : str, optional
        The file it was read from.

    Raises
    ------
    ValueError
        If shapes do not fit, energies do not rise, an element is negative or not finite, or the probabilities of one
        energy sum to more than 1.01; the row is named.
    """

    energy_lo: np.ndarray
    energy_hi: np.ndarray
    matrix: csr_array
    channel_lo: np.ndarray
    channel_hi: np.ndarray
    first_channel: int = 0
    threshold: float = 0.0
    includes_area: bool = False
    telescope: str = ""
    instrument: str = ""
    path: str | None = None

    def __post_init__(self):
        for name in ("energy_lo", "energy_hi", "channel_lo", "channel_hi"):
            object.__setattr__(self, name, np.array(getattr(self, name), dtype=float))
        ogip.check_bins("energy_lo, energy_hi (ENERG_LO, ENERG_HI)", self.energy_lo, self.energy_hi, positive=True)
        ogip.check_bins("channel_lo, channel_hi (E_MIN, E_MAX)", self.channel_lo, self.channel_hi, positive=False)
        expected = (self.channel_lo.size, self.energy_lo.size)
        if self.matrix.shape != expected:
            raise ValueError(f"matrix: expected the shape (channels, energies) {expected}, found {self.matrix.shape}")
        if not self.threshold >= 0:
            raise ValueError(f"threshold: expected a probability of at least 0, found {self.threshold}")
        bad = ~(np.isfinite(self.matrix.data) & (self.matrix.data >= 0))
        if bad.any():
            at = int(np.argmax(bad))
            raise ValueError(
                f"matrix (MATRIX): expected finite numbers of at least 0, found {self.matrix.data[at]} "
                f"in row {self.matrix.indices[at] + 1} of {expected[1]}"
            )
        if not self.includes_area:
            sums = self.row_sums
            rule = f"matrix (MATRIX): expected probabilities that sum to at most {ROW_SUM_LIMIT} (HDUCLAS3 'REDIST')"
            ogip.refuse_rows(sums > ROW_SUM_LIMIT, rule, sums)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Redistribution":
        """Read an RMF: the sum of its MATRIX extensions, on the energies of the first and the first EBOUNDS.

        Raises
        ------
        FileError
            If it is no whole RMF; the message names the extension, and the row or keyword.
        """
        from hifred.instruments.rmf_io import read_rmf

        return read_rmf(path)

    def write(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write an RMF with one MATRIX; elements below `threshold` are left out, all others come back to the last bit.

        Raises
        ------
        FileError
            If the file exists, or cannot be written there.
        """
        from hifred.instruments.rmf_io import write_rmf

        write_rmf(self, path, overwrite=overwrite)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.channel_lo.size

    @property
    def row_sums(self) -> np.ndarray:
        """Probability that a photon is counted in any channel, by true energy, shape (n,)."""
        return np.bincount(self.matrix.indices, self.matrix.data, minlength=self.energy_lo.size)

    def on(self, edges) -> csr_array:
        """Mean of the matrix over each bin of other true energies, 0 where it has no row.

        Photons are spread evenly over each of the new bins: `R'[c, j] = sum_i R[c, i] |bin_j and bin_i| / |bin_j|`.

        Parameters
        ----------
        edges : array (m + 1,)
            Edges in keV.

        Returns
        -------
        csr_array (channels, m)

        Raises
        ------
        ValueError
            If the edges do not increase.

        Notes
        -----
        A CCD's matrix grows as its rows are repeated on finer bins: where channels are summed anyway, sum them first
        (`grouped`).
        """
        edges = ogip.checked_edges("edges", edges)
        return csr_array(self.matrix @ ogip.shares(self.energy_lo, self.energy_hi, edges[:-1], edges[1:]).T)

    def grouped(self, edges) -> "Redistribution":
        """Sums of neighbouring channels.

        Parameters
        ----------
        edges : array of int (C + 1,)
            New channel `k` is the sum of the channels `edges[k] <= c < edges[k + 1]`, counted from 0. Channels before
            the first edge and from the last one on are left out.

        Returns
        -------
        Redistribution
            With `C` channels, numbered from `first_channel` as before.

        Raises
        ------
        ValueError
            If the edges are no whole numbers from 0 to `channels`, or do not increase.
        """
        edges = np.asarray(edges)
        within = edges.ndim == 1 and edges.size > 1 and edges.dtype.kind in "iu"
        if not within or edges[0] < 0 or edges[-1] > self.channels or (np.diff(edges.astype(np.int64)) <= 0).any():
            raise ValueError(f"edges: expected increasing whole numbers from 0 to {self.channels}, found {edges}")
        indices = np.arange(edges[0], edges[-1])
        sums = csr_array(
            (np.ones(indices.size), indices, edges - edges[0]), shape=(edges.size - 1, self.channels), dtype=float
        )
        low, high = self.channel_lo[edges[:-1]], self.channel_hi[edges[1:] - 1]
        return replace(self, matrix=csr_array(sums @ self.matrix), channel_lo=low, channel_hi=high)

    def fwhm(self, energy: float) -> float:
        """Full width at half maximum of the peak at a true energy, keV.

        The row's probability per keV of nominal energy is followed from its maximum down to half of it on both sides,
        with straight lines between the centres of the channels.

        Raises
        ------
        ValueError
            If there is no row at that energy, or it is empty.
        """
        low, high = ogip.joined(self.energy_lo, self.energy_hi)
        row = int(np.searchsorted(low, energy, side="right")) - 1
        if row < 0 or not energy <= high[row]:
            raise ValueError(f"energy: expected one between {low[0]} and {high[-1]} keV with a row, found {energy}")
        density = self.matrix[:, [row]].toarray().ravel() / (self.channel_hi - self.channel_lo)
        peak = int(np.argmax(density))
        if density[peak] == 0:
            raise ValueError(f"energy: expected one whose photons are counted, found {energy} keV with an empty row")
        centres = 0.5 * (self.channel_lo + self.channel_hi)
        below = np.flatnonzero(density < 0.5 * density[peak])
        left, right = below[below < peak], below[below > peak]
        return float(
            (_crossing(density, centres, int(right[0]), -1, 0.5 * density[peak]) if right.size else self.channel_hi[-1])
            - (_crossing(density, centres, int(left[-1]), 1, 0.5 * density[peak]) if left.size else self.channel_lo[0])
        )

    def describe(self) -> str:
        """One line: whose matrix it is, its energies and channels, and how sharp it is."""
        sums = self.row_sums
        widths = {}
        for energy in (1.0, 1.85, 6.0):
            row = int(np.searchsorted(self.energy_lo, energy, side="right")) - 1
            if row >= 0 and energy <= self.energy_hi[row] and sums[row] > 0:
                widths[energy] = 1e3 * self.fwhm(energy)
        digits = 1 if widths and min(widths.values()) < 20 else 0
        sharp = "/".join(f"{w:.{digits}f}" for w in widths.values()), "/".join(f"{e:g}" for e in widths)
        return (
            f"RMF of {self.telescope or 'an unnamed telescope'} {self.instrument}".rstrip()
            + (", with its area" if self.includes_area else "")
            + f": {self.energy_lo.size} energies {self.energy_lo[0]:.4g} to {self.energy_hi[-1]:.4g} keV, "
            f"{self.channels} channels from {self.first_channel}, "
            + (f"FWHM {sharp[0]} eV at {sharp[1]} keV, " if widths else "")
            + f"threshold {self.threshold:g}"
        )


def _crossing(density: np.ndarray, centres: np.ndarray, outside: int, inward: int, half: float) -> float:
    """Energy at which the line from the channel `outside` to its inner neighbour passes `half`."""
    inside = outside + inward
    step = (half - density[outside]) / (density[inside] - density[outside])
    return centres[outside] + step * (centres[inside] - centres[outside])
