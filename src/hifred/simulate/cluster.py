"""A galaxy cluster in three dimensions: a cool core, and gas that sloshes in a spiral."""

from dataclasses import dataclass

import numpy as np

from hifred.simulate.fields import gaussian_field
from hifred.simulate.projection import Gas
from hifred.simulate.remnant import CM_PER_PC, ELECTRONS_PER_HYDROGEN


@dataclass(frozen=True)
class ClusterModel:
    """What a cluster is like; the defaults are of the order of Perseus, not a fit to it.

    Attributes
    ----------
    distance_mpc : float
        Distance.
    kpc_per_pixel : float
        Size of a sky pixel at the cluster.
    recession : float
        Velocity of the cluster as a whole, km/s.
    core_density, core_radius, beta : float
        Hydrogen density in the middle (cm-3), core radius (kpc) and exponent of the beta model
        `n(r) = n_0 (1 + (r / r_c)^2)^(-3 beta / 2)` (Cavaliere & Fusco-Femiano 1976, A&A 49, 137).
    core_temperature, outer_temperature, cool_radius : float
        Temperature in the middle and outside (keV) and the radius between them (kpc), joined by `T = T_out (x
        + T_core / T_out) / (x + 1)`, `x = (r / r_cool)^2` (after Vikhlinin et al. 2006, ApJ 640, 691).
    core_abundance, outer_abundance : float
        Metals over solar, joined in the same way.
    sloshing : float
        Fractional height of the spiral in density; the gas stays in pressure balance, so it is as much
        colder.
    sloshing_speed : float
        Speed of the gas along the spiral, km/s.
    inclination : float
        Angle between the plane of sloshing and the sky, degrees.
    broadening : float
        Turbulence along the line of sight, standard deviation in km/s.
    """

    distance_mpc: float = 75.0
    kpc_per_pixel: float = 4.0
    recession: float = 5370.0
    core_density: float = 0.04
    core_radius: float = 30.0
    beta: float = 0.5
    core_temperature: float = 3.0
    outer_temperature: float = 6.0
    cool_radius: float = 70.0
    core_abundance: float = 0.8
    outer_abundance: float = 0.35
    sloshing: float = 0.4
    sloshing_speed: float = 500.0
    inclination: float = 50.0
    broadening: float = 160.0


def cluster(model, pixels, cells_per_pixel=2, seed=0):
    """Gas of a cluster in the middle of a square field, cut round so that nothing is at the frame's edge.

    Parameters
    ----------
    model : ClusterModel
    pixels : int
        Sky pixels across.
    cells_per_pixel : int
        Cells across a pixel.
    seed : int
        Seed of the orientation of the spiral and of the small-scale velocities.

    Returns
    -------
    list of Gas
        One gas.
    """
    rng = np.random.default_rng(seed)
    size = pixels * cells_per_pixel
    axis = (np.arange(size) - (size - 1) / 2) * model.kpc_per_pixel / cells_per_pixel
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    r = np.sqrt(z**2 + y**2 + x**2)
    spiral, along_sight = _sloshing(model, rng, z, y, x)
    beta_model = model.core_density * (1 + (r / model.core_radius) ** 2) ** (-1.5 * model.beta)
    density = beta_model * (1 + model.sloshing * spiral)
    squared = (r / model.cool_radius) ** 2
    kT = (model.outer_temperature * squared + model.core_temperature) / (squared + 1) / (1 + model.sloshing * spiral)
    # Sloshing carries the metals of the core outwards, with the cold gas.
    mixing = squared * np.exp(-0.8 * spiral)
    metals = (model.outer_abundance * mixing + model.core_abundance) / (mixing + 1)
    eddies = gaussian_field(rng, size, 11 / 3, 0.02, 0.5) * 0.6 * model.broadening
    velocity = model.recession + along_sight + eddies
    edge = np.clip((0.94 * axis[-1] - np.sqrt(y**2 + x**2)) / (0.12 * axis[-1]), 0, 1)
    cell = model.kpc_per_pixel / cells_per_pixel * 1e3
    norm = ELECTRONS_PER_HYDROGEN * cell**3 / (4 * np.pi * (model.distance_mpc * 1e6) ** 2) * CM_PER_PC
    elements = ("C", "N", "O", "Ne", "Mg", "Si", "S", "Ar", "Ca", "Fe", "Ni")
    return [Gas(norm * density**2 * edge, kT, velocity, model.broadening, dict.fromkeys(elements, metals))]


def _sloshing(model, rng, z, y, x):
    """Height of the spiral, -1 to 1, and velocity along the line of sight, km/s."""
    tilt, turn = np.deg2rad(model.inclination), rng.uniform(0, 2 * np.pi)
    u = np.cos(turn) * x + np.sin(turn) * y  # on the sky, along the line of nodes
    w = -np.sin(turn) * x + np.cos(turn) * y
    v, height = np.cos(tilt) * w + np.sin(tilt) * z, -np.sin(tilt) * w + np.cos(tilt) * z
    radius = np.sqrt(u**2 + v**2) + 1e-3
    phase = np.arctan2(v, u) - 3.0 * np.log(radius / model.core_radius)
    envelope = (
        np.exp(-((height / (1.2 * model.core_radius)) ** 2)) * radius**2 / (radius**2 + (0.3 * model.core_radius) ** 2)
    )
    spiral = np.cos(phase) * envelope
    speed = model.sloshing_speed * envelope * (0.6 + 0.4 * np.cos(phase))
    return spiral, np.sin(tilt) * speed * u / radius
