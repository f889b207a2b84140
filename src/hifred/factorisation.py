"""From data sets and a sky model of moving gases to a problem, and from its solution to parts for people."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.ndimage import gaussian_filter1d

from hifred.absorption import cross_section
from hifred.data.dataset import Dataset
from hifred.grid import CubeGrid
from hifred.parts import Parts
from hifred.poisson import PoissonTerm
from hifred.priors.doppler_sheets import DopplerSheets, start_factors
from hifred.priors.doppler_shift import OPAQUE, TemplateGrid, template_grid
from hifred.priors.rank_one import RankOne
from hifred.priors.relative import RelativeSmoothness, camera_weights, even_weights
from hifred.priors.template_smoothness import TemplateSmoothness
from hifred.solvers.driver import Solution, Stopping, minimise, require_finished
from hifred.solvers.factor_term import FactorTerm
from hifred.solvers.factors import FactorEM, FactorProblem, Factors, FactorState

# The mean spectrum that templates start from is smoothed by this, in bins, and raised by this part of its mean.
SMOOTH, FAINT = 2.0, 1e-3
# Light is compared between pixels no farther apart than this.
NEAREST = 1.5
# Penalty on a step in light, in log likelihood, from which on only its logarithm counts: 24 in place of 100.
EDGE = 10.0
# Light strengths below this have edges as this one, which single precision can hold.
FAINTEST = 1e-30
# A column of an absorber that is sought starts here, 1e22 cm-2.
COLUMN = 0.1
# Steps of the fit of a single spectrum, and the least light of a pixel over the mean.
ONE_SPECTRUM, LEAST = 60, 1e-6


def require_energies(prior: DopplerSheets, grid: CubeGrid | None) -> None:
    """Check that a cube has energies where a velocity is asked for.

    Raises
    ------
    ValueError
        If gas may move, or lines are smoothed by a velocity, but the cube has none.
    """
    if grid is None and (prior.speed > 0 or prior.width > 0):
        raise ValueError(
            "DopplerSheets: expected data sets with a grid, whose energies say what a velocity is, found none; give "
            "them one, or vmax=0 and no smoothing"
        )


def templates_of(prior: DopplerSheets, grid: CubeGrid | None, energies: int, dtype) -> TemplateGrid:
    """The grid of templates and velocities for a cube.

    Raises
    ------
    ValueError
        As `require_energies`.
    """
    require_energies(prior, grid)
    # Without energies nothing moves: any will do.
    edges = energies + np.arange(energies + 1.0) if grid is None else grid.energy_edges
    return template_grid(edges, prior.speed, prior.step, prior.width, dtype)


def factor_problem(
    datasets: Sequence[Dataset],
    terms: Sequence[PoissonTerm],
    start: RankOne,
    prior: DopplerSheets,
    grid: CubeGrid | None,
) -> tuple[FactorProblem, TemplateGrid]:
    """The problem of a factorised cube.

    Profiles are relative to the image of the start. Pixels are tied where the spectra of the sharpest camera whose
    pixels are those of the sky agree; evenly without.
    """
    strength, light_strength, gases, sheets = prior.strength, prior.light_strength, prior.templates, prior.sheets
    if strength is None or light_strength is None or prior.vmax is None or gases is None or sheets is None:
        raise ValueError(f"{prior.unsettled[0]}: expected a number, found None: `hifred.tuning` chooses it from data")
    dtype = start.image.dtype
    energies, *sky = datasets[0].response.in_shape
    templates = templates_of(prior, grid, energies, dtype)
    if templates.velocities.size == 1:
        sheets = 1  # without motion, others would be copies
    cameras = [k for k, dataset in enumerate(datasets) if dataset.response.out_shape[1:] == tuple(sky)]
    sharpest = min(cameras, key=lambda k: datasets[k].response.sky_blur, default=None)
    sky_shape = (sky[0], sky[1])
    weights = even_weights(sky_shape) if sharpest is None else camera_weights(terms[sharpest], sky_shape)
    moves = templates.velocities.size > 1
    seeks = moves and prior.column_density is None
    column = COLUMN if seeks else moves * (prior.column_density or 0.0)
    centres = np.arange(energies) + energies + 0.5 if grid is None else grid.energies
    spectrum = np.asarray(start.spectrum / templates.shift.width, dtype=float)
    spectrum = spectrum + FAINT * spectrum.mean()
    # Edges of the absorber are in the mean spectrum; its lines, narrower than instruments see, are not.
    freed = column * cross_section(centres, lines=False)
    # What may be no more than the rise above is freed to the mean at most: where all is hidden, nothing tells.
    emitted = gaussian_filter1d(spectrum * np.exp(np.minimum(freed - freed.min(), -np.log(FAINT))), SMOOTH)
    gas, profiles, mixture = start_factors(
        gases, sheets, prior.speed, emitted, templates.energies, centres, np.asarray(start.image, dtype=float),
        templates.velocities,
    )  # fmt: skip
    hidden = np.clip(column * np.asarray(templates.shift.rest_opacity, dtype=float), -OPAQUE, OPAQUE)
    factors = gas * np.exp(-hidden)[:, None], profiles, mixture, np.asarray(column)
    components = templates.velocities.size * gases
    edge = EDGE / max(light_strength, FAINTEST)

    def smoothness(*parts: np.ndarray | float, second: bool = False) -> RelativeSmoothness:
        return RelativeSmoothness(*(jnp.asarray(part, dtype) for part in parts), second=second)

    data = tuple(FactorTerm.of(dataset, components) for dataset in datasets)
    unit, totals = _counts_per_photon(data, start, components), templates.shift.totals()
    photons = start.spectrum.sum() * start.image.sum()
    # Lines of gas at rest may be as narrow as a bin.
    stiffness = prior.template_strength if moves else 0.0
    along_energy = TemplateSmoothness.of(totals, unit * photons / gases, stiffness)
    problem = FactorProblem(
        data,
        templates.shift,
        totals,
        start.image,
        unit,
        smoothness(weights, strength, 2 * strength, second=True),
        smoothness(weights, 3 * strength, 0.0, second=True),
        smoothness(even_weights(sky_shape, NEAREST), light_strength, 0.0, edge),
        along_energy,
        Factors(*(jnp.asarray(factor, dtype) for factor in factors)),
        seeks,
    )
    return problem, templates


def single_gas(light_strength: float) -> DopplerSheets:
    """The sky of one spectrum times an image, with the penalty on light alone."""
    return DopplerSheets(0.0, light_strength, templates=1, sheets=1, vmax=0.0, template_strength=0.0)


def one_spectrum(
    datasets: Sequence[Dataset],
    simplest: RankOne,
    light_strength: float,
    grid: CubeGrid | None,
    onward: Solution | None = None,
) -> RankOne:
    """The best single spectrum times an image, with the penalty on light: where fits of several gases start.

    A fit of it may have been made in part.
    """
    terms = [dataset.term() for dataset in datasets]
    problem, _ = factor_problem(datasets, terms, simplest, single_gas(light_strength), grid)
    solution = minimise(FactorEM(), problem, Stopping(ONE_SPECTRUM, 0.0, at_noise=False), onward=onward)
    factors = cast(FactorState, solution.state).factors
    require_finished(solution)
    image = factors.profiles[0, 0]
    # Not dark where the fit is: profiles are relative to it.
    least = LEAST * jnp.maximum(image.mean(), problem.image.mean())
    return RankOne(problem.spectra(factors)[:, 0], jnp.maximum(image, least))


@eqx.filter_jit
def _counts_per_photon(data: Sequence[FactorTerm], start: RankOne, components: int) -> Float[Array, ""]:
    """Mean over the photons of a sky of the counts that each makes, all instruments together."""
    spectra = jnp.zeros((start.spectrum.size, components), start.spectrum.dtype).at[:, 0].set(start.spectrum)
    made = [(term.map_sensitivity(term.fold(spectra))[0] * start.image).sum() for term in data]
    return reduce(add, made) / (start.spectrum.sum() * start.image.sum())


def parts_of(factors: Factors, templates: TemplateGrid) -> Parts:
    """Factors as host arrays with their energies and velocities, as far as the templates are seen."""
    used = templates.used
    return Parts(
        templates.energies[used], np.array(factors.templates)[used], templates.velocities, np.array(factors.profiles),
        np.array(factors.mixture), float(factors.column),
    )  # fmt: skip
