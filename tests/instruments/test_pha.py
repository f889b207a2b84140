import numpy as np
import pytest
from astropy.io import fits

from hifred.fitsio import FileError
from hifred.instruments.pha import Spectrum

FIELDS = ("counts", "quality", "grouping", "stat_error", "backscale", "areascale")
TEXTS = ("background_file", "response_file", "area_file", "telescope", "instrument")


def save(path, columns, **keywords):
    hdu = fits.BinTableHDU.from_columns([fits.Column(n, f, array=v) for n, f, v in columns], name="SPECTRUM")
    for key, value in ({"EXPOSURE": 100.0, "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM"} | keywords).items():
        hdu.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"counts": np.array([0.5, 0.1, 2, 3])},
        {"counts": np.array([-1.5, 0, 2, 3]), "net": True, "stat_error": np.array([0.1, 1, 2, 3])},
        {"quality": np.array([5, 0, 0, 1]), "grouping": np.array([1, -1, -1, 1]), "first_channel": 1},
        {"backscale": np.array([0.1, 0.2, 0.3, 0.4]), "areascale": 0.1, "telescope": "XRISM", "instrument": "RESOLVE"},
        {"background_file": "b.pha", "response_file": "r.rmf", "area_file": "a.arf"},
        {"first_channel": 7, "detector_channels": (0, 20)},
    ],
)
def test_what_is_written_comes_back(options, tmp_path):
    spectrum = Spectrum(**({"counts": np.array([1.0, 0, 5, 2]), "exposure": 123.456} | options))
    for name in ("s.pha", "s.pha.gz"):
        spectrum.write(tmp_path / name)
        again = Spectrum.read(tmp_path / name)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(spectrum, field), getattr(again, field), err_msg=field)
        for field in (*TEXTS, "exposure", "first_channel", "net", "all_channels"):
            assert getattr(spectrum, field) == getattr(again, field)
        with pytest.raises(FileError, match="exists"):
            spectrum.write(tmp_path / name)


def test_channels_are_those_that_the_file_lists(tmp_path):
    columns = [("CHANNEL", "J", [3, 4, 7]), ("COUNTS", "J", [10, 20, 30]), ("GROUPING", "I", [1, -1, 1])]
    spectrum = Spectrum.read(save(tmp_path / "s.pha", columns, TLMIN1=0, DETCHANS=12))
    np.testing.assert_array_equal(spectrum.counts, [10, 20, 0, 0, 30])
    np.testing.assert_array_equal(spectrum.grouping, [1, -1, 1, 1, 1])
    np.testing.assert_array_equal(spectrum.channel_numbers, [3, 4, 5, 6, 7])
    assert (spectrum.first_channel, spectrum.all_channels) == (3, (0, 11))
    for tlmin, first in (({}, 1), ({"TLMIN1": 0}, 0)):
        columns = [("CHANNEL", "J", [1, 2]), ("COUNTS", "J", [1, 2])]
        assert Spectrum.read(save(tmp_path / "s.pha", columns, DETCHANS=4, **tlmin)).all_channels[0] == first


def test_rates_become_counts(tmp_path):
    columns = [("CHANNEL", "J", [1, 2]), ("RATE", "D", [0.25, 3]), ("STAT_ERR", "D", [0.1, 0.2])]
    spectrum = Spectrum.read(save(tmp_path / "s.pha", columns, POISSERR=False))
    np.testing.assert_allclose(spectrum.counts, [25, 300])
    np.testing.assert_allclose(spectrum.stat_error, [10, 20])


CHANNELS = ("CHANNEL", "J", [0, 1, 2])
COUNTS = ("COUNTS", "J", [1, 2, 3])


@pytest.mark.parametrize(
    ("columns", "keywords", "words"),
    [
        ([CHANNELS], {}, ["COUNTS"]),
        ([COUNTS], {}, ["CHANNEL"]),
        ([CHANNELS, ("COUNTS", "J", [1, -2, 3])], {}, ["COUNTS", "-2", "row 2"]),
        ([CHANNELS, ("COUNTS", "D", [1, 2, np.nan])], {}, ["COUNTS", "nan", "row 3"]),
        ([("CHANNEL", "J", [0, 2, 1]), COUNTS], {}, ["CHANNEL", "row 3"]),
        ([CHANNELS, COUNTS], {"TLMIN1": 1}, ["CHANNEL", "TLMIN", "row 1"]),
        ([CHANNELS, COUNTS], {"DETCHANS": 2}, ["CHANNEL", "DETCHANS", "row 3"]),
        ([CHANNELS, COUNTS], {"EXPOSURE": 0.0}, ["EXPOSURE", "0"]),
        ([CHANNELS, COUNTS], {"EXPOSURE": "long"}, ["EXPOSURE", "long"]),
        ([CHANNELS, COUNTS], {"TLMIN1": 0.5}, ["TLMIN", "0.5"]),
        ([("CHANNEL", "3J", [[0, 1, 2]]), ("COUNTS", "3J", [[1, 2, 3]])], {}, ["type II"]),
    ],
)
def test_a_broken_rule_is_named_with_its_row(columns, keywords, words, tmp_path):
    path = save(tmp_path / "bad.pha", columns, **keywords)
    with pytest.raises(FileError) as caught:
        Spectrum.read(path)
    for word in [str(path), "[SPECTRUM]", "expected", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_named():
    for options, word in [
        ({"counts": np.ones((2, 2))}, "counts"),
        ({"quality": np.zeros(2, int)}, "quality"),
        ({"backscale": np.ones(2)}, "backscale"),
        ({"exposure": -1.0}, "exposure"),
        ({"detector_channels": (1, 3)}, "detector_channels"),
        ({"stat_error": np.array([1, -1, 1.0])}, "stat_error"),
    ]:
        with pytest.raises(ValueError, match=word):
            Spectrum(**({"counts": np.ones(3), "exposure": 1.0} | options))


def test_real_spectra(shared_data, tmp_path):
    perseus = Spectrum.read(shared_data("spectra/xrism_resolve_perseus_000154000.pi.gz"))
    assert (perseus.counts.sum(), perseus.counts.size, perseus.first_channel) == (228_716, 60_000, 0)
    assert (perseus.telescope, perseus.instrument) == ("XRISM", "RESOLVE")
    assert perseus.response_file is None
    assert perseus.exposure == pytest.approx(100325.9, abs=0.1)
    # 4 eV bins of 8 channels; the strongest between 6.4 and 6.9 keV is Fe XXV w at the cluster's redshift.
    lines = perseus.counts[12800:13800].reshape(-1, 8).sum(axis=1)
    assert 6.4 + 0.004 * (lines.argmax() + 0.5) == pytest.approx(6.582, abs=0.003)
    pn = Spectrum.read(shared_data("spectra/xmm_epic_pn.pha.gz"))
    assert (pn.counts.sum(), pn.counts.size, pn.response_file) == (11526, 4096, "PN.rmf")
    assert set(np.unique(pn.grouping)) == {-1, 1}
    pn.write(tmp_path / "again.pha")
    again = Spectrum.read(tmp_path / "again.pha")
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(pn, field), getattr(again, field))
    assert "11526 counts" in pn.describe()
