"""The PNG summary opens, has the colours of the palette, and says if there is no molecule."""

import mrcfile
import numpy as np
import pytest
from PIL import Image

from cryores_lite.figures.palette import colour_range, rgb_colours
from cryores_lite.figures.png_summary import IMAGE_SIZE, MAX_NAME_LENGTH, printable_name
from cryores_lite.io.mrc import read_map
from cryores_lite.outputs import write as outputs
from tests.runtime.figures.helpers import make_answer
from tests.runtime.paths import EXAMPLE


def pixel_colours(image):
    return set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()))


@pytest.mark.slow
def test_the_summary_opens_and_has_the_colours_of_the_palette(example_output):
    _, folder = example_output
    values = mrcfile.read(folder / "example_map_locres.mrc")
    with Image.open(folder / "example_map_locres.png") as image:
        assert (image.format, image.size) == ("PNG", IMAGE_SIZE)
        assert IMAGE_SIZE[0] == 1200
        drawn = pixel_colours(image)
    centre = round(float(np.average(np.arange(len(values)), weights=(values > 0).sum((1, 2)))))
    section = values[centre]
    assert set(map(tuple, rgb_colours(section[section > 0], *colour_range(values)).tolist())) <= drawn


@pytest.mark.slow
def test_a_summary_without_a_molecule_has_no_colours(tmp_path):
    shape = read_map(EXAMPLE).density.values.shape
    outputs.write("png", tmp_path / "full.png", make_answer(EXAMPLE))
    outputs.write("png", tmp_path / "empty.png", make_answer(EXAMPLE, np.zeros(shape, bool)))
    fine = tuple(rgb_colours(np.array(3.0), 3.0, 5.0).tolist())
    with Image.open(tmp_path / "full.png") as full, Image.open(tmp_path / "empty.png") as empty:
        assert full.size == empty.size == IMAGE_SIZE
        assert fine in pixel_colours(full)
        assert fine not in pixel_colours(empty)


def test_long_names_keep_their_beginning_and_their_end():
    name = printable_name("a" * 40 + "é" + "b" * 40)
    assert len(name) == MAX_NAME_LENGTH
    assert (name[0], name[-1]) == ("a", "b")
    assert "..." in name
    assert printable_name("é.mrc") == "?.mrc"
