import base64
import zlib

import numpy as np
import pytest

from hifred import Dataset, Response
from hifred.report.bands import continuum_band, find_line, known_lines, line_band, telling_pixel
from hifred.report.content import gather
from hifred.report.encode import BLANK, LEVELS, encode, encode_views
from hifred.report.frame import frame_of
from hifred.report.maps import residual_of
from hifred.report.views import view_of_cube, view_of_dataset


def test_an_even_sky_has_one_brightness_in_every_view(case):
    fused, datasets, _ = case()
    frame = frame_of(fused, datasets)
    even = np.full(fused.values.shape, 2e-9)
    true = view_of_cube("truth", "", "", even, frame)
    low, high = 0.645, 0.665
    for dataset in datasets:
        expected = Dataset(dataset.predict(even), dataset.response, dataset.background, name="x", grid=fused.grid)
        view = view_of_dataset("input-0", expected, "", frame)
        inner = view.image(low, high)[3:6, 3:9]
        np.testing.assert_allclose(inner, true.image(low, high)[3:6, 3:9], rtol=0.01)


def test_the_image_of_a_cube_is_its_flux_and_bins_count_in_part(case):
    fused, datasets, _ = case()
    frame = frame_of(fused, datasets)
    view = view_of_cube("fused", "", "", fused.values, frame)
    np.testing.assert_allclose(view.image(*frame.edges[[10, 20]]), fused.values[10:20].sum(0), rtol=1e-5)
    half = 0.5 * (frame.edges[10] + frame.edges[11])
    np.testing.assert_allclose(view.image(frame.edges[10], half), 0.5 * fused.values[10], rtol=1e-5)
    assert np.isnan(view.image(1.0, 1.1)).all()


def test_masked_bins_are_left_out_and_a_masked_pixel_is_blank(case):
    mask = np.ones((72, 3, 4), bool)
    mask[:, 1, 2] = False
    mask[::2, 0, 0] = False
    fused, datasets, _ = case(masks=(None, mask))
    whole = gather(*case()).views[1].image(0.63, 0.68)
    image = gather(fused, datasets).views[1].image(0.63, 0.68)
    assert np.isnan(image[3:6, 6:9]).all()
    assert np.isfinite(image).sum() == image.size - 9
    assert image[0, 0] == pytest.approx(whole[0, 0], rel=0.3)


def test_a_coarser_view_keeps_the_flux(case):
    fused, datasets, _ = case()
    view = gather(fused, datasets).views[-1]
    np.testing.assert_allclose(view.coarser(5).image(0.6, 0.7), view.image(0.6, 0.7), rtol=1e-4)


def test_channels_of_a_matrix_lie_where_it_is_most_sensitive():
    edges = np.linspace(1.0, 2.0, 201)
    middle = 0.5 * (edges[1:] + edges[:-1])
    nominal = np.linspace(1.0, 2.0, 41)
    rows = np.exp(-0.5 * ((0.5 * (nominal[1:] + nominal[:-1])[:, None] - middle) / 0.04) ** 2)
    response = Response.from_kernels((200, 2, 2), lsf=rows)
    np.testing.assert_allclose(response.recipe.channel_edges(edges), nominal, atol=0.003)


def test_what_the_page_opens_with(case):
    fused, datasets, _ = case()
    frame = frame_of(fused, datasets)
    line = find_line(frame, fused.values, None)
    assert line is not None
    assert line.name == "O VIII"
    band = line_band(frame, fused.values, line)
    assert band.low < line.rest < band.high
    result = view_of_cube("fused", "", "", fused.values, frame)
    continuum = continuum_band([result], result, band)
    assert continuum.high < 0.645 or continuum.low > 0.662
    assert [known.label for known in known_lines(frame, line, band)] == ["O VIII"]
    y, x = telling_pixel(fused.values)
    assert fused.values.sum(0)[y, x] > 0.4 * fused.values.sum(0).max()


def test_a_redshifted_line_is_found_and_an_unknown_one_is_refused(case):
    fused, datasets, _ = case()
    frame = frame_of(fused, datasets)
    line = find_line(frame, fused.values, 0.6615)
    assert line is not None
    assert line.centre == pytest.approx(0.654, abs=0.002)
    assert line.redshift == pytest.approx(0.0115, abs=0.003)
    with pytest.raises(ValueError, match="lines"):
        find_line(frame, fused.values, "Unobtainium")
    with pytest.raises(ValueError, match="keV"):
        find_line(frame, fused.values, "Fe XXV")


def test_residuals_are_standard_deviations_of_sums(case):
    fused, datasets, truth = case(masks=(np.random.default_rng(1).uniform(size=(18, 9, 12)) > 0.2, None))
    frame = frame_of(fused, datasets)
    for dataset in datasets:
        predicted = dataset.predict(truth)
        residual = residual_of(dataset, predicted, frame)
        n, mu = (np.where(dataset.mask, a, 0).astype(float) for a in (dataset.counts, predicted))
        expected = ((n - mu).sum(0) / np.sqrt(mu.sum(0))).ravel()
        assert set(np.round(residual.sky.ravel(), 4)) == set(np.round(expected, 4))
        assert 0.5 < np.nanstd(residual.spectrum) < 1.6
    assert np.std(residual_of(datasets[0], datasets[0].predict(truth), frame).sky) == pytest.approx(1, abs=0.3)


def decode(entry):
    steps = np.frombuffer(zlib.decompress(base64.b64decode(entry["codes"])), np.uint8).reshape(2, -1)
    steps = (steps[0] | (steps[1].astype(np.uint16) << 8)).view(np.int16).reshape(entry["pixels"], entry["bins"])
    codes = np.cumsum(steps, axis=1, dtype=np.int16).astype(float)
    peaks = np.frombuffer(zlib.decompress(base64.b64decode(entry["peaks"])), "<f4")
    values = np.sign(codes) * (codes / LEVELS) ** 2 * peaks[:, None]
    return np.where(codes == BLANK, np.nan, values).T


def test_codes_keep_the_values(case):
    fused, datasets, _ = case()
    view = gather(fused, datasets).views[-1]
    view.density[5, 2, 3] = np.nan
    view.density[6, 2, 3] *= -1
    back = decode(encode(view)).reshape(view.density.shape)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(view.density))
    size, peak = np.abs(view.density), np.nanmax(np.abs(view.density), axis=0)
    assert np.nanmax(np.abs(back - view.density) / np.sqrt(size * peak + 1e-30)) < 3e-4


def test_cubes_are_made_coarser_until_they_fit(case):
    views = gather(*case()).views
    full = encode_views(views)
    assert [entry["bins"] for entry in full] == [view.density.shape[0] for view in views]
    budget = sum(len(entry["codes"]) for entry in full) // 3
    small = encode_views(views, budget)
    assert sum(len(entry["codes"]) for entry in small) <= budget
    assert any(few["bins"] < all_["bins"] for few, all_ in zip(small, full, strict=True))
