"""Sky model: moving sheets of a few gases, whose spectra are learned and seen at many velocities."""

from functools import partial

import equinox as eqx
import numpy as np

from hifred.grid import number
from hifred.priors.prior import Prior, require_weight, whole_of
from hifred.priors.template_smoothness import MOST_STIFF

# Velocities a template is seen at, one way, where the step is not given: as many as METHOD's trials had.
STEPS = 10
# Velocities, one way, are at most so many: each has an image of its own. Nor is a step smaller than this, km/s: where
# `vmax` is chosen, there is then one to try.
MOST_STEPS, LEAST_STEP = 600, 1.0
# Gases and layers by default; answers change little with either.
TEMPLATES, SHEETS = 5, 3
# Smoothness of templates that served scenes with lines and with a bright point (docs/design/005).
TEMPLATE_STRENGTH = 1.0
# Columns are at most this, 1e22 cm-2: beyond, gas is opaque to X-rays.
MOST_COLUMN = 100.0


def _optional(name: str):
    """Field for a number, kept as a float, or None."""
    return eqx.field(default=None, converter=lambda value: None if value is None else number(name, value))


class DopplerSheets(Prior):
    """A cube made of a few gases, each seen at many velocities, in a few sheets along the line of sight.

    `z(E, p) = sum_jk V_jk(E) a_jk(p)`, `a_jk(p) = sum_s f_s(j, p) m_s(k, p)`: `V_jk` is template `k`, smoothed and
    shifted to velocity `j`; each sheet `s` has in each pixel a profile of velocities `f` and a mixture of gases `m`.
    All are learned from the data. Relative differences of `f` and `m` between each pixel and the mean of two neighbours
    on opposite sides are penalised, with `strength` and three times it, where the camera's spectra of the pixels are
    alike; those of `f` between neighbouring velocities with twice. What absorbs in front does not move with the gas:
    edges of `exp(-N_H sigma(E))` (`hifred.absorption`) stay.

    A setting that is None is chosen from the data, by count thinning, when `hifred.fuse` is called (`hifred.tuning`).

    Parameters
    ----------
    strength : float, optional
        Weight of the penalties, in log likelihood. Where it is chosen, so is the number of iterations.
    light_strength : float, optional
        Weight of relative differences of the light of neighbouring pixels, in counts. Of steps that would
        cost more than 10 in log likelihood only the logarithm counts: points stay sharp.
    template_strength : float
        Weight of relative differences of neighbouring energies of a template, in counts. Of steps far above the noise
        of its counts, as at lines, only the logarithm counts. At most 1e6. It has no say where gas is at rest: lines
        may be as narrow as a bin then.
    templates : int, optional
        Number of gases. None: chosen from the data, by four fits that go on as long as kept-back photons agree.
    sheets : int, optional
        Number of moving layers in each pixel; 1 where nothing moves. None: chosen likewise.
    vmax : float, optional
        Largest speed along the line of sight, km/s. 0 gives a plain factorisation, and is what is chosen for a cube
        without energies.
    velocity_step : float, optional
        Distance of the velocities, km/s, at least 1 and a 600th of `vmax`; by default a tenth of it.
    smoothing : float, optional
        Standard deviation of the lines of a template, km/s; by default half the step in velocity.
    column_density : float, optional
        Hydrogen column of the absorber, 1e22 cm-2, one for the whole sky; None: found with all else in the fit, with
        half its square as a penalty. Only edges and lines tell, where gas moves: templates at rest are as seen behind
        it.
    """

    strength: float | None = _optional("strength")
    light_strength: float | None = _optional("light_strength")
    template_strength: float = eqx.field(
        default=TEMPLATE_STRENGTH, converter=partial(number, "template_strength"), kw_only=True
    )
    templates: int | None = whole_of("templates", TEMPLATES, 1, optional=True)
    sheets: int | None = whole_of("sheets", SHEETS, 1, optional=True)
    vmax: float | None = _optional("vmax")
    velocity_step: float | None = _optional("velocity_step")
    smoothing: float | None = _optional("smoothing")
    column_density: float | None = _optional("column_density")

    def __check_init__(self):
        if self.light_strength is not None:
            require_weight("light_strength", self.light_strength)
        if not 0 <= self.template_strength <= MOST_STIFF:
            raise ValueError(f"template_strength: expected 0 to {MOST_STIFF:g}, found {self.template_strength}")
        if self.vmax is not None and not 0 <= self.vmax < 1e5:
            raise ValueError(f"vmax: expected a speed of 0 to 100000 km/s, found {self.vmax}")
        step, smoothing = self.velocity_step, self.smoothing
        if step is not None and not LEAST_STEP <= step < 1e5:
            raise ValueError(f"velocity_step: expected a speed of {LEAST_STEP:g} to 100000 km/s, found {step}")
        if smoothing is not None and not 0 < smoothing < 1e5:
            raise ValueError(f"smoothing: expected a positive speed below 100000 km/s, found {smoothing}")
        column = self.column_density
        if column is not None and not 0 <= column <= MOST_COLUMN:
            raise ValueError(f"column_density: expected 0 to {MOST_COLUMN:g} (1e22 cm-2), found {column:g}")
        if self.speed > 0 and self.velocity_step is not None and self.velocity_step > self.speed:
            raise ValueError(f"velocity_step: expected at most vmax, {self.speed:g} km/s, found {self.velocity_step:g}")
        if self.speed > MOST_STEPS * self.step:
            raise ValueError(
                f"velocity_step: expected at least vmax / {MOST_STEPS}, {self.speed / MOST_STEPS:g} km/s, found "
                f"{self.step:g}"
            )

    @property
    def tolerance(self) -> float:
        """Smaller than for the others: the likelihood is not convex in the factors, and falls slowly for long."""
        return 2e-5

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Settings that are to be chosen from the data."""
        names = ("light_strength", "vmax", "templates", "sheets", "strength")
        return tuple(name for name in names if getattr(self, name) is None)

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
        return self.velocity_step or max(self.speed / STEPS, LEAST_STEP)

    @property
    def width(self) -> float:
        """Smoothing of the templates, km/s."""
        return self.smoothing if self.smoothing is not None else (0.5 * self.step if self.speed > 0 else 0.0)


def start_factors(
    templates: int, sheets: int, speed: float, spectrum: np.ndarray, rest: np.ndarray, energies: np.ndarray,
    image: np.ndarray, velocities: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Templates and profiles that differ enough to part ways; nothing is random.

    The first template is the mean spectrum, the others that times the exponential of a cosine across the band, of
    growing order and of either sign; each sheet has a broad profile about a velocity of its own; mixtures are even.

    Returns
    -------
    templates : array of shape (node, template)
    profiles : array of shape (sheet, velocity, y, x)
    mixture : array of shape (sheet, template, y, x)
    """
    base = np.interp(rest, energies, spectrum)
    place = np.linspace(0, np.pi, rest.size)[:, None]
    number = np.arange(templates)
    curves = np.where(number > 0, (-1.0) ** number * np.cos((number + 1) // 2 * place), 0)
    centres = np.linspace(-0.6, 0.6, sheets) * speed if sheets > 1 else np.zeros(1)
    profiles = np.exp(-0.5 * ((velocities - centres[:, None]) / (0.35 * max(speed, 1.0))) ** 2)
    mixture = np.full((sheets, templates, *image.shape), 1 / templates)
    return base[:, None] * np.exp(curves), (profiles / profiles.sum())[:, :, None, None] * image, mixture
