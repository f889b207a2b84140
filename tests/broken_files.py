"""Ways to break each kind of file of an observation: for each, what the one line of the error must name."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from astropy.io import fits


@dataclass(frozen=True)
class Broken:
    """A file of the observation, how it is spoilt, the words that the error must have, and what the plan must be."""

    name: str
    file: str
    spoil: Callable[[Path], object]
    words: tuple[str, ...]
    plan: dict = field(default_factory=dict)


def hdus(*changes) -> Callable[[Path], None]:
    """Change the HDUs of a FITS file; checksums are made anew, so that they are not what is noticed."""

    def spoil(path):
        with fits.open(path, memmap=False, lazy_load_hdus=False) as made:
            for change in changes:
                change(made)
            for hdu in made:
                hdu.header.pop("CHECKSUM", None)
                hdu.header.pop("DATASUM", None)
            made[0].header.pop("EXTLIST", None)
            made.writeto(path.with_suffix(".new"), checksum=True, output_verify="ignore")
        path.with_suffix(".new").replace(path)

    return spoil


def cell(extension, column, row, value):
    def change(made):
        made[extension].data[column][row - 1] = value

    return change


def item(extension, column, row, index, value):
    def change(made):
        values = made[extension].data[column][row - 1].copy()
        values[index] = value
        made[extension].data[column][row - 1] = values

    return change


def scaled(extension, column, factor):
    def change(made):
        for row in range(len(made[extension].data)):
            made[extension].data[column][row] = made[extension].data[column][row] * factor

    return change


def key(extension, keyword, value=None):
    def change(made):
        if value is None:
            del made[extension].header[keyword]
        else:
            made[extension].header[keyword] = value

    return change


def column_key(extension, prefix, column, value=None):
    """A keyword of a column, such as TCUNI of X, of which only the prefix is known."""

    def change(made):
        number = made[extension].columns.names.index(column) + 1
        key(extension, f"{prefix}{number}", value)(made)

    return change


def unit(extension, column, value):
    def change(made):
        made[extension].columns[column].unit = value

    return change


def no_column(extension, column):
    def change(made):
        old = made[extension]
        kept = fits.BinTableHDU.from_columns([c for c in old.columns if c.name != column], name=old.name)
        made[extension] = kept

    return change


def renamed_column(extension, column, name):
    return lambda made: made[extension].columns.change_name(column, name)


def no_extension(extension):
    return lambda made: made.pop(made.index_of(extension))


def rows(extension, chosen):
    def change(made):
        made[extension].data = made[extension].data[chosen]

    return change


def pixel(extension, place, value):
    def change(made):
        made[extension].data[place] = value

    return change


def image(extension, function):
    def change(made):
        made[extension].data = function(made[extension].data)

    return change


def everywhere(change, *extensions):
    """The same change in several extensions: `change(extension)` gives it."""

    def all_of_them(made):
        for extension in extensions:
            change(extension)(made)

    return all_of_them


def cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flipped(at: int) -> Callable[[Path], object]:
    def spoil(path):
        before = bytearray(path.read_bytes())
        before[at] ^= 1
        path.write_bytes(before)

    return spoil


def packed_and_cut(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes())[:-2000])


def content(text: str | bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def gone(path: Path) -> None:
    path.unlink()


def swapped(old: str, new: str) -> Callable[[Path], None]:
    """A text in place of another; in FITS files of the same length."""

    def spoil(path):
        before = path.read_bytes()
        assert before.count(old.encode()) >= 1, old
        path.write_bytes(before.replace(old.encode(), new.encode(), 1))

    return spoil


def rates(**changes) -> Callable[[Path], None]:
    def spoil(path):
        with h5py.File(path, "a") as file:
            for name, value in changes.items():
                del file[name]
                if value is not None:
                    file[name] = value

    return spoil


PN, RESOLVE, ACIS = ({"datasets": (name,)} for name in ("pn", "resolve", "acis"))
NO_GRID = {"grid": {"center": None, "size": None}}


def with_key(name: str, /, **changes) -> dict:
    return {"datasets": (name,), name: changes}


def _of(file: str, plan: dict, cases: dict) -> list[Broken]:
    stem = file.rpartition("/")[2]
    return [Broken(f"{stem} {name}", file, spoil, words, plan) for name, (spoil, words) in cases.items()]


ARF = _of("pn.arf", PN, {
    "missing": (gone, ("no such file",)),
    "cut short": (cut(0.8), ("truncated",)),
    "a text": (content("area 1 2 3"), ()),
    "empty": (content(""), ()),
    "of another extension": (hdus(key("SPECRESP", "HDUCLAS2", "OTHER"), key("SPECRESP", "EXTNAME", "AREA")), ("SPECRESP",)),
    "without areas": (hdus(no_column("SPECRESP", "SPECRESP")), ("[SPECRESP]", "ENERG_HI")),
    "with a negative area": (hdus(cell("SPECRESP", "SPECRESP", 5, -1.0)), ("[SPECRESP]", "row 5", "-1")),
    "with an area that is nan": (hdus(cell("SPECRESP", "SPECRESP", 7, np.nan)), ("[SPECRESP]", "row 7", "nan")),
    "with swapped energies": (hdus(cell("SPECRESP", "ENERG_LO", 3, 3.0)), ("[SPECRESP]", "ENERG_LO", "row 3")),
    "with energies that overlap": (hdus(cell("SPECRESP", "ENERG_HI", 3, 1.6)), ("[SPECRESP]", "row 4", "1.6")),
    "in wavelengths": (hdus(unit("SPECRESP", "ENERG_LO", "Angstrom")), ("[SPECRESP]", "ENERG_LO", "Angstrom")),
    "with areas in keV": (hdus(unit("SPECRESP", "SPECRESP", "keV")), ("[SPECRESP]", "SPECRESP", "keV")),
    "of zeros": (hdus(scaled("SPECRESP", "SPECRESP", 0)), ("effective area", "zero")),
    "that ends within the band": (hdus(rows("SPECRESP", slice(0, 40))), ("[SPECRESP]", "2.3 to 2.32 keV")),
    "with a wrong checksum": (swapped("'XMM     '", "'XMN     '"), ("[SPECRESP]", "CHECKSUM")),
})  # fmt: skip
RMF = _of("pn.rmf", PN, {
    "cut short": (cut(0.5), ("truncated",)),
    "without EBOUNDS": (hdus(no_extension("EBOUNDS")), ("EBOUNDS",)),
    "without MATRIX": (hdus(no_extension("MATRIX")), ("MATRIX",)),
    "without F_CHAN": (hdus(no_column("MATRIX", "F_CHAN")), ("[MATRIX]", "F_CHAN")),
    "with a negative probability": (hdus(item("MATRIX", "MATRIX", 12, 3, -0.1)), ("[MATRIX]", "row 12", "-0.1")),
    "with a probability that is nan": (hdus(item("MATRIX", "MATRIX", 2, 0, np.nan)), ("[MATRIX]", "row 2", "nan")),
    "with probabilities above 1": (hdus(scaled("MATRIX", "MATRIX", 2.0)), ("[MATRIX]", "1.01", "row 1 of")),
    "of zeros": (hdus(scaled("MATRIX", "MATRIX", 0.0)), ("probability", "zero")),
    "with swapped energies": (hdus(cell("MATRIX", "ENERG_HI", 9, 1.0)), ("[MATRIX]", "ENERG_LO", "row 9")),
    "with TLMIN of F_CHAN off by one": (hdus(key("MATRIX", "TLMIN4", 1)), ("[MATRIX]", "TLMIN", "F_CHAN", "found 1")),
    "with TLMIN of EBOUNDS off by one": (hdus(key("EBOUNDS", "TLMIN1", 1)), ("[EBOUNDS]", "TLMIN", "found 0")),
    "with TLMIN that is a text": (hdus(key("MATRIX", "TLMIN4", "first")), ("[MATRIX]", "TLMIN", "first")),
    "with groups beyond the channels": (hdus(item("MATRIX", "N_CHAN", 20, 0, 900)), ("[MATRIX]", "DETCHANS", "row 20")),
    "with a negative number of groups": (hdus(cell("MATRIX", "N_GRP", 4, -1)), ("[MATRIX]", "N_GRP", "row 4")),
    "with another NUMELT": (hdus(key("MATRIX", "NUMELT", 7)), ("[MATRIX]", "NUMELT = 7")),
    "with swapped channel energies": (hdus(cell("EBOUNDS", "E_MIN", 30, 9.0)), ("[EBOUNDS]", "E_MIN", "row 30")),
    "with a channel left out": (hdus(cell("EBOUNDS", "CHANNEL", 8, 70)), ("[EBOUNDS]", "CHANNEL", "row 8")),
    "with channel energies in eV": (hdus(unit("EBOUNDS", "E_MIN", "eV"), unit("EBOUNDS", "E_MAX", "eV")), ("[EBOUNDS]", "keV")),
    "of no known class": (hdus(key("MATRIX", "HDUCLAS3", "HALF")), ("[MATRIX]", "HDUCLAS3", "HALF")),
    "with the area in it": (hdus(key("MATRIX", "HDUCLAS3", "FULL")), ("[MATRIX]", "pn.arf")),
    "that ends within the band": (hdus(rows("MATRIX", slice(0, 40)), key("MATRIX", "NUMELT", 0)), ("[MATRIX]", "2.3 to 2.32 keV")),
})  # fmt: skip
SPECTRUM = _of("pn_background.pha", PN, {
    "cut short": (cut(0.6), ("truncated",)),
    "without EXPOSURE": (hdus(key("SPECTRUM", "EXPOSURE")), ("[SPECTRUM]", "EXPOSURE")),
    "of no exposure": (hdus(key("SPECTRUM", "EXPOSURE", 0.0)), ("[SPECTRUM]", "EXPOSURE", "found 0")),
    "without counts": (hdus(renamed_column("SPECTRUM", "COUNTS", "NUMBERS")), ("[SPECTRUM]", "COUNTS")),
    "with negative counts": (hdus(cell("SPECTRUM", "COUNTS", 11, -3)), ("[SPECTRUM]", "COUNTS", "row 11", "-3")),
    "with channels out of order": (hdus(cell("SPECTRUM", "CHANNEL", 20, 3)), ("[SPECTRUM]", "CHANNEL", "row 20")),
    "with more channels than DETCHANS": (hdus(key("SPECTRUM", "DETCHANS", 700)), ("[SPECTRUM]", "DETCHANS", "row 701")),
    "with BACKSCAL that is a text": (hdus(key("SPECTRUM", "BACKSCAL", "large")), ("[SPECTRUM]", "BACKSCAL", "large")),
    "with too few channels": (hdus(rows("SPECTRUM", slice(0, 440)), key("SPECTRUM", "DETCHANS", 440)), ("channel", "0 to 439")),
    "of type II": (hdus(renamed_column("SPECTRUM", "COUNTS", "SPEC_NUM")), ("[SPECTRUM]",)),
})  # fmt: skip
PN_EVENTS = _of("pn_events.fits", PN, {
    "missing": (gone, ("no such file",)),
    "cut short": (cut(0.5), ("[EVENTS]", "truncated")),
    "without events": (hdus(no_extension("EVENTS")), ("EVENTS",)),
    "without PI": (hdus(no_column("EVENTS", "PI")), ("[EVENTS]", "PI")),
    "without FLAG": (hdus(renamed_column("EVENTS", "FLAG", "FLAGS")), ("[EVENTS]", "FLAG")),
    "without good times": (hdus(no_extension("STDGTI")), ("STDGTI",)),
    "of no good time": (hdus(lambda made: made["STDGTI"].data["STOP"].__setitem__(slice(None), made["STDGTI"].data["START"])), ("[STDGTI]", "0 s")),
    "with a good time that stops first": (hdus(cell("STDGTI", "STOP", 2, 0.0)), ("[STDGTI]", "START", "row 2")),
    "with a good time that is nan": (hdus(cell("STDGTI", "START", 1, np.nan)), ("[STDGTI]", "START", "row 1")),
    "without the units of its WCS": (hdus(column_key("EVENTS", "TCUNI", "X")), ("[EVENTS]", "TCUNI")),
    "without a reference pixel": (hdus(column_key("EVENTS", "TCRPX", "Y")), ("[EVENTS]", "TCRPX")),
    "of no sky": (hdus(column_key("EVENTS", "TCTYP", "X", "DETX")), ("[EVENTS]", "TCTYP", "DETX")),
    "of pixels of no size": (hdus(column_key("EVENTS", "TCDLT", "X", 0.0)), ("[EVENTS]", "TCTYP")),
    "of an unknown frame": (hdus(key("EVENTS", "RADECSYS", "MARS")), ("[EVENTS]", "RADECSYS", "MARS")),
    "of no exposure": (hdus(key("EVENTS", "EXPOSURE", 0.0)), ("[EVENTS]", "EXPOSURE", "found 0")),
    "with EXPOSURE that is a text": (hdus(key("EVENTS", "EXPOSURE", "long")), ("[EVENTS]", "EXPOSURE", "long")),
    "of another telescope": (hdus(key("EVENTS", "TELESCOP", "CHANDRA")), ("[EVENTS]", "TELESCOP", "XMM", "CHANDRA")),
    "with a time that is nan": (hdus(cell("EVENTS", "PATTERN", 100, 0), cell("EVENTS", "TIME", 100, np.nan)), ("[EVENTS]", "TIME", "row 100")),
    "with rows too short for its columns": (swapped("TFORM1  = 'D       '", "TFORM1  = 'E       '"), ("[EVENTS]",)),
}) + _of("pn_events.fits", PN | NO_GRID, {
    "of no events": (hdus(rows("EVENTS", slice(0, 0))), ("[EVENTS]", "events")),
})  # fmt: skip
RESOLVE_EVENTS = _of("resolve.evt", RESOLVE, {
    "packed and cut short": (packed_and_cut, ()),
    "without PIXEL": (hdus(renamed_column("EVENTS", "PIXEL", "PIX")), ("[EVENTS]", "PIXEL")),
    "without ITYPE": (hdus(renamed_column("EVENTS", "ITYPE", "TYPE")), ("[EVENTS]", "ITYPE")),
    "of unknown pixels": (hdus(cell("EVENTS", "ITYPE", 9, 0), cell("EVENTS", "TIME", 9, 600.0), cell("EVENTS", "PIXEL", 9, 77)), ("[EVENTS]", "pixel", "77")),
    "of a mirrored detector": (hdus(lambda made: made["EVENTS"].data["X"].__imul__(-1), lambda made: made["EVENTS"].data["X"].__iadd__(2431)), ("[EVENTS]", "layout")),
    "of few events and no roll": (hdus(rows("EVENTS", slice(0, 40)), key("EVENTS", "PA_NOM")), ("PA_NOM",)),
    "of few events and a roll that is a text": (hdus(rows("EVENTS", slice(0, 40)), key("EVENTS", "PA_NOM", "up")), ("PA_NOM", "up")),
})  # fmt: skip
ACIS_EVENTS = _of("acis_evt2.fits", ACIS, {
    "without pi": (hdus(renamed_column("EVENTS", "pi", "energy")), ("[EVENTS]", "pi")),
    "without grades": (hdus(renamed_column("EVENTS", "grade", "fltgrade")), ("[EVENTS]", "grade")),
    "without good times": (hdus(no_extension("GTI")), ("GTI*",)),
    "of another camera": (hdus(key("EVENTS", "INSTRUME", "HRC")), ("[EVENTS]", "INSTRUME", "ACIS", "HRC")),
    "with vectors for pi": (swapped("TFORM4  = 'J       '", "TFORM4  = '2I      '"), ("[EVENTS]", "pi", "2I")),
})  # fmt: skip
PSF = _of("psf.fits", PN, {
    "cut short": (cut(0.7), ("truncated",)),
    "with a negative pixel": (hdus(pixel("PSF1.5", (20, 20), -1.0)), ("[PSF1.5]", "-1", "(20, 20)")),
    "with a pixel that is nan": (hdus(pixel("PSF3.5", (3, 4), np.nan)), ("[PSF3.5]", "nan", "(3, 4)")),
    "of zeros": (hdus(image("PSF1.5", lambda data: data * 0)), ("[PSF1.5]", "empty")),
    "without the size of its pixels": (hdus(key("PSF1.5", "CDELT1"), key("PSF3.5", "CDELT1")), ("[PSF1.5]", "CDELT1")),
    "without a unit of size": (hdus(everywhere(lambda e: key(e, "CUNIT1"), "PSF1.5", "PSF3.5"), everywhere(lambda e: key(e, "CUNIT2"), "PSF1.5", "PSF3.5")), ("[PSF1.5]", "CUNIT1")),
    "with pixels that are not square": (hdus(everywhere(lambda e: key(e, "CDELT2", 3.0), "PSF1.5", "PSF3.5")), ("[PSF1.5]", "square")),
    "without an energy": (hdus(key("PSF3.5", "ENERGY")), ("ENERGY",)),
    "with energies in eV": (hdus(key("PSF3.5", "ENERGY", 3500.0)), ("[PSF3.5]", "ENERGY", "3500")),
    "with images of two sizes": (hdus(image("PSF3.5", lambda data: data[:-1])), ("[PSF3.5]", "(40, 41)")),
    "with the same energy twice": (hdus(key("PSF3.5", "ENERGY", 1.5)), ("[PSF1.5]", "energies")),
})  # fmt: skip
MAP = _of("pn_expmap.fits", PN, {
    "with a pixel that is nan": (hdus(pixel("EXP1.5", (0, 7), np.nan)), ("[EXP1.5]", "nan", "(0, 7)")),
    "with negative exposure": (hdus(pixel("EXP3.5", (1, 2), -5.0)), ("[EXP3.5]", "-5", "(1, 2)")),
    "of zeros": (hdus(image("EXP1.5", lambda data: data * 0)), ("[EXP1.5]", "exposure")),
    "without a WCS": (hdus(*(everywhere(lambda e, k=k: key(e, k), "EXP1.5", "EXP3.5") for k in ("CTYPE1", "CTYPE2"))), ("[EXP1.5]", "CTYPE1")),
    "with an area in it": (hdus(everywhere(lambda e: key(e, "BUNIT", "cm2 s"), "EXP1.5", "EXP3.5")), ("cm2 s",)),
    "in keV": (hdus(everywhere(lambda e: key(e, "BUNIT", "keV"), "EXP1.5", "EXP3.5")), ("[EXP1.5]", "BUNIT", "keV")),
    "of another field": (hdus(everywhere(lambda e: key(e, "CRVAL1", 20.0), "EXP1.5", "EXP3.5")), ("exposure on the grid",)),
})  # fmt: skip
RATES = _of("rates.h5", with_key("resolve", background={"file": "rates.h5"}), {
    "missing": (gone, ()),
    "of another format": (content("rates"), ("HDF5",)),
    "without a spectrum": (rates(spectrum=None), ("spectrum",)),
    "with a negative rate": (rates(spectrum=np.array([1.0, -1.0])), ("spectrum",)),
    "with swapped energies": (rates(emin=20.0), ("emin",)),
})  # fmt: skip
CUBE = _of("pn_expmap.fits", with_key("resolve", background={"file": "pn_expmap.fits"}), {
    "as a cube of background, of another shape": (lambda path: None, ("[EXP1.5]", "(41, 41)")),
}) + _of("pn_expmap.fits", with_key("resolve", background={"preset": True, "map": "pn_expmap.fits"}), {
    "as a map of background, without a WCS": (hdus(*(everywhere(lambda e, k=k: key(e, k), "EXP1.5", "EXP3.5") for k in ("CTYPE1", "CTYPE2"))), ("[EXP1.5]", "CTYPE1")),
    "as a map of background, elsewhere": (hdus(everywhere(lambda e: key(e, "CRVAL1", 20.0), "EXP1.5", "EXP3.5")), ()),
})  # fmt: skip
REGION = _of("field.reg", with_key("pn", region="field.reg"), {
    "missing": (gone, ("No such file",)),
    "empty": (content(""), ()),
    "of no shape": (content("icrs\nblob(1, 2, 3)\n"), ("blob",)),
    "with a radius left out": (content("icrs\ncircle(350.8, 58.8)\n"), ()),
    "of another field": (content("icrs\ncircle(10, 10, 5\")\n"), ("region", "circle at 10 10")),
    "of points": (content("icrs\npoint(350.86, 58.81)\n"), ("region", "area")),
    "of bytes": (content(b"\xff\xfe\x00icrs"), ()),
    "in the format of CASA, cut short": (content("#CRTF\ncircle[[350.8deg, 58"), ()),
})  # fmt: skip
INSTRUMENT = _of("own.toml", with_key("resolve", instrument="own.toml"), {
    "missing": (gone, ("No such file",)),
    "of no TOML": (content("name = "), ("TOML",)),
    "with an unknown key": (swapped("band = ", "bond = 1\nband = "), ("bond",)),
    "without an area": (swapped("[area]", "[aera]"), ("area",)),
    "with an unknown key of its events": (swapped("pi_step", "pi_stop = 3\npi_step"), ("[events]", "pi_stop")),
    "with channels of no width": (swapped("pi_step = 0.5", "pi_step = 0.0"), ("[events]", "pi_step")),
    "with a pixel twice": (swapped("[14, 13,", "[14, 14,"), ("[detector]", "layout", "14")),
    "with a PSF of no kind": (swapped('kind = "king"', 'kind = "kong"'), ("[psf]", "kind", "kong")),
    "with a PSF of endless wings": (swapped("slope = [1.5]", "slope = [0.9]"), ("[psf]", "slope", "0.9")),
    "with a PSF that ends within the band": (swapped("core = [22.5]", "core = [22.5, -10.0]"), ("[psf]", "core")),
    "with energies out of order": (swapped("energy = [1.5, 1.6", "energy = [1.6, 1.5"), ("[area]", "energy")),
    "with a rule that is a number": (swapped("ITYPE = [0]", "ITYPE = 0"), ("[events.keep]", "ITYPE")),
})  # fmt: skip


def _plans() -> list[Broken]:
    """The plan itself: changed values, and changed text."""
    values = {
        "with an unknown key": (with_key("pn", evnts="a"), ("[dataset pn]", "evnts")),
        "with a number for a text": (with_key("pn", arf=3), ("[dataset pn]", "arf")),
        "without an RMF": (with_key("pn", rmf=None), ("[dataset pn]", "rmf")),
        "with an unknown instrument": (with_key("pn", instrument="nicer"), ("nicer", "epic-pn")),
        "with swapped energies": ({"grid": {"band": [2.6, 2.0]}}, ("[grid]", "band")),
        "with a step that does not fit": ({"grid": {"energy_step": 70.0}}, ("[grid]", "energy_step")),
        "with a centre and no size": ({"grid": {"size": None}}, ("[grid]", "size")),
        "with times that hold no good time": (with_key("pn", time=[[0, 1]]), ("[dataset pn]", "time")),
        "with times that stop first": (with_key("pn", time=[[5, 1]]), ("[dataset pn]", "time")),
        "with times of three": (with_key("pn", time=[[1, 2, 3]]), ("[dataset pn]", "time")),
        "with a rule that is a number": (with_key("pn", keep={"FLAG": 0}), ("[dataset pn]", "FLAG")),
        "with pixels of a CCD": (with_key("pn", exclude_pixels=[1]), ("[dataset pn]", "exclude_pixels")),
        "with pixels that are not there": (with_key("resolve", exclude_pixels=[99]), ("[dataset resolve]", "[99]")),
        "with two backgrounds": (with_key("pn", background={"preset": True, "region": "a"}), ("background]", "exactly one")),
        "with one name twice": ({"datasets": ("pn", "resolve"), "resolve": {"name": "pn"}}, ("name", "'pn' twice")),
        "with a folder for a name": (with_key("pn", name="a/b"), ("name", "a/b")),
        "with a detector off the grid": (with_key("resolve", array_center=[0, 0], array_roll=0), ("[dataset resolve]", "grid")),
    }  # fmt: skip
    texts = {
        "of no TOML": (swapped("[grid]", "[grid"), ("TOML",)),
        "of bytes": (content(b"\xff\xfe"), ("TOML",)),
        "without data sets": (swapped("[[dataset]]", "[[datasets]]"), ("dataset",)),
        "without a grid": (swapped("[grid]", "[field]"), ("grid",)),
    }
    changed = [
        Broken(f"plan {name}", "plan.toml", lambda path: None, words, plan) for name, (plan, words) in values.items()
    ]
    return changed + [Broken(f"plan {name}", "plan.toml", spoil, words, PN) for name, (spoil, words) in texts.items()]


INPUTS = [
    *ARF, *RMF, *SPECTRUM, *PN_EVENTS, *RESOLVE_EVENTS, *ACIS_EVENTS, *PSF, *MAP, *RATES, *CUBE, *REGION, *INSTRUMENT, *_plans(),
]  # fmt: skip
