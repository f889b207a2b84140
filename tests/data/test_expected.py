from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

from hifred.data.background import read_rates
from hifred.data.binning import SkyBins
from hifred.data.event_filter import EventFilter
from hifred.data.event_writer import LAYOUTS, write_events
from hifred.data.events import EventFile
from hifred.data.expected import expected_background
from hifred.data.plan import BackgroundPlan, Plan
from hifred.data.reduce import Observation, reduce
from hifred.fitsio import FileError
from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.pha import Spectrum
from hifred.instruments.presets import instrument

PN = instrument("epic-pn")
CENTER = (350.866, 58.812)


@pytest.fixture(scope="module")
def parts(observation, made):
    """What a background is made for: bins, channels and exposure of both instruments on one grid."""
    grid = CubeGrid(energy_bins(2.0, 2.6, 0.02), (40, 44), 6.0, CENTER)
    plan = made / "parts.toml"
    plan.write_text(observation.toml(observation.changed()))
    out = {}
    for dataset in Plan.read(plan).datasets:
        seen = Observation.open(dataset)
        setup = seen.setup()
        out[dataset.name] = (
            seen.instrument, seen.file, seen.chosen, setup.channels(grid), setup.bins(grid), setup.exposure,
        )  # fmt: skip
    plan.unlink()
    return out


def area_of(bins):
    return 40 * 44 * 0.1**2 if isinstance(bins, SkyBins) else 35 * (30.645 / 60) ** 2


def test_none(parts):
    background = expected_background(None, *parts["resolve"])
    assert background.shape == (parts["resolve"][3].edges.size - 1, 6, 6)
    assert not background.any()


def test_the_rate_of_a_preset(parts):
    """Counts / s / keV / arcmin2 of pn times area, exposure and width; of the detector for Resolve, pixel by pixel."""
    preset, _, _, channels, bins, exposure = parts["pn"]
    found = expected_background(BackgroundPlan(preset=True, factor=2.0), *parts["pn"])
    middle = 0.5 * (channels.bounds[1:] + channels.bounds[:-1])
    rate = np.interp(middle, [0.3, 7.0], [5.6e-4, 5.0e-4])
    expected = 2 * rate * np.diff(channels.bounds) * exposure * area_of(bins) / bins.grid.sky_shape[0] / 44
    np.testing.assert_allclose(found, np.broadcast_to(expected[:, None, None], found.shape), rtol=1e-6)
    assert (exposure, preset.name) == (9000.0, "epic-pn")

    _, _, _, channels, bins, exposure = parts["resolve"]
    found = expected_background(BackgroundPlan(preset=True), *parts["resolve"])
    assert found[:, 0, 0].max() == 0  # pixel 12 does not see the sky
    expected = 1.0e-3 * np.diff(channels.bounds) * exposure / 35
    np.testing.assert_allclose(found[:, 1, 1], expected, rtol=1e-9)
    assert found.sum() == pytest.approx(35 * expected.sum())


def test_a_spectrum(parts, made):
    """Counts of the file's channels, scaled by time and area, in the channels of the data set."""
    plan = BackgroundPlan(file=made / "pn_background.pha", area_ratio=0.25)
    found = expected_background(plan, *parts["pn"])
    counts = fits.getdata(made / "pn_background.pha", "SPECTRUM")["COUNTS"]
    edges = parts["pn"][3].edges
    sums = [counts[a:b].sum() for a, b in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_allclose(found.sum((1, 2)), np.array(sums) * 9000.0 / 30000.0 * 0.25, rtol=1e-9)
    assert np.ptp(found, axis=(1, 2)).max() < 1e-9 * found.max()


def test_a_spectrum_is_known_by_its_contents_too(parts, made, tmp_path):
    (tmp_path / "b.fits").write_bytes((made / "pn_background.pha").read_bytes())
    first, second = (
        expected_background(BackgroundPlan(file=path), *parts["pn"])
        for path in (tmp_path / "b.fits", made / "pn_background.pha")
    )
    np.testing.assert_array_equal(first, second)


def test_channels_of_a_spectrum_count_as_in_the_rmf(parts, tmp_path):
    """Resolve's RMF of this observation begins at channel 3400, the spectrum at 0: the numbers decide."""
    counts = np.zeros(6000)
    counts[4200] = 7  # PI 4200: 2.1 keV
    Spectrum(counts, 19000.0, 0).write(tmp_path / "b.pha")
    found = expected_background(BackgroundPlan(file=tmp_path / "b.pha"), *parts["resolve"])
    bounds = parts["resolve"][3].bounds
    np.testing.assert_allclose(found.sum((1, 2)), 7.0 * ((bounds[:-1] <= 2.10025) & (bounds[1:] > 2.10025)))


def test_rates_in_hdf5(parts, made):
    pytest.importorskip("h5py")
    _, _, _, channels, bins, exposure = parts["resolve"]
    found = expected_background(BackgroundPlan(file=made / "rates.h5"), *parts["resolve"])
    with h5py.File(made / "rates.h5") as file:
        values = np.array(file["spectrum"])
    at = 0.5 + (np.arange(48) + 0.5) * 0.25
    middle = 0.5 * (channels.bounds[1:] + channels.bounds[:-1])
    expected = np.interp(middle, at, values) * np.diff(channels.bounds) * exposure * area_of(bins)
    np.testing.assert_allclose(found.sum((1, 2)), expected, rtol=1e-4)
    assert read_rates(made / "rates.h5").per_arcmin2


def test_a_cube_is_taken_as_it_is(parts, tmp_path):
    shape = (parts["pn"][3].edges.size - 1, 40, 44)
    cube = np.random.default_rng(0).random(shape)
    fits.PrimaryHDU(cube).writeto(tmp_path / "cube.fits")
    found = expected_background(BackgroundPlan(file=tmp_path / "cube.fits", factor=3.0), *parts["pn"])
    np.testing.assert_allclose(found, 3 * cube, rtol=1e-12)
    with pytest.raises(FileError, match=r"cube\.fits\[PRIMARY\]: expected the shape .*, found"):
        expected_background(BackgroundPlan(file=tmp_path / "cube.fits"), *parts["resolve"])


def test_a_map_says_where_it_is(parts, tmp_path, observation):
    image = np.zeros((60, 60))
    image[:, 30:] = 3.0  # the west half of 600 arcsec about the centre
    image[:, :30] = 1.0
    fits.PrimaryHDU(image, header=observation.sky_header(60, 10.0)).writeto(tmp_path / "map.fits")
    found = expected_background(BackgroundPlan(preset=True, map=tmp_path / "map.fits"), *parts["pn"])
    even = expected_background(BackgroundPlan(preset=True), *parts["pn"])
    np.testing.assert_allclose(found.sum((1, 2)), even.sum((1, 2)), rtol=1e-9)
    np.testing.assert_allclose(found[:, :, 30] / found[:, :, 10], 3.0, rtol=1e-6)
    found = expected_background(BackgroundPlan(preset=True, map=tmp_path / "map.fits"), *parts["resolve"])
    assert found[:, 0, 0].max() == 0
    assert found.max() / found[found > 0].min() > 2.5
    fits.PrimaryHDU(image).writeto(tmp_path / "nowhere.fits")
    with pytest.raises(FileError, match=r"nowhere\.fits\[PRIMARY\]: expected a celestial WCS"):
        expected_background(BackgroundPlan(preset=True, map=tmp_path / "nowhere.fits"), *parts["pn"])


@pytest.fixture(scope="module")
def even_list(tmp_path_factory):
    """Events even over 400 by 400 arcsec, 2 per arcsec2 and keV at 2 to 3 keV, of which 1 in 4 is of a bad pattern."""
    path = tmp_path_factory.mktemp("even") / "even.fits"
    rng = np.random.default_rng(11)
    n = rng.poisson(2 * 400**2 / 0.75)
    east, north = rng.uniform(-200, 200, (2, n)) / 3600
    pattern = np.where(rng.random(n) < 0.25, 9, 0).astype(np.int16)
    write_events(
        path, PN.events, telescope="XMM", instrume="EPN", time=rng.uniform(0, 1000, n), channel=rng.integers(2000, 3000, n),
        sky=(CENTER[0] + east / np.cos(np.radians(CENTER[1] + north)), CENTER[1] + north), center=CENTER,
        good_times=[[0, 1000]], exposure=1000.0, extra_columns={"PATTERN": pattern}, **LAYOUTS["epic-pn"],
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    "region",
    [
        'icrs; circle(350.866, 58.812, 90")', 'icrs; annulus(350.866, 58.812, 60", 150")',
        'fk5; box(350.82, 58.83, 120", 100", 30)', 'icrs; circle(350.866, 58.812, 150"); -circle(350.866, 58.812, 80")',
    ],
    ids=["circle", "annulus", "box", "excluded"],
)  # fmt: skip
def test_a_region_gives_the_density_of_an_even_background(parts, even_list, region):
    """Whatever the region's shape, the background comes out as it was put in: 2 per arcsec2 and keV."""
    preset, _, _, channels, bins, _ = parts["pn"]
    file = EventFile(even_list, preset.events)
    found = expected_background(BackgroundPlan(region=region), preset, file, EventFilter(), channels, bins, 1000.0)
    width = channels.bounds[-1] - channels.bounds[0]
    expected = 2 * width * 6.0**2  # per pixel
    areas = {
        "circle(350.866, 58.812, 90": 90**2,
        "annulus": 150**2 - 60**2,
        "box": 12000 / np.pi,
        "-circle": 150**2 - 80**2,
    }
    area = np.pi * next(value for key, value in areas.items() if key in region)
    in_region = 2 * width * area
    assert in_region > 5000
    np.testing.assert_allclose(found.sum(0), expected, rtol=3 / np.sqrt(in_region) + 2e-3)
    assert np.ptp(found, axis=(1, 2)).max() < 1e-9


def test_a_region_goes_by_the_choice_of_events(parts, even_list):
    preset, _, _, channels, bins, _ = parts["pn"]
    file = EventFile(even_list, preset.events)
    plan = BackgroundPlan(region='icrs; circle(350.866, 58.812, 150")')
    all_events, half, patterns = (
        expected_background(plan, preset, file, chosen, channels, bins, 1000.0).sum()
        for chosen in (EventFilter(), EventFilter(time=[[0, 500]]), EventFilter(keep={"PATTERN": [[0, 12]]}))
    )
    assert half / all_events == pytest.approx(0.5, abs=0.03)
    assert patterns / all_events == pytest.approx(4 / 3, abs=0.06)


def test_a_region_file(planned, folder):
    (dataset,) = reduce(planned(datasets=("pn",), pn={"background": {"region": "field.reg"}}))
    (told,) = reduce(planned(datasets=("pn",), pn={"background": {"region": (folder / "field.reg").read_text()}}))
    np.testing.assert_array_equal(dataset.background, told.background)
    assert dataset.background.sum() > 100
    assert "background_region" in dataset.provenance["files"]


def test_what_has_no_background_is_named(parts, planned, folder):
    for plan, words in (
        ({"region": "none.reg"}, ["none.reg"]),
        ({"region": 'icrs; circle(10, 10, 5")'}, ["circle", "off the image"]),
        ({"region": "icrs; circle(1)"}, ["circle(1)"]),
        ({"file": "none.pha"}, ["none.pha", "no such file"]),
        ({"file": "none.h5"}, ["none.h5"]),
        ({"file": "resolve.evt"}, ["resolve.evt", "an image"]),
        ({"file": "pn_background.pha", "map": "none.fits"}, ["none.fits"]),
    ):
        with pytest.raises(FileError) as caught:
            reduce(planned(datasets=("pn",), pn={"background": plan, "exposure_map": None}))
        for word in ("expected", *words):
            assert word in str(caught.value), str(caught.value)
    with pytest.raises(FileError, match=r"region: expected an instrument whose events are binned on the sky"):
        reduce(planned(datasets=("resolve",), resolve={"background": {"region": "field.reg"}}))
    content = Path(PN.path).read_text(encoding="utf-8")
    (folder / "own.toml").write_text(content[: content.index("[background]")], encoding="utf-8")
    with pytest.raises(FileError, match=r"own\.toml: expected a table \[background\]"):
        reduce(planned(datasets=("pn",), pn={"background": {"preset": True}, "instrument": "own.toml"}))
