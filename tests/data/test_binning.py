import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import ConvexHull

from hifred.data.binning import ArrayBins, SkyBins, event_footprint, placed_array
from hifred.data.event_filter import EventFilter
from hifred.data.events import EventFile, Events
from hifred.data.reduce import reduce
from hifred.fitsio import FileError
from hifred.grid import CubeGrid
from hifred.instruments.presets import instrument

PN, RESOLVE = instrument("epic-pn"), instrument("xrism-resolve")
EDGES = [2.0, 2.2, 2.4, 2.6]


def tangent(ra, dec, center):
    """Offsets east and north in the tangent plane of a centre, arcsec: spherical trigonometry, without a WCS."""
    ra, dec, ra0, dec0 = (np.radians(angle) for angle in (ra, dec, *center))
    scale = np.degrees(3600) / (np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0))
    north = np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)
    return np.cos(dec) * np.sin(ra - ra0) * scale, north * scale


def sky_of_table(path, x="X", y="Y"):
    """Table of an event list and positions in degrees, from the keywords of its columns alone."""
    table = Table.read(path, hdu="EVENTS", format="fits")
    header = fits.getheader(path, "EVENTS")
    n, m = (table.colnames.index(name) + 1 for name in (x, y))
    east, north = (
        np.radians((np.asarray(table[name], float) - header[f"TCRPX{k}"]) * header[f"TCDLT{k}"])
        for name, k in ((x, n), (y, m))
    )
    ra0, dec0 = np.radians(header[f"TCRVL{n}"]), np.radians(header[f"TCRVL{m}"])
    rho = np.hypot(east, north)
    c = np.arctan(rho)
    dec = np.arcsin(np.cos(c) * np.sin(dec0) + north * np.sin(c) * np.cos(dec0) / np.where(rho > 0, rho, 1))
    along = rho * np.cos(dec0) * np.cos(c) - north * np.sin(dec0) * np.sin(c)
    ra = ra0 + np.arctan2(east * np.sin(c), np.where(rho > 0, along, 1))
    return table, np.degrees(ra), np.degrees(dec)


def in_good_time(path, time, name):
    times = Table.read(path, hdu=name, format="fits")
    return np.any([(time >= a) & (time <= b) for a, b in zip(times["START"], times["STOP"], strict=True)], axis=0)


@pytest.mark.parametrize("rotation", [0.0, 33.0])
def test_events_are_counted_in_the_pixel_of_the_sky_they_come_from(made, observation, rotation):
    center, shape, size = (observation.CENTER[0] + 0.01, observation.CENTER[1] - 0.005), (31, 24), 9.0
    grid = CubeGrid(EDGES, shape, size, center, rotation)
    file = EventFile(made / "pn_events.fits", PN.events)
    bins = SkyBins(grid)
    (events,) = file.pieces(filter=EventFilter())
    place = bins.place(events, file.wcs)

    table, ra, dec = sky_of_table(made / "pn_events.fits")
    keep = (table["PATTERN"] <= 4) & (table["FLAG"] == 0)
    keep &= in_good_time(made / "pn_events.fits", np.asarray(table["TIME"]), "STDGTI")
    assert 0 < keep.sum() == len(events) < len(table)
    east, north = tangent(ra[keep], dec[keep], center)
    angle = np.radians(rotation)
    # y at the position angle `rotation` east of north, x a quarter turn clockwise of it on the sky: east on the left.
    x = (north * np.sin(angle) - east * np.cos(angle)) / size + (shape[1] - 1) / 2
    y = (north * np.cos(angle) + east * np.sin(angle)) / size + (shape[0] - 1) / 2
    inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    assert 0 < inside.sum() < inside.size
    # Not those so close to an edge that rounding decides.
    clear = np.all([np.abs(v + 0.5 - np.round(v + 0.5)) > 1e-5 for v in (x, y)], axis=0)
    expected = np.where(inside, np.round(y) * shape[1] + np.round(x), -1)
    np.testing.assert_array_equal(place[clear], expected[clear])
    assert clear.mean() > 0.999


def test_resolve_counts_are_those_of_the_table(made, observation, planned):
    (dataset,) = reduce(planned(datasets=("resolve",), resolve={"exclude_pixels": [27, 5], "band": [2.0, 2.5]}))
    table = Table.read(made / "resolve.evt", hdu="EVENTS", format="fits")
    keep = (table["ITYPE"] == 0) & in_good_time(made / "resolve.evt", np.asarray(table["TIME"]), "GTI")
    assert RESOLVE.detector is not None
    layout = RESOLVE.detector.layout
    # A channel of 0.5 eV: PI 4000 begins at 2 keV; summed by the 20 eV of the grid.
    channel = (np.asarray(table["PI"]) - 4000) // 40
    np.testing.assert_allclose(dataset.response.recipe.channel_bounds, 2.0 + 0.02 * np.arange(26), rtol=1e-9)
    for row, column in np.ndindex(layout.shape):
        own = keep & (table["PIXEL"] == layout[row, column]) & (channel >= 0) & (channel < 25)
        np.testing.assert_array_equal(dataset.counts[:, row, column], np.bincount(channel[own], minlength=25))
    assert dataset.counts.sum() > 1000
    used = ~np.isin(layout, [12, 27, 5])
    np.testing.assert_array_equal(dataset.mask, np.broadcast_to(used, dataset.mask.shape))


def test_numbers_that_are_not_in_the_layout_have_no_place():
    assert RESOLVE.detector is not None
    grid = CubeGrid(EDGES, (30, 30), 10.0, (10.0, 20.0))
    bins = ArrayBins(grid, RESOLVE.detector.on_sky(grid.center, 0.0))
    numbers = np.array([0, 12, 36, 63, 255, 30])
    zeros = np.zeros(numbers.size)
    place = bins.place(Events(zeros, zeros, zeros, zeros, zeros, numbers), grid.wcs)
    np.testing.assert_array_equal(place, [3 * 6 + 2, 0, -1, -1, -1, 35])


def test_pixels_that_stick_out_of_the_grid_are_masked(planned, observation):
    """With a grid over part of the array, exactly those pixels are used that lie on it as a whole."""
    center = (observation.ARRAY.ra.deg + 0.02, observation.ARRAY.dec.deg + 0.01)
    plan = planned(
        datasets=("resolve",), grid={"center": center, "size": [17, 15]},
        resolve={"array_center": [observation.ARRAY.ra.deg, observation.ARRAY.dec.deg], "array_roll": 80.0},
    )  # fmt: skip
    (dataset,) = reduce(plan)
    assert RESOLVE.detector is not None
    array = RESOLVE.detector
    rows, columns = np.indices(array.shape)
    used = array.seen.copy()
    for a, b in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
        # Roll: the position angle of columns; rows run a quarter turn clockwise of them.
        along, down = (columns + a - 2.5) * 30.645, (rows + b - 2.5) * 30.645
        angle = np.radians(80.0)
        north = along * np.cos(angle) + down * np.cos(angle - np.pi / 2)
        east = along * np.sin(angle) + down * np.sin(angle - np.pi / 2)
        shift = tangent(observation.ARRAY.ra.deg, observation.ARRAY.dec.deg, center)
        used &= (np.abs(east + shift[0]) < 85.0) & (np.abs(north + shift[1]) < 75.0)
    assert 3 < used.sum() < 30
    np.testing.assert_array_equal(dataset.mask[0], used)
    assert dataset.mask.shape[0] == len(dataset.counts)


def test_the_pixels_cover_their_area_of_the_sky():
    assert RESOLVE.detector is not None
    grid = CubeGrid(EDGES, (64, 64), 6.0, (350.0, 58.0), 15.0)
    bins = ArrayBins(grid, RESOLVE.detector.on_sky(grid.center, 80.0))
    area = np.asarray(bins.pixels.sum(1)).reshape(6, 6) * 6.0**2
    np.testing.assert_allclose(area[RESOLVE.detector.seen], 30.645**2, rtol=1e-5)
    assert area[0, 0] == 0
    assert bins.area == pytest.approx(35 * (30.645 / 60) ** 2)
    assert bins.seen.sum() == 35
    assert SkyBins(grid).area == pytest.approx((64 * 6 / 60) ** 2)


def test_the_detector_lies_where_it_is_measured_told_or_nominal(made, folder, observation):
    assert RESOLVE.detector is not None
    array, everything = RESOLVE.detector, EventFilter()
    file = EventFile(made / "resolve.evt", RESOLVE.events)
    measured = placed_array(file, everything, array, None, None)
    assert measured.center.separation(observation.ARRAY).arcsec < 1.5
    assert abs(measured.roll - observation.ROLL) < 0.5
    told = placed_array(file, everything, array, (10.0, 20.0), None)
    assert told.center.separation(SkyCoord(10, 20, unit="deg")).arcsec < 1e-6
    assert told.roll == measured.roll
    turned = placed_array(file, everything, array, None, 12.0)
    assert (turned.roll, turned.center.separation(measured.center).arcsec) == (12.0, 0.0)
    # Few events: RA_NOM, DEC_NOM and PA_NOM.
    few = EventFilter(time=[[500.0, 700.0]])
    assert sum(map(len, file.pieces(filter=few))) < 150
    nominal = placed_array(file, few, array, None, None)
    assert (nominal.roll, nominal.center.separation(observation.ARRAY).arcsec < 1e-3) == (observation.ROLL, True)
    with fits.open(folder / "resolve.evt", mode="update") as hdus:
        hdus["EVENTS"].header["PA_NOM"] = "none"
    with pytest.raises(FileError, match=r"resolve\.evt.*PA_NOM"):
        placed_array(EventFile(folder / "resolve.evt", RESOLVE.events), few, array, None, None)


def test_a_list_without_events(folder, made):
    """Nothing is measured on it, and there is no field to see."""
    for name in ("resolve.evt", "pn_events.fits"):
        with fits.open(folder / name, mode="update") as hdus:
            hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
    assert RESOLVE.detector is not None
    empty = EventFile(folder / "resolve.evt", RESOLVE.events)
    assert placed_array(empty, EventFilter(), RESOLVE.detector, None, None).roll == 80.0
    with pytest.raises(FileError, match=r"pn_events\.fits\[EVENTS\]: expected some events to keep, found none"):
        event_footprint(EventFile(folder / "pn_events.fits", PN.events), EventFilter())


def test_the_footprint_holds_all_events_that_are_kept(made):
    file = EventFile(made / "pn_events.fits", PN.events)
    corners = event_footprint(file, EventFilter())
    (events,) = file.pieces(filter=EventFilter())
    sky = file.wcs.pixel_to_world(events.x - 1, events.y - 1)
    center = (corners.ra.deg.mean(), corners.dec.deg.mean())
    box = np.stack(tangent(corners.ra.deg, corners.dec.deg, center), axis=-1)
    points = np.stack(tangent(sky.ra.deg, sky.dec.deg, center), axis=-1)
    hull = ConvexHull(box)
    assert (points @ hull.equations[:, :2].T + hull.equations[:, 2]).max() < 1e-6
    np.testing.assert_allclose(points.max(0) - points.min(0), box.max(0) - box.min(0), rtol=1e-3)
