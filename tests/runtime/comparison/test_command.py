"""`cryores-lite-compare`: the sign, the kinds of input, the files, and what is refused."""

import json
import re
import shutil
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from cryores_lite.comparison.measure import CLEAR_Z
from cryores_lite.figures.palette import DIFFERENCE_STOPS, difference_limit, rgb_colours
from cryores_lite.io.mrc import read_map, write_map
from tests.runtime.command import COMPARE, one_error, run
from tests.runtime.figures.helpers import PageReader
from tests.runtime.maps import filtered, save, wave_numbers, white_noise
from tests.runtime.paths import EXAMPLE

pytestmark = pytest.mark.slow
SUFFIXES = ("_difference.mrc", "_zscore.mrc", ".html", ".png", ".json")
SCHEMA = json.loads(files("cryores_lite.comparison").joinpath("schema.json").read_text("utf-8"))


def compare(*words, folder, **options):
    return run(*words, "-j", 1, command=COMPARE, cwd=folder, **options)


def values(path):
    return read_map(path).density.values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example, a copy with much more noise, two noisy half maps, and the first compared with the second."""
    folder = tmp_path_factory.mktemp("compare")
    shutil.copy(EXAMPLE, folder / "good.mrc")
    source = read_map(EXAMPLE)
    density, k = source.density.values, wave_numbers(source.density.grid.shape, source.density.grid.voxel_size[0])
    noise = [filtered(white_noise(n, density.shape), k < 1 / 3) for n in range(3)]
    for name, n in (("poor", 0), ("half1", 1), ("half2", 2)):
        noisy = (density + 1.5 * density.std() * noise[n] / noise[n].std()).astype(np.float32)
        write_map(folder / f"{name}.mrc", noisy, source.header, label="with noise")
    finished = compare("good.mrc", "poor.mrc", "--json", folder=folder, check=True)
    (folder / "line.json").write_text(finished.stdout)
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    """Finished local resolutions of both maps in a folder of their own, with records."""
    finished = folder / "answers"
    run("good.mrc", "poor.mrc", "--uncertainty", "--table", "t.csv", "-o", finished, "-j", 1, cwd=folder, check=True)
    return finished


def test_more_noise_is_coarser_and_the_sign_says_so(folder):
    row = json.loads((folder / "line.json").read_text())
    assert row["difference"]["median"] > 0.2
    assert row["difference"]["fraction_negative"] < 0.05
    assert row["clear"]["b_finer"] == 0
    assert row["a"]["median"] < row["b"]["median"]
    d = values(folder / "good_vs_poor_difference.mrc")
    assert np.median(d[d != 0]) == pytest.approx(row["difference"]["median"], abs=0.02)
    z = values(folder / "good_vs_poor_zscore.mrc")
    assert np.array_equal(np.sign(z), np.sign(d))
    assert read_map(folder / "good_vs_poor_difference.mrc").header == read_map(EXAMPLE).header


def test_all_files_are_there_and_no_other(folder):
    row = json.loads((folder / "line.json").read_text())
    names = {f"good_vs_poor{suffix}" for suffix in SUFFIXES}
    assert {path.name for path in folder.glob("*_vs_poor*")} == names
    assert {name.rsplit("/", 1)[-1] for name in row["files"].values()} == names


def test_the_json_has_its_schema(folder):
    validate = pytest.importorskip("jsonschema").validate
    line = json.loads((folder / "line.json").read_text())
    written = json.loads((folder / "good_vs_poor.json").read_text())
    for row in (line, written, PageReader((folder / "good_vs_poor.html").read_text("utf-8")).data("row")):
        validate(row, SCHEMA)
        assert {**row, "seconds": 0} == {**line, "seconds": 0}


def test_a_map_is_as_good_as_itself(folder, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "copy.mrc")
    finished = compare(folder / "good.mrc", "copy.mrc", "-o", ".", folder=tmp_path, check=True)
    assert "Neither is clearly better resolved" in finished.stdout
    assert "shift of B         0.0 Å" in finished.stdout
    assert not any((tmp_path / "good_vs_copy_difference.mrc").read_bytes()[1024:])


def test_finished_local_resolutions_give_what_their_maps_give(folder, answers, tmp_path):
    first, second = answers / "good_locres.mrc", answers / "poor_locres.json"
    finished = compare(first, second, "-o", tmp_path, "--json", folder=folder, check=True)
    row = json.loads(finished.stdout)
    assert [row[side]["kind"] for side in "ab"] == ["local resolution"] * 2
    assert row["model"] is None
    for ending in ("difference", "zscore"):
        expected = values(folder / f"good_vs_poor_{ending}.mrc")
        np.testing.assert_array_equal(values(tmp_path / f"good_vs_poor_{ending}.mrc"), expected)


def test_without_errors_there_is_no_score(folder, answers, tmp_path):
    for name in ("good_locres.mrc", "poor_locres.mrc"):
        shutil.copy(answers / name, tmp_path)
    finished = compare("good_locres.mrc", "poor_locres.mrc", "--json", folder=tmp_path, check=True)
    row = json.loads(finished.stdout)
    pytest.importorskip("jsonschema").validate(row, SCHEMA)
    assert (row["clear"], row["difference"]["error"], row["shift"]["from"]) == (None, None, "masks")
    assert not list(tmp_path.glob("*zscore*"))
    assert "errors are unknown" in (tmp_path / "good_vs_poor.html").read_text("utf-8")


def test_other_programs_constant_outside_the_molecule_is_outside(folder, answers, tmp_path):
    own = values(answers / "poor_locres.mrc")
    save(tmp_path / "resmap.mrc", np.where(own > 0, own, np.float32(100)), voxel_size=1.2)
    finished = compare(answers / "good_locres.mrc", "resmap.mrc", "-o", ".", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    expected = values(folder / "good_vs_poor_difference.mrc")
    np.testing.assert_array_equal(values(tmp_path / "good_vs_resmap_difference.mrc"), expected)


def test_half_maps_take_the_place_of_b(folder, tmp_path):
    words = ("good.mrc", "--half-maps", "half1.mrc", "half2.mrc", "-o", tmp_path, "--json")
    row = json.loads(compare(*words, folder=folder, check=True).stdout)
    pytest.importorskip("jsonschema").validate(row, SCHEMA)
    assert (row["b"]["kind"], row["b"]["has_error"], len(row["b"]["input"])) == ("half maps", False, 2)
    run("good.mrc", "--half-maps", "half1.mrc", "half2.mrc", "-o", tmp_path, "-j", 1, cwd=folder, check=True)
    expected = values(tmp_path / "good_locres_difference.mrc")  # estimate minus half maps
    np.testing.assert_allclose(values(tmp_path / "good_vs_fsc_difference.mrc"), -expected, atol=1e-4)


def test_chains_are_compared_at_their_atoms(folder, answers, tmp_path):
    pytest.importorskip("gemmi")
    source = read_map(EXAMPLE)
    d = values(folder / "good_vs_poor_difference.mrc")
    inside = np.argwhere(d != 0)[::200]
    lines = []
    for n, (z, y, x) in enumerate(inside * source.density.grid.voxel_size[0], 1):
        lines.append(f"ATOM  {n:5}  CA  ALA {'AB'[n % 2]}{n:4}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C")
    (tmp_path / "model.pdb").write_text("\n".join((*lines, "END", "")))
    words = (answers / "good_locres.mrc", answers / "poor_locres.mrc", "-o", ".", "--atoms", "model.pdb", "--json")
    row = json.loads(compare(*words, folder=tmp_path, check=True).stdout)
    pytest.importorskip("jsonschema").validate(row, SCHEMA)
    at_atoms = d[tuple(inside.T)]
    for chain in row["chains"]:
        own = at_atoms["BA".index(chain["chain"]) :: 2]
        assert chain["atoms"] == len(own)
        assert chain["difference"] == pytest.approx(own.mean(), abs=0.01)
        assert chain["z"] == pytest.approx(chain["difference"] / chain["error"])
    assert "Chains of the model" in (tmp_path / "good_vs_poor.html").read_text("utf-8")


def test_a_shifted_map_is_told(folder, answers, tmp_path):
    source = read_map(EXAMPLE)
    write_map(tmp_path / "moved.mrc", np.roll(source.density.values, 3, 2), source.header, label="moved")
    finished = compare(folder / "good.mrc", "moved.mrc", "-o", ".", folder=tmp_path, check=True)
    assert re.search(r"shifted against each other by 3\.[567] Å.*moved by -3\.[567]", finished.stderr)


def test_pictures_have_the_colours_of_the_difference(folder):
    d = values(folder / "good_vs_poor_difference.mrc")
    error = json.loads((folder / "line.json").read_text())["difference"]["error"]
    limit = max(difference_limit(d[d != 0]), CLEAR_Z * error)
    page = PageReader((folder / "good_vs_poor.html").read_text("utf-8"))
    for description, image in page.images("difference"):
        pixels = np.asarray(image)
        number, axis = int(description.split()[-1]), "zyx".index(description.split()[-3])
        plane = d.take(number, axis)
        expected = {tuple(c) for c in rgb_colours(plane[plane != 0], -limit, limit, DIFFERENCE_STOPS).tolist()}
        shown = {tuple(c) for c in pixels[pixels[..., 3] > 0][:, :3].tolist()}
        assert shown <= expected | {tuple(c) for c in rgb_colours(np.zeros(1), -1, 1, DIFFERENCE_STOPS).tolist()}
    with Image.open(folder / "good_vs_poor.png") as picture:
        assert picture.size == (1200, 930)


def test_one_range_colours_both_sides(folder, answers, tmp_path):
    words = (answers / "good_locres.mrc", answers / "poor_locres.mrc", "-o", tmp_path, "--range", "3,8")
    compare(*words, folder=folder, check=True)
    page = PageReader((tmp_path / "good_vs_poor.html").read_text("utf-8"))
    for letter, name in (("A", "good"), ("B", "poor")):
        local = values(answers / f"{name}_locres.mrc")
        expected = {tuple(colour) for colour in rgb_colours(local[local > 0], 3, 8).tolist()}
        for description, image in page.images("local"):
            if description.startswith(letter):
                pixels = np.asarray(image)
                assert {tuple(c) for c in pixels[pixels[..., 3] > 0][:, :3].tolist()} <= expected


def test_the_page_works_offline_and_fits_a_narrow_window(folder, browser):
    for width in (1400, 400):
        browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        browser.open(folder / "good_vs_poor.html")
        assert browser.complaints() == []
        assert all(url.startswith(("file:", "data:")) for url in browser.requests())
        assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert "coarser than A" in browser.evaluate("document.querySelector('.verdict').textContent")
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_maps_that_do_not_overlap_are_refused_in_one_line(tmp_path):
    source = read_map(EXAMPLE)
    for name, x in (("here", 10.0), ("there", 1000.0)):
        save(tmp_path / f"{name}.mrc", source.density.values, voxel_size=1.2, fields={"origin": (x, 10.0, 10.0)})
    finished = compare("here.mrc", "there.mrc", folder=tmp_path)
    assert finished.returncode == 1
    one_error(finished, "there.mrc cannot be compared with here.mrc", "fitmap")
    assert len(list(tmp_path.iterdir())) == 2


def test_existing_files_stay(folder, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "a.mrc")
    shutil.copy(EXAMPLE, tmp_path / "b.mrc")
    (tmp_path / "a_vs_b.png").write_text("mine")
    finished = compare("a.mrc", "b.mrc", folder=tmp_path)
    assert finished.returncode == 1
    one_error(finished, "a_vs_b.png", "--overwrite")
    assert (tmp_path / "a_vs_b.png").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "code", "fragment"),
    [
        (("good.mrc",), 2, "Name two maps"),
        (("good.mrc", "poor.mrc", "--half-maps", "half1.mrc", "half2.mrc"), 2, "Name two maps"),
        (("good.mrc", "poor.mrc", "--range", "5,3"), 2, "--range"),
        (("good.mrc", "missing.mrc"), 1, "missing.mrc"),
        (("good.mrc", "odd.json"), 1, "record"),
        (("good.mrc", "poor.mrc", "--atoms", "missing.cif", "-o", "new"), 1, "missing.cif"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder, words, code, fragment):
    (folder / "odd.json").write_text('{"row": null}')
    finished = compare(*words, folder=folder)
    assert finished.returncode == code
    assert fragment in finished.stderr
    assert "Traceback" not in finished.stderr
