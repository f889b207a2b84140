"""A real Chandra event list of MSH 15-52 becomes a data set, and is fused with a Resolve mock drawn from its own model.

    python examples/real_chandra.py [--output DIR] [--array-roll DEGREES]

ACIS-I, observation 754, 19 ks: the pulsar B1509-58 in its nebula. XRISM Resolve is drawn from a smooth model of these
very data, with the response of Hitomi SXS as a stand-in. There is no exposure map here, so the gaps between the chips
stay in the image as dark lanes.
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
EVENTS = SHARED / "events" / "chandra_acis_754_evt2.fits.gz"
ACIS = CalibrationPlan(
    rmf=SHARED / "responses" / "acisi_aimpt_cy18.rmf.gz", arf=SHARED / "responses" / "acisi_aimpt_cy18.arf.gz"
)  # fmt: skip
RESOLVE = CalibrationPlan(
    rmf=SHARED / "responses" / "hitomi_sxs.rmf.gz",
    arf=SHARED / "responses" / "xrism_resolve_gate_valve_closed.arf.gz",
)
PULSAR = (228.4818, -59.1358)
RESOLVE_EXPOSURE, ROLL = 100e3, 30.0  # s; degrees
GRADES = (0, 2, 3, 4, 6)


def reduced(energy_step: float, size: int) -> hifred.Dataset:
    """The event list as a data set: a plan, and `hifred.reduce`."""
    grid = GridPlan(band=(1.8, 4.2), energy_step=energy_step, pixel_size=305 / size, center=PULSAR, size=(size, size))
    plan = Plan(grid, (DatasetPlan("acis", "acis-i", EVENTS, ACIS, background=BackgroundPlan(preset=True)),))
    (acis,) = hifred.reduce(plan)
    return acis


def resolve_at(grid: hifred.CubeGrid, roll: float) -> hifred.Dataset:
    """Resolve with its middle on the pulsar, without events."""
    setup = Setup("xrism-resolve", RESOLVE, RESOLVE_EXPOSURE, RESOLVE_EXPOSURE, detector=(*PULSAR, roll))
    response = hifred.Response.of(setup.response(grid))
    used = np.broadcast_to(setup.bins(grid).seen, response.out_shape)
    nothing = np.zeros(response.out_shape)
    return hifred.Dataset(nothing, response, mask=used, name="resolve", grid=grid, exposure=RESOLVE_EXPOSURE)


def queried(acis: hifred.Dataset, edges: np.ndarray) -> np.ndarray:
    """Events of the table in each sky pixel, by astropy alone: grades, good times of each chip, channels."""
    with fits.open(EVENTS) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        table = file["EVENTS"].data
        names = [name.lower() for name in table.names]
        wcs = WCS(file["EVENTS"].header, keysel=["pixel"], colsel=[names.index(axis) + 1 for axis in ("x", "y")])
        good = np.zeros(len(table), bool)
        for hdu in file:
            if hdu.name == "GTI":
                chip = table["ccd_id"] == hdu.header["CCD_ID"]
                time = table["time"][:, None]
                good |= chip & ((time >= hdu.data["START"]) & (time < hdu.data["STOP"])).any(1)
        # Channel n spans 14.6 (n - 1) to 14.6 n eV.
        low, high = (round(energy / 14.6e-3) for energy in edges)
        good &= np.isin(table["grade"], GRADES) & (table["pi"] > low) & (table["pi"] <= high)
        sky = SkyCoord(*wcs.all_pix2world(table["x"][good], table["y"][good], 1), unit="deg")
    x, y = acis.grid.wcs.world_to_pixel(sky)
    pixels = [np.arange(n + 1) - 0.5 for n in acis.grid.sky_shape]
    return np.histogram2d(y, x, bins=pixels)[0]


def peak(image: np.ndarray) -> np.ndarray:
    """Brightest pixel (y, x)."""
    return np.array(np.unravel_index(image.argmax(), image.shape))


def run(energy_step: float = 4e-3, size: int = 61, roll: float = ROLL):
    """Reduce, draw the mock, fuse, and check; gives the checks, the data sets and the cube."""
    acis = reduced(energy_step, size)
    grid = acis.grid
    smooth = hifred.fuse([acis], hifred.priors.LowRankStarlet(strength=4.0), progress=False)
    # What the prior smooths away it takes from the flux too: give the mock what was counted.
    lost = (acis.counts - acis.background).sum() / (smooth.predict(acis) - acis.background).sum()
    drawn = resolve_at(grid, ROLL).sample(lost * smooth.values, seed=1)
    resolve = resolve_at(grid, roll).with_counts(drawn.counts)
    fused = hifred.fuse([acis, resolve], hifred.priors.LowRankSobolev(), progress=False)

    edges = acis.response.recipe.channel_edges(grid.energy_edges)
    equal = np.array_equal(acis.counts.sum(0), queried(acis, edges[[0, -1]]))
    area = hifred.instruments.EffectiveArea.read(ACIS.arf).on(edges)
    direct = ((acis.counts - acis.background).sum((1, 2)) / area).sum() / acis.exposure
    image = fused.image(edges[0], edges[-1])
    ratio = image.sum() / direct
    brightest, counted = peak(image), peak(acis.counts.sum(0))
    place = grid.wcs.pixel_to_world(*brightest[::-1])
    from_pulsar = place.separation(SkyCoord(*PULSAR, unit="deg")).arcsec
    checks = [
        (equal, f"{acis.counts.sum():.0f} events, {'equal to' if equal else 'not'} those of the table in each pixel"),
        (
            np.abs(brightest - counted).max() <= 1,
            f"brightest pixel {from_pulsar:.1f} arcsec from the pulsar and "
            f"{np.hypot(*(brightest - counted)):.1f} pixels from that of the counts",
        ),
        (abs(ratio - 1) < 0.04, f"flux {image.sum():.3e} photons/cm2/s, {ratio:.3f} of counts / (area x exposure)"),
    ]
    for dataset in (acis, resolve):
        part = dataset.cstat(fused.values) / dataset.expected_cstat(fused.values)[0]
        counts = dataset.counts[dataset.mask].sum()
        checks.append((abs(part - 1) < 0.05, f"C-stat of {dataset.name} ({counts:.0f}) {part:.3f} of its expectation"))
    used = resolve.mask[0]
    found, expected = resolve.counts.sum(0)[used], fused.predict(resolve).sum(0)[used]
    chi2 = ((found - expected) ** 2 / expected).sum()
    checks.append((chi2 < 3 * used.sum(), f"chi2 of the {used.sum()} pixels of resolve {chi2:.0f}"))
    return checks, [acis, resolve], fused


def main(arguments: list[str] | None = None) -> int:
    """Run, print one line that sums up the checks, and write files if asked to; 0 if all checks hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="directory for data sets, cube and page; by default none")
    parser.add_argument(
        "--array-roll", type=float, default=ROLL, help=f"roll the fusion assumes; the mock has {ROLL:g} degrees"
    )
    options = parser.parse_args(arguments)
    if missing := [path for path in (EVENTS, *ACIS.files.values(), *RESOLVE.files.values()) if not path.is_file()]:
        print(f"expected {missing[0]}, found no such file: set HIFRED_SHARED_DATA to the shared data", file=sys.stderr)
        return 2
    checks, datasets, fused = run(roll=options.array_roll)
    if options.output is not None:
        from hifred.report import write_report

        options.output.mkdir(parents=True, exist_ok=True)
        for dataset in datasets:
            dataset.write(options.output / f"{dataset.name}.fits", overwrite=True)
        fused.write(options.output / "fused.fits", overwrite=True)
        write_report(options.output / "report.html", fused, datasets, title="MSH 15-52, ACIS-I and a Resolve mock")
    failed = [text for good, text in checks if not good]
    print("real_chandra: " + ("FAILED: " + "; ".join(failed) if failed else "; ".join(text for _, text in checks)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
