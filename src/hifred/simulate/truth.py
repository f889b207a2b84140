"""What a simulation gives: the sky that the data were drawn from, and the data."""

from dataclasses import dataclass

import numpy as np

from hifred.grid import CubeGrid


@dataclass(frozen=True, eq=False)
class Truth:
    """The sky that a scene's data were drawn from.

    Maps are means over the line of sight of the gas, weighted by the photons that it sends in the scene's band; nan
    where nothing shines.

    Attributes
    ----------
    values : (L, y, x) array
        Photons / cm2 / s in each voxel, float64.
    grid : CubeGrid
        Its frame.
    velocity, velocity_spread : (y, x) arrays
        Mean and standard deviation of the velocity away from the observer, km/s; the spread includes the
        gas's own broadening, but not the thermal motion at the electrons' temperature.
    temperature : (y, x) array
        Electron temperature, keV.
    abundances : dict of str to (y, x) array
        Relative to solar by number, by element.
    """

    values: np.ndarray
    grid: CubeGrid
    velocity: np.ndarray
    velocity_spread: np.ndarray
    temperature: np.ndarray
    abundances: dict


@dataclass(frozen=True, eq=False)
class Scene:
    """A simulated observation.

    Attributes
    ----------
    name, description : str
    truth : Truth
    datasets : tuple of Dataset
        The CCD ("xmm" or "epic-pn": sharp in space) and the calorimeter ("xrism" or "xrism-resolve": sharp in energy).
    grid : CubeGrid
        The frame of the truth, for the fusion.
    seed : int
        Seed of the sky and of the photon noise.
    counts : float
        Expected counts of each instrument; of EPIC pn, before the PSF loses some, where event lists were made.
    draw : int
        Which draw of the photon noise.
    """

    name: str
    description: str
    truth: Truth
    datasets: tuple
    grid: CubeGrid
    seed: int
    counts: float
    draw: int = 0
