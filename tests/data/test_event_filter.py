import numpy as np
import pytest

from hifred.data.event_filter import EventFilter
from hifred.data.event_writer import write_events
from hifred.data.events import EventFile
from hifred.data.good_times import inside, intersect, length, merge
from hifred.fitsio import FileError
from hifred.instruments.columns import EventColumns

COLUMNS = EventColumns(keep={"PATTERN": [[0, 4]], "FLAG": [0]}, gti=("GTI",), pi_step=0.001)


@pytest.fixture
def events(tmp_path):
    """An event list, and its columns."""
    n = 2000
    rng = np.random.default_rng(3)
    table = {
        "TIME": np.sort(rng.uniform(0, 1000, n)), "PI": rng.integers(0, 12000, n), "PATTERN": rng.integers(0, 13, n),
        "FLAG": rng.integers(0, 2, n) * 65536,
    }  # fmt: skip
    write_events(
        tmp_path / "e.fits", COLUMNS, telescope="XMM", instrume="EPN", time=table["TIME"], channel=table["PI"],
        sky=(np.full(n, 10.0), np.full(n, 20.0)), center=(10.0, 20.0), sky_pixel=0.05, good_times=[(100, 400), (500, 900)],
        exposure=630.0, extra_columns={k: table[k] for k in ("PATTERN", "FLAG")},
    )  # fmt: skip
    return EventFile(tmp_path / "e.fits", COLUMNS), table


def kept(file, filter):
    return np.concatenate([piece.time for piece in file.pieces(300, filter)])


def good(table):
    t = table["TIME"]
    return ((t >= 100) & (t <= 400)) | ((t >= 500) & (t <= 900))


RULES = {
    "preset": (None, lambda t: (t["PATTERN"] <= 4) & (t["FLAG"] == 0)),
    "replaced": ({"PATTERN": [0]}, lambda t: (t["PATTERN"] == 0) & (t["FLAG"] == 0)),
    "in any case": ({"pattern": [0]}, lambda t: (t["PATTERN"] == 0) & (t["FLAG"] == 0)),
    "dropped": ({"flag": None}, lambda t: t["PATTERN"] <= 4),
    "extended": ({"PI": [[500, 900], 1000]}, lambda t: (t["PATTERN"] <= 4) & (t["FLAG"] == 0) & (((t["PI"] >= 500) & (t["PI"] <= 900)) | (t["PI"] == 1000))),
    "several": ({"PATTERN": [0, [3, 5], 12]}, lambda t: np.isin(t["PATTERN"], [0, 3, 4, 5, 12]) & (t["FLAG"] == 0)),
    "open": ({"PATTERN": [[2, float("inf")]]}, lambda t: (t["PATTERN"] >= 2) & (t["FLAG"] == 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules(events, name):
    file, table = events
    keep, expected = RULES[name]
    expected = expected(table) & good(table)
    assert 0 < expected.sum() < good(table).sum()
    np.testing.assert_array_equal(kept(file, EventFilter(keep=keep)), table["TIME"][expected])


def test_a_preset_without_rules_keeps_all_in_good_time(events):
    file, table = events
    assert len(kept(file, EventFilter(keep={"PATTERN": None, "FLAG": None}))) == good(table).sum()
    assert len(kept(file, EventFilter(keep={"PATTERN": None, "FLAG": None}, gti=False))) == 2000


def test_time_and_energy(events):
    file, table = events
    chosen = EventFilter(time=[(350, 550), (800, 2000), (360, 370)], energy=(0.5, 2.0))
    t, energy = table["TIME"], (table["PI"] + 0.5) * 0.001
    expected = (table["PATTERN"] <= 4) & (table["FLAG"] == 0) & (energy >= 0.5) & (energy < 2)
    expected &= ((t >= 350) & (t <= 400)) | ((t >= 500) & (t <= 550)) | ((t >= 800) & (t <= 900))
    np.testing.assert_array_equal(kept(file, chosen), t[expected])
    # 50 + 50 + 100 s of the 700 s of good time.
    assert file.exposure_within(chosen) == pytest.approx(630 * 200 / 700)
    assert file.exposure_within(None) == file.exposure_within(EventFilter(energy=(1, 2))) == 630
    with pytest.raises(ValueError, match="time: .*e.fits.*found 410.0 to 490.0"):
        file.exposure_within(EventFilter(time=[(410, 490)]))
    assert len(kept(file, EventFilter(time=[(410, 490)]))) == 0
    assert len(kept(file, EventFilter(time=[(410, 490)], gti=False))) > 0


def test_a_missing_column_names_file_extension_and_column(events):
    file, _ = events
    with pytest.raises(FileError) as caught:
        file.pieces(filter=EventFilter(keep={"ITYPE": [0]}))
    for word in (str(file.path), "[EVENTS]", "ITYPE", "PATTERN"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"keep": {"FLAG": []}}, r"keep\['FLAG'\]"),
        ({"keep": {"FLAG": 0}}, r"keep\['FLAG'\]"),
        ({"keep": {"FLAG": "0"}}, r"keep\['FLAG'\]"),
        ({"keep": {"FLAG": [[4, 0]]}}, r"\[4, 0\]"),
        ({"keep": {"FLAG": [[0, 1, 2]]}}, r"\[0, 1, 2\]"),
        ({"keep": {"FLAG": ["a"]}}, "'a'"),
        ({"keep": {"FLAG": [float("nan")]}}, "nan"),
        ({"time": [1, 2]}, r"time: .*\(2,\)"),
        ({"time": [(2, 1)]}, r"time: .*\[2.0, 1.0\]"),
        ({"time": [(1, np.inf)]}, "time: .*inf"),
        ({"time": "now"}, "time: .*now"),
        ({"time": np.zeros((0, 2))}, "time"),
        ({"energy": (2, 1)}, "energy: .*2.0 and 1.0"),
        ({"energy": 3}, "energy: .*3"),
        ({"energy": (1, np.nan)}, "energy"),
    ],
)
def test_filters_without_sense_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        EventFilter(**arguments)


def test_a_filter_does_not_change():
    chosen = EventFilter(time=[(1, 2)])
    with pytest.raises(AttributeError):
        chosen.gti = False
    with pytest.raises(ValueError, match="read-only"):
        chosen.time[0] = 5


def test_intervals_against_a_fine_grid():
    rng = np.random.default_rng(0)
    t = np.arange(0.25, 100, 0.5)
    for _ in range(50):
        sets = []
        for _ in range(2):
            raw = rng.integers(0, 100, (rng.integers(1, 8), 2)).astype(float)
            raw.sort(axis=1)
            merged = merge(raw)
            covered = ((t[:, None] >= raw[:, 0]) & (t[:, None] <= raw[:, 1])).any(axis=1)
            np.testing.assert_array_equal(inside(merged, t), covered)
            assert length(merged) == covered.sum() * 0.5
            assert np.all(merged[1:, 0] > merged[:-1, 1])
            sets.append((merged, covered))
        both = intersect(sets[0][0], sets[1][0])
        np.testing.assert_array_equal(inside(both, t), sets[0][1] & sets[1][1])
        assert length(both) == (sets[0][1] & sets[1][1]).sum() * 0.5


def test_ends_belong_to_an_interval():
    np.testing.assert_array_equal(
        inside(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.9, 1, 2, 2.5, 3, 4, 4.1])), [0, 1, 1, 0, 1, 1, 0]
    )
