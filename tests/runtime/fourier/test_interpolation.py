"""Interpolation is linear, stays within the values, and puts crops where they were cut."""

import numpy as np
from numpy.testing import assert_allclose

from cryores_lite.fourier.interpolation import interpolate, resample_periodic, voxel_positions


def test_interpolation_is_linear_and_stays_within_the_values():
    field = np.arange(5 * 6 * 7, dtype=np.float32).reshape(1, 5, 6, 7)
    positions = (np.array([0, 1.5, 4, 9]), np.array([2.25]), np.array([-3.0, 6.0]))
    values = interpolate(field, positions)[0]
    assert_allclose(values[1, 0, 0], 1.5 * 42 + 2.25 * 7, rtol=1e-6)
    assert values.min() >= field.min()
    assert values.max() <= field.max()


def test_resampling_to_the_same_grid_changes_nothing():
    field = np.random.default_rng(1).random((4, 6, 8)).astype(np.float32)
    assert_allclose(resample_periodic(field, field.shape), field, atol=1e-6)


def test_the_voxels_of_a_crop_lie_behind_the_padding():
    z, y, x = voxel_positions((3, 4, 5), (8, 9, 10), (20, 24, 30), (10, 24, 15))
    assert_allclose(z, [4, 4.5, 5])
    assert_allclose(y, [9, 10, 11, 12])
    assert_allclose(x, [5, 5.5, 6, 6.5, 7])
