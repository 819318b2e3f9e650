"""The HTML report shows the numbers and colours of the result, runs no foreign script and loads nothing."""

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite.figures import report_notes, surface
from cryores_lite.figures.palette import colour_range, rgb_colours
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import write as outputs
from tests.runtime.command import run
from tests.runtime.figures.helpers import PageReader, make_answer, plane_of
from tests.runtime.maps import save
from tests.runtime.paths import EXAMPLE

MAX_PAGE_SIZE = 3_000_000  # bytes
MARKUP_NAME = """a "b' & <img src=x onerror="owned=1"> ;$name\n.mrc"""
MARKUP_FOLDER = "x<"  # followed by a file name that begins with "script>": together they would end a script element


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A map whose folder and name contain markup, and its page."""
    folder = tmp_path_factory.mktemp("hostile") / MARKUP_FOLDER
    folder.mkdir()
    map_path = folder / f"script><script>owned=2{MARKUP_NAME}"
    shutil.copy(EXAMPLE, map_path)
    run(map_path, "--report", "--png", "-j", 1, check=True)
    return map_path, map_path.with_name(f"{map_path.stem}_locres.html")


@pytest.mark.slow
def test_the_page_holds_the_numbers_of_the_json(example_output, report_path):
    row, _ = example_output
    page = PageReader(report_path.read_text("utf-8"))
    assert page.data("row") == {name: value for name, value in row.items() if name not in ("seconds", "peak_memory_gb")}
    (time_and_memory,) = (text for text in page.text if "s for the estimate" in text)
    seconds, gigabytes = map(float, re.findall(r"\d+\.\d+", time_and_memory))
    assert 0 < seconds <= row["seconds"] + 0.05
    assert 0 < gigabytes <= row["peak_memory_gb"] + 0.005
    for name in ("median", "global_resolution", "median_uncertainty"):
        assert page.fields[name] == f"{row[name]:.2f} Å"
    assert page.fields["half"] == f"{row['percentiles']['25']:.2f} – {row['percentiles']['75']:.2f} Å"
    assert re.sub(r"\D", "", page.fields["mask_volume"][:-2]) == f"{row['mask_volume']:.0f}"
    for value in row["percentiles"].values():
        assert f"{value:.2f} Å" in page.text
    mass = f"{report_notes.protein_mass(row['mask_volume']):.0f} kDa"
    for text in (row["model"]["sha256"], row["provider"], mass):
        assert text in " ".join(page.text)


@pytest.mark.slow
def test_the_page_loads_nothing_from_outside(report_path):
    html = report_path.read_text("utf-8")
    page = PageReader(html)
    addresses = [attrs[name] for _, attrs in page.tags for name in ("src", "href", "action", "data") if name in attrs]
    assert addresses
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert "://" not in html
    assert "url(//" not in html
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.slow
def test_markup_in_names_is_shown_as_text(hostile, report_path):
    map_path, hostile_path = hostile
    html = hostile_path.read_text("utf-8")
    page, ordinary = PageReader(html), PageReader(report_path.read_text("utf-8"))
    assert page.data("row")["input"] == str(map_path)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in ordinary.tags]
    assert [sorted(attrs) for _, attrs in page.tags] == [sorted(attrs) for _, attrs in ordinary.tags]
    assert "<script>owned" not in html
    assert map_path.name in page.text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are not text")
def test_a_file_name_that_is_not_text_is_shown_with_question_marks(tmp_path):
    map_path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mrc"))
    for kind in ("report", "png"):
        outputs.write(kind, tmp_path / kind, make_answer(EXAMPLE, map_path=map_path))
    assert "<h1>??.mrc</h1>" in (tmp_path / "report").read_text("utf-8")


def test_slices_have_the_colours_of_the_palette(example_output, report_path):
    values = mrcfile.read(example_output[1] / "example_map_locres.mrc")
    colour_limits, page = colour_range(values), PageReader(report_path.read_text("utf-8"))
    assert len(page.images("local")) == 5
    for description, image in page.images("local"):
        plane = plane_of(values, description)
        pixels = np.asarray(image)[::-1]  # the second axis points up
        opaque = pixels[..., 3] == 255
        assert opaque.sum() == (plane > 0).sum() == (pixels[..., 3] > 0).sum() > 0
        np.testing.assert_array_equal(pixels[opaque][:, :3], rgb_colours(plane[plane > 0], *colour_limits))


def test_the_best_section_is_finer_and_the_worst_coarser_than_the_middle_one(example_output, report_path):
    values = mrcfile.read(example_output[1] / "example_map_locres.mrc")
    planes = [plane_of(values, title) for title, _ in PageReader(report_path.read_text("utf-8")).images("density")]
    middle, *_, best, worst = (np.median(plane[plane > 0]) for plane in planes)
    assert best <= middle <= worst


def test_a_page_without_a_molecule_says_so(tmp_path):
    empty = make_answer(EXAMPLE, np.zeros(read_map(EXAMPLE).density.values.shape, bool))
    outputs.write("report", tmp_path / "report", empty)
    page = PageReader((tmp_path / "report").read_text("utf-8"))
    assert page.data("mesh") is None
    assert page.data("row")["median"] is None
    assert (page.fields["median"], page.fields["half"], page.fields["mask_volume"]) == ("none", "none", "0 Å³")
    assert sum("No molecule was found" in text for text in page.text) >= 2
    assert len(page.images("density")) == 3


@pytest.mark.slow
def test_noise_everywhere_still_makes_a_small_page(tmp_path):
    """The worst case: a mask of the whole box and values that do not compress."""
    rng = np.random.default_rng(0)
    noise = save(tmp_path / "noise.mrc", rng.normal(size=(200, 250, 240)), voxel_size=1.1)
    noisy = make_answer(noise, np.ones((200, 250, 240), bool))
    result = noisy.local_resolution
    result = replace(result, values=result.values + rng.random(result.values.shape, np.float32))
    outputs.write("report", tmp_path / "page.html", replace(noisy, local_resolution=result))
    assert (tmp_path / "page.html").stat().st_size < MAX_PAGE_SIZE
    mesh = PageReader((tmp_path / "page.html").read_text("utf-8")).data("mesh")
    assert 0 < mesh["triangles"] <= surface.MAX_TRIANGLES


SURFACE_PIXELS = """(() => {
  const canvas = document.getElementById("surface"), gl = canvas.getContext("webgl2");
  const pixels = new Uint8Array(canvas.width * canvas.height * 4);
  gl.readPixels(0, 0, canvas.width, canvas.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let coloured = 0, checksum = 0;
  for (let n = 0; n < pixels.length; n += 4)
    if (pixels[n] + pixels[n + 1] + pixels[n + 2] < 750) {
      coloured++;
      checksum = (checksum * 31 + pixels[n] + n) % 1e9;
    }
  return {coloured, checksum, all: canvas.width * canvas.height};
})()"""
SURFACE_CENTRE = """(() => {
  const canvas = document.getElementById("surface");
  canvas.scrollIntoView();
  const box = canvas.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
CUT_SURFACE = """(() => {
  const slider = document.getElementById("cut");
  slider.value = 70;
  slider.dispatchEvent(new Event("input"));
})()"""
FRAMES_DRAWN = "Number(document.getElementById('surface').dataset.drawn)"


def surface_pixels(browser, after):
    """Summarise the surface's pixels once more than `after` frames were drawn."""
    browser.wait_until(f"{FRAMES_DRAWN} > {after}")
    return browser.evaluate(SURFACE_PIXELS)


@pytest.mark.slow
def test_the_page_works_in_a_browser(browser, example_output, report_path):
    row, _ = example_output
    browser.open(report_path)
    pixels = surface_pixels(browser, 0)
    assert pixels["all"] > 10_000
    assert 0.05 < pixels["coloured"] / pixels["all"] < 0.9
    assert browser.evaluate("[...document.images].filter((image) => image.naturalWidth > 0).length") == 10
    displayed = browser.evaluate("document.querySelector('[data-field=median]').textContent")
    embedded = browser.evaluate("JSON.parse(document.getElementById('row').textContent)")
    assert displayed == f"{embedded['median']:.2f} Å" == f"{row['median']:.2f} Å"
    assert browser.complaints() == []
    requests = {address for address in browser.requests() if not address.startswith("data:")}
    assert requests == {report_path.resolve().as_uri()}


@pytest.mark.slow
def test_the_surface_rotates_zooms_is_cut_and_resets(browser, report_path):
    browser.open(report_path)
    initial = surface_pixels(browser, 0)
    centre = browser.evaluate(SURFACE_CENTRE)
    frames = browser.evaluate(FRAMES_DRAWN)
    browser.drag(centre, (120, 40))
    rotated = surface_pixels(browser, frames)
    assert rotated["checksum"] != initial["checksum"]
    frames = browser.evaluate(FRAMES_DRAWN)
    browser.send("Input.dispatchMouseEvent", type="mouseWheel", x=centre[0], y=centre[1], deltaX=0, deltaY=600)
    smaller = surface_pixels(browser, frames)
    assert smaller["coloured"] < 0.7 * rotated["coloured"]
    frames = browser.evaluate(FRAMES_DRAWN)
    browser.evaluate(CUT_SURFACE)
    assert surface_pixels(browser, frames)["coloured"] < smaller["coloured"]
    frames = browser.evaluate(FRAMES_DRAWN)
    browser.evaluate("document.getElementById('reset').click()")
    assert surface_pixels(browser, frames) == initial
    assert browser.complaints() == []


@pytest.mark.slow
def test_markup_in_names_does_not_run_in_a_browser(browser, hostile):
    map_path, hostile_path = hostile
    browser.open(hostile_path)
    assert surface_pixels(browser, 0)["coloured"] > 0
    assert browser.evaluate("typeof owned") == "undefined"
    assert browser.evaluate("document.querySelector('h1').textContent") == map_path.name
    assert browser.complaints() == []
