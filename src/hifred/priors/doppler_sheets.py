"""Sky model: moving sheets of a few gases, whose spectra are learned and seen at many velocities."""

import equinox as eqx
import numpy as np

from hifred.grid import number
from hifred.priors.prior import Prior, require_whole

# Velocities a template is seen at, one way, where the step is not given: as many as METHOD's trials had.
STEPS = 10


def _optional(name: str):
    """Field for a number, kept as a float, or None."""
    return eqx.field(default=None, converter=lambda value: None if value is None else number(name, value))


class DopplerSheets(Prior):
    """A cube made of a few gases, each seen at many velocities, in a few sheets along the line of sight.

    `z(E, p) = sum_jk V_jk(E) a_jk(p)`, `a_jk(p) = sum_s f_s(j, p) m_s(k, p)`: `V_jk` is template `k`, smoothed and
    shifted to velocity `j`; each sheet `s` has in each pixel a profile of velocities `f` and a mixture of gases `m`.
    All are learned from the data. Relative differences of `f` and `m` between neighbouring pixels (and velocities) are
    penalised, with `strength`, twice and three times it, where the camera's spectra of the two pixels are alike.

    A setting that is None is chosen from the data, by count thinning, when `hifred.fuse` is called (`hifred.tuning`).

    Parameters
    ----------
    strength : float, optional
        Weight of the penalties, in log likelihood. Where it is chosen, so is the number of iterations.
    light_strength : float, optional
        Weight of relative differences of the light of neighbouring pixels, in counts.
    templates : int
        Number of gases.
    sheets : int
        Number of moving layers in each pixel.
    vmax : float, optional
        Largest speed along the line of sight, km/s. 0 gives a plain factorisation; so does a cube without energies.
    velocity_step : float, optional
        Distance of the velocities, km/s; by default a tenth of `vmax`.
    smoothing : float, optional
        Standard deviation of the lines of a template, km/s; by default half the step in velocity.
    seed : int
        Seed of the start.
    """

    strength: float | None = _optional("strength")
    light_strength: float | None = _optional("light_strength")
    templates: int = 5
    sheets: int = 3
    vmax: float | None = _optional("vmax")
    velocity_step: float | None = _optional("velocity_step")
    smoothing: float | None = _optional("smoothing")
    seed: int = 0

    def __check_init__(self):
        require_whole("templates", self.templates, 1)
        require_whole("sheets", self.sheets, 1)
        require_whole("seed", self.seed, 0)
        if self.light_strength is not None and not 0 <= self.light_strength < float("inf"):
            raise ValueError(f"light_strength: expected a finite number of at least 0, found {self.light_strength}")
        if self.vmax is not None and not 0 <= self.vmax < 1e5:
            raise ValueError(f"vmax: expected a speed of 0 to 100000 km/s, found {self.vmax}")
        for name in ("velocity_step", "smoothing"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e5:
                raise ValueError(f"{name}: expected a positive speed below 100000 km/s, found {value}")

    @property
    def tolerance(self) -> float:
        """Smaller than for the others: the likelihood is not convex in the factors, and falls slowly for long."""
        return 2e-5

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Settings that are to be chosen from the data."""
        return tuple(name for name in ("light_strength", "vmax", "strength") if getattr(self, name) is None)

    @property
    def speed(self) -> float:
        """Largest speed, km/s; 0 where it is to be chosen."""
        return self.vmax or 0.0

    @property
    def single(self) -> bool:
        """Whether the cube is one spectrum times one image."""
        return self.templates == self.sheets == 1 and self.speed == 0

    @property
    def step(self) -> float:
        """Distance of the velocities, km/s."""
        return self.velocity_step or max(self.speed / STEPS, 1.0)

    @property
    def width(self) -> float:
        """Smoothing of the templates, km/s."""
        return self.smoothing if self.smoothing is not None else (0.5 * self.step if self.speed > 0 else 0.0)


def start_factors(
    prior: DopplerSheets, spectrum: np.ndarray, rest: np.ndarray, energies: np.ndarray, image: np.ndarray,
    velocities: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Templates, profiles and mixtures that differ enough to part ways.

    Each template is the mean spectrum times a smooth random curve; each sheet has a broad profile about a velocity of
    its own; mixtures are nearly even.

    Returns
    -------
    templates : array of shape (node, template)
    profiles : array of shape (sheet, velocity, y, x)
    mixture : array of shape (sheet, template, y, x)
    """
    rng = np.random.default_rng(prior.seed)
    base = np.interp(rest, energies, spectrum) + 1e-3 * spectrum.mean()
    knots = np.linspace(np.log(rest[0]), np.log(rest[-1]), 12)
    curves = [np.interp(np.log(rest), knots, rng.normal(size=12)) for _ in range(prior.templates)]
    templates = base[:, None] * np.exp(np.stack(curves, axis=1))
    v = velocities
    centres = np.linspace(-0.6, 0.6, prior.sheets) * prior.speed if prior.sheets > 1 else np.zeros(1)
    width = 0.35 * max(prior.speed, 1.0)
    profiles = np.exp(-0.5 * ((v - centres[:, None]) / width) ** 2)
    profiles = (profiles / profiles.sum())[:, :, None, None] * image
    mixture = rng.uniform(0.8, 1.2, (prior.sheets, prior.templates, 1, 1)) * np.ones(image.shape)
    return templates, profiles, mixture / mixture.sum(1, keepdims=True)
