"""Notes appear if the map limits its local resolution, and an ordinary map has none."""

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.figures.report_notes import map_notes
from tests.runtime.figures.helpers import make_answer
from tests.runtime.maps import ball
from tests.runtime.paths import EXAMPLE


@pytest.fixture(scope="module")
def density_and_result():
    answer = make_answer(EXAMPLE)
    return answer.map.density.values, answer.local_resolution


def test_an_ordinary_map_has_no_notes(density_and_result):
    assert map_notes(*density_and_result) == []


def test_a_masked_map_is_noted(density_and_result):
    density, result = density_and_result
    (note,) = map_notes(np.where(ball(density.shape, 36), density, 0), result)
    assert "masked or padded" in note


def test_a_molecule_at_the_edge_of_the_box_is_noted(density_and_result):
    density, result = density_and_result
    shifted = replace(result, mask=np.roll(result.mask, 30, 0), values=np.roll(result.values, 30, 0))
    (note,) = map_notes(density, shifted)
    assert "edge of the box" in note


def test_local_resolution_at_the_nyquist_limit_is_noted(density_and_result):
    density, result = density_and_result
    (note,) = map_notes(density, replace(result, values=np.where(result.mask, np.float32(2.4), 0)))
    assert "2.40 Å, the Nyquist limit" in note


def test_local_resolution_outside_the_training_range_is_noted_for_the_network_alone(density_and_result):
    density, result = density_and_result
    coarse = replace(result, values=result.values * 10)
    (note,) = map_notes(density, coarse)
    assert "1.3 to 20 Å" in note
    assert map_notes(density, coarse, training_range=None) == []
