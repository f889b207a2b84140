"""Named scenes: a truth on the sky and what two instruments counted of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from hifred.data import Dataset
from hifred.grid import CubeGrid
from hifred.response import Response
from hifred.simulate.maps import weighted_maps
from hifred.simulate.observation import Camera, draw_counts, expected_counts, noise_stream
from hifred.simulate.point import PointSource, add_points
from hifred.simulate.projection import project
from hifred.simulate.truth import Scene, Truth
from hifred.simulate.visit import Visit

DEFAULT_COUNTS = 2.3e7
"""Expected counts of each instrument, as in the toy problem of Lascar, Bobin & Acero (2025)."""

TYCHO = (6.33, 64.14)
"""Right ascension and declination of the remnant that the simulated ones are like, degrees."""


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
    column_density : float or (y, x) array
        Hydrogen column in front, 1e22 cm-2.
    points : tuple of PointSource
        What shines besides the gas.
    counts : float
        Expected counts of each instrument, where the caller of `scene` asks for none.
    """

    gases: list
    energy_edges: np.ndarray
    cameras: tuple[Camera, ...]
    cells_per_pixel: int = 2
    pixel_size: float = 10.0
    center: tuple[float, float] = TYCHO
    column_density: float | np.ndarray = 0.2
    points: tuple[PointSource, ...] = ()
    counts: float = DEFAULT_COUNTS


@dataclass(frozen=True, eq=False)
class _Entry:
    """A scene of the catalogue; its function makes a plan of a seed, or a visit of a seed and the options named."""

    description: str
    function: Callable[..., Plan | Visit]
    options: tuple[str, ...]


_PLANS: dict[str, _Entry] = {}


def register(name, description, options=()):
    """Add a scene by decorating a function of a seed that returns a `Plan` or a `Visit`.

    Parameters
    ----------
    name : str
        Name for `scene`.
    description : str
        One plain sentence or two for people.
    options : sequence of str
        Further arguments of the function, of "counts", "band" and "brightness"; those of `scene` are handed on.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def add(function):
        if name in _PLANS:
            raise ValueError(f"a scene named {name!r} exists already")
        _PLANS[name] = _Entry(description, function, tuple(options))
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
    return {name: entry.description for name, entry in _PLANS.items()}


def scene(name, seed=0, counts=None, *, band=None, brightness=None, draw=0):
    """Simulate a scene: the sky, the instruments, and the photons they count.

    The same arguments give the same scene on every machine: the sky comes from `numpy.random.default_rng` (whose
    streams numpy keeps, though it does not promise to) and smooth functions of it, and the counts from expectations
    in double precision on the host, rounded to 20 bits (`hifred.simulate.observation.draw_counts`), not from the
    operators of `Response`. The scene "xrism-epic-iron" is drawn photon by photon (`hifred.simulate.photons.observe`),
    written as event lists, and reduced by `hifred.reduce`.

    Parameters
    ----------
    name : str
        One of `scene_names()`.
    seed : int
        Seed of the sky and of the photon noise.
    counts : float, optional
        Expected counts of each instrument; by default what the scene's plan says, which is 2.3e7 for all but
        "tiny". The exposures are set so that they are reached. For "xrism-epic-iron", counts of EPIC pn in the band,
        and the brightness is set so that they are reached: exposure and background stay.
    band : tuple of two float, optional
        Lowest and highest energy in keV, for scenes that have a choice ("xrism-epic-iron").
    brightness : float, optional
        Factor on the brightness of the sky, for scenes that have a choice ("xrism-epic-iron").
    draw : int
        Which draw of the photon noise: others see the same sky.

    Returns
    -------
    Scene

    Raises
    ------
    ValueError
        If the name is unknown, the seed or draw negative, counts or brightness not above 0, both are given, or the
        scene does not have an option.
    """
    if draw < 0:
        raise ValueError(f"draw must not be negative, found {draw}")
    plan = plan_scene(name, seed, counts, band=band, brightness=brightness)
    description = _PLANS[name].description
    if isinstance(plan, Visit):
        datasets = replace(plan, draw=draw).datasets()
        return Scene(name, description, plan.truth, datasets, plan.truth.grid, seed, plan.counts, draw)
    return _build(name, description, plan, seed, plan.counts if counts is None else float(counts), draw)


def plan_scene(name, seed=0, counts=None, *, band=None, brightness=None):
    """What a scene is made of, before photons are counted: arguments as those of `scene`.

    Returns
    -------
    Plan or Visit

    Raises
    ------
    ValueError
        As `scene`.
    """
    if name not in _PLANS:
        raise ValueError(f"expected one of the scenes {', '.join(scene_names())}, found {name!r}")
    for label, value in (("counts", counts), ("brightness", brightness)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{label} must be above 0, found {value}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, found {seed}")
    entry = _PLANS[name]
    options = {"counts": counts, "band": band, "brightness": brightness}
    given = {option: value for option, value in options.items() if value is not None}
    for option in ("band", "brightness"):
        if option in given and option not in entry.options:
            raise ValueError(f"{option}: expected a scene with this option, found {name!r}, which has none")
    if "counts" in given and "brightness" in given:
        raise ValueError("counts, brightness: expected one of them, which sets the other, found both")
    return entry.function(seed, **{option: given[option] for option in entry.options if option in given})


def _build(name, description, plan, seed, counts, draw):
    """Compute the sky of a plan, and draw the counts of its cameras."""
    frame = plan.energy_edges, plan.cells_per_pixel
    values = np.sum([project(gas, *frame, column_density=plan.column_density) for gas in plan.gases], axis=0)
    values = add_points(values, plan.energy_edges, plan.points, plan.column_density)
    grid = CubeGrid(plan.energy_edges, shape=values.shape[1:], pixel_size=plan.pixel_size, center=plan.center)
    truth = Truth(values, grid, **weighted_maps(plan.gases, *frame, column_density=plan.column_density))
    datasets = tuple(
        _observe(camera, truth, counts, noise_stream(seed, index, draw)) for index, camera in enumerate(plan.cameras, 1)
    )
    return Scene(name, description, truth, datasets, grid, seed, counts, draw)


def _observe(camera, truth, counts, stream):
    rate = expected_counts(camera, truth.values)
    exposure = counts * (1 - camera.background) / rate.sum()
    background = counts * camera.background / rate.size
    given = camera if camera.assumed is None else camera.assumed
    response = Response.from_kernels(
        truth.values.shape,
        psf=given.psf,
        lsf=given.lsf,
        area=given.area * exposure,
        rebin=given.rebin,
        boundary="zero",
        normalize=False,  # the kernels sum to 1; columns of a matrix do not, where photons miss the channels
    )
    counts = draw_counts(exposure * rate + background, stream)
    return Dataset(counts, response, background, name=camera.name, grid=truth.grid)
