"""Spectra of hot thin plasma, from the compact table that ships with the package."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import erf

from hifred.doppler import SPEED_OF_LIGHT, energy_factor

ELEMENTS = ("H", "C", "N", "O", "Ne", "Mg", "Si", "S", "Ar", "Ca", "Fe", "Ni")
"""Elements with an abundance of their own. "H" stands for H, He and the trace elements, and is always 1."""

ATOMIC_WEIGHT = {
    1: 1.008,
    2: 4.003,
    3: 6.94,
    4: 9.012,
    5: 10.81,
    6: 12.011,
    7: 14.007,
    8: 15.999,
    9: 18.998,
    10: 20.180,
}
ATOMIC_WEIGHT |= {
    11: 22.990,
    12: 24.305,
    13: 26.982,
    14: 28.085,
    15: 30.974,
    16: 32.06,
    17: 35.45,
    18: 39.948,
}
ATOMIC_WEIGHT |= {
    19: 39.098,
    20: 40.078,
    21: 44.956,
    22: 47.867,
    23: 50.942,
    24: 51.996,
    25: 54.938,
    26: 55.845,
}
ATOMIC_WEIGHT |= {27: 58.933, 28: 58.693, 29: 63.546, 30: 65.38}  # IUPAC 2021 standard atomic weights

MASS_UNIT_KEV = 931494.10
"""Rest energy of the atomic mass unit in keV (CODATA 2018)."""

WINDOW = 6.5
"""Half width of a line's window in standard deviations: what lies outside is below 1e-10 of the line."""


@dataclass(frozen=True, eq=False)
class Plasma:
    """Lines and continuum of a plasma in collisional equilibrium, on a grid of temperatures.

    Derived from AtomDB/APEC 3.0.9 with the abundances of Anders & Grevesse (1989, GeCoA 53, 197) by
    `scripts/derive_plasma_table.py`: 0.2 to 10.8 keV in temperature, 0.28 to 10.4 keV in photon energy.
    `Plasma.load()` reads it.

    Between two temperatures of the table an emissivity is interpolated linearly in log kT, so a spectrum is a
    weighted sum of two rows of the table. A line is a Gaussian, integrated exactly over each bin. Its width
    is the thermal motion of its ion at the row's temperature, `sigma^2 = kT / m`, and the broadening that the
    caller adds, both velocities along the line of sight. The continuum, in which the faintest lines are, gets
    the second.

    Attributes
    ----------
    temperatures : (T,) array
        Temperatures in keV, ascending.
    line_start : (T + 1,) array
        Lines `line_start[t]:line_start[t + 1]` belong to temperature t.
    line_energy, line_emissivity : (N,) arrays
        Rest energy in keV and emissivity in photon cm3 / s at solar abundance.
    line_number : (N,) array
        Atomic number of the ion.
    line_group : (N,) array
        Index into `ELEMENTS`.
    continuum_edges : (B + 1,) array
        Energy edges of the continuum in keV.
    continuum_emissivity : (T, 12, B) array
        Photon cm3 / s / bin at solar abundance, with the faintest lines.
    """

    temperatures: np.ndarray
    line_start: np.ndarray
    line_energy: np.ndarray
    line_emissivity: np.ndarray
    line_number: np.ndarray
    line_group: np.ndarray
    continuum_edges: np.ndarray
    continuum_emissivity: np.ndarray

    @classmethod
    def load(cls):
        """Read the table in the package, once; its arrays are read-only."""
        return _load()

    def temperature_weights(self, kT):
        """Rows of the table on both sides of a temperature.

        Parameters
        ----------
        kT : array_like
            Temperatures in keV.

        Returns
        -------
        lower : array of int
            Index of the row below; the row above is `lower + 1`.
        weight : array
            Weight of the row above, `(ln kT - ln kT[lower]) / (ln kT[lower + 1] - ln kT[lower])`.

        Raises
        ------
        ValueError
            If a temperature is outside the table.
        """
        kT = np.asarray(kT, dtype=np.float64)
        low, high = self.temperatures[0], self.temperatures[-1]
        if not np.all((kT >= low) & (kT <= high)):
            raise ValueError(
                f"kT must be within {low:.4g} and {high:.4g} keV, found {np.min(kT):.4g} to {np.max(kT):.4g}"
            )
        lower = np.clip(np.searchsorted(self.temperatures, kT, side="right") - 1, 0, len(self.temperatures) - 2)
        log = np.log(self.temperatures)
        return lower, (np.log(kT) - log[lower]) / (log[lower + 1] - log[lower])

    def element_spectra(self, energy_edges, row, velocity_km_s=0.0, broadening_km_s=0.0):
        """Spectrum of each element at one temperature of the table, at solar abundance.

        Parameters
        ----------
        energy_edges : (L + 1,) array
            Ascending bin edges in keV, within 0.3 to 10 keV (and room for the Doppler shift).
        row : int
            Index of the temperature in `temperatures`.
        velocity_km_s : float
            Velocity away from the observer (`hifred.doppler.energy_factor`); the number of photons is not
            changed by it.
        broadening_km_s : float
            Standard deviation of turbulent or unresolved motion along the line of sight, added in quadrature
            to the thermal one.

        Returns
        -------
        (12, L) array
            Photon cm3 / s / bin, in the order of `ELEMENTS`.

        Raises
        ------
        ValueError
            If the edges do not ascend or leave the table.
        """
        # A shifted spectrum in fixed bins is the spectrum at rest in bins shifted the other way.
        rest = np.asarray(energy_edges, dtype=np.float64) / energy_factor(velocity_km_s)
        self._check_edges(rest)
        return self._continuum(rest, row, broadening_km_s) + self._lines(rest, row, broadening_km_s)

    def spectrum(self, energy_edges, kT, abundances=None, velocity_km_s=0.0, broadening_km_s=0.0):
        """Spectrum of a uniform plasma.

        Parameters
        ----------
        energy_edges : (L + 1,) array
            Ascending bin edges in keV.
        kT : float
            Temperature in keV.
        abundances : mapping or float, optional
            Abundances relative to solar by number, by element; elements not named, and all of them by
            default, have 1. A number is the abundance of everything but H, He and the trace elements.
        velocity_km_s, broadening_km_s : float
            As in `element_spectra`.

        Returns
        -------
        (L,) array
            Photon cm3 / s / bin: times `n_e n_H V / (4 pi D^2)` in cm-5 gives photons / cm2 / s / bin.

        Raises
        ------
        ValueError
            If the temperature, the edges or an abundance are out of range.
        """
        weights = abundance_vector(abundances)
        lower, above = self.temperature_weights(float(kT))
        total = np.zeros(len(energy_edges) - 1)
        for row, share in ((lower, 1 - above), (lower + 1, above)):
            if share > 0:
                total += share * (weights @ self.element_spectra(energy_edges, row, velocity_km_s, broadening_km_s))
        return total

    def _check_edges(self, edges):
        low, high = self.continuum_edges[0], self.continuum_edges[-1]
        if edges.ndim != 1 or len(edges) < 2 or np.any(np.diff(edges) <= 0):
            raise ValueError("energy_edges must be a one-dimensional ascending array of at least two edges")
        if edges[0] < low or edges[-1] > high:
            raise ValueError(
                f"energy_edges at rest must be within {low} and {high} keV, found {edges[0]:.4g} to {edges[-1]:.4g}"
            )

    def _continuum(self, edges, row, broadening_km_s):
        # A monotone cubic through the cumulative counts keeps the photons of each table bin and has no steps.
        table = self.continuum_edges
        cumulative = np.pad(np.cumsum(self.continuum_emissivity[row], axis=1), ((0, 0), (1, 0)))
        curve = PchipInterpolator(table, cumulative, axis=1)
        if broadening_km_s > 0:
            sigma = broadening_km_s / SPEED_OF_LIGHT
            points = 2 * int(np.ceil(max(7.0, 3.5 * sigma * edges[-1] / np.diff(table).min()))) + 1
            offset = np.linspace(-3.5, 3.5, points)
            weights = np.exp(-(offset**2) / 2)
            moved = np.clip(table[:, None] * (1 + sigma * offset), table[0], table[-1])
            curve = PchipInterpolator(table, curve(moved) @ (weights / weights.sum()), axis=1)
        return np.diff(curve(edges), axis=1)

    def _lines(self, edges, row, broadening_km_s):
        mine = slice(self.line_start[row], self.line_start[row + 1])
        energy = self.line_energy[mine]
        thermal = self.temperatures[row] / (_WEIGHTS[self.line_number[mine]] * MASS_UNIT_KEV)
        sigma = energy * np.sqrt(thermal + (broadening_km_s / SPEED_OF_LIGHT) ** 2)
        first = np.clip(np.searchsorted(edges, energy - WINDOW * sigma) - 1, 0, len(edges) - 1)
        last = np.clip(np.searchsorted(edges, energy + WINDOW * sigma), 0, len(edges) - 1)
        touched = last > first
        energy, sigma, first, last = energy[touched], sigma[touched], first[touched], last[touched]
        flux, group = self.line_emissivity[mine][touched], self.line_group[mine][touched]
        points = last - first + 1
        line = np.repeat(np.arange(len(energy)), points)
        edge = np.arange(len(line)) + (first - np.concatenate([[0], np.cumsum(points)[:-1]]))[line]
        part = flux[line] * 0.5 * erf((edges[edge] - energy[line]) / (np.sqrt(2) * sigma[line]))
        inside = np.flatnonzero(np.diff(line) == 0)
        target = group[line[inside]] * (len(edges) - 1) + edge[inside]
        total = np.bincount(target, part[inside + 1] - part[inside], len(ELEMENTS) * (len(edges) - 1))
        return total.reshape(len(ELEMENTS), -1)


_WEIGHTS = np.array([np.nan] + [ATOMIC_WEIGHT[number] for number in range(1, 31)])


@lru_cache(maxsize=1)
def _load():
    with files("hifred.simulate").joinpath("data/plasma.npz").open("rb") as stream, np.load(stream) as table:
        arrays = {name: table[name] for name in table}
    position = np.searchsorted(arrays["group_number"], arrays["line_number"])
    own = np.take(arrays["group_number"], position, mode="clip") == arrays["line_number"]
    arrays["line_group"] = np.where(own, position, 0)
    wanted = {name: np.asarray(arrays[name]) for name in Plasma.__dataclass_fields__}
    for name, array in wanted.items():
        wanted[name] = array.astype(np.float64) if array.dtype.kind == "f" else array
        wanted[name].setflags(write=False)
    return Plasma(**wanted)


def abundance_vector(abundances=None):
    """Abundances as an array in the order of `ELEMENTS`.

    Parameters
    ----------
    abundances : mapping or float, optional
        As in `Plasma.spectrum`.

    Returns
    -------
    (12,) array

    Raises
    ------
    ValueError
        If an element is unknown or is hydrogen, or an abundance is negative or not finite.
    """
    vector = np.ones(len(ELEMENTS))
    if isinstance(abundances, (int, float)):
        abundances = dict.fromkeys(ELEMENTS[1:], abundances)
    for element, value in (abundances or {}).items():
        if element not in ELEMENTS[1:]:
            raise ValueError(f"abundances may name {', '.join(ELEMENTS[1:])}, found {element!r}")
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"abundances must be finite and not negative, found {value} for {element}")
        vector[ELEMENTS.index(element)] = value
    return vector
