import importlib.util
import tomllib
from pathlib import Path

import pytest

from hifred.data.plan import Plan


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a whole observation; not to be written to."""
    path = Path(__file__).parents[1] / "data" / "observation.py"
    spec = importlib.util.spec_from_file_location("observation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("made")
    module.write_observation(folder)
    return folder


def test_a_plan_to_start_from(hifred, tmp_path):
    code, out, error = hifred("init")
    assert (code, error) == (0, "")
    assert out.startswith("wrote reduce.toml\n")
    assert "hifred reduce reduce.toml" in out
    assert [d.instrument for d in Plan.read(tmp_path / "reduce.toml").datasets] == ["epic-pn", "xrism-resolve"]


def test_a_plan_for_the_lists_at_hand(hifred, made, tmp_path):
    (tmp_path / "plans").mkdir()
    code, _, error = hifred("init", made / "resolve.evt", made / "acis_evt2.fits", "-o", "plans/own.toml")
    assert (code, error) == (0, "")
    plan = Plan.read(tmp_path / "plans" / "own.toml")
    assert [d.instrument for d in plan.datasets] == ["xrism-resolve", "acis-i"]
    assert [d.events.resolve() for d in plan.datasets] == [made / "resolve.evt", made / "acis_evt2.fits"]
    events = tomllib.loads((tmp_path / "plans" / "own.toml").read_text(encoding="utf-8"))["dataset"][0]["events"]
    assert not Path(events).is_absolute()


def test_nothing_is_replaced_unasked(hifred, refused, tmp_path):
    (tmp_path / "reduce.toml").write_text("mine")
    refused(["init"], "reduce.toml", "exists", "--overwrite")
    assert hifred("init", "--overwrite")[0] == 0
    assert (tmp_path / "reduce.toml").read_text(encoding="utf-8") != "mine"


def test_bad_input_is_one_line(refused, made, tmp_path):
    refused(["init", "-o", "plan.fits"], "--output", ".toml", "plan.fits")
    refused(["init", "-o", "none/plan.toml"], "none", "does not exist")
    refused(["init", made / "pn.arf"], "pn.arf", "expected", "EVENTS", "found")
    refused(["init", "none.evt"], "none.evt", "no such file")
    refused(["init", made / "reduce.toml"], "reduce.toml", "expected a FITS file")
