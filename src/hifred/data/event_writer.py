"""Simulated photons as event lists in the form of each mission, so that they pass through the readers of real ones."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from hifred import fitsio
from hifred.data.good_times import length, matches, merge
from hifred.instruments.columns import EventColumns


class Layout(TypedDict):
    """What sets the files of one mission apart, as arguments of `write_events`."""

    sky_pixel: float
    sky_size: int
    formats: Mapping[str, str]
    gti: str


# By name of the instrument's preset. XRISM Resolve and Chandra as in real files; the sky pixels of EPIC (0.05 arcsec,
# reference pixel 25921) as SAS writes them; those of Xtend as of Resolve. X-IFU has no files yet: a choice of ours.
_EPIC: Layout = {"sky_pixel": 0.05, "sky_size": 51841, "formats": {"X": "J", "Y": "J", "PI": "I"}, "gti": "STDGTI"}
_ACIS: Layout = {"sky_pixel": 0.492, "sky_size": 8192, "formats": {"x": "E", "y": "E", "pi": "J"}, "gti": "GTI"}
_XRISM: Layout = {"sky_pixel": 1.76798412, "sky_size": 2430, "formats": {"X": "I", "Y": "I", "PI": "J"}, "gti": "GTI"}
_XIFU: Layout = {"sky_pixel": 1.0, "sky_size": 2048, "formats": {"X": "E", "Y": "E", "PI": "J"}, "gti": "GTI"}
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "epic-pn": _EPIC, "epic-mos1": _EPIC, "epic-mos2": _EPIC, "acis-i": _ACIS, "acis-s": _ACIS,
        "xrism-resolve": _XRISM, "xrism-xtend": _XRISM, "x-ifu": _XIFU,
    }
)  # fmt: skip


def write_events(
    path: str | os.PathLike,
    columns: EventColumns,
    *,
    telescope: str,
    instrume: str,
    time,
    channel,
    sky,
    pixel=None,
    center,
    sky_pixel: float | int,
    sky_size: int | None = None,
    good_times,
    exposure: float | int,
    formats: Mapping[str, str] | None = None,
    gti: str = "GTI",
    extra_columns: Mapping[str, np.ndarray] | None = None,
    header: Mapping | None = None,
    overwrite: bool = False,
) -> None:
    """Write an event list.

    Parameters
    ----------
    path : path
        Where; a name that ends in `.gz` gives a compressed file.
    columns : EventColumns
        Names of columns and extensions. A column of its `keep` rules that `extra_columns` does not give is filled with
        a value that the rule keeps.
    telescope, instrume : str
        TELESCOP and INSTRUME.
    time : array of shape (n,)
        Arrival times in s.
    channel : array of shape (n,)
        Pulse-invariant channels (PI).
    sky : SkyCoord or pair of arrays of shape (n,)
        Positions; a pair is (right ascension, declination) in degrees, ICRS.
    pixel : array of shape (n,), optional
        Numbers of the detector pixels; needed where `columns.pixel` names their column.
    center : SkyCoord or pair of float
        Sky position of the middle of the tangential projection.
    sky_pixel : float
        Side of the sky pixels that positions are given in, arcsec.
    sky_size : int, optional
        Sky pixels along a side; the middle is the pixel `(sky_size + 1) / 2`. Without it, enough to hold all events.
    good_times : array of shape (m, 2)
        Good-time intervals in s.
    exposure : float
        Exposure without dead time, s.
    formats : mapping of str to str, optional
        TFORM of the columns of positions and channels. Positions in whole pixels (format I or J) are rounded to the
        nearest. Default: E for positions, J for channels.
    gti : str
        Name of the extension with the good times.
    extra_columns : mapping of str to array, optional
        Further columns.
    header : mapping of str to value, optional
        Further keywords of the table, or others in place of those written.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or a position is off the sky pixels.
    FileError
        If the file exists, or cannot be written there.

    Notes
    -----
    `LAYOUTS` has the arguments `sky_pixel`, `sky_size`, `formats` and `gti` of each preset. The frame is ICRS, north
    up. The sky coordinates stand in the keywords of the columns (TCTYPn, ...) and those of XMM-Newton (REFXCTYP, ...).
    """
    time, channel = np.asarray(time, float), np.asarray(channel)
    size = len(time)
    intervals = np.asarray(good_times, float)
    if intervals.ndim != 2 or intervals.shape[1] != 2 or length(merge(intervals)) <= 0:
        raise ValueError(f"good_times: expected intervals (start, stop) of shape (n, 2) in s, found {good_times!r}")
    if not 0 < exposure < np.inf:
        raise ValueError(f"exposure: expected a positive number of s, found {exposure}")
    if columns.gti and not matches(gti, columns.gti):
        raise ValueError(f"gti: expected a name like {' or '.join(columns.gti)}, found {gti!r}")
    wcs, x, y = _positions(sky, center, sky_pixel, sky_size)
    forms = {columns.x: "E", columns.y: "E", columns.channel: "J"} | dict(formats or {})
    made = {columns.time: ("D", time), columns.x: (forms[columns.x], x), columns.y: (forms[columns.y], y)}
    made[columns.channel] = (forms[columns.channel], channel)
    if columns.pixel is not None:
        if pixel is None:
            raise ValueError(f"pixel: expected the numbers of the pixels (column {columns.pixel}), found none")
        pixel = np.asarray(pixel)
        made[columns.pixel] = ("B" if np.max(pixel, initial=0) < 256 else "I", pixel)
    extra = {name: np.asarray(values) for name, values in (extra_columns or {}).items()}
    made |= {name: (_format(name, values), values) for name, values in (_kept(columns, extra, size) | extra).items()}
    table = fits.BinTableHDU.from_columns(
        [_column(name, form, values, size, columns) for name, (form, values) in made.items()], name=columns.extension
    )
    names = [name.upper() for name in made]
    _fill_header(table.header, wcs, [names.index(name.upper()) + 1 for name in (columns.x, columns.y)])
    facts = _facts(telescope, instrume, wcs, intervals, exposure)
    table.header.update(facts | {"EXPOSURE": exposure, "HDUCLAS1": "EVENTS"} | dict(header or {}))
    starts = [fits.Column(n, "D", unit="s", array=intervals[:, i]) for i, n in enumerate(("START", "STOP"))]
    times = fits.BinTableHDU.from_columns(starts, name=gti)
    times.header.update(facts | {"HDUCLAS1": "GTI"})
    primary = fits.PrimaryHDU()
    primary.header.update({key: facts[key] for key in ("TELESCOP", "INSTRUME")})
    fitsio.write(path, [primary, table, times], overwrite=overwrite)


def _positions(sky, center, sky_pixel: float | int, sky_size: int | None) -> tuple[WCS, np.ndarray, np.ndarray]:
    """Projection, and the positions in its 1-based pixels."""
    middle = center if isinstance(center, SkyCoord) else SkyCoord(*center, unit="deg")
    ra, dec = (sky.icrs.ra.deg, sky.icrs.dec.deg) if isinstance(sky, SkyCoord) else sky
    if not 0 < sky_pixel < np.inf:
        raise ValueError(f"sky_pixel: expected a positive number of arcsec, found {sky_pixel}")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [middle.icrs.ra.deg, middle.icrs.dec.deg]
    wcs.wcs.crpix = [0.0, 0.0]
    wcs.wcs.cdelt = [-sky_pixel / 3600, sky_pixel / 3600]
    wcs.wcs.radesys = "ICRS"
    x, y = (np.atleast_1d(values) for values in wcs.wcs_world2pix(ra, dec, 1))
    reach = max(np.max(np.abs(x), initial=0.0), np.max(np.abs(y), initial=0.0))
    if not np.isfinite(reach):
        raise ValueError("sky: expected positions within 90 degrees of the centre, found others")
    side = 2 * int(np.ceil(reach + 1)) if sky_size is None else sky_size
    if reach > side / 2:
        raise ValueError(
            f"sky: expected positions within {side / 2:g} sky pixels ({sky_pixel:g} arcsec) of center, found {reach:g}"
        )
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    return wcs, x + (side + 1) / 2, y + (side + 1) / 2


def _kept(columns: EventColumns, extra: Mapping[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Columns of the rules that nobody gives, with a value that is kept."""
    given = {name.upper() for name in extra}
    filled = {}
    for name, rule in columns.keep.items():
        if name.upper() in given:
            continue
        low, high = (rule[0], rule[0]) if isinstance(rule[0], int | float) else rule[0]
        value = low if np.isfinite(low) else high
        filled[name] = np.full(size, value, np.int16 if float(value).is_integer() and abs(value) < 2**15 else float)
    return filled


def _format(name: str, values: np.ndarray) -> str:
    forms = {"b": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
    code = "b" if values.dtype == bool else values.dtype.str[1:]
    if code not in forms:
        raise ValueError(
            f"extra_columns[{name!r}]: expected signed integers, bytes, floats or bools, found {values.dtype}"
        )
    return forms[code]


def _column(name: str, form: str, values: np.ndarray, size: int, columns: EventColumns) -> fits.Column:
    if values.shape != (size,):
        raise ValueError(f"column {name}: expected {size} values as of time, found an array of shape {values.shape}")
    dtype = np.dtype({"L": "bool", "B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8"}[form])
    if dtype.kind in "iu":
        values = np.rint(values) if values.dtype.kind == "f" else values
        limits = np.iinfo(dtype)
        if size and not (limits.min <= values.min() and values.max() <= limits.max):
            raise ValueError(
                f"column {name}: expected {limits.min} to {limits.max}, found {values.min()} to {values.max()}"
            )
    unit = {columns.time: "s", columns.x: "pixel", columns.y: "pixel", columns.channel: "chan"}.get(name)
    return fits.Column(name, form, unit=unit, array=values.astype(dtype, copy=False))


def _fill_header(header: fits.Header, wcs: WCS, numbers: list[int]) -> None:
    """Sky coordinates of the two columns of these numbers."""
    side = int(2 * wcs.wcs.crpix[0] - 1)
    for axis, (letter, number) in enumerate(zip("XY", numbers, strict=True)):
        header[f"TLMIN{number}"], header[f"TLMAX{number}"] = 1, side
        facts = {
            "CTYP": wcs.wcs.ctype[axis],
            "CRPX": wcs.wcs.crpix[axis],
            "CRVL": wcs.wcs.crval[axis],
            "CDLT": wcs.wcs.cdelt[axis],
            "CUNI": "deg",
        }
        for part, value in facts.items():
            header[f"T{part}{number}"] = value
            header[f"REF{letter}{part}"] = value


def _facts(telescope: str, instrume: str, wcs: WCS, intervals: np.ndarray, exposure: float | int) -> dict:
    """Keywords that both tables have."""
    return {
        "TELESCOP": telescope,
        "INSTRUME": instrume,
        "RADECSYS": "ICRS",
        "EQUINOX": 2000.0,
        "RA_NOM": wcs.wcs.crval[0],
        "DEC_NOM": wcs.wcs.crval[1],
        "TIMESYS": "TT",
        "TIMEUNIT": "s",
        "TSTART": intervals[:, 0].min(),
        "TSTOP": intervals[:, 1].max(),
        "ONTIME": length(merge(intervals)),
        "LIVETIME": exposure,
        "HDUCLASS": "OGIP",
    }
