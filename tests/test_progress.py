import numpy as np
import pytest

from hifred import Dataset, Response, fuse, priors
from hifred.progress import ProgressBar
from hifred.solvers import Record


def record(iteration, objective=-12345.678, cstat=(321.5, 99.25)):
    return Record(iteration, objective, objective, 0.0, 0.1, 1.0, cstat)


def test_it_shows_objective_and_cstat_on_standard_error(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressBar(["ccd", "calorimeter"], 50, shown=True) as bar:
        bar(record(7))
    out, error = capsys.readouterr()
    assert out == ""
    for word in ("7/50", "-12345.678", "ccd 321.5", "calorimeter 99.25"):
        assert word in error


def test_it_says_what_it_waits_for_before_the_first_iteration(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressBar(["ccd"], 50, shown=True):
        pass
    assert "compiling" in capsys.readouterr().err


def test_it_can_be_silent(capsys):
    with ProgressBar(["ccd", "calorimeter"], 50, shown=False) as bar:
        bar(record(7))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link", "Größe ★", "", "100%", "{x}"])
def test_any_name_is_shown_as_it_is(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with ProgressBar([name], 50, shown=True) as bar:
        bar(record(1, cstat=(321.5,)))
    assert f"C-stat {name} 321.5" in capsys.readouterr().err


def test_it_ends_with_the_run_even_when_that_fails(capsys):
    with pytest.raises(RuntimeError), ProgressBar(["ccd"], 5, shown=True):
        raise RuntimeError
    with ProgressBar(["ccd"], 5, shown=True):
        pass
    assert capsys.readouterr().err.count("fusing") == 2


@pytest.mark.parametrize("shown", [True, False])
def test_fuse_shows_it_if_asked(shown, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    data = Dataset(np.full((3, 2, 2), 5), Response.from_kernels((3, 2, 2)), name="eye")
    fuse([data], priors.Unregularized(stop_at_noise=False), max_iterations=2, tolerance=0.0, progress=shown)
    out, error = capsys.readouterr()
    assert out == ""
    assert ("2/2" in error and "eye" in error) == shown
    assert bool(error) == shown
