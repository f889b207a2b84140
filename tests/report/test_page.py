import re

import numpy as np
import pytest

from hifred import FusedCube
from hifred.metrics import line_centroid, nmse
from hifred.report import write_pictures, write_report
from hifred.report.content import gather
from hifred.report.measures import warnings
from hifred.report.words import words

LOADS = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//""", re.IGNORECASE)


def outside_scripts(page):
    return re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)


@pytest.fixture(scope="module")
def written(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    fused, datasets, truth = case(names=("</script><b>&", "Kalorimeter Ångström 光"))
    path = write_report(folder / "report.html", fused, datasets, truth, title="A <i>title</i> & 'quotes' 光")
    return path.read_text(encoding="utf-8"), gather(fused, datasets, truth)


def test_the_page_is_one_small_file_that_loads_nothing(written):
    page, _ = written
    assert page.startswith("<!DOCTYPE html>")
    assert len(page.encode()) < 3e6
    assert not LOADS.search(outside_scripts(page))
    assert not re.search(r"<script[^>]*\bsrc\b", page)
    assert "<link" not in outside_scripts(page)


def test_every_panel_has_its_sentence(written):
    page, content = written
    text = outside_scripts(page).replace("&#39;", "'").replace("&amp;", "&")
    for sentence in words(content).values():
        assert sentence in text
    for heading in ("Velocity of the O VIII line", "Residuals", "mean angular distance", "Course of the run",
                    "Measures", "Settings and origin"):  # fmt: skip
        assert heading in text
    assert "Converged" in text
    assert "LowRank(rank=3)" in text


def test_names_and_titles_are_escaped(written):
    page, _ = written
    assert "<title>A &lt;i&gt;title&lt;/i&gt; &amp; &#39;quotes&#39; 光</title>" in page
    assert "<i>title" not in page
    assert "</script><b>" not in page
    assert "&lt;/script&gt;&lt;b&gt;&amp;" in page
    assert "Kalorimeter Ångström 光" in page


def test_the_measures_are_those_of_the_library(written):
    page, content = written
    assert content.truth is not None
    assert f"{nmse(content.fused.values, content.truth):.1f} dB".replace("-", "−") in page
    for agreement, dataset in zip(content.agreements, content.datasets, strict=True):
        assert agreement.cstat == pytest.approx(dataset.cstat(content.fused.values), rel=1e-3)
        assert agreement.expected == pytest.approx(dataset.expected_cstat(content.fused.values)[0])


def test_velocities_are_those_of_the_library(written):
    _, content = written
    result = next(values for view, values in content.velocities if view.key == "fused")
    expected = line_centroid(content.fused.values, content.frame.centres, "O VIII", faint=0.05)
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1)
    assert [view.key for view, _ in content.velocities] == ["input-1", "fused", "truth"]


VARIANTS = {
    "three data sets, two of one name, masks, no truth": {
        "names": ("x", "x", "c"), "masks": (None, np.arange(12).reshape(3, 4) != np.full((72, 1, 1), 5), None),
        "truth": False,
    },
    "one data set without energies or history": {"names": ("only",), "grid": None, "history": False},
    "a dark cube": {"values": np.zeros((72, 9, 12))},
    "blank pixels": {"values": np.where(np.arange(12) < 3, np.nan, 1e-7 * np.ones((72, 9, 12)))},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_page_can_be_written_for(variant, case, tmp_path):
    options = dict(VARIANTS[variant])
    with_truth = options.pop("truth", True)
    fused, datasets, truth = case(**options)
    path = write_report(tmp_path / "report.html", fused, datasets, truth if with_truth else None)
    page = outside_scripts(path.read_text(encoding="utf-8"))
    assert ("Truth" in page) == with_truth
    assert ("Energy bin" in path.read_text(encoding="utf-8")) == ("grid" in options)
    assert ("no velocity map" in page) == (variant[:5] != "three")
    assert ("not finite" in page) == (variant == "blank pixels")
    assert ("No history" in page) == ("history" in options)


def test_a_misfit_is_said(case):
    fused, datasets, truth = case()
    wrong = FusedCube(3 * truth, "converged", "It went well.", fused.history, fused.grid, fused.provenance)
    assert "does not explain the data" in warnings(gather(wrong, datasets))[0]
    assert warnings(gather(fused, datasets)) == []


def test_what_does_not_fit_is_refused(case, tmp_path):
    fused, datasets, truth = case()
    with pytest.raises(ValueError, match="at least one data set"):
        write_report(tmp_path / "r.html", fused, [])
    with pytest.raises(ValueError, match="truth: expected the shape"):
        write_report(tmp_path / "r.html", fused, datasets, truth[1:])
    with pytest.raises(ValueError, match="lines"):
        write_report(tmp_path / "r.html", fused, datasets, line="O IX")
    assert not list(tmp_path.iterdir())


def test_pictures_show_something(case, tmp_path):
    from matplotlib.image import imread

    fused, datasets, truth = case(names=("$x_1$", "_光"))
    written = write_pictures(tmp_path / "new", fused, datasets, truth, title="100$ & <b> 光")
    assert [path.name for path in written] == [
        "overview.png", "velocity.png", "residuals.png", "angles.png", "course.png",
    ]  # fmt: skip
    for path in written:
        picture = imread(path)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.05
