"""A commented plan to start from, made for the event lists at hand."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from hifred.data.hdu_scan import Extension, scan
from hifred.fitsio import FileError, replacing, require_writable
from hifred.instruments.presets import Instrument, instrument, instrument_names

_HEAD = """\
# A plan for `hifred reduce`: event lists and calibration become data sets on one sky grid, for `hifred fuse`.
# Paths are relative to this file. Lines that start with "#" are options with their defaults, or examples.

# "embedded": each data set file holds its response. "reference": it holds the names and checksums of the files below.
# response = "embedded"

[grid]
band = [{low:g}, {high:g}]         # true energies of the fused cube, keV
energy_step = {step:g}          # eV
pixel_size = {pixel:g}           # arcsec
# Without center and size, the grid covers what all instruments see, and `reach` arcsec beyond.
# center = [350.866, 58.812]  # right ascension and declination, degrees
# size = [60, 60]             # pixels along x and y
# rotation = 0.0              # position angle of the y axis, degrees east of north
# reach = 78.0                # by default the half-power diameter of the widest PSF
"""

_DATASET = """
[[dataset]]
name = "{name}"
instrument = "{instrument}"   # {description}
events = {events}
rmf = "{stem}.rmf"
arf = "{stem}.arf"
# psf = "psf.fits"            # image of a point source; by default the instrument's model
# exposure_map = "expmap.fits"  # s, with vignetting; by default all of the grid is seen for the same time
# arf_holds_psf = {holds}       # whether the ARF leaves out photons that miss the detector
# psf_reach = 120.0           # arcsec to which the PSF is followed; by default over the whole grid
# band = [{low:.4g}, {high:.4g}]      # channels used, keV; by default the grid's band less one FWHM at each end
# channel_width = {width:.3g}        # eV; by default a sixth of the FWHM
# time = [[0.0, 1.0]]         # intervals used, s
# region = "field.reg"        # sky to use: a region file, or DS9 text like "icrs; circle(350.87, 58.81, 0.04)"
# mask = "sources.reg"        # sky to leave out
{extra}# [dataset.keep]              # rules for columns, in place of the instrument's own
# {keep}
# [dataset.background]        # one of:
# preset = true               # the instrument's typical rate
# file = "background.pha"     # a spectrum (PHA; `area_ratio` scales it), rates (.h5), or a cube of expected counts
# region = "empty.reg"        # a part of the field without sources
"""

_ARRAY = """\
# exclude_pixels = [27]       # detector pixels to leave out
# array_center = [350.866, 58.812]  # place of the detector on the sky; by default measured from the events
# array_roll = 80.0           # degrees
"""


# Energy steps, eV: all go into a band whose ends are multiples of 0.1 keV.
_STEPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def template(events: Sequence[str | os.PathLike] = (), folder: str | os.PathLike = ".") -> str:
    """Text of a plan, as TOML.

    Parameters
    ----------
    events : sequence of path
        Event lists; each becomes a data set, its instrument found by TELESCOP and INSTRUME. Without any, XMM-Newton
        EPIC pn and XRISM Resolve with made-up file names.
    folder : path
        Where the plan will lie; paths of events are given from there.

    Returns
    -------
    str

    Raises
    ------
    FileError
        If a file is no event list of a known instrument.
    """
    if events:
        found = [(recognised(path), os.path.relpath(path, folder)) for path in events]
    else:
        found = [(instrument("epic-pn"), "pn_events.fits"), (instrument("xrism-resolve"), "resolve_cl.evt")]
    presets = [preset for preset, _ in found]
    low = max(preset.band[0] for preset in presets)
    high = min(preset.band[1] for preset in presets)
    if not low < high:
        low, high = presets[0].band
    sharpest = min(float(preset.fwhm(0.5 * (low + high))) for preset in presets)
    step = max((step for step in _STEPS if step <= 1e3 * sharpest / 4), default=_STEPS[0])
    text = _HEAD.format(low=low, high=high, step=step, pixel=5.0)
    names: list[str] = []
    for preset, path in found:
        name = preset.name if preset.name not in names else f"{preset.name}-{names.count(preset.name) + 1}"
        names.append(preset.name)
        width = float(preset.fwhm(0.5 * (low + high)))
        rule = next(((key, value) for key, value in preset.events.keep.items()), ("GRADE", [0]))
        text += _DATASET.format(
            name=name, instrument=preset.name, description=preset.description, events=_quoted(path), stem=name,
            holds=str(preset.detector is not None).lower(), low=low + width, high=high - width,
            width=1e3 * width / 6, extra="" if preset.detector is None else _ARRAY,
            keep=f"{rule[0]} = {_plain(rule[1])}",
        )  # fmt: skip
    return text


def _quoted(path: str) -> str:
    """A path as a text of TOML, which has the escapes of JSON."""
    return json.dumps(path.replace(os.sep, "/"), ensure_ascii=False)


def init(
    events: Sequence[str | os.PathLike] = (), path: str | os.PathLike = "reduce.toml", *, overwrite: bool = False
) -> Path:
    """Write a commented plan for `hifred.reduce`.

    Parameters
    ----------
    events : sequence of path
        Event lists to plan for; see `template`.
    path : path
        File to write.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileError
        If it exists or cannot be written there, or a file is no event list of a known instrument.
    """
    path = require_writable(path, overwrite=overwrite)
    text = template(events, path.parent)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def recognised(path: str | os.PathLike) -> Instrument:
    """The preset of the instrument that an event list comes from.

    Raises
    ------
    FileError
        If the file has no event list, or one of an instrument without a preset.
    """
    extensions = scan(Path(path), lambda name: False)
    telescope, instrume = (_first(extensions, key) for key in ("TELESCOP", "INSTRUME"))
    presets = [instrument(name) for name in instrument_names()]
    fitting = [
        preset
        for preset in presets
        if preset.telescope.upper() == telescope.upper()
        and instrume.upper() in {name.upper() for name in preset.instrume}
    ]
    if not fitting:
        known = ", ".join(f"{preset.telescope} {'/'.join(preset.instrume)}" for preset in presets)
        raise FileError(f"{path}: expected TELESCOP and INSTRUME of {known}, found {telescope!r} {instrume!r}")
    table = fitting[0].events.extension
    if table.upper() not in {part.name for part in extensions[1:]}:
        names = ", ".join(part.label for part in extensions)
        raise FileError(f"{path}: expected an extension {table} with an event list, found only {names}")
    return fitting[0]


def _first(extensions: Sequence[Extension], keyword: str) -> str:
    return next((text for part in extensions if (text := part.keywords.text(keyword, ""))), "")


def _plain(rule) -> str:
    return str([list(item) if isinstance(item, list | tuple) else item for item in rule])
