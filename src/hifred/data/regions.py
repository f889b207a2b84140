"""Regions of the sky to keep or to mask, from the files of DS9, CASA and CIAO."""

import gzip
import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
from astropy.wcs import WCS
from regions import (
    LinePixelRegion,
    LineSkyRegion,
    PixCoord,
    PixelRegion,
    PointPixelRegion,
    PointSkyRegion,
    Region,
    RegionMeta,
    Regions,
    SkyRegion,
    TextPixelRegion,
    TextSkyRegion,
)

from hifred.fitsio import FileError

# Of the regions package's warnings, those after which a region has not been read as written.
LOST = re.compile(r"skipping|not supported|cannot parse", re.IGNORECASE)
HARMLESS = re.compile(r"metadata", re.IGNORECASE)
WITHOUT_AREA = (
    LinePixelRegion, LineSkyRegion, PointPixelRegion, PointSkyRegion, TextPixelRegion, TextSkyRegion,
)  # fmt: skip
FRAME = re.compile(r"(?im)(?:^|;)\s*(image|physical|icrs|fk5|j2000|fk4|b1950|galactic|ecliptic)\s*(?=;|$)")
PHYSICAL = re.compile(r"(?im)(^|;)(\s*)physical(?=\s*(;|$))")
INLINE = re.compile(r"\w\s*\(")
SUFFIX = re.compile(r"\.\w+$")


def read_regions(source: str | os.PathLike, events_wcs: WCS | None = None) -> list[Region]:
    """Read regions from a file, or from text in the format of DS9.

    Parameters
    ----------
    source : path or str
        A DS9, CRTF (CASA) or FITS region file, told apart by its beginning; or DS9 text such as
        ``"fk5; circle(228.4, -59.1, 30')"``.
    events_wcs : WCS, optional
        Sky coordinates of the event list, for regions in its sky pixels: "physical" ones of DS9 and FITS region files.

    Returns
    -------
    list of Region
        On the sky, or in 0-based pixels of the image where the file says "image".

    Raises
    ------
    FileError
        If the file is missing or unreadable, holds no region, or one that is not understood.
    ValueError
        The same for text.
    """
    text = os.fspath(source)
    # A text too long for a name of a file is no error of os.path, as it is of pathlib.
    inline = isinstance(source, str) and INLINE.search(source) and not SUFFIX.search(source)
    if inline and not os.path.exists(text):
        where = f"region {' '.join(text.split())!r}"
        try:
            return _parse(text.encode(), where, events_wcs)
        except FileError as error:
            raise ValueError(str(error)) from error
    try:
        content = Path(text).read_bytes()
    except OSError as error:
        raise FileError(f"{text}: expected a region file, found: {error.strerror or error}") from error
    return _parse(content, text, events_wcs)


def region_mask(regions: list[Region] | Regions, wcs: WCS | None, shape: tuple[int, int]) -> np.ndarray:
    """Pixels of an image whose centres lie in any of some regions.

    Parameters
    ----------
    regions : list of Region
        From `read_regions`. Excluded ones (with a minus sign in DS9) are taken away from the union of the others,
        whatever their order; without others, from the whole image.
    wcs : WCS or None
        Celestial coordinates of the image; None where it has none and the regions are in pixels.
    shape : tuple of two int
        `(ny, nx)` of the image.

    Returns
    -------
    array of bool, shape (ny, nx)
        True inside.

    Raises
    ------
    ValueError
        If no pixel is left, or a region cannot be placed on the image or has no area.
    """
    included, excluded = [], []
    for region in regions:
        out = region.meta.get("include", True) in (False, 0, "0", "-")
        (excluded if out else included).append(region)
    mask = np.zeros(shape, bool) if included else np.ones(shape, bool)
    for region in included:
        mask |= _inside(region, wcs, shape)
    if not mask.any():
        raise ValueError(
            f"regions: expected one that holds the centre of a pixel of the image of {shape[0]} x {shape[1]} pixels, "
            f"found {', '.join(_name(region) for region in included) or 'none'} off the image or between its pixels"
        )
    for region in excluded:
        mask &= ~_inside(region, wcs, shape)
    if not mask.any():
        raise ValueError("regions: expected some pixels outside the excluded regions, found none")
    return mask


def _name(region: Region) -> str:
    """Shape and centre, in one line."""
    shape = type(region).__name__.removesuffix("SkyRegion").removesuffix("PixelRegion").lower()
    center = getattr(region, "center", None)
    if center is None:
        return shape
    if isinstance(region, SkyRegion):
        return f"{shape} at {center.to_string('decimal')}"
    return f"{shape} at pixel ({center.x:g}, {center.y:g})"


def _inside(region: Region, wcs: WCS | None, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie in one region, whether it is excluded or not."""
    if isinstance(region, WITHOUT_AREA):
        raise ValueError(f"regions: expected shapes with an area, found {_name(region)}")
    if isinstance(region, SkyRegion) and wcs is None:
        raise ValueError(
            f"regions: expected regions in pixels for an image without sky coordinates, found {_name(region)}"
        )
    inside = np.zeros(shape, bool)
    pixel = region.to_pixel(wcs) if isinstance(region, SkyRegion) else region.copy()
    pixel.meta = RegionMeta()  # an excluded region would say that it contains its outside
    try:
        box = pixel.bounding_box
    except ValueError:  # of nan: on the far side of the sky, where the projection does not reach
        return inside
    window, _ = box.get_overlap_slices(shape)
    if window is not None:
        y, x = np.mgrid[window]
        inside[window] = pixel.contains(PixCoord(x, y))
    return inside


def _parse(content: bytes, where: str, events_wcs: WCS | None) -> list[Region]:
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
            if content.startswith(b"SIMPLE  ="):
                found = list(Regions.read(io.BytesIO(content), format="fits"))
                found = _on_sky(found, where, _one_based(events_wcs))
            elif content.startswith(b"#CRTF"):
                found = list(Regions.parse(content.decode(), format="crtf"))
            else:
                found = _parse_ds9(content.decode(), where, events_wcs)
    except FileError:
        raise
    except Exception as error:  # the parsers raise whatever comes up: KeyError, IndexError, their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{where}: expected regions in the format of DS9, CRTF or FITS, found: {reason}") from error
    for warning in caught:
        message = " ".join(str(warning.message).split())
        if LOST.search(message) and not HARMLESS.search(message):
            raise FileError(f"{where}: expected regions that can be used, found: {message}")
    if not found:
        raise FileError(f"{where}: expected at least one region, found none")
    return found


def _parse_ds9(text: str, where: str, events_wcs: WCS | None) -> list[Region]:
    """Regions of DS9 text; those after the word "physical" are placed on the sky."""
    if not PHYSICAL.search(text):
        return list(Regions.parse(text, format="ds9"))
    found: list[Region] = []
    # Each stretch of text has one frame; what comes before the first is read too, to notice a region without a frame.
    starts = [0, *(match.start() for match in FRAME.finditer(text))]
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:stop].lstrip(";")
        if PHYSICAL.search(part):
            placed = list(Regions.parse(PHYSICAL.sub(r"\1\2image", part), format="ds9"))
            found += _on_sky(placed, where, events_wcs)
        else:
            found += list(Regions.parse(part, format="ds9"))
    return found


def _one_based(wcs: WCS | None) -> WCS | None:
    """The same coordinates for 1-based pixel numbers: the regions package does not lower those of FITS files by one."""
    if wcs is None:
        return None
    shifted = wcs.deepcopy()
    shifted.wcs.crpix = shifted.wcs.crpix + 1
    return shifted


def _on_sky(found: list[Region], where: str, wcs: WCS | None) -> list[Region]:
    if wcs is None:
        raise FileError(f"{where}: expected sky coordinates, found sky pixels of an event list that is not given")
    out = []
    for region in found:
        if not isinstance(region, PixelRegion):
            raise FileError(f"{where}: expected regions in pixels, found {_name(region)} on the sky")
        placed = region.to_sky(wcs)
        placed.meta = region.meta
        out.append(placed)
    return out
