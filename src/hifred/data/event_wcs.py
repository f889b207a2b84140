"""The sky coordinates of an event list: from keywords of two columns to an astropy WCS."""

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from hifred.data.event_table import Table
from hifred.fitsio import FileError

FRAMES = ("ICRS", "FK5", "FK4")


def column_wcs(table: Table, x: str, y: str) -> WCS:
    """Celestial WCS of the positions in two columns; 1-based FITS pixel coordinates, as the columns hold them.

    Parameters
    ----------
    table : Table
        The events.
    x, y : str
        The columns.

    Raises
    ------
    FileError
        If a keyword is missing or of no use; it is named.

    Notes
    -----
    The keywords of column n are TCTYPn, TCUNIn, TCRPXn, TCRVLn, TCDLTn, with TCROTn of the second column (degrees), or
    a matrix TCn_k (TCDn_k) or TPn_k (TPCn_k), and LONPn, LATPn (FITS 4.0, table 22). Files of XMM-Newton may have
    REFXCTYP, REFXCRPX, ... and REFYCTYP, ... instead, whose unit may be left out and is then the degree. The frame is
    that of RADESYS (or RADECSYS) and EQUINOX.
    """
    columns = [table.column(name) for name in (x, y)]
    keys = [{part: f"{part}{c.number}" for part in ("TCTYP", "TCUNI", "TCRPX", "TCRVL", "TCDLT")} for c in columns]
    default_unit = None
    if keys[0]["TCTYP"] not in table.keywords and "REFXCTYP" in table.keywords:
        keys = [{part: f"REF{axis}{part[1:]}" for part in keys[0]} for axis in "XY"]
        default_unit = "deg"
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [table.keywords.text(key["TCTYP"]) for key in keys]
    for axis, key in enumerate(keys):
        if "-" not in wcs.wcs.ctype[axis]:
            raise FileError(
                f"{table.where}: expected a celestial axis in the keyword {key['TCTYP']}, found {wcs.wcs.ctype[axis]!r}"
            )
    wcs.wcs.crpix = [table.keywords.number(key["TCRPX"]) for key in keys]
    wcs.wcs.crval = [table.keywords.number(key["TCRVL"]) for key in keys]
    wcs.wcs.cdelt = [table.keywords.number(key["TCDLT"]) for key in keys]
    _set_units(wcs, table, [key["TCUNI"] for key in keys], default_unit)
    _set_orientation(wcs, table, columns[0].number, columns[1].number)
    _set_frame(wcs, table)
    try:
        wcs.wcs.set()
        wcs_to_celestial_frame(wcs)
    except ValueError as error:  # astropy's own errors of WCS are ValueErrors
        reason = " ".join(str(error).split())
        raise FileError(
            f"{table.where}: expected a celestial WCS in {keys[0]['TCTYP']}, {keys[1]['TCTYP']}, ..., found: {reason}"
        ) from None
    return wcs


def _set_units(wcs: WCS, table: Table, keywords: list[str], default: str | None) -> None:
    units = []
    for keyword in keywords:
        unit = default if default and keyword not in table.keywords else table.keywords.text(keyword)
        if unit not in ("deg", "degree", "degrees", "arcmin", "arcsec", "rad"):
            raise FileError(f"{table.where}: expected a unit of angle in the keyword {keyword}, found {unit!r}")
        units.append("deg" if unit.startswith("deg") else unit)
    wcs.wcs.cunit = units


def _set_orientation(wcs: WCS, table: Table, x: int, y: int) -> None:
    """Matrix or rotation of the pixel axes, and the native pole."""
    header = table.keywords
    pairs = [(i, j) for i in (x, y) for j in (x, y)]
    for forms, name in ((("TC", "TCD"), "cd"), (("TP", "TPC"), "pc")):
        keys = [next((f"{f}{i}_{j}" for f in forms if f"{f}{i}_{j}" in header), None) for i, j in pairs]
        if any(keys):
            default = np.eye(2).ravel() if name == "pc" else np.zeros(4)
            entries = [default[n] if key is None else table.keywords.number(key) for n, key in enumerate(keys)]
            setattr(wcs.wcs, name, np.reshape(entries, (2, 2)))
            break
    else:
        if f"TCROT{y}" in header and (turn := np.deg2rad(table.keywords.number(f"TCROT{y}"))):
            ratio = wcs.wcs.cdelt[1] / wcs.wcs.cdelt[0]  # FITS 4.0, equation 10: CROTA2 in terms of PC
            wcs.wcs.pc = [[np.cos(turn), -np.sin(turn) * ratio], [np.sin(turn) / ratio, np.cos(turn)]]
    for name, keyword in (("lonpole", "LONP"), ("latpole", "LATP")):
        for number in (x, y):
            if f"{keyword}{number}" in header:
                setattr(wcs.wcs, name, table.keywords.number(f"{keyword}{number}"))


def _set_frame(wcs: WCS, table: Table) -> None:
    frame = next((k for k in ("RADESYS", "RADECSYS") if k in table.keywords), None)
    if frame is not None:
        name = table.keywords.text(frame).upper()
        if name not in FRAMES:
            raise FileError(f"{table.where}: expected {', '.join(FRAMES)} in the keyword {frame}, found {name!r}")
        wcs.wcs.radesys = name
    if "EQUINOX" in table.keywords:
        wcs.wcs.equinox = table.keywords.number("EQUINOX")
