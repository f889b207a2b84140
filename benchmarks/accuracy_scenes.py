"""The skies of the accuracy benchmark: what is known of each, and how an answer is measured."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import interp1d
from scipy.special import ndtri

import hifred
from hifred import metrics, simulate
from hifred.doppler import energy_factor
from hifred.poisson import expected_cstat

COUNTS = (1e5, 1e6, 2.3e7)
FRACTIONS = (1.0, 0.2, 0.05)


@dataclass(frozen=True)
class Sky:
    """What is measured in a scene.

    `line` and `second` are lines whose velocity is measured; `counts` those of the camera; `ratio` the size of a pixel
    of the sky over one of the calorimeter; `talk` whether it is a scene of the talk, `still` whether no line moves.
    """

    line: str
    second: float | None = None
    counts: tuple[float, ...] = COUNTS
    ratio: float = 1 / 3
    talk: bool = False
    still: bool = False

    @property
    def middle(self) -> float:
        """Counts at which methods run for which these do not matter."""
        return self.counts[len(self.counts) // 2]


FE_XVII = 0.82585  # keV; 15.013 Angstrom, the brightest of the ion
SCENES = {
    "gaussian-1kev-rebin": Sky("O VIII", talk=True),
    "gaussian-6kev-rebin": Sky("Fe XXV", talk=True),
    "realistic-1kev": Sky("O VIII", talk=True),
    "cluster": Sky("Fe XXV"),
    # 1.2e4 and 1.2e5 counts of Resolve.
    "xrism-epic-iron": Sky("Fe XXV", counts=(5.6e4, 5.6e5), ratio=1 / 6),
    "two-gases": Sky("O VIII", second=FE_XVII),
    "steady-remnant": Sky("O VIII", still=True),
    "absorbed": Sky("O VIII"),
    "point-source": Sky("O VIII"),
    "wrong-psf": Sky("O VIII"),
    "wrong-gain": Sky("Fe XXV"),
    "high-background": Sky("O VIII"),
}
SHARED = Path(os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
TOY = SHARED / "hifred-toy" / "gaussian_1kev_rebin.npz"
TOY_SHAPE = (2400, 45, 45)
# Where velocities of "xrism-epic-iron" are compared, as in bench_iron: about the middle of the complex, keV, and above
# this share of its peak.
COMPLEX, SHARE = 6.67, 0.15
VELOCITY = 100.0  # km/s, a small one
NEAR_POINT = 2.5  # pixels about a point source


@dataclass(frozen=True, eq=False)
class Known:
    """A true cube, the energies of its bins, what is measured, and the pixels (y, x) that are judged by themselves."""

    values: np.ndarray
    energies: np.ndarray
    sky: Sky
    judged: np.ndarray | None

    def measures(self, values: np.ndarray) -> dict:
        """All measures of a cube."""
        scores = metrics.score(values, self.values, ratio=self.sky.ratio, energies=self.energies, line=self.sky.line)
        found = {key: getattr(scores, key) for key in scores.__dataclass_fields__}
        if self.sky.second is not None:
            found["second_velocity_error"] = metrics.line_velocity_error(
                values, self.values, self.energies, self.sky.second, faint=0.05
            )
        found["light_nmse"], found["shape_nmse"] = self._light_and_shape(values)
        return found | ({} if self.judged is None else self._part(values, self.judged))

    def _light_and_shape(self, values: np.ndarray) -> tuple[float, float]:
        """NMSE, dB, of the true spectra with the light of a cube, and of its spectra with the true light."""
        true, light = self.values.sum(0), values.sum(0)
        with_light = self.values * np.divide(light, true, out=np.ones_like(true), where=true > 0)
        with_shape = values * np.divide(true, light, out=np.ones_like(true), where=light > 0)
        return tuple(metrics.nmse(cube, self.values) for cube in (with_light, with_shape))

    def _part(self, values: np.ndarray, judged: np.ndarray) -> dict:
        part, true = (cube[:, judged][:, :, None] for cube in (values, self.values))
        found = {"judged_nmse": metrics.nmse(part, true), "judged_angle": metrics.spectral_angle(part, true)}
        if self.sky.line == "Fe XXV":
            pair = (metrics.line_centroid(cube, self.energies, COMPLEX, faint=0.0) for cube in (part, true))
            found["median_velocity_error"] = np.nanmedian(np.abs(np.subtract(*pair)))
        return found


@dataclass(frozen=True, eq=False)
class Challenge:
    """Data, what the responses expect of the true sky, and that sky where it is known."""

    datasets: tuple
    expected: tuple[np.ndarray, ...]
    known: Known | None = None

    @property
    def truth(self) -> Known:
        """The true sky; oracles ask for it."""
        if self.known is None:
            raise ValueError("expected a challenge whose sky is known, found one that knows expected counts only")
        return self.known

    def error(self, values: np.ndarray) -> float:
        """NMSE, dB."""
        return metrics.nmse(values, self.truth.values)

    def measures(self, values: np.ndarray) -> dict:
        """All measures; KL of each instrument is of its expected counts from the answer's."""
        found = {} if self.known is None else self.known.measures(values) | {"noise": self.noise}
        if "median_velocity_error" in found:
            found["median_velocity_noise"] = self.velocity_noise
        for dataset, expected in zip(self.datasets, self.expected, strict=True):
            used, model = dataset.mask, dataset.predict(values)
            found[f"kl {dataset.name}"] = metrics.kl(expected, model, used)
            mean, _ = expected_cstat(expected, used)
            found[f"cstat {dataset.name}"] = metrics.cstat(dataset.counts, model, used) / mean
        return {key: None if value is None else float(value) for key, value in found.items()}

    @property
    def noise_by_pixel(self) -> np.ndarray:
        """Root mean square error of each pixel's share of the flux from the counts of a camera without blur."""
        image = self.truth.values.sum(0)
        cameras = [d for d in self.datasets if d.counts.shape[1:] == image.shape]
        background = np.sum([np.where(d.mask, d.background, 0).sum(0, dtype=float) for d in cameras], axis=0)
        counts = sum(float(d.counts[d.mask].sum(dtype=float)) for d in cameras) - background.sum()
        return np.sqrt(image / image.sum() * counts + background) / counts

    @property
    def noise(self) -> float:
        """Mean error of the flux per pixel that the counts of the camera would have, were there no blur."""
        return float(np.sqrt(2 / np.pi) * self.noise_by_pixel.sum())

    @property
    def velocity_noise(self) -> float:
        """Median error of a pixel's velocity, km/s, that the camera alone would have with known, unblurred spectra.

        From the Fisher information of the counts of each detector pixel on the velocity and the brightness of its
        light, one pixel at a time; over the pixels that are judged.
        """
        truth = self.truth
        camera = next(d for d in self.datasets if d.counts.shape[1:] == truth.values.shape[1:])
        at = truth.energies / energy_factor(VELOCITY)
        moved = interp1d(truth.energies, truth.values, axis=0, bounds_error=False, fill_value=0)(at)
        mean, other = (camera.predict(cube.astype(truth.values.dtype)).astype(float) for cube in (truth.values, moved))
        slope = (other - mean) / VELOCITY
        used = camera.mask & (mean > 0)
        by_velocity = np.divide(slope**2, mean, out=np.zeros_like(mean), where=used).sum(0)
        light = mean - camera.background
        mixed, by_light = (
            np.divide(part * light, mean, out=np.zeros_like(mean), where=used).sum(0) for part in (slope, light)
        )
        information = by_velocity - mixed**2 / by_light
        return float(ndtri(0.75) * np.median(1 / np.sqrt(information[truth.judged])))


def challenge(name: str, counts: float, seed: int, draw: int) -> Challenge:
    """A scene, and another draw of its photons where `draw` is not 0.

    What is expected is what the responses of the data say of the true sky, even where they are wrong.
    """
    scene = simulate.scene(name, seed, counts, draw=draw)
    truth = scene.truth.values
    expected = tuple(dataset.predict(truth) for dataset in scene.datasets)
    judged = None
    if name == "xrism-epic-iron":
        inside = scene.datasets[1].response.recipe.place() >= 0
        flux = np.where(inside, metrics.line_maps(truth, scene.grid.energies, COMPLEX).flux, 0)
        judged = flux > SHARE * flux.max()
    if name == "point-source":
        image = truth.sum(0)
        point = np.unravel_index(image.argmax(), image.shape)
        judged = (
            np.hypot(*(at - middle for at, middle in zip(np.indices(image.shape), point, strict=True))) > NEAR_POINT
        )
    return Challenge(scene.datasets, expected, Known(truth, scene.grid.energies, SCENES[name], judged))


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
    return Challenge(datasets, tuple(fraction * file[f"{key}_expected"] for key in "xy"))
