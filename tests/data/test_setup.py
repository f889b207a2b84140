import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from hifred.data.dataset import Dataset
from hifred.data.reduce import reduce
from hifred.data.setup import Setup
from hifred.fitsio import FileError
from hifred.instruments.presets import instrument

COARSE = {"pixel_size": 20.0, "center": [350.868, 58.81], "size": [19, 20]}
KEYS = ["rmf", "arf", "psf", "exposure_map"]


@pytest.fixture
def referring(planned):
    """Data sets that name the files of their responses, and the same data sets with their responses in them."""

    def make(datasets=("pn", "resolve"), **changes):
        def run(response):
            changed = {name: {"background": None, **changes.get(name, {})} for name in datasets}
            return reduce(planned(datasets=datasets, grid=COARSE, top={"response": response}, **changed))

        return run("reference"), run("embedded")

    return make


def refused(path, *words):
    with pytest.raises(FileError) as caught:
        Dataset.read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), "expected", "found", *words):
        assert str(word) in message, message


def test_a_response_by_reference_is_the_same(referring, tmp_path):
    changes = {
        "resolve": {"exclude_pixels": [27, 3], "arf_holds_psf": False},
        "pn": {"time": [[0, 5000]], "psf_reach": 80},
    }
    for short, long in zip(*referring(**changes), strict=True):
        cube = np.random.default_rng(3).random(short.grid.shape) * 1e-6
        np.testing.assert_array_equal(short.predict(cube), long.predict(cube))
        short.write(tmp_path / "short.fits", overwrite=True)
        long.write(tmp_path / "long.fits", overwrite=True)
        with fits.open(tmp_path / "short.fits") as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "COUNTS", "MASK", "PROVENANCE", "ENERGIES"]
        assert (tmp_path / "short.fits").stat().st_size < 0.7 * (tmp_path / "long.fits").stat().st_size
        read = Dataset.read(tmp_path / "short.fits")
        np.testing.assert_array_equal(read.predict(cube), short.predict(cube))
        for name in ("counts", "mask", "background"):
            np.testing.assert_array_equal(getattr(read, name), getattr(short, name))
        assert (read.name, read.exposure, read.provenance) == (short.name, short.exposure, short.provenance)
        # What was read is written again as it was.
        read.write(tmp_path / "again.fits", overwrite=True)
        np.testing.assert_array_equal(Dataset.read(tmp_path / "again.fits").predict(cube), short.predict(cube))


@pytest.mark.parametrize("key", KEYS)
def test_a_file_that_changed_or_went_is_named(referring, folder, tmp_path, key):
    ((short,), _) = referring(("pn",))
    short.write(tmp_path / "short.fits")
    path = Path(short.provenance["setup"]["calibration"][key])
    assert path.parent == folder.resolve()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(tmp_path / "short.fits", "[PROVENANCE]", key, path, "changed")
    path.unlink()
    refused(tmp_path / "short.fits", "[PROVENANCE]", key, path, "no such file")
    path.write_bytes(content)
    assert Dataset.read(tmp_path / "short.fits").name == "pn"


def test_an_instrument_of_ones_own_is_one_of_the_files(referring, folder, tmp_path, monkeypatch):
    (folder / "own.toml").write_text(Path(instrument("epic-pn").path).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(folder)
    ((short,), (long,)) = referring(("pn",), pn={"instrument": "own.toml"})
    short.write(tmp_path / "short.fits")
    monkeypatch.chdir("/")
    cube = np.ones(short.grid.shape) * 1e-6
    np.testing.assert_array_equal(Dataset.read(tmp_path / "short.fits").predict(cube), long.predict(cube))
    assert "instrument" in short.provenance["files"]
    text = (folder / "own.toml").read_text(encoding="utf-8")
    (folder / "own.toml").write_text(text.replace("core = [6.636", "core = [7.0"), encoding="utf-8")
    refused(tmp_path / "short.fits", "instrument", "own.toml", "changed")


def test_a_setup_comes_back_from_json(made, planned):
    (dataset,) = reduce(
        planned(datasets=("resolve",), grid=COARSE, resolve={"exclude_pixels": [1], "band": [2.1, 2.5]})
    )
    record = json.loads(json.dumps(dataset.provenance["setup"]))
    setup = Setup.from_json(record, "x")
    assert (setup.instrument, setup.exclude_pixels, setup.band) == ("xrism-resolve", (1,), (2.1, 2.5))
    assert (setup.exposure, setup.full_exposure) == (19000.0, 19000.0)
    bins = setup.bins(dataset.grid)
    np.testing.assert_array_equal(bins.seen, dataset.mask[0])
    assert setup.channels(dataset.grid).edges.size == len(dataset.counts) + 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("calibration"), lambda r: r.pop("sha256"), lambda r: r.pop("detector"), lambda r: r.update(a=1),
        lambda r: r["calibration"].update(b=1), lambda r: r["calibration"].pop("rmf"), lambda r: r.update(sha256=3),
        lambda r: r.update(band=3), lambda r: r["calibration"].update(arf=3), lambda r: r.pop("exposure"),
    ],
)  # fmt: skip
def test_a_record_that_is_no_setup_is_refused(made, planned, spoil):
    (dataset,) = reduce(planned(datasets=("resolve",), grid=COARSE))
    record = json.loads(json.dumps(dataset.provenance["setup"]))
    spoil(record)
    with pytest.raises(FileError, match=r"^here: expected the setup of a response, found one that is not"):
        Setup.from_json(record, "here")


def test_a_data_set_without_its_setup_is_refused(referring, tmp_path):
    ((short,), _) = referring(("resolve",))
    short.write(tmp_path / "short.fits")
    with fits.open(tmp_path / "short.fits") as hdus:
        kept = fits.HDUList([hdu.copy() for hdu in hdus if hdu.name != "ENERGIES"])
        kept[0].header["EXTLIST"] = "COUNTS,MASK,PROVENANCE"
        kept.writeto(tmp_path / "bare.fits", checksum=True)
    refused(tmp_path / "bare.fits", "[PROVENANCE]", "setup")
