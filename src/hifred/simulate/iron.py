"""A remnant like Cassiopeia A as XRISM Resolve and EPIC pn see it, with the geometry of both."""

from dataclasses import replace

import numpy as np

from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.presets import Instrument, instrument
from hifred.simulate.maps import weighted_maps
from hifred.simulate.projection import project
from hifred.simulate.remnant import RemnantModel, remnant
from hifred.simulate.telescope import Telescope
from hifred.simulate.truth import Truth
from hifred.simulate.visit import Visit

BAND = (6.0, 7.2)
"""Band around the Fe K lines, keV; the bins are 1 eV up to `FINE` wide bands and 2 eV beyond."""
FINE = 2.0
LIMITS = (1.8, 10.0)
"""The gate valve lets hardly anything through below; the plasma's table ends, less its Doppler shifts, above. keV."""
PIXELS, PIXEL_SIZE = (60, 60), 5.0  # arcsec
RADIUS = 24.0  # pixels
CASSIOPEIA_A = (350.866, 58.812)  # degrees
COLUMN = 1.5  # 1e22 cm-2, of the order of that to Cassiopeia A (Hwang & Laming 2012, ApJ 746, 130)
EXPOSURE = 150e3  # s
ROLL = 34.0  # degrees; any
# Radius of 120 arcsec at 3.4 kpc (Reed et al. 1995, ApJ 440, 706). The densities make 5e5 counts of EPIC pn in `BAND`.
MODEL = RemnantModel(radius_pc=2.0, distance_kpc=3.4, ambient_density=9.7, ejecta_density=2.63, ejecta_broadening=900.0)
RMF_STEP = 5e-3  # keV; energies and channels of the CCD's responses, as in those of SAS


def iron_visit(seed=0, counts=None, band=BAND, brightness=1.0) -> Visit:
    """The visit of the scene "xrism-epic-iron".

    Parameters
    ----------
    seed : int
        Seed of the sky and of the photons.
    counts : float, optional
        Photons that EPIC pn is expected to count in the band; sets the brightness.
    band : tuple of two float
        Lowest and highest energy, keV, within 1.8 to 10: a whole number of eV apart, and of 2 eV if more than 2 keV.
    brightness : float
        1 for a remnant like Cassiopeia A.

    Returns
    -------
    Visit

    Raises
    ------
    ValueError
        If the band is not such.
    """
    edges = band_edges(band)
    grid = CubeGrid(edges, PIXELS, PIXEL_SIZE, CASSIOPEIA_A)
    telescopes = tuple(mock_telescope(instrument(name), edges) for name in ("epic-pn", "xrism-resolve"))
    gases = remnant(MODEL, PIXELS, RADIUS, seed=seed)
    cube = np.sum([project(gas, edges, 2, column_density=COLUMN) for gas in gases], axis=0)
    maps = weighted_maps(gases, edges, 2, column_density=COLUMN)
    expected = float(cube.sum((1, 2)) @ telescopes[0].incident(edges))
    scale = brightness if counts is None else counts / expected
    truth = Truth(cube * scale, grid, **maps)
    return Visit(truth, telescopes, seed, expected * scale)


def band_edges(band) -> np.ndarray:
    """Edges of the energies of a band, keV.

    Raises
    ------
    ValueError
        If it is not within 1.8 to 10 keV, or no whole number of steps.
    """
    low, high = (float(end) for end in band)
    if not LIMITS[0] <= low < high <= LIMITS[1]:
        raise ValueError(f"band: expected two increasing energies within 1.8 to 10 keV, found {low:g} and {high:g}")
    step = 1e-3 if high - low <= FINE else 2e-3
    try:
        return energy_bins(low, high, step)
    except ValueError:
        raise ValueError(
            f"band: expected a whole number of steps of {1e3 * step:g} eV, found {low:g} to {high:g} keV"
        ) from None


def mock_telescope(preset: Instrument, edges: np.ndarray) -> Telescope:
    """A telescope with the preset's own area and redistribution, over a band."""
    low, high = edges[[0, -1]]
    if preset.detector is None:
        # From the lowest channel on: charge is lost down to nothing.
        energies = np.linspace(low, high, max(1, round((high - low) / RMF_STEP)) + 1)
        first, last, step = 0, int(np.ceil((high + 6 * preset.fwhm(high)) / RMF_STEP)), RMF_STEP
    else:
        step = preset.events.pi_step
        energies, first = edges, int(np.floor((low - 6 * preset.fwhm(low)) / step))
        last = int(np.ceil((high + 6 * preset.fwhm(high)) / step))
    rmf = preset.mock_redistribution(energies, step * np.arange(first, last + 1))
    return Telescope(preset, preset.mock_area(energies), replace(rmf, threshold=1e-9), EXPOSURE, roll=ROLL)
