"""The examples on real data, on coarser grids; their own checks must be able to fail."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest

from hifred import Dataset, FusedCube

EXAMPLES = Path(__file__).parents[1] / "examples"
COARSE = {
    "real_resolve": {"energy_step": 8e-3, "pixel_size": 15.0},
    "real_chandra": {"energy_step": 16e-3, "size": 21},
}


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Import an example, its grid made coarse, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "run", partial(module.run, **COARSE[name]))
        return module

    return load


def test_resolve_lies_where_its_events_do(example, shared_data, tmp_path, capsys):
    shared_data("events/xrism_resolve_300045010_cl.evt.gz")
    assert example("real_resolve").main([]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("real_resolve: 35 of 35 pixels have the counts of the table (3772 events); Fe K-alpha at 6")
    assert not list(tmp_path.iterdir())


def test_resolve_turned_by_a_right_angle_fails(example, shared_data, capsys):
    shared_data("events/xrism_resolve_300045010_cl.evt.gz")
    assert example("real_resolve").main(["--array-roll", "170"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("real_resolve: FAILED: ")
    assert "arcsec from the mean place of their events" in line
    assert "fused image" in line
    assert "correlation" in line
    assert "counts of the table" not in line


def test_chandra_becomes_files(example, shared_data, tmp_path, capsys):
    shared_data("events/chandra_acis_754_evt2.fits.gz")
    assert example("real_chandra").main(["--output", "out"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "equal to those of the table in each pixel" in line
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["acis.fits", "fused.fits", "report.html", "resolve.fits"]
    fused, acis = FusedCube.read("out/fused.fits"), Dataset.read("out/acis.fits")
    assert fused.predict(acis).shape == acis.counts.shape


def test_a_resolve_that_looks_elsewhere_fails(example, shared_data, capsys):
    shared_data("events/chandra_acis_754_evt2.fits.gz")
    assert example("real_chandra").main(["--array-roll", "120"]) == 1
    assert "chi2 of the 35 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("name", COARSE)
def test_without_data_it_says_what_is_missing(example, name, monkeypatch, tmp_path, capsys):
    module = example(name)
    monkeypatch.setattr(module, "EVENTS", tmp_path / "events.fits")
    assert module.main([]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert (
        said.err
        == f"expected {tmp_path / 'events.fits'}, found no such file: set HIFRED_SHARED_DATA to the shared data\n"
    )
