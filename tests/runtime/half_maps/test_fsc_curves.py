"""Global FSC curves: corrected for the correlation that a mask adds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.fsc import FSC_THRESHOLD, first_crossing
from cryores_lite.half_maps.fsc_curves import fsc_curves, soft_mask
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball

VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3


def test_the_corrected_global_fsc_is_free_of_the_correlation_that_a_hard_mask_adds(half_maps_and_hard_mask):
    (first, second), mask = half_maps_and_hard_mask
    curves = fsc_curves(first, second, VOXEL_SIZE, mask)
    noise = slice(int(np.searchsorted(curves.frequencies, 1 / 12)), None)
    assert curves.masked[noise].mean() > 0.9
    assert np.abs(curves.unmasked[noise]).mean() < 0.03
    assert np.abs(curves.corrected[noise]).mean() < 0.15
    assert abs(curves.corrected[noise].mean()) < 0.08


def test_a_soft_mask_around_the_molecule_needs_little_correction(molecule):
    values = [half.values for half in molecule]
    mask = soft_mask(ball(HALF_MAP_SHAPE, 24), VOXEL_SIZE)
    curves = fsc_curves(*values, VOXEL_SIZE, mask)
    assert_allclose(curves.corrected, curves.masked, atol=0.1)  # measured: 0.04
    masked_resolution = float(first_crossing(curves.masked[:, None], curves.frequencies, FSC_THRESHOLD)[0])
    assert curves.resolution() == pytest.approx(masked_resolution, rel=0.05)  # measured: 2.6 %
