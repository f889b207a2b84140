import os

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from hifred.data.event_filter import EventFilter
from hifred.data.event_writer import LAYOUTS, write_events
from hifred.data.events import EventFile
from hifred.fitsio import FileError
from hifred.instruments.presets import instrument, instrument_names

CENTER = (83.6, -5.2)
COLUMNS = {name: instrument(name).events for name in instrument_names()}


def photons(n=1000, seed=0, radius=1 / 60):
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(1e8, 1e8 + 5000, n))
    ra = CENTER[0] + rng.uniform(-radius, radius, n) / np.cos(np.radians(CENTER[1]))
    return time, rng.integers(1, 1000, n), ra, CENTER[1] + rng.uniform(-radius, radius, n)


def arguments(name, n=1000, **changes):
    time, channel, ra, dec = photons(n)
    columns = COLUMNS[name]
    pixel = None if columns.pixel is None else np.arange(n) % 36
    return LAYOUTS[name] | {
        "columns": columns, "telescope": "T", "instrume": "I", "time": time, "channel": channel, "sky": (ra, dec),
        "pixel": pixel, "center": CENTER, "good_times": [(1e8, 1e8 + 3000), (1e8 + 4000, 1e8 + 5000)], "exposure": 3900,
    } | changes  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("suffix", ["fits", "fits.gz"])
def test_what_is_written_comes_back(name, suffix, tmp_path):
    path = tmp_path / f"é ★.{suffix}"
    given = arguments(name, header={"PA_NOM": 80.0, "OBJECT": "made"})
    write_events(path, **given)
    file = EventFile(path, COLUMNS[name])
    assert (file.telescope, file.instrume, file.rows, file.exposure, file.roll) == ("T", "I", 1000, 3900, 80)
    assert file.header["OBJECT"] == "made"
    np.testing.assert_array_equal(file.good_times, given["good_times"])
    (events,) = file.pieces(filter=EventFilter(gti=False))
    np.testing.assert_array_equal(events.time, given["time"])
    np.testing.assert_array_equal(events.channel, given["channel"])
    if COLUMNS[name].pixel is not None:
        np.testing.assert_array_equal(events.pixel, given["pixel"])
    placed = file.wcs.pixel_to_world(events.x - 1, events.y - 1)
    apart = SkyCoord(*given["sky"], unit="deg").separation(placed).arcsec
    whole = given["formats"][COLUMNS[name].x] in "IJ"
    size = given["sky_pixel"]
    assert apart.max() < (0.5 * np.sqrt(2) * size * 1.001 if whole else 1e-3 * size)
    assert file.wcs.pixel_to_world(*(file.wcs.wcs.crpix - 1)).separation(SkyCoord(*CENTER, unit="deg")).arcsec < 1e-6
    (good,) = file.pieces()
    assert len(good) == ((events.time <= 1e8 + 3000) | (events.time >= 1e8 + 4000)).sum() < 1000


@pytest.mark.parametrize("name", COLUMNS)
def test_astropy_reads_it_too(name, tmp_path):
    write_events(tmp_path / "e.fits", **arguments(name))
    with fits.open(tmp_path / "e.fits", checksum=True) as hdus:
        hdus.verify("exception")
        table = hdus["EVENTS"]
        assert [hdu.name for hdu in hdus[1:]] == ["EVENTS", LAYOUTS[name]["gti"]]
        assert table.columns[COLUMNS[name].x].format == LAYOUTS[name]["formats"][COLUMNS[name].x]
        for column, rule in COLUMNS[name].keep.items():
            first = rule[0][0] if isinstance(rule[0], list) else rule[0]
            assert set(table.data[column]) == {first}
        n = table.columns.names.index(COLUMNS[name].x) + 1
        assert table.header[f"TCTYP{n}"] == table.header["REFXCTYP"] == "RA---TAN"
        assert table.header["ONTIME"] == 4000
    assert len(Table.read(tmp_path / "e.fits", hdu="EVENTS")) == 1000


def test_each_instrument_has_a_layout():
    assert set(LAYOUTS) == set(instrument_names())


def test_numbers_of_many_pixels(tmp_path):
    write_events(tmp_path / "e.fits", **arguments("x-ifu", 1500, pixel=np.arange(1500)))
    (events,) = EventFile(tmp_path / "e.fits", COLUMNS["x-ifu"]).pieces(filter=EventFilter(gti=False))
    np.testing.assert_array_equal(events.pixel, np.arange(1500))


def test_a_sky_coord_in_another_frame_and_an_open_field(tmp_path):
    given = arguments("xrism-resolve", sky_size=None, formats=None)
    sky = SkyCoord(*given["sky"], unit="deg")
    write_events(tmp_path / "a.fits", **given)
    write_events(tmp_path / "b.fits", **given | {"sky": sky.galactic, "center": SkyCoord(*CENTER, unit="deg").fk5})
    a, b = (next(EventFile(tmp_path / f"{n}.fits", COLUMNS["xrism-resolve"]).pieces()) for n in "ab")
    np.testing.assert_allclose(a.x, b.x, atol=1e-4)
    header = fits.getheader(tmp_path / "a.fits", "EVENTS")
    numbers = [n for n in range(1, header["TFIELDS"] + 1) if header[f"TTYPE{n}"] in "XY"]
    assert all(
        values.min() >= 1 and values.max() <= header[f"TLMAX{n}"] for n, values in zip(numbers, (a.x, a.y), strict=True)
    )


def test_further_columns_take_their_own_types(tmp_path):
    extra = {
        "RAWX": np.arange(10, dtype=np.int16), "PHA": np.arange(10), "E": np.linspace(0, 1, 10, dtype=np.float32),
        "ok": np.arange(10) > 4, "B": np.arange(10, dtype=np.uint8), "itype": np.full(10, 3, np.int32),
    }  # fmt: skip
    write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 10, extra_columns=extra))
    with fits.open(tmp_path / "e.fits") as hdus:
        data = hdus["EVENTS"].data
        for name, values in extra.items():
            np.testing.assert_array_equal(data[name], values)
        assert [name for name in data.names if name.upper() == "ITYPE"] == ["itype"]
    file = EventFile(tmp_path / "e.fits", COLUMNS["xrism-resolve"])
    assert len(next(file.pieces())) == 0
    assert len(next(file.pieces(filter=EventFilter(keep={"ITYPE": [3], "ok": [1]}, gti=False)))) == 5


def test_no_photons_is_a_file_too(tmp_path):
    write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 0, sky_size=None))
    assert EventFile(tmp_path / "e.fits", COLUMNS["xrism-resolve"]).rows == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel": np.arange(3)}, "column PI: expected 10 values"),
        ({"pixel": None}, "pixel: .*PIXEL"),
        ({"channel": np.full(10, 2**40)}, "column PI: .*1099511627776"),
        ({"sky": (np.full(10, 90.0), np.full(10, 0.0))}, "sky: .*1215 sky pixels"),
        ({"sky": (np.full(10, 263.6), np.full(10, 5.2))}, "sky: .*90 degrees"),
        ({"good_times": [(2, 1)]}, "good_times"),
        ({"good_times": [1, 2]}, "good_times"),
        ({"exposure": 0}, "exposure: .*0"),
        ({"gti": "TIMES"}, "gti: .*GTI.*'TIMES'"),
        ({"sky_pixel": -1.0}, "sky_pixel: .*-1"),
        ({"extra_columns": {"A": np.array(["x"] * 10)}}, r"extra_columns\['A'\]"),
        ({"extra_columns": {"A": np.zeros((10, 2))}}, r"column A: .*\(10, 2\)"),
    ],
)
def test_arguments_without_sense_are_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 10, **changes))
    assert os.listdir(tmp_path) == []


def test_an_old_file_is_replaced_only_when_asked(tmp_path):
    write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 10))
    with pytest.raises(FileError, match="exists"):
        write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 20))
    write_events(tmp_path / "e.fits", **arguments("xrism-resolve", 20), overwrite=True)
    assert EventFile(tmp_path / "e.fits", COLUMNS["xrism-resolve"]).rows == 20
    assert os.listdir(tmp_path) == ["e.fits"]
