import re
import tomllib
from itertools import combinations

import pytest

from hifred.data.event_writer import LAYOUTS, write_events
from hifred.data.plan import Plan
from hifred.data.template import recognised, template
from hifred.fitsio import FileError
from hifred.instruments.presets import instrument, instrument_names

OPTION = re.compile(r"^# (\w+ = .*|\[[\w.]+\].*)$", re.MULTILINE)
EVERY_KEY = {
    "grid": {"band", "energy_step", "pixel_size", "center", "size", "rotation", "reach"},
    "dataset": {
        "name", "instrument", "events", "rmf", "arf", "psf", "exposure_map", "arf_holds_psf", "psf_reach", "band",
        "channel_width", "time", "region", "mask", "keep", "background",
    },
    "background": {"preset", "file", "region"},
}  # fmt: skip
PIXELS = {"exclude_pixels", "array_center", "array_roll"}


@pytest.fixture
def lists(tmp_path):
    """An event list of each instrument, by name."""

    def write(name):
        preset = instrument(name)
        path = tmp_path / f"{name}.fits"
        if not path.exists():
            pixel = None if preset.detector is None else preset.detector.layout.ravel()[:2]
            write_events(
                path, preset.events, telescope=preset.telescope, instrume=preset.instrume[0], time=[1.0, 2.0],
                channel=[100, 200], sky=([10.0, 10.0], [20.0, 20.0]), pixel=pixel, center=(10.0, 20.0),
                good_times=[[0, 3]], exposure=3.0, **LAYOUTS[name],
            )  # fmt: skip
        return path

    return write


def read(text, folder):
    path = folder / "reduce.toml"
    path.write_text(text, encoding="utf-8")
    return Plan.read(path)


def uncommented(text, source):
    """All options at once; of the sources of background, one."""
    lines, skip = [], {"preset", "file", "region"} - {source}
    background = False
    for line in text.splitlines():
        if option := OPTION.match(line):
            background |= option[1].startswith("[dataset.background]")
            if background and option[1].split()[0] in skip:
                continue
            line = option[1]
        elif line.startswith("[["):
            background = False
        lines.append(line)
    return "\n".join(lines)


def test_without_lists_it_is_a_plan_for_two_instruments(tmp_path):
    plan = read(template(), tmp_path)
    assert [d.instrument for d in plan.datasets] == ["epic-pn", "xrism-resolve"]
    assert [d.name for d in plan.datasets] == ["epic-pn", "xrism-resolve"]
    assert plan.grid.band == (1.8, 10.0)
    assert plan.response == "embedded"


@pytest.mark.parametrize("source", ["preset", "file", "region"])
def test_every_option_is_one_that_plans_have(tmp_path, source):
    text = uncommented(template(), source)
    content = tomllib.loads(text)
    plan = read(text, tmp_path)
    assert content["response"] == "embedded"
    assert set(content["grid"]) == EVERY_KEY["grid"]
    for table, more in zip(content["dataset"], (set(), PIXELS), strict=True):
        assert set(table) == EVERY_KEY["dataset"] | more
        assert set(table["background"]) == {source}
        assert table["arf_holds_psf"] == bool(more)
    # Each default that is named is the default.
    assert plan.grid.rotation == 0.0
    assert plan.datasets[1].keep == {"ITYPE": [0]} == dict(instrument("xrism-resolve").events.keep)
    assert plan.datasets[0].keep["PATTERN"] == [[0, 4]]


def test_the_options_are_all_that_a_plan_knows(tmp_path):
    """A key that the reader asks for is in the template, or is one of a few that are said in words."""
    path = tmp_path / "p.toml"
    text = uncommented(template(), "file")
    for table, header in (("grid", "[grid]"), ("dataset", "[[dataset]]"), ("background", "[dataset.background]")):
        path.write_text(text.replace(header, f"{header}\nunknown_key = 1", 1))
        with pytest.raises(FileError) as caught:
            Plan.read(path)
        match = re.search(r"expected only the keys (.*), found unknown_key", str(caught.value))
        assert match is not None, str(caught.value)
        known = set(match[1].split(", "))
        spoken = {"map", "area_ratio", "factor"} if table == "background" else PIXELS if table == "dataset" else set()
        assert known - spoken == EVERY_KEY[table]
    assert "area_ratio" in text


def test_lists_are_recognised(lists, tmp_path, made):
    for name in instrument_names():
        found = recognised(lists(name))
        assert found.name == ("acis-i" if name == "acis-s" else name)  # the header does not tell them apart
    text = template([lists("xrism-resolve"), made / "pn_events.fits", lists("acis-i"), lists("acis-i")], tmp_path / "a")
    (tmp_path / "a").mkdir()
    plan = read(text, tmp_path / "a")
    assert [d.name for d in plan.datasets] == ["xrism-resolve", "epic-pn", "acis-i", "acis-i-2"]
    assert [d.events.resolve() for d in plan.datasets] == [
        p.resolve() for p in (lists("xrism-resolve"), made / "pn_events.fits", lists("acis-i"), lists("acis-i"))
    ]
    assert plan.grid.band == (1.8, 8.0)


@pytest.mark.parametrize("names", [*combinations(instrument_names(), 1), *combinations(instrument_names(), 2)])
def test_a_plan_for_any_instruments_can_be_used(lists, tmp_path, names):
    """Its band is one of all, and a whole number of steps that are finer than the sharpest of them."""
    plan = read(template([lists(name) for name in names], tmp_path), tmp_path)
    presets = [instrument(d.instrument) for d in plan.datasets]
    low, high = plan.grid.band
    steps = (high - low) / plan.grid.energy_step
    assert abs(steps - round(steps)) < 1e-6 * steps
    sharpest = min(float(preset.fwhm(0.5 * (low + high))) for preset in presets)
    assert sharpest / 12 <= plan.grid.energy_step <= sharpest / 2
    assert all(preset.band[0] <= low < high <= preset.band[1] for preset in presets)
    for dataset, preset in zip(plan.datasets, presets, strict=True):
        assert dataset.calibration.rmf.name == f"{dataset.name}.rmf"
        assert preset.description in (tmp_path / "reduce.toml").read_text(encoding="utf-8")


def test_any_name_of_a_file(lists, tmp_path):
    path = tmp_path / 'Ödland "β" \\ [1].fits'
    lists("epic-pn").rename(path)
    plan = read(template([path], tmp_path), tmp_path)
    assert plan.datasets[0].events.resolve() == path.resolve()


def test_what_is_no_list_is_refused(made, tmp_path, lists):
    (tmp_path / "text.fits").write_text("no")
    for path, words in (
        (made / "pn.arf", ["pn.arf", "EVENTS"]),
        (made / "psf.fits", ["psf.fits", "TELESCOP"]),
        (tmp_path / "text.fits", ["text.fits"]),
        (tmp_path / "none.fits", ["none.fits"]),
    ):
        with pytest.raises(FileError) as caught:
            template([path])
        for word in words:
            assert word in str(caught.value)
