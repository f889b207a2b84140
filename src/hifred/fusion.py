"""The front door: data sets in, one cube out."""

import hashlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace

import jax
import numpy as np

from hifred.assembly import assemble, require_one_grid
from hifred.choice import Choice
from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.factorisation import parts_of, require_energies, templates_of
from hifred.folds import Folds
from hifred.grid import number, whole_numbers
from hifred.priors import CubePrior, DopplerSheets, Prior
from hifred.progress import ProgressBar, tell
from hifred.solvers import (
    Checkpoint,
    FactorState,
    Record,
    Stopping,
    minimise,
    solution_cube,
)
from hifred.solvers.interrupt import Interrupt
from hifred.split import PATIENCE
from hifred.tuning import first_strength, settle, tune, without_choice

DEFAULT_PRIOR = DopplerSheets()
AUTO = "auto"
# So many photons are to be kept back: of fewer, the number alone is uncertain by more than a tenth.
TELLING = 100


def fuse(
    datasets: Sequence[Dataset],
    prior: Prior | None = None,
    max_iterations: int = 200,
    tolerance: float | None = None,
    progress: bool = True,
    *,
    strength: float | str | None = None,
    folds: int = 1,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: float = 30.0,
) -> FusedCube:
    """Fuse data sets of one sky into one cube.

    Minimises `sum_k sum_i [mu_ki - n_ki log mu_ki] + phi(z)` over cubes `z >= 0`, with `mu_k = A_k z + b_k` (Lascar,
    Bobin & Acero 2025, A&A 694, A34). A long run can be interrupted with Ctrl-C: the best cube so far is
    returned; while settings are still being chosen there is none.

    Parameters
    ----------
    datasets : sequence of Dataset
        Two or more data sets of the same sky, their responses on one grid (one data set works too: deconvolution).
    prior : Prior, optional
        What is believed of the sky; by default `DopplerSheets()`, a few gases in moving sheets, all of whose settings
        are chosen from the data.
    max_iterations : int
        Largest number of iterations.
    tolerance : float, optional
        Relative change of the objective, and optimality residual, below which the run has converged; by default what
        suits the prior (`prior.tolerance`). Where the number of iterations of a factorisation is chosen from the data,
        a run has no tolerance by default, and one that is given may end it before.
    progress : bool
        Show a progress bar.
    strength : float or "auto", optional
        Strength of the prior, in place of its own; "auto" chooses it from the data alone (`hifred.tuning.tune`): the
        curve is kept in the provenance. A `DopplerSheets` without a strength is tuned in any case.
    folds : int
        Where settings are chosen from the data, number of random splits that are fitted for that, at the same time, up
        to 6; more make the choice less a matter of chance, and take as many times the work and the memory. Where there
        are too few photons for a choice, a warning says so.
    checkpoint : path, optional
        File to keep the state of the run in; a run that finds it there goes on from it and ends with the same cube.
        Settings that were chosen are kept with it: a run that is asked for the same does not choose again.
    checkpoint_every : float
        Seconds between writes of that file.

    Returns
    -------
    FusedCube

    Raises
    ------
    ValueError
        If there is no data set, the grids differ or do not overlap in energy, precisions differ, an option is out of
        range or has nothing to do (`folds` where all settings are given), there is no count at all, or there are counts
        where neither sky nor background can put any.
    """
    try:
        datasets = list(datasets)
    except TypeError:
        raise ValueError(f"datasets: expected a list of Dataset objects, found {type(datasets).__name__}") from None
    prior = DEFAULT_PRIOR if prior is None else prior
    (folds,) = whole_numbers("folds", [folds])
    if strength is not None and not (isinstance(strength, str) and strength == AUTO):
        strength = number("strength", strength)
    grid = require_one_grid(datasets)
    _require_possible(datasets)
    if isinstance(prior, DopplerSheets):
        require_energies(prior, grid)
    usual = prior.tolerance if isinstance(prior, Prior) else 0.0  # what is no prior is named further on
    stopping = Stopping(
        max_iterations, usual if tolerance is None else tolerance, isinstance(prior, CubePrior) and prior.ends_at_noise
    )
    # What is wrong with the file is said before any work.
    saved = None if checkpoint is None else Checkpoint(checkpoint, "", checkpoint_every)
    prior, stopping, tuning = _chosen(datasets, prior, strength, folds, stopping, saved, tell if progress else None)
    if tolerance is not None:
        stopping = replace(stopping, tolerance=tolerance)  # a number of iterations that was chosen is the most then
    mark = fingerprint(datasets, prior)
    if saved is not None:
        saved.fingerprint = mark
    names = [dataset.name for dataset in datasets]
    # A Ctrl-C while the start is made ends the run after its first step, if not the making itself.
    with Interrupt():
        solver, problem = assemble(datasets, prior)
        with ProgressBar(names, stopping.max_iterations, shown=progress) as bar:
            solution = minimise(solver, problem, stopping, observers=[bar], checkpoint=saved)
    values = solution_cube(solver, problem, solution)
    parts = None
    if isinstance(prior, DopplerSheets) and isinstance(solution.state, FactorState):
        templates = templates_of(prior, grid, values.shape[0], values.dtype)
        parts = parts_of(solution.state.factors, templates)
    return FusedCube(
        values, solution.status.word, solution.status.sentence, _table(solution.history), grid,
        _provenance(datasets, prior, stopping, mark) | ({"tuning": tuning} if tuning else {}), parts,
    )  # fmt: skip


def _chosen(
    datasets: Sequence[Dataset],
    prior: Prior,
    strength: float | str | None,
    folds: int,
    stopping: Stopping,
    saved: Checkpoint | None,
    say: Callable[[str], object] | None,
) -> tuple[Prior, Stopping, dict]:
    """As `_tuned`, or as a checkpoint of the same run has it; what is chosen is kept in the checkpoint."""
    if saved is None:
        return _tuned(datasets, prior, strength, folds, stopping, say)
    asked = fingerprint(datasets, prior, strength, folds, stopping)
    if (found := saved.kept(fingerprint(datasets, type(prior).__name__), asked)) is None:
        settled, ending, tuning = _tuned(datasets, prior, strength, folds, stopping, say)
        found = {"prior": _changed(prior, settled), "stopping": asdict(ending), "tuning": tuning} if tuning else None
    else:
        settled, ending = replace(prior, **found["prior"]), replace(stopping, **found["stopping"])
        tuning = found["tuning"]
    if found is not None:
        saved.keep(asked, found)
    return settled, ending, tuning


def _tuned(
    datasets: Sequence[Dataset],
    prior: Prior,
    strength: float | str | None,
    folds: int,
    stopping: Stopping,
    say: Callable[[str], object] | None,
) -> tuple[Prior, Stopping, dict]:
    """The prior with all its settings, when to stop, and how both were found (empty where nothing was chosen)."""
    found = {}
    automatic = strength == AUTO
    if strength is None:
        automatic = isinstance(prior, DopplerSheets) and prior.strength is None
    elif not isinstance(prior, Prior) or "strength" not in prior.__dataclass_fields__:
        raise ValueError(f"strength: expected a prior that has one, found {prior!r}")
    elif not automatic:
        prior = replace(prior, strength=strength)
    if automatic:
        first_strength(prior)
    if isinstance(prior, DopplerSheets):
        prior = without_choice(prior, require_one_grid(datasets))
    unsettled = isinstance(prior, DopplerSheets) and prior.unsettled not in ((), ("strength",))
    if not unsettled and not automatic and folds != 1:
        raise ValueError(f"folds: expected 1 where no setting is chosen from the data, found {folds}")
    splits = Folds.of(datasets, folds) if unsettled or automatic else None
    if splits is not None:
        found |= splits.to_json()
    if say is not None and splits is not None:
        often = f", {folds} times" if folds > 1 else ""
        say(f"Choosing settings from the data: fits of 85% of the photons{often}, and how well they foretell the rest")
    if splits is not None and splits.held < TELLING:
        warnings.warn(
            f"only {splits.held} photons are kept back to choose settings by, expected {TELLING} or more: the choice "
            "is next to chance",
            stacklevel=4,  # where `fuse` was called
        )
    if isinstance(prior, DopplerSheets) and unsettled:
        prior, choices = settle(datasets, prior, stopping.max_iterations, folds=splits, say=say)
        found["settings"] = [choice.to_json() for choice in choices]
        for choice in choices:
            _warn_at_edge(choice)
    if automatic:
        tuning = tune(datasets, prior, stopping.max_iterations, stopping.tolerance, folds=splits, say=say)
        _warn_at_edge(tuning.curve)
        found |= tuning.to_json()
        prior = replace(prior, strength=tuning.strength)
        # A fit that failed at its first step tells no number: the last one then says so.
        if isinstance(prior, DopplerSheets) and tuning.best_iterations > 0:
            # So near the largest number allowed, the photons kept back may agree for longer.
            chosen = tuning.best_iterations + PATIENCE <= stopping.max_iterations
            stopping = Stopping(tuning.best_iterations, 0.0, at_noise=False, tuned=chosen)
    return prior, stopping, found


def _changed(before: Prior, after: Prior) -> dict:
    """Settings of a prior that differ from those of another."""
    both = {field.name: (getattr(before, field.name), getattr(after, field.name)) for field in fields(after)}
    return {name: new for name, (old, new) in both.items() if new != old}


def _warn_at_edge(choice: Choice) -> None:
    """Say so where the best value is the first or last that was tried."""
    if choice.at_edge is not None:
        warnings.warn(
            f"{choice.name}: the best one, {choice.chosen:.3g}, is the {choice.at_edge} of those that were tried "
            f"({choice.values[0]:.3g} to {choice.values[-1]:.3g}); a better one may lie beyond",
            stacklevel=5,  # where `fuse` was called
        )


def fingerprint(datasets: Sequence[Dataset], *options: object) -> str:
    """SHA-256 over data, kernels, version and options such as the prior: what the course of a run depends on."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(dataset.response.dtype.str.encode())
        for part in (dataset.counts, dataset.background, dataset.mask, *dataset.response.recipe.parts()):
            if isinstance(part, np.ndarray):
                digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
            else:
                digest.update(repr(part).encode())
        if dataset.grid is not None:
            digest.update(np.ascontiguousarray(dataset.grid.energy_edges, dtype=float).tobytes())
    digest.update(repr(options).encode())
    digest.update(importlib.metadata.version("hifred").encode())
    return digest.hexdigest()


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
