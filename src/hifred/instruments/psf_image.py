"""Point-spread functions given as images: measured, ray-traced, or made by a mission's software."""

import os
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from hifred.fitsio import FileError
from hifred.instruments.planes import Planes, read_planes
from hifred.instruments.psf import PSF, checked_fraction, checked_pixels, checked_place

_FINE = 90_000  # pixels


@dataclass(frozen=True, eq=False)
class ImagePSF(PSF):
    """PSF images, interpolated linearly between energies and off-axis angles.

    Outside of the range of energies or angles the nearest image is used. The axes of the images are those of the sky
    grid (y up, x to the right): an image is never rotated.

    Parameters
    ----------
    images : array of shape (y, x), (energy, y, x) or (energy, off_axis, y, x)
        Photons in each pixel; finite, not negative.
    pixel_size : float
        Side of the square pixels, arcsec.
    energies : array of shape (energy,), optional
        keV, increasing. Needed for more than one image.
    off_axes : array of shape (off_axis,), optional
        arcmin, increasing.
    center : pair of float, optional
        Place `(x, y)` of the source in 0-based pixels, (0, 0) being the middle of the first pixel; by default the
        middle of the image.
    normalize : bool
        Divide each image by its sum, so that it holds all photons. Otherwise the values are shares of all photons, and
        an image's sum, at most 1, is the share that it holds.
    path : str, optional
        File they come from.

    Raises
    ------
    ValueError
        If shapes, energies or angles do not fit together, or an image is negative, not finite or empty.
    """

    images: np.ndarray
    pixel_size: float
    energies: np.ndarray | None
    off_axes: np.ndarray | None
    center: tuple[float, float]
    path: str | None

    def __init__(self, images, pixel_size, energies=None, off_axes=None, center=None, normalize=True, path=None):
        images = np.array(images, float)
        if images.ndim not in (2, 3, 4):
            raise ValueError(f"images: expected 2 to 4 axes, (energy, off_axis, y, x), found {images.ndim}")
        images = images.reshape(*(*images.shape[:-2], 1, 1)[:2], *images.shape[-2:])
        size, _ = checked_pixels(pixel_size, 0)
        if not (np.all(np.isfinite(images)) and images.min() >= 0):
            raise ValueError("images: expected finite values of at least 0, found others")
        sums = images.sum(axis=(2, 3), keepdims=True)
        if not np.all(sums > 0):
            raise ValueError("images: expected photons in each image, found an empty one")
        if normalize:
            images = images / sums
        elif sums.max() > 1 + 1e-6:
            raise ValueError(f"images: expected shares of all photons, that sum to at most 1, found {sums.max():g}")
        images.flags.writeable = False
        ny, nx = images.shape[2:]
        x, y = ((nx - 1) / 2, (ny - 1) / 2) if center is None else (float(place) for place in center)
        if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
            raise ValueError(f"center: expected a place (x, y) in an image of {ny} x {nx} pixels, found {center}")
        for name, value in (
            ("images", images), ("pixel_size", size), ("center", (x, y)), ("path", path),
            ("energies", _axis("energies", energies, images.shape[0])),
            ("off_axes", _axis("off_axes", off_axes, images.shape[1])),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    @classmethod
    def read(cls, path: str | os.PathLike, *, normalize: bool = True) -> "ImagePSF":
        """Read the images of a FITS file.

        Energies and off-axis angles are found as `hifred.instruments.planes.read_planes` says; with angles, there must
        be an image for each pair of energy and angle. The size of the pixels is that of the WCS (CDELT with CUNIT, by
        default deg). The source is at CRPIX, or in the middle where that keyword is missing. An image with a
        celestial WCS whose x axis runs to the east is mirrored, since sky grids have the east on the left.

        Raises
        ------
        FileError
            If the file has no such images, or its pixels are not square or of unknown size.
        """
        planes = read_planes(path)
        size, mirrored = _pixel_size(planes)
        images = planes.images[:, None]
        energies, off_axes = planes.energies, None
        try:
            if planes.off_axes is not None:
                energies, off_axes, images = _table(planes)
            elif energies is not None:
                order = np.argsort(energies)
                energies, images = energies[order], images[order]
            ny, nx = images.shape[2:]
            x = float(planes.header.get("CRPIX1", (nx + 1) / 2)) - 1
            y = float(planes.header.get("CRPIX2", (ny + 1) / 2)) - 1
            if mirrored:
                images, x = images[..., ::-1], nx - 1 - x
            return cls(images, size, energies, off_axes, (x, y), normalize, str(path))
        except FileError:
            raise
        except ValueError as error:
            raise FileError(f"{planes.where}: {error}") from error

    def kernel(self, energy, off_axis=0.0, *, pixel_size, half) -> np.ndarray:
        """Share of a point source's photons in each pixel; see `PSF.kernel`.

        The photons of an image's pixel are spread evenly over it, and each part goes to the pixel it falls in.
        """
        size, half = checked_pixels(pixel_size, half)
        image = self._image(energy, off_axis)
        edges = (np.arange(2 * half + 2) - half - 0.5) * size
        shares = [
            _shared_lengths(edges, (np.arange(n + 1) - 0.5 - middle) * self.pixel_size)
            for n, middle in zip(image.shape, self.center[::-1], strict=True)
        ]
        return shares[0] @ image @ shares[1].T

    def encircled(self, radius, energy, off_axis=0.0) -> np.ndarray:
        """Share of the photons within a radius; see `PSF.encircled`.

        A pixel's photons are taken to be at the middles of 5 x 5 parts of it; in images of more than 90,000 pixels,
        where that takes seconds, at its own middle.
        """
        distances, shares = self._growth(energy, off_axis)
        return np.asarray(np.interp(np.asarray(radius, float), distances, shares))

    def radius(self, fraction, energy, off_axis=0.0) -> float:
        """Radius that holds a share of the photons, arcsec; see `PSF.radius`."""
        wanted = checked_fraction(fraction)
        distances, shares = self._growth(energy, off_axis)
        if wanted > shares[-1]:
            raise ValueError(f"fraction: expected at most {shares[-1]:.4g}, which the image holds, found {fraction}")
        first = int(np.searchsorted(shares, wanted))
        return float(np.interp(wanted, shares[max(first - 1, 0) : first + 1], distances[max(first - 1, 0) : first + 1]))

    def describe(self) -> str:
        """Say in one line what it is."""
        (n, m), (ny, nx) = self.images.shape[:2], self.images.shape[2:]
        at = "" if self.energies is None else f" at {', '.join(f'{e:g}' for e in self.energies)} keV"
        angles = "" if self.off_axes is None else f", {self.off_axes[0]:g} to {self.off_axes[-1]:g} arcmin off axis"
        images = "1 image" if n * m == 1 else f"{n * m} images"
        half_power = 2 * self.radius(0.5 * float(self.images[0, 0].sum()), *self._first())
        return (
            f"{images} of {ny} x {nx} pixels of {self.pixel_size:.3g} arcsec{at}{angles}, "
            f"half-power diameter {half_power:.3g} arcsec"
        )

    def _first(self) -> tuple[float, float]:
        return (
            1.0 if self.energies is None else float(self.energies[0]),
            0.0 if self.off_axes is None else float(self.off_axes[0]),
        )

    def _image(self, energy, off_axis) -> np.ndarray:
        e, t = checked_place(energy, off_axis)
        by_energy = _weights(self.energies, e)
        by_angle = _weights(self.off_axes, t)
        return np.einsum("e,t,etyx->yx", by_energy, by_angle, self.images)

    def _growth(self, energy, off_axis) -> tuple[np.ndarray, np.ndarray]:
        image = self._image(energy, off_axis)
        parts = 5 if image.size <= _FINE else 1
        x, y = (
            ((np.arange(n * parts) + 0.5) / parts - 0.5 - middle) * self.pixel_size
            for n, middle in zip(image.shape[::-1], self.center, strict=True)
        )
        distances = np.hypot(y[:, None], x).ravel()
        order = np.argsort(distances)
        photons = np.kron(image, np.full((parts, parts), 1 / parts**2)).ravel()[order]
        return np.append(0.0, distances[order]), np.append(0.0, np.cumsum(photons))


def _axis(name: str, values, length: int) -> np.ndarray | None:
    if values is None:
        if length > 1:
            raise ValueError(f"{name}: expected {length} values, one for each image, found none")
        return None
    found = np.array(values, float)
    if found.shape != (length,) or not np.all(np.isfinite(found)) or np.any(np.diff(found) <= 0) or found[0] < 0:
        raise ValueError(f"{name}: expected {length} increasing numbers of at least 0, found {found}")
    found.flags.writeable = False
    return found


def _weights(axis: np.ndarray | None, value: float) -> np.ndarray:
    if axis is None:
        return np.ones(1)
    return np.array([np.interp(value, axis, unit) for unit in np.eye(axis.size)])


def _shared_lengths(targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Share `[target, source]` of each interval of `sources` that lies in each interval of `targets`."""
    low = np.maximum(targets[:-1, None], sources[:-1])
    high = np.minimum(targets[1:, None], sources[1:])
    return np.clip(high - low, 0, None) / np.diff(sources)


def _pixel_size(planes: Planes) -> tuple[float, bool]:
    """Side of the pixels in arcsec, and whether the x axis runs to the east."""
    header, where = planes.header, planes.where
    if "CDELT1" not in header and "CD1_1" not in header:
        raise FileError(f"{where}: expected the size of the pixels in CDELT1 or a CD matrix, found neither")
    wcs = planes.wcs
    celestial = wcs.has_celestial
    if not celestial and "CUNIT1" not in header:
        raise FileError(f"{where}: expected CUNIT1, the unit of CDELT1, found none")
    try:
        units = [u.Unit(str(unit)) for unit in wcs.wcs.cunit]
        sides = [abs(s) * unit.to(u.arcsec) for s, unit in zip(_scales(wcs), units, strict=True)]
    except ValueError as error:
        raise FileError(f"{where}: expected CUNIT1 and CUNIT2 to be angles, found {list(wcs.wcs.cunit)}") from error
    if abs(sides[0] - sides[1]) > 0.01 * sides[0]:
        raise FileError(f"{where}: expected square pixels, found {sides[0]:.4g} by {sides[1]:.4g} arcsec")
    return sides[0], bool(celestial and wcs.pixel_scale_matrix[0, 0] > 0)


def _scales(wcs) -> np.ndarray:
    return np.sqrt((wcs.pixel_scale_matrix**2).sum(axis=0))


def _table(planes: Planes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies, angles and images (energy, off_axis, y, x) of images in any order."""
    if planes.energies is None or planes.off_axes is None:
        raise ValueError("expected the keyword ENERGY beside OFF_AXIS, found none")
    energies, e = np.unique(planes.energies, return_inverse=True)
    angles, t = np.unique(planes.off_axes, return_inverse=True)
    place = np.full((energies.size, angles.size), -1)
    place[e, t] = np.arange(len(planes.images))
    if len(planes.images) != place.size or place.min() < 0:
        raise ValueError(
            f"expected one image for each of {energies.size} energies and {angles.size} off-axis angles, "
            f"found {len(planes.images)}"
        )
    return energies, angles, planes.images[place]
