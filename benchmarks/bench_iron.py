"""Fe K of a remnant like Cassiopeia A, from event lists to a velocity map, with each prior, as Markdown.

    python benchmarks/bench_iron.py                         writes benchmarks/IRON.md
    python benchmarks/bench_iron.py 8.9e5 --seed 1 --skies 1 --output iron_1.md

Real responses and Chandra images of the shared data (HIFRED_SHARED_DATA, by default ../shared/data): photons are
traced, written as event lists, reduced as real ones, and fused: the first sky with each prior at its default strength,
further ones with the default alone.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import casa
import numpy as np

import hifred
from hifred import metrics, priors
from hifred.fitsio import replacing
from hifred.simulate import write_observations

OTHERS = (
    priors.LowRankSobolev(), priors.LowRankStarlet(), priors.Starlet2D1D(), priors.LowRank(), priors.Unregularized(),
)  # fmt: skip
# Of the camera; 1.2e5 and 1.2e4 of the calorimeter.
COUNTS = (8.9e5, 8.9e4)
# Middle of the Fe XXV complex of these temperatures, keV. About its resonance line, what noise adds evenly to the band
# would pull all centroids to one side.
LINE, FAINT = 6.67, 0.15

HEAD = """\
# Fe K with 35 calorimeter pixels

Written by `python benchmarks/bench_iron.py`. Cassiopeia A-like: Chandra morphology of ejecta and continuum, Fe K of
four temperatures, velocities of +-1500 km/s, 60 x 60 pixels of 5 arcsec, 6.0 to 7.2 keV in 1 eV bins. EPIC pn with its
RMF and ARF of observation 0693760101; XRISM Resolve with the RMF of Hitomi SXS and the ARF of the closed gate valve;
150 ks each, background included. Photons were traced one by one, written as event lists, and read back by
`hifred.reduce`. Priors at their default strengths, which a truth was used for elsewhere (authors' toy); all settings of
`DopplerSheets` from the data alone. Seconds include compilation.

NMSE and angle, and the errors of the velocity (centroid of the Fe XXV complex about 6.67 keV, result minus truth:
median of its size, root mean square, mean) and of the width (standard deviation of the complex, of which broadening is
a part), are over the pixels above 15% of the line's peak inside the array; flux error and NMSE (all) over the whole
grid. "No fusion" is the pixel's own spectrum of Resolve, in all sky pixels that it covers most of. The first sky is
fused with each prior, others, of other velocities and photons, with the default alone.
"""
COLUMNS = (
    "prior", "NMSE (dB)", "NMSE (all)", "angle (deg)", "flux error", "velocity error: median (km/s)", "rms (km/s)",
    "mean (km/s)", "correlation", "width error: median (km/s)", "correlation", "C-stat / expected, pn Resolve",
    "status", "s",
)  # fmt: skip


def reduced(visit):
    """Through event lists on disk."""
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        write_observations(visit, folder)
        wrote = time.perf_counter() - began
        datasets = hifred.data.reduce(Path(folder) / "reduce.toml")
    return datasets, wrote, time.perf_counter() - began - wrote


def judged(truth, calorimeter) -> np.ndarray:
    """Pixels above 15% of the line's peak inside the array."""
    maps = metrics.line_maps(truth.values, truth.grid.energies, LINE)
    inside = calorimeter.response.recipe.place() >= 0
    flux = np.where(inside, maps.flux, 0)
    return flux > FAINT * flux.max()


def velocities(values, truth, pixels) -> tuple[list, list]:
    """Centroids, km/s, found and true, of those pixels where one was found; widths likewise."""
    lines = [metrics.line_maps(cube, truth.grid.energies, LINE, faint=0.0) for cube in (values, truth.values)]
    seen = pixels & np.isfinite(lines[0].centroid)
    return [maps.centroid[seen] for maps in lines], [maps.width[seen] for maps in lines]


def row(label, values, truth, pixels, datasets, status="", seconds="") -> str:
    """One line of the table."""
    (found, true), widths = velocities(values, truth, pixels)
    error = found - true
    some, all_true = (cube[:, pixels][:, :, None] for cube in (values, truth.values))
    cstats = [d.cstat(values) / d.expected_cstat(truth.values)[0] for d in datasets]
    cells = (
        label, f"{metrics.nmse(some, all_true):.1f}", f"{metrics.nmse(values, truth.values):.1f}",
        f"{metrics.spectral_angle(some, all_true):.1f}", f"{metrics.flux_per_pixel(values, truth.values):.1%}",
        f"{np.median(np.abs(error)):.0f}", f"{np.sqrt(np.mean(error**2)):.0f}", f"{error.mean():+.0f}",
        f"{np.corrcoef(found, true)[0, 1]:.2f}", f"{np.median(np.abs(np.subtract(*widths))):.0f}",
        f"{np.corrcoef(*widths)[0, 1]:.2f}", " ".join(f"{c:.3f}" for c in cstats), status, seconds,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def unfused(truth, datasets) -> np.ndarray:
    """The image of the CCD, with the spectrum of the Resolve pixel that covers most of each sky pixel."""
    camera, calorimeter = datasets
    place = calorimeter.response.recipe.place()
    bounds, edges = calorimeter.response.recipe.channel_bounds, truth.grid.energy_edges
    cumulative = np.concatenate([np.zeros((1, 36)), np.cumsum(calorimeter.counts.reshape(-1, 36), 0)])
    spectra = np.diff([[np.interp(e, bounds, c) for c in cumulative.T] for e in edges], axis=0)
    spectra = np.concatenate([spectra, spectra.sum(1, keepdims=True)], 1)[:, place]
    image = camera.counts.sum(0, dtype=float)
    total = truth.values.sum()
    return spectra / np.maximum(spectra.sum(0), 1) * image / image.sum() * total


def compare(counts: float, seed: int, write, others) -> float:
    """The table of one sky and brightness, with the default last, whose median velocity error, km/s, this is."""
    visit = casa.visit(counts, seed)
    datasets, wrote, read = reduced(visit)
    truth = visit.truth
    pixels = judged(truth, datasets[1])
    totals = [int(d.counts[d.mask].sum(dtype=float)) for d in datasets]
    maps = metrics.line_maps(truth.values, truth.grid.energies, LINE)
    z = [
        (d.cstat(truth.values) - d.expected_cstat(truth.values)[0]) / d.expected_cstat(truth.values)[1] ** 0.5
        for d in datasets
    ]
    write(
        f"\n## {totals[0]:,} counts of EPIC pn, {totals[1]:,} of Resolve, seed {seed}\n\n"
        f"{pixels.sum()} pixels are judged; the true centroids there have a spread of "
        f"{maps.centroid[pixels].std():.0f} km/s rms, the widths one of {maps.width[pixels].std():.0f}. C-stat of the "
        f"truth is {z[0]:+.1f} and {z[1]:+.1f} sigma from what is expected. Event lists were written in "
        f"{wrote:.0f} s and reduced in {read:.0f} s.\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    )
    write(row("no fusion", unfused(truth, datasets), truth, pixels, datasets))
    for prior in (*others, priors.DopplerSheets()):
        began = time.perf_counter()
        blind = isinstance(prior, priors.DopplerSheets)
        fused = hifred.fuse(datasets, prior, progress=False, strength="auto" if blind else None)
        seconds = f"{time.perf_counter() - began:.0f}"
        status = f"{fused.status}, {fused.history.iteration[-1]}"
        write(row(type(prior).__name__, fused.values, truth, pixels, datasets, status, seconds))
    found, true = velocities(fused.values, truth, pixels)[0]
    return float(np.median(np.abs(found - true)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=float, default=COUNTS, help="of EPIC pn; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the first velocities and photons; default: %(default)s")
    parser.add_argument("--skies", type=int, default=6, help="how many, one seed after the other; default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("IRON.md"))
    asked = parser.parse_args()
    if asked.skies < 1:
        parser.error(f"argument --skies: expected at least 1, found {asked.skies}")
    lines = []

    def write(text: str) -> None:
        """Keep a line, and show it."""
        lines.append(text)
        print(text, flush=True)

    write(HEAD)
    for counts in asked.counts:
        errors = [compare(counts, asked.seed + n, write, () if n else OTHERS) for n in range(asked.skies)]
        each = ", ".join(f"{error:.0f}" for error in errors)
        write(
            f"\nThe default's median velocity error at {counts:g} counts of EPIC pn asked for is {np.mean(errors):.0f} "
            f"km/s in the mean over {len(errors)} skies ({each})."
        )
    with replacing(asked.output) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
