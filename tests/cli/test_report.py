import re
import shutil

from hifred import FusedCube


def test_a_page_and_its_pictures(hifred, files, tmp_path):
    code, out, error = hifred(
        "report", files / "fused.fits", "--truth", files / "truth.fits", "-o", "page.html", "--pictures", "shots",
        "--line", "Fe XXV", "--title", "A small one",
    )  # fmt: skip
    assert (code, error) == (0, "")
    names = ["page.html", *(f"shots/{name}.png" for name in ("overview", "velocity", "residuals", "angles", "course"))]
    assert out.split() == [word for name in names for word in ("wrote", name)]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>A small one</title>" in page
    assert "Velocity of the Fe XXV line" in page
    assert "error (NMSE)" in page
    assert len(page) < 15e6


def test_without_truth_and_with_data_named(hifred, files, tmp_path):
    options = [part for name in ("xmm", "xrism") for part in ("--data", files / f"{name}.fits")]
    code, out, _ = hifred("report", files / "fused.fits", *options, "--line", "6.7")
    assert (code, out) == (0, "wrote report.html\n")
    assert "Velocity of the 6.7 keV line" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_bad_input_is_refused(refused, files, tmp_path):
    fused, truth, data = files / "fused.fits", files / "truth.fits", files / "xmm.fits"
    refused(["report", tmp_path / "absent.fits"], "absent.fits", "no such file")
    refused(["report", data], data, "HIFRED CUBE", "HIFRED DATASET")
    refused(["report", fused, "--truth", tmp_path / "absent.fits"], "absent.fits", "no such file")
    refused(["report", fused, "--truth", data], data, "HIFRED CUBE")
    refused(["report", fused, "--data", truth], truth, "HIFRED DATASET", "HIFRED CUBE")
    refused(["report", truth], truth, "PROVENANCE", "data set")
    refused(["report", fused, "--line", "Fe XXX"], "Fe XXX", "Fe XXV")
    refused(["report", fused, "--line", "1.0"], "1.0 keV", "6.4")
    refused(["report", fused, "-o", "absent/report.html"], "absent", "does not exist")


def test_a_cube_is_never_replaced_by_a_page(refused, files, tmp_path):
    shutil.copy(files / "fused.fits", tmp_path / "fused.fits")
    refused(["report", "fused.fits", "-o", "fused.fits"], "--output", ".html", "fused.fits")


def test_a_truth_of_another_shape_or_place_is_refused(refused, files, tmp_path):
    truth = FusedCube.read(files / "truth.fits")
    other = FusedCube(truth.values[1:], "truth", "cut", truth.history, None, truth.provenance)
    other.write(tmp_path / "cut.fits")
    refused(["report", files / "fused.fits", "--truth", "cut.fits"], "cut.fits", "(60, 12, 15)", "(59, 12, 15)")
    grid = type(truth.grid)(truth.grid.energy_edges, truth.grid.sky_shape, 99.0, truth.grid.center)
    FusedCube(truth.values, "truth", "large", truth.history, grid, truth.provenance).write(tmp_path / "large.fits")
    refused(["report", files / "fused.fits", "--truth", "large.fits"], "large.fits", "30 arcsec", "of 99")


def test_without_bokeh_it_says_what_to_install(refused, files, monkeypatch):
    from importlib import util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *a: None if name == "bokeh" else find(name, *a))
    refused(["report", files / "fused.fits"], "Bokeh", "hifred[report]")
    refused(["demo"], "Bokeh", "hifred[report]")


def test_its_help_has_all_options(hifred):
    _, out, _ = hifred("report", "--help")
    for option in ("--truth", "--data", "--output", "--pictures", "--line", "--title"):
        assert re.search(rf"{option}\b", out)
