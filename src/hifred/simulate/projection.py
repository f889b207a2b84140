"""From gas in three dimensions to a cube of photons on the sky."""

from dataclasses import dataclass

import numpy as np

from hifred.absorption import transmission
from hifred.doppler import SPEED_OF_LIGHT
from hifred.simulate.plasma import ELEMENTS, Plasma

FINE_STEPS = 16
"""Steps per standard deviation of a line on the logarithmic energy grid."""


@dataclass(frozen=True, eq=False)
class Gas:
    """One kind of gas, as cells of a box that the observer looks through along its first axis.

    Attributes
    ----------
    emission_measure : (z, y, x) array
        `n_e n_H V / (4 pi D^2)` of each cell, cm-5.
    temperature : (z, y, x) array
        Temperature in keV; only cells that emit need a sensible value.
    velocity : (z, y, x) array
        Velocity away from the observer, km/s.
    broadening : float
        Standard deviation of the motion along the line of sight inside a cell, km/s, without the thermal
        motion of ions at the electrons' temperature. Above 0.
    abundances : dict of str to (array or float)
        Relative to solar, by element; elements not named have 1. Arrays have the shape of the box.
    """

    emission_measure: np.ndarray
    temperature: np.ndarray
    velocity: np.ndarray
    broadening: float
    abundances: dict

    def __post_init__(self):
        shape = np.shape(self.emission_measure)
        if not np.all(np.isfinite(self.emission_measure) & (np.asarray(self.emission_measure) >= 0)):
            raise ValueError("emission_measure must be finite and not negative")
        named = {"temperature": self.temperature, "velocity": self.velocity}
        named |= {f"abundances[{k!r}]": v for k, v in self.abundances.items() if np.ndim(v)}
        for name, array in named.items():
            if np.shape(array) != shape:
                raise ValueError(f"{name} must have the shape of emission_measure {shape}, found {np.shape(array)}")
        if not self.broadening > 0:
            raise ValueError(f"broadening must be above 0 km/s, found {self.broadening}")
        unknown = set(self.abundances) - set(ELEMENTS[1:])
        if unknown:
            raise ValueError(f"abundances may name {', '.join(ELEMENTS[1:])}, found {', '.join(sorted(unknown))}")


def project(
    gas, energy_edges, cells_per_pixel, plasma=None, column_density: float | np.ndarray = 0.0, velocity_step=0.4
):
    """Spectrum of each sky pixel of an optically thin gas.

    Each cell's emission measure is shared between two temperatures, linearly in log kT, and between the four
    nearest of a grid of velocities, with the weights of a cubic in the log of the energy shift; the cube is
    then `sum_T spectra[T] @ measure[T]`, with one template for each element and velocity. These weights keep
    the photons and the first three moments of a line; every bin of a spectrum is right to 1%, most to 0.1%.
    The Doppler shift neither adds nor loses photons.

    Parameters
    ----------
    gas : Gas
    energy_edges : (L + 1,) array
        Ascending, keV.
    cells_per_pixel : int
        Cells across a sky pixel.
    plasma : Plasma, optional
        The table; `Plasma.load()` by default.
    column_density : float or (y, x) array
        Hydrogen column of the absorber in front, everywhere or in each pixel, 1e22 cm-2.
    velocity_step : float
        Step between velocities in units of the gas's broadening.

    Returns
    -------
    (L, y, x) array
        Photons / cm2 / s in each voxel.

    Raises
    ------
    ValueError
        If the box is not a whole number of pixels, temperatures or energies leave the table, or a column is negative
        or missing for some pixel.
    """
    plasma = Plasma.load() if plasma is None else plasma
    shape = sky_shape(gas, cells_per_pixel)
    column = require_column(column_density, shape)
    edges = np.asarray(energy_edges, dtype=np.float64)
    fine = gas.broadening / SPEED_OF_LIGHT / FINE_STEPS  # step in log energy
    shift_step = max(1, round(velocity_step * FINE_STEPS))
    cells = _bright_cells(gas, shape, cells_per_pixel)
    row, above = plasma.temperature_weights(cells.temperature)
    position = -np.arctanh(cells.velocity / SPEED_OF_LIGHT) / (fine * shift_step)  # log of the energy factor
    shift = np.floor(position).astype(int)
    shares = _cubic_weights(position - shift)
    lowest, highest = shift.min() - 1, shift.max() + 2
    shifts = np.arange(lowest, highest + 1) * shift_step
    pixels, compact = np.unique(cells.pixel, return_inverse=True)
    cube = np.zeros((len(edges) - 1, shape[0] * shape[1]))
    for node in range(row.min(), row.max() + 2):
        mine = (row == node) | (row == node - 1)
        share = np.where(row[mine] == node, 1 - above[mine], above[mine])
        if not share.any():
            continue
        first = (shift[mine] - lowest - 1) * len(pixels) + compact[mine]
        measure = _binned(cells, mine, share * shares[:, mine], first, (len(shifts), len(pixels)))
        templates = _templates(plasma, node, edges, shifts, fine, gas.broadening)
        cube[:, pixels] += np.tensordot(templates, measure, axes=2)
    centres = (edges[1:] + edges[:-1]) / 2
    # The cubic has negative weights: far in the wings of a line they can leave less than nothing.
    cube = np.maximum(cube, 0.0) * transmission(centres, column).reshape(len(centres), -1)
    return cube.reshape(-1, *shape)


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells that emit, flattened; `abundances` in the order of ELEMENTS, (n,) or 0-d each."""

    pixel: np.ndarray
    emission_measure: np.ndarray
    temperature: np.ndarray
    velocity: np.ndarray
    abundances: tuple


def sky_shape(gas, cells_per_pixel):
    """Pixels (y, x) that a box of gas covers.

    Raises
    ------
    ValueError
        If the box is not a whole number of pixels.
    """
    _, ny, nx = np.shape(gas.emission_measure)
    if ny % cells_per_pixel or nx % cells_per_pixel:
        raise ValueError(
            f"the box must be a whole number of pixels of {cells_per_pixel} cells, found {ny} x {nx} cells"
        )
    return ny // cells_per_pixel, nx // cells_per_pixel


def require_column(column_density, shape):
    """Check an absorber in front of the pixels (y, x).

    Returns
    -------
    () or (y, x) array

    Raises
    ------
    ValueError
        If it has another shape, or is negative or not finite.
    """
    column = np.asarray(column_density, dtype=np.float64)
    if column.shape not in ((), shape):
        raise ValueError(f"column_density: expected a number or shape {shape} as the sky, found {column.shape}")
    if not np.all(np.isfinite(column) & (column >= 0)):
        raise ValueError(f"column_density: expected numbers of at least 0, found a minimum of {column.min()}")
    return column


def _bright_cells(gas, shape, cells_per_pixel):
    y, x = (np.arange(n * cells_per_pixel) // cells_per_pixel for n in shape)
    pixel = np.broadcast_to(y[:, None] * shape[1] + x, np.shape(gas.emission_measure))
    bright = gas.emission_measure > 0
    if not bright.any():
        raise ValueError("the gas must emit somewhere, found no cell with an emission measure above 0")
    abundances = (gas.abundances.get(element, 1.0) for element in ELEMENTS)
    abundances = tuple(a[bright] if np.ndim(a) else np.float64(a) for a in abundances)
    return _Cells(
        pixel[bright], gas.emission_measure[bright], gas.temperature[bright], gas.velocity[bright], abundances
    )


def _cubic_weights(part):
    """Weights of the points -1, 0, 1, 2 in the cubic through them at `part` (Lagrange), (4, n)."""
    before, after, last = part + 1, part - 1, part - 2
    return np.stack(
        [
            -part * after * last / 6,
            before * after * last / 2,
            -before * part * last / 2,
            before * part * after / 6,
        ]
    )


def _binned(cells, mine, shares, first, size):
    """Emission measure times abundance, (element, shift, pixel); a cell goes to 4 shifts from `first` on."""
    weight = (cells.emission_measure[mine] * shares).ravel()
    target = (first + size[1] * np.arange(4)[:, None]).ravel()

    def bins(values):
        return np.bincount(target, values, size[0] * size[1])

    plain = bins(weight)
    binned = np.empty((len(ELEMENTS), *size))
    for i, abundance in enumerate(cells.abundances):
        varies = np.ndim(abundance) > 0
        total = bins(weight * np.tile(abundance[mine], 4)) if varies else abundance * plain
        binned[i] = total.reshape(size)
    return binned


def _templates(plasma, node, edges, shifts, fine, broadening):
    """Spectra (L, element, shift) of one row of the table.

    On a logarithmic grid of energies a Doppler shift is a translation by a whole number of steps.
    """
    first, last = np.log(edges[0]) - fine * (shifts[-1] + 1), np.log(edges[-1]) - fine * (shifts[0] - 1)
    grid = first + fine * np.arange(int(np.ceil((last - first) / fine)) + 2)
    spectra = plasma.element_spectra(np.exp(grid), node, 0.0, broadening)
    cumulative = np.pad(np.cumsum(spectra, axis=1), ((0, 0), (1, 0)))
    where = (np.log(edges)[:, None] - fine * shifts - first) / fine
    index = where.astype(int)
    part = where - index
    at_edges = cumulative[:, index] * (1 - part) + cumulative[:, index + 1] * part
    return np.diff(at_edges, axis=1).transpose(1, 0, 2)
