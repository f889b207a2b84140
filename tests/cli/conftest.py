import sys

import pytest

from hifred import cli, fuse, simulate
from hifred.fitsio import sha256
from hifred.priors import Unregularized


@pytest.fixture(scope="session")
def tiny():
    return simulate.scene("tiny")


@pytest.fixture(scope="session")
def files(tiny, tmp_path_factory):
    """A folder with the files of a scene and a fusion of it; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    simulate.write_scene(tiny, folder)
    fused = fuse(tiny.datasets, Unregularized(), max_iterations=3, progress=False)
    for entry in fused.provenance["inputs"]:
        entry["file"] = str(folder / f"{entry['name']}.fits")
        entry["file_sha256"] = sha256(entry["file"])
    fused.write(folder / "fused.fits")
    return folder


@pytest.fixture
def hifred(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty directory; gives exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hifred", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def refused(hifred, tmp_path):
    """Run it with bad input: one line on standard error with the given words, exit code 2, and nothing written."""

    def listing():
        return {str(p): p.read_bytes() if p.is_file() else None for p in tmp_path.rglob("*")}

    def run(arguments, *words):
        before = listing()
        code, out, error = hifred(*arguments)
        assert (code, out) == (2, "")
        assert error.startswith("hifred: ")
        assert error.count("\n") == 1, error
        for word in words:
            assert str(word) in error
        assert listing() == before

    return run
