import numpy as np
import pytest
from astropy.io import fits


def groups_of(row, encoding, rng):
    """(first channel, width) of groups that cover what is not zero in a row, counted from 0."""
    used = np.flatnonzero(row)
    if used.size == 0:
        return []
    if encoding == "scalar":
        return [(used[0], used[-1] - used[0] + 1)]
    splits = np.flatnonzero(np.diff(used) > 1) + 1
    groups = [(run[0], run.size) for run in np.split(used, splits)]
    out = []
    for first, width in groups:
        # Neighbouring groups, groups with zeros in them and empty groups are all allowed.
        cut = int(rng.integers(0, width + 1)) if rng is not None else 0
        out += [(first, cut), (first + cut, width - cut)] if cut else [(first, width)]
    return out


def objects(values, dtype):
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = np.asarray(value, dtype=dtype)
    return out


@pytest.fixture(scope="session")
def matrix_hdu():
    """A MATRIX extension written with astropy alone, from a dense (energy, channel) array and any encoding of groups."""

    def make(
        dense, edges, *, encoding="variable", first=0, tlmin=True, integer="I", elements="variable", rng=None, unit="keV",
        name="MATRIX", hduclas3="REDIST", threshold=0.0, detchans=None,
    ):  # fmt: skip
        rows, channels = dense.shape
        groups = [groups_of(row, encoding, rng) for row in dense]
        values = [np.concatenate([row[f : f + n] for f, n in g] or [[]]) for row, g in zip(dense, groups, strict=True)]
        most = max(1, *(len(g) for g in groups))
        dtype = {"I": np.int16, "J": np.int32}[integer]
        columns = [
            fits.Column("ENERG_LO", "D", unit, array=edges[:-1]),
            fits.Column("ENERG_HI", "D", unit, array=edges[1:]),
            fits.Column("N_GRP", "I", array=[len(g) for g in groups]),
        ]
        for column, pick, base in (("F_CHAN", 0, first), ("N_CHAN", 1, 0)):
            numbers = [[pair[pick] + base for pair in g] for g in groups]
            if encoding == "variable":
                columns.append(fits.Column(column, f"P{integer}()", array=objects(numbers, dtype)))
            else:
                filled = np.array([n + [0] * (most - len(n)) for n in numbers], dtype)
                form = integer if most == 1 else f"{most}{integer}"
                columns.append(fits.Column(column, form, array=filled[:, 0] if most == 1 else filled))
        if elements == "variable":
            columns.append(fits.Column("MATRIX", "PD()", array=objects(values, float)))
        else:
            longest = max(1, *(v.size for v in values))
            filled = np.array([np.r_[v, np.zeros(longest - v.size)] for v in values])
            columns.append(fits.Column("MATRIX", f"{longest}D", array=filled))
        hdu = fits.BinTableHDU.from_columns(columns, name=name)
        hdu.header["HDUCLAS1"] = "RESPONSE"
        hdu.header["HDUCLAS2"] = "RSP_MATRIX"
        if hduclas3:
            hdu.header["HDUCLAS3"] = hduclas3
        hdu.header["DETCHANS"] = channels if detchans is None else detchans
        hdu.header["LO_THRES"] = threshold
        hdu.header["TELESCOP"], hdu.header["INSTRUME"] = "MOON", "CAMERA"
        if tlmin:
            hdu.header["TLMIN4"] = first
        return hdu

    return make


@pytest.fixture(scope="session")
def channels_hdu():
    """An EBOUNDS extension written with astropy alone."""

    def make(edges, first=0, unit="keV"):
        numbers = np.arange(first, first + len(edges) - 1)
        columns = [
            fits.Column("CHANNEL", "J", array=numbers),
            fits.Column("E_MIN", "D", unit, array=edges[:-1]),
            fits.Column("E_MAX", "D", unit, array=edges[1:]),
        ]
        return fits.BinTableHDU.from_columns(columns, name="EBOUNDS")

    return make


@pytest.fixture(scope="session")
def sparse():
    """Random matrix (energy, channel) with empty rows, whose rows sum to at most 1."""

    def make(rows, channels, rng, fill=0.4):
        dense = rng.random((rows, channels)) * (rng.random((rows, channels)) < fill)
        dense[rng.random(rows) < 0.2] = 0
        return dense / max(dense.sum(axis=1).max(), 1e-3)

    return make
