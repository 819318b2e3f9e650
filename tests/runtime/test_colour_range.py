"""One colour range over a series: every figure has the colours and the ticks of the range that was given."""

import json
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest

from cryores_lite.batch.table import colour_limits
from cryores_lite.errors import InputError
from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import hex_colour, rgb_colours
from cryores_lite.figures.svg_charts import histogram
from cryores_lite.io.mrc import read_map
from tests.runtime.command import rows, run
from tests.runtime.figures.helpers import PageReader
from tests.runtime.paths import EXAMPLE

RANGE = (2.5, 6.25)
TABLES = ("all.csv", "all.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Figures of the example with a range, and a table of the example."""
    folder = tmp_path_factory.mktemp("range")
    shutil.copy(EXAMPLE, folder / "m.mrc")
    words = ("--report", "--histogram", "--chimerax", "--range", "2.5,6.25", "-j", 1)
    tables = [word for name in TABLES for word in ("--table", folder / name)]
    run(folder / "m.mrc", *words, *tables, check=True)
    return folder


def labels(low, high):
    return [label for _, label in ticks(low, high)]


@pytest.mark.slow
def test_page_histogram_and_script_have_the_ticks_and_the_colours_of_the_given_range(folder):
    html = (folder / "m_locres.html").read_text("utf-8")
    page = PageReader(html)
    assert re.findall(r"<text[^>]*>(\d+\.\d)</text>", html) == 3 * labels(
        *RANGE
    )  # key of the surface, histogram, key of the slices
    drawing = ElementTree.parse(folder / "m_locres_histogram.svg").getroot()
    texts = [element.text or "" for element in drawing.findall(".//{*}text")]
    assert [text for text in texts if re.fullmatch(r"\d+\.\d", text)] == labels(*RANGE)
    key = (folder / "m_locres.cxc").read_text().splitlines()[-1].split()
    assert [entry.split(":")[1] for entry in key[1:-6]] == labels(*RANGE)
    values = read_map(folder / "m_locres.mrc").density.values
    for description, image in page.images("local"):
        pixels = np.asarray(image)
        shown = {tuple(colour) for colour in pixels[pixels[..., 3] > 0][:, :3].tolist()}
        assert shown <= {tuple(colour) for colour in rgb_colours(values[values > 0], *RANGE).tolist()}, description


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_the_range_of_a_table_is_that_of_its_maps(folder, name, tmp_path):
    percentiles = json.loads((folder / "all.jsonl").read_text())["percentiles"]
    assert colour_limits(folder / name) == pytest.approx((percentiles["2.5"], percentiles["97.5"]))
    words = ("--chimerax", "--range-from", folder / name, "-o", tmp_path, "--json", "-j", 1)
    (row,) = rows(run(folder / "m.mrc", *words, check=True))
    text = (tmp_path / "m_locres.cxc").read_text()
    assert f"light {percentiles['2.5']:.2f} A (fine) to dark {percentiles['97.5']:.2f} A" in text
    assert row["percentiles"] == percentiles


def test_values_beyond_the_axis_are_in_the_first_and_last_bars():
    values = np.concatenate([np.full(10, 1), np.full(30, 9), np.full(20, 4)]).astype(np.float32)
    bars = re.findall(r'height="([\d.]+)" fill="(#\w+)"', histogram(values, 9.0, (3, 5), (3, 5)))
    heights = np.array([float(height) for height, _ in bars])
    np.testing.assert_allclose(heights[[0, -1]] / heights.max(), (1 / 3, 1), atol=1e-3)
    assert np.count_nonzero(heights) == 3
    assert bars[0][1] == hex_colour(3 + 1 / len(bars), 3, 5)


@pytest.mark.parametrize("text", ["8,3", "3", "3,4,5", "a,b", "3,inf", "nan,4", "0,4", "-1,4", "3,3.01", ""])
def test_what_is_no_range_is_refused_in_one_line(text, tmp_path):
    finished = run(EXAMPLE, "--range", text, "-o", tmp_path)
    assert finished.returncode == 2
    assert "--range" in finished.stderr
    assert not list(tmp_path.iterdir())


def test_a_table_without_finished_maps_gives_no_range(tmp_path):
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="run the maps first"):
        colour_limits(tmp_path / "empty.csv")


def test_two_ranges_exclude_each_other(tmp_path):
    finished = run(EXAMPLE, "--range", "3,8", "--range-from", tmp_path / "t.csv")
    assert (finished.returncode, "exclude each other" in finished.stderr) == (2, True)
