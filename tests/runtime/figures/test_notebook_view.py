"""What a notebook shows of a result: the colours of its slices are those of the palette, and any text is escaped."""

import numpy as np

from cryores_lite.figures.palette import colour_range, rgb_colours
from tests.runtime.figures.helpers import PageReader, make_answer, plane_of
from tests.runtime.paths import EXAMPLE


def test_a_notebook_shows_three_slices_in_the_colours_of_the_palette_and_the_numbers():
    result = make_answer(EXAMPLE).local_resolution
    page = PageReader(result._repr_html_())
    assert repr(result) in page.text
    assert len(page.images("local")) == 3
    for description, image in page.images("local"):
        pixels, plane = np.asarray(image)[::-1], plane_of(result.values, description)
        inside = pixels[..., 3] == 255
        assert inside.sum() == (plane > 0).sum() > 0
        colours = rgb_colours(plane[plane > 0], *colour_range(result.values))
        np.testing.assert_array_equal(pixels[inside][:, :3], colours)


def test_two_results_in_one_notebook_have_keys_of_their_own():
    results = [make_answer(EXAMPLE).local_resolution for _ in range(2)]
    keys = [{a["id"] for tag, a in PageReader(r._repr_html_()).tags if tag == "lineargradient"} for r in results]
    assert all(len(names) == 1 for names in keys)
    assert not keys[0] & keys[1]


def test_without_a_molecule_the_notebook_says_so():
    empty = make_answer(EXAMPLE, np.zeros((80, 80, 80), bool)).local_resolution
    page = PageReader(empty._repr_html_())
    assert "No molecule was found in this map." in page.text
    assert not page.images("local")
