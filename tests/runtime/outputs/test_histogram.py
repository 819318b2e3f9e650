"""The histogram as a table and as an SVG file: every voxel is counted once, and the picture shows the counts."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryores_lite.figures.svg_charts import HISTOGRAM_AREA, HISTOGRAM_BINS, histogram_file
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs.histogram import BIN_WIDTHS, MAX_BINS, binned
from tests.runtime.command import rows, run
from tests.runtime.paths import EXAMPLE

SVG = "{http://www.w3.org/2000/svg}"
CENTIMILLI = st.integers(10, 20_000).map(lambda n: n / 100)  # Å, many of them on an edge


def inside():
    """Positive values of a real map, as if they were local resolution."""
    values = read_map(EXAMPLE).density.values
    return 3 + values[values > 1]


@settings(deadline=None)
@given(st.lists(CENTIMILLI, min_size=1, max_size=200))
def test_every_value_is_counted_between_round_edges(values):
    array = np.array(values, np.float32)
    edges, counts = binned(array)
    assert sum(counts) == len(values)
    assert 1 <= len(counts) <= MAX_BINS
    assert edges[0] <= array.min() + 1e-5
    assert array.max() <= edges[-1] + 1e-5
    width = min(BIN_WIDTHS, key=lambda width: abs(width - (edges[-1] - edges[0]) / len(counts)))
    np.testing.assert_allclose(np.diff(edges), width, atol=1e-9)
    np.testing.assert_allclose(np.array(edges) / width, np.rint(np.array(edges) / width), atol=1e-6)


def test_the_counts_are_those_of_a_loop_over_the_bins():
    values = inside()
    edges, counts = binned(values)
    assert counts == [int(((low <= values) & (values < high)).sum()) for low, high in pairwise(edges)]


def test_no_values_have_an_empty_table():
    assert binned(np.empty(0, np.float32)) == ([], [])


def test_the_bars_of_the_file_have_the_heights_of_the_counts():
    values = inside()
    root = ElementTree.fromstring(histogram_file(values, 4.0, (3.0, 6.0), "a < b & c.mrc"))
    assert root.find(f"{SVG}title").text == "Local resolution of a < b & c.mrc"
    _, *bars = root.findall(f"{SVG}rect")
    low, high = np.percentile(values, (0.25, 99.75))
    expected, _ = np.histogram(values, HISTOGRAM_BINS, (low, high))
    heights = np.array([float(bar.get("height")) for bar in bars])
    np.testing.assert_allclose(heights, HISTOGRAM_AREA.height * expected / expected.max(), atol=0.01)


@pytest.mark.parametrize("name", ["a.mrc", "\udcff\x01\n]]>.mrc"])
def test_without_a_molecule_the_file_says_so_and_any_name_is_valid_xml(name):
    text = histogram_file(np.empty(0, np.float32), np.nan, (0.1, 0.2), name)
    root = ElementTree.fromstring(text.encode())
    assert "No molecule was found." in [label.text for label in root.findall(f"{SVG}text")]
    assert not re.search("nan", text)


@pytest.mark.slow
def test_the_table_of_the_command_counts_the_voxels_of_its_map(tmp_path):
    (row,) = rows(run(EXAMPLE, "-o", tmp_path, "--histogram", "--json", "-j", 1, check=True))
    values = read_map(row["files"]["locres"]).density.values
    edges, voxels = row["histogram"]["edges"], row["histogram"]["voxels"]
    assert sum(voxels) == (values > 0).sum()
    np.testing.assert_array_equal(np.histogram(values[values > 0], edges)[0], voxels)
    ElementTree.parse(row["files"]["histogram"])
