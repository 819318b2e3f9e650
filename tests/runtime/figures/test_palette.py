"""The palette of all figures and scripts."""

import numpy as np
import pytest

from cryores_lite.figures.palette import COLOUR_STOPS, MIN_COLOUR_RANGE, colour_range, colour_stops, hex_colour


def test_the_palette_is_even_and_has_a_width():
    values = np.full((2, 2, 2), 4, np.float32)
    assert colour_range(values) == pytest.approx((4, 4 + MIN_COLOUR_RANGE))
    assert [hex_colour(value, 2, 7) for value, _ in colour_stops(2, 7)] == list(COLOUR_STOPS)
    assert (hex_colour(-1, 2, 7), hex_colour(99, 2, 7)) == (COLOUR_STOPS[0], COLOUR_STOPS[-1])
    red = [int(hex_colour(value, 2, 7)[1:3], 16) for value in np.linspace(2, 7, 50)]
    assert red == sorted(red, reverse=True)
