import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from hifred.fitsio import FileError
from hifred.instruments.presets import instrument, instrument_names
from hifred.instruments.psf import GaussianPSF
from hifred.instruments.psf_image import ImagePSF

NAMES = ("acis-i", "acis-s", "epic-mos1", "epic-mos2", "epic-pn", "x-ifu", "xrism-resolve", "xrism-xtend")
EXAMPLE = re.search(r"```toml\n(.*?)```", (Path(__file__).parents[2] / "docs/instruments.md").read_text(), re.DOTALL)[1]


def _written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def _changed(tmp_path, old, new):
    assert EXAMPLE.count(old) == 1
    return _written(tmp_path, EXAMPLE.replace(old, new))


def test_the_package_knows_these_instruments():
    assert instrument_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_whole(name):
    preset = instrument(name)
    assert preset.name == name
    assert preset.describe().startswith(f"{name}: {preset.description}")
    assert "\n" not in preset.describe()
    assert (preset.tail is None) == (name in ("xrism-resolve", "x-ifu"))
    assert (preset.detector is not None) == (name in ("xrism-resolve", "x-ifu"))
    assert preset.background is not None
    # The PSF is defined over the band and half the field of EPIC.
    for energy in preset.band:
        for angle in (0.0, 6.0):
            assert 0 < preset.psf.radius(0.5, energy, angle) < 60


def test_facts_of_the_presets():
    resolve, pn, mos, acis = (instrument(name) for name in ("xrism-resolve", "epic-pn", "epic-mos2", "acis-i"))
    assert resolve.detector is not None
    # Rows DETX, columns DETY: pixel 23 is DETX 1, DETY 6 and pixel 5 is DETX 6, DETY 1.
    assert resolve.detector.layout[0, 5] == 23
    assert resolve.detector.layout[5, 0] == 5
    assert resolve.detector.seen.sum() == 35
    assert 6 * resolve.detector.pitch / 60 == pytest.approx(3.0645)
    assert resolve.events.keep == {"ITYPE": [0]}
    assert resolve.events.pixel == "PIXEL"
    assert resolve.events.energy(12000) == pytest.approx(6.00025)
    assert float(resolve.fwhm(6.0)) == pytest.approx(0.0045)
    assert pn.events.keep == {"PATTERN": [[0, 4]], "FLAG": [0]}
    assert mos.events.keep == {"PATTERN": [[0, 12]], "FLAG": [0]}
    assert pn.events.energy(1000) == pytest.approx(1.0005)
    assert acis.events.energy(1) == pytest.approx(0.0073)
    assert acis.events.keep == {"grade": [0, 2, 3, 4, 6]}
    assert (pn.telescope, pn.instrume, acis.telescope) == ("XMM", ("EPN",), "CHANDRA")
    assert instrument("xrism-xtend").mock_area([1.499, 1.501]).area[0] == pytest.approx(420, rel=0.01)


def test_the_documented_example_loads(tmp_path):
    mine = instrument(_written(tmp_path, EXAMPLE))
    assert mine.name == "my-camera"
    assert mine.instrume == ("CAMERA", "CAM")
    assert mine.detector is not None
    assert mine.detector.seen.tolist() == [[True, True, True], [True, True, False]]
    assert mine.events.keep == {"GRADE": [[0, 4], 6]}
    assert mine.events.pi_step == pytest.approx(0.001)
    assert mine.tail is not None
    assert mine.tail.shoulder_width == pytest.approx(0.075)
    assert mine.mock_redistribution(np.linspace(1, 2, 11), np.linspace(0, 3, 301)).matrix.shape == (300, 10)
    assert str(mine.path) == str(tmp_path / "mine.toml")


def test_what_may_be_left_out(tmp_path):
    optional = ("[events.keep]", "[detector]", "[tail]", "[background]")
    blocks = [block for block in re.split(r"\n(?=\[)", EXAMPLE) if not block.startswith(optional)]
    assert len(blocks) == 5
    lines = [line for block in blocks for line in block.splitlines()]
    text = "\n".join(line for line in lines if "# default" not in line and not line.startswith("pixel"))
    mine = instrument(_written(tmp_path, text))
    assert (mine.detector, mine.tail, mine.background, mine.events.pixel) == (None, None, None, None)
    assert mine.events.keep == {}
    assert (mine.events.extension, mine.events.channel) == ("EVENTS", "PI")


def test_other_kinds_of_psf(tmp_path):
    old = 'kind = "king"\n'
    text = re.sub(r"(?m)^(core|slope) = .*\n", "", EXAMPLE)
    gaussian = instrument(_written(tmp_path, text.replace(old, 'kind = "gaussian"\nfwhm = [6.0, 0.1]\n')))
    assert isinstance(gaussian.psf, GaussianPSF)
    image = fits.PrimaryHDU(np.ones((3, 3)))
    for key, value in {"CDELT1": -2.0, "CDELT2": 2.0, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}.items():
        image.header[key] = value
    image.writeto(tmp_path / "psf.fits")
    found = instrument(_written(tmp_path, text.replace(old, 'kind = "image"\nfile = "psf.fits"\n')))
    assert isinstance(found.psf, ImagePSF)
    assert found.psf.pixel_size == 2.0
    with pytest.raises(FileError, match=r"none\.fits: expected a FITS file"):
        instrument(_written(tmp_path, text.replace(old, 'kind = "image"\nfile = "none.fits"\n')))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "my-camera"\n', "", "expected the key name (a text), found none"),
        ('name = "my-camera"\n', "name = 3\n", "name: expected a text, found 3"),
        ('name = "my-camera"\n', 'name = "my-camera"\ncolour = "red"\n', "expected only the keys area, resolution"),
        ("band = [0.5, 8.0]", "band = [0.5, 80.0]", "band: expected two increasing energies within those of [area]"),
        ("band = [0.5, 8.0]", "band = [0.5]", "band: expected a list of 2 numbers"),
        ("pi_step = 1.0", "pi_step = -1.0", "[events]: pi_step: expected a number from 1e-06 to 100000, found -1.0"),
        ("pi_first = 0 ", "pi_first = 0.5 ", "[events]: pi_first: expected a whole number of at least 0, found 0.5"),
        ("pi_step = 1.0", "pi_stop = 1.0", "[events]: expected the key pi_step"),
        ("GRADE = [[0, 4], 6]", "GRADE = [[4, 0]]", "[events.keep]: GRADE: expected a list of numbers or ranges"),
        ("GRADE = [[0, 4], 6]", "GRADE = 6", "[events.keep]: GRADE: expected a list of numbers or ranges"),
        ("[[0, 1, 2], [3, 4, 5]]", "[[0, 1, 2], [3, 4]]", "[detector]: layout: expected whole numbers"),
        ("[[0, 1, 2], [3, 4, 5]]", "[[0, 1, 2], [3, 4, 4]]", "[detector]: layout: expected each pixel once, found [4]"),
        ("pitch = 20.0 ", "pitch = 20.0\nshape = [2, 3]\n", "[detector]: expected one of the keys layout and shape"),
        ("layout = [[0, 1, 2], [3, 4, 5]]", "shape = [2.5, 3]", "[detector]: shape: expected whole numbers"),
        (
            "layout = [[0, 1, 2], [3, 4, 5]]",
            "shape = [2, 0]",
            "[detector]: shape: expected two numbers of pixels from 1",
        ),
        ('kind = "king"', 'kind = "moffat"', "[psf]: kind: expected king, gaussian or image, found 'moffat'"),
        ('kind = "king"', 'kind = "gaussian"', "[psf]: expected the key fwhm"),
        ("slope = [1.5] ", "slope = [0.9] ", "[psf]: slope: expected above 1"),
        (
            "slope = [1.5] ",
            "slope = [1.5]\ntail = 3 ",
            "[psf]: expected only the keys kind, within, core, slope, found tail",
        ),
        ("area = [50, 300, 320, 250, 40]", "area = [50, 300]", "[area]: area: expected a list of 5 numbers"),
        (
            "area = [50, 300, 320, 250, 40]",
            "area = [50, 300, 0, 250, 40]",
            "[area]: area: expected a list of 5 numbers",
        ),
        ("energy = [0.3, 6.0]", "energy = [6.0, 0.3]", "[resolution]: energy: expected at least two increasing"),
        ('per = "arcmin2"', 'per = "pixel"', "[background]: per: expected arcmin2 or detector, found 'pixel'"),
        (
            "shelf_fraction = 0.02",
            "shelf_fraction = 2",
            "[tail]: shelf_fraction: expected a number from 0 to 1, found 2",
        ),
        ("[psf] ", "[psf ", "expected a TOML file, found:"),
    ],
)
def test_faults_name_the_file_the_table_and_the_key(tmp_path, old, new, message):
    with pytest.raises(FileError) as caught:
        instrument(_changed(tmp_path, old, new))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "mine.toml"))
    assert message in text
    assert "\n" not in text


def test_unknown_instruments(tmp_path):
    with pytest.raises(FileError, match=r"hubble: expected a TOML file .* acis-i, .*, xrism-xtend"):
        instrument("hubble")
    with pytest.raises(FileError, match=r"none\.toml: expected a TOML file, found: No such file"):
        instrument(tmp_path / "none.toml")
