import re
from dataclasses import replace

import numpy as np
import pytest

from hifred.report import write_pictures, write_report
from hifred.report.content import gather
from hifred.report.motion import cut_top, motion_of
from hifred.report.words import words

PIXEL = (6, 3)


def outside_scripts(page):
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)


def test_maps_and_cuts_are_those_of_the_parts(case, moving):
    fused, _, _ = case(parts=moving)
    motion = motion_of(fused)
    assert motion is not None
    light = moving.profiles.sum(0)
    mean = (moving.velocities[:, None, None] * light).sum(0) / light.sum(0)
    spread = np.sqrt((moving.velocities[:, None, None] ** 2 * light).sum(0) / light.sum(0) - mean**2)
    faint = light.sum(0) <= 0.02 * light.sum(0).max()
    assert 0 < faint.sum() < faint.size / 2
    np.testing.assert_allclose(motion.velocity, np.where(faint, np.nan, mean))
    np.testing.assert_allclose(motion.spread, np.where(faint, np.nan, spread))
    np.testing.assert_allclose(motion.cut(2), light[:, 2])
    np.testing.assert_allclose(motion.edges, 300 * np.arange(-3.5, 4))


def test_nothing_moves_without_parts_velocities_or_light(case, moving):
    still = replace(moving, velocities=np.zeros(1), profiles=moving.profiles[:, :1])
    dark = replace(moving, profiles=0 * moving.profiles)
    lost = replace(moving, profiles=np.nan * moving.profiles)
    assert [motion_of(case(parts=parts)[0]) for parts in (None, still, dark, lost)] == [None] * 4


def test_parts_of_another_sky_are_refused(case, moving):
    other = replace(moving, profiles=moving.profiles[:, :, 1:], mixture=moving.mixture[:, :, 1:])
    with pytest.raises(ValueError, match=r"parts: expected a sky of shape \(9, 12\), found \(8, 12\)"):
        motion_of(case(parts=other)[0])


def test_pixels_that_are_not_finite_are_blank(case, moving, tmp_path):
    profiles = moving.profiles.copy()
    profiles[:, :, 4, 5] = np.nan
    fused, datasets, _ = case(parts=replace(moving, profiles=profiles))
    motion = gather(fused, datasets).motion
    assert motion is not None
    assert np.isnan(motion.velocity[4, 5])
    assert np.isfinite(motion.velocity[4, 6])
    assert cut_top(motion.cut(4)) == pytest.approx(np.nanmax(motion.cut(4)))
    write_report(tmp_path / "report.html", fused, datasets)


@pytest.mark.parametrize("moves", [True, False])
def test_page_and_pictures_show_the_motion_where_there_is_one(case, moving, moves, tmp_path):
    from matplotlib.image import imread

    fused, datasets, truth = case(parts=moving if moves else None)
    content = gather(fused, datasets, truth)
    page = write_report(tmp_path / "report.html", fused, datasets, truth).read_text(encoding="utf-8")
    text = outside_scripts(page)
    assert ("Motion of all gas" in text) == moves
    assert ("Position-velocity cut" in text) == moves
    assert words(content)["motion"] in text
    assert ("motion-spread" in page) == moves
    assert (content.frame.row_words(content.pixel[0]) in text) == moves
    assert bool(re.search(r"10⁻\S photons cm⁻² s⁻¹ per sky pixel and 300 km/s", text)) == moves
    pictures = {path.name: path for path in write_pictures(tmp_path / "pictures", fused, datasets, truth)}
    assert ("motion.png" in pictures) == moves
    if moves:
        assert imread(pictures["motion.png"])[..., :3].std() > 0.05


def test_an_absorber_is_spoken_of_where_there_is_one(case, moving):
    said = [words(gather(*case(parts=replace(moving, column_density=n))))["motion"] for n in (0.0, 0.18)]
    assert ["N_H about 0.18 × 10²² cm⁻²." in text for text in said] == [False, True]


def test_a_row_is_called_by_its_place(case):
    frame = gather(*case()).frame
    assert frame.row_words(0) == "row y 0; 32″ below the centre"
    assert frame.row_words(8) == "row y 8; 32″ above the centre"
    assert frame.row_label.endswith("east left")
    bare = gather(*case(grid=None)).frame
    assert (bare.row_words(3), bare.row_label) == ("row y 3", "pixel number x")


def test_a_click_moves_the_cut(case, moving, browser_class, tmp_path):
    fused, datasets, _ = case(parts=moving)
    content = gather(fused, datasets)
    start, motion = content.pixel, content.motion
    assert motion is not None
    assert start[0] != PIXEL[0]
    path = write_report(tmp_path / "report.html", fused, datasets)
    with browser_class() as browser:
        browser.open(path)

        def shown():
            values = browser.evaluate("Array.from(window.hifred.model('cut-source').data.image[0])")
            return np.reshape(values, motion.cut(0).shape), browser.evaluate("window.hifred.model('cut-scale').high")

        def says(name):
            return browser.evaluate(f"document.getElementById('{name}').textContent")

        def close(row):
            light, top = shown()
            np.testing.assert_allclose(light, motion.cut(row), atol=1e-3 * motion.cut(row).max())
            assert top == pytest.approx(motion.cut(row).max(), rel=1e-3)
            assert says("cut-row") == content.frame.row_words(row)

        close(start[0])
        unit = says("cut-unit")
        browser.evaluate(f"window.hifred.pick({PIXEL[1] + 0.5}, {PIXEL[0] + 0.5})")
        close(PIXEL[0])
        browser.evaluate("window.hifred.pick(0.5, 0.5)")
        close(0)
        assert says("cut-unit") != unit
        browser.evaluate("window.hifred.reset()")
        close(start[0])
        assert says("cut-unit") == unit

        left, top, width, height = browser.evaluate(
            "(() => { const view = Bokeh.index.roots.find((root) => root.model.name === 'cut');"
            "view.el.scrollIntoView({block: 'center'}); const whole = view.el.getBoundingClientRect();"
            "const frame = view.frame.bbox;"
            "return [whole.left + frame.left, whole.top + frame.top, frame.width, frame.height]; })()"
        )
        place = (left + 2.5 / 12 * width, top + 0.5 * height)
        browser.drag(place, place)
        browser.wait(f"window.hifred.page.pixel.join() === '{start[0]},2'", 5)
        assert browser.messages == []
