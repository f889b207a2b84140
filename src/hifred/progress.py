"""A progress bar for the terminal: an observer of a run."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hifred.solvers import Record


def tell(sentence: str) -> None:
    """Say on standard error what is being done before there is a bar to show."""
    Console(stderr=True, highlight=False).print(sentence, markup=False)


class ProgressBar(AbstractContextManager):
    """Shows iterations, objective, C-stat of each data set and the time left, on standard error.

    Parameters
    ----------
    names : sequence of str
        Names of the data sets.
    total : int
        Largest number of iterations.
    shown : bool
        Whether to show anything.
    """

    def __init__(self, names: Sequence[str], total: int, *, shown: bool):
        self._names = names
        console = Console(stderr=True)
        if not (console.is_terminal or console.is_jupyter):
            # A log gets the last line only; it need not fit a screen.
            console = Console(stderr=True, width=max(console.width, 160))
        self._bar = Progress(
            TextColumn("fusing"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left at most"), TimeRemainingColumn(), TextColumn("{task.fields[state]}", markup=False),
            console=console, disable=not shown,
        )  # fmt: skip
        self._task = self._bar.add_task("fusing", total=total, state="compiling")

    def __enter__(self) -> "ProgressBar":
        self._bar.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._bar.__exit__(*error)

    def __call__(self, record: Record) -> None:
        """Show one record."""
        cstat = "  ".join(f"{name} {value:.5g}" for name, value in zip(self._names, record.cstat, strict=True))
        state = f"objective {record.objective:.8g}  C-stat {cstat}"
        self._bar.update(self._task, completed=record.iteration, state=state)
