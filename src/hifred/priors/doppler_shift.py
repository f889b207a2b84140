"""Spectra of gas at many velocities: templates on a grid of log energy, where a Doppler shift is a translation.

An absorber in front does not move with the gas: its edges stay where they are.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hifred.absorption import mean_cross_section
from hifred.doppler import SPEED_OF_LIGHT

# The smoothing kernel ends at this many standard deviations.
REACH = 3.0
# Nodes are as narrow as the narrowest bin, but there are at most so many of them for each bin in the mean.
FINEST = 8
# What passes less than `exp(-60)` of the clearest bin is as dark as that: counts times `exp(60)` fit single precision.
OPAQUE = 60.0
# Grids for speeds up to this one, km/s, and the smoothing that goes with them, have one size: they compile once.
ROOM, ROOM_SMOOTHING = 5400.0, 270.0


class DopplerShift(eqx.Module):
    """From templates `T[n, k]` to spectra `V[e, j, k]`: template `k`, smoothed, at velocity `j`, behind an absorber.

    `V[e, j, k] = exp(-N s_e) w_e sum_n o_en ((1 - t_j) U[n + i_j, k] + t_j U[n + i_j + 1, k])`, `U = G (exp(N s) T)`: a
    Gaussian `G`, linear interpolation to the shift `i_j + t_j`, the mean over the energy bin (node `n` is a cell that
    fills the part `o_en` of bin `e`, in log energy) and its width `w_e`. Templates are as they are seen at rest, behind
    the absorber of column `N` and cross-section `s`: it is taken away before they move, and put in front after.

    Attributes
    ----------
    bins, cells : arrays of shape (pair,)
        Bins and the cells that reach into them; bins increase.
    overlap : array of shape (pair,)
        `w_e o_en` of each pair.
    width : array of shape (energy,)
        Widths of the energy bins over their mean, `w`.
    kernel : array of shape (2 h + 1,)
        The Gaussian.
    first, part : arrays of shape (J,)
        `i` and `t` of each velocity; `i` increases.
    opacity, rest_opacity : arrays of shape (energy,) and (node,)
        Cross-section of the absorber, 1e-22 cm2 per hydrogen atom, less the least of the bins; 0 where nothing moves.
    nodes, reach : int
        Number of nodes of a template, and of those that a velocity sees.
    """

    bins: Int[Array, " pair"]
    cells: Int[Array, " pair"]
    overlap: Float[Array, " pair"]
    width: Float[Array, " energy"]
    kernel: Float[Array, " taps"]
    first: Int[Array, " velocity"]
    part: Float[Array, " velocity"]
    opacity: Float[Array, " energy"]
    rest_opacity: Float[Array, " node"]
    nodes: int = eqx.field(static=True)
    reach: int = eqx.field(static=True)

    @eqx.filter_jit
    def spectra(
        self, templates: Float[Array, "node template"], column: Float[Array, ""] | float = 0.0
    ) -> Float[Array, "energy velocity template"]:
        """The spectra `V` behind a column, 1e22 cm-2; their transpose is the one JAX derives.

        Compiled for calls from outside: op by op, each new shape would compile each operation.
        """
        half = self.kernel.shape[0] // 2
        templates = templates * jnp.exp(jnp.clip(column * self.rest_opacity, -OPAQUE, OPAQUE))[:, None]
        padded = jnp.pad(templates, ((half, half), (0, 0)), mode="edge")
        smooth = jax.lax.conv_general_dilated(
            padded.T[:, None], self.kernel[None, None], (1,), "VALID", precision=jax.lax.Precision.HIGHEST
        )[:, 0].T

        def moved(first, part):
            seen = jax.lax.dynamic_slice_in_dim(smooth, first, self.reach + 1)
            return (1 - part) * seen[:-1] + part * seen[1:]

        shifted = jax.vmap(moved, out_axes=1)(self.first, self.part)
        spectra = jax.ops.segment_sum(
            self.overlap[:, None, None] * shifted[self.cells], self.bins, self.width.size, indices_are_sorted=True
        )
        return spectra * jnp.exp(-jnp.clip(column * self.opacity, -OPAQUE, OPAQUE))[:, None, None]

    @eqx.filter_jit
    def totals(self) -> Float[Array, " node"]:
        """What one photon at each node adds to the sum of its spectra in the mean over velocities, without absorber."""
        nodes = jnp.zeros((self.nodes, 1), self.overlap.dtype)
        spectra, transpose = jax.vjp(self.spectra, nodes)
        return transpose(jnp.full_like(spectra, 1 / spectra.shape[1]))[0][:, 0]


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
    widths, edges = np.diff(energy_edges), np.log(energy_edges / energy_edges[0])
    count = int(velocity_max / velocity_step + 1e-9) if velocity_max > 0 else 0
    shifts = np.arange(-count, count + 1) * velocity_step / SPEED_OF_LIGHT
    spacing = max(float(np.diff(edges).min()), edges[-1] / (FINEST * widths.size))
    if count == 0 and smoothing == 0:
        cells, margin = edges, 0  # the spectra themselves
    else:
        cells = spacing * np.arange(np.ceil(edges[-1] / spacing - 1e-6) + 1)
        cells[-1] = max(cells[-1], edges[-1])
        room = max(velocity_max, ROOM) if count else 0.0
        margin = int(np.ceil(room / SPEED_OF_LIGHT / spacing)) + 1
    reach = cells.size - 1
    nodes = reach + 2 * margin + 1
    # Light of gas that recedes at v is seen at lower energy: its template is read at a higher rest energy.
    starts = margin + shifts / spacing
    first = np.floor(starts).astype(int)
    broadest = max(smoothing, ROOM_SMOOTHING) if count else smoothing
    half = int(np.ceil(REACH * broadest / SPEED_OF_LIGHT / spacing)) if smoothing > 0 else 0
    taps = np.arange(-half, half + 1) * spacing * SPEED_OF_LIGHT
    kernel = np.exp(-0.5 * (taps / smoothing) ** 2) if half else np.ones(1)
    bins, reached, overlap = _pairs(edges, cells)
    relative = widths / widths.mean()
    below, above = -spacing * np.arange(margin, 0, -1), cells[-1] + spacing * np.arange(1, margin + 2)
    sides = np.concatenate([below, cells, above])
    rest = energy_edges[0] * np.exp(0.5 * (sides[1:] + sides[:-1]))
    opacity, rest_opacity = np.zeros(widths.size), np.zeros(rest.size)
    if count > 0:
        opacity, rest_opacity = (mean_cross_section(e) for e in (energy_edges, energy_edges[0] * np.exp(sides)))
        # No finer than that of bins: of gas at rest, it is to take away what is put in front again.
        middles = 0.5 * (energy_edges[1:] + energy_edges[:-1])
        inside = (rest > middles[0]) & (rest < middles[-1])
        rest_opacity[inside] = np.interp(rest[inside], middles, opacity)
    shift = DopplerShift(
        jnp.asarray(bins, jnp.int32), jnp.asarray(reached, jnp.int32), jnp.asarray(relative[bins] * overlap, dtype),
        jnp.asarray(relative, dtype), jnp.asarray(kernel / kernel.sum(), dtype), jnp.asarray(first, jnp.int32),
        jnp.asarray(starts - first, dtype), jnp.asarray(opacity - opacity.min(), dtype),
        jnp.asarray(rest_opacity - opacity.min(), dtype), nodes, reach,
    )  # fmt: skip
    smeared = int(np.ceil(REACH * smoothing / SPEED_OF_LIGHT / spacing)) if smoothing > 0 else 0
    last = int(first[-1]) + reach + int(starts[-1] > first[-1])
    return TemplateGrid(
        rest, SPEED_OF_LIGHT * np.tanh(shifts), shift, slice(max(0, first[0] - smeared), min(nodes, last + smeared))
    )


def _pairs(edges: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins, the cells that reach into each, and the part of the bin that each fills; cells end no earlier than bins."""
    sides = np.union1d(edges, cells[cells < edges[-1]])
    middle = 0.5 * (sides[1:] + sides[:-1])
    # Between sides that differ by rounding alone, the middle may be the end itself.
    bins, found = (np.minimum(np.searchsorted(of, middle, "right") - 1, of.size - 2) for of in (edges, cells))
    return bins, found, np.diff(sides) / np.diff(edges)[bins]
