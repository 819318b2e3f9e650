"""Softening the edge of a mask, so that it does not ring in Fourier space."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryores_lite.fourier.spectrum import radius, sample_density, transform
from cryores_lite.method.soft_edge import TAPER_WIDTH, masked_out_voxels, soften
from tests.runtime.maps import white_noise


def test_a_map_without_a_mask_is_not_softened():
    values = white_noise(10, (20, 20, 20))
    softened, edge_weight = soften(values, (1.0, 1.0, 1.0))
    assert_array_equal(softened, values)
    assert (edge_weight == 1).all()


@pytest.mark.parametrize("constant_along", [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_values_that_repeat_along_some_axes_only_are_not_masked_out(constant_along):
    shape = [1 if axis in constant_along else 20 for axis in range(3)]
    values = np.broadcast_to(white_noise(13, shape), (20, 20, 20))
    assert not masked_out_voxels(values).any()


@pytest.mark.parametrize("fill", [0.0, -3.0])
def test_a_hard_mask_is_softened_inside_and_zero_outside(fill):
    values = white_noise(11, (40, 40, 40))
    away = np.abs(np.indices((40, 40, 40)) - 20).max(0)
    softened, edge_weight = soften(np.where(away < 14, values, np.float32(fill)), (1.0, 1.0, 1.0))
    outside, deep = away >= 15, away < 14 - 2 * TAPER_WIDTH
    assert (edge_weight[outside] == 0).all()
    assert (softened[outside] == 0).all()
    assert_allclose(edge_weight[deep], 1)
    assert_allclose(softened[deep], values[deep] - fill, atol=1e-6)
    assert (np.diff(edge_weight[20, 20, 20:]) <= 1e-6).all()


def test_softening_empties_the_shells_that_a_hard_mask_has_filled():
    """Low-pass noise in a hard spherical mask: power beyond the low-pass, before and after."""
    spectrum = transform(white_noise(12, (64, 64, 64)), (1.0, 1.0, 1.0))
    k = radius(spectrum.shape, spectrum.lengths)
    low_pass_noise = sample_density(spectrum, spectrum.shape, lambda k: (k < 0.15).astype(np.float32))
    away = np.sqrt(((np.indices(spectrum.shape).T - np.array(spectrum.shape)[::-1] / 2) ** 2).sum(-1)).T
    masked = np.where(away < 22, low_pass_noise, 0).astype(np.float32)
    leaks = []
    for values in (masked, soften(masked, (1.0, 1.0, 1.0))[0]):
        power = np.abs(np.fft.rfftn(values)) ** 2
        leaks.append(power[(k > 0.3) & (k < 0.45)].mean() / power[(k > 0.02) & (k < 0.15)].mean())
    assert leaks[1] < 0.2 * leaks[0]
