import time

import numpy as np
import pytest

from hifred.report import write_report
from hifred.report.content import gather
from hifred.report.page import render

SQUARE = "Bokeh.index.roots.find((view) => view.model.name === '{}').frame.bbox"
PIXEL = (6, 3)


@pytest.fixture(scope="module")
def page(case, tmp_path_factory, browser_class):
    fused, datasets, truth = case()
    path = write_report(tmp_path_factory.mktemp("browser") / "report.html", fused, datasets, truth)
    with browser_class(1400, 900) as browser:
        browser.open(path)
        yield browser, gather(fused, datasets, truth), path


def data(browser, name, column):
    values = browser.evaluate(f"Array.from(window.hifred.model('{name}').data.{column}, Number)")
    return np.array([np.nan if value is None else value for value in values])


def image(browser, name):
    values = browser.evaluate(f"Array.from(window.hifred.model('{name}-source').data.image[0])")
    return np.array([np.nan if value is None else value for value in values])


def box(browser, selector, number=0):
    rectangle = browser.evaluate(
        f"(() => {{ const found = document.querySelectorAll(`{selector}`)[{number}];"
        "found.scrollIntoView({block: 'center'}); return found.getBoundingClientRect().toJSON(); })()"
    )
    return rectangle["left"], rectangle["top"], rectangle["width"], rectangle["height"]


def press(browser, selector):
    left, top, width, height = box(browser, selector)
    place = left + width / 2, top + height / 2
    browser.drag(place, place)


def drag_over_spectrum(browser, low, high):
    """Drag from one energy to another in the lower spectrum."""
    left, top, *_ = box(browser, ".whole .plot")
    frame = browser.evaluate(f"(({SQUARE.format('whole')}).box)")
    start, end = (browser.evaluate(f"window.hifred.model('whole-x').{name}") for name in ("start", "end"))
    places = [left + frame["x"] + (e - start) / (end - start) * frame["width"] for e in (low, high)]
    y = top + frame["y"] + 0.5 * frame["height"]
    before = browser.evaluate("JSON.stringify(window.hifred.page.bands)")
    browser.drag((places[0], y), (places[1], y))
    browser.wait(f"JSON.stringify(window.hifred.page.bands) !== `{before}`", 5)


def test_the_page_opens_without_complaint_or_network(page):
    browser, content, path = page
    assert browser.messages == []
    assert {url for url in browser.requests if not url.startswith("data:")} == {path.resolve().as_uri()}
    for view in content.views:
        shown = data(browser, f"spectrum-{view.key}", "y")
        np.testing.assert_allclose(shown, np.repeat(view.spectrum(*content.pixel), 2), rtol=1e-6)


@pytest.mark.parametrize("width", [1400, 800])
def test_images_are_square_and_of_one_size(page, width):
    browser, content, _ = page
    browser.size(width, 900)
    time.sleep(0.5)
    names = [f"image-{band}-{view.key}" for band in (0, 1) for view in content.views]
    sizes = [browser.evaluate(f"[({SQUARE.format(name)}).width, ({SQUARE.format(name)}).height]") for name in names]
    overhang = browser.evaluate("document.documentElement.scrollWidth") - width
    browser.size(1400, 900)
    assert np.ptp(sizes) <= 2
    assert np.min(sizes) > 100
    assert overhang <= 0


def test_a_click_on_an_image_shows_that_pixel(page):
    browser, content, _ = page
    before = data(browser, "spectrum-fused", "y")
    left, top, *_ = box(browser, ".images .square", len(content.views) + 1)
    frame = browser.evaluate(f"({SQUARE.format('image-1-' + content.views[1].key)}).box")
    ny, nx = content.frame.sky_shape
    side = max(ny, nx)
    x = left + frame["x"] + (PIXEL[1] + 0.5 + (side - nx) / 2) / side * frame["width"]
    y = top + frame["y"] + frame["height"] * (1 - (PIXEL[0] + 0.5 + (side - ny) / 2) / side)
    browser.drag((x, y), (x, y))
    browser.wait(f"window.hifred.page.pixel.join() === '{PIXEL[0]},{PIXEL[1]}'", 5)
    assert not np.allclose(before, data(browser, "spectrum-fused", "y"))
    assert data(browser, "marker", "x") == [PIXEL[1] + 0.5]
    assert data(browser, "marker", "y") == [PIXEL[0] + 0.5]
    for view in content.views:
        expected = np.repeat(view.spectrum(*PIXEL), 2)
        shown = data(browser, f"spectrum-{view.key}", "y")
        np.testing.assert_allclose(shown, expected, atol=1e-3 * np.abs(expected).max())
    assert browser.evaluate("document.getElementById('pixel').textContent") == content.frame.pixel_words(PIXEL)
    top_now = browser.evaluate("window.hifred.model('whole-y').end")
    assert top_now > np.max(content.views[-1].spectrum(*PIXEL))


@pytest.mark.parametrize("row", [0, 1])
def test_a_drag_over_the_spectrum_shows_that_band(page, row):
    browser, content, _ = page
    press(browser, f"[data-row='{row}']")
    other = image(browser, f"image-{1 - row}-fused")
    drag_over_spectrum(browser, 0.652, 0.660)
    band = browser.evaluate(f"window.hifred.page.bands[{row}]")
    assert band["low"] == pytest.approx(0.652, abs=2e-4)
    assert band["high"] == pytest.approx(0.660, abs=2e-4)
    for view in content.views:
        expected = view.image(band["low"], band["high"])
        shown = image(browser, f"image-{row}-{view.key}")
        np.testing.assert_allclose(shown, expected.ravel(), rtol=3e-3, atol=1e-3 * np.nanmax(expected))
    np.testing.assert_array_equal(image(browser, f"image-{1 - row}-fused"), other)
    label = browser.evaluate(f"document.getElementById('band-{row}-range').textContent")
    assert label == content.frame.interval(band["low"], band["high"])


def test_buttons_choose_a_line_hide_a_spectrum_and_start_again(page):
    browser, content, _ = page
    press(browser, "[data-row='0']")
    press(browser, "[data-low]")
    assert browser.evaluate("document.getElementById('band-0-name').textContent") == "O VIII line"
    press(browser, "[data-view='truth']")
    assert browser.evaluate("window.hifred.model('near-line-truth').visible") is False
    press(browser, "[data-view='truth']")
    press(browser, "#reset")
    for number, band in enumerate(content.bands):
        assert browser.evaluate(f"window.hifred.page.bands[{number}].low") == band.low
    expected = content.views[0].image(content.bands[1].low, content.bands[1].high).ravel()
    np.testing.assert_allclose(image(browser, f"image-1-{content.views[0].key}"), expected, rtol=3e-3, atol=1e-12)
    assert browser.messages == []


def test_a_page_whose_cubes_were_made_coarser_still_answers(case, tmp_path, browser_class):
    content = gather(*case())
    path = tmp_path / "small.html"
    path.write_text(render(content, budget=15_000), encoding="utf-8")
    assert "clicks and drags show fewer bins of" in path.read_text(encoding="utf-8")
    with browser_class() as browser:
        browser.open(path)
        browser.evaluate(f"window.hifred.pick({PIXEL[1] + 0.5}, {PIXEL[0] + 0.5})")
        for view in content.views:
            edges, values = data(browser, f"spectrum-{view.key}", "x"), data(browser, f"spectrum-{view.key}", "y")
            total = np.sum(np.diff(edges)[::2] * values[::2])
            expected = np.nansum(np.diff(view.edges) * view.spectrum(*PIXEL))
            assert total == pytest.approx(expected, rel=1e-3)
        assert browser.messages == []
