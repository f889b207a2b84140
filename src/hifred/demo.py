"""The demonstration: a small sky made here, seen by two instruments, fused and drawn."""

from pathlib import Path

import numpy as np

from hifred.cube import FusedCube
from hifred.data.dataset import Dataset
from hifred.fusion import fuse
from hifred.grid import CubeGrid
from hifred.response.response import Response

SHAPE = (240, 32, 32)
# Effective area x exposure in cm2 s: about a million photons.
EXPOSURE = 1e6


def toy_sky(grid: CubeGrid) -> np.ndarray:
    """A lopsided shell with a line that moves from side to side, over a clumpy continuum; photons / cm2 / s."""
    energies = grid.energies[:, None, None]
    y, x = np.mgrid[-1 : 1 : grid.shape[1] * 1j, -1 : 1 : grid.shape[2] * 1j]
    radius = np.hypot(x, y)
    shell = np.exp(-(((radius - 0.6) / 0.12) ** 2)) * (1 + 0.8 * x)
    clumps = np.exp(-(((x + 0.25) ** 2 + (y - 0.2) ** 2) / 0.02)) + 0.7 * np.exp(-((x - 0.3) ** 2 + y**2) / 0.01)
    line = np.exp(-0.5 * ((energies - 0.66 * (1 + 0.008 * x)) / 0.002) ** 2)
    second = np.exp(-0.5 * ((energies - 0.74) / 0.002) ** 2)
    continuum = 0.05 * (energies / 0.65) ** -2
    sky = shell * (line + continuum) + clumps * (1.5 * second + continuum)
    return sky / sky.sum()


def observe(seed: int = 0) -> tuple[np.ndarray, CubeGrid, list[Dataset]]:
    """The sky and two mock data sets of it, a million counts each."""
    grid = CubeGrid(np.linspace(0.6, 0.8, SHAPE[0] + 1), SHAPE[1:], pixel_size=4.0)
    sky = toy_sky(grid)
    taps = np.arange(-45, 46)
    offsets = np.hypot(*np.mgrid[-8:9, -8:9])
    area = np.full(SHAPE[0], EXPOSURE)
    ccd = Response.from_kernels(SHAPE, lsf=np.exp(-0.5 * (taps / 18) ** 2), area=area, rebin=(8, 1, 1))
    calorimeter = Response.from_kernels(
        SHAPE, psf=np.exp(-0.5 * (offsets / 3) ** 2), lsf=np.exp(-0.5 * (taps[41:50] / 1.5) ** 2), area=area,
        rebin=(1, 4, 4),
    )  # fmt: skip
    blank = [
        Dataset(np.zeros(response.out_shape), response, name=name, grid=grid)
        for name, response in (("ccd", ccd), ("calorimeter", calorimeter))
    ]
    rng = np.random.default_rng(seed)
    return sky, grid, [dataset.sample(sky, rng) for dataset in blank]


def run(folder: Path) -> list[Path]:
    """Fuse the mock data and write the cubes and a picture; returns the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    sky, grid, datasets = observe()
    fused = fuse(datasets)
    written = [folder / f"{dataset.name}.fits" for dataset in datasets]
    for dataset, path in zip(datasets, written, strict=True):
        dataset.write(path, overwrite=True)
    fused.write(folder / "fused.fits", overwrite=True)
    draw(sky, grid, datasets, fused, folder / "fused.png")
    return [*written, folder / "fused.fits", folder / "fused.png"]


def draw(sky: np.ndarray, grid: CubeGrid, datasets: list[Dataset], fused: FusedCube, path: Path) -> None:
    """Inputs, result and truth: an image of one line, and the spectrum of one pixel."""
    from matplotlib.figure import Figure

    ccd, calorimeter = datasets
    band = (0.655, 0.665)
    pixel = (20, 9)
    chosen = (grid.energies >= band[0]) & (grid.energies <= band[1])
    channels = chosen.reshape(-1, ccd.response.kernels.rebin[0]).any(1)
    panels = [
        ("CCD counts", ccd.counts[channels].sum(0)),
        ("calorimeter counts", calorimeter.counts[chosen].sum(0)),
        ("fused", fused.image(*band)),
        ("truth", sky[chosen].sum(0)),
    ]
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    figure.suptitle(f"Band {band[0]:g} to {band[1]:g} keV, and the spectrum of the marked pixel")
    images = figure.add_gridspec(2, 4, height_ratios=(1, 1.05))
    side = grid.sky_shape[0] * grid.pixel_size / 2
    top = max(panels[2][1].max(), panels[3][1].max())
    for column, (name, image) in enumerate(panels):
        axes = figure.add_subplot(images[0, column])
        shared = {"vmin": 0, "vmax": top} if name in ("fused", "truth") else {}
        axes.imshow(image, origin="lower", cmap="viridis", extent=(side, -side, -side, side), **shared)
        axes.plot(side - (pixel[1] + 0.5) * grid.pixel_size, (pixel[0] + 0.5) * grid.pixel_size - side, "w+", ms=12)
        axes.set(title=name, xlabel="offset to the east (arcsec)", ylabel="offset to the north (arcsec)")
    axes = figure.add_subplot(images[1, :])
    axes.plot(grid.energies, sky[:, *pixel], color="0.6", lw=4, label="truth")
    axes.plot(grid.energies, fused.values[:, *pixel], color="C0", lw=1.2, label="fused")
    rebin = ccd.response.kernels.rebin[0]
    scale = 1 / (EXPOSURE * rebin)
    centres = grid.energies.reshape(-1, rebin).mean(1)
    axes.step(centres, ccd.counts[:, *pixel] * scale, color="C1", where="mid", label="CCD, same pixel")
    axes.set(xlabel="energy (keV)", ylabel="photons / cm2 / s per bin", xlim=grid.energy_edges[[0, -1]])
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
