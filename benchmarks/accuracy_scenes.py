"""The skies of the accuracy benchmark: what is known of each, and how an answer is measured."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hifred
from hifred import metrics, simulate

# Line whose velocity is measured in each scene.
SCENES = {
    "gaussian-1kev-rebin": "O VIII",
    "gaussian-6kev-rebin": "Fe XXV",
    "realistic-1kev": "O VIII",
    "cluster": "Fe XXV",
    "xrism-epic-iron": "Fe XXV",
}
TOY = Path(os.environ.get("HIFRED_SHARED_DATA", "../shared/data")) / "hifred-toy" / "gaussian_1kev_rebin.npz"
TOY_SHAPE = (2400, 45, 45)
# Seed of another draw of the photons of one sky.
DRAW = 1000


@dataclass(frozen=True, eq=False)
class Challenge:
    """Data and what is known of the sky: the cube, or only what the instruments expect."""

    datasets: tuple
    truth: np.ndarray | None
    expected: tuple[np.ndarray, ...]
    energies: np.ndarray | None = None
    line: str | None = None

    def error(self, values: np.ndarray) -> float:
        """NMSE, dB."""
        return metrics.nmse(values, self.truth)

    def measures(self, values: np.ndarray) -> dict:
        """All measures; KL of each instrument is of its expected counts from the answer's."""
        found = {}
        predicted = [dataset.predict(values) for dataset in self.datasets]
        for dataset, expected, model in zip(self.datasets, self.expected, predicted, strict=True):
            used = dataset.mask
            found[f"kl {dataset.name}"] = float(metrics.kl(expected[used], model[used]))
            mean, _ = hifred.poisson.expected_cstat(expected, used)
            found[f"cstat {dataset.name}"] = float(metrics.cstat(dataset.counts, model, used)) / float(mean)
        if self.truth is None:
            return found
        scores = metrics.score(
            values,
            self.truth,
            ratio=1 / 3,
            energies=self.energies,
            line=self.line if self.energies is not None else None,
        )
        measured = {key: getattr(scores, key) for key in scores.__dataclass_fields__}
        return {k: None if v is None else float(v) for k, v in measured.items()} | {"noise": self.noise} | found

    @property
    def noise(self) -> float:
        """Mean error of the flux per pixel that the counts of the camera would have, were there no blur."""
        light = self.truth.sum(0) / self.truth.sum()
        counts = max(float(d.counts[d.mask].sum(dtype=float)) for d in self.datasets if d.counts.shape[1] == len(light))
        return float(np.sqrt(2 / np.pi) * np.sqrt(light / counts).sum())


def challenge(name: str, counts: float, seed: int, draw: int) -> Challenge:
    """A scene; other draws than 0 draw the photons of its expected counts again."""
    scene = simulate.scene(name, seed, counts)
    truth = scene.truth.values
    expected = tuple(dataset.predict(truth) for dataset in scene.datasets)
    datasets = scene.datasets
    if draw:
        rng = np.random.default_rng((seed, DRAW + draw))
        datasets = tuple(
            hifred.Dataset(
                rng.poisson(np.maximum(mean, 0)), d.response, d.background, d.mask, d.name, d.grid, exposure=d.exposure
            )
            for d, mean in zip(datasets, expected, strict=True)
        )
    return Challenge(datasets, truth, expected, scene.grid.energies, SCENES[name])


def toy(fraction: float) -> Challenge:
    """The authors' toy problem at a fraction of its counts; of its sky only the expected counts are known."""
    file = np.load(TOY)
    rng = np.random.default_rng(3)
    counts = [file[f"{key}_counts"].astype(int) for key in "xy"]
    if fraction < 1:
        counts = [rng.binomial(n, fraction) for n in counts]
    energy = file["energy_kev"]
    half = (energy[1] - energy[0]) / 2
    grid = hifred.CubeGrid(np.append(energy - half, energy[-1] + half), TOY_SHAPE[1:])
    responses = (
        hifred.Response.from_kernels(TOY_SHAPE, lsf=file["x_lsf"], rebin=(40, 1, 1), boundary="zero"),
        hifred.Response.from_kernels(TOY_SHAPE, psf=file["y_psf"], rebin=(1, 3, 3), boundary="zero"),
    )
    datasets = tuple(
        hifred.Dataset(n, response, name=name, grid=grid)
        for n, response, name in zip(counts, responses, "xy", strict=True)
    )
    return Challenge(datasets, None, tuple(fraction * file[f"{key}_expected"] for key in "xy"))
