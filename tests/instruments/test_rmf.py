import gzip

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from hifred.fitsio import FileError
from hifred.instruments import rmf_io
from hifred.instruments.rmf import Redistribution

ENERGIES = np.linspace(0.5, 4.5, 9)
CHANNELS = np.linspace(0.0, 5.0, 11)
FIELDS = ("energy_lo", "energy_hi", "channel_lo", "channel_hi")
FACTS = ("first_channel", "threshold", "includes_area", "telescope", "instrument")


def save(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path, overwrite=True)
    return path


def redistribution(dense, energies=ENERGIES, channels=CHANNELS, **options):
    """From a dense (energy, channel) array."""
    matrix = csr_array(np.asarray(dense, float).T)
    return Redistribution(energies[:-1], energies[1:], matrix, channels[:-1], channels[1:], **options)


def same(a, b):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    for field in FACTS:
        assert getattr(a, field) == getattr(b, field)
    assert a.matrix.shape == b.matrix.shape
    assert abs(a.matrix - b.matrix).max() == 0


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 12), st.sampled_from(["scalar", "fixed", "variable"]),
    st.sampled_from([0, 1, 5]), st.booleans(), st.sampled_from(["I", "J"]), st.sampled_from(["fixed", "variable"]),
    st.booleans(),
)  # fmt: skip
def test_every_encoding_of_the_groups_reads_the_same(
    tmp_path_factory,
    matrix_hdu,
    channels_hdu,
    sparse,
    seed,
    rows,
    size,
    encoding,
    first,
    tlmin,
    integer,
    elements,
    after,
):
    rng = np.random.default_rng(seed)
    dense = sparse(rows, size, rng)
    edges = np.sort(rng.random(rows + 1)) + np.arange(rows + 1)
    hdus = [
        matrix_hdu(
            dense, edges, encoding=encoding, first=first, tlmin=tlmin, integer=integer, elements=elements, rng=rng
        ),
        channels_hdu(np.arange(size + 1.0), first),
    ]
    path = save(tmp_path_factory.mktemp("rmf") / "r.rmf", *hdus[:: 1 if after else -1])
    read = Redistribution.read(path)
    np.testing.assert_array_equal(read.matrix.toarray(), dense.T)
    np.testing.assert_array_equal(np.r_[read.energy_lo, read.energy_hi[-1]], edges)
    assert (read.first_channel, read.telescope, read.instrument) == (first, "MOON", "CAMERA")
    read.write(path, overwrite=True)
    same(read, Redistribution.read(path))


def test_single_precision_comes_back_to_the_last_bit(tmp_path, sparse):
    dense = sparse(8, 10, np.random.default_rng(1))
    single = np.float32(dense).astype(float)
    for values, form in ((single, "E"), (dense, "D")):
        first = redistribution(values, first_channel=3, includes_area=form == "D", telescope="A", instrument="B")
        first.write(tmp_path / "r.rmf.gz", overwrite=True)
        same(first, Redistribution.read(tmp_path / "r.rmf.gz"))
        header = fits.getheader(tmp_path / "r.rmf.gz", 1)
        assert header["TFORM6"].startswith(f"P{form}")
        assert header["EXTNAME"] == ("SPECRESP MATRIX" if form == "D" else "MATRIX")
        assert header["NUMELT"] == np.count_nonzero(values)
    with pytest.raises(FileError, match="exists"):
        first.write(tmp_path / "r.rmf.gz")


def test_elements_below_the_threshold_are_not_written(tmp_path):
    dense = np.tile([1e-7, 0.5, 1e-3, 0, 1e-4, 1e-5, 0.2, 0, 1e-9, 0], (8, 1))
    redistribution(dense, threshold=1e-4).write(tmp_path / "r.rmf")
    again = Redistribution.read(tmp_path / "r.rmf")
    np.testing.assert_array_equal(again.matrix.toarray().T, np.where(dense >= 1e-4, dense, 0))
    np.testing.assert_array_equal(fits.getdata(tmp_path / "r.rmf", 1)["N_GRP"], 3)


def test_where_the_area_is_follows_the_header(tmp_path, matrix_hdu, channels_hdu):
    dense = np.full((8, 10), 30.0)
    for hduclas3, name, expected in [
        ("FULL", "MATRIX", True),
        ("", "SPECRESP MATRIX", True),
        ("REDIST", "SPECRESP MATRIX", False),
        ("DETECTOR", "MATRIX", False),
        ("", "MATRIX", False),
    ]:
        scale = 1 if expected else 1e-3
        hdu = matrix_hdu(dense * scale, ENERGIES, name=name, hduclas3=hduclas3)
        assert Redistribution.read(save(tmp_path / "r.rmf", hdu, channels_hdu(CHANNELS))).includes_area is expected
    assert "with its area" in redistribution(dense, includes_area=True).describe()


def test_energies_in_ev(tmp_path, matrix_hdu, channels_hdu, sparse):
    dense = sparse(8, 10, np.random.default_rng(2))
    read = Redistribution.read(
        save(tmp_path / "r.rmf", matrix_hdu(dense, ENERGIES * 1e3, unit="eV"), channels_hdu(CHANNELS * 1e3, unit="eV"))
    )
    np.testing.assert_allclose(read.energy_hi, ENERGIES[1:], rtol=1e-15)
    np.testing.assert_allclose(read.channel_hi, CHANNELS[1:], rtol=1e-15)


def test_ebounds_may_list_some_channels_only(tmp_path, matrix_hdu, channels_hdu, sparse):
    dense = sparse(8, 10, np.random.default_rng(3), fill=0.8)
    for first in (0, 1):
        path = save(
            tmp_path / "r.rmf", matrix_hdu(dense, ENERGIES, first=first), channels_hdu(CHANNELS[3:8], first + 3)
        )
        read = Redistribution.read(path)
        assert read.first_channel == first + 3
        np.testing.assert_array_equal(read.matrix.toarray(), dense[:, 3:7].T)


def test_groups_that_overlap_add_up(tmp_path, channels_hdu):
    columns = [
        fits.Column("ENERG_LO", "D", "keV", array=[1.0]),
        fits.Column("ENERG_HI", "D", "keV", array=[2.0]),
        fits.Column("N_GRP", "I", array=[2]),
        fits.Column("F_CHAN", "2I", array=[[4, 3]]),
        fits.Column("N_CHAN", "2I", array=[[2, 3]]),
        fits.Column("MATRIX", "5D", array=[[0.1, 0.2, 0.05, 0.15, 0.25]]),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="MATRIX")
    read = Redistribution.read(save(tmp_path / "r.rmf", hdu, channels_hdu(CHANNELS, 1)))
    np.testing.assert_allclose(read.matrix.toarray()[:, 0], [0, 0, 0.05, 0.25, 0.45, 0, 0, 0, 0, 0], rtol=1e-15)


def test_unsigned_numbers_and_unaligned_heaps(tmp_path, channels_hdu):
    """uint16 channels (TZERO 32768) of odd lengths put the floats of the heap off their boundaries."""
    numbers = np.array([0, 2, 1], np.uint16)
    columns = [
        fits.Column("ENERG_LO", "E", "keV", array=[1.0, 2.0, 3.0]),
        fits.Column("ENERG_HI", "E", "keV", array=[2.0, 3.0, 4.0]),
        fits.Column("N_GRP", "I", bzero=32768, array=np.array([1, 1, 1], np.uint16)),
        fits.Column("F_CHAN", "I", bzero=32768, array=numbers),
        fits.Column("N_CHAN", "PB()", array=np.array([np.array([n], np.uint8) for n in (3, 1, 2)], dtype=object)),
        fits.Column("MATRIX", "PE()", array=np.array([[0.1, 0.2, 0.3], [0.4], [0.5, 0.25]], dtype=object)),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name="MATRIX")
    hdu.header["TLMIN4"] = 0
    read = Redistribution.read(save(tmp_path / "r.rmf", hdu, channels_hdu(np.arange(4.0), 0)))
    expected = np.float32([[0.1, 0.2, 0.3], [0, 0, 0.4], [0, 0.5, 0.25]])
    np.testing.assert_array_equal(read.matrix.toarray(), expected.T)


def test_three_extensions_equal_the_sum_of_their_parts(tmp_path, matrix_hdu, channels_hdu, sparse):
    rng = np.random.default_rng(4)
    core, coarse, other = sparse(8, 10, rng) * 0.5, sparse(2, 10, rng) * 0.2, sparse(8, 5, rng) * 0.2
    hdus = [
        matrix_hdu(core, ENERGIES, first=0),
        channels_hdu(CHANNELS, 0),
        # Rows of four fine energies each, in fixed-length groups that count from 1.
        matrix_hdu(coarse, ENERGIES[::4], encoding="fixed", first=1),
        channels_hdu(CHANNELS, 1),
        # Channels twice as wide.
        matrix_hdu(other, ENERGIES, encoding="variable", first=7),
        channels_hdu(CHANNELS[::2], 7),
    ]
    read = Redistribution.read(save(tmp_path / "r.rmf", *hdus))
    expected = core + np.repeat(coarse, 4, axis=0) + np.repeat(other, 2, axis=1) / 2
    np.testing.assert_allclose(read.matrix.toarray(), expected.T, rtol=1e-14)
    assert (read.first_channel, read.threshold) == (0, 0.0)

    read = Redistribution.read(save(tmp_path / "r.rmf", *(hdus[i] for i in (0, 2, 1))))  # one EBOUNDS for both
    np.testing.assert_allclose(read.matrix.toarray(), (core + np.repeat(coarse, 4, axis=0)).T, rtol=1e-14)
    with pytest.raises(FileError, match="EBOUNDS, found 2"):
        Redistribution.read(save(tmp_path / "r.rmf", *(hdus[i] for i in (0, 1, 2, 3, 4))))


def test_coarse_rows_that_fit_no_fine_ones_apply_by_overlap(tmp_path, matrix_hdu, channels_hdu):
    coarse = np.zeros((2, 10))
    coarse[0, 1], coarse[1, 2] = 0.4, 0.8
    edges = np.array([0.5, 1.25, 4.5])  # the second fine bin (1 to 1.5 keV) is half in each
    path = save(
        tmp_path / "r.rmf",
        matrix_hdu(np.zeros((8, 10)), ENERGIES),
        channels_hdu(CHANNELS, 0),
        matrix_hdu(coarse, edges),
    )
    dense = Redistribution.read(path).matrix.toarray()
    np.testing.assert_allclose(dense[1], [0.4, 0.2, 0, 0, 0, 0, 0, 0], atol=1e-15)
    np.testing.assert_allclose(dense[2], [0, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8], atol=1e-15)


def test_a_sum_too_large_to_hold_is_refused(tmp_path, matrix_hdu, channels_hdu, monkeypatch):
    coarse = matrix_hdu(np.full((1, 10), 0.05), ENERGIES[[0, -1]])
    path = save(tmp_path / "r.rmf", matrix_hdu(np.zeros((8, 10)), ENERGIES), channels_hdu(CHANNELS, 0), coarse)
    monkeypatch.setattr(rmf_io, "MOST_ELEMENTS", 80)
    assert Redistribution.read(path).matrix.nnz == 80
    monkeypatch.setattr(rmf_io, "MOST_ELEMENTS", 79)
    with pytest.raises(FileError, match=r"\[MATRIX,2\]: expected at most 79 .* found 80"):
        Redistribution.read(path)


def test_the_mean_over_other_energies(sparse):
    rng = np.random.default_rng(5)
    r = redistribution(sparse(8, 10, rng))
    edges = np.array([0.1, 0.6, 0.7, 1.3, 3.3, 4.4, 5.0])
    fine = np.linspace(0.1, 5.0, 49_001)
    at = 0.5 * (fine[1:] + fine[:-1])
    row = np.searchsorted(ENERGIES, at) - 1
    weights = np.zeros((6, 8))
    inside = (row >= 0) & (row < 8)
    np.add.at(weights, (np.searchsorted(edges, at[inside]) - 1, row[inside]), 1)
    weights /= np.histogram(at, edges)[0][:, None]
    found = r.on(edges)
    assert isinstance(found, csr_array)
    np.testing.assert_allclose(found.toarray(), r.matrix.toarray() @ weights.T, atol=2e-4)
    np.testing.assert_array_equal(r.on(ENERGIES).toarray(), r.matrix.toarray())
    with pytest.raises(ValueError, match="edges"):
        r.on([2.0, 1.0])


def test_grouped_channels_add_up(sparse):
    r = redistribution(sparse(8, 10, np.random.default_rng(6)), first_channel=1)
    grouped = r.grouped(np.array([1, 2, 6, 9]))
    dense = r.matrix.toarray()
    np.testing.assert_allclose(grouped.matrix.toarray(), [dense[1], dense[2:6].sum(0), dense[6:9].sum(0)], rtol=1e-14)
    np.testing.assert_array_equal(grouped.channel_lo, CHANNELS[[1, 2, 6]])
    np.testing.assert_array_equal(grouped.channel_hi, CHANNELS[[2, 6, 9]])
    for bad in ([0], [0, 11], [-1, 3], [3, 3], [0.5, 2.0]):
        with pytest.raises(ValueError, match="edges"):
            r.grouped(np.array(bad))


def test_the_width_of_a_gaussian():
    channels = np.linspace(0, 2, 2001)
    at = 0.5 * (channels[1:] + channels[:-1])
    line = np.exp(-0.5 * ((at - 1.0) / 0.05) ** 2) + 1e-3
    r = redistribution((line / line.sum())[None], np.array([0.9, 1.1]), channels)
    assert r.fwhm(1.0) == pytest.approx(2 * np.sqrt(2 * np.log(2)) * 0.05, rel=1e-2)
    # Twice the probability in channels that are twice as wide is no peak.
    uneven = np.r_[channels[:1001:2], channels[1001:]]
    wide = np.r_[line[:1000].reshape(-1, 2).sum(1), line[1000:]]
    assert redistribution((wide / wide.sum())[None], np.array([0.9, 1.1]), uneven).fwhm(1.0) == pytest.approx(
        r.fwhm(1.0), rel=1e-3
    )
    for energy in (0.5, 1.2, np.nan):
        with pytest.raises(ValueError, match="energy"):
            r.fwhm(energy)
    with pytest.raises(ValueError, match="empty"):
        redistribution(np.zeros((1, 2000)), np.array([0.9, 1.1]), channels).fwhm(1.0)


def spoil(hdu, keyword=None, value=None, **columns):
    hdu = hdu.copy()
    if keyword in ("TUNIT1", "TTYPE3"):  # astropy writes these from its columns
        setattr(hdu.columns[int(keyword[-1]) - 1], {"U": "unit", "T": "name"}[keyword[1]], value)
        keyword = None
    if keyword:
        hdu.header[keyword] = value
    for name, (row, item) in columns.items():
        hdu.data[name][row] = item
    return hdu


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m, e: [spoil(m, ENERG_HI=(2, 1.0)), e], ["[MATRIX]", "ENERG_LO", "row 3"]),
        (lambda m, e: [spoil(m, ENERG_LO=(3, 1.7)), e], ["[MATRIX]", "ENERG_LO", "1.7", "row 4"]),
        (lambda m, e: [spoil(m, F_CHAN=(1, [0])), e], ["[MATRIX]", "F_CHAN", "TLMIN", "found 0", "row 2"]),
        (lambda m, e: [spoil(m, F_CHAN=(4, [2])), e], ["[MATRIX]", "DETCHANS = 10", "found 11", "row 5"]),
        (lambda m, e: [spoil(m, N_CHAN=(4, [9])), e], ["[MATRIX]", "MATRIX", "9 and 10", "row 5"]),
        (lambda m, e: [spoil(m, N_CHAN=(4, [-1])), e], ["[MATRIX]", "N_CHAN", "-1", "row 5"]),
        (lambda m, e: [spoil(m, N_GRP=(5, 2)), e], ["[MATRIX]", "F_CHAN", "2 and 1", "row 6"]),
        (lambda m, e: [spoil(m, N_GRP=(5, -2)), e], ["[MATRIX]", "N_GRP", "-2", "row 6"]),
        (lambda m, e: [spoil(m, MATRIX=(2, [0.1] * 4 + [-0.5] + [0] * 5)), e], ["[MATRIX]", "-0.5", "row 3"]),
        (lambda m, e: [spoil(m, MATRIX=(2, [0.1] * 4 + [np.nan] + [0] * 5)), e], ["[MATRIX]", "nan", "row 3"]),
        (lambda m, e: [spoil(m, MATRIX=(6, [0.2] * 10)), e], ["[MATRIX]", "1.01", "found 2", "row 7"]),
        (lambda m, e: [spoil(m, "NUMELT", 81), e], ["[MATRIX]", "NUMELT = 81", "80"]),
        (lambda m, e: [spoil(m, "NUMELT", "many"), e], ["[MATRIX]", "NUMELT", "many"]),
        (lambda m, e: [spoil(m, "TUNIT1", "Angstrom"), e], ["[MATRIX]", "ENERG_LO", "Angstrom"]),
        (lambda m, e: [spoil(m, "TTYPE3", "GROUPS"), e], ["[MATRIX]", "N_GRP", "GROUPS"]),
        (lambda m, e: [spoil(m, "HDUCLAS3", "HALF"), e], ["[MATRIX]", "HDUCLAS3", "HALF"]),
        (lambda m, e: [spoil(m, "TLMIN4", "one"), e], ["[MATRIX]", "TLMIN", "one"]),
        (lambda m, e: [m, spoil(e, E_MAX=(3, 0.7))], ["[EBOUNDS]", "E_MIN", "row 4"]),
        (lambda m, e: [m, spoil(e, E_MIN=(3, 1.2))], ["[EBOUNDS]", "1.2", "row 4"]),
        (lambda m, e: [m, spoil(e, CHANNEL=(3, 9))], ["[EBOUNDS]", "CHANNEL", "row 4"]),
        (lambda m, e: [m], ["EBOUNDS", "found PRIMARY, MATRIX"]),
        (lambda m, e: [e], ["MATRIX or SPECRESP MATRIX", "found PRIMARY, EBOUNDS"]),
        (lambda m, e: [m, e, spoil(m, "HDUCLAS3", "FULL")], ["HDUCLAS3", "mixture"]),
        (lambda m, e: [m, e, spoil(m, ENERG_HI=(2, 1.0))], ["[MATRIX,2]", "row 3"]),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named_with_its_row(change, words, tmp_path, matrix_hdu, channels_hdu):
    hdus = change(matrix_hdu(np.full((8, 10), 0.05), ENERGIES, first=1), channels_hdu(CHANNELS, 1))
    path = save(tmp_path / "bad.rmf", *hdus)
    with pytest.raises(FileError) as caught:
        Redistribution.read(path)
    for word in [str(path), "expected", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_descriptor_beyond_the_heap_is_named(tmp_path, matrix_hdu, channels_hdu):
    path = save(tmp_path / "r.rmf", matrix_hdu(np.full((8, 10), 0.05), ENERGIES, first=1), channels_hdu(CHANNELS, 1))
    with fits.open(path) as hdus:
        start, size = hdus[1].fileinfo()["datLoc"], hdus[1].header["NAXIS1"]
    content = bytearray(path.read_bytes())
    at = start + 3 * size - 8  # the descriptor of MATRIX is the last in a row
    content[at : at + 4] = (10**6).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"MATRIX inside the heap.*found 1000000 .* row 3"):
        Redistribution.read(path)
    path.write_bytes(content[: start + 200])
    with pytest.raises(FileError, match="truncated"):
        Redistribution.read(path)
    path.with_suffix(".gz").write_bytes(gzip.compress(content)[:-100])
    with pytest.raises(FileError, match="complete FITS file"):
        Redistribution.read(path.with_suffix(".gz"))


def test_bad_arguments_are_named():
    good = np.full((8, 10), 0.05)
    for change, word in [
        (lambda: redistribution(good[:7]), "matrix"),
        (lambda: redistribution(good, ENERGIES[::-1]), "energy_lo"),
        (lambda: redistribution(good, channels=CHANNELS[::-1]), "channel_lo"),
        (lambda: redistribution(-good), "matrix"),
        (lambda: redistribution(good * 3), "row 1 of 8"),
        (lambda: redistribution(good, threshold=-1.0), "threshold"),
    ]:
        with pytest.raises(ValueError, match=word):
            change()
