"""A cube grid in FITS: keywords for the sky, a table for the energies."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits

from hifred.fitsio import FitsFile
from hifred.grid import CubeGrid


def sky_header(grid: CubeGrid | None, rebin: tuple[int, int] = (1, 1)) -> fits.Header:
    """Celestial WCS of images of `rebin` (y, x) sky pixels each; empty where the place on the sky is not known."""
    if grid is None or grid.wcs is None:
        return fits.Header()
    wcs = grid.wcs
    factors = np.array(rebin[::-1])
    # By hand: WCS.slice scales sky axes where it means pixel axes, which differ on a rotated grid.
    wcs.wcs.crpix = (wcs.wcs.crpix - 0.5) / factors + 0.5
    wcs.wcs.pc = wcs.wcs.pc * factors / factors[:, None]
    wcs.wcs.cdelt = wcs.wcs.cdelt * factors
    return wcs.to_header()


def grid_hdu(grid: CubeGrid) -> fits.BinTableHDU:
    """Table ENERGIES: lower and upper edge of each energy bin in keV; the sky frame in its header."""
    edges = grid.energy_edges
    columns = [
        fits.Column("ENERG_LO", "D", unit="keV", array=edges[:-1]),
        fits.Column("ENERG_HI", "D", unit="keV", array=edges[1:]),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="ENERGIES")
    table.header["PIXSIZE"] = (grid.pixel_size, "[arcsec] side of a sky pixel")
    table.header["NY"], table.header["NX"] = grid.sky_shape
    if grid.center is not None:
        table.header["RA_CEN"] = (grid.center.icrs.ra.deg, "[deg] centre of the field, ICRS")
        table.header["DEC_CEN"] = (grid.center.icrs.dec.deg, "[deg] centre of the field, ICRS")
    table.header["ROTATION"] = (grid.rotation, "[deg] position angle of +y, east of north")
    return table


def read_grid(file: FitsFile) -> CubeGrid | None:
    """Read the grid from the table ENERGIES, or None where the file has none."""
    if "ENERGIES" not in file:
        return None
    header = file.header("ENERGIES")
    edges = np.append(file.column("ENERGIES", "ENERG_LO"), file.column("ENERGIES", "ENERG_HI")[-1:])
    center = None
    if "RA_CEN" in header:
        center = SkyCoord(header["RA_CEN"], file.key("ENERGIES", "DEC_CEN"), unit="deg")
    shape = (file.key("ENERGIES", "NY"), file.key("ENERGIES", "NX"))
    # Files written before grids could be rotated have no such keyword.
    return CubeGrid(edges, shape, file.key("ENERGIES", "PIXSIZE"), center, header.get("ROTATION", 0.0))
