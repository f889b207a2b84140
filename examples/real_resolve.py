"""A real XRISM Resolve event list becomes a data set, and is fused with an EPIC-like mock of the same field.

    python examples/real_resolve.py [--output DIR] [--array-roll DEGREES]

Galactic centre field, observation 300045010, 74 ks. The response of Hitomi SXS stands in for that of Resolve. Nobody
knows the true sky, so the mock of XMM-Newton EPIC pn is drawn from the sky that Resolve alone gives. Every check is
against the event table as astropy reads it. The light that a pixel of Resolve sees is spread over several, so what the
fused sky predicts is blurred by its PSF, and looked up where the events themselves say they come from.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

import hifred
from hifred.data.plan import BackgroundPlan, CalibrationPlan, DatasetPlan, GridPlan, Plan
from hifred.data.setup import Setup

SHARED = Path(os.environ.get("HIFRED_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
EVENTS = SHARED / "events" / "xrism_resolve_300045010_cl.evt.gz"
RESOLVE = CalibrationPlan(
    rmf=SHARED / "responses" / "hitomi_sxs.rmf.gz",
    arf=SHARED / "responses" / "xrism_resolve_gate_valve_closed.arf.gz",
)
PN = CalibrationPlan(
    rmf=SHARED / "responses" / "xmm_epic_pn.rmf.gz", arf=SHARED / "responses" / "xmm_epic_pn.arf.gz"
)  # fmt: skip
BAND = (5.82, 7.38)  # channels of Resolve, keV
PN_EXPOSURE = 100e3  # s
# Mean of the K-alpha doublet of neutral iron: 6403.84 and 6390.84 eV, 2 to 1 (Bearden 1967, Rev. Mod. Phys. 39, 78).
FE_K_ALPHA = 6.39951


def reduced(energy_step: float, pixel_size: float, roll: float | None = None) -> hifred.Dataset:
    """The event list as a data set; the place of the pixels is measured from the events, or their roll is told."""
    plan = Plan(
        GridPlan(band=(5.8, 7.4), energy_step=energy_step, pixel_size=pixel_size),
        (
            DatasetPlan(
                "resolve", "xrism-resolve", EVENTS, RESOLVE,
                band=BAND, background=BackgroundPlan(preset=True), array_roll=roll,
            ),
        ),
    )  # fmt: skip
    (resolve,) = hifred.reduce(plan)
    return resolve


def mock_pn(grid: hifred.CubeGrid, sky: np.ndarray) -> hifred.Dataset:
    """What EPIC pn would count of a sky, with its real response and the PSF of its preset."""
    pointing = (grid.center.ra.deg, grid.center.dec.deg)
    setup = Setup("epic-pn", PN, PN_EXPOSURE, PN_EXPOSURE, pointing=pointing)
    response = hifred.Response.of(setup.response(grid))
    empty = hifred.Dataset(np.zeros(response.out_shape), response, name="pn", grid=grid, exposure=PN_EXPOSURE)
    return empty.sample(sky, seed=1)


class Table:
    """The events of the highest grade in good time, by astropy alone."""

    def __init__(self):
        with fits.open(EVENTS) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            table, times = file["EVENTS"].data, file["GTI"].data
            names = [name.upper() for name in table.names]
            wcs = WCS(file["EVENTS"].header, keysel=["pixel"], colsel=[names.index(axis) + 1 for axis in ("X", "Y")])
            time = table["TIME"][:, None]
            good = ((time >= times["START"]) & (time < times["STOP"])).any(1) & (table["ITYPE"] == 0)
            self.pixel, pi = table["PIXEL"][good], table["PI"][good]
            self.ra, self.dec = wcs.all_pix2world(table["X"][good], table["Y"][good], 1)
        # PI counts steps of 0.5 eV from 0.
        low, high = (round(energy / 5e-4) for energy in BAND)
        self.band = (pi >= low) & (pi < high)

    def east_north(self, sky: SkyCoord) -> np.ndarray:
        """East and north of a place, arcsec, shape (2, events)."""
        return 3600 * np.stack([(self.ra - sky.ra.deg) * np.cos(sky.dec.rad), self.dec - sky.dec.deg])


def line_centroid(energies: np.ndarray, counts: np.ndarray) -> tuple[float, float, float]:
    """Photons of the iron line above a flat continuum, its mean energy and the error of that, keV."""
    line = np.abs(energies - 6.4) < 0.025
    side = (np.abs(energies - 6.4) > 0.035) & (np.abs(energies - 6.4) < 0.1)
    level, reach = counts[side].mean(), energies[line] - 6.4
    photons = (counts[line] - level).sum()
    mean = ((counts[line] - level) * reach).sum() / photons
    return photons, 6.4 + mean, np.sqrt((counts[line] * (reach - mean) ** 2).sum()) / photons


def looked_up(fused: hifred.FusedCube, resolve: hifred.Dataset, table: Table) -> np.ndarray:
    """Counts that each pixel (by its number) should have if its events come from where they say, shape (36,)."""
    grid = fused.grid
    # No detector: the sky as the telescope blurs it, in counts per sky pixel.
    optics = Setup("xrism-resolve", RESOLVE, resolve.exposure, resolve.exposure, band=BAND, channel_width=0.2)
    image = np.asarray(hifred.Response.of(optics.response(grid)).mv(fused.values)).sum(0)
    x, y = grid.wcs.world_to_pixel(SkyCoord(table.ra, table.dec, unit="deg"))
    column, row = (
        np.round(at).astype(int).clip(0, size - 1) for at, size in zip((x, y), image.shape[::-1], strict=True)
    )
    # Events are spread evenly over their pixel: a mean over them is one over the pixel's square.
    pitch = hifred.instruments.instrument("xrism-resolve").detector.pitch
    total = np.bincount(table.pixel, image[row, column], 36)
    return total / np.maximum(np.bincount(table.pixel, minlength=36), 1) * (pitch / grid.pixel_size) ** 2


def run(energy_step: float = 1e-3, pixel_size: float = 8.0, roll: float | None = None):
    """Reduce, draw the mock, fuse, and check; gives the checks, the data sets and the cube."""
    resolve = reduced(energy_step, pixel_size, roll)
    alone = hifred.fuse([resolve], hifred.priors.LowRankSobolev(), progress=False)
    pn = mock_pn(resolve.grid, alone.values)
    fused = hifred.fuse([resolve, pn], hifred.priors.LowRankSobolev(), progress=False)

    table = Table()
    detector = hifred.instruments.instrument("xrism-resolve").detector
    number = detector.layout[detector.seen]
    queried = np.bincount(table.pixel[table.band], minlength=36)[number]
    counted = resolve.counts.sum(0)[detector.seen]
    equal = int((counted == queried).sum())
    edges = resolve.response.recipe.channel_edges(resolve.grid.energy_edges)
    energies = 0.5 * (edges[1:] + edges[:-1])
    photons, centroid, error = line_centroid(energies, resolve.counts.sum((1, 2)))
    in_fused = line_centroid(energies, fused.predict(resolve).sum((1, 2)))[0]

    offsets = table.east_north(resolve.grid.center)
    means = np.array([offsets[:, table.pixel == n].mean(1) for n in number])
    record = resolve.provenance["setup"]["detector"]
    places = detector.on_sky(SkyCoord(*record[:2], unit="deg"), record[2]).centers()[detector.seen]
    east, north = (angle.arcsec for angle in resolve.grid.center.spherical_offsets_to(places))
    apart = np.hypot(*(means - np.stack([east, north], 1)).T)

    predicted = looked_up(fused, resolve, table)[number] + resolve.background.sum(0)[detector.seen]
    shift = predicted @ means / predicted.sum() - offsets[:, table.band].mean(1)
    alike = np.corrcoef(predicted, queried)[0, 1]
    checks = [
        (equal == 35, f"{equal} of 35 pixels have the counts of the table ({queried.sum()} events)"),
        (
            abs(centroid - FE_K_ALPHA) < 2 * error + 1e-3,
            f"Fe K-alpha at {1e3 * centroid:.2f} +- {1e3 * error:.2f} eV ({photons:.0f} photons; "
            f"laboratory {1e3 * FE_K_ALPHA:.2f})",
        ),
        (abs(in_fused / photons - 1) < 0.15, f"{in_fused:.0f} of these in the fused cube"),
        (apart.max() < 3, f"pixels at most {apart.max():.1f} arcsec from the mean place of their events"),
        (np.hypot(*shift) < 2, f"fused image {np.hypot(*shift):.2f} arcsec from the events"),
        (alike > 0.9, f"correlation over pixels {alike:.3f}"),
    ]
    for dataset in (resolve, pn):
        part = dataset.cstat(fused.values) / dataset.expected_cstat(fused.values)[0]
        counts = dataset.counts[dataset.mask].sum()
        checks.append((abs(part - 1) < 0.05, f"C-stat of {dataset.name} ({counts:.0f}) {part:.3f} of its expectation"))
    return checks, [resolve, pn], fused


def main(arguments: list[str] | None = None) -> int:
    """Run, print the checks and one line that sums up, and write files if asked to; 0 if all checks hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="directory for data sets, cube and page; by default none")
    parser.add_argument("--array-roll", type=float, help="a wrong roll (degrees) makes the checks fail; 79.9 is right")
    options = parser.parse_args(arguments)
    if missing := [path for path in (EVENTS, *RESOLVE.files.values(), *PN.files.values()) if not path.is_file()]:
        print(f"expected {missing[0]}, found no such file: set HIFRED_SHARED_DATA to the shared data", file=sys.stderr)
        return 2
    checks, datasets, fused = run(roll=options.array_roll)
    if options.output is not None:
        from hifred.report import write_report

        options.output.mkdir(parents=True, exist_ok=True)
        for dataset in datasets:
            dataset.write(options.output / f"{dataset.name}.fits", overwrite=True)
        fused.write(options.output / "fused.fits", overwrite=True)
        write_report(options.output / "report.html", fused, datasets, line=6.4, title="Galactic centre, Resolve")
    failed = [text for good, text in checks if not good]
    print("real_resolve: " + ("FAILED: " + "; ".join(failed) if failed else "; ".join(text for _, text in checks)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
