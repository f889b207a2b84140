"""The scenes that come with the package. To add one, register a function that returns a `Plan`."""

import numpy as np

from hifred.simulate.cluster import ClusterModel, cluster
from hifred.simulate.iron import iron_visit
from hifred.simulate.kernels import (
    FWHM,
    area,
    ccd_fwhm,
    ccd_redistribution,
    gaussian_line,
    gaussian_spot,
    king_spot,
)
from hifred.simulate.observation import Camera
from hifred.simulate.remnant import RemnantModel, remnant
from hifred.simulate.scenes import Plan, register

PIXELS = (45, 45)
RADIUS = 16.5  # pixels: a margin of six for the photons that the blur throws out
ARCSEC = 10.0  # per pixel
CALORIMETER_FWHM = 4.5e-3  # keV; XRISM Resolve, high-resolution grade (ABC guide, table 6.1)

_COARSE = " The CCD sums 40 energies into a channel, the calorimeter 3 x 3 pixels into one."
_SOFT = (
    "A supernova remnant of a few centuries at 0.5 to 1.4 keV, where a hot shell with broad lines "
    "outshines the ejecta and spectra change little over the sky. The CCD blurs energy, the calorimeter "
    "blurs space, by Gaussians."
)
_IRON = (
    "A supernova remnant of a few centuries at 6.19 to 6.91 keV, where the iron of clumps that fly apart "
    "is shifted by thousands of km/s and spectra change much. The CCD blurs energy, the calorimeter blurs"
    " space, by Gaussians."
)


@register("gaussian-1kev", _SOFT)
def _gaussian_soft(seed):
    return _gaussian(even_edges(0.5, 1.4, 2400), seed, rebin=False)


@register("gaussian-1kev-rebin", _SOFT + _COARSE)
def _gaussian_soft_rebin(seed):
    return _gaussian(even_edges(0.5, 1.4, 2400), seed, rebin=True)


@register("gaussian-6kev", _IRON)
def _gaussian_iron(seed):
    return _gaussian(even_edges(6.19, 6.91, 2000), seed, rebin=False)


@register("gaussian-6kev-rebin", _IRON + _COARSE)
def _gaussian_iron_rebin(seed):
    return _gaussian(even_edges(6.19, 6.91, 2000), seed, rebin=True)


@register(
    "realistic-1kev",
    "The same remnant at 0.5 to 1.36 keV, seen by a CCD like EPIC pn (a redistribution with shoulder and "
    "shelf, 60 channels, a King profile) and a calorimeter like Resolve with its gate valve open (4.5 eV,"
    " 15 x 15 pixels, wide wings), with their areas.",
)
def realistic_plan(seed):
    """The plan of the scene "realistic-1kev".

    Returns
    -------
    Plan
    """
    edges = even_edges(0.5, 1.36, 2400)
    gases = remnant(RemnantModel(), PIXELS, RADIUS, seed=seed)
    return Plan(gases, edges, realistic_cameras(edges, 40, 14))


@register(
    "tiny",
    "A remnant in 60 energies around the Fe K lines and 12 x 15 pixels, for tests: both instruments blur "
    "both energy and space.",
)
def _tiny(seed):
    edges = even_edges(6.4, 6.88, 60)
    gases = remnant(RemnantModel(ejecta_broadening=400.0), (12, 15), 5.0, cells_per_pixel=4, seed=seed)
    cameras = realistic_cameras(edges, 5, 4, pixel_size=30.0)
    return Plan(gases, edges, cameras, cells_per_pixel=4, pixel_size=30.0, counts=2e5)


@register(
    "cluster",
    "The core of a cluster of galaxies like Perseus at 6.4 to 6.95 keV: cool gas sloshes in a spiral, "
    "with its own temperature, metals and velocity. The instruments are those of realistic-1kev.",
)
def _cluster(seed):
    edges = even_edges(6.4, 6.95, 1100)
    gases = cluster(ClusterModel(), PIXELS[0], seed=seed)
    cameras = realistic_cameras(edges, 20, 14)
    return Plan(gases, edges, cameras, center=(49.95, 41.51), column_density=0.14)


register(
    "xrism-epic-iron",
    "A remnant like Cassiopeia A at 6.0 to 7.2 keV (or another band within 1.8 to 10 keV), seen for 150 ks by XRISM "
    "Resolve (gate valve closed, 35 pixels, turned on the sky) and by EPIC pn, on pixels of 5 arcsec, with background. "
    "Photons are traced one by one and written as event lists, which are read back and reduced.",
    options=("counts", "band", "brightness"),
)(iron_visit)


def even_edges(low, high, bins):
    """Edges of energies of one width.

    Parameters
    ----------
    low, high : float
        keV.
    bins : int

    Returns
    -------
    (bins + 1,) array
        keV.
    """
    return low + (high - low) * np.arange(bins + 1) / bins


def _gaussian(edges, seed, rebin):
    """Plan a remnant seen by the simplest instruments: each blurs one thing, and has a flat area."""
    line = gaussian_line(ccd_fwhm(edges.mean()) / FWHM / (edges[1] - edges[0]))
    flat = np.ones(len(edges) - 1)
    factors = ((40, 1, 1), (1, 3, 3)) if rebin else ((1, 1, 1), (1, 1, 1))
    ccd = Camera("xmm", 1000.0 * flat, lsf=line, rebin=factors[0])
    calorimeter = Camera("xrism", 250.0 * flat, psf=gaussian_spot(3.0), rebin=factors[1])
    gases = remnant(RemnantModel(), PIXELS, RADIUS, seed=seed)
    return Plan(gases, edges, (ccd, calorimeter))


def realistic_cameras(edges, factor, half, pixel_size=ARCSEC, *, widening=1.0, gain=0.0):
    """Make a CCD and a calorimeter with both blurs each.

    Parameters
    ----------
    edges : (L + 1,) array
        Edges of the energies, keV.
    factor : int
        Energies that make a channel of the CCD.
    half : int
        The calorimeter's PSF has `2 half + 1` pixels across.
    pixel_size : float
        arcsec.
    widening : float
        Factor on the width of both PSFs.
    gain : float
        Energy by which the calorimeter measures too high, keV.

    Returns
    -------
    (Camera, Camera)
    """
    energy, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    small = king_spot(widening * 6.33 / pixel_size, 1.51, 5)  # EPIC pn on axis at 1 keV, XMM-CCF-REL-116
    # Half of the photons within 39 arcsec (sqrt(3) core radii), as Hitomi in orbit (arXiv:1709.08829).
    large = king_spot(widening * 22.5 / pixel_size, 1.5, half)
    line = gaussian_line(CALORIMETER_FWHM / FWHM / step, gain / step)
    ccd = Camera("xmm", area("EPIC pn", energy), ccd_redistribution(edges, edges[::factor]), small)
    return ccd, Camera("xrism", area("calorimeter", energy), line, large, (1, 3, 3))
