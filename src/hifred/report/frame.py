"""The axes of the page: energies or bin numbers, offsets or pixel numbers, and the units of what is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.grid import CubeGrid

# Superscripts for powers of ten in labels.
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, eq=False)
class Frame:
    """What the axes of a cube are called.

    Attributes
    ----------
    edges : array of shape (L + 1,)
        Edges of the energy bins in keV; bin numbers where the cube has no energies.
    sky_shape : tuple of two int
        Number of sky pixels `(ny, nx)`.
    grid : CubeGrid or None
        The grid, where there is one.
    quantum : str
        What is counted: photons per cm2 and second, or counts where the responses carry no area.
    """

    edges: np.ndarray
    sky_shape: tuple[int, int]
    grid: CubeGrid | None
    quantum: str

    @property
    def centres(self) -> np.ndarray:
        """Centres of the energy bins, shape (L,)."""
        return 0.5 * (self.edges[:-1] + self.edges[1:])

    @property
    def axis_unit(self) -> str:
        """Unit of the energy axis."""
        return "bin" if self.grid is None else "keV"

    @property
    def axis_label(self) -> str:
        """Label of the energy axis."""
        return "Energy bin" if self.grid is None else "Energy (keV)"

    @property
    def image_unit(self) -> str:
        """Unit of an image of a band."""
        return f"{self.quantum} per sky pixel"

    @property
    def spectrum_unit(self) -> str:
        """Unit of a spectrum of a sky pixel."""
        return f"{self.quantum} {self.axis_unit}⁻¹ per sky pixel"

    @property
    def decimals(self) -> int:
        """Digits behind the point that tell two energy bins apart."""
        return max(0, int(np.ceil(-np.log10(np.diff(self.edges).min()) - 1e-9)))

    def interval(self, low: float, high: float) -> str:
        """An energy band in words."""
        if self.grid is None:
            return f"bins {np.ceil(low):.0f} to {max(np.floor(high) - 1, np.ceil(low)):.0f}"
        return f"{low:.{self.decimals}f} to {high:.{self.decimals}f} keV"

    def widths(self, pixels: float, bins: float) -> str:
        """Widths on the sky and in energy, in words; never less than a pixel and a bin."""
        pixels, bins = max(pixels, 1.0), max(bins, 1.0)
        if self.grid is None:
            return f"{_number_of(pixels, 'pixel')} · {_number_of(bins, 'bin')}"
        width = bins * float(np.median(np.diff(self.edges))) * 1000
        return f"{_short(pixels * self.grid.pixel_size)}″ · {_short(width)} eV"

    @property
    def sky_label(self) -> str:
        """What the ticks of the images count."""
        if self.grid is None:
            return "pixel number"
        if not self.rotation:
            return "offset from the centre (arcsec), north up and east left"
        side = "right" if self.rotation > 0 else "left"
        return f"offset from the centre (arcsec), north {abs(self.rotation):.4g}° to the {side} of up"

    @property
    def rotation(self) -> float:
        """Position angle of the images' upward direction, -180 to 180 degrees east of north."""
        return 0.0 if self.grid is None else 180 - (180 - self.grid.rotation) % 360

    def sky_ticks(self, axis: int) -> dict[float, str]:
        """Places of the ticks in pixels from the edge, and their labels; axis 0 is y, 1 is x.

        Offsets are those along the axes of the image, upwards and to the left: to the north and to the east where the
        grid is not rotated.
        """
        pixels = self.sky_shape[axis]
        if self.grid is None:
            step = int(max(_round_step(0.4 * pixels), 1))
            return {n + 0.5: f"{n}" for n in range(0, pixels, step)}
        size = self.grid.pixel_size
        numbers = np.arange(-3, 4) * _round_step(0.4 * pixels * size)
        numbers = numbers[np.abs(numbers) < 0.42 * pixels * size]  # labels of neighbouring images must not meet
        places = pixels / 2 + (-1 if axis == 1 else 1) * numbers / size
        return {float(place): _plain(number) for place, number in zip(places, numbers, strict=True)}

    def pixel_words(self, pixel: tuple[int, int]) -> str:
        """A sky pixel `(y, x)` in words."""
        words = f"pixel x {pixel[1]}, y {pixel[0]}"
        if self.grid is None:
            return words
        size, digits = self.grid.pixel_size, 1 if self.grid.pixel_size < 1 else 0
        left = (self.sky_shape[1] / 2 - pixel[1] - 0.5) * size
        up = (pixel[0] + 0.5 - self.sky_shape[0] / 2) * size
        cos, sin = np.cos(np.radians(self.rotation)), np.sin(np.radians(self.rotation))
        east, north = left * cos + up * sin, up * cos - left * sin
        return (
            f"{words}; {abs(east):.{digits}f}″ {'west' if east < 0 else 'east'}, "
            f"{abs(north):.{digits}f}″ {'south' if north < 0 else 'north'} of the centre"
        )

    def row_words(self, row: int) -> str:
        """A row of sky pixels in words."""
        if self.grid is None:
            return f"row y {row}"
        size, digits = self.grid.pixel_size, 1 if self.grid.pixel_size < 1 else 0
        up = (row + 0.5 - self.sky_shape[0] / 2) * size
        return f"row y {row}; {abs(up):.{digits}f}″ {'below' if up < 0 else 'above'} the centre"

    @property
    def row_label(self) -> str:
        """What the ticks along a row of pixels count."""
        if self.grid is None:
            return "pixel number x"
        return f"offset along the row (arcsec), {'left of the centre' if self.rotation else 'east left'}"

    @property
    def sky_words(self) -> str:
        """Where the images lie on the sky, as a sentence; empty where that is not known."""
        if self.grid is None:
            return "The cube has no place on the sky: axes count pixels."
        if self.grid.center is None:
            return ""
        centre = self.grid.center.icrs
        return (
            f"The centre of the field is at right ascension {centre.ra.deg:.4f}°, declination "
            f"{centre.dec.deg:+.4f}° (ICRS)."
        )


def frame_of(fused: FusedCube, datasets: Sequence[Dataset]) -> Frame:
    """The frame of a fused cube; its data sets may know the grid where it does not."""
    grids = [fused.grid, *(dataset.grid for dataset in datasets)]
    grid = next((g for g in grids if g is not None and g.shape == fused.values.shape), None)
    edges = np.arange(fused.values.shape[0] + 1.0) if grid is None else grid.energy_edges
    with_area = [dataset.response.recipe.has_area for dataset in datasets]
    unit = "photon" if any(with_area) else fused.provenance.get("unit", "count")
    quantum = "photons cm⁻² s⁻¹" if unit.startswith("photon") else "counts"
    return Frame(edges, fused.values.shape[1:], grid, quantum)


def exponent(top: float) -> int:
    """Power of ten to take out of numbers up to `top`, so that short ones are left."""
    if not (np.isfinite(top) and top > 0):
        return 0
    power = int(np.floor(np.log10(top)))
    return 0 if -2 <= power <= 3 else power


def with_power(power: int, unit: str) -> str:
    """A unit with its power of ten in front."""
    return unit if power == 0 else f"10{str(power).translate(_SUPERSCRIPT)} {unit}"


def _round_step(step: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten that is not above `step`."""
    power = 10 ** np.floor(np.log10(max(step, 1e-12)))
    return float(power * max(n for n in (1, 2, 5) if n * power <= step * (1 + 1e-9)))


def _number_of(number: float, thing: str) -> str:
    text = f"{number:.3g}"
    return f"{text} {thing}" if text == "1" else f"{text} {thing}s"


def _short(number: float) -> str:
    """Two digits, or all those before the point."""
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _plain(number: float) -> str:
    return f"{number:g}".replace("-", "−")
