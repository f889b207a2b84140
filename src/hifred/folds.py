"""Several random splits of the same photons, which are fitted side by side."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import jax
import numpy as np

from hifred.data.dataset import Dataset
from hifred.priors import Prior
from hifred.solvers import Stopping
from hifred.solvers.interrupt import Interrupt
from hifred.split import Foretold, Split, most_folds


@dataclass(frozen=True, eq=False)
class Folds:
    """Splits of the same photons; no photon is kept back in two of them.

    Attributes
    ----------
    splits : tuple of Split
        One for each fold. Each holds its own counts and states: memory grows with their number.
    """

    splits: tuple[Split, ...]

    @classmethod
    def of(cls, datasets: Sequence[Dataset], folds: int = 1, fraction: float = 0.85, seed: int = 0) -> "Folds":
        """New splits.

        Parameters
        ----------
        datasets : sequence of Dataset
            The data.
        folds : int
            Number of splits, at most `1 / (1 - fraction)`.
        fraction : float
            Part of the photons that is fitted in each.
        seed : int
            Seed of the splits.

        Raises
        ------
        ValueError
            If the fraction is not between 0 and 1, or `folds` is out of range.
        """
        return cls(Split.several(datasets, folds, fraction, seed))

    def at_least(self, number: int) -> "Folds":
        """These, and further ones up to so many, or to as many as photons last for."""
        first, have = self.splits[0], len(self.splits)
        number = min(number, most_folds(first.fraction))
        if have >= number:
            return self
        return Folds((*self.splits, *Split.several(first.datasets, number, first.fraction, first.seed)[have:]))

    @property
    def held(self) -> int:
        """Number of photons that are kept back, none of them in two folds."""
        return sum(
            int(np.asarray(rest, dtype=float)[dataset.mask].sum())
            for split in self.splits
            for dataset, rest in zip(split.datasets, split.rests, strict=True)
        )

    def to_json(self) -> dict:
        """How photons were split: `fraction`, `seed` and the number of `folds`."""
        return {"fraction": self.splits[0].fraction, "seed": self.splits[0].seed, "folds": len(self.splits)}

    def foretold(self, prior: Prior, stopping: Stopping, at_end: bool = False) -> Foretold:
        """How well fits of the parts foretell the rests, all folds together.

        Several folds are fitted at the same time, in threads, as many as there are cores: a fit alone leaves some of
        them idle. The number of iterations is the mean of theirs; the largest number allowed where one of them took so
        many, and 0 where one failed at once.

        Parameters
        ----------
        prior, stopping, at_end
            As for `Split.foretold`.

        Returns
        -------
        Foretold

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, which all fits end on.
        """
        with Interrupt() as interrupt:
            if len(self.splits) == 1:
                found = [self.splits[0].foretold(prior, stopping, at_end)]
            else:
                found = self._side_by_side(prior, stopping, at_end, interrupt)
        # One that came with the last step of a fit has ended nothing yet.
        if interrupt.asked:
            raise KeyboardInterrupt
        numbers = [one.iterations for one in found]
        same = next((end for end in (0, stopping.max_iterations) if end in numbers), None)
        return Foretold(
            np.concatenate([one.groups for one in found]), round(float(np.mean(numbers))) if same is None else same
        )

    def _side_by_side(self, prior: Prior, stopping: Stopping, at_end: bool, interrupt: Interrupt) -> list[Foretold]:
        """What each split foretells, fitted in threads that ask the interrupt."""
        # Settings of JAX that `with` makes hold for one thread only, those of them that numbers depend on.
        precise = jax.dtypes.canonicalize_dtype(float).itemsize == 8
        device, products = jax.default_device.value, jax.default_matmul_precision.value

        def fit(split: Split) -> Foretold:
            with jax.enable_x64(precise), jax.default_device(device), jax.default_matmul_precision(products):
                try:
                    return split.foretold(prior, stopping, at_end)
                except BaseException:
                    interrupt.ask()  # the others' work is lost as well
                    raise

        with ThreadPoolExecutor(min(len(self.splits), _cores())) as pool:
            # A context for each: fits ask for the interrupt that was entered, however this ends.
            running = [pool.submit(copy_context().run, fit, split) for split in self.splits]
        errors = [error for one in running if (error := one.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
            raise error
        return [one.result() for one in running]


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
