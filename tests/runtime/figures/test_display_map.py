"""Maps with any order of axes look the same, and axes have few round ticks."""

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.figures.display_map import in_zyx_order, ticks, zyx_axes
from tests.runtime.figures.helpers import make_answer
from tests.runtime.paths import EXAMPLE


@pytest.mark.parametrize("header_axes", [(1, 2, 3), (3, 1, 2), (2, 1, 3)])
def test_every_order_of_axes_in_a_file_is_displayed_alike(header_axes):
    example = make_answer(EXAMPLE)
    density = example.map.density.values
    in_file_order = [3 - axis for axis in reversed(header_axes)]
    values, mask = (
        field.transpose(in_file_order) for field in (example.local_resolution.values, example.local_resolution.mask)
    )
    result = replace(example.local_resolution, values=values, mask=mask)
    display = in_zyx_order(density.transpose(in_file_order), result, header_axes)
    np.testing.assert_array_equal(display.density, density)
    np.testing.assert_array_equal(display.local_resolution, example.local_resolution.values)
    assert sorted(zyx_axes(header_axes)) == [0, 1, 2]


@pytest.mark.parametrize(("low", "high"), [(3.05, 3.15), (3.2, 5.3), (7.4, 9.0), (2.0, 40.0)])
def test_ticks_are_few_lie_within_the_limits_and_match_their_labels(low, high):
    chosen = ticks(low, high)
    assert 2 <= len(chosen) <= 10
    for value, label in chosen:
        assert low - 1e-6 <= value <= high + 1e-6
        assert float(label) == pytest.approx(value)
