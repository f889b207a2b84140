"""Maps of what the gas is like, weighted by the light it sends."""

import numpy as np

from hifred.absorption import transmission
from hifred.simulate.plasma import ELEMENTS, Plasma
from hifred.simulate.projection import require_column, sky_shape


def weighted_maps(gases, energy_edges, cells_per_pixel, plasma=None, column_density: float | np.ndarray = 0.0):
    """Mean velocity, temperature and abundances of each line of sight.

    `sum_cells w q / sum_cells w`, with the weight `w` the photons that the cell sends in the band after
    absorption.

    Parameters
    ----------
    gases : sequence of Gas
        All the gas in the box.
    energy_edges, cells_per_pixel, plasma, column_density
        As in `hifred.simulate.projection.project`.

    Returns
    -------
    dict
        `"velocity"` and `"velocity_spread"` (km/s), `"temperature"` (keV), each a (y, x) array, and
        `"abundances"`, a dict of (y, x) arrays by element, relative to solar. Where nothing shines the value
        is nan.
    """
    plasma = Plasma.load() if plasma is None else plasma
    edges = np.asarray(energy_edges, dtype=np.float64)
    pixels = sky_shape(gases[0], cells_per_pixel)
    column = require_column(column_density, pixels)
    band = _band_emissivity(plasma, edges, column)
    # The absorber that a cell is behind: one for all, or that of its pixel.
    absorber = np.arange(column.size).reshape(column.shape or (1, 1))
    absorber = absorber.repeat(cells_per_pixel, 0).repeat(cells_per_pixel, 1) if column.ndim else absorber
    sums = dict.fromkeys(("weight", "velocity", "square", "temperature", *ELEMENTS[1:]), 0.0)
    for gas in gases:
        lower, above = plasma.temperature_weights(
            np.clip(gas.temperature, plasma.temperatures[0], plasma.temperatures[-1])
        )
        elements = {element: np.asarray(gas.abundances.get(element, 1.0)) for element in ELEMENTS}
        light = sum(
            a * (band[lower, i, absorber] * (1 - above) + band[lower + 1, i, absorber] * above)
            for i, a in enumerate(elements.values())
        )
        light = light * gas.emission_measure
        shape = (len(light), *np.ravel([(n, cells_per_pixel) for n in sky_shape(gas, cells_per_pixel)]))

        def on_sky(values, shape=shape):
            return values.reshape(shape).sum(axis=(0, 2, 4))

        square = gas.velocity**2 + gas.broadening**2
        quantities = {
            "weight": 1.0,
            "velocity": gas.velocity,
            "square": square,
            "temperature": gas.temperature,
            **elements,
        }
        for name in sums:
            sums[name] = sums[name] + on_sky(light * quantities[name])
    with np.errstate(invalid="ignore", divide="ignore"):
        maps = {name: np.where(sums["weight"] > 0, total / sums["weight"], np.nan) for name, total in sums.items()}
    spread = np.sqrt(np.maximum(maps["square"] - maps["velocity"] ** 2, 0))
    abundances = {element: maps[element] for element in ELEMENTS[1:]}
    return {
        "velocity": maps["velocity"],
        "velocity_spread": spread,
        "temperature": maps["temperature"],
        "abundances": abundances,
    }


def _band_emissivity(plasma, edges, column):
    """Photon cm3 / s in the band behind each absorber, (temperature, element, absorber)."""
    coarse = np.linspace(edges[0], edges[-1], 201)
    passed = transmission((coarse[1:] + coarse[:-1]) / 2, column)
    passed = passed.reshape(len(passed), -1) if column.ndim else passed
    band = np.stack([plasma.element_spectra(coarse, row) @ passed for row in range(len(plasma.temperatures))])
    return band.reshape(*band.shape[:2], -1)
