"""Where single photons go: displaced by the PSF, put in a channel by the RMF. Random draws, not operators."""

from itertools import pairwise

import numpy as np

from hifred.instruments import ogip
from hifred.instruments.pixels import PixelArray
from hifred.instruments.psf import PSF
from hifred.instruments.rmf import Redistribution

ENERGY_NODES, ANGLE_NODES = 9, 7
"""Energies and off-axis angles at which the PSF is taken; a photon gets one of its two neighbours by chance."""
RADII = np.append(0.0, np.geomspace(1e-3, 1e5, 4000))
"""Radii at which the encircled energy is looked up, arcsec."""
LOST = 1e7
"""Displacement in arcsec of the photons beyond the last radius: further than any detector."""


def displacements(psf: PSF, energy, off_axis, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw how far the PSF throws photons, `radius = encircled^-1(u)` in a direction of chance: the PSF is round.

    Between nodes in energy and angle the PSF is the mixture of its neighbours.

    Parameters
    ----------
    psf : PSF
    energy, off_axis : array of shape (n,)
        keV, and arcmin from the optical axis.
    rng : numpy.random.Generator

    Returns
    -------
    x, y : array of shape (n,)
        arcsec.
    """
    energies, e = _nodes(energy, ENERGY_NODES, rng)
    angles, t = _nodes(off_axis, ANGLE_NODES, rng)
    group = (e * len(angles) + t).astype(np.uint8)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(energies) * len(angles)))
    share, radius = rng.random(len(group)), np.empty(len(group))
    for node, (start, end) in enumerate(pairwise([0, *ends])):
        mine = order[start:end]
        if mine.size:
            within = psf.encircled(RADII, energies[node // len(angles)], angles[node % len(angles)])
            radius[mine] = np.interp(share[mine], within, RADII, right=LOST)
    turn = 2 * np.pi * rng.random(len(group))
    return radius * np.cos(turn), radius * np.sin(turn)


def _nodes(values, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Nodes over the range of some values, and for each value one of its two neighbours, the nearer one more often."""
    if not len(values) or np.ptp(values) == 0:
        return np.asarray(values[:1], float), np.zeros(len(values), int)
    nodes = np.linspace(np.min(values), np.max(values), most)
    place = (values - nodes[0]) / (nodes[1] - nodes[0])
    return nodes, np.minimum((place + rng.random(len(values))).astype(int), most - 1)


def channels(rmf: Redistribution, energy, rng: np.random.Generator) -> np.ndarray:
    """Draw the channel of each photon from the column of its energy.

    Parameters
    ----------
    rmf : Redistribution
        Probabilities; must not hold the area.
    energy : array of shape (n,)
        keV.
    rng : numpy.random.Generator

    Returns
    -------
    array of int of shape (n,)
        Channels counted from 0; -1 for a photon that is not counted: of an energy without a row, or in the part that a
        column lacks of 1.

    Raises
    ------
    ValueError
        If the matrix holds the area.
    """
    if rmf.includes_area:
        raise ValueError("redistribution: expected probabilities, found a matrix that holds the effective area")
    low, high = ogip.joined(rmf.energy_lo, rmf.energy_hi)
    row = np.searchsorted(low, energy, side="right") - 1
    first, last = max(int(row.min(initial=len(low) - 1)), 0), int(row.max(initial=0))
    matrix = rmf.matrix[:, first : last + 1].tocsc()
    if not matrix.nnz:
        return np.full(len(energy), -1)
    matrix.sort_indices()
    total = np.append(0.0, np.cumsum(matrix.data))
    known = (row >= first) & (energy < high[row.clip(0)])
    column = np.where(known, row - first, 0)
    # One search in the running sum over all columns: that of a column starts at what the ones before it hold.
    at = np.searchsorted(total, total[matrix.indptr[column]] + rng.random(len(column)), side="right") - 1
    counted = known & (at < matrix.indptr[column + 1])
    return np.where(counted, matrix.indices[np.minimum(at, matrix.nnz - 1)], -1)


def caught(psf: PSF, array: PixelArray, energy) -> float:
    """Part of the photons of a point source in the middle of a detector that its pixels catch.

    Integrated in polar coordinates: the rectangle from the source to a corner (X, Y) holds `(1 / 2 pi) int
    encircled(min(X / cos a, Y / sin a)) da` over the quadrant.

    Parameters
    ----------
    psf : PSF
    array : PixelArray
    energy : float
        keV.
    """
    angle = (np.arange(4000) + 0.5) / 4000 * np.pi / 2
    rows, columns = ((np.arange(n + 1) - n / 2) * array.pitch for n in array.shape)
    corner = np.zeros((len(rows), len(columns)))
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            reach = np.minimum(abs(x) / np.cos(angle), abs(y) / np.sin(angle))
            corner[i, j] = np.sign(x) * np.sign(y) * psf.encircled(reach, energy).mean() / 4
    pixels = np.diff(np.diff(corner, axis=0), axis=1)
    return float(pixels[array.seen].sum())
