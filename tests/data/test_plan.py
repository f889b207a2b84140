from pathlib import Path

import numpy as np
import pytest

from hifred.data.plan import EMBEDDED, REFERENCE, Plan
from hifred.fitsio import FileError

GRID = {"band": "[2.0, 2.6]", "energy_step": "20", "pixel_size": "5.0"}
DATASET = {"name": '"pn"', "instrument": '"epic-pn"', "events": '"pn.fits"', "rmf": '"pn.rmf"'}
EVERYTHING = """
response = "reference"

[grid]
band = [2, 2.6]
energy_step = 5
pixel_size = 2.5
center = [350.5, -58.8]
size = [60, 40]
rotation = -12.5
reach = 30

[[dataset]]
name = "Cas A, pn (1)"
instrument = "own/camera.toml"
events = "../lists/pn.fits.gz"
rmf = "pn.rmf"
arf = "pn.arf"
psf = "psf.fits"
exposure_map = "expmap.fits"
arf_holds_psf = true
psf_reach = 90
band = [2.1, 2.5]
channel_width = 15
time = [[0, 1.5], [3.0, 4.0]]
region = "field.reg"
mask = "icrs; circle(350.5, -58.8, 0.1)"
exclude_pixels = [3, 4]
array_center = [0, -90]
array_roll = 80.5
[dataset.keep]
PATTERN = [0, [2, 4]]
[dataset.background]
file = "/absolute/background.pha"
map = "map.fits"
area_ratio = 2
factor = 0.5

[[dataset]]
name = "resolve"
instrument = "xrism-resolve"
events = "r.evt"
rmf = "r.rmf"
[dataset.background]
region = "empty.reg"
"""


@pytest.fixture
def write(tmp_path):
    """A plan of tables, keys given or taken away (None) as TOML text."""

    def make(grid=None, dataset=None, top="", after=""):
        def lines(table):
            return "\n".join(f"{key} = {value}" for key, value in table.items() if value is not None)

        text = (
            f"{top}\n[grid]\n{lines(GRID | (grid or {}))}\n[[dataset]]\n{lines(DATASET | (dataset or {}))}\n{after}\n"
        )
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
        return tmp_path / "plan.toml"

    return make


def refused(path, *words):
    with pytest.raises(FileError) as caught:
        Plan.read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), "expected", "found", *words):
        assert word in message, message


def test_every_key_is_read_with_its_unit(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(EVERYTHING, encoding="utf-8")
    plan = Plan.read(path)
    assert (plan.response, plan.path, len(plan.datasets)) == (REFERENCE, path, 2)
    grid = plan.grid
    assert (grid.band, grid.pixel_size, grid.center, grid.size) == ((2.0, 2.6), 2.5, (350.5, -58.8), (60, 40))
    assert grid.energy_step == pytest.approx(0.005)
    assert (grid.rotation, grid.reach) == (-12.5, 30.0)
    pn, resolve = plan.datasets
    assert pn.name == "Cas A, pn (1)"
    assert pn.instrument == str(tmp_path / "own/camera.toml")
    assert pn.events == tmp_path / "../lists/pn.fits.gz"
    assert pn.calibration.files == {
        "rmf": tmp_path / "pn.rmf", "arf": tmp_path / "pn.arf", "psf": tmp_path / "psf.fits",
        "exposure_map": tmp_path / "expmap.fits",
    }  # fmt: skip
    assert (pn.calibration.arf_holds_psf, pn.calibration.psf_reach, pn.band) == (True, 90.0, (2.1, 2.5))
    assert pn.channel_width == pytest.approx(0.015)
    np.testing.assert_array_equal(pn.time, [[0, 1.5], [3, 4]])
    assert (pn.region, pn.mask) == (str(tmp_path / "field.reg"), "icrs; circle(350.5, -58.8, 0.1)")
    assert (pn.exclude_pixels, pn.array_center, pn.array_roll) == ((3, 4), (0.0, -90.0), 80.5)
    assert pn.keep == {"PATTERN": [0, [2, 4]]}
    background = pn.background
    assert background is not None
    assert (background.file, background.map) == (Path("/absolute/background.pha"), tmp_path / "map.fits")
    assert (background.area_ratio, background.factor, background.preset, background.region) == (2.0, 0.5, False, None)
    assert resolve.background is not None
    assert resolve.background.region == str(tmp_path / "empty.reg")
    assert resolve.label == f"{path} [dataset resolve]"


def test_what_is_left_out_has_its_default(write):
    plan = Plan.read(write())
    dataset, grid = plan.datasets[0], plan.grid
    assert plan.response == EMBEDDED
    assert (grid.center, grid.size, grid.rotation, grid.reach) == (None, None, 0.0, None)
    assert (dataset.instrument, dataset.keep, dataset.exclude_pixels) == ("epic-pn", {}, ())
    for name in ("band", "channel_width", "time", "region", "mask", "array_center", "array_roll", "background"):
        assert getattr(dataset, name) is None
    assert list(dataset.calibration.files) == ["rmf"]
    assert dataset.calibration.arf_holds_psf is None
    background = Plan.read(write(after="[dataset.background]\npreset = true")).datasets[0].background
    assert background is not None
    assert (background.area_ratio, background.factor) == (1.0, 1.0)


def test_the_files_of_a_data_set_are_all_that_are_read(write, tmp_path):
    for name in ("field.reg", "empty (2).reg"):
        (tmp_path / name).write_text("")
    path = write(
        dataset={"region": '"field.reg"', "mask": '"icrs; circle(1, 2, 3)"', "arf": '"a"', "instrument": '"own.toml"'},
        after='[dataset.background]\nregion = "empty (2).reg"',
    )
    files = Plan.read(path).datasets[0].files
    assert files == {
        "events": tmp_path / "pn.fits", "rmf": tmp_path / "pn.rmf", "arf": tmp_path / "a",
        "instrument": tmp_path / "own.toml", "region": tmp_path / "field.reg",
        "background_region": tmp_path / "empty (2).reg",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"top": "respons = 1"}, ["respons", "response"]),
        ({"grid": {"bnad": "[1, 2]"}}, ["[grid]", "bnad", "band"]),
        ({"dataset": {"eventz": '"x"'}}, ["[dataset pn]", "eventz"]),
        # Beside keys that have a shape of their own.
        ({"dataset": {"time": "[[1, 2]]", "tiem": "[[1, 2]]"}}, ["[dataset pn]", "tiem"]),
        ({"after": "[dataset.background]\npreset = true\nfacto = 2"}, ["[dataset pn.background]", "facto"]),
        ({"after": "[dataset.backgruond]\npreset = true"}, ["[dataset pn]", "backgruond"]),
    ],
)
def test_an_unknown_key_is_named(write, arguments, words):
    refused(write(**arguments), *words)


@pytest.mark.parametrize("key", [*GRID, *DATASET])
def test_a_missing_key_is_named(write, key):
    refused(write(grid={key: None} if key in GRID else {}, dataset={key: None} if key in DATASET else {}), key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("band", "3"), ("band", "[1]"), ("band", "[2.6, 2.0]"), ("band", "[0, 2]"), ("band", '["a", 2]'),
        ("energy_step", '"5"'), ("energy_step", "0"), ("energy_step", "nan"), ("energy_step", "true"),
        ("energy_step", "70"), ("pixel_size", "-1"), ("pixel_size", "[5]"), ("center", "[400, 0]"),
        ("center", "[10, -100]"), ("center", "[-10, 10]"), ("center", '"M 31"'), ("size", "[4]"), ("size", "[4, 0]"),
        ("size", "[4.5, 3]"), ("size", "[[4, 3], [4, 3]]"), ("rotation", "inf"), ("rotation", "400"), ("reach", "-1"),
    ],
)  # fmt: skip
def test_a_wrong_value_of_the_grid_is_named(write, key, value):
    pair = {"center": {"size": "[4, 4]"}, "size": {"center": "[1, 1]"}}.get(key, {})
    refused(write(grid={**pair, key: value}), "[grid]", key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "3"), ("name", '""'), ("name", '"a/b"'), ("name", '".a"'), ("name", '"a\\\\b"'), ("name", '"a\\nb"'),
        ("instrument", "1"), ("events", "[]"), ("rmf", "false"), ("arf", "1"), ("psf", "{}"), ("exposure_map", "2"),
        ("arf_holds_psf", "1"), ("psf_reach", "0"), ("band", "[3, 2]"), ("channel_width", '"a"'),
        ("channel_width", "-4"), ("time", "3"), ("time", "[1, 2]"), ("time", "[[1, 2, 3], [4, 5, 6]]"), ("time", "[]"),
        ("time", '[["1", "2"]]'), ("time", "[[1, nan]]"), ("region", "1"), ("mask", '" "'),
        ("exclude_pixels", "3"), ("exclude_pixels", "[1.5]"), ("exclude_pixels", "[[1, 2], [3, 4]]"),
        ("array_center", "[1]"), ("array_roll", "1000"), ("keep", "3"), ("background", '"b.pha"'),
    ],
)  # fmt: skip
def test_a_wrong_value_of_a_data_set_is_named(write, key, value):
    refused(write(dataset={key: value}), key)


def test_the_centre_and_the_size_come_together(write):
    for given in ({"center": "[1, 2]"}, {"size": "[10, 10]"}):
        refused(write(grid=given), "[grid]", "center and size")


@pytest.mark.parametrize("keys", ["", "preset = false", 'preset = true\nfile = "a"', 'file = "a"\nregion = "b"'])
def test_a_background_has_one_source(write, keys):
    refused(write(after=f"[dataset.background]\n{keys}"), "[dataset pn.background]", "exactly one")


def test_what_is_no_plan_is_named(tmp_path, write):
    refused(tmp_path / "none.toml", "No such file")
    path = tmp_path / "plan.toml"
    for content in (b"[grid", b"\xff\xfe"):
        path.write_bytes(content)
        refused(path, "TOML")
    path.write_text("[grid]\nband = [1, 2]\nenergy_step = 10\npixel_size = 1\n")
    refused(path, "[[dataset]]")
    refused(write(top='response = "sometimes"'), "response", "sometimes")
    twin = "\n".join(["[[dataset]]", *(f"{key} = {value}" for key, value in DATASET.items())])
    refused(write(after=twin), "name", "'pn' twice")
