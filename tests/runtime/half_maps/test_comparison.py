"""Half maps in the command: checked, compared with the estimate, written and reported."""

import json
import shutil
from functools import partial
from importlib.resources import files as packaged
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite.figures.palette import CLEAR_DIFFERENCE_COLOUR, colour_range, rgb, rgb_colours
from cryores_lite.half_maps.comparison import quick_side
from cryores_lite.io.mrc import read_map
from tests.runtime import maps
from tests.runtime.command import one_error, rows, run
from tests.runtime.figures.helpers import PageReader, plane_of
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, molecule_half_maps, white_noise

save = partial(maps.save, voxel_size=HALF_MAP_VOXEL_SIZE)
HALF_MAP_FIELDS = ("half_maps", "fsc", "comparison")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    first, second = (half.values for half in molecule_half_maps())
    return [
        save(folder / name, values)
        for name, values in (("m.mrc", (first + second) / 2), ("m_half1.mrc", first), ("m_half2.mrc", second))
    ]


@pytest.mark.slow
def test_half_maps_passed_as_half_maps_are_not_warned_of(files, tmp_path):
    for arguments in (("--half-maps", *files[1:]), (files[1], "--half-maps", *files[1:])):
        (row,) = rows(run(*arguments, "--json", "--overwrite", "-o", tmp_path, "-j", 1))
        assert not any("half map" in warning for warning in row["warnings"])
    (row,) = rows(run(files[1], "--json", "--overwrite", "-o", tmp_path, "-j", 1))
    assert any("half map" in warning for warning in row["warnings"])


@pytest.mark.slow
def test_inverted_half_maps_are_warned_of(files, tmp_path):
    inverted = [save(tmp_path / path.name, -mrcfile.read(path)) for path in files[1:]]
    (row,) = rows(run("--half-maps", *inverted, "--json", "-j", 1))
    assert any("inverted" in warning for warning in row["warnings"])


@pytest.mark.slow
def test_half_maps_that_do_not_correlate_are_warned_of(files, tmp_path):
    other = save(tmp_path / "other.mrc", -mrcfile.read(files[2]))
    (row,) = rows(run(files[0], "--half-maps", files[1], other, "--json", "-o", tmp_path, "-j", 1))
    assert any("do not correlate" in warning for warning in row["warnings"])


@pytest.mark.slow
def test_half_maps_of_unequal_scale_are_warned_of_only_if_their_average_is_the_map(files, tmp_path):
    other = save(tmp_path / "other.mrc", 20 * mrcfile.read(files[2]))
    for arguments, expected in (((), True), ((files[0],), False)):
        arguments = (*arguments, "--half-maps", files[1], other, "--json", "--overwrite", "-o", tmp_path, "-j", 1)
        (row,) = rows(run(*arguments))
        assert any("factor of 20" in warning for warning in row["warnings"]) == expected
        assert not any("do not correlate" in warning for warning in row["warnings"])


@pytest.mark.slow
def test_a_changed_half_map_or_method_is_computed_again(files, tmp_path):
    copies = [Path(shutil.copy(path, tmp_path)) for path in files[1:]]
    arguments = ("--half-maps", *copies, "--table", tmp_path / "all.jsonl", "-o", tmp_path / "out", "-j", 1)

    def kept(*more):
        run(*arguments, *more, check=True)
        (row,) = map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines())
        return row["kept"]

    assert [kept(), kept()] == [False, True]
    with_noise = mrcfile.read(copies[1]) + white_noise(20, HALF_MAP_SHAPE)
    copies[1].unlink()
    save(copies[1], with_noise)
    assert [kept(), kept()] == [False, True]
    statistical = ("--method", "statistical", "--model", tmp_path / "none.onnx")
    assert [kept(*statistical), kept(*statistical), kept()] == [False, True, False]


@pytest.mark.slow
def test_the_command_compares_a_map_with_its_half_maps(files, tmp_path):
    words = ("--json", "--report", "--uncertainty", "-o", tmp_path, "-j", 1)
    (row,) = rows(run(files[0], "--half-maps", *files[1:], *words, check=True))
    names = ("locres", "locres_fsc", "difference", "mask", "uncertainty")
    estimate, half_map_fsc, difference, mask, error = (read_map(row["files"][n]).density.values for n in names)
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
    is_clear = np.abs(difference) > 2 * np.hypot(error, 0.05 * half_map_fsc)
    assert comparison["finer"] + comparison["coarser"] == pytest.approx(is_clear[inside].mean(), abs=2e-4)
    assert "Red outlines: the two differ by more than twice the error of both." in page
    check_slices(PageReader(page), half_map_fsc, difference, inside, is_clear & inside, colour_range(estimate))


def check_slices(page, half_map_fsc, difference, mask, is_clear, colour_limits):
    """Three slices of half-map FSC in the colours of the estimate, and of the difference in blue, grey and red.

    The rims of regions with clear differences are red in the slices of half-map FSC.
    """
    assert len(page.images("fsc")) == len(page.images("difference")) == 3
    outlined = 0
    for description, image in page.images("fsc"):
        inside, colours = plane_of(mask, description), opaque_colours(image)
        lengths, marked = plane_of(half_map_fsc, description)[inside], plane_of(is_clear, description)
        rim = (marked & ~ndimage.binary_erosion(marked))[inside]
        assert len(colours) == inside.sum() > 0
        np.testing.assert_array_equal(colours[~rim], rgb_colours(lengths, *colour_limits)[~rim])
        assert (colours[rim] == rgb(CLEAR_DIFFERENCE_COLOUR)).all()
        outlined += rim.sum()
    assert outlined > 10
    for description, image in page.images("difference"):
        inside, colours = plane_of(mask, description), opaque_colours(image)
        differences = plane_of(difference, description)[inside]
        is_large = np.abs(differences) > 0.2 * np.abs(difference).max()
        assert len(colours) == inside.sum()
        assert is_large.sum() > 10
        red, _, blue = colours.astype(int).T
        assert (np.sign(red - blue) == np.sign(differences))[is_large].all()


def opaque_colours(image):
    """(n, 3) the colours of the opaque pixels of an image, from the bottom upwards."""
    pixels = np.asarray(image)[::-1]
    return pixels[pixels[..., 3] == 255][:, :3]


@pytest.mark.slow
def test_a_row_with_half_maps_fits_the_schema(files, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((packaged("cryores_lite.outputs") / "schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for arguments in (("--half-maps", *files[1:]), (files[0], "--method", "statistical")):
        (row,) = rows(run(*arguments, "--json", "--overwrite", "-o", tmp_path, "-j", 1))
        assert row["outcome"] == "done"
        validator.validate(row)


@pytest.mark.slow
def test_without_a_map_the_average_of_the_half_maps_is_the_map(files, tmp_path):
    (row,) = rows(run("--half-maps", *files[1:], "--json", "-o", tmp_path, "--chimerax", "-j", 1))
    assert row["files"]["locres"] == str(tmp_path / "m_locres.mrc")
    mean = read_map(row["files"]["average"]).density.values
    first, second = (read_map(path).density.values for path in files[1:])
    assert_allclose(mean, (first + second) / 2, atol=1e-5)
    assert "m_average.mrc" in Path(row["files"]["chimerax"]).read_text("utf-8")


@pytest.mark.slow
def test_a_map_without_half_maps_has_empty_fields_and_a_suggestion(files, tmp_path):
    finished = run(files[0], "--json", "-o", tmp_path, "-j", 1)
    (row,) = rows(finished)
    assert [row[field] for field in HALF_MAP_FIELDS] == [None] * 3
    assert row["files"]["locres_fsc"] is None
    assert any("--half-maps" in warning for warning in row["warnings"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "edge", "header", "fragment"),
    [
        (2, 64, {"voxel_size": 2.1}, "2.1"),
        (2, 64, {"fields": {"origin": (10, 0, 0)}}, "first voxel at"),
        (2, 62, {}, "62 x 62 x 62"),
        (1, 64, {}, "copies"),
    ],
)
def test_half_maps_on_another_grid_and_copies_are_refused(files, tmp_path, source, edge, header, fragment):
    other = save(tmp_path / "other.mrc", mrcfile.read(files[source])[:edge, :edge, :edge], **header)
    finished = run(files[0], "--half-maps", files[1], other, "-o", tmp_path / "out")
    assert (finished.returncode, finished.stdout) == (1, "")
    one_error(finished, fragment)
    assert [path.name for path in tmp_path.iterdir()] == ["other.mrc"]


@pytest.mark.slow
def test_a_map_on_another_grid_than_its_half_maps_is_refused(files, tmp_path):
    other = save(tmp_path / "other.mrc", mrcfile.read(files[0]), voxel_size=2.2)
    finished = run(other, "--half-maps", *files[1:], "-o", tmp_path / "out")
    assert finished.returncode == 1
    assert "not on the grid" in finished.stderr


@pytest.mark.slow
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


@pytest.mark.slow
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
    (row,) = rows(finished)
    assert (row["outcome"], row["method"], row["provider"]) == ("done", "statistical", "numpy")
    assert row["median_uncertainty"] is row["global_resolution"] is row["model"]["name"] is None
    assert np.isfinite(mrcfile.read(row["files"]["locres"])).all()


@pytest.mark.slow
def test_a_half_map_moved_by_half_a_voxel_is_said_in_the_warnings_and_the_json(files, tmp_path):
    second = mrcfile.read(files[2])
    waves = ndimage.fourier_shift(fft.rfftn(second), (0.5, 0, 0), n=second.shape[2])
    moved = save(tmp_path / "moved.mrc", fft.irfftn(waves, s=second.shape).astype(np.float32))
    (row,) = rows(run(files[0], "--half-maps", files[1], moved, "--json", "-o", tmp_path, "-j", 1))
    assert_allclose(row["comparison"]["alignment"]["shift"], (0, 0, 0.5 * row["voxel_size"]), atol=0.2)
    assert any("shifted by 0.5" in warning for warning in row["warnings"])


def test_a_side_of_the_box_is_extended_to_a_quick_length_and_stays_in_the_grid():
    for n in (20, 97, 211):
        for low in range(0, n, 7):
            for high in range(low + 1, n + 1, 5):
                first, length = quick_side(low, high, n)
                assert 0 <= first <= low
                assert high <= first + length <= n
                assert length == high - low or max(primes(length)) <= 5


def primes(number):
    return [p for p in range(2, number + 1) if number % p == 0 and all(p % q for q in range(2, p))] or [1]
