import gzip
import shutil

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from hifred.data.dataset import Dataset
from hifred.data.plan import Plan
from hifred.data.reduce import Observation, propose_grid, reduce
from hifred.fitsio import FileError, sha256
from hifred.instruments.presets import instrument

# A coarse grid: quick, and as good for what is counted.
COARSE = {"pixel_size": 20.0, "center": [350.868, 58.81], "size": [19, 20]}


@pytest.fixture(scope="module")
def reduced(made):
    """Both data sets of the observation, and what was said."""
    said = []
    return reduce(made / "reduce.toml", say=said.append), said


def test_both_instruments_are_on_one_grid(reduced, observation, made):
    (pn, resolve), said = reduced
    assert (pn.name, resolve.name) == ("pn", "resolve")
    assert pn.grid is resolve.grid
    grid = pn.grid
    assert grid is not None
    assert grid.center is not None
    np.testing.assert_allclose(grid.energy_edges, 2.0 + 0.02 * np.arange(31), rtol=1e-12)
    # What both see is what Resolve sees; 78 arcsec (the half-power diameter of its PSF) beyond on each side.
    assert grid.center.separation(observation.ARRAY).arcsec < 2
    side = 6 * 30.645 * (np.cos(np.radians(10)) + np.sin(np.radians(10))) + 2 * 78
    assert side - 1 < grid.sky_shape[0] * 10.0 < side + 12
    assert pn.counts.shape[1:] == grid.sky_shape
    assert resolve.counts.shape[1:] == (6, 6)
    assert (pn.exposure, resolve.exposure) == (9000.0, 19000.0)
    assert len(said) == 3
    assert said[0].startswith(f"grid: 30 energies x {grid.sky_shape[0]} x {grid.sky_shape[1]} pixels of 10 arcsec")
    for dataset, sentence in zip((pn, resolve), said[1:], strict=True):
        used = int(dataset.counts[dataset.mask].sum())
        assert sentence.startswith(f"{dataset.name}: {used} events in {len(dataset.counts)} channels")
    assert "roll 79." in said[2] or "roll 80." in said[2]


def test_where_a_data_set_comes_from(reduced, made, observation):
    (pn, resolve), _ = reduced
    files = pn.provenance["files"]
    assert set(files) == {"events", "rmf", "arf", "psf", "exposure_map", "background"}
    for entry in files.values():
        assert entry["sha256"] == sha256(entry["file"])
    assert files["arf"]["file"] == str((made / "pn.arf").resolve())
    assert pn.provenance["plan"]["background"]["file"].endswith("pn_background.pha")
    setup = resolve.provenance["setup"]
    assert setup["instrument"] == "xrism-resolve"
    assert abs(setup["detector"][2] - observation.ROLL) < 0.5
    np.testing.assert_allclose(setup["pointing"], [observation.ARRAY.ra.deg, observation.ARRAY.dec.deg], rtol=1e-9)


def test_the_truth_is_found_where_it_is(reduced, observation):
    """Counts of pn peak at the source that was put in, and those of Resolve are even over its pixels."""
    (pn, resolve), _ = reduced
    image = pn.counts.sum(0)
    y, x = np.unravel_index(image.argmax(), image.shape)
    source = SkyCoord(
        observation.CENTER[0] + 0.008 / np.cos(np.radians(observation.CENTER[1])), observation.CENTER[1] + 0.006,
        unit="deg",
    )  # fmt: skip
    assert pn.grid.wcs.pixel_to_world(x, y).separation(source).arcsec < 25
    per_pixel = resolve.counts.sum(0)[resolve.mask[0]]
    assert per_pixel.std() / np.sqrt(per_pixel.mean()) < 1.6


def test_what_zero_exposure_hides_is_not_used(planned):
    centre = {"center": [350.866, 58.812], "size": [61, 41], "pixel_size": 12.0}
    (dataset,) = reduce(planned(datasets=("pn",), grid=centre, pn={"psf_reach": 36.0}))
    used = dataset.mask[0]
    # Pixels of the grid are those of the map: 41 of 61 columns, without the two of the gap.
    columns = np.arange(61) - 30
    expected = (np.abs(columns) <= 20) & (columns != 9) & (columns != 10)
    np.testing.assert_array_equal(used, np.broadcast_to(expected, (41, 61)))


@pytest.mark.parametrize("key", ["region", "mask"])
def test_regions_choose_pixels_by_their_centres(planned, observation, folder, key):
    center = SkyCoord(*observation.CENTER, unit="deg")
    (dataset,) = reduce(planned(datasets=("pn",), grid=COARSE, pn={key: "field.reg", "exposure_map": None}))
    y, x = np.mgrid[: dataset.grid.sky_shape[0], : dataset.grid.sky_shape[1]]
    inside = dataset.grid.wcs.pixel_to_world(x, y).separation(center).arcsec < 120
    assert 0.1 < inside.mean() < 0.9
    np.testing.assert_array_equal(dataset.mask[0], inside == (key == "region"))
    (resolve,) = reduce(planned(datasets=("resolve",), grid=COARSE, resolve={key: 'icrs; circle(350.87, 58.809, 60")'}))
    used = resolve.mask[0]
    assert 0 < used.sum() < 35
    assert used[2:4, 2:4].all() == (key == "region")
    assert used[[0, 5, 5], [5, 0, 5]].any() == (key == "mask")


def test_a_region_that_holds_nothing_is_named(planned):
    for change, words in (
        ({"region": 'icrs; circle(10, 10, 5")'}, ["changed.toml [dataset pn]: region"]),
        ({"region": "none.reg"}, ["none.reg"]),
        ({"mask": 'icrs; circle(350.866, 58.812, 2000")'}, ["changed.toml [dataset pn]", "pixels to use"]),
    ):
        with pytest.raises(FileError) as caught:
            reduce(planned(datasets=("pn",), grid=COARSE, pn=change))
        for word in ("expected", "found", *words):
            assert word in str(caught.value)


def test_times_scale_the_exposure(planned, made):
    """6 of 10 ks of good time: 60% of the exposure, the area and, here, the background; the map stays."""
    (whole,) = reduce(planned(datasets=("pn",), grid=COARSE))
    (part,) = reduce(planned(datasets=("pn",), grid=COARSE, pn={"time": [[0.0, 5000.0], [10000.0, 13000.0]]}))
    assert (whole.exposure, part.exposure) == (9000.0, pytest.approx(5400.0))
    np.testing.assert_allclose(part.background, 0.6 * whole.background, rtol=1e-6)
    cube = np.ones(whole.grid.shape) * 1e-6
    few, all_ = (np.asarray(d.response.mv(cube)) for d in (part, whole))
    np.testing.assert_allclose(few, 0.6 * all_, rtol=2e-5)
    table = Table.read(made / "pn_events.fits", hdu="EVENTS", format="fits")
    time, good = np.asarray(table["TIME"]), np.asarray(table["PATTERN"]) <= 4
    times = ((time >= 1000) & (time <= 5000)) | ((time >= 10000) & (time <= 12000))
    all_times = ((time >= 1000) & (time <= 6000)) | ((time >= 7000) & (time <= 12000))
    assert part.counts.sum() < whole.counts.sum()
    ratio = (good & times).sum() / (good & all_times).sum()
    assert part.counts.sum() / whole.counts.sum() == pytest.approx(ratio, abs=0.05)
    for time, words in (
        ([[0.0, 1.0]], "time: expected intervals within the good times"),
        ([[5.0, 1.0]], "start < stop"),
    ):
        with pytest.raises(FileError, match=rf"changed\.toml \[dataset pn\].*{words}"):
            reduce(planned(datasets=("pn",), grid=COARSE, pn={"time": time}))


def test_rules_choose_events(planned, made):
    table = Table.read(made / "resolve.evt", hdu="EVENTS", format="fits")
    time = np.asarray(table["TIME"])
    base = (time >= 500) & (time <= 20500) & (table["PI"] >= 4000) & (table["PI"] < 5000)
    for rule, keep in (
        ({"ITYPE": [1]}, table["ITYPE"] == 1),
        ({"itype": [0, 2]}, table["ITYPE"] != 1),
        ({"ITYPE": [[0, 1]], "PIXEL": [[0, 9], 30]}, (table["ITYPE"] < 2) & ((table["PIXEL"] < 10) | (table["PIXEL"] == 30))),
    ):  # fmt: skip
        change = {
            "keep": rule, "band": [2.0, 2.5], "background": None, "array_center": [350.87, 58.809], "array_roll": 80.0,
        }  # fmt: skip
        (dataset,) = reduce(planned(datasets=("resolve",), grid=COARSE, resolve=change))
        assert dataset.counts.sum() == (base & keep).sum()
    for rule, word in (({"NOSUCH": [1]}, "NOSUCH"), ({"ITYPE": "0"}, "ITYPE"), ({"ITYPE": [[2, 1]]}, "ITYPE")):
        with pytest.raises(FileError, match=word):
            reduce(planned(datasets=("resolve",), grid=COARSE, resolve={"keep": rule}))


def test_lists_that_do_not_belong_are_refused(planned):
    for name, change, words in (
        ("acis", {"instrument": "xrism-xtend"}, ["acis_evt2.fits[EVENTS]", "TELESCOP", "XRISM", "found CHANDRA"]),
        ("pn", {"instrument": "epic-mos1"}, ["pn_events.fits[EVENTS]", "INSTRUME", "EMOS1", "found EPN"]),
        ("pn", {"instrument": "hubble"}, ["hubble", "epic-pn"]),
        ("pn", {"exclude_pixels": [1]}, ["changed.toml [dataset pn]", "exclude_pixels", "found [1]"]),
        ("resolve", {"exclude_pixels": [36]}, ["changed.toml [dataset resolve]", "exclude_pixels", "found [36]"]),
        ("pn", {"array_roll": 80.0}, ["changed.toml [dataset pn]", "array_roll", "epic-pn", "found 80"]),
        ("pn", {"array_center": [350.8, 58.8]}, ["changed.toml [dataset pn]", "array_center", "found (350.8, 58.8)"]),
        ("pn", {"arf_holds_psf": True}, ["changed.toml [dataset pn]", "arf_holds_psf", "found True"]),
        ("pn", {"events": "resolve.rmf"}, ["resolve.rmf", "EVENTS"]),
        ("resolve", {"array_center": [0, 0], "array_roll": 0}, ["changed.toml [dataset resolve]", "on the grid"]),
    ):
        with pytest.raises(FileError) as caught:
            reduce(planned(datasets=(name,), grid=COARSE, **{name: change}))
        for word in words:
            assert word in str(caught.value)


def test_a_list_of_which_nothing_is_kept_has_no_field(planned):
    with pytest.raises(FileError, match=r"pn_events\.fits\[EVENTS\]: expected some events to keep, found none"):
        reduce(planned(datasets=("pn",), pn={"keep": {"PATTERN": [99]}}))


def test_a_grid_too_narrow_for_a_usual_band_is_named(planned):
    with pytest.raises(FileError, match=r"changed\.toml \[dataset pn\]: band: expected one, .* found none"):
        reduce(planned(datasets=("pn",), grid=COARSE | {"band": [2.0, 2.1]}, pn={"band": None}))


def test_the_field_reaches_as_far_as_the_psf_in_use(planned, folder):
    """Half of the photons of an even square of 200 arcsec lie within a radius of 80 arcsec."""
    hdu = fits.PrimaryHDU(np.ones((20, 20)))
    hdu.header.update({"CDELT1": -10.0, "CDELT2": 10.0, "CUNIT1": "arcsec", "CUNIT2": "arcsec"})
    hdu.writeto(folder / "wide.fits")
    sizes = []
    for psf in (None, "wide.fits"):
        plan = Plan.read(planned(datasets=("resolve",), resolve={"psf": psf} if psf else {}))
        observations = [Observation.open(dataset) for dataset in plan.datasets]
        sizes.append(propose_grid(plan.grid, observations).sky_shape[0] * plan.grid.pixel_size)
    assert sizes[1] - sizes[0] == pytest.approx(2 * (2 * 100 * np.sqrt(2 / np.pi) - 78), abs=10.1)


def test_fields_that_do_not_overlap_are_named(planned, folder, observation):
    with fits.open(folder / "resolve.evt", mode="update") as hdus:
        for key in [key for key in hdus["EVENTS"].header if key.startswith("TCRVL")][1:]:
            hdus["EVENTS"].header[key] = 20.0
    with pytest.raises(FileError) as caught:
        reduce(planned())
    for word in ("pn_events.fits", "resolve.evt", "overlap"):
        assert word in str(caught.value)


def test_twice_the_same(reduced, made, tmp_path):
    """Two runs give the same files, to the last bit but for the time that checksums are dated with."""
    again = reduce(made / "reduce.toml")
    # The sum of a header counts the dates in its comments; that of the data does not.
    comments = {"ignore_comments": ["CHECKSUM", "DATASUM"]}
    for dataset, other in zip(reduced[0], again, strict=True):
        dataset.write(tmp_path / "a.fits", overwrite=True)
        other.write(tmp_path / "b.fits", overwrite=True)
        difference = fits.FITSDiff(tmp_path / "a.fits", tmp_path / "b.fits", ignore_keywords=["CHECKSUM"], **comments)
        assert difference.identical, difference.report()
        assert Dataset.read(tmp_path / "a.fits").provenance == Dataset.read(tmp_path / "b.fits").provenance


def test_gzip_and_folders_of_any_name(observation, made, tmp_path):
    folder = tmp_path / "Beobachtung Nº 1, «Каси» 仙后座"
    shutil.copytree(made, folder)
    for name in ("pn_events.fits", "pn.rmf", "pn.arf", "pn_expmap.fits", "pn_background.pha", "psf.fits"):
        with gzip.open(folder / f"{name}.gz", "wb") as stream:
            stream.write((folder / name).read_bytes())
        (folder / name).unlink()
    packed = {
        "events": "pn_events.fits.gz", "rmf": "pn.rmf.gz", "arf": "pn.arf.gz", "exposure_map": "pn_expmap.fits.gz",
        "psf": "psf.fits.gz", "background": {"file": "pn_background.pha.gz"}, "name": "pn 仙后座 β",
    }  # fmt: skip
    plan = folder / "пла́н.toml"
    plan.write_text(observation.toml(observation.changed(("pn",), grid=COARSE, pn=packed)), encoding="utf-8")
    (dataset,) = reduce(plan)
    plain = made / "plain.toml"
    plain.write_text(observation.toml(observation.changed(("pn",), grid=COARSE)))
    (other,) = reduce(plain)
    plain.unlink()
    np.testing.assert_array_equal(dataset.counts, other.counts)
    np.testing.assert_array_equal(dataset.background, other.background)
    dataset.write(folder / "β.fits.gz")
    read = Dataset.read(folder / "β.fits.gz")
    assert (read.name, read.provenance) == (dataset.name, dataset.provenance)
    assert read.provenance["files"]["events"]["file"] == str((folder / "pn_events.fits.gz").resolve())
    cube = np.ones(read.grid.shape) * 1e-6
    np.testing.assert_array_equal(read.predict(cube), dataset.predict(cube))


def test_real_lists(shared_data, tmp_path, observation):
    """Resolve with Hitomi's matrix (its own is 64 MB), and Chandra, against queries of their tables."""
    resolve, acis = (
        shared_data(f"events/{n}") for n in ("xrism_resolve_300045010_cl.evt.gz", "chandra_acis_754_evt2.fits.gz")
    )
    responses = [shared_data(f"responses/{n}") for n in ("hitomi_sxs.rmf.gz", "xrism_resolve_gate_valve_closed.arf.gz")]
    plan = {
        "grid": {"band": [6.2, 6.8], "energy_step": 20.0, "pixel_size": 15.0},
        "dataset": [{
            "name": "resolve", "instrument": "xrism-resolve", "events": str(resolve), "rmf": str(responses[0]),
            "arf": str(responses[1]), "band": [6.3, 6.7],
        }],
    }  # fmt: skip
    path = tmp_path / "plan.toml"
    path.write_text(observation.toml(plan))
    (dataset,) = reduce(path)
    table = Table.read(resolve, hdu="EVENTS", format="fits")
    used = (table["ITYPE"] == 0) & (table["PI"] >= 12600) & (table["PI"] < 13400)
    expected = np.bincount(table["PIXEL"][used], minlength=36)
    array = instrument("xrism-resolve").detector
    assert array is not None
    np.testing.assert_array_equal(dataset.counts.sum(0), expected[array.layout])
    assert (dataset.mask[0].sum(), expected.sum() > 300) == (35, True)

    chandra = [shared_data(f"responses/acisi_aimpt_cy18.{n}.gz") for n in ("rmf", "arf")]
    header = fits.getheader(acis, "EVENTS")
    plan["grid"] = {
        "band": [2.0, 5.0], "energy_step": 100.0, "pixel_size": 15.0, "center": [228.48, -59.14], "size": [16, 12],
    }  # fmt: skip
    plan["dataset"] = [{
        "name": "acis", "instrument": "acis-i", "events": str(acis), "rmf": str(chandra[0]), "arf": str(chandra[1]),
        "channel_width": 146.0, "band": [2.5, 4.5],
    }]  # fmt: skip
    path.write_text(observation.toml(plan))
    (dataset,) = reduce(path)
    table = Table.read(acis, hdu="EVENTS", format="fits")
    bounds = dataset.response.recipe.channel_bounds
    first = round(bounds[0] / 0.0146) + 1
    channel = (np.asarray(table["pi"]) - first) // 10
    assert header["TCTYP11"].startswith("RA")
    ra, dec = (np.radians(header[f"TCRVL{n}"]) for n in (11, 12))
    xi, eta = (
        np.radians((np.asarray(table[c]) - header[f"TCRPX{n}"]) * header[f"TCDLT{n}"])
        for c, n in (("x", 11), ("y", 12))
    )
    sky = SkyCoord(
        ra + np.arctan2(xi, np.cos(dec) - eta * np.sin(dec)),
        np.arctan2(np.sin(dec) + eta * np.cos(dec), np.hypot(xi, np.cos(dec) - eta * np.sin(dec))), unit="rad",
    )  # fmt: skip
    x, y = dataset.grid.wcs.world_to_pixel(sky)
    keep = np.isin(table["grade"], [0, 2, 3, 4, 6])
    expected, _ = np.histogramdd(
        np.stack([channel[keep], y[keep], x[keep]], axis=-1),
        bins=[np.arange(len(dataset.counts) + 1) - 0.5, np.arange(13) - 0.5, np.arange(17) - 0.5],
    )
    assert dataset.counts.sum() > 5000
    # The good times of the file hold all of its events; a few lie on edges of pixels, where rounding decides.
    assert np.abs(dataset.counts - expected).sum() <= 4


def test_a_grid_that_a_camera_does_not_look_at_is_named(planned):
    for center in ([0.0, 90.0], [170.866, -58.812], [351.3, 58.81]):
        with pytest.raises(FileError, match=r"changed\.toml \[dataset pn\]: expected events on the grid, found all of"):
            reduce(planned(datasets=("pn",), grid=COARSE | {"center": center}, pn={"exposure_map": None}))
    # A field that it looks at may be dark.
    (dark,) = reduce(planned(datasets=("pn",), grid=COARSE, pn={"keep": {"PATTERN": [99]}}))
    assert dark.counts.sum() == 0


def test_a_matrix_of_another_instrument_is_said(planned):
    said = []
    change = {"rmf": "acis.rmf", "arf": "acis.arf"}
    reduce(planned(datasets=("pn",), grid=COARSE, pn=change), say=said.append)
    assert said[1] == "pn: the RMF is one of CHANDRA ACIS, not of epic-pn"


def test_maps_and_images_in_other_units_are_named(planned, folder):
    with fits.open(folder / "pn_expmap.fits", mode="update") as hdus:
        for hdu in hdus:
            if hdu.data is not None and hdu.data.dtype.names is None:
                hdu.data = hdu.data / 1000
    with pytest.raises(
        FileError, match=r"pn_expmap\.fits: expected about the exposure of the events, 9000 s, found no"
    ):
        reduce(planned(datasets=("pn",), grid=COARSE))
    for size in (5e-3, 300.0):
        hdu = fits.PrimaryHDU(np.ones((9, 9)))
        hdu.header.update({"CDELT1": -size, "CDELT2": size, "CUNIT1": "arcsec", "CUNIT2": "arcsec"})
        hdu.writeto(folder / "odd.fits", overwrite=True)
        with pytest.raises(FileError, match=r"odd\.fits: expected a PSF of epic-pn, half of the photons within"):
            reduce(planned(datasets=("pn",), grid=COARSE, pn={"psf": "odd.fits", "exposure_map": None}))


def test_detector_pixels_without_exposure_are_not_used(planned, folder):
    """The western half of the sky was not seen: of the pixels, those of which a part is east remain."""
    exposure = np.full((100, 100), 19000.0)
    exposure[:, 50:] = 0
    hdu = fits.PrimaryHDU(exposure)
    for axis, (kind, value, step) in enumerate((("RA---TAN", 350.87, -5.0), ("DEC--TAN", 58.809, 5.0)), start=1):
        hdu.header.update({
            f"CTYPE{axis}": kind, f"CRVAL{axis}": value, f"CRPIX{axis}": 50.5, f"CDELT{axis}": step / 3600,
            f"CUNIT{axis}": "deg",
        })  # fmt: skip
    hdu.header["BUNIT"] = "s"
    hdu.writeto(folder / "half.fits")
    whole, half = (
        reduce(planned(datasets=("resolve",), grid=COARSE, resolve=change))[0]
        for change in ({}, {"exposure_map": "half.fits"})
    )
    assert whole.mask[0].sum() == 35
    assert 17 <= half.mask[0].sum() < 30
    assert np.all(half.predict(np.ones(half.grid.shape) * 1e-6)[half.mask] > 0)
