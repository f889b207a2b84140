"""Harder scenes: skies that a model of moving gas does not expect, and data that are not what their responses say."""

from dataclasses import replace

import numpy as np

from hifred.simulate.catalogue import PIXELS, RADIUS, even_edges, realistic_cameras, realistic_plan
from hifred.simulate.fields import gaussian_field
from hifred.simulate.plasma import ELEMENTS
from hifred.simulate.point import PointSource
from hifred.simulate.remnant import KT_RANGE, RemnantModel, remnant
from hifred.simulate.scenes import Plan, register

SOFT = (0.5, 1.36, 2400)  # keV, keV, energies: those of realistic-1kev
OWN = 1000  # third number of the seeds of what is random here, besides the gas: no camera has it
WIDENING = 1.1
GAIN = 2e-3  # keV
BACKGROUND = 0.3
POINT_SHARE, POINT_OFFSET = 0.3, 8.0  # of the photons; pixels from the middle
OXYGEN = ("C", "N", "O")
APART = 0.3  # radii over which the two gases give way to each other
TILT = np.deg2rad(35.0)  # between the line of sight and the axis along which the two gases part
SLOW = 0.6  # speed of the oxygen over that of the other ejecta at the same place

_SEEN = " The instruments are those of realistic-1kev."


@register(
    "two-gases",
    "A remnant at 0.5 to 1.36 keV whose oxygen (with carbon and nitrogen) was thrown to one side and all heavier "
    "elements to the other, at different speeds: at the same place on the sky their lines are shifted in opposite "
    "directions." + _SEEN,
)
def _two_gases(seed):
    model = RemnantModel(ambient_density=0.25, ejecta_density=0.5, ejecta_temperature=1.2, ejecta_broadening=300.0)
    medium, ejecta = remnant(model, PIXELS, RADIUS, seed=seed)
    edges = even_edges(*SOFT)
    return Plan([medium, *_parted(ejecta, seed)], edges, realistic_cameras(edges, 40, 14))


@register(
    "steady-remnant",
    "An old remnant at 0.5 to 1.36 keV that hardly expands any more: lines do not move, but their strengths vary over "
    "the sky." + _SEEN,
)
def _steady(seed):
    model = RemnantModel(
        expansion=50.0,
        medium_temperature=0.45,
        ejecta_temperature=1.2,
        medium_broadening=250.0,
        ejecta_broadening=150.0,
    )
    edges = even_edges(*SOFT)
    return Plan(remnant(model, PIXELS, RADIUS, seed=seed), edges, realistic_cameras(edges, 40, 14))


@register(
    "absorbed",
    "The remnant of realistic-1kev behind clouds: the column of hydrogen varies over the sky by a factor of several, "
    "and with it the depth of the absorption edges of oxygen (0.54 keV), iron (0.71) and neon (0.87)." + _SEEN,
)
def _absorbed(seed):
    clouds = gaussian_field(np.random.default_rng((seed, OWN)), PIXELS[0], 4.0, 0.08)[0]
    column = 0.25 * np.exp(0.5 * (clouds - clouds.mean()) / clouds.std())
    return replace(realistic_plan(seed), column_density=column)


@register(
    "point-source",
    "The remnant of realistic-1kev with a point source off its middle, which has no lines and 30% of all photons."
    + _SEEN,
)
def _point_source(seed):
    turn = np.random.default_rng((seed, OWN)).uniform(0, 2 * np.pi)
    row, column = (
        int(n // 2 + np.rint(POINT_OFFSET * part(turn))) for n, part in zip(PIXELS, (np.sin, np.cos), strict=True)
    )
    return replace(realistic_plan(seed), points=(PointSource((row, column), POINT_SHARE),))


@register(
    "wrong-psf",
    "The remnant of realistic-1kev seen with point-spread functions that are 10% wider than the responses of the data "
    "say.",
)
def _wrong_psf(seed):
    return _mistaken(realistic_plan(seed), realistic_cameras(even_edges(*SOFT), 40, 14, widening=WIDENING))


@register(
    "wrong-gain",
    "The remnant of gaussian-6kev, whose iron moves fast, seen by instruments like those of realistic-1kev; the "
    "calorimeter measures energies 2 eV higher than its response says.",
)
def _wrong_gain(seed):
    edges = even_edges(6.19, 6.91, 2000)
    plan = Plan(remnant(RemnantModel(), PIXELS, RADIUS, seed=seed), edges, realistic_cameras(edges, 40, 14))
    return _mistaken(plan, realistic_cameras(edges, 40, 14, gain=GAIN))


@register(
    "high-background",
    "The remnant of realistic-1kev under a background that is known in the mean, has no structure, and makes 30% of "
    "the counts of each instrument." + _SEEN,
)
def _high_background(seed):
    plan = realistic_plan(seed)
    return replace(plan, cameras=tuple(replace(camera, background=BACKGROUND) for camera in plan.cameras))


def _mistaken(plan, cameras):
    """A plan seen by other cameras than its responses say."""
    wrong = zip(cameras, plan.cameras, strict=True)
    return replace(plan, cameras=tuple(replace(true, assumed=given) for true, given in wrong))


def _parted(ejecta, seed):
    """Oxygen and its neighbours, and all heavier elements, on opposite sides along an axis near the line of sight."""
    turn = np.random.default_rng((seed, OWN)).uniform(0, 2 * np.pi)
    axis = np.cos(TILT), np.sin(TILT) * np.sin(turn), np.sin(TILT) * np.cos(turn)
    shape = np.shape(ejecta.emission_measure)
    radius = RADIUS * shape[1] / PIXELS[0]
    places = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / radius for n in shape), indexing="ij", sparse=True)
    along = sum(part * place for part, place in zip(axis, places, strict=True))
    near = 1 / (1 + np.exp(-2 * along / APART))
    oxygen = {element: ejecta.abundances.get(element, 1.0) for element in OXYGEN}
    heavy = {element: value for element, value in ejecta.abundances.items() if element not in OXYGEN}
    return [
        replace(
            ejecta, emission_measure=ejecta.emission_measure * near, velocity=SLOW * ejecta.velocity,
            temperature=np.clip(0.5 * ejecta.temperature, *KT_RANGE),
            abundances=oxygen | dict.fromkeys(set(ELEMENTS[1:]) - set(OXYGEN), 0.0),
        ),
        replace(
            ejecta, emission_measure=ejecta.emission_measure * (1 - near), abundances=heavy | dict.fromkeys(OXYGEN, 0.0)
        ),
    ]  # fmt: skip
