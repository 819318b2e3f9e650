import numpy as np
import pytest

from tests.runtime.maps import (
    HALF_MAP_SHAPE,
    HALF_MAP_VOXEL_SIZE,
    ball,
    filtered,
    molecule_half_maps,
    wave_numbers,
    white_noise,
)


@pytest.fixture(scope="session")
def molecule():
    return molecule_half_maps()


@pytest.fixture(scope="session")
def half_maps_and_hard_mask():
    """Half maps with a common signal coarser than 20 Å and a large offset, and a hard mask that cuts through them."""
    is_coarse = wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE) < 1 / 20
    signal = 60 * filtered(white_noise(3, HALF_MAP_SHAPE), is_coarse) + 30
    half_maps = [(signal + white_noise(n, HALF_MAP_SHAPE)).astype(np.float32) for n in (1, 2)]
    return half_maps, ball(HALF_MAP_SHAPE, 14).astype(np.float32)
