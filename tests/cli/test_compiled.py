from types import SimpleNamespace

import pytest

from hifred.cli import compiled
from hifred.cli.compiled import keep_compiled


@pytest.fixture
def told(tmp_path, monkeypatch):
    """What JAX is told, where the user's cache lies in `tmp_path / "cache"`."""
    found = {}
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setattr(compiled.platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "jax", SimpleNamespace(config=SimpleNamespace(update=found.__setitem__)))
    return found


def test_compiled_code_is_kept_in_a_folder_of_this_host(told, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled.platform, "node", lambda: "stern")
    keep_compiled()
    folder = tmp_path / "cache" / "compiled" / "stern"
    assert folder.is_dir()
    assert told["jax_compilation_cache_dir"] == str(folder)
    keep_compiled()


@pytest.mark.parametrize("where", ["", "elsewhere"])
def test_a_folder_that_the_environment_names_stays(told, tmp_path, monkeypatch, where):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", where)
    keep_compiled()
    assert not told
    assert not list(tmp_path.iterdir())


def test_nothing_is_kept_where_no_folder_can_be_made(told, tmp_path):
    (tmp_path / "cache").write_text("a file")
    keep_compiled()
    assert not told


def test_nothing_is_kept_where_nothing_can_be_written(told, monkeypatch):
    monkeypatch.setattr(compiled.os, "access", lambda *_: False)
    keep_compiled()
    assert not told
