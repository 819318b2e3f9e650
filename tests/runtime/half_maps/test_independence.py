"""Copies of one map are refused, and independent half maps are not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.half_maps.independence import COPY_FSC, DEPENDENT_FSC, lowest_shell_fsc
from cryores_lite.half_maps.local_fsc import local_fsc
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, filtered, wave_numbers, white_noise

K = wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE)


def copies(half):
    mask = ball(HALF_MAP_SHAPE, 24)
    return {
        "unchanged": half,
        "scaled": 3 * half + 1,
        "masked": half * mask,
        "softly masked": half * ndimage.gaussian_filter(mask.astype(np.float32), 2),
        "low-passed": filtered(half, K < 0.12),
        "blurred": filtered(half, np.exp(-30 * K**2)),
        "rounded": np.round(half).astype(np.float32),
    }


@pytest.mark.parametrize("change", copies(white_noise(0, HALF_MAP_SHAPE)))
def test_copies_of_one_map_are_refused(change, molecule):
    copy = copies(molecule[0].values)[change]
    assert lowest_shell_fsc(molecule[0].values, copy) > COPY_FSC
    with pytest.raises(InputError, match="independent half maps"):
        local_fsc(molecule[0], replace(molecule[0], values=copy))


def test_half_maps_without_noise_are_refused(molecule):
    signal = filtered(molecule[0].values, np.exp(-80 * K**2))
    with pytest.raises(InputError, match="independent half maps"):
        local_fsc(*(replace(molecule[0], values=signal.copy()) for _ in "12"))


def test_independent_half_maps_are_less_alike_than_a_half_map_and_the_average(molecule):
    first, second = (half.values for half in molecule)
    assert lowest_shell_fsc(first, second) < DEPENDENT_FSC / 2
    assert DEPENDENT_FSC < lowest_shell_fsc(first, (first + second) / 2) < COPY_FSC
