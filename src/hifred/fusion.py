"""The front door: data sets in, one cube out."""

import hashlib
import importlib.metadata
import os
from collections.abc import Sequence
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np

from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.factorisation import factor_problem, parts_of, templates_of
from hifred.poisson import PoissonTerm
from hifred.priors import CubePrior, DopplerSheets, LowRankSobolev, Prior, SubspacePrior
from hifred.priors.rank_one import RankOne, rank_one
from hifred.progress import ProgressBar
from hifred.solvers import (
    EM,
    Checkpoint,
    CubeProblem,
    FactorEM,
    FactorState,
    Newton,
    PenalizedProblem,
    PrimalDual,
    Problem,
    Record,
    Solver,
    Stopping,
    SubspaceProblem,
    minimise,
    solution_cube,
)
from hifred.solvers.newton import BARRIER

DEFAULT_PRIOR = LowRankSobolev()


def fuse(
    datasets: Sequence[Dataset],
    prior: Prior | None = None,
    max_iterations: int = 200,
    tolerance: float | None = None,
    progress: bool = True,
    *,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: float = 30.0,
) -> FusedCube:
    """Fuse data sets of one sky into one cube.

    Minimises `sum_k sum_i [mu_ki - n_ki log mu_ki] + phi(z)` over cubes `z >= 0`, with `mu_k = A_k z + b_k` (Lascar,
    Bobin & Acero 2025, A&A 694, A34). A long run can be interrupted with Ctrl-C: the best cube so far is returned.

    Parameters
    ----------
    datasets : sequence of Dataset
        Two or more data sets of the same sky, their responses on one grid (one data set works too: deconvolution).
    prior : Prior, optional
        What is believed of the sky; by default `LowRankSobolev()`: weights that scale with the data, times a
        constant strength (see there).
    max_iterations : int
        Largest number of iterations.
    tolerance : float, optional
        Relative change of the objective, and optimality residual, below which the run has converged; by default what
        suits the prior (`prior.tolerance`).
    progress : bool
        Show a progress bar.
    checkpoint : path, optional
        File to keep the state of the run in; a run that finds it there goes on from it and ends with the same cube.
    checkpoint_every : float
        Seconds between writes of that file.

    Returns
    -------
    FusedCube

    Raises
    ------
    ValueError
        If there is no data set, the grids differ or do not overlap in energy, precisions differ, an option is out of
        range, there is no count at all, or there are counts where neither sky nor background can put any.
    """
    try:
        datasets = list(datasets)
    except TypeError:
        raise ValueError(f"datasets: expected a list of Dataset objects, found {type(datasets).__name__}") from None
    prior = DEFAULT_PRIOR if prior is None else prior
    grid = _require_one_grid(datasets)
    _require_possible(datasets)
    if tolerance is None:
        tolerance = prior.tolerance if isinstance(prior, Prior) else 0.0  # what is no prior is named further on
    stopping = Stopping(max_iterations, tolerance, isinstance(prior, CubePrior) and prior.ends_at_noise)
    mark = fingerprint(datasets, prior)
    saved = None if checkpoint is None else Checkpoint(checkpoint, mark, checkpoint_every)
    solver, problem = assemble(datasets, prior)
    names = [dataset.name for dataset in datasets]
    with ProgressBar(names, max_iterations, shown=progress) as bar:
        solution = minimise(solver, problem, stopping, observers=[bar], checkpoint=saved)
    values = solution_cube(solver, problem, solution)
    parts = None
    if isinstance(prior, DopplerSheets) and isinstance(solution.state, FactorState):
        templates = templates_of(prior, grid, values.shape[0], values.dtype)
        parts = parts_of(solution.state.factors, templates)
    return FusedCube(
        values, solution.status.word, solution.status.sentence, _table(solution.history), grid,
        _provenance(datasets, prior, stopping, mark), parts,
    )  # fmt: skip


def assemble(datasets: Sequence[Dataset], prior: Prior) -> tuple[Solver, Problem]:
    """The solver for a prior, and the problem it solves."""
    terms = [dataset.term() for dataset in datasets]
    start = rank_one(terms)
    if isinstance(prior, DopplerSheets):
        return FactorEM(), factor_problem(datasets, terms, start, prior, _require_one_grid(datasets))[0]
    if isinstance(prior, SubspacePrior):
        return Newton(), _subspace_problem(datasets, terms, start, prior)
    if not isinstance(prior, CubePrior):
        raise ValueError(f"prior: expected an object of hifred.priors, found {type(prior).__name__}")
    penalty = prior.prepare(terms, start)
    data = CubeProblem.of(terms, start.cube)
    return (EM(), data) if penalty is None else (PrimalDual(), PenalizedProblem(data, penalty))


def _subspace_problem(
    datasets: Sequence[Dataset], terms: Sequence[PoissonTerm], start: RankOne, prior: SubspacePrior
) -> SubspaceProblem:
    """Data terms on the maps of the principal spectra of the data set with the sharpest energies."""
    sharpest = min(range(len(datasets)), key=lambda k: datasets[k].response.energy_blur)
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


def fingerprint(datasets: Sequence[Dataset], prior: Prior) -> str:
    """SHA-256 over data, kernels and prior: what the course of a run depends on."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(dataset.response.dtype.str.encode())
        for part in (dataset.counts, dataset.background, dataset.mask, *dataset.response.recipe.parts()):
            if isinstance(part, np.ndarray):
                digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
            else:
                digest.update(repr(part).encode())
    digest.update(repr(prior).encode())
    digest.update(importlib.metadata.version("hifred").encode())
    return digest.hexdigest()


def _require_one_grid(datasets: Sequence[Dataset]):
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


def _require_possible(datasets: Sequence[Dataset]) -> None:
    """Check that there is something to fuse, and that some sky can explain every count."""
    if not any(dataset.counts[dataset.mask].any() for dataset in datasets):
        names = ", ".join(dataset.name for dataset in datasets)
        raise ValueError(f"{names}: expected some counts, found none in any bin that is used")
    for dataset in datasets:
        reach = dataset.predict(np.ones(dataset.response.in_shape, dataset.response.dtype))
        impossible = int((dataset.mask & (dataset.counts > 0) & (reach <= 0)).sum())
        if impossible:
            raise ValueError(
                f"{dataset.name}: expected counts only where the response or the background has some, found them in "
                f"{impossible} bins that have neither; mask these or give a background"
            )


def _table(history: Sequence[Record]) -> np.recarray:
    """History as a table."""
    scalars = ("objective", "data_term", "prior_term", "residual", "time")
    dtype = [
        ("iteration", "i4"),
        *((name, "f8") for name in scalars),
        ("cstat", "f8", (len(history[0].cstat),)),
    ]
    rows = [(r.iteration, *(getattr(r, name) for name in scalars), r.cstat) for r in history]
    return np.array(rows, dtype=dtype).view(np.recarray)


def _provenance(datasets: Sequence[Dataset], prior: Prior, stopping: Stopping, mark: str) -> dict:
    """Versions, options and inputs."""
    with_area = any(dataset.response.recipe.has_area for dataset in datasets)
    return {
        "versions": {
            name: importlib.metadata.version(name) for name in ("hifred", "jax", "equinox", "numpy", "astropy")
        },
        "device": jax.devices()[0].device_kind,
        "prior": repr(prior),
        "max_iterations": stopping.max_iterations,
        "tolerance": stopping.tolerance,
        "fingerprint": mark,
        "unit": "photon cm-2 s-1" if with_area else "count",
        "inputs": [
            {
                "name": dataset.name,
                "shape": list(dataset.counts.shape),
                "counts": float(dataset.counts[dataset.mask].sum(dtype=float)),
                "sha256": hashlib.sha256(np.ascontiguousarray(dataset.counts).tobytes()).hexdigest(),
            }
            for dataset in datasets
        ],
    }
