"""House rules that a machine can check."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hifred

PACKAGE = Path(hifred.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of all modules that are imported anywhere."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def called(tree: ast.AST) -> set[str]:
    """Names of everything that is called, with dots."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_the_package_is_found():
    assert {"__init__.py", "cli/app.py", "cube.py", "fusion.py"} <= set(NAMES)


@pytest.mark.parametrize("path", MODULES, ids=NAMES)
def test_a_module_keeps_the_house_rules(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 400
    assert ast.get_docstring(tree)
    assert not imported(tree) & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    calls = called(tree)
    assert not calls & {"print", "eval", "exec", "pprint"}
    if path.name != "compiled.py":  # the program's own, when it runs
        assert not [call for call in calls if call.endswith("config.update")]
    assert "allow_pickle=True" not in source
    if path.parent.name != "cli":
        assert not imported(tree) & {"typer"}
    if path.parent.name in ("solvers", "priors", "response"):
        assert not imported(tree) & {"matplotlib", "rich", "astropy"}


def public() -> list[tuple[str, object]]:
    found = []
    for module in (hifred, hifred.priors):
        for name in module.__all__:
            thing = getattr(module, name)
            found.append((name, thing))
            if inspect.isclass(thing):
                members = [(n, m) for n, m in vars(thing).items() if not n.startswith("_")]
                found += [
                    (f"{name}.{n}", m)
                    for n, m in members
                    if isinstance(m, property | staticmethod | classmethod) or inspect.isfunction(m)
                ]
    return found


def test_all_that_is_public_has_a_docstring():
    things = public()
    assert len(things) > 30
    assert [name for name, thing in things if not inspect.getdoc(thing)] == []


def test_the_names_that_stay_fixed_are_there():
    assert {"CubeGrid", "Dataset", "FusedCube", "Response", "fuse", "priors"} <= set(hifred.__all__)
    assert hifred.__version__
    for name in ("Starlet2D1D", "LowRankSobolev", "LowRankStarlet", "LowRank", "Unregularized"):
        assert name in hifred.priors.__all__


def test_importing_changes_nothing_global():
    code = """
import os, sys, warnings, signal, logging
import jax, numpy as np
# What these change when they are imported is their own affair.
import jax.scipy.sparse.linalg, equinox, jaxtyping, typer, rich.progress, matplotlib
import astropy.io.fits, astropy.table, astropy.wcs, astropy.coordinates
import scipy.fft, scipy.interpolate, scipy.linalg, scipy.sparse, scipy.special, scipy.stats
def state():
    return (
        dict(jax.config.values), np.geterr(), np.get_printoptions(), list(warnings.filters), dict(os.environ),
        signal.getsignal(signal.SIGINT), logging.getLogger().handlers[:],
    )
before = state()
import hifred, hifred.cli
after = state()
assert before == after, [(a, b) for a, b in zip(before, after) if a != b]
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
