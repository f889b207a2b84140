"""What was tried of a setting, how well it foretold the photons kept back, and what was taken."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

# C-stats that differ by less, all folds together, are taken for the same.
NOISE = 1.0
# There is nothing below these; of other settings, nothing below 0.
FLOORS = {"templates": 1.0, "sheets": 1.0}


@dataclass(frozen=True)
class Choice:
    """One setting, and how well fits of a part of the photons with each of its values foretell the rest.

    Attributes
    ----------
    name : str
        Field of the prior.
    values, deviances : tuples of float
        What was tried, increasing, and the held-out C-stat of each; of speeds those of the last round, and where it
        leads.
    chosen : float
        The one that was taken.
    folds : int
        Number of splits of the photons that decided, whose C-stats are summed; those of light and speeds are of the
        splits that were asked for, as more of them only decide between values that are alike.
    """

    name: str
    values: tuple[float, ...]
    deviances: tuple[float, ...]
    chosen: float
    folds: int = 1

    @classmethod
    def of(cls, name: str, found: Mapping[float, float], chosen: float, folds: int = 1) -> "Choice":
        """From deviances by value."""
        order = sorted(found)
        return cls(name, tuple(order), tuple(found[value] for value in order), chosen, folds)

    @property
    def at_edge(self) -> str | None:
        """`"lowest"` or `"highest"` where the C-stat still falls at the first (if there can be less) or last tried."""
        if len(self.values) < 2 or self.deviances[self.values.index(self.chosen)] > min(self.deviances):
            return None
        if self.chosen == self.values[-1] and self.deviances[-2] - self.deviances[-1] >= NOISE:
            return "highest"
        above = self.values[0] > FLOORS.get(self.name, 0.0)
        if above and self.chosen == self.values[0] and self.deviances[1] - self.deviances[0] >= NOISE:
            return "lowest"
        return None

    def to_json(self) -> dict:
        """As plain lists and numbers, for a file."""
        return _plain(self)


@dataclass(frozen=True)
class Tuning:
    """How well fits of a part of the photons foretell the rest.

    Attributes
    ----------
    strengths : tuple of float
        Strengths that were tried, increasing.
    deviances : tuple of float
        Held-out C-stat of each: twice the Poisson deviance of the photons that were not fitted, all data sets together.
    iterations : tuple of int
        Iterations of each fit (of several folds, the mean); of a factorisation, those after which the rest was foretold
        best.
    strength : float
        The one that was taken.
    fraction : float
        Part of the photons that was fitted.
    seed : int
        Seed of the split.
    folds : int
        Number of splits, whose C-stats are summed.
    """

    strengths: tuple[float, ...]
    deviances: tuple[float, ...]
    iterations: tuple[int, ...]
    strength: float
    fraction: float
    seed: int
    folds: int = 1

    @property
    def curve(self) -> Choice:
        """The strengths as those of any setting."""
        return Choice("strength", self.strengths, self.deviances, self.strength, self.folds)

    @property
    def best_iterations(self) -> int:
        """Iterations of the fit with the strength that was taken."""
        return self.iterations[self.strengths.index(self.strength)]

    @property
    def at_edge(self) -> str | None:
        """As of a `Choice`."""
        return self.curve.at_edge

    def to_json(self) -> dict:
        """As plain lists and numbers, for a file."""
        return _plain(self)


def _plain(found: Choice | Tuning) -> dict:
    """Attributes by name, tuples as lists."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(found).items()}
