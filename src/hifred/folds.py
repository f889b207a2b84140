"""Several random splits of the same photons, which are fitted side by side."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hifred.data.dataset import Dataset
from hifred.priors import Prior
from hifred.solvers import Stopping
from hifred.solvers.interrupt import Interrupt
from hifred.split import Foretold, Split


@dataclass(frozen=True, eq=False)
class Folds:
    """Splits of the same photons, none of which is kept back twice.

    Attributes
    ----------
    splits : tuple of Split
        One for each fold.
    """

    splits: tuple[Split, ...]

    @classmethod
    def of(cls, datasets: Sequence[Dataset], fraction: float = 0.85, seed: int = 0, folds: int = 1) -> "Folds":
        """New splits.

        Raises
        ------
        ValueError
            If the fraction is not between 0 and 1, or there are more folds than `1 / (1 - fraction)`.
        """
        return cls(Split.several(datasets, fraction, seed, folds))

    @property
    def fraction(self) -> float:
        """Part of the photons that is fitted in each."""
        return self.splits[0].fraction

    @property
    def seed(self) -> int:
        """Seed of the splits."""
        return self.splits[0].seed

    def foretold(self, prior: Prior, stopping: Stopping) -> Foretold:
        """How well fits of the parts foretell the rests, all folds together, and the mean of their iterations.

        Several folds are fitted at the same time, in threads, as many as there are cores: JAX lets others go on while
        it computes.

        Parameters
        ----------
        prior, stopping
            As for `Split.foretold`.

        Returns
        -------
        Foretold

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C, which all fits end on.
        """
        if len(self.splits) == 1:
            return self.splits[0].foretold(prior, stopping)
        with Interrupt() as interrupt, ThreadPoolExecutor(min(len(self.splits), os.cpu_count() or 1)) as pool:
            found = list(pool.map(lambda split: split.foretold(prior, stopping), self.splits))
            if interrupt.asked:
                raise KeyboardInterrupt
        iterations = round(float(np.mean([one.iterations for one in found])))
        return Foretold(np.concatenate([one.groups for one in found]), iterations)
