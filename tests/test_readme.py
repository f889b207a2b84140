"""What the README shows is run as it stands."""

import re
from pathlib import Path

from hifred import FusedCube

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(example.splitlines()) <= 30
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["scores"].nmse < -10
    assert names["image"].shape == (12, 15)
    status = names["fused"].status
    assert status in {"tuned", "max_iterations"}, "with all settings from the data, it is a matter of photons which"
    assert status in capsys.readouterr().out
    assert FusedCube.read("fused.fits").values.shape == (60, 12, 15)
    assert Path("report.html").stat().st_size < 15e6


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"!\[[^\]]*\]\((.*?)\)", README)
    assert len(pictures) == 2
    assert all(50e3 < (ROOT / picture).stat().st_size < 400e3 for picture in pictures)


def test_the_verbs_it_shows_exist():
    from hifred import cli

    verbs = {command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    shown = set(re.findall(r"^hifred (\w+)", README, flags=re.MULTILINE))
    assert shown == verbs - {"demo"}
