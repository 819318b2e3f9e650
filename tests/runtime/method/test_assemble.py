"""(global + relative) × mask."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.grids import bounding_slices
from cryores_lite.method.assemble import aggregate, assemble
from cryores_lite.method.crop import Box
from cryores_lite.method.predict import NetworkFields
from cryores_lite.method.prepare import Frame
from cryores_lite.method.restore import resample_to_crop, voxels_near
from cryores_lite.types import Grid, MapResolution


def test_local_resolution_is_global_plus_relative_inside_the_mask_and_zero_outside():
    relative = np.array([[[-5.0, 0.5, 2.0]]], np.float32)
    mask = np.array([[[True, True, False]]])
    values, uncertainty = aggregate(3.0, relative, np.full_like(relative, 0.1), mask, 2.0)
    assert_allclose(values, [[[2.0, 3.5, 0.0]]])
    assert_allclose(uncertainty, [[[0.2, 0.35, 0.0]]])


def test_fields_over_the_padded_box_come_back_at_the_place_of_the_crop():
    """A mask and a field that are 1 in one voxel of the box: the answer is there, and nowhere else."""
    box = Box((1, 2, 3), (4, 5, 6))
    frame = Frame(box=box, before=(2, 1, 3), padded_shape=(8, 8, 12), lengths=(8, 8, 12), nyquist_filtered=False)
    relative, probability = np.zeros(frame.padded_shape, np.float32), np.zeros(frame.padded_shape, np.uint8)
    relative[4, 4, 8], probability[4, 4, 8] = 1.0, 255
    fields = NetworkFields(relative, np.full_like(relative, 0.5), probability)
    grid = Grid((9, 9, 11), (1.0, 1.0, 1.0))
    values, uncertainty, mask, left_out = assemble(fields, MapResolution(4.0, 4.0, 0.1), frame, grid, 0.5)
    expected = np.zeros(grid.shape, np.float32)
    expected[1 + 4 - 2, 2 + 4 - 1, 3 + 8 - 3] = 5.0
    assert_allclose(values, expected)
    assert_allclose(uncertainty, 0.5 * expected)
    assert_allclose(mask, expected > 0)
    assert left_out == 0


@pytest.mark.parametrize("seed", range(8))
def test_the_part_near_marked_points_is_the_smallest_that_holds_all_that_is_interpolated_from_them(seed):
    rng = np.random.default_rng(seed)
    box = Box((0, 0, 0), (17, 21, 19))
    frame = Frame(box=box, before=(2, 1, 3), padded_shape=(20, 24, 24), lengths=(20, 24, 24), nyquist_filtered=False)
    points = np.zeros(tuple(rng.integers(9, 30, 3)), bool)
    points[tuple(slice(start, start + 3) for start in rng.integers(0, np.subtract(points.shape, 3)))] = True
    (everywhere,) = resample_to_crop(frame, points.astype(np.float32))
    assert voxels_near(frame, points) == bounding_slices(everywhere > 0)


def test_nothing_is_near_no_points():
    frame = Frame(
        box=Box((0, 0, 0), (4, 4, 4)),
        before=(2, 2, 2),
        padded_shape=(8, 8, 8),
        lengths=(8, 8, 8),
        nyquist_filtered=False,
    )
    points = np.zeros((8, 8, 8), bool)
    assert voxels_near(frame, points) is None
    points[0, 4, 4] = True  # in the padding
    assert voxels_near(frame, points) is None
