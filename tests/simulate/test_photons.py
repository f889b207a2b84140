"""Single photons against the responses that `hifred.reduce` makes: two roads that share no code."""

from dataclasses import replace

import numpy as np
import pytest

from hifred.data.calibrate import KERNEL_ERROR
from hifred.data.events import EventFile
from hifred.data.reduce import reduce
from hifred.grid import CubeGrid
from hifred.instruments import EffectiveArea, Redistribution, instrument
from hifred.simulate import Telescope, observe, write_observations
from hifred.simulate.focal import ArrayField, field_of


def assert_fits(found, expected, sigma=4.0):
    """Chi-square within some standard deviations of its mean, and no single bin far off."""
    pull = (found - expected)[expected > 10] / np.sqrt(expected[expected > 10])
    assert pull.size > 5
    assert abs((pull**2).sum() - pull.size) < sigma * np.sqrt(2 * pull.size)
    assert np.abs(pull).max() < 5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("epic-pn", {}),
        ("epic-pn", {"center": (350.9, 58.85)}),
        ("xrism-resolve", {"roll": 37.0, "center": (350.806, 58.804)}),
    ],
)
def test_counts_close_with_the_response(visit, telescope, name, changes):
    made = visit(1e6, telescope(name, **changes), seed=4)
    (data,) = made.datasets()
    expected = data.predict(made.truth.values).astype(float) * data.mask
    counts = data.counts.astype(float) * data.mask
    total = expected.sum()
    assert total > 4e5
    # Kernels are interpolated off the axis: over 12 seeds the total is high by 0.1%, within what is stated.
    assert abs(counts.sum() - total) < 4 * np.sqrt(total) + 0.25 * KERNEL_ERROR * total
    assert_fits(counts.sum((1, 2)) * total / counts.sum(), expected.sum((1, 2)))
    assert_fits(counts.sum(0), expected.sum(0))
    value, (mean, variance) = data.cstat(made.truth.values), data.expected_cstat(made.truth.values)
    assert abs(value - mean) < 4 * np.sqrt(variance)


def test_a_wrong_roll_would_be_seen(visit, telescope):
    # Two degrees move the middle of an outer pixel by 3 arcsec, a tenth of its side.
    made = visit(1e6, "xrism-resolve", seed=4)
    (data,) = made.datasets()
    turned = telescope("xrism-resolve", roll=made.telescopes[0].roll + 2)
    wrong = visit(1e6, turned).datasets()[0].predict(made.truth.values).astype(float).sum(0)
    with pytest.raises(AssertionError):
        assert_fits(data.counts.sum(0) * data.mask.any(0), wrong * data.mask.any(0))


def test_event_lists_come_back_through_the_readers(visit, tmp_path):
    made = visit(3e4, "epic-pn", "xrism-resolve", seed=7)
    files = write_observations(made, tmp_path)
    assert [file.name for file in files] == [
        "pn_events.fits", "resolve_cl.evt", "epic-pn.rmf", "epic-pn.arf", "xrism-resolve.rmf", "xrism-resolve.arf",
        "reduce.toml",
    ]  # fmt: skip
    for index, (tool, file) in enumerate(zip(made.telescopes, files, strict=False), 1):
        photons = observe(made.truth.values, made.truth.grid, tool, (7, index))
        read = EventFile(file, tool.instrument.events)
        (events,) = read.pieces()
        assert (read.telescope, read.instrume) == (tool.instrument.telescope, tool.instrument.instrume[0])
        assert read.exposure == pytest.approx(150e3)
        assert len(events) == len(photons) == read.rows
        assert (np.diff(events.time) >= 0).all()
        assert (np.sort(events.channel) == np.sort(photons.channel)).all()
        at = read.wcs.pixel_to_world_values(events.x - 1, events.y - 1)
        # Positions are rounded to sky pixels: 0.9 arcsec of Resolve at most.
        assert np.sort(at[1]) == pytest.approx(np.sort(photons.dec), abs=0.9 / 3600)
        if photons.pixel is None:
            assert events.pixel is None
        else:
            assert (np.bincount(events.pixel) == np.bincount(photons.pixel)).all()
            assert 12 not in events.pixel
            assert len(np.unique(events.pixel)) == 35


def test_the_plan_is_the_grid_of_the_truth(visit, tmp_path):
    made = visit(3e4, "epic-pn", "xrism-resolve")
    write_observations(made, tmp_path)
    for data in reduce(tmp_path / "reduce.toml"):
        data.grid.require_same(made.truth.grid, ("plan", "truth"))
        assert data.grid.rotation == made.truth.grid.rotation
        bounds = data.response.recipe.channel_bounds
        fwhm = instrument(data.name).fwhm(6.4)
        assert bounds[0] < 6.4 - 2 * fwhm
        assert bounds[-1] > 6.46 + 2 * fwhm
        assert data.background.sum() > 0


def test_background_is_that_of_the_preset(small_truth, telescope):
    dark = np.zeros(small_truth.grid.shape)
    for name in ("epic-pn", "xrism-resolve"):
        tool = telescope(name, exposure=1e7)
        found = observe(dark, small_truth.grid, tool, 3)
        rates = tool.instrument.background
        field = field_of(small_truth.grid, tool)
        expected = np.trapezoid(rates.rates, rates.energies) * 1e7 * (field.area if rates.per_arcmin2 else 1)
        assert len(found) == pytest.approx(expected, abs=4 * np.sqrt(expected) + 1)
        energy = tool.instrument.events.energy(found.channel)
        shape = np.interp(energy, rates.energies, rates.rates)
        assert np.average(energy, weights=1 / shape) == pytest.approx(np.mean(rates.energies[[0, -1]]), rel=0.02)
        assert len(observe(dark, small_truth.grid, tool, 3, background=False)) == 0


def test_an_array_puts_events_in_the_pixel_they_are_of(small_truth, telescope):
    grid, tool = small_truth.grid, telescope("xrism-resolve", roll=123.0, center=(350.81, 58.79))
    photons = observe(small_truth.values * 1e-5, grid, tool, 1)
    placed = tool.instrument.detector.on_sky(tool.pointing(grid), tool.roll)
    corners = placed.corners(grid.wcs)
    x, y = grid.wcs.wcs_world2pix(photons.ra, photons.dec, 0)
    layout = tool.instrument.detector.layout.ravel()
    order = np.argsort(layout)
    mine = corners[order[np.searchsorted(layout[order], photons.pixel)]]
    edge = np.roll(mine, -1, axis=1) - mine
    cross = edge[..., 0] * (y[:, None] - mine[..., 1]) - edge[..., 1] * (x[:, None] - mine[..., 0])
    assert len(photons) > 100
    assert ((cross > -1e-6).all(1) | (cross < 1e-6).all(1)).all()


def test_the_same_seed_gives_the_same_photons(small_truth, telescope, monkeypatch):
    tool = telescope("epic-pn", exposure=1.0)
    same, again, other = (observe(small_truth.values, small_truth.grid, tool, seed) for seed in (1, 1, 2))
    assert (same.channel == again.channel).all()
    assert (same.ra == again.ra).all()
    assert len(other) != len(same) or (other.ra != same.ra).any()
    # Drawn in pieces, they are others, and as many.
    monkeypatch.setattr("hifred.simulate.photons.PIECE", 2000)
    pieces = observe(small_truth.values, small_truth.grid, tool, 1)
    assert len(pieces) == pytest.approx(len(same), abs=6 * np.sqrt(len(same)))
    assert pieces.channel.mean() == pytest.approx(same.channel.mean(), abs=6 * same.channel.std() / len(same) ** 0.5)


def test_what_does_not_fit_is_refused(small_truth, telescope):
    tool = telescope("epic-pn")
    with pytest.raises(ValueError, match=r"cube: expected the shape \(60, 24, 26\)"):
        observe(small_truth.values[1:], small_truth.grid, tool, 0)
    nowhere = CubeGrid(small_truth.grid.energy_edges, (24, 26), 10.0)
    with pytest.raises(ValueError, match="grid: expected one with a centre"):
        observe(small_truth.values, nowhere, tool, 0)
    silent = replace(tool, instrument=replace(tool.instrument, background=None))
    with pytest.raises(ValueError, match="expected a preset with a background, found epic-pn"):
        observe(small_truth.values, small_truth.grid, silent, 0)


@pytest.mark.parametrize(
    ("name", "rmf", "arf"),
    [
        ("epic-pn", "xmm_epic_pn.rmf.gz", "xmm_epic_pn.arf.gz"),
        ("xrism-resolve", "hitomi_sxs.rmf.gz", "xrism_resolve_gate_valve_closed.arf.gz"),
    ],
)
def test_real_calibration_closes_too(visit, shared_data, name, rmf, arf):
    area = EffectiveArea.read(shared_data(f"responses/{arf}"))
    spread = Redistribution.read(shared_data(f"responses/{rmf}"))
    made = visit(3e5, Telescope(instrument(name), area, spread, 1e5, roll=80.0))
    assert made.files == ("pn_events.fits" if name == "epic-pn" else "resolve_cl.evt", "reduce.toml")
    (data,) = made.datasets()
    expected = data.predict(made.truth.values).astype(float) * data.mask
    counts = data.counts.astype(float) * data.mask
    assert abs(counts.sum() - expected.sum()) < 4 * np.sqrt(expected.sum())
    assert_fits(counts.sum((1, 2)), expected.sum((1, 2)))
    assert_fits(counts.sum(0), expected.sum(0))


def test_an_array_is_where_it_is_told(small_truth, telescope):
    field = field_of(small_truth.grid, telescope("xrism-resolve"))
    assert isinstance(field, ArrayField)
    assert field.area == pytest.approx(35 * (30.645 / 60) ** 2)
