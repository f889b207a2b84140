import json

import numpy as np
import pytest

from hifred import Dataset, FusedCube, metrics


def test_a_table_with_one_row_for_each_cube(hifred, files):
    fused, truth = (FusedCube.read(files / name) for name in ("fused.fits", "truth.fits"))
    fused.write("a.fits")
    truth.write("b.fits")
    code, out, error = hifred("compare", files / "truth.fits", "a.fits", "b.fits")
    assert (code, error) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "Fe XXV km/s" in out
    row = next(line for line in out.splitlines() if line.startswith("a.fits")).split()
    assert float(row[1]) == pytest.approx(metrics.nmse(fused.values, truth.values), abs=0.01)
    assert float(row[2]) == pytest.approx(metrics.spectral_angle(fused.values, truth.values), abs=0.01)
    assert float(row[3]) == pytest.approx(metrics.ssim(fused.values, truth.values), abs=0.001)
    assert float(row[4]) == pytest.approx(metrics.ergas(fused.values, truth.values), abs=0.01)
    assert float(row[5]) == pytest.approx(100 * metrics.flux_per_pixel(fused.values, truth.values), abs=0.01)
    assert "-inf" in out


def test_data_sets_add_their_own_table_and_json_has_the_numbers(hifred, files):
    options = [part for name in ("xmm", "xrism") for part in ("--data", files / f"{name}.fits")]
    code, out, _ = hifred(
        "compare", files / "truth.fits", files / "fused.fits", *options, "--json", "n.json", "--line", "6.7"
    )
    assert code == 0
    assert "C-stat" in out
    assert "wrote n.json" in out
    with open("n.json", encoding="utf-8") as stream:
        found = json.load(stream)
    fused, truth = (FusedCube.read(files / name) for name in ("fused.fits", "truth.fits"))
    cube = found["cubes"][0]
    assert found["ratio"] == pytest.approx(1 / 3)
    assert cube["ergas"] == pytest.approx(metrics.ergas(fused.values, truth.values, 1 / 3))
    assert cube["velocity_error"] > 0
    for name, entry in zip(("xmm", "xrism"), cube["data"], strict=True):
        data = Dataset.read(files / f"{name}.fits")
        assert entry["name"] == name
        assert entry["cstat"] == pytest.approx(data.cstat(fused.values), rel=1e-3)
        expected = metrics.kl(data.predict(truth.values), np.maximum(data.predict(fused.values), 0), data.mask)
        assert entry["kl"] == pytest.approx(expected, rel=1e-3)


def test_what_json_does_not_have_is_null(hifred, files):
    assert hifred("compare", files / "truth.fits", files / "truth.fits", "--json", "n.json")[0] == 0
    with open("n.json", encoding="utf-8") as stream:
        assert json.load(stream)["cubes"][0]["nmse"] is None


def test_bad_input_is_refused(refused, files, tmp_path):
    fused, truth, data = files / "fused.fits", files / "truth.fits", files / "xmm.fits"
    refused(["compare", truth, tmp_path / "absent.fits"], "absent.fits", "no such file")
    refused(["compare", tmp_path / "absent.fits", fused], "absent.fits", "no such file")
    refused(["compare", truth, data], data, "HIFRED CUBE", "HIFRED DATASET")
    refused(["compare", truth, fused, "--data", fused], fused, "HIFRED DATASET", "HIFRED CUBE")
    refused(["compare", truth, fused, "--line", "Xx"], "Xx", "Fe XXV")
    refused(["compare", truth, fused, "--json", "n.fits"], "--json", ".json", "n.fits")
    refused(["compare", truth, fused, "--json", "absent/n.json"], "absent", "does not exist")


def test_cubes_of_another_shape_are_refused(refused, files, tmp_path):
    cube = FusedCube.read(files / "truth.fits")
    FusedCube(cube.values[:, 1:], "converged", "", cube.history).write(tmp_path / "cut.fits")
    refused(["compare", files / "truth.fits", "cut.fits"], "cut.fits", "(60, 12, 15)", "(60, 11, 15)")
    refused(["compare", "cut.fits", "cut.fits", "--data", files / "xmm.fits"], "xmm.fits", "(60, 11, 15)")
