import numpy as np
import pytest

from hifred.choice import Choice, Tuning
from hifred.report import write_pictures, write_report
from hifred.report.content import gather
from hifred.report.thinning import Curve, thinning_of
from hifred.report.words import words

TUNING = Tuning((0.1, 0.3, 0.9), (5200.5, 5100.25, 5180.0), (40, 60, 30), 0.3, 0.85, 0).to_json()
SPEED = Choice("vmax", (0.0, 600.0, 1800.0), (90.0, 30.0, 7.0), 1800.0).to_json()


def test_curves_are_those_of_the_provenance():
    found = thinning_of({"tuning": {**TUNING, "settings": [SPEED]}})
    assert found is not None
    strength, speed = found.curves
    assert (found.fraction, found.iterations) == (0.85, 60)
    np.testing.assert_allclose(strength.above, [100.25, 0, 79.75])
    np.testing.assert_allclose(strength.places, np.log10([0.1, 0.3, 0.9]))
    assert strength.labels == ["0.1", "0.3", "0.9"]
    assert strength.marks == ["+100", "", "+80"]
    assert strength.words == "strength of the prior 0.3"
    assert speed.places.tolist() == [0, 1, 2]
    assert speed.words == "largest speed 1800 km/s (the largest that was tried: a better one may lie above)"


def test_an_end_that_the_curve_rises_to_is_no_reason_to_look_beyond():
    light = Choice("light_strength", (0.001, 0.003), (50.0, 53.6), 0.003).to_json()
    found = thinning_of({"tuning": {**TUNING, "settings": [light]}})
    assert found is not None
    assert found.curves[1].words == "strength for smooth light 0.003 (no other was clearly better)"


def test_a_choice_by_more_splits_says_so():
    light = Choice("light_strength", (0.003, 0.01, 0.03), (55.0, 50.0, 53.6), 0.01, 3).to_json()
    found = thinning_of({"tuning": {**TUNING, "settings": [light, SPEED]}})
    assert found is not None
    assert found.curves[1].words == "strength for smooth light 0.01 (by 3 splits of the photons)"
    assert "splits" not in found.curves[2].words
    again = thinning_of({"tuning": {**TUNING, "folds": 3, "settings": [light]}})
    assert again is not None
    assert "splits" not in again.curves[1].words, "the whole text says it"
    odd = thinning_of({"tuning": {**TUNING, "folds": float("inf"), "settings": [{**light, "folds": "many"}]}})
    assert odd is not None
    assert (odd.folds, odd.curves[1].folds) == (1, None)


def test_there_is_nothing_below_one_sheet():
    sheets = Choice("sheets", (1.0, 2.0, 3.0), (5.0, 9.0, 9.5), 1.0).to_json()
    found = thinning_of({"tuning": {**TUNING, "settings": [sheets]}})
    assert found is not None
    assert found.curves[1].words == "number of sheets 1"


def test_values_in_any_order_are_sorted_and_failed_fits_left_out():
    tuning = {"strengths": [9.0, 1.0, 3.0], "deviances": [5.0, 1.0, float("inf")], "strength": 1.0}
    found = thinning_of({"tuning": tuning})
    assert found is not None
    assert found.curves[0].values.tolist() == [1, 9]
    assert found.curves[0].words.startswith("strength of the prior 1 (the smallest that was tried")
    assert (found.fraction, found.iterations) == (None, None)


@pytest.mark.parametrize(
    ("value", "label"), [(0.0, "0"), (1 / 18, "0.0556"), (5400.0, "5400"), (4.115e-5, "4.1×10⁻⁵"), (2e7, "2×10⁷")]
)
def test_numbers_are_short(value, label):
    choice = Choice("x", (value, value + 1e8), (1.0, 2.0), value).to_json()
    found = thinning_of({"tuning": {"settings": [choice]}})
    assert found is not None
    assert found.curves[0].labels[0] == label


MALFORMED = {
    "absent": None, "a number": 3, "a list": [1, 2], "empty": {}, "no choice": {**TUNING, "strength": None},
    "a choice that was not tried": {**TUNING, "strength": 0.5}, "text": {**TUNING, "deviances": ["a", "b", "c"]},
    "too short": {**TUNING, "deviances": [1.0]}, "one value": {"strengths": [1], "deviances": [2], "strength": 1},
    "nested": {**TUNING, "strengths": [[0.1], [0.3], [0.9]]}, "ragged": {**TUNING, "strengths": [[0.1], 0.3, 0.9]},
    "huge": {**TUNING, "strengths": [10**400, 1, 2]}, "settings": {"settings": {"name": "vmax"}},
    "a setting": {"settings": [7, {"name": 3, "values": [1, 2], "deviances": [3, 4], "chosen": 1}]},
    "a name that is none": {"settings": [{**SPEED, "name": "$$x$$"}]},
    "one value twice": {**TUNING, "strengths": [1, 1, 1], "strength": 1},
    "a list for a number": {**TUNING, "strength": [0.3]},
}  # fmt: skip


@pytest.mark.parametrize("entry", MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_read_is_not_shown(entry):
    assert thinning_of({} if entry is None else {"tuning": entry}) is None


def test_half_of_a_record_is_shown():
    found = thinning_of({"tuning": {**TUNING, "deviances": "?", "settings": [SPEED, None]}})
    assert found is not None
    assert [curve.setting for curve in found.curves] == ["vmax"]
    found = thinning_of({"tuning": {**TUNING, "iterations": [1], "fraction": "most"}})
    assert found is not None
    assert (found.fraction, found.iterations) == (None, None)


@pytest.mark.parametrize("tuning", [{**TUNING, "settings": [SPEED]}, {**TUNING, "strength": "?"}, None])
def test_page_and_pictures_show_the_curves_where_there_are_some(case, moving, tuning, tmp_path):
    fused, datasets, _ = case(tuning=tuning, parts=moving)
    shown = tuning is not None and tuning["strength"] == 0.3
    content = gather(fused, datasets)
    page = write_report(tmp_path / "report.html", fused, datasets).read_text(encoding="utf-8")
    assert ("How the settings were chosen" in page) == shown
    assert words(content)["thinning"] in page
    assert ("foretold best after 60 iterations" in page) == shown
    assert ('"thinning-1"' in page) == shown
    names = [path.name for path in write_pictures(tmp_path / "pictures", fused, datasets)]
    assert ("thinning.png" in names) == shown


def test_a_prior_that_is_no_factorisation_ends_by_itself(case):
    text = words(gather(*case(tuning=TUNING)))["thinning"]
    assert text.startswith("85% of the photons")
    assert "strength of the prior 0.3." in text
    assert "ended by itself, after 60 iterations" in text


def test_a_browser_draws_the_curves_without_complaint(case, browser_class, tmp_path):
    fused, datasets, _ = case(tuning={**TUNING, "settings": [SPEED]})
    path = write_report(tmp_path / "report.html", fused, datasets)
    with browser_class() as browser:
        browser.open(path)
        names = browser.evaluate(
            "Bokeh.index.roots.map((view) => view.model.name).filter((name) => /thinning/.test(name))"
        )
        assert names == ["thinning-0", "thinning-1"]
        assert browser.messages == []


def test_labels_do_not_run_into_each_other():
    values = 0.01 * 3.0 ** (np.arange(-8, 1) / 2)
    curve = Curve("light_strength", values, np.arange(9.0), 3)
    assert curve.labels[3], "the chosen one has its label"
    assert 3 <= sum(label != "" for label in curve.labels) <= 7
    places = curve.places[[label != "" for label in curve.labels]]
    assert np.diff(places).min() >= np.ptp(curve.places) / 6 - 1e-9
    assert Curve("vmax", np.array([0.0, 600, 1800]), np.zeros(3), 0).labels == ["0", "600", "1800"]
