"""From data sets and a prior to a solver and the problem it solves."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import jax.numpy as jnp

from hifred.data.dataset import Dataset
from hifred.factorisation import factor_problem, one_spectrum
from hifred.grid import CubeGrid
from hifred.poisson import PoissonTerm
from hifred.priors import CubePrior, Denoiser, DopplerSheets, Prior, SubspacePrior
from hifred.priors.prior import AnalysisL1
from hifred.priors.rank_one import RankOne
from hifred.solvers import (
    EM,
    CubeProblem,
    DenoisedEM,
    DenoisedProblem,
    FactorEM,
    Newton,
    PenalizedProblem,
    PrimalDual,
    Problem,
    Solution,
    Solver,
    SubspaceProblem,
)
from hifred.solvers.newton import BARRIER
from hifred.solvers.rank_one import rank_one


def assemble(datasets: Sequence[Dataset], prior: Prior, start: RankOne | None = None) -> tuple[Solver, Problem]:
    """The solver for a prior, and the problem it solves, from a start that may be known already (`start_of`)."""
    terms = [dataset.term() for dataset in datasets]
    start = start_of(datasets, prior) if start is None else start
    if isinstance(prior, DopplerSheets):
        return FactorEM(), factor_problem(datasets, terms, start, prior, require_one_grid(datasets))[0]
    if isinstance(prior, SubspacePrior):
        return Newton(), _subspace_problem(datasets, terms, start, prior)
    if isinstance(prior, Denoiser):
        return DenoisedEM(), _denoised_problem(datasets, terms, start, prior)
    if not isinstance(prior, CubePrior):
        raise ValueError(f"prior: expected an object of hifred.priors, found {type(prior).__name__}")
    penalty = prior.prepare(terms, start)
    if isinstance(penalty, AnalysisL1):
        return PrimalDual(), PenalizedProblem(CubeProblem.of(terms, start.cube), penalty)
    return EM(), CubeProblem.of(terms, start.cube, penalty)


def start_of(
    datasets: Sequence[Dataset], prior: Prior, simplest: RankOne | None = None, onward: Solution | None = None
) -> RankOne:
    """Where the fit of a prior starts: of several gases, from the best single one.

    The simplest sky, where other fits of the same data start, may be known already, and so may a fit of a single gas,
    which goes on.
    """
    simplest = rank_one(datasets) if simplest is None else simplest
    if isinstance(prior, DopplerSheets) and prior.light_strength is not None and not prior.single:
        return one_spectrum(datasets, simplest, prior.light_strength, require_one_grid(datasets), onward)
    return simplest


def _denoised_problem(
    datasets: Sequence[Dataset], terms: list[PoissonTerm], start: RankOne, prior: Denoiser
) -> DenoisedProblem:
    """Data terms on the cube and the denoised maps of the spectra of the data set with the sharpest energies."""
    sharpest = sharpest_of(datasets)
    denoised = prior.prepare(terms, sharpest, datasets[sharpest].response, start)
    return DenoisedProblem(CubeProblem.of(terms, start.cube), denoised, jnp.asarray(prior.tie, start.image.dtype))


def sharpest_of(datasets: Sequence[Dataset]) -> int:
    """Which data set has the sharpest energies."""
    return min(range(len(datasets)), key=lambda k: datasets[k].response.energy_blur)


def _subspace_problem(
    datasets: Sequence[Dataset], terms: Sequence[PoissonTerm], start: RankOne, prior: SubspacePrior
) -> SubspaceProblem:
    """Data terms on the maps of the principal spectra of the data set with the sharpest energies."""
    sharpest = sharpest_of(datasets)
    basis = prior.basis(terms[sharpest], datasets[sharpest].response, start)
    # Maps of about 1, whatever the units of the cube: the squares of faint ones would leave the range of float32.
    unit = float(start.image.mean())
    cube = start.cube
    start = RankOne(start.spectrum, start.image / unit)
    restricted = [
        PoissonTerm(dataset.response.restricted(unit * basis.spectra), term.counts, term.background, term.mask)
        for dataset, term in zip(datasets, terms, strict=True)
    ]
    dtype = start.image.dtype
    sensitivity = reduce(add, [term.sensitivity() for term in terms])
    penalty = prior.prepare(restricted, start, basis)
    maps = jnp.zeros((basis.variance.size, *start.image.shape), dtype).at[0].set(start.image)
    return SubspaceProblem(
        tuple(restricted), jnp.asarray(unit * basis.mean, dtype), jnp.asarray(basis.shapes, dtype),
        BARRIER * sensitivity * cube, penalty, maps,
    )  # fmt: skip


def require_one_grid(datasets: Sequence[Dataset]) -> CubeGrid | None:
    """Check that all data sets start from one cube; give its grid, if any of them knows it."""
    if not datasets:
        raise ValueError("datasets: expected at least one data set, found none")
    for dataset in datasets:
        if not isinstance(dataset, Dataset):
            raise ValueError(f"datasets: expected Dataset objects, found {type(dataset).__name__}")
    first = datasets[0]
    known = next((dataset for dataset in datasets if dataset.grid is not None), None)
    for dataset in datasets[1:]:
        if dataset.grid is not None and known is not None and known.grid is not None and known is not dataset:
            known.grid.require_same(dataset.grid, (known.name, dataset.name))
        if dataset.response.in_shape != first.response.in_shape:
            raise ValueError(
                f"the responses differ: {first.name} starts from a cube of shape {first.response.in_shape}, "
                f"{dataset.name} from {dataset.response.in_shape}"
            )
        if dataset.response.dtype != first.response.dtype:
            raise ValueError(
                f"the responses differ: {first.name} is {first.response.dtype}, {dataset.name} {dataset.response.dtype}"
            )
    return None if known is None else known.grid
