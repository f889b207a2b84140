"""A sky like Cassiopeia A from two Chandra images, for XRISM Resolve and EPIC pn with their real responses.

Ejecta shine where the image of the Si and S lines is brighter than that of the continuum, with Fe K lines of four
temperatures; the continuum is a power law. Velocities (+-1500 km/s) and broadenings (800 to 1100 km/s) are smooth
random maps: no fit to the remnant.
"""

import os
from pathlib import Path

import numpy as np

from hifred.doppler import SPEED_OF_LIGHT, energy_factor
from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.planes import read_planes
from hifred.instruments.presets import instrument
from hifred.instruments.rmf import Redistribution
from hifred.overlap import resample
from hifred.simulate import Plasma, Telescope, Truth, Visit

BAND, STEP = (6.0, 7.2), 1e-3  # keV
PIXELS, PIXEL_SIZE, CENTER = (60, 60), 5.0, (350.866, 58.812)
EXPOSURE, ROLL = 150e3, 34.0
TEMPERATURES = (1.0, 1.7, 2.5, 4.0)  # keV
IRON = 3.0  # over solar
VELOCITY_RMS, VELOCITY_MOST = 1100.0, 1500.0  # km/s
BROADENING = np.array([800.0, 900.0, 1000.0, 1100.0])  # km/s
LINES_SHARE = 0.5  # photons of the ejecta over all photons of the band
PHOTON_INDEX = 3.0


def data(name: str) -> Path:
    """A file of the shared data."""
    return Path(os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / name


def visit(counts: float, seed: int = 0) -> Visit:
    """The sky, so bright that EPIC pn counts so many photons in the band."""
    grid = CubeGrid(energy_bins(*BAND, STEP), PIXELS, PIXEL_SIZE, CENTER)
    telescopes = (
        _telescope("epic-pn", "xmm_epic_pn.rmf.gz", "xmm_epic_pn.arf.gz"),
        _telescope("xrism-resolve", "hitomi_sxs.rmf.gz", "xrism_resolve_gate_valve_closed.arf.gz"),
    )
    truth = sky(grid, seed)
    scale = counts / (truth.values.sum((1, 2)) @ telescopes[0].incident(grid.energy_edges))
    scaled = Truth(
        scale * truth.values, grid, truth.velocity, truth.velocity_spread, truth.temperature, truth.abundances
    )
    return Visit(scaled, telescopes, seed, counts)


def _telescope(name: str, rmf: str, arf: str) -> Telescope:
    return Telescope(
        instrument(name), EffectiveArea.read(data(f"responses/{arf}")),
        Redistribution.read(data(f"responses/{rmf}")), EXPOSURE, roll=ROLL,
    )  # fmt: skip


def sky(grid: CubeGrid, seed: int = 0) -> Truth:
    """The sky, of any brightness."""
    rng = np.random.default_rng(seed)
    lines, continuum = (_image(name, grid) for name in ("1p5_3p0", "4p0_6p0"))
    # As much of the line image as no pixel of note has less of.
    bright = continuum > 0.05 * continuum.max()
    ejecta = np.maximum(lines - np.quantile((lines / np.maximum(continuum, 1e-12))[bright], 0.02) * continuum, 0)
    ejecta[~bright] = 0
    velocity = _smooth(rng, grid.sky_shape, 5.0)
    # Saturating at the fastest, with the spread that is wanted.
    steep = next(k for k in np.arange(0.5, 5, 0.05) if (VELOCITY_MOST * np.tanh(k * velocity)).std() >= VELOCITY_RMS)
    velocity = VELOCITY_MOST * np.tanh(steep * velocity)
    width = BROADENING.mean() + np.clip(_smooth(rng, grid.sky_shape, 5.0), -1, 1) * np.ptp(BROADENING) / 2
    shares = np.exp([_smooth(rng, grid.sky_shape, 4.0) for _ in TEMPERATURES])
    shares /= shares.sum(0)
    cube = ejecta / ejecta.sum() * _lines(grid, velocity, width, shares)
    law = grid.energies**-PHOTON_INDEX
    hot = continuum / continuum.sum() * (law / law.sum())[:, None, None]
    values = LINES_SHARE * cube / cube.sum() + (1 - LINES_SHARE) * hot
    return Truth(values, grid, velocity, width, np.tensordot(TEMPERATURES, shares, 1), {})


def _image(name: str, grid: CubeGrid) -> np.ndarray:
    planes = read_planes(data(f"images/chandra_casa_{name}_keV.fits.gz"))
    return resample(planes.images[0], planes.wcs, grid)


def _smooth(rng, shape, scale) -> np.ndarray:
    """Gaussian random map without structure below a scale in pixels; mean 0, standard deviation 1."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])
    white = np.fft.fft2(rng.standard_normal(shape))
    field = np.fft.ifft2(white * np.exp(-2 * (np.pi * scale) ** 2 * (ky**2 + kx**2))).real
    return (field - field.mean()) / field.std()


def _lines(grid: CubeGrid, velocity, width, shares) -> np.ndarray:
    """Spectra (L, y, x) of the ejecta: templates over temperature and broadening, shifted by each pixel's velocity."""
    plasma = Plasma.load()
    edges = grid.energy_edges
    fine = np.arange(edges[0] * 0.98, edges[-1] * 1.02, 2.5e-4)
    out = np.zeros((edges.size - 1, velocity.size))
    place = np.interp(width.ravel(), BROADENING, np.arange(BROADENING.size))
    shifted = edges[:, None] / energy_factor(velocity.ravel())
    for share, kT in zip(shares.reshape(len(shares), -1), TEMPERATURES, strict=True):
        for node, broadening in enumerate(BROADENING):
            weight = share * np.maximum(1 - np.abs(place - node), 0)
            spectrum = plasma.spectrum(fine, kT, {"Fe": IRON, "Ni": IRON}, broadening_km_s=broadening)
            cumulative = np.append(0.0, np.cumsum(spectrum))
            out += weight * np.diff(np.interp(shifted, fine, cumulative), axis=0)
    assert np.abs(velocity).max() < 0.02 * SPEED_OF_LIGHT
    return out.reshape(grid.shape)
