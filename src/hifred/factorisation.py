"""From data sets and a sky model of moving gases to a problem, and from its solution to parts for people."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter1d

from hifred.data.dataset import Dataset
from hifred.grid import CubeGrid
from hifred.parts import Parts
from hifred.poisson import PoissonTerm
from hifred.priors.doppler_sheets import DopplerSheets, start_factors
from hifred.priors.doppler_shift import TemplateGrid, template_grid
from hifred.priors.rank_one import RankOne
from hifred.priors.relative import RelativeSmoothness, camera_weights, even_weights
from hifred.solvers.factors import FactorProblem, Factors, FactorTerm

# The mean spectrum that templates start from is smoothed by this, in bins.
SMOOTH = 2.0


def templates_of(prior: DopplerSheets, grid: CubeGrid | None, energies: int, dtype) -> TemplateGrid:
    """The grid of templates and velocities for a cube.

    Raises
    ------
    ValueError
        If gas may move but the cube has no energies.
    """
    if grid is None and prior.vmax > 0:
        raise ValueError(
            "DopplerSheets: expected data sets with a grid, whose energies say what a velocity is, found none; give "
            "them one, or vmax=0"
        )
    # Without energies nothing moves: any will do.
    edges = energies + np.arange(energies + 1.0) if grid is None else grid.energy_edges
    return template_grid(edges, prior.vmax, prior.step, prior.width, dtype)


def factor_problem(
    datasets: Sequence[Dataset],
    terms: Sequence[PoissonTerm],
    start: RankOne,
    prior: DopplerSheets,
    grid: CubeGrid | None,
) -> tuple[FactorProblem, TemplateGrid]:
    """The problem of a factorised cube.

    Pixels are tied where the spectra of the sharpest camera whose pixels are those of the sky agree; evenly without.
    """
    dtype = start.image.dtype
    energies, *sky = datasets[0].response.in_shape
    templates = templates_of(prior, grid, energies, dtype)
    cameras = [k for k, dataset in enumerate(datasets) if dataset.response.out_shape[1:] == tuple(sky)]
    sharpest = min(cameras, key=lambda k: datasets[k].response.sky_blur, default=None)
    sky_shape = (sky[0], sky[1])
    weights = even_weights(sky_shape) if sharpest is None else camera_weights(terms[sharpest], sky_shape)
    spectrum = gaussian_filter1d(np.asarray(start.spectrum, dtype=float), SMOOTH)
    centres = np.arange(energies) + energies + 0.5 if grid is None else grid.energies
    factors = start_factors(
        prior, spectrum, templates.energies, centres, np.asarray(start.image, dtype=float), templates.velocities
    )
    components = templates.velocities.size * prior.templates

    def smoothness(space: float, along: float) -> RelativeSmoothness:
        return RelativeSmoothness(*(jnp.asarray(value, dtype) for value in (weights, space, along)))

    problem = FactorProblem(
        tuple(FactorTerm.of(dataset, components) for dataset in datasets),
        templates.shift,
        start.image,
        smoothness(prior.strength, 2 * prior.strength),
        smoothness(3 * prior.strength, 0.0),
        Factors(*(jnp.asarray(factor, dtype) for factor in factors)),
    )
    return problem, templates


def parts_of(factors: Factors, templates: TemplateGrid) -> Parts:
    """Factors as host arrays with their energies and velocities."""
    return Parts(
        templates.energies, np.array(factors.templates), templates.velocities, np.array(factors.profiles),
        np.array(factors.mixture),
    )  # fmt: skip
