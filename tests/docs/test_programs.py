"""The lines for other programs have the colours of our own figures."""

import re
from pathlib import Path

import pytest

from cryores_lite.figures.palette import COLOUR_STOPS, rgb

PAGE = Path(__file__).parents[2] / "docs" / "programs.md"
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
HEXADECIMAL = r"(?:#|\b0x)([0-9a-f]{6})\b"
FRACTIONS = r"\[([01]\.\d+), ([01]\.\d+), ([01]\.\d+)\]"


def stops(pattern, grey):
    """The colours of each block that has any, without the grey of voxels outside the mask."""
    found = [[stop for stop in re.findall(pattern, block) if stop != grey] for block in BLOCKS]
    return [colours for colours in found if colours]


@pytest.mark.parametrize("colours", stops(HEXADECIMAL, "808080"))
def test_hexadecimal_colours_are_the_palette_from_one_end_to_the_other(colours):
    assert [f"#{colour}" for colour in colours] in (list(COLOUR_STOPS), list(COLOUR_STOPS)[::-1])


@pytest.mark.parametrize("colours", stops(FRACTIONS, ("0.5", "0.5", "0.5")))
def test_colours_as_fractions_are_the_palette(colours):
    expected = [tuple(round(channel / 255, 2) for channel in rgb(stop)) for stop in COLOUR_STOPS]
    assert [tuple(map(float, colour)) for colour in colours] == expected


def test_each_kind_of_colour_is_found():
    assert len(stops(HEXADECIMAL, "808080")) >= 4
    assert len(stops(FRACTIONS, ("0.5", "0.5", "0.5"))) >= 2
