"""Spectra of gas at many velocities: templates on a grid of log energy, where a Doppler shift is a translation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hifred.doppler import SPEED_OF_LIGHT

# The smoothing kernel ends at this many standard deviations.
REACH = 3.0
# Grids for speeds up to this one, km/s, and the smoothing that goes with them, have one size: they compile once.
ROOM, ROOM_SMOOTHING = 5400.0, 270.0


class DopplerShift(eqx.Module):
    """From templates `T[n, k]` to spectra `V[e, j, k]`: template `k`, smoothed, at velocity `j`.

    `V[e, j, k] = w_e sum_n h_n(ln E_e + s_j) (G T)[n, k]`: linear interpolation `h` on the template grid, once to the
    shift `s_j` and once to the energies, a Gaussian `G`, and the width `w_e` of the energy bin.

    Attributes
    ----------
    lower, fraction : arrays of shape (energy,)
        Node below each energy at velocity 0, counted from the first shifted one, and how far the next one is.
    width : array of shape (energy,)
        Widths of the energy bins over their mean.
    kernel : array of shape (2 h + 1,)
        The Gaussian.
    first, part : arrays of shape (J,)
        First node of each velocity, which increase, and how far the next one is.
    nodes, reach : int
        Number of nodes of a template, and of those that a velocity sees.
    """

    lower: Int[Array, " energy"]
    fraction: Float[Array, " energy"]
    width: Float[Array, " energy"]
    kernel: Float[Array, " taps"]
    first: Int[Array, " velocity"]
    part: Float[Array, " velocity"]
    nodes: int = eqx.field(static=True)
    reach: int = eqx.field(static=True)

    def spectra(self, templates: Float[Array, "node template"]) -> Float[Array, "energy velocity template"]:
        """The spectra `V`; their transpose is the one JAX derives."""
        half = self.kernel.shape[0] // 2
        padded = jnp.pad(templates, ((half, half), (0, 0)), mode="edge")
        smooth = jax.lax.conv_general_dilated(
            padded.T[:, None], self.kernel[None, None], (1,), "VALID", precision=jax.lax.Precision.HIGHEST
        )[:, 0].T

        def moved(first, part):
            seen = jax.lax.dynamic_slice_in_dim(smooth, first, self.reach + 1)
            return (1 - part) * seen[:-1] + part * seen[1:]

        shifted = jax.vmap(moved, out_axes=1)(self.first, self.part)
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
    used : slice
        Nodes that any velocity sees.
    """

    energies: np.ndarray
    velocities: np.ndarray
    shift: DopplerShift
    used: slice


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
    spacing = float(np.median(widths / energy))
    count = int(velocity_max / velocity_step + 1e-9) if velocity_max > 0 else 0
    shifts = np.arange(-count, count + 1) * velocity_step / SPEED_OF_LIGHT
    room, broadest = (max(velocity_max, ROOM), max(smoothing, ROOM_SMOOTHING)) if count else (0.0, smoothing)
    margin = int(np.ceil(room / SPEED_OF_LIGHT / spacing)) + 2
    lowest = np.log(energy[0]) - margin * spacing
    place = (np.log(energy) - np.log(energy[0])) / spacing
    lower = np.floor(place).astype(int)
    reach = int(lower[-1]) + 2
    nodes = reach + 2 * margin + 1
    # Light of gas that recedes at v is seen at lower energy: its template is read at a higher rest energy.
    starts = margin + shifts / spacing
    first = np.floor(starts).astype(int)
    half = int(np.ceil(REACH * broadest / SPEED_OF_LIGHT / spacing)) if smoothing > 0 else 0
    taps = np.arange(-half, half + 1) * spacing * SPEED_OF_LIGHT
    kernel = np.exp(-0.5 * (taps / smoothing) ** 2) if half else np.ones(1)
    shift = DopplerShift(
        jnp.asarray(lower, jnp.int32), jnp.asarray(place - lower, dtype), jnp.asarray(widths / widths.mean(), dtype),
        jnp.asarray(kernel / kernel.sum(), dtype), jnp.asarray(first, jnp.int32), jnp.asarray(starts - first, dtype),
        nodes, reach,
    )  # fmt: skip
    rest = np.exp(lowest + spacing * np.arange(nodes))
    reached = int(np.ceil(REACH * smoothing / SPEED_OF_LIGHT / spacing)) if smoothing > 0 else 0
    used = slice(max(0, first[0] - reached), min(nodes, int(first[-1]) + reach + 1 + reached))
    return TemplateGrid(rest, SPEED_OF_LIGHT * np.tanh(shifts), shift, used)
