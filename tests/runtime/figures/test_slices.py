"""Slices show every voxel of a plane where it lies, or means of voxels if the plane is large."""

import numpy as np
import pytest

from cryores_lite.figures import slices
from tests.runtime.maps import ball


def test_slices_keep_every_voxel_of_a_plane_and_extend_beyond_a_short_axis():
    density = np.random.default_rng(1).normal(size=(20, 31, 44)).astype(np.float32)
    mask = np.ones(density.shape, bool)
    view = slices.view_around(mask)
    planes = density[10], density[:, 15], density[:, :, 22]
    for part, plane in zip(slices.orthogonal(density, density, mask, view), planes, strict=True):
        inside_map = part.density[np.isfinite(part.density)].reshape(plane.shape)
        np.testing.assert_array_equal(inside_map[::-1], plane)


def test_large_slices_average_density_and_sample_local_resolution():
    mask = np.broadcast_to(ball((1, 400, 430), 180), (9, 400, 430))
    values = np.where(mask, np.float32(4), np.float32(0))
    view = slices.view_around(mask)
    part = slices.cut(values, values, mask, view, 0, view.centre[0])
    assert (view.step, part.density.shape) == (2, (view.side // 2,) * 2)
    assert max(part.density.shape) <= slices.MAX_PIXELS
    assert set(np.unique(part.local_resolution)) == {0, 4}
    assert np.nan_to_num(part.density).mean() == pytest.approx(part.local_resolution.mean(), rel=0.001)
