"""How the interstellar medium absorbs X-rays."""

from functools import cache
from importlib import resources

import numpy as np
from scipy.ndimage import median_filter

TABLE = "absorption.npz"
WINDOW = 15  # points of the table, 4 eV at 0.5 keV
TYPICAL = 0.2  # hydrogen column, 1e22 cm-2
FINER = 8  # parts of the steps of the table, over which what passes changes by much at a line


def cross_section(energy, lines: bool = True) -> np.ndarray:
    """Cross-section of the interstellar medium for photons, per hydrogen atom.

    TBabs with its abundances (Wilms, Allen & McCray 2000, ApJ 542, 914), from 0.25 to 11 keV, interpolated in the
    logarithms; it stays at its first and last value beyond.

    Parameters
    ----------
    energy : array_like
        keV.
    lines : bool
        Whether with absorption lines: that of O I at 0.527 keV is ten times as high as what is beside it, and narrower
        than 1 eV. Without, it is the median of `WINDOW` neighbours in the table, which keeps edges.

    Returns
    -------
    array
        1e-22 cm2, shape of `energy`.
    """
    energies, sections, without_lines = _table()
    return np.asarray(np.exp(np.interp(np.log(energy), energies, sections if lines else without_lines)))


def transmission(energy, column_density) -> np.ndarray:
    """Fraction of photons that passes the interstellar medium, `exp(-N_H sigma(E))`.

    Parameters
    ----------
    energy : array_like
        keV.
    column_density : array_like
        Hydrogen column N_H in 1e22 cm-2.

    Returns
    -------
    array
        Between 0 and 1, shape of `energy` followed by that of `column_density`.
    """
    return np.asarray(np.exp(-np.multiply.outer(cross_section(energy), column_density)))


def mean_cross_section(edges) -> np.ndarray:
    """The cross-section that a bin shows as a whole: `-log <exp(-N_H sigma)> / N_H`, the mean over its energies.

    A line that is narrower than the bin cannot take more photons than there are at its energies. Exact for `TYPICAL`.

    Parameters
    ----------
    edges : array of shape (n + 1,)
        keV, increasing.

    Returns
    -------
    array of shape (n,)
        1e-22 cm2.
    """
    logs = _table()[0]
    energies = np.exp(np.interp(np.arange(FINER * (logs.size - 1) + 1) / FINER, np.arange(logs.size), logs))
    energies = np.concatenate([[min(edges[0], energies[0])], energies, [max(edges[-1], energies[-1])]])
    passed = transmission(energies, TYPICAL)
    # The integral up to each of these energies; between them, straight.
    total = np.concatenate([[0.0], np.cumsum(0.5 * (passed[1:] + passed[:-1]) * np.diff(energies))])
    return -np.log(np.diff(np.interp(edges, energies, total)) / np.diff(edges)) / TYPICAL


@cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of energy, keV, and cross-section, 1e-22 cm2, with and without lines."""
    with resources.files("hifred").joinpath(TABLE).open("rb") as stream, np.load(stream) as table:
        energy, section = (np.log(table[name].astype(float)) for name in ("energy", "cross_section"))
    return energy, section, median_filter(section, WINDOW, mode="nearest")
