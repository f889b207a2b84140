"""A young supernova remnant in three dimensions: a shocked shell around clumpy, layered ejecta."""

from dataclasses import dataclass

import numpy as np

from hifred.simulate.fields import gaussian_field
from hifred.simulate.projection import Gas

CM_PER_PC = 3.0857e18  # IAU 2015 resolution B2
STRONG_SHOCK = 4.0  # compression behind a strong shock in a monatomic gas (Rankine-Hugoniot)
ELECTRONS_PER_HYDROGEN = 1.2  # ionised gas of about solar composition
KT_RANGE = (0.25, 8.0)  # keV, electrons of young remnants

# Peak abundance over solar by number; radius and width of the layer in radii of the contact discontinuity.
LAYERS = {
    "O": (1.5, 0.95, 0.25),
    "Ne": (0.7, 0.95, 0.25),
    "Mg": (1.0, 0.90, 0.25),
    "Si": (12.0, 0.85, 0.20),
    "S": (12.0, 0.82, 0.20),
    "Ar": (10.0, 0.80, 0.20),
    "Ca": (10.0, 0.78, 0.20),
    "Fe": (9.0, 0.80, 0.20),
    "Ni": (9.0, 0.80, 0.20),
}
MIXED = {"Ne": "O", "S": "Si", "Ar": "Si", "Ca": "Si", "Ni": "Fe"}  # element whose clumps it shares


@dataclass(frozen=True)
class RemnantModel:
    """What a remnant is like. Lengths are in units of its radius (the mean radius of the forward shock).

    The scale is that of a remnant of a few centuries such as Tycho or Kepler (review: Vink 2012, A&ARv 20,
    49). Densities, temperatures, abundances and broadenings are not a fit to one: they are chosen so that the
    shell outshines the ejecta at 1 keV and the ejecta outshine the shell at the Fe K lines.

    Attributes
    ----------
    radius_pc, distance_kpc : float
        Size and distance.
    expansion : float
        Radius over age, km/s. Ejecta expand freely, `v = r / t`.
    shock_deceleration : float
        Speed of the forward shock over radius / age (2/5 for Sedov, 1 for free expansion). The shocked medium
        moves with 3/4 of it.
    contact, reverse : float
        Radius of the contact discontinuity and of the reverse shock.
    ambient_density : float
        Hydrogen atoms per cm3 in front of the shock.
    ambient_gradient : float
        Natural logarithm of the density ratio across one radius.
    ejecta_density : float
        Hydrogen-equivalent density of the shocked ejecta, cm-3.
    medium_temperature, ejecta_temperature : float
        Typical electron temperatures, keV.
    medium_broadening, ejecta_broadening : float
        Standard deviation along the line of sight, km/s. A shock that heats each ion by itself gives
        `sqrt(3) / 4` of its speed whatever the ion's mass (3/16 m v^2 = kT); electrons are much colder.
    clumpiness : float
        Standard deviation of the logarithm of the ejecta's density.
    asymmetry : float
        Strength of the large-scale distortion of the shock and of the plume of iron, 0 for a sphere.
    """

    radius_pc: float = 2.5
    distance_kpc: float = 3.2
    expansion: float = 5800.0
    shock_deceleration: float = 0.6
    contact: float = 0.84
    reverse: float = 0.52
    ambient_density: float = 1.0
    ambient_gradient: float = 0.35
    ejecta_density: float = 0.27
    medium_temperature: float = 0.9
    ejecta_temperature: float = 4.0
    medium_broadening: float = 1500.0
    ejecta_broadening: float = 220.0
    clumpiness: float = 0.8
    asymmetry: float = 1.0

    def __post_init__(self):
        if not 0 < self.reverse < self.contact < 1:
            raise ValueError(
                f"expected 0 < reverse < contact < 1, found reverse={self.reverse}, contact={self.contact}"
            )


def remnant(model, shape, radius_pixels, cells_per_pixel=2, seed=0):
    """Gas of a remnant in the middle of a field.

    Parameters
    ----------
    model : RemnantModel
    shape : (int, int)
        Sky pixels (y, x) of the field.
    radius_pixels : float
        Mean radius of the forward shock in pixels; half the shorter side, less a margin of at least a sixth.
    cells_per_pixel : int
        Cells across a pixel.
    seed : int
        Seed of all random fields.

    Returns
    -------
    list of Gas
        The shocked medium and the shocked ejecta, in a box as deep as its longer side.

    Raises
    ------
    ValueError
        If the remnant does not fit in the field.
    """
    if radius_pixels * 1.2 > min(shape) / 2:
        raise ValueError(
            f"radius_pixels must be at most {min(shape) / 2.4:.1f} for {shape} pixels, found {radius_pixels}"
        )
    rng = np.random.default_rng(seed)
    size = [n * cells_per_pixel for n in (max(shape), *shape)]
    box = _Box(model, size, radius_pixels * cells_per_pixel, rng)
    distance = model.distance_kpc * 1e3
    cell = model.radius_pc / (radius_pixels * cells_per_pixel)
    norm = ELECTRONS_PER_HYDROGEN * cell**3 / (4 * np.pi * distance**2) * CM_PER_PC
    return [_medium(model, box, norm), _ejecta(model, box, norm)]


class _Box:
    """Coordinates in units of the radius, random fields, and the surfaces that both gases share."""

    def __init__(self, model, size, radius, rng):
        axes = [(np.arange(n) - (n - 1) / 2) / radius for n in size]
        self.rng, self.size, self.cell = rng, size, 1 / radius
        self.crop = tuple(slice((size[0] - n) // 2, (size[0] - n) // 2 + n) for n in size)
        self.z, self.y, self.x = np.meshgrid(*axes, indexing="ij", sparse=True)
        self.r = np.sqrt(self.z**2 + self.y**2 + self.x**2)
        self.dense_side = self.along(_direction(rng))
        self.large, ripple = self.field(4.0, smallest=0.3), self.field(3.5, smallest=0.05)
        # Cosine to the plume's axis, from 0 at 45 degrees to 1 on it.
        cosine = self.along(_direction(rng)) / np.maximum(self.r, self.cell)
        self.plume = model.asymmetry * np.clip((cosine - 0.7) / 0.3, 0, 1)
        self.shock = 1 - 0.05 * model.asymmetry * (self.dense_side + 0.5 * self.large) + 0.03 * self.plume
        # The contact discontinuity is unstable (Rayleigh-Taylor) and grows fingers.
        fingers = 0.05 * ripple + 0.08 * self.plume
        self.contact = self.shock * np.minimum(model.contact * (1 + fingers), 0.98)

    def field(self, slope, smallest, largest=0.6):
        """Gaussian random field over the box, lengths in units of its longest side."""
        return gaussian_field(self.rng, self.size[0], slope, smallest, largest)[self.crop]

    def along(self, direction):
        """Coordinate along a unit vector (z, y, x)."""
        return direction[0] * self.z + direction[1] * self.y + direction[2] * self.x

    def shell(self, inner, outer):
        """Fraction of each cell between two surfaces; continuous, so that rounding cannot flip a cell."""
        below, above = (outer - self.r) / self.cell + 0.5, (self.r - inner) / self.cell + 0.5
        return np.clip(below, 0, 1) * np.clip(above, 0, 1)


def _direction(rng):
    vector = rng.standard_normal(3)
    return vector / np.sqrt((vector**2).sum())


def _medium(model, box, norm):
    ambient = np.exp(model.ambient_gradient * box.dense_side + 0.2 * box.field(3.5, 0.05, 0.4))
    depth = box.r / box.shock
    density = STRONG_SHOCK * model.ambient_density * ambient * depth**3
    # Equal ram pressure makes the shock slow, and the gas cool, where the medium is dense.
    kT = model.medium_temperature * ambient**-0.3 * (0.8 + 0.3 * depth**4)
    velocity = 0.75 * model.shock_deceleration * model.expansion * box.z * np.ones_like(box.r)
    abundances = {"N": 2.0, "Fe": 0.7, "Ni": 0.7}
    measure = norm * density**2 * box.shell(box.contact, box.shock)
    return Gas(measure, np.clip(kT, *KT_RANGE), velocity, model.medium_broadening, abundances)


def _ejecta(model, box, norm):
    depth = np.maximum(box.r / box.contact, 0.1)
    reverse = model.reverse / model.contact * box.contact * (1 + 0.08 * box.large)
    clumps = np.exp(model.clumpiness * box.field(2.8, 0.012, 0.3) - model.clumpiness**2 / 2)
    density = model.ejecta_density * clumps / depth * (1 + 0.6 * box.plume)
    own = {name: box.field(3.2, 0.03, 0.5) for name in ("O", "Mg", "Si", "Fe")}
    abundances = {}
    for name, (peak, radius, width) in LAYERS.items():
        clump = MIXED.get(name, name)
        centre = radius + 0.6 * width * box.large + (0.25 * box.plume if clump == "Fe" else 0)
        layer = 0.1 + np.exp(-(((depth - centre) / width) ** 2))
        abundances[name] = peak * layer * np.exp(0.5 * own[clump] - 0.125)
    kT = model.ejecta_temperature * clumps**-0.2 * (1.7 - depth)
    velocity = model.expansion * box.z * np.ones_like(box.r)
    measure = norm * density**2 * box.shell(reverse, box.contact)
    return Gas(measure, np.clip(kT, *KT_RANGE), velocity, model.ejecta_broadening, abundances)
