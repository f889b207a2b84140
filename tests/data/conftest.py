import importlib.util
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def observation():
    """The module `observation.py`: small event lists and calibration, and plans for them."""
    spec = importlib.util.spec_from_file_location("observation", Path(__file__).with_name("observation.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made(observation, tmp_path_factory):
    """A folder with a whole observation; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    observation.write_observation(folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, to change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def planned(observation, folder):
    """Write the plan with changes into the folder; its path."""

    def write(**changes):
        path = folder / "changed.toml"
        path.write_text(observation.toml(observation.changed(**changes)), encoding="utf-8")
        return path

    return write
