"""The page and the picture: their numbers and colours are the answer's, and nothing in them runs or loads anything."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cryores_lite.figures import findings, slices, surface
from cryores_lite.figures.display_map import order, ticks, upright
from cryores_lite.figures.palette import OUTSIDE, colour_range, colours
from cryores_lite.figures.png_summary import SIZE
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import write as outputs
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.types import LocalResolution

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "example_map.mrc"
LIMIT = 3_000_000  # bytes of a page
NAME = """a "b' & <img src=x onerror="owned=1"> ;$name\n.mrc"""
FOLDER = "x<"  # and a file below it that begins with "script>": together they would end a script


class Reader(HTMLParser):
    """Elements, and what stands in scripts and in elements with `data-field`."""

    def __init__(self, words):
        super().__init__()
        self.tags, self.scripts, self.fields, self.text, self._open = [], [], {}, [], None
        self.feed(words)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag, dict(attrs)

    def handle_data(self, data):
        tag, attrs = self._open or ("", {})
        if tag == "script":
            self.scripts.append((attrs, data))
        elif "data-field" in attrs:
            self.fields[attrs["data-field"]] = data
        if tag not in ("script", "style"):
            self.text.append(data)

    def handle_endtag(self, tag):
        self._open = None

    def data(self, name):
        (found,) = (json.loads(words) for attrs, words in self.scripts if attrs.get("id") == name)
        return found

    def images(self, kind):
        """What each picture of a kind is called, and the picture."""
        found = [attrs for tag, attrs in self.tags if tag == "img" and attrs["class"] == kind]
        return [(a["alt"], Image.open(io.BytesIO(base64.b64decode(a["src"].split(",")[1])))) for a in found]


def run(*words):
    command = [sys.executable, "-c", "from cryores_lite.cli import main; main()", *map(str, words), "--threads", "1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command says of the example, and the folder that it wrote into."""
    out = tmp_path_factory.mktemp("page")
    finished = run(EXAMPLE, "--report", "--png", "--json", "-o", out)
    return json.loads(finished.stdout), out


@pytest.fixture(scope="module")
def page(made):
    return made[1] / "example_map_locres.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page of a map whose folder and name try to be markup."""
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    folder.mkdir()
    path = folder / f"script><script>owned=2{NAME}"
    shutil.copy(EXAMPLE, path)
    run(path, "--report", "--png")
    return path, path.with_name(f"{path.stem}_locres.html")


def answer(density_path, mask=None, path=None):
    """An answer to a real map, from 3 Å on one side to 5 Å on the other of a ball, or of another mask."""
    found = read_map(density_path)
    shape = found.density.values.shape
    mask = ball(shape) if mask is None else mask
    values = np.where(mask, np.linspace(3, 5, shape[2], dtype=np.float32), np.float32(0))
    overall = 4.0 if mask.any() else float("nan")
    result = LocalResolution(values, mask, values / 10, found.density.grid, overall, 1.2, "CPUExecutionProvider")
    job = Job(map_path=path or Path(density_path), outputs={"locres": Path("m.mrc")})
    return MapResult(job=job, map=found, local_resolution=result, model=ModelIdentity("net", "1", "ab" * 32))


def ball(shape, part=0.3):
    return sum((np.indices(shape)[n] - size / 2) ** 2 for n, size in enumerate(shape)) < (part * min(shape)) ** 2


def unpacked(words, kind):
    """The page's own way back, in numpy."""
    apart = np.frombuffer(zlib.decompress(base64.b64decode(words)), np.uint8)
    width = np.dtype(kind).itemsize
    steps = np.ascontiguousarray(apart.reshape(width, -1).T).view(np.dtype(kind).newbyteorder("<")).ravel()
    return np.cumsum(steps, dtype=kind)


def test_the_page_holds_the_very_numbers_of_the_json(made, page):
    row, _ = made
    read = Reader(page.read_text("utf-8"))
    assert read.data("row") == {name: value for name, value in row.items() if name != "seconds"}
    for name in ("median", "global_resolution", "median_uncertainty"):
        assert read.fields[name] == f"{row[name]:.2f} Å"
    assert read.fields["half"] == f"{row['percentiles']['25']:.2f} – {row['percentiles']['75']:.2f} Å"
    assert re.sub(r"\D", "", read.fields["mask_volume"][:-2]) == f"{row['mask_volume']:.0f}"
    for value in row["percentiles"].values():
        assert f"{value:.2f} Å" in read.text
    for word in (row["model"]["sha256"], row["provider"], f"{findings.mass(row['mask_volume']):.0f} kDa"):
        assert word in " ".join(read.text)


def test_the_page_asks_for_nothing_from_anywhere(page):
    words = page.read_text("utf-8")
    read = Reader(words)
    loads = [attrs[name] for _, attrs in read.tags for name in ("src", "href", "action", "data") if name in attrs]
    assert loads
    assert all(address.startswith("data:image/png;base64,") for address in loads)
    assert "://" not in words
    assert "url(//" not in words
    (policy,) = (a["content"] for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_names_that_look_like_markup_stay_names(hostile, page):
    path, made = hostile
    words = made.read_text("utf-8")
    read, plain = Reader(words), Reader(page.read_text("utf-8"))
    assert read.data("row")["input"] == str(path)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attrs) for _, attrs in read.tags] == [sorted(attrs) for _, attrs in plain.tags]
    assert "<script>owned" not in words
    assert path.name in read.text


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are a thing of Linux")
def test_a_name_that_is_no_text_has_a_page_too(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mrc"))
    for what in ("report", "png"):
        outputs.write(what, tmp_path / what, answer(EXAMPLE, path=path))
    assert "<h1>??.mrc</h1>" in (tmp_path / "report").read_text("utf-8")


def test_the_colours_of_the_slices_are_the_palette_s(made, page):
    _, out = made
    values = mrcfile.read(out / "example_map_locres.mrc")
    ends, read = colour_range(values), Reader(page.read_text("utf-8"))
    assert len(read.images("local")) == 5
    for place, image in read.images("local"):
        axis, number = re.search(r"([xyz]) = (\d+)", place).groups()
        plane = values.take(int(number), "zyx".index(axis))
        pixels = np.asarray(image)[::-1]  # the second axis points up
        shown = pixels[..., 3] == 255
        assert shown.sum() == (plane > 0).sum() == (pixels[..., 3] > 0).sum() > 0
        np.testing.assert_array_equal(pixels[shown][:, :3], colours(plane[plane > 0], *ends))


def test_best_and_worst_sections_are_no_worse_and_no_better_than_the_middle(made, page):
    values = mrcfile.read(made[1] / "example_map_locres.mrc")
    medians = []
    for place, _ in Reader(page.read_text("utf-8")).images("density"):
        plane = values.take(int(place.split()[-1]), "zyx".index(place.split()[-3]))
        medians.append(np.median(plane[plane > 0]))
    middle, *_, best, worst = medians
    assert best <= middle <= worst


def test_the_picture_opens_and_has_the_palette_s_colours(made):
    _, out = made
    values = mrcfile.read(out / "example_map_locres.mrc")
    with Image.open(out / "example_map_locres.png") as image:
        assert (image.format, image.size) == ("PNG", SIZE)
        assert SIZE[0] == 1200
        found = set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()))
    number = round(float(np.average(np.arange(len(values)), weights=(values > 0).sum((1, 2)))))
    plane = values[number]
    wanted = set(map(tuple, colours(plane[plane > 0], *colour_range(values)).tolist()))
    assert wanted <= found


def test_an_empty_mask_is_said_and_not_drawn(tmp_path):
    nothing = answer(EXAMPLE, np.zeros(read_map(EXAMPLE).density.values.shape, bool))
    for what in ("report", "png"):
        outputs.write(what, tmp_path / what, nothing)
    read = Reader((tmp_path / "report").read_text("utf-8"))
    assert read.data("mesh") is None
    assert read.data("row")["median"] is None
    assert (read.fields["median"], read.fields["mask_volume"]) == ("none", "0 Å³")
    assert sum("No molecule was found" in words for words in read.text) >= 2
    assert len(read.images("density")) == 3
    with Image.open(tmp_path / "png") as image:
        assert image.size == SIZE


def test_the_worst_map_still_makes_a_small_page(tmp_path):
    """Noise everywhere, with an answer everywhere: nothing packs, and the surface has no end."""
    rng = np.random.default_rng(0)
    with mrcfile.new(tmp_path / "noise.mrc") as mrc:
        mrc.set_data(rng.normal(size=(200, 250, 240)).astype(np.float32))
        mrc.voxel_size = 1.1
    noisy = answer(tmp_path / "noise.mrc", np.ones((200, 250, 240), bool))
    result = noisy.local_resolution
    result = replace(result, values=result.values + rng.random(result.values.shape, np.float32))
    outputs.write("report", tmp_path / "page.html", replace(noisy, local_resolution=result))
    assert (tmp_path / "page.html").stat().st_size < LIMIT
    mesh = Reader((tmp_path / "page.html").read_text("utf-8")).data("mesh")
    assert 0 < mesh["triangles"] <= surface.TRIANGLES


def test_every_axis_order_of_a_file_is_turned_the_same_way_up():
    there = answer(EXAMPLE)
    density = there.map.density.values
    for axes in ((1, 2, 3), (3, 1, 2), (2, 1, 3)):
        stored = [3 - axis for axis in reversed(axes)]  # the upright axis that each stored one is
        values, mask = (
            field.transpose(stored) for field in (there.local_resolution.values, there.local_resolution.mask)
        )
        result = replace(there.local_resolution, values=values, mask=mask)
        shown = upright(density.transpose(stored), result, axes)
        np.testing.assert_array_equal(shown.density, density)
        np.testing.assert_array_equal(shown.local, there.local_resolution.values)
        assert sorted(order(axes)) == [0, 1, 2]


def test_slices_keep_every_voxel_of_a_plane_and_reach_beyond_a_short_axis():
    rng = np.random.default_rng(1)
    density = rng.normal(size=(20, 31, 44)).astype(np.float32)
    mask = np.ones(density.shape, bool)
    seen = slices.frame(mask)
    for part, plane in zip(
        slices.orthogonal(density, density, mask, seen), (density[10], density[:, 15], density[:, :, 22]), strict=True
    ):
        known = part.density[np.isfinite(part.density)].reshape(plane.shape)
        np.testing.assert_array_equal(known[::-1], plane)


def test_large_slices_are_averaged_and_answers_are_picked():
    mask = np.broadcast_to(ball((1, 400, 430), 180), (9, 400, 430))
    values = np.where(mask, np.float32(4), np.float32(0))
    seen = slices.frame(mask)
    part = slices.cut(values, values, mask, seen, 0, seen.centre[0])
    assert (seen.step, part.density.shape) == (2, (seen.side // 2,) * 2)
    assert max(part.density.shape) <= slices.PIXELS
    assert set(np.unique(part.local)) == {0, 4}
    assert np.nan_to_num(part.density).mean() == pytest.approx(part.local.mean(), rel=0.01)


def test_a_surface_is_closed_faces_outwards_and_has_the_colours_of_its_voxels():
    shape = (50, 60, 70)
    far = np.sqrt(sum((np.indices(shape)[n] - c) ** 2 for n, c in enumerate((22, 30, 40))))
    density, mask = (20 - far).astype(np.float32), far < 18
    local = np.where(mask, np.float32(4), np.float32(0))
    mesh = surface.surface(density, local, mask, (1.5, 1.5, 1.5), 4.0, (3.0, 5.0))
    a, b, c = (mesh.positions[mesh.triangles[:, n]] * (mesh.span / surface.FULL) for n in range(3))
    volume = np.einsum("ni,ni->n", a, np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * np.pi * 16**3 * 1.5**3, rel=0.03)
    assert mesh.span == pytest.approx(2 * 16 * 1.5, rel=0.02)
    edges = np.sort(np.concatenate([mesh.triangles[:, [m, n]] for m, n in ((0, 1), (1, 2), (2, 0))]), axis=1)
    assert set(np.unique(edges, axis=0, return_counts=True)[1]) == {2}
    wanted = colours(np.array(4.0), 3.0, 5.0).astype(int)
    assert np.abs(mesh.colours.astype(int) - wanted).max() <= 1
    grey = [int(OUTSIDE[n : n + 2], 16) for n in (1, 3, 5)]
    assert not (mesh.colours == grey).all(axis=1).any()


def test_a_mesh_comes_out_of_the_page_as_it_went_in():
    rng = np.random.default_rng(2)
    density = ndimage.gaussian_filter(rng.normal(size=(30, 34, 38)), 2).astype(np.float32)
    mask = ball(density.shape, 0.45)
    local = np.where(mask, 3 + rng.random(density.shape, np.float32), np.float32(0))
    mesh = surface.surface(density, local, mask, (1.0, 1.0, 1.0), 0.02, (3.0, 4.0))
    words = surface.packed(mesh)
    np.testing.assert_array_equal(unpacked(words["positions"], np.uint16).reshape(3, -1).T, mesh.positions)
    np.testing.assert_array_equal(unpacked(words["colours"], np.uint8).reshape(3, -1).T, mesh.colours)
    np.testing.assert_array_equal(unpacked(words["corners"], np.uint32).reshape(-1, 3), mesh.triangles)


def test_notes_say_what_is_so_and_nothing_of_an_ordinary_map():
    plain = answer(EXAMPLE)
    density, result = plain.map.density.values, plain.local_resolution
    assert findings.notes(density, result) == []
    (masked,) = findings.notes(np.where(ball(density.shape, 0.45), density, 0), result)
    assert "masked or padded" in masked
    shifted = replace(result, mask=np.roll(result.mask, 30, 0), values=np.roll(result.values, 30, 0))
    (cropped,) = findings.notes(density, shifted)
    assert "edge of the box" in cropped
    (limited,) = findings.notes(density, replace(result, values=np.where(result.mask, np.float32(2.4), 0)))
    assert "2.40 Å, two voxels" in limited
    (beyond,) = findings.notes(density, replace(result, values=result.values * 10))
    assert "1.3 to 20 Å" in beyond


@pytest.mark.parametrize(("low", "high"), [(3.05, 3.15), (3.2, 5.3), (7.4, 9.0), (2.0, 40.0)])
def test_ticks_are_few_and_lie_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 10
    assert all(low - 1e-6 <= value <= high + 1e-6 and float(said) == pytest.approx(value) for value, said in found)


PIXELS = """(() => {
  const canvas = document.getElementById("surface"), gl = canvas.getContext("webgl2");
  const found = new Uint8Array(canvas.width * canvas.height * 4);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, found);
  let drawn = 0, sum = 0;
  for (let n = 0; n < found.length; n += 4)
    if (found[n] + found[n + 1] + found[n + 2] < 750) { drawn++; sum = (sum * 31 + found[n] + n) % 1e9; }
  return {drawn, sum, all: canvas.width * canvas.height};
})()"""
MIDDLE = """(() => {
  const canvas = document.getElementById("surface");
  canvas.scrollIntoView();
  const box = canvas.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
CUT = """(() => {
  const slider = document.getElementById("cut");
  slider.value = 70;
  slider.dispatchEvent(new Event("input"));
})()"""
DRAWN = "Number(document.getElementById('surface').dataset.drawn)"


def pixels(browser, after):
    """Read the surface's pixels once it was drawn more than so many times."""
    browser.until(f"{DRAWN} > {after}")
    return browser.see(PIXELS)


def test_the_page_works_in_a_browser(browser, made, page):
    row, _ = made
    browser.open(page)
    first = pixels(browser, 0)
    assert first["all"] > 10_000
    assert 0.05 < first["drawn"] / first["all"] < 0.9
    assert browser.see("[...document.images].filter((image) => image.naturalWidth > 0).length") == 10
    shown = browser.see("document.querySelector('[data-field=median]').textContent")
    told = browser.see("JSON.parse(document.getElementById('row').textContent)")
    assert shown == f"{told['median']:.2f} Å" == f"{row['median']:.2f} Å"
    assert browser.complaints() == []
    assert {address for address in browser.requests() if not address.startswith("data:")} == {page.resolve().as_uri()}


def test_the_surface_turns_zooms_is_cut_and_comes_back(browser, page):
    browser.open(page)
    first = pixels(browser, 0)
    place = browser.see(MIDDLE)
    count = browser.see(DRAWN)
    browser.drag(place, (120, 40))
    turned = pixels(browser, count)
    assert turned["sum"] != first["sum"]
    count = browser.see(DRAWN)
    browser.ask("Input.dispatchMouseEvent", type="mouseWheel", x=place[0], y=place[1], deltaX=0, deltaY=600)
    smaller = pixels(browser, count)
    assert smaller["drawn"] < 0.7 * turned["drawn"]
    count = browser.see(DRAWN)
    browser.see(CUT)
    assert pixels(browser, count)["drawn"] < smaller["drawn"]
    count = browser.see(DRAWN)
    browser.see("document.getElementById('reset').click()")
    assert pixels(browser, count) == first
    assert browser.complaints() == []


def test_hostile_names_do_not_run_in_a_browser(browser, hostile):
    path, made = hostile
    browser.open(made)
    assert pixels(browser, 0)["drawn"] > 0
    assert browser.see("typeof owned") == "undefined"
    assert browser.see("document.querySelector('h1').textContent") == path.name
    assert browser.complaints() == []
