import gzip
import os
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from hifred.data.event_filter import EventFilter
from hifred.data.events import EventFile
from hifred.fitsio import FileError
from hifred.instruments.columns import EventColumns

RESOLVE = EventColumns(pixel="PIXEL", keep={"ITYPE": [0]}, pi_step=0.0005, gti=("GTI",))
ACIS = EventColumns(pi_first=1, pi_step=0.0146, gti=("GTI*",))
EPIC = EventColumns(keep={"PATTERN": [[0, 4]], "FLAG": [0]}, gti=("GTI*", "STDGTI*"))
SKY = {
    "TCTYP{x}": "RA---TAN", "TCTYP{y}": "DEC--TAN", "TCUNI{x}": "deg", "TCUNI{y}": "deg", "TCRPX{x}": 1215.5,
    "TCRPX{y}": 1215.5, "TCRVL{x}": 266.5, "TCRVL{y}": -28.9, "TCDLT{x}": -0.0005, "TCDLT{y}": 0.0005,
    "RADECSYS": "FK5", "EQUINOX": 2000,
}  # fmt: skip


def resolve_columns(n=500, seed=0):
    """Columns as XRISM Resolve has them: bits, text, scaled and missing values among them."""
    rng = np.random.default_rng(seed)
    return [
        fits.Column("TIME", "1D", unit="s", array=np.sort(rng.uniform(100, 200, n))),
        fits.Column("L32TI", "1J", bzero=2**31, array=rng.integers(0, 2**32, n)),
        fits.Column("ITYPE", "1B", array=rng.integers(0, 5, n).astype(np.uint8)),
        fits.Column("TYPE", "2A", array=np.full(n, "Hp")),
        fits.Column("PIXEL", "1B", array=rng.integers(0, 36, n).astype(np.uint8), null=63),
        fits.Column("QUICK_DOUBLE", "1X", array=rng.random((n, 1)) > 0.5),
        fits.Column("STATUS", "16X", array=rng.random((n, 16)) > 0.9),
        fits.Column("TICK_SHIFT", "1B", bzero=-128, array=rng.integers(-8, 8, n).astype(np.int8)),
        fits.Column("phas", "9I", array=rng.integers(0, 99, (n, 9)).astype(np.int16)),
        fits.Column("X", "1I", array=np.where(rng.random(n) < 0.1, -1, rng.integers(1150, 1280, n)), null=-1),
        fits.Column("Y", "1I", array=rng.integers(1150, 1280, n), null=-1),
        fits.Column(
            "PI", "1J", array=np.where(rng.random(n) < 0.1, 2**31 - 1, rng.integers(0, 60000, n)), null=2**31 - 1
        ),
    ]


def gti_hdu(intervals, name="GTI", **header):
    times = np.asarray(intervals, float).reshape(-1, 2)
    columns = [fits.Column(key, "D", unit="s", array=times[:, n]) for n, key in enumerate(("START", "STOP"))]
    hdu = fits.BinTableHDU.from_columns(columns, name=name, ver=header.pop("EXTVER", None))
    hdu.header.update(header)
    return hdu


def write(path, columns, gti=None, **header):
    """An event list made with astropy alone; `header` changes (None: removes) keywords."""
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    names = [column.name.upper() for column in columns]
    x, y = names.index("X") + 1, names.index("Y") + 1
    keywords = {key.format(x=x, y=y): value for key, value in SKY.items()} | {
        "TELESCOP": "XRISM",
        "INSTRUME": "RESOLVE",
    }
    keywords |= {key.format(x=x, y=y): value for key, value in header.items()}
    table.header.update({key: value for key, value in keywords.items() if value is not None})
    hdus = [fits.PrimaryHDU(), table, *([gti_hdu([(100, 200)])] if gti is None else gti)]
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "events.evt", resolve_columns())


def all_events(file, size=10**6, filter=None):
    pieces = list(file.pieces(size, filter))
    fields = ("time", "channel", "energy", "x", "y", "pixel")
    return {k: np.concatenate([getattr(p, k) for p in pieces]) for k in fields if getattr(pieces[0], k) is not None}


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def raises(call, *words):
    """A one-line FileError with these words."""
    with pytest.raises(FileError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_events_are_those_that_astropy_reads(path):
    file = EventFile(path, RESOLVE)
    with fits.open(path) as hdus:
        data = hdus["EVENTS"].data
        raw = {name: np.array(data[name]) for name in ("TIME", "ITYPE", "X", "Y", "PI", "PIXEL")}
        keep = (raw["ITYPE"] == 0) & (raw["X"] != -1) & (raw["PI"] != 2**31 - 1)
        shift, status = np.array(data["TICK_SHIFT"]), np.array(data["STATUS"])
    read = all_events(file)
    assert 0 < keep.sum() < (raw["ITYPE"] == 0).sum()
    for key, name in {"time": "TIME", "channel": "PI", "x": "X", "y": "Y", "pixel": "PIXEL"}.items():
        np.testing.assert_array_equal(read[key], raw[name][keep])
    np.testing.assert_allclose(read["energy"], (raw["PI"][keep] + 0.5) * 0.0005)
    assert read["time"].dtype == read["x"].dtype == np.dtype(float)
    assert all(values.dtype.isnative for values in read.values())

    # Scaled integers and bits are read as what they mean.
    chosen = all_events(file, filter=EventFilter(keep={"TICK_SHIFT": [[-8, -1]]}))
    assert len(chosen["time"]) == (keep & (shift < 0)).sum()
    chosen = all_events(file, filter=EventFilter(keep={"STATUS": [0, 1 << 15]}))
    good = ~status[:, 1:].any(axis=1)
    assert len(chosen["time"]) == (keep & good).sum()


@pytest.mark.parametrize("size", [1, 7, 499, 500, 1000])
@pytest.mark.parametrize("packed", [False, True])
def test_pieces_of_any_size_and_gzip_hold_the_same(path, size, packed):
    whole = all_events(EventFile(path, RESOLVE))
    if packed:
        path = path.with_name("events.evt.gz")
        path.write_bytes(gzip.compress(path.with_name("events.evt").read_bytes()))
    file = EventFile(path, RESOLVE)
    same(whole, all_events(file, size))
    assert max(len(piece) for piece in file.pieces(size)) <= size
    assert len(list(file.pieces(size))) == -(-500 // size)


def test_a_piece_is_small_where_rows_are_wide(path, monkeypatch):
    file = EventFile(path, RESOLVE)
    monkeypatch.setattr("hifred.data.event_table.READ_BYTES", 10 * file.header["NAXIS1"])
    assert len(list(file.pieces())) == 50


def test_names_of_columns_are_matched_in_any_case(tmp_path, path):
    columns = resolve_columns()
    lower = write(
        tmp_path / "lower.evt",
        [fits.Column(c.name.lower(), c.format, array=c.array, null=c.null, bzero=c.bzero) for c in columns],
    )
    same(all_events(EventFile(path, RESOLVE)), all_events(EventFile(lower, RESOLVE)))


def test_facts_of_the_header(path):
    file = EventFile(path, RESOLVE)
    assert (file.telescope, file.instrume, file.rows, file.roll) == ("XRISM", "RESOLVE", 500, None)
    np.testing.assert_array_equal(file.good_times, [[100, 200]])
    assert file.exposure == 100  # no keyword: the sum of the good times
    assert len(file.describe().splitlines()) == 1
    for word in ("XRISM RESOLVE", "of 500 events", "keV", "exposure 100 s", "1 intervals", "266.5"):
        assert word in file.describe()


def test_exposure_comes_from_the_first_keyword_there_is(tmp_path):
    keywords = {"EXPOSURE": 90.0, "LIVETIME": 91.0, "ONTIME": 92.0}
    for expected in (90, 91, 92, 100):
        file = EventFile(write(tmp_path / "e.evt", resolve_columns(3), **keywords, PA_NOM=80.5), RESOLVE)
        assert (file.exposure, file.roll) == (expected, 80.5)
        keywords = dict(list(keywords.items())[1:])


def test_an_empty_list_is_no_error(tmp_path):
    file = EventFile(write(tmp_path / "e.evt", resolve_columns(0)), RESOLVE)
    assert sum(len(piece) for piece in file.pieces()) == 0
    assert "0 of 0 events" in file.describe()


# --- sky coordinates ---


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ({}, "fk5"),
        ({"TCROT{y}": 30.0}, "fk5"),
        ({"TCROT{y}": -0.0}, "fk5"),
        ({"TCROT{y}": 200.0, "TCDLT{x}": -0.0004}, "fk5"),
        ({"TP{x}_{x}": 0.8, "TP{x}_{y}": -0.6, "TP{y}_{x}": 0.6, "TP{y}_{y}": 0.8}, "fk5"),
        ({"TC{x}_{x}": -4e-4, "TC{x}_{y}": 3e-4, "TC{y}_{x}": 3e-4, "TC{y}_{y}": 4e-4, "TCDLT{x}": 1.0, "TCDLT{y}": 1.0}, "fk5"),
        ({"RADECSYS": "ICRS"}, "icrs"),
        ({"RADECSYS": None, "RADESYS": "FK5"}, "fk5"),
        ({"RADECSYS": None}, "fk5"),
        ({"RADECSYS": None, "EQUINOX": None}, "icrs"),
        ({"TCTYP{x}": "GLON-TAN", "TCTYP{y}": "GLAT-TAN", "RADECSYS": None, "EQUINOX": None}, "galactic"),
        ({"TCUNI{x}": "arcsec", "TCUNI{y}": "arcsec", "TCDLT{x}": -1.8, "TCDLT{y}": 1.8, "TCRVL{x}": 9e5, "TCRVL{y}": -9e4}, "fk5"),
    ],
)  # fmt: skip
def test_positions_agree_with_wcslib(tmp_path, header, frame):
    file = EventFile(write(tmp_path / "e.evt", resolve_columns(), **header), RESOLVE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy mends RADECSYS and says so
        other = WCS(file.header, keysel=["pixel"], colsel=[10, 11])  # it takes no frame from a table
    events = next(file.pieces())
    assert len(events) > 50
    for ours, theirs in zip(*(wcs.wcs_pix2world(events.x, events.y, 1) for wcs in (file.wcs, other)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert file.wcs.pixel_to_world(0, 0).frame.name == frame


def test_keywords_of_xmm_give_the_same_coordinates(tmp_path):
    columns = resolve_columns()
    first = EventFile(write(tmp_path / "a.evt", columns), RESOLVE)
    reference = {key: None for key in SKY if key.startswith("TC")}
    for letter, axis in (("X", "x"), ("Y", "y")):
        reference |= {f"REF{letter}{part}": SKY[f"T{part}{{{axis}}}"] for part in ("CTYP", "CRPX", "CRVL", "CDLT")}
    second = EventFile(write(tmp_path / "b.evt", columns, **reference), RESOLVE)
    assert "TCTYP10" not in second.header
    assert first.wcs.wcs.compare(second.wcs.wcs)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *((key, None) for key in SKY if key.startswith("TC")),
        ("TCUNI{x}", "mm"), ("TCTYP{x}", "X"), ("TCRVL{y}", "north"), ("TCDLT{x}", 0.0), ("RADECSYS", "J2000"),
        ("TCTYP{y}", "RA---TAN"), ("EQUINOX", "new"),
    ],
)  # fmt: skip
def test_bad_sky_coordinates_are_named(tmp_path, keyword, value):
    path = write(tmp_path / "e.evt", resolve_columns(), **{keyword: value})
    word = "J2000" if value == "J2000" else "TCTYP10" if value in (0.0, "RA---TAN") else keyword.format(x=10, y=11)
    raises(lambda: EventFile(path, RESOLVE), str(path), "[EVENTS]", word)


# --- good times ---


def test_events_outside_good_times_are_dropped(tmp_path):
    gti = [gti_hdu([(160, 180), (110, 130), (120, 140), (150, 150)])]
    file = EventFile(write(tmp_path / "e.evt", resolve_columns(), gti), RESOLVE)
    np.testing.assert_array_equal(file.good_times, [[110, 140], [160, 180]])
    assert file.exposure == 50
    every = all_events(file, filter=EventFilter(gti=False))
    t = every["time"]
    good = ((t >= 110) & (t <= 140)) | ((t >= 160) & (t <= 180))
    assert 0 < good.sum() < len(t)
    same(all_events(file), {key: values[good] for key, values in every.items()})


def test_each_ccd_of_acis_has_its_own_good_times(tmp_path):
    n = 300
    rng = np.random.default_rng(1)
    time, ccd = np.sort(rng.uniform(0, 100, n)), rng.integers(0, 4, n)
    columns = [
        fits.Column("time", "D", array=time), fits.Column("ccd_id", "I", array=ccd),
        fits.Column("x", "E", array=np.full(n, 1215.0)), fits.Column("y", "E", array=np.full(n, 1215.0)),
        fits.Column("pi", "J", array=np.full(n, 5), null=0),
    ]  # fmt: skip
    sets = {3: [(0, 50)], 0: [(20, 60)], 1: [(0, 10), (90, 100)]}
    gti = [gti_hdu(times, EXTVER=number + 1, CCD_ID=number) for number, times in sets.items()]
    file = EventFile(write(tmp_path / "e.evt", columns, gti), ACIS)
    np.testing.assert_array_equal(file.good_times, [[0, 60], [90, 100]])
    expected = np.zeros(n, bool)
    for number, times in sets.items():
        for start, stop in times:
            expected |= (ccd == number) & (time >= start) & (time <= stop)
    np.testing.assert_array_equal(all_events(file)["time"], time[expected])


def epic_columns(time, ccd):
    n = len(time)
    return [
        fits.Column("TIME", "D", array=time), fits.Column("X", "J", array=np.full(n, 1215)),
        fits.Column("Y", "J", array=np.full(n, 1215)), fits.Column("PI", "I", array=np.full(n, 1000)),
        fits.Column("FLAG", "J", array=np.zeros(n, int)), fits.Column("PATTERN", "B", array=np.zeros(n, np.uint8)),
        fits.Column("CCDNR", "B", array=np.asarray(ccd, np.uint8)),
    ]  # fmt: skip


def test_names_of_epic_extensions_tell_the_ccd(tmp_path):
    time, ccd = np.tile(np.arange(0.5, 100), 3), np.repeat([1, 4, 12], 100)
    gti = [
        gti_hdu([(0, 40)], "STDGTI01"), gti_hdu([(0, 80)], "STDGTI04"), gti_hdu([(10, 90)], "GTI00401"),
        gti_hdu([(50, 70)], "STDGTI12"), gti_hdu([(5, 60)], "GTI"),
    ]  # fmt: skip
    file = EventFile(write(tmp_path / "e.evt", epic_columns(time, ccd), gti), EPIC)
    limits = {1: (5, 40), 4: (10, 60), 12: (50, 60)}
    expected = [t for c, (start, stop) in limits.items() for t in np.arange(0.5, 100) if start <= t <= stop]
    np.testing.assert_array_equal(all_events(file)["time"], expected)
    np.testing.assert_array_equal(file.good_times, [[5, 60]])


def test_several_tables_for_all_events_are_intersected(tmp_path):
    gti = [gti_hdu([(100, 150)], "GTI"), gti_hdu([(120, 190)], "GTI_USER")]
    columns = EventColumns(pixel="PIXEL", gti=("GTI*",))
    file = EventFile(write(tmp_path / "e.evt", resolve_columns(), gti), columns)
    np.testing.assert_array_equal(file.good_times, [[120, 150]])


def test_without_patterns_the_whole_observation_is_good(tmp_path):
    columns = EventColumns(pixel="PIXEL", gti=())
    path = write(tmp_path / "e.evt", resolve_columns(), [], TSTART=100.0, TSTOP=150.0)
    np.testing.assert_array_equal(EventFile(path, columns).good_times, [[100, 150]])
    raises(lambda: EventFile(write(path, resolve_columns(), []), columns), "[EVENTS]", "TSTART")
    raises(lambda: EventFile(write(path, resolve_columns(), [], TSTART=5.0, TSTOP=5.0), columns), "TSTART < TSTOP")


@pytest.mark.parametrize(
    ("gti", "words"),
    [
        ([], ["extension GTI", "EVENTS"]),
        ([gti_hdu([])], ["[GTI]", "0 s"]),
        ([gti_hdu([(5, 5)])], ["[GTI]", "0 s"]),
        ([gti_hdu([(1, 2), (9, 8)])], ["[GTI]", "row 2", "START"]),
        ([gti_hdu([(1, np.nan)])], ["[GTI]", "row 1", "nan"]),
        ([gti_hdu([(1, 2)]), gti_hdu([(3, 4)], EXTVER=2)], ["GTI", "0 s"]),
        ([fits.BinTableHDU.from_columns([fits.Column("START", "D", array=[1.0])], name="GTI")], ["[GTI]", "STOP"]),
        ([fits.ImageHDU(np.zeros((2, 2)), name="GTI")], ["[GTI]", "binary table"]),
    ],
)  # fmt: skip
def test_good_times_without_sense_are_errors(tmp_path, gti, words):
    path = write(tmp_path / "e.evt", resolve_columns(10), gti)
    raises(lambda: EventFile(path, RESOLVE), str(path), *words)


# --- broken files ---


def test_every_cut_is_noticed(path):
    content = path.read_bytes()
    cuts = [
        0,
        1,
        100,
        2880,
        5000,
        len(content) - 1,
        len(content) - 2880,
        *np.linspace(3000, len(content) - 1, 40).astype(int),
    ]
    assert len(content) % 2880 == 0
    for cut in cuts:
        path.write_bytes(content[:cut])
        raises(lambda: EventFile(path, RESOLVE), str(path))
    packed = gzip.compress(content)
    for cut in [10, 5000, len(packed) - 1, len(packed) - 8, *np.linspace(100, len(packed) - 1, 20).astype(int)]:
        path.write_bytes(packed[:cut])
        raises(lambda: EventFile(path, RESOLVE), str(path))
    path.write_bytes(gzip.compress(content[:-2880]))
    raises(lambda: EventFile(path, RESOLVE), str(path), "[GTI]", "truncated")
    spoilt = bytearray(packed)
    spoilt[len(packed) // 2] ^= 1
    path.write_bytes(spoilt)
    raises(lambda: EventFile(path, RESOLVE), str(path))


STRUCTURE = ["BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "TFIELDS"]
VALUES = ["TFORM3", "TTYPE1", "TNULL12", "TZERO2", "TCRVL10", "EXPOSURE"]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        *((keyword, b"\xff") for keyword in STRUCTURE + VALUES),
        *((keyword, value) for keyword in STRUCTURE for value in (b"'abc'", b"1.5", b"T")),
        *((keyword, b"'abc'") for keyword in VALUES if keyword != "TTYPE1"),
        ("NAXIS1", b"-5"), ("NAXIS2", b"-5"), ("TFIELDS", b"-5"), ("EXPOSURE", b"-5"), ("TNULL12", b"1.5"),
    ],
)  # fmt: skip
def test_cards_without_sense_are_named(tmp_path, keyword, value):
    path = write(tmp_path / "e.evt", resolve_columns(50), EXPOSURE=90.0)
    content = bytearray(path.read_bytes())
    at = content.index(keyword.ljust(8).encode() + b"=", content.index(b"XTENSION"))
    content[at + 10 : at + 80] = value.rjust(20).ljust(70)
    path.write_bytes(content)
    raises(lambda: EventFile(path, RESOLVE), str(path), keyword)


def test_a_file_cut_after_it_was_opened_is_noticed(path):
    file = EventFile(path, RESOLVE)
    os.truncate(path, path.stat().st_size // 2)
    raises(lambda: list(file.pieces()), "[EVENTS]", "500 rows", "truncated")


def test_extensions_cut_off_whole_are_noticed(tmp_path):
    from hifred import fitsio

    with fits.open(write(tmp_path / "e.evt", resolve_columns())) as hdus:
        fitsio.write(
            tmp_path / "ours.evt", [hdus[0], hdus[1], hdus[2], fits.ImageHDU(np.zeros(3), name="LAST")], overwrite=False
        )
    content = (tmp_path / "ours.evt").read_bytes()
    EventFile(tmp_path / "ours.evt", RESOLVE)
    (tmp_path / "ours.evt").write_bytes(content[: -2 * 2880])
    raises(lambda: EventFile(tmp_path / "ours.evt", RESOLVE), "LAST")


@pytest.mark.parametrize("name", ["TIME", "X", "Y", "PI", "PIXEL"])
def test_a_missing_column_is_named_at_once(path, name):
    columns = {"TIME": "time", "X": "x", "Y": "y", "PI": "channel", "PIXEL": "pixel"}
    wanted = EventColumns(**({"pixel": "PIXEL"} | {columns[name]: "NOWHERE"}))
    raises(lambda: EventFile(path, wanted), str(path), "[EVENTS]", "NOWHERE", "TICK_SHIFT")


@pytest.mark.parametrize("name", ["phas", "TYPE"])
def test_a_column_without_one_number_per_row_is_no_choice(path, name):
    raises(lambda: EventFile(path, EventColumns(channel=name)), "[EVENTS]", name, "TFORM")


def test_nan_times_are_errors_only_for_events_that_are_kept(tmp_path):
    columns = resolve_columns()
    kept = np.flatnonzero((columns[2].array == 0) & (columns[9].array > 0) & (columns[11].array < 60000))
    dropped = np.flatnonzero(columns[2].array != 0)
    columns[0].array[dropped[3]] = np.nan
    path = write(tmp_path / "e.evt", columns)
    assert len(all_events(EventFile(path, RESOLVE))["time"]) == len(kept)
    columns[0].array[kept[5]] = np.nan
    path = write(tmp_path / "e.evt", columns)
    for size in (1, 100, 10**6):
        raises(lambda size=size: list(EventFile(path, RESOLVE).pieces(size)), "[EVENTS]", "TIME", f"row {kept[5] + 1}")


def test_events_at_nan_have_no_position(tmp_path):
    columns = resolve_columns(50)
    x = np.where(np.arange(50) % 5 == 0, np.nan, 1200.0)
    columns[9] = fits.Column("X", "E", array=x)
    columns[11] = fits.Column("PI", "J", array=np.full(50, 7))
    file = EventFile(write(tmp_path / "e.evt", columns), EventColumns())
    assert len(all_events(file)["x"]) == 40


def test_other_contents_are_refused(tmp_path, path):
    raises(lambda: EventFile(tmp_path / "absent.evt", RESOLVE), "no such file")
    raises(lambda: EventFile(tmp_path, RESOLVE), "directory")
    other = tmp_path / "other"
    other.write_bytes(b"not FITS" * 1000)
    raises(lambda: EventFile(other, RESOLVE), "other contents")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(3), name="EVENTS"), gti_hdu([(1, 2)])]).writeto(
        other, overwrite=True
    )
    raises(lambda: EventFile(other, RESOLVE), "[EVENTS]", "binary table")
    raises(lambda: EventFile(path, EventColumns(extension="PHOTONS")), "PHOTONS", "EVENTS", "GTI")
    raises(lambda: EventFile(write(other, resolve_columns(3), EXPOSURE=-1.0), RESOLVE), "[EVENTS]", "EXPOSURE")


def test_a_wrong_size_is_an_argument_error(path):
    for size in (0, -5):
        with pytest.raises(ValueError, match="size"):
            EventFile(path, RESOLVE).pieces(size)


def test_no_file_stays_open(path):
    pieces = EventFile(path, RESOLVE).pieces(10)
    next(pieces)
    pieces.close()
    open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert str(path) not in open_files


# --- real files ---


def test_real_resolve_file(shared_data):
    file = EventFile(shared_data("events/xrism_resolve_300045010_cl.evt.gz"), RESOLVE)
    assert (file.rows, file.telescope, file.instrume) == (14898, "XRISM", "RESOLVE")
    assert file.exposure == pytest.approx(73817.011, abs=0.01)
    assert np.diff(file.good_times).sum() == pytest.approx(file.exposure, abs=0.01)
    assert file.roll == pytest.approx(80.001, abs=1e-3)
    events = all_events(file)
    assert len(events["time"]) == 11833
    assert len(np.unique(events["pixel"])) == 35
    same(events, all_events(file, 1000))
    assert len(all_events(file, filter=EventFilter(keep={"ITYPE": None}))["time"]) == 14898
    # Neutral Fe K-alpha of the Galactic centre, and the field where the header says.
    line = np.histogram(events["energy"], np.arange(6.0, 6.6, 0.02))[0]
    assert 6.38 <= np.arange(6.0, 6.6, 0.02)[np.argmax(line)] <= 6.42
    sky = file.wcs.pixel_to_world(events["x"].mean() - 1, events["y"].mean() - 1)
    assert sky.frame.name == "fk5"
    assert np.hypot((sky.ra.deg - 266.557) * np.cos(np.radians(28.89)), sky.dec.deg + 28.889) < 0.5 / 60


def test_real_acis_file(shared_data, tmp_path):
    packed = shared_data("events/chandra_acis_754_evt2.fits.gz")
    file = EventFile(packed, ACIS)
    assert (file.rows, file.telescope, file.instrume) == (258419, "CHANDRA", "ACIS")
    assert file.exposure == pytest.approx(18940.290788816)
    events = all_events(file)
    assert len(events["time"]) == 258419
    assert "pixel" not in events
    plain = tmp_path / "plain.fits"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    same(events, all_events(EventFile(plain, ACIS), 10_007))
    with fits.open(plain) as hdus:
        data = hdus["EVENTS"].data
        np.testing.assert_array_equal(events["x"], data["x"])
        # 14.6 eV channels from 1: the energy of an event lies in its channel.
        inner = (events["channel"] > 1) & (events["channel"] < 1024)
        assert np.abs(events["energy"] - data["energy"] / 1000)[inner].max() < 0.0073 + 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy mends RADECSYS and says so
        other = WCS(file.header, keysel=["pixel"], colsel=[11, 12])
    ours, theirs = (wcs.pixel_to_world(events["x"] - 1, events["y"] - 1) for wcs in (file.wcs, other))
    assert ours.separation(theirs).arcsec.max() < 1e-6
    assert ours.frame.name == "icrs"
