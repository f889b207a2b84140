"""Named scenes: a truth on the sky and what two instruments counted of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hifred.data import Dataset
from hifred.grid import CubeGrid
from hifred.response import Response
from hifred.simulate.maps import weighted_maps
from hifred.simulate.observation import Camera, draw_counts, expected_counts
from hifred.simulate.projection import project

DEFAULT_COUNTS = 2.3e7
"""Expected counts of each instrument, as in the toy problem of Lascar, Bobin & Acero (2025)."""

TYCHO = (6.33, 64.14)
"""Right ascension and declination of the remnant that the simulated ones are like, degrees."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The sky that a scene's data were drawn from.

    Maps are means over the line of sight weighted by the photons sent in the scene's band; nan where nothing
    shines.

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
        The CCD ("xmm": sharp in space) and the calorimeter ("xrism": sharp in energy).
    grid : CubeGrid
        The frame of the truth, for the fusion.
    seed : int
        Seed of the sky and of the photon noise.
    counts : float
        Expected counts of each instrument.
    """

    name: str
    description: str
    truth: Truth
    datasets: tuple
    grid: CubeGrid
    seed: int
    counts: float


@dataclass(frozen=True, eq=False)
class Plan:
    """What a scene's function returns: the gas, the frame and the cameras, before anything is computed.

    Attributes
    ----------
    gases : list of Gas
    energy_edges : (L + 1,) array
        keV.
    cameras : tuple of Camera
    cells_per_pixel : int
        Cells of gas across a sky pixel.
    pixel_size : float
        arcsec.
    center : (float, float)
        Right ascension and declination of the middle of the field, degrees.
    column_density : float
        Hydrogen column in front, 1e22 cm-2.
    counts : float
        Expected counts of each instrument, where the caller of `scene` asks for none.
    """

    gases: list
    energy_edges: np.ndarray
    cameras: tuple[Camera, ...]
    cells_per_pixel: int = 2
    pixel_size: float = 10.0
    center: tuple[float, float] = TYCHO
    column_density: float = 0.2
    counts: float = DEFAULT_COUNTS


_PLANS: dict[str, tuple[str, Callable[[int], Plan]]] = {}


def register(name, description):
    """Add a scene by decorating a function of a seed that returns a `Plan`.

    Parameters
    ----------
    name : str
        Name for `scene`.
    description : str
        One plain sentence or two for people.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def add(function):
        if name in _PLANS:
            raise ValueError(f"a scene named {name!r} exists already")
        _PLANS[name] = description, function
        return function

    return add


def scene_names():
    """Names that `scene` knows.

    Returns
    -------
    tuple of str
    """
    return tuple(_PLANS)


def scene_descriptions():
    """What the scenes are.

    Returns
    -------
    dict of str to str
        A plain sentence or two by name.
    """
    return {name: description for name, (description, _) in _PLANS.items()}


def scene(name, seed=0, counts=None):
    """Simulate a scene: the sky, the instruments, and the photons they count.

    The same name, seed and counts give the same scene on every machine: the sky comes from
    `numpy.random.default_rng` (whose streams numpy keeps, though it does not promise to) and smooth functions
    of it, and the counts from expectations in double precision on the host, rounded to 20 bits
    (`hifred.simulate.observation.draw_counts`), not from the operators of `Response`.

    Parameters
    ----------
    name : str
        One of `scene_names()`.
    seed : int
        Seed of the sky and of the photon noise.
    counts : float, optional
        Expected counts of each instrument; by default what the scene's plan says, which is 2.3e7 for all but
        "tiny". The exposures are set so that they are reached.

    Returns
    -------
    Scene

    Raises
    ------
    ValueError
        If the name is unknown, the seed negative or the counts not above 0.
    """
    if name not in _PLANS:
        raise ValueError(f"expected one of the scenes {', '.join(scene_names())}, found {name!r}")
    if counts is not None and not (np.isfinite(counts) and counts > 0):
        raise ValueError(f"counts must be above 0, found {counts}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, found {seed}")
    description, function = _PLANS[name]
    plan = function(seed)
    counts = plan.counts if counts is None else float(counts)
    frame = plan.energy_edges, plan.cells_per_pixel
    values = np.sum([project(gas, *frame, column_density=plan.column_density) for gas in plan.gases], axis=0)
    grid = CubeGrid(plan.energy_edges, shape=values.shape[1:], pixel_size=plan.pixel_size, center=plan.center)
    truth = Truth(values, grid, **weighted_maps(plan.gases, *frame, column_density=plan.column_density))
    seeds = [(seed, index) for index in range(1, len(plan.cameras) + 1)]
    datasets = tuple(_observe(camera, truth, counts, s) for camera, s in zip(plan.cameras, seeds, strict=True))
    return Scene(name, description, truth, datasets, grid, seed, counts)


def _observe(camera, truth, counts, seed):
    rate = expected_counts(camera, truth.values)
    exposure = counts / rate.sum()
    response = Response.from_kernels(
        truth.values.shape,
        psf=camera.psf,
        lsf=camera.lsf,
        area=camera.area * exposure,
        rebin=camera.rebin,
        boundary="zero",
        normalize=False,  # the kernels sum to 1; columns of a matrix do not, where photons miss the channels
    )
    return Dataset(draw_counts(exposure * rate, seed), response, name=camera.name, grid=truth.grid)
