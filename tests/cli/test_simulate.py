import numpy as np
import pytest
from astropy.io import fits

from hifred import Dataset, FusedCube, simulate

FILES = ["truth.fits", "truth_maps.fits", "xmm.fits", "xrism.fits"]


def test_it_writes_truth_maps_and_data_sets_and_names_them(hifred, tmp_path, tiny):
    code, out, error = hifred("simulate", "tiny")
    assert (code, error) == (0, "")
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == FILES
    assert [line for line in out.splitlines() if line.startswith("wrote")] == [f"wrote tiny/{name}" for name in FILES]
    assert "hifred fuse tiny/xmm.fits tiny/xrism.fits" in out
    truth = FusedCube.read("tiny/truth.fits")
    assert truth.status == "truth"
    np.testing.assert_allclose(truth.values, tiny.truth.values, rtol=1e-6)
    assert truth.grid is not None
    truth.grid.require_same(tiny.grid, ("file", "scene"))
    assert [truth.provenance[key] for key in ("scene", "seed", "counts")] == ["tiny", 0, 2e5]
    for dataset in tiny.datasets:
        again = Dataset.read(f"tiny/{dataset.name}.fits")
        np.testing.assert_array_equal(again.counts, dataset.counts)
        np.testing.assert_allclose(again.predict(truth.values), dataset.predict(tiny.truth.values), rtol=1e-4)


def test_the_maps_are_those_of_the_truth(files, tiny):
    with fits.open(files / "truth_maps.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:4]] == ["VELOCITY", "SPREAD", "TEMPERATURE"]
        np.testing.assert_allclose(hdus["VELOCITY"].data, tiny.truth.velocity, rtol=1e-6)
        np.testing.assert_allclose(hdus["ABUND_FE"].data, tiny.truth.abundances["Fe"], rtol=1e-6)
        assert hdus["TEMPERATURE"].header["BUNIT"] == "keV"
        assert hdus["VELOCITY"].header["CTYPE1"] == "RA---TAN"


def test_seed_and_counts_are_heeded(hifred):
    assert hifred("simulate", "tiny", "--seed", 3, "--counts", 5e4, "-o", "other/place")[0] == 0
    expected = simulate.scene("tiny", 3, 5e4).datasets[0].counts
    np.testing.assert_array_equal(Dataset.read("other/place/xmm.fits").counts, expected)


def test_the_list_names_every_scene(hifred, tmp_path):
    code, out, _ = hifred("simulate", "--list")
    assert code == 0
    for name, description in simulate.scene_descriptions().items():
        assert f"{name}: " in out
        assert description.split()[-1] in out
    assert max(map(len, out.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


IRON = ["simulate", "xrism-epic-iron", "--band", 6.65, 6.71, "--seed", 2, "-o", "iron"]
IRON_FILES = [
    "truth.fits", "truth_maps.fits", "pn_events.fits", "resolve_cl.evt", "epic-pn.rmf", "epic-pn.arf",
    "xrism-resolve.rmf", "xrism-resolve.arf", "reduce.toml",
]  # fmt: skip


def test_event_lists_go_through_reduce_as_the_output_says(hifred, tmp_path):
    code, out, error = hifred(*IRON, "--brightness", 0.1)
    assert (code, error) == (0, "")
    assert [line for line in out.splitlines() if line.startswith("wrote")] == [f"wrote iron/{n}" for n in IRON_FILES]
    assert sorted(path.name for path in (tmp_path / "iron").iterdir()) == sorted(IRON_FILES)
    reduce, fuse = (line.split(": hifred ")[1].split() for line in out.splitlines()[-2:])
    assert reduce == ["reduce", "iron/reduce.toml"]
    assert fuse == ["fuse", "iron/epic-pn.fits", "iron/xrism-resolve.fits"]
    assert hifred(*reduce)[0] == 0
    truth = FusedCube.read("iron/truth.fits")
    assert [truth.provenance[key] for key in ("scene", "seed")] == ["xrism-epic-iron", 2]
    for path in fuse[1:]:
        dataset = Dataset.read(path)
        dataset.grid.require_same(truth.grid, ("data", "truth"))
        expected = dataset.predict(truth.values)[dataset.mask].sum(dtype=float)
        assert dataset.counts[dataset.mask].sum() == pytest.approx(expected, abs=4 * expected**0.5)
    assert hifred(*fuse, "-o", "iron/fused.fits", "--prior", "unregularized", "--max-iterations", 2, "--quiet")[0] == 0
    assert FusedCube.read("iron/fused.fits").values.shape == truth.values.shape


def test_no_event_list_is_overwritten_without_leave(refused, tmp_path):
    (tmp_path / "iron").mkdir()
    (tmp_path / "iron" / "resolve_cl.evt").write_text("precious")
    refused([*IRON, "--counts", 100], "iron/resolve_cl.evt", "exists", "--overwrite")


@pytest.mark.parametrize("name", ["truth.fits", "xrism.fits"])
def test_nothing_is_overwritten_without_leave(name, refused, hifred, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious")
    refused(["simulate", "tiny", "-o", "out"], f"out/{name}", "exists", "--overwrite")
    assert hifred("simulate", "tiny", "-o", "out", "--overwrite")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_an_existing_truth_is_noticed_before_the_work(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "scene", lambda *a: pytest.fail("simulated although the file exists"))
    (tmp_path / "truth.fits").write_text("precious")
    refused(["simulate", "tiny", "-o", "."], "truth.fits", "exists")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["casiopeia"], ["casiopeia", "realistic-1kev", "tiny"]),
        ([], ["NAME", "--list"]),
        (["tiny", "--seed=-1"], ["seed", "-1"]),
        (["tiny", "--counts", "0"], ["counts", "0"]),
        (["tiny", "--counts", "nan"], ["counts", "nan"]),
        (["tiny", "--band", "6", "7"], ["band", "tiny"]),
        (["tiny", "--brightness", "1"], ["brightness", "tiny"]),
        (["xrism-epic-iron", "--band", "1", "7"], ["band", "1.8"]),
    ],
)
def test_a_bad_option_is_refused(arguments, words, refused):
    refused(["simulate", *arguments], *words)


def test_a_file_in_the_place_of_the_folder_is_refused(refused, tmp_path):
    (tmp_path / "tiny").write_text("x")
    refused(["simulate", "tiny"], "tiny", "directory")
    refused(["simulate", "tiny", "-o", "tiny/deeper"], "tiny/deeper")


def test_info_describes_a_truth(hifred, files):
    code, out, _ = hifred("info", files / "truth.fits")
    assert code == 0
    assert "truth: The sky that the simulated counts were drawn from." in out
