"""Spectra of gas at many velocities: templates on a grid of log energy, where a Doppler shift is a translation."""

from functools import reduce
from operator import add

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hifred.doppler import SPEED_OF_LIGHT

# Nodes of the template grid for each energy bin of the cube, and for each step in velocity at least.
NODES_PER_BIN = 1.0
NODES_PER_STEP = 5
# The smoothing kernel ends at this many standard deviations.
REACH = 3.0


class DopplerShift(eqx.Module):
    """From templates `T[n, k]` to spectra `V[e, j, k]`: template `k`, smoothed, at velocity `j`.

    `V[e, j, k] = w_e sum_n h_n(ln E_e + s_j) (G T)[n, k]`: linear interpolation `h` on the template grid, a shift `s_j`
    of a whole number of its nodes, a Gaussian `G`, and the width `w_e` of the energy bin.

    Attributes
    ----------
    lower, fraction : arrays of shape (energy,)
        Node below each energy at velocity 0, counted from the first shifted one, and how far the next one is.
    width : array of shape (energy,)
        Widths of the energy bins over their mean.
    kernel : array of shape (2 h + 1,)
        The Gaussian.
    offsets : tuple of int
        First node of each velocity; the velocities increase.
    nodes : int
        Number of nodes of a template.
    """

    lower: Int[Array, " energy"]
    fraction: Float[Array, " energy"]
    width: Float[Array, " energy"]
    kernel: Float[Array, " taps"]
    offsets: tuple[int, ...] = eqx.field(static=True)
    nodes: int = eqx.field(static=True)
    reach: int = eqx.field(static=True)

    def spectra(self, templates: Float[Array, "node template"]) -> Float[Array, "energy velocity template"]:
        """The spectra `V`; their transpose is the one JAX derives."""
        half = self.kernel.shape[0] // 2
        padded = jnp.pad(templates, ((half, half), (0, 0)), mode="edge")
        smooth = reduce(add, [self.kernel[t] * padded[t : t + self.nodes] for t in range(2 * half + 1)])
        shifted = jnp.stack([smooth[at : at + self.reach] for at in self.offsets], axis=1)
        t = self.fraction[:, None, None]
        return self.width[:, None, None] * ((1 - t) * shifted[self.lower] + t * shifted[self.lower + 1])


class TemplateGrid(eqx.Module):
    """Host side of a `DopplerShift`: energies and velocities.

    Attributes
    ----------
    energies : array of shape (nodes,)
        Rest energies of the template grid, keV.
    velocities : array of shape (J,)
        km/s, positive when the gas moves away, increasing.
    shift : DopplerShift
        The operator.
    """

    energies: np.ndarray
    velocities: np.ndarray
    shift: DopplerShift


def template_grid(
    energy_edges: np.ndarray, velocity_max: float, velocity_step: float, smoothing: float, dtype
) -> TemplateGrid:
    """The template grid of a cube.

    Parameters
    ----------
    energy_edges : array of shape (L + 1,)
        keV.
    velocity_max, velocity_step : float
        km/s; the velocities are the multiples of the step up to the largest, both ways.
    smoothing : float
        Standard deviation of the Gaussian that smooths the templates, km/s.
    dtype : dtype
        Precision.
    """
    energy = 0.5 * (energy_edges[:-1] + energy_edges[1:])
    widths = np.diff(energy_edges)
    resolution = float(np.median(widths / energy)) / NODES_PER_BIN
    count = int(velocity_max // velocity_step) if velocity_max > 0 else 0
    # A step is a whole number of nodes.
    per_step = max(NODES_PER_STEP, round(velocity_step / SPEED_OF_LIGHT / resolution)) if count else 1
    spacing = velocity_step / SPEED_OF_LIGHT / per_step if count else resolution
    margin = count * per_step + 2
    first = np.log(energy[0]) - margin * spacing
    place = (np.log(energy) - first) / spacing - margin
    lower = np.floor(place).astype(int)
    reach = int(lower[-1]) + 2
    nodes = reach + 2 * margin
    # Light of gas that recedes at v is seen at lower energy: its template is read at a higher rest energy.
    steps = np.arange(-count, count + 1) * per_step
    half = int(np.ceil(REACH * smoothing / SPEED_OF_LIGHT / spacing)) if smoothing > 0 else 0
    taps = np.arange(-half, half + 1) * spacing * SPEED_OF_LIGHT
    kernel = np.exp(-0.5 * (taps / smoothing) ** 2) if half else np.ones(1)
    shift = DopplerShift(
        jnp.asarray(lower, jnp.int32), jnp.asarray(place - lower, dtype), jnp.asarray(widths / widths.mean(), dtype),
        jnp.asarray(kernel / kernel.sum(), dtype), tuple(int(margin + step) for step in steps), nodes, reach,
    )  # fmt: skip
    rest = np.exp(first + spacing * np.arange(nodes))
    return TemplateGrid(rest, SPEED_OF_LIGHT * np.tanh(spacing * steps), shift)
