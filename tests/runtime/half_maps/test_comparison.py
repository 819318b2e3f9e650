"""Half maps in the command: recognised by name, checked, compared with the estimate, written and reported."""

import json
import shutil
import subprocess
import sys
from importlib.resources import files as packaged
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.figures.palette import colour_range, rgb_colours
from cryores_lite.io.half_map_names import full_map_stem, half_maps_hint, other_half_path
from cryores_lite.io.mrc import read_map
from tests.runtime.figures.helpers import PageReader, plane_of
from tests.runtime.half_maps.test_local_fsc import N, V, molecule_half_maps, white

HALF_MAP_FIELDS = ("half_maps", "fsc", "comparison")


def run(*arguments):
    command = [sys.executable, "-c", "from cryores_lite.cli import main; main()", "-j", "1", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def save(path, values, size=V, origin=(0, 0, 0)):
    with mrcfile.new(path) as mrc:
        mrc.set_data(values.astype(np.float32))
        mrc.voxel_size, mrc.header.origin = size, origin
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    first, second = (half.values for half in molecule_half_maps())
    return [
        save(folder / name, values)
        for name, values in (("m.mrc", (first + second) / 2), ("m_half1.mrc", first), ("m_half2.mrc", second))
    ]


def test_half_maps_are_recognised_by_their_names():
    for half, other, stem in (
        ("other/emd_1234_half_map_1.map.gz", "other/emd_1234_half_map_2.map.gz", "emd_1234"),
        ("half1/run_half1_class001_unfil.mrc", "half1/run_half2_class001_unfil.mrc", "run_class001"),
        ("J2_map_half_A.mrc", "J2_map_half_B.mrc", "J2_map"),
        ("half2.mrc", "half1.mrc", "half2"),
    ):
        assert other_half_path(Path(half)) == Path(other)
        assert full_map_stem(Path(half)) == stem
    assert other_half_path(Path("half1/run_class001.mrc")) is None


def test_half_maps_passed_as_half_maps_are_not_warned_of(files, tmp_path):
    for arguments in (("--half-maps", *files[1:]), (files[1], "--half-maps", *files[1:])):
        (row,) = map(json.loads, run(*arguments, "--json", "--overwrite", "-o", tmp_path).stdout.splitlines())
        assert not any("half map" in warning for warning in row["warnings"])
    (row,) = map(json.loads, run(files[1], "--json", "--overwrite", "-o", tmp_path).stdout.splitlines())
    assert any("half map" in warning for warning in row["warnings"])


def test_inverted_half_maps_are_warned_of(files, tmp_path):
    inverted = [save(tmp_path / path.name, -mrcfile.read(path)) for path in files[1:]]
    row = json.loads(run("--half-maps", *inverted, "--json").stdout)
    assert any("inverted" in warning for warning in row["warnings"])


def test_half_maps_that_do_not_correlate_are_warned_of(files, tmp_path):
    other = save(tmp_path / "other.mrc", -mrcfile.read(files[2]))
    row = json.loads(run(files[0], "--half-maps", files[1], other, "--json", "-o", tmp_path).stdout)
    assert any("do not correlate" in warning for warning in row["warnings"])


def test_half_maps_of_unequal_scale_are_warned_of_only_if_their_average_is_the_map(files, tmp_path):
    other = save(tmp_path / "other.mrc", 20 * mrcfile.read(files[2]))
    for arguments, expected in (((), True), ((files[0],), False)):
        arguments = (*arguments, "--half-maps", files[1], other, "--json", "--overwrite", "-o", tmp_path)
        row = json.loads(run(*arguments).stdout)
        assert any("factor of 20" in warning for warning in row["warnings"]) == expected
        assert not any("do not correlate" in warning for warning in row["warnings"])


def test_a_changed_half_map_or_method_is_computed_again(files, tmp_path):
    copies = [Path(shutil.copy(path, tmp_path)) for path in files[1:]]
    arguments = ("--half-maps", *copies, "--table", tmp_path / "all.jsonl", "-o", tmp_path / "out", "--json")

    def kept(*more):
        finished = run(*arguments, *more)
        assert finished.returncode == 0, finished.stderr
        (row,) = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        return row["kept"]

    assert [kept(), kept()] == [False, True]
    with_noise = mrcfile.read(copies[1]) + white(20)
    copies[1].unlink()
    save(copies[1], with_noise)
    assert [kept(), kept()] == [False, True]
    statistical = ("--method", "statistical", "--model", tmp_path / "none.onnx")
    assert [kept(*statistical), kept(*statistical), kept()] == [False, True, False]


def test_half_maps_in_the_folder_of_a_map_are_suggested(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "other").mkdir()
    map_path = tmp_path / "map" / "emd_1234.map.gz"
    assert half_maps_hint(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_1.map.gz").touch()
    assert half_maps_hint(map_path) is None
    (tmp_path / "other" / "emd_1234_half_map_2.map.gz").touch()
    assert "--half-maps" in half_maps_hint(map_path)
    assert half_maps_hint(tmp_path / "map" / "emd_999.map.gz") is None


def test_the_command_compares_a_map_with_its_half_maps(files, tmp_path):
    finished = run(files[0], "--half-maps", *files[1:], "--json", "--report", "-o", tmp_path)
    assert finished.returncode == 0, finished.stderr
    row = json.loads(finished.stdout)
    estimate, half_map_fsc, difference, mask = (
        read_map(row["files"][kind]).density.values for kind in ("locres", "locres_fsc", "difference", "mask")
    )
    inside = mask > 0
    assert (half_map_fsc[~inside] == 0).all()
    assert (difference[~inside] == 0).all()
    assert_allclose(difference[inside], (estimate - half_map_fsc)[inside], atol=1e-5)
    comparison = row["comparison"]
    assert comparison["rmse"] == pytest.approx(np.sqrt(np.mean(difference[inside] ** 2)), rel=1e-4)
    assert comparison["r"] == pytest.approx(np.corrcoef(estimate[inside], half_map_fsc[inside])[0, 1], abs=1e-4)
    assert comparison["median_fsc"] == pytest.approx(np.median(half_map_fsc[inside]), rel=1e-4)
    assert sum(map(sum, comparison["counts"])) == inside.sum()
    curves = [row["fsc"][name] for name in ("frequencies", "unmasked", "masked", "randomised", "corrected")]
    assert len({len(curve) for curve in curves}) == 1
    assert row["half_maps"] == [str(path) for path in files[1:]]
    page = Path(row["files"]["report"]).read_text("utf-8")
    assert "Comparison with the half maps" in page
    assert page.count("<svg") >= 4
    assert f"{row['fsc']['resolution']:.2f} Å at 0.143" in page
    check_slices(PageReader(page), half_map_fsc, difference, inside, colour_range(estimate))


def check_slices(page, half_map_fsc, difference, mask, colour_limits):
    """Three slices of half-map FSC in the colours of the estimate, and of the difference in blue, grey and red."""
    assert len(page.images("fsc")) == len(page.images("difference")) == 3
    for kind in ("fsc", "difference"):
        for description, image in page.images(kind):
            inside = plane_of(mask, description)
            pixels = np.asarray(image)[::-1]  # the second axis points up
            opaque = pixels[..., 3] == 255
            assert opaque.sum() == inside.sum() > 0
            if kind == "fsc":
                lengths = plane_of(half_map_fsc, description)[inside]
                np.testing.assert_array_equal(pixels[opaque][:, :3], rgb_colours(lengths, *colour_limits))
            else:
                red, _, blue, _ = pixels[opaque].astype(int).T
                differences = plane_of(difference, description)[inside]
                large = np.abs(differences) > 0.2 * np.abs(difference).max()
                assert (np.sign(red - blue) == np.sign(differences))[large].all()


def test_a_row_with_half_maps_fits_the_schema(files, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((packaged("cryores_lite.outputs") / "schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for arguments in (("--half-maps", *files[1:]), (files[0], "--method", "statistical")):
        row = json.loads(run(*arguments, "--json", "--overwrite", "-o", tmp_path).stdout)
        assert row["outcome"] == "done"
        validator.validate(row)


def test_without_a_map_the_average_of_the_half_maps_is_the_map(files, tmp_path):
    row = json.loads(run("--half-maps", *files[1:], "--json", "-o", tmp_path, "--chimerax").stdout)
    assert row["files"]["locres"] == str(tmp_path / "m_locres.mrc")
    mean = read_map(row["files"]["average"]).density.values
    first, second = (read_map(path).density.values for path in files[1:])
    assert_allclose(mean, (first + second) / 2, atol=1e-5)
    assert "m_average.mrc" in Path(row["files"]["chimerax"]).read_text("utf-8")


def test_a_map_without_half_maps_has_empty_fields_and_a_suggestion(files, tmp_path):
    finished = run(files[0], "--json", "-o", tmp_path)
    row = json.loads(finished.stdout)
    assert [row[field] for field in HALF_MAP_FIELDS] == [None] * 3
    assert row["files"]["locres_fsc"] is None
    assert any("--half-maps" in warning for warning in row["warnings"])


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"size": 2.1}, "2.1"),
        ({"origin": (10, 0, 0)}, "first voxel at"),
        ({"crop": 2}, "62 x 62 x 62"),
        ({"same": True}, "copies"),
    ],
)
def test_half_maps_on_another_grid_and_copies_are_refused(files, tmp_path, change, fragment):
    values = mrcfile.read(files[1 if change.pop("same", False) else 2])
    crop = change.pop("crop", 0)
    other = save(tmp_path / "other.mrc", values[: N - crop, : N - crop, : N - crop], **change)
    finished = run(files[0], "--half-maps", files[1], other, "-o", tmp_path / "out")
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert fragment in line
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_map_on_another_grid_than_its_half_maps_is_refused(files, tmp_path):
    other = save(tmp_path / "other.mrc", mrcfile.read(files[0]), size=2.2)
    finished = run(other, "--half-maps", *files[1:], "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "not on the grid" in finished.stderr


def test_contradictory_options_are_usage_errors(files):
    for arguments in (
        (files[0], files[1], "--half-maps", *files[1:]),
        (files[0], "--method", "statistical", "--uncertainty"),
        (files[0], "--method", "guess"),
        ("--maps-from", files[0], "--half-maps", *files[1:]),
        (files[0], "--maps-from", files[0], "--half-maps", *files[1:]),
    ):
        finished = run(*arguments)
        assert (finished.returncode, finished.stdout) == (2, "")
        assert "Usage:" in finished.stderr


def test_the_statistical_method_opens_no_network(files, tmp_path):
    finished = run(
        files[0],
        "--method",
        "statistical",
        "--model",
        tmp_path / "none.onnx",
        "--json",
        "--report",
        "--png",
        "-o",
        tmp_path,
    )
    row = json.loads(finished.stdout)
    assert (row["outcome"], row["method"], row["provider"]) == ("done", "statistical", "numpy")
    assert row["median_uncertainty"] is row["global_resolution"] is row["model"]["name"] is None
    assert np.isfinite(mrcfile.read(row["files"]["locres"])).all()
