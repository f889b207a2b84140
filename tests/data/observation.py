"""A small, complete observation of two instruments in a folder: event lists, calibration, background, regions, plan.

The events are made of plain numbers with a seed, the calibration of the presets' mocks. Loaded by its path, since the
tests are no package.
"""

import copy
import json
from pathlib import Path

import h5py
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from hifred.data.event_writer import LAYOUTS, write_events
from hifred.instruments.pha import Spectrum
from hifred.instruments.presets import instrument

CENTER = (350.866, 58.812)
ROLL = 80.0
# Middle of Resolve: a little off the centre of the field.
ARRAY = SkyCoord(CENTER[0] + 0.004, CENTER[1] - 0.003, unit="deg")
GOOD_TIMES = {"epic-pn": [[1000.0, 6000.0], [7000.0, 12000.0]], "xrism-resolve": [[500.0, 20500.0]]}
GOOD_TIMES["acis-i"] = [[0.0, 8000.0]]
EXPOSURE = {"epic-pn": 9000.0, "xrism-resolve": 19000.0, "acis-i": 7900.0}
SIDE = 400.0  # arcsec of the field of the cameras
# True energies of RMF and ARF, and edges of the channels, keV.
ENERGIES = {
    "epic-pn": np.linspace(1.5, 3.5, 101),
    "xrism-resolve": np.linspace(1.8, 2.8, 126),
    "acis-i": np.linspace(1.5, 3.5, 101),
}
CHANNELS = {
    "epic-pn": np.arange(801) * 0.005,
    "xrism-resolve": 1.7 + np.arange(2401) * 0.0005,
    "acis-i": np.arange(301) * 0.0146,
}
NAMES = {"epic-pn": "pn", "xrism-resolve": "resolve", "acis-i": "acis"}
PLAN = {
    "grid": {"band": [2.0, 2.6], "energy_step": 20.0, "pixel_size": 10.0},
    "dataset": [
        {
            "name": "pn", "instrument": "epic-pn", "events": "pn_events.fits", "rmf": "pn.rmf", "arf": "pn.arf",
            "exposure_map": "pn_expmap.fits", "psf": "psf.fits", "background": {"file": "pn_background.pha"},
        },
        {
            "name": "resolve", "instrument": "xrism-resolve", "events": "resolve.evt", "rmf": "resolve.rmf",
            "arf": "resolve.arf", "background": {"preset": True},
        },
    ],
}  # fmt: skip
ACIS = {"name": "acis", "instrument": "acis-i", "events": "acis_evt2.fits", "rmf": "acis.rmf", "arf": "acis.arf"}


def toml(plan: dict) -> str:
    """A plan as TOML; JSON and TOML write numbers, texts and lists alike."""

    def lines(table: dict) -> list[str]:
        return [
            f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)
        ]

    text = lines({key: value for key, value in plan.items() if key not in ("grid", "dataset")})
    text += ["[grid]", *lines(plan["grid"])]
    for dataset in plan["dataset"]:
        text += ["[[dataset]]", *lines(dataset)]
        for key, value in dataset.items():
            if isinstance(value, dict):
                text += [f"[dataset.{key}]", *lines(value)]
    return "\n".join(text) + "\n"


def changed(datasets=("pn", "resolve"), grid=None, top=None, **changes) -> dict:
    """The plan with some data sets and changed keys: `pn={"psf": None}` takes a key away."""
    plan = copy.deepcopy(PLAN)
    plan["dataset"] = [d for d in [*plan["dataset"], dict(ACIS)] if d["name"] in datasets]
    for table, change in ((plan["grid"], grid), (plan, top), *((d, changes.get(d["name"])) for d in plan["dataset"])):
        for key, value in (change or {}).items():
            table[key] = value
            if value is None:
                del table[key]
    return plan


def write_observation(folder: Path) -> Path:
    """Write all files; the path of the plan."""
    rng = np.random.default_rng(7)
    write_camera(folder / "pn_events.fits", "epic-pn", rng, 4000)
    write_camera(folder / "acis_evt2.fits", "acis-i", rng, 2500)
    write_resolve(folder / "resolve.evt", rng, 3000)
    for name, stem in NAMES.items():
        preset = instrument(name)
        preset.mock_area(ENERGIES[name]).write(folder / f"{stem}.arf")
        preset.mock_redistribution(ENERGIES[name], CHANNELS[name]).write(folder / f"{stem}.rmf")
    write_map(folder / "pn_expmap.fits")
    write_psf(folder / "psf.fits")
    counts = rng.poisson(3.0, 800)
    Spectrum(counts, 30000.0, 0, telescope="XMM", instrument="EPN").write(folder / "pn_background.pha")
    with h5py.File(folder / "rates.h5", "w") as file:
        file["emin"], file["emax"], file["spectrum"] = 0.5, 12.5, np.linspace(2e-4, 1e-4, 48)
    ra, dec = CENTER
    (folder / "field.reg").write_text(f'icrs\ncircle({ra}, {dec}, 120")\n')
    (folder / "sources.reg").write_text(
        f'icrs\ncircle({ra + 0.01}, {dec + 0.01}, 25")\nbox({ra}, {dec}, 30", 20", 20)\n'
    )
    plan = folder / "reduce.toml"
    plan.write_text(toml(PLAN))
    return plan


def times(name: str, n: int, rng) -> np.ndarray:
    """Sorted times, a few of them outside the good times."""
    begin, end = GOOD_TIMES[name][0][0], GOOD_TIMES[name][-1][1]
    return np.sort(rng.uniform(begin - 0.02 * (end - begin), end, n))


def write_camera(path: Path, name: str, rng, n: int, **options) -> None:
    """Half of the events even over a square field, half in a source; a tenth of a pattern that is not kept."""
    preset = instrument(name)
    columns = preset.events
    half = n // 2
    east, north = rng.uniform(-SIDE / 2, SIDE / 2, (2, n)) / 3600
    blob = np.clip(rng.normal(0, 25, (2, half)), -SIDE / 2, SIDE / 2) / 3600
    east[:half], north[:half] = blob[0] + 0.008, blob[1] + 0.006
    sky = CENTER[0] + east / np.cos(np.radians(CENTER[1])), CENTER[1] + north
    energy = rng.uniform(1.6, 3.2, n)
    channel = np.floor((energy - columns.pi_origin) / columns.pi_step).astype(int) + columns.pi_first
    grade = "PATTERN" if name == "epic-pn" else "grade"
    extra = {grade: np.where(rng.random(n) < 0.1, 5, rng.choice([0, 2, 3], n)).astype(np.int16)}
    write_events(
        path, columns, telescope=preset.telescope, instrume=preset.instrume[0], time=times(name, n, rng),
        channel=channel, sky=sky, center=CENTER, good_times=GOOD_TIMES[name], exposure=EXPOSURE[name],
        extra_columns=extra, header={"RA_PNT": CENTER[0], "DEC_PNT": CENTER[1]}, **{**LAYOUTS[name], **options},
    )  # fmt: skip


def write_resolve(path: Path, rng, n: int, roll: float = ROLL, **options) -> None:
    """Events even over each of the 36 pixels, with one that does not see the sky, and all grades."""
    preset = instrument("xrism-resolve")
    array = preset.detector
    assert array is not None
    row, column = rng.integers(0, 6, (2, n))
    place = array.offsets(row + rng.uniform(-0.5, 0.5, n), column + rng.uniform(-0.5, 0.5, n), roll)
    plane = WCS(naxis=2)
    plane.wcs.ctype, plane.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [1 / 3600, 1 / 3600]
    plane.wcs.crval, plane.wcs.crpix = [ARRAY.ra.deg, ARRAY.dec.deg], [1, 1]
    sky = plane.pixel_to_world(place.imag, place.real)
    write_events(
        path, preset.events, telescope="XRISM", instrume="RESOLVE", time=times("xrism-resolve", n, rng),
        channel=np.floor(rng.uniform(1.9, 2.7, n) / 0.0005).astype(int), sky=sky, pixel=array.layout[row, column],
        center=ARRAY, good_times=GOOD_TIMES["xrism-resolve"], exposure=EXPOSURE["xrism-resolve"],
        extra_columns={"ITYPE": rng.choice([0, 0, 0, 0, 1, 2], n).astype(np.int16)},
        header={"RA_PNT": ARRAY.ra.deg, "DEC_PNT": ARRAY.dec.deg, "PA_NOM": roll},
        **{**LAYOUTS["xrism-resolve"], **options},
    )  # fmt: skip


def sky_header(side: int, pixel: float) -> fits.Header:
    """TAN image of `side` pixels of `pixel` arcsec about the centre, north up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---TAN", "DEC--TAN"], ["deg", "deg"]
    wcs.wcs.crval, wcs.wcs.crpix = list(CENTER), [(side + 1) / 2] * 2
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    return wcs.to_header()


def write_map(path: Path, unit: str = "s") -> None:
    """Exposure at two energies that falls off from the centre, less than the field wide, with a gap between chips."""
    y, x = np.mgrid[-20:21, -20:21] * 12.0 / 60  # arcmin
    hdus: list = [fits.PrimaryHDU()]
    for energy, scale in ((1.5, 0.02), (3.5, 0.03)):
        image = EXPOSURE["epic-pn"] * np.maximum(1 - scale * (x**2 + y**2), 0.1)
        image[:, 29:31] = 0
        hdus.append(fits.ImageHDU(image, header=sky_header(41, 12.0), name=f"EXP{energy:g}"))
        hdus[-1].header["ENERGY"], hdus[-1].header["BUNIT"] = energy, unit
    fits.HDUList(hdus).writeto(path)


def write_psf(path: Path) -> None:
    """Gaussians at two energies, pixels of 2 arcsec."""
    y, x = np.mgrid[-20:21, -20:21] * 2.0
    hdus: list = [fits.PrimaryHDU()]
    for energy, width in ((1.5, 6.0), (3.5, 8.0)):
        hdus.append(fits.ImageHDU(np.exp(-0.5 * (x**2 + y**2) / width**2), name=f"PSF{energy:g}"))
        hdus[-1].header.update(ENERGY=energy, CDELT1=2.0, CDELT2=2.0, CUNIT1="arcsec", CUNIT2="arcsec")
    fits.HDUList(hdus).writeto(path)
