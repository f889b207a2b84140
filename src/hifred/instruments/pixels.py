"""The pixels of a detector with few, large ones: their layout, and where they lie on the sky."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, SkyCoord
from astropy.wcs import WCS

from hifred.fitsio import FileError
from hifred.grid import number, whole_numbers


class Placement(NamedTuple):
    """Where a detector lies on the sky.

    Parameters
    ----------
    center : SkyCoord
        Middle of the array, ICRS.
    roll : float
        Position angle of increasing columns of the layout, degrees east of north, 0 to 360.
    rms : float
        Distance of the mean event of a pixel from where the placement has its middle, arcsec: root of the mean square
        over events.
    """

    center: SkyCoord
    roll: float
    rms: float


@dataclass(frozen=True, eq=False)
class PixelArray:
    """Square pixels on a square lattice.

    Parameters
    ----------
    pitch : float
        Distance between neighbouring pixels, arcsec; they fill it.
    layout : array of int of shape (rows, columns)
        Number of each pixel, as the event list has it.
    off_sky : tuple of int
        Numbers of pixels that do not see the sky.
    row_angle : {-90.0, 90.0}
        Position angle of increasing rows minus that of increasing columns, degrees, as seen on the sky. It is -90 for
        XRISM Resolve with rows DETX and columns DETY; an image with north up and east left has +90.

    Raises
    ------
    ValueError
        If the pitch is not positive, numbers occur twice, or a pixel off the sky is not in the layout.
    """

    pitch: float
    layout: np.ndarray
    off_sky: tuple[int, ...] = ()
    row_angle: float = -90.0

    def __post_init__(self):
        pitch = number("pitch", self.pitch)
        if not (np.isfinite(pitch) and pitch > 0):
            raise ValueError(f"pitch: expected a positive number of arcsec, found {self.pitch}")
        layout = np.array(self.layout)
        if layout.ndim != 2 or layout.size == 0 or layout.dtype.kind not in "iu":
            raise ValueError(
                f"layout: expected whole numbers of shape (rows, columns), found {layout.dtype} of {layout.shape}"
            )
        values, times = np.unique(layout, return_counts=True)
        if times.max() > 1:
            raise ValueError(f"layout: expected each pixel once, found {values[times > 1].tolist()} more often")
        off_sky = whole_numbers("off_sky", self.off_sky)
        strange = sorted(set(off_sky) - set(values.tolist()))
        if strange:
            raise ValueError(f"off_sky: expected pixels of the layout, found {strange}")
        if number("row_angle", self.row_angle) not in (-90.0, 90.0):
            raise ValueError(f"row_angle: expected -90 or 90 degrees, found {self.row_angle}")
        layout.flags.writeable = False
        for name, value in (("pitch", pitch), ("layout", layout), ("off_sky", off_sky)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.shape

    @property
    def seen(self) -> np.ndarray:
        """Pixels that see the sky, bool of shape (rows, columns)."""
        return ~np.isin(self.layout, self.off_sky)

    def offsets(self, rows, columns, roll) -> np.ndarray:
        """Offsets on the sky of places of the lattice.

        Parameters
        ----------
        rows, columns : array_like
            Places; pixel (i, j) spans i - 0.5 to i + 0.5 and j - 0.5 to j + 0.5.
        roll : float
            Position angle of increasing columns, degrees east of north.

        Returns
        -------
        complex array
            `north + i east` from the middle of the array in the tangent plane, arcsec: as in
            `(columns e^(i roll) + rows e^(i (roll + row_angle))) pitch`.
        """
        down, along = ((np.asarray(place) - (n - 1) / 2) for place, n in zip((rows, columns), self.shape, strict=True))
        return self.pitch * (along + down * 1j * np.sign(self.row_angle)) * np.exp(1j * np.radians(roll))

    def on_sky(self, center: SkyCoord, roll) -> "PlacedArray":
        """Place the array.

        Parameters
        ----------
        center : SkyCoord
            Sky position of its middle.
        roll : float
            Position angle of increasing columns (+DETY of Resolve), degrees east of north.

        Raises
        ------
        ValueError
            If the roll is not finite or the centre not one position.
        """
        return PlacedArray(self, center, roll)


@dataclass(frozen=True, eq=False)
class PlacedArray:
    """Pixels of a detector on the sky; see `PixelArray.on_sky`."""

    array: PixelArray
    center: SkyCoord
    roll: float

    def __post_init__(self):
        roll = number("roll", self.roll)
        if not np.isfinite(roll):
            raise ValueError(f"roll: expected a finite number of degrees, found {self.roll}")
        if not self.center.isscalar:
            raise ValueError(f"center: expected one position, found {self.center.size}")
        object.__setattr__(self, "center", _icrs(self.center))
        object.__setattr__(self, "roll", roll % 360)

    @property
    def seen(self) -> np.ndarray:
        """Pixels that see the sky, bool of shape (rows, columns)."""
        return self.array.seen

    def corners(self, grid_wcs: WCS) -> np.ndarray:
        """Corners of the pixels on an image of the sky.

        Parameters
        ----------
        grid_wcs : WCS
            Celestial WCS of the image.

        Returns
        -------
        array of shape (rows * columns, 4, 2)
            `(x, y)` in 0-based pixel coordinates, in order round each pixel; pixels in the order of the layout, row by
            row. Pixels off the sky have the corners of their place: see `seen`. All nan where the image has no place
            for a corner.
        """
        rows, columns = np.indices(self.array.shape) - 0.5
        rows, columns = (
            np.stack([place, place + a, place + 1, place + b], axis=-1)
            for place, a, b in ((rows, 0, 1), (columns, 1, 0))
        )
        x, y = grid_wcs.world_to_pixel(self._sky(rows, columns))
        corners = np.stack([x, y], axis=-1).reshape(-1, 4, 2)
        corners[~np.isfinite(corners).all(axis=(1, 2))] = np.nan
        return corners

    def centers(self) -> SkyCoord:
        """Sky positions of the middles of the pixels, shape (rows, columns), ICRS."""
        return self._sky(*np.indices(self.array.shape))

    @property
    def footprint(self) -> SkyCoord:
        """Sky positions of the four corners of the whole array, ICRS."""
        rows, columns = self.array.shape
        return self._sky(np.array([0, 0, rows, rows]) - 0.5, np.array([0, columns, columns, 0]) - 0.5)

    def _sky(self, rows, columns) -> SkyCoord:
        offsets = self.array.offsets(rows, columns, self.roll)
        return _tangent_plane(self.center).pixel_to_world(np.imag(offsets), np.real(offsets))


def fit_placement(x, y, pixel, wcs: WCS, array: PixelArray) -> Placement:
    """Measure where a detector lies from the events that each of its pixels has on the sky.

    Missions spread the sky positions of events evenly over the pixel, so each event is at the middle of its pixel, give
    or take `pitch / sqrt(6)`. With the pitch and parity of the array known, the centre and the roll follow by least
    squares over the events: with z the complex position, q the place in the array at roll 0, and means removed,
    `roll = arg sum(z conj(q))`. The result is good to about `pitch / sqrt(6 n)` for n events.

    Parameters
    ----------
    x, y : array of shape (n,)
        Sky positions as 1-based FITS pixel coordinates, as event lists hold them.
    pixel : array of shape (n,)
        Numbers of the pixels; events of pixels off the sky are left out.
    wcs : WCS
        Celestial WCS of the positions.
    array : PixelArray
        The detector.

    Raises
    ------
    ValueError
        If there are events of unknown pixels, fewer than two pixels have events, or the positions do not follow the
        layout (events of one pixel far apart, or of a mirrored or other detector).
    """
    x, y, pixel = np.asarray(x, float), np.asarray(y, float), np.asarray(pixel)
    strange = sorted(set(np.unique(pixel).tolist()) - set(array.layout.ravel().tolist()))
    if strange:
        raise ValueError(f"pixel: expected numbers of the layout, found {strange}")
    use = ~np.isin(pixel, array.off_sky)
    numbers, which, counts = np.unique(pixel[use], return_inverse=True, return_counts=True)
    if numbers.size < 2:
        raise ValueError(f"pixel: expected events in at least two pixels that see the sky, found {numbers.size}")
    place = {int(n): index for index, n in np.ndenumerate(array.layout)}
    rows, columns = np.array([place[int(n)] for n in numbers]).T
    flat = array.offsets(rows, columns, 0.0)
    means = [np.bincount(which, weights=v[use]) / counts for v in (x, y)]
    sky = wcs.pixel_to_world(means[0] - 1, means[1] - 1)
    center = _icrs(sky[int(np.argmin(np.abs(flat)))])
    # The tangent plane is that of the centre which is sought: one that is 3 arcmin off is right to 1e-6 already.
    for _ in range(3):
        center = _fitted(sky, flat, counts, center)[0]
    center, roll, rms = _fitted(sky, flat, counts, center)
    expected = array.pitch * np.sqrt(numbers.size / (6 * counts.sum()))
    if rms > 0.25 * array.pitch + 3 * expected:
        raise ValueError(
            f"x, y: expected the events of a pixel about its place in the layout, found them {rms:.3g} arcsec off "
            f"(rms): is it another detector, or another numbering or parity?"
        )
    return Placement(center, roll, rms)


def _fitted(sky: SkyCoord, flat: np.ndarray, counts: np.ndarray, center: SkyCoord) -> Placement:
    """Least squares in the tangent plane of a centre: from places in the array at roll 0 to the sky."""
    east, north = _tangent_plane(center).world_to_pixel(sky)
    z = north + 1j * east
    mean, mean_flat = np.average(z, weights=counts), np.average(flat, weights=counts)
    roll = np.angle(np.sum(counts * (z - mean) * np.conj(flat - mean_flat)))
    turned = (flat - mean_flat) * np.exp(1j * roll)
    shift = mean - mean_flat * np.exp(1j * roll)
    rms = float(np.sqrt(np.average(np.abs(z - mean - turned) ** 2, weights=counts)))
    return Placement(_tangent_plane(center).pixel_to_world(shift.imag, shift.real), float(np.degrees(roll)) % 360, rms)


def placement_from_header(header, where: str = "header") -> Placement:
    """Place a detector by the nominal pointing in the header of an event list.

    RA_NOM and DEC_NOM are the middle of the array and PA_NOM the position angle of +DETY, the columns of the layout of
    Resolve; +DETX is at PA_NOM - 90. Measured with `fit_placement` on 11,833 events of XRISM observation 300045010:
    roll 79.93 degrees (PA_NOM: 80.00), middle 3.0 arcsec away from RA_NOM, DEC_NOM. So prefer the fit where there are a
    few hundred events.

    Parameters
    ----------
    header : mapping
        With RA_NOM, DEC_NOM, PA_NOM in degrees.
    where : str
        Name of the file and extension, for messages.

    Returns
    -------
    Placement
        With an `rms` of nan: nothing was measured.

    Raises
    ------
    FileError
        If a keyword is missing or no finite number.
    """
    values = []
    for keyword in ("RA_NOM", "DEC_NOM", "PA_NOM"):
        found = header.get(keyword, "no such keyword")
        if isinstance(found, (str, bool)) or not np.isfinite(found):
            raise FileError(f"{where}: expected a number of degrees in {keyword}, found {found}")
        values.append(float(found))
    if abs(values[1]) > 90:
        raise FileError(f"{where}: expected DEC_NOM from -90 to 90 degrees, found {values[1]}")
    return Placement(SkyCoord(*values[:2], unit=u.deg), values[2] % 360, float("nan"))


def _icrs(position: SkyCoord) -> SkyCoord:
    return SkyCoord(position.transform_to(ICRS()))


def _tangent_plane(center: SkyCoord) -> WCS:
    """WCS of the tangent plane: pixel (east, north) in arcsec from the centre."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [center.ra.deg, center.dec.deg]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cdelt = [1 / 3600, 1 / 3600]
    wcs.wcs.radesys = "ICRS"
    return wcs
