"""Derive the tables of plasma and absorption that ship with the package from full APEC and TBabs ones.

    python scripts/derive_plasma_table.py APEC.npz XSECT.fits [FOLDER]

APEC.npz is AtomDB/APEC 3.0.9 (https://www.atomdb.org) in collisional equilibrium with the abundances of
Anders & Grevesse (1989, GeCoA 53, 197) folded in: a list of lines and a continuum per element, on a grid of
temperatures. XSECT.fits is the interstellar cross-section of Wilms, Allen & McCray (2000, ApJ 542, 914) in
1e-22 cm2 per hydrogen atom.

What is kept: the temperatures between `KT_RANGE`; for each temperature, element and energy band the strongest
lines, down to a fraction `LOST` of the flux; the continuum on a coarser grid. Lines that are dropped go into
the continuum of their element, so the photons of a band stay. The result is the same to the last byte for the
same inputs and the same numpy.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

KT_RANGE = (0.2, 11.0)  # keV
LINE_RANGE = (0.28, 10.4)  # keV: 0.3 to 10 keV and room for Doppler shifts
BANDS = np.geomspace(*LINE_RANGE, 61)  # keV
LOST = 0.003  # fraction of an element's line flux in a band that may go to its continuum
FAINT = 1e-5  # an element's lines in a band are all dropped below this fraction of the band's solar flux
# Atomic numbers of the elements with an abundance of their own; 1 takes H, He and the trace elements.
GROUPS = np.array([1, 6, 7, 8, 10, 12, 14, 16, 18, 20, 26, 28])
# keV: 5 eV where APEC has crowds of faint lines (Fe L and below, Fe K), 20 eV elsewhere.
CONTINUUM_EDGES = np.concatenate([0.28 + 0.005 * np.arange(244), 1.5 + 0.02 * np.arange(240)])
CONTINUUM_EDGES = np.concatenate([CONTINUUM_EDGES, 6.3 + 0.005 * np.arange(160), 7.1 + 0.02 * np.arange(166)])
SOURCE = "AtomDB/APEC 3.0.9, collisional equilibrium, abundances of Anders & Grevesse 1989"
ABSORPTION_SOURCE = "TBabs with the abundances of Wilms, Allen & McCray 2000, ApJ 542, 914"


def group_index(atomic_number):
    """Index into GROUPS; elements without a group of their own go with hydrogen."""
    position = np.searchsorted(GROUPS, atomic_number)
    found = np.take(GROUPS, position, mode="clip") == atomic_number
    return np.where(found, position, 0)


def histogram_continuum(energy, density):
    """Photons per CONTINUUM_EDGES bin from a density sampled at `energy`, piecewise linear in between."""
    step = np.diff(energy)
    cumulative = np.concatenate([[0.0], np.cumsum(step * (density[1:] + density[:-1]) / 2)])
    return np.diff(np.interp(CONTINUUM_EDGES, energy, cumulative))


def choose_lines(energy, emissivity, group, continuum):
    """Boolean mask of the lines to keep at one temperature."""
    keep = np.zeros(len(energy), bool)
    band = np.digitize(energy, BANDS) - 1
    centres = (CONTINUUM_EDGES[1:] + CONTINUUM_EDGES[:-1]) / 2
    for b in range(len(BANDS) - 1):
        here = np.flatnonzero(band == b)
        inside = (centres >= BANDS[b]) & (centres < BANDS[b + 1])
        total = emissivity[here].sum() + continuum[:, inside].sum()
        for g in range(len(GROUPS)):
            mine = here[group[here] == g]
            flux = emissivity[mine]
            if flux.sum() <= FAINT * total:
                continue
            order = np.argsort(-flux, kind="stable")
            number = np.searchsorted(np.cumsum(flux[order]), (1 - LOST) * flux.sum()) + 1
            keep[mine[order[:number]]] = True
    return keep


def shorten(values, bits):
    """Round float32 to `bits` of mantissa, so that the file compresses."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent).astype(np.float32)


def derive(apec):
    """Return the arrays of the shipped plasma table; see `hifred.simulate.plasma.Plasma` for their meaning."""
    all_kT = apec["kT_kev"].astype(np.float64)
    nodes = np.flatnonzero((all_kT >= KT_RANGE[0]) & (all_kT <= KT_RANGE[1]))
    in_range = (apec["line_energy_kev"] > LINE_RANGE[0]) & (apec["line_energy_kev"] < LINE_RANGE[1])
    continuum_group = group_index(apec["continuum_element"])
    lines, continuum, start = [], np.zeros((len(nodes), len(GROUPS), len(CONTINUUM_EDGES) - 1)), [0]
    continuum_energy = apec["continuum_energy_kev"].astype(np.float64)
    for i, node in enumerate(nodes):
        densities = apec["continuum_emissivity"][node].astype(np.float64)
        for group, density in zip(continuum_group, densities, strict=True):
            continuum[i, group] += histogram_continuum(continuum_energy, density)
        mine = np.flatnonzero(in_range & (apec["line_temperature"] == node))
        energy, flux = (apec[k][mine].astype(np.float64) for k in ("line_energy_kev", "line_emissivity"))
        number = apec["line_element"][mine]
        keep = choose_lines(energy, flux, group_index(number), continuum[i])
        where = np.digitize(energy[~keep], CONTINUUM_EDGES) - 1
        np.add.at(continuum[i], (group_index(number[~keep]), where), flux[~keep])
        order = np.flatnonzero(keep)[np.argsort(energy[keep], kind="stable")]
        lines.append((energy[order], number[order], flux[order]))
        start.append(start[-1] + len(order))
    energy, number, flux = (np.concatenate(part) for part in zip(*lines, strict=True))
    return {
        "temperatures": all_kT[nodes],
        "group_number": GROUPS.astype(np.uint8),
        "line_start": np.array(start, np.int32),
        "line_energy": energy.astype(np.float32),
        "line_number": number.astype(np.uint8),
        "line_emissivity": shorten(flux, 14),
        "continuum_edges": CONTINUUM_EDGES,
        "continuum_emissivity": shorten(continuum, 13),
        "source": np.array(SOURCE),
    }


def absorption(cross_section):
    """Return the arrays of the shipped cross-section; see `hifred.absorption`."""
    wanted = (cross_section["ENERGY"] > 0.25) & (cross_section["ENERGY"] < 11)
    return {
        "energy": cross_section["ENERGY"][wanted].astype(np.float32),
        "cross_section": cross_section["SIGMA"][wanted].astype(np.float32),
        "source": np.array(ABSORPTION_SOURCE),
    }


def main(arguments):
    """Read the two inputs, write the tables, print their sizes."""
    if len(arguments) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(arguments[2]) if len(arguments) == 3 else Path(__file__).parents[1] / "src/hifred"
    with np.load(arguments[0]) as apec, fits.open(arguments[1]) as cross_section:
        tables = {
            "simulate/data/plasma.npz": derive({name: apec[name] for name in apec}),
            "absorption.npz": absorption(cross_section[1].data),
        }
    for name, table in tables.items():
        output = folder / name
        output.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(output, **table)
        print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
