"""How the interstellar medium absorbs X-rays."""

from functools import cache
from importlib import resources

import numpy as np

TABLE = "absorption.npz"


def cross_section(energy) -> np.ndarray:
    """Cross-section of the interstellar medium for photons, per hydrogen atom.

    TBabs with its abundances (Wilms, Allen & McCray 2000, ApJ 542, 914), from 0.25 to 11 keV, interpolated in the
    logarithms; it stays at its first and last value beyond.

    Parameters
    ----------
    energy : array_like
        keV.

    Returns
    -------
    array
        1e-22 cm2, shape of `energy`.
    """
    energies, sections = _table()
    return np.asarray(np.exp(np.interp(np.log(energy), energies, sections)))


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


@cache
def _table() -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of energy, keV, and cross-section, 1e-22 cm2."""
    with resources.files("hifred").joinpath(TABLE).open("rb") as stream, np.load(stream) as table:
        return np.log(table["energy"].astype(float)), np.log(table["cross_section"].astype(float))
