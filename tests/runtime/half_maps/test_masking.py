"""Masks of half maps are found and told, and local FSC inside stays that of the half maps before masking."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.half_maps.masking import (
    DEEPEST,
    common_region,
    depth_inside,
    estimated_mask,
    masking_warnings,
    measure_masking,
)
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball

VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3


def soft_ball(radius, edge):
    """A ball with a cosine edge outwards, in voxels."""
    distance = ndimage.distance_transform_edt(~ball(HALF_MAP_SHAPE, radius))
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(distance / edge, 0, 1))).astype(np.float32)


MASKS = {
    "hard sphere": ball(HALF_MAP_SHAPE, 23).astype(np.float32),
    "soft sphere": soft_ball(22, 6),
    "soft tight sphere": soft_ball(20, 4),
}
MASK_NAMES = pytest.mark.parametrize("name", MASKS)


def masked(molecule, mask):
    return [replace(half, values=half.values * mask) for half in molecule]


@pytest.fixture(scope="module")
def unmasked(molecule):
    return local_fsc(*molecule).values


@MASK_NAMES
def test_a_mask_of_both_half_maps_is_found_and_told(molecule, name):
    first, second = (half.values for half in masked(molecule, MASKS[name]))
    masking = measure_masking(first, second, VOXEL_SIZE, 8.0)
    assert masking is not None
    assert masking.outside[0] == pytest.approx((MASKS[name] == 0).mean(), abs=0.02)
    assert masking.unequal < 0.005
    assert len(masking_warnings(masking)) == 1


@MASK_NAMES
def test_local_resolution_inside_a_mask_is_that_before_masking(molecule, unmasked, name):
    inside = ball(HALF_MAP_SHAPE, 18)
    values = local_fsc(*masked(molecule, MASKS[name])).values
    assert np.sqrt(np.mean((values[inside] / unmasked[inside] - 1) ** 2)) < 0.05
    assert np.median(values[inside]) == pytest.approx(np.median(unmasked[inside]), rel=0.02)


def test_half_maps_without_a_mask_are_measured_as_before(molecule):
    first, second = (half.values for half in molecule)
    assert common_region(first, second) is None
    assert measure_masking(first, second, VOXEL_SIZE, 8.0) is None
    assert masking_warnings(None) == ()


@MASK_NAMES
def test_the_mask_is_estimated_from_the_noise(molecule, name):
    first, second = (half.values for half in masked(molecule, MASKS[name]))
    region = common_region(first, second)
    mask = estimated_mask(region, first, second)
    assert np.abs(mask - MASKS[name])[region].mean() < 0.05


def test_gain_and_an_offset_of_the_masked_half_maps_change_nothing(molecule, unmasked):
    first, second = masked(molecule, MASKS["soft sphere"])
    changed = replace(second, values=(20 * second.values + 7).astype(np.float32))
    plain, scaled = local_fsc(first, second).values, local_fsc(first, changed).values
    inside = ball(HALF_MAP_SHAPE, 18)
    np.testing.assert_allclose(scaled[inside], plain[inside], rtol=0.01)


def test_half_maps_with_different_masks_are_told(molecule):
    first = molecule[0].values * MASKS["hard sphere"]
    smaller = molecule[1].values * ball(HALF_MAP_SHAPE, 18).astype(np.float32)
    for second in (molecule[1].values, smaller):
        masking = measure_masking(first, second, VOXEL_SIZE, 8.0)
        assert any("different masks" in warning for warning in masking_warnings(masking))


def test_a_mask_that_cuts_through_a_dense_region_is_said_to_raise_the_fsc(half_maps_and_hard_mask):
    (first, second), mask = half_maps_and_hard_mask
    masking = measure_masking(first * mask, second * mask, VOXEL_SIZE, 8.0)
    assert masking is not None
    assert masking.mask_fsc > 0.5
    assert any("too fine" in warning for warning in masking_warnings(masking))


@pytest.mark.parametrize("shape", [(48, 40, 33), (9, 50, 5), (3, 1, 60)])
def test_depths_are_those_of_a_distance_transform_up_to_the_deepest(shape):
    for share in (0.5, 0.9999, 1):
        region = np.random.default_rng(4).random(shape) < share
        region.flat[0] = False
        expected = np.minimum(np.ceil(ndimage.distance_transform_edt(region)), DEEPEST)
        np.testing.assert_array_equal(depth_inside(region), expected)
