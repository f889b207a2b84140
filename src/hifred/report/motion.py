"""How the gas of a factorised cube moves: maps of its velocity, and cuts of position against velocity."""

from dataclasses import dataclass

import numpy as np

from hifred.cube import FusedCube
from hifred.report.frame import Frame
from hifred.report.maps import FAINT_SKY
from hifred.report.views import View


@dataclass(frozen=True, eq=False)
class Motion:
    """Light of a factorised cube by velocity, all gases together.

    Attributes
    ----------
    edges : array of shape (J + 1,)
        Edges of the steps in velocity, km/s, increasing.
    light : array of shape (J, ny, nx)
        Light of each pixel in each step, in the unit of the images.
    velocity, spread : arrays of shape (ny, nx)
        Mean and standard deviation of the velocity of each pixel's light, km/s; nan where the sky is faint.
    """

    edges: np.ndarray
    light: np.ndarray
    velocity: np.ndarray
    spread: np.ndarray

    def cut(self, row: int) -> np.ndarray:
        """Light along a row of pixels, shape (J, nx)."""
        return self.light[:, row]

    def unit(self, frame: Frame) -> str:
        """Unit of the light of a step."""
        return f"{frame.image_unit} and {np.diff(self.edges).mean():.3g} km/s"

    def view(self) -> View:
        """The light as a cube whose bins are steps in velocity, for the page's script."""
        place = np.arange(self.light[0].size).reshape(self.light.shape[1:])
        return View("motion", "Motion", "", "", self.edges, self.light.astype(np.float32), place)


def motion_of(fused: FusedCube) -> Motion | None:
    """The motion of the gas; None where the cube has no parts, they do not move, or there is no light.

    Raises
    ------
    ValueError
        If the parts are of another sky than the cube.
    """
    parts = fused.parts
    if parts is None or parts.velocities.size < 2:
        return None
    light = parts.position_velocity
    if light.shape[1:] != fused.values.shape[1:]:
        raise ValueError(f"parts: expected a sky of shape {fused.values.shape[1:]}, found {light.shape[1:]}")
    total = light.sum(0)
    peak = np.max(total, where=np.isfinite(total), initial=0.0)
    if not peak > 0:
        return None
    lit = total > FAINT_SKY * peak
    middles = 0.5 * (parts.velocities[1:] + parts.velocities[:-1])
    ends = 2 * parts.velocities[[0, -1]] - middles[[0, -1]]
    return Motion(
        np.concatenate([ends[:1], middles, ends[1:]]),
        light,
        np.where(lit, parts.velocity, np.nan),
        np.where(lit, parts.velocity_spread, np.nan),
    )


def cut_top(light: np.ndarray) -> float:
    """Upper end of the colour scale of a cut; 1 where it is dark."""
    top = float(np.max(light, where=np.isfinite(light), initial=0.0))
    return top if top > 0 else 1.0
