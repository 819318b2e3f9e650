"""The statistical method: local resolution from the noise in the solvent, without a network."""

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.errors import InputError
from cryores_lite.half_maps.fsc_curves import soft_mask
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.method.statistical import estimate_by_noise
from tests.runtime.maps import HALF_MAP_SHAPE, ball, molecule_half_maps


@pytest.fixture(scope="module")
def molecule():
    return molecule_half_maps()


@pytest.mark.slow
def test_the_statistical_method_agrees_with_the_half_maps_if_solvent_is_noisy(molecule):
    mean = replace(molecule[0], values=(molecule[0].values + molecule[1].values) / 2)
    result, half_maps = estimate_by_noise(mean), local_fsc(*molecule).values
    assert np.isnan(result.uncertainty).all()
    assert result.provider == "numpy"
    assert ((result.values > 0) == result.mask).all()
    ratio = result.values[result.mask] / half_maps[result.mask]
    assert np.median(ratio) == pytest.approx(1, abs=0.03)  # measured: 0.004


@pytest.mark.slow
def test_the_statistical_method_refuses_a_map_without_solvent(molecule):
    soft = soft_mask(ball(HALF_MAP_SHAPE, 21), molecule[0].grid.voxel_size)
    with pytest.raises(InputError, match="noisy solvent"):
        estimate_by_noise(replace(molecule[0], values=molecule[0].values * soft))
