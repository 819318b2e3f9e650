"""Filtered planes are those of the filtered spectrum."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier import filtered_planes
from cryores_lite.fourier.filtered_planes import FilteredPlanes, memory_for
from cryores_lite.fourier.spectrum import gaussian_gain, inverse_transform, low_pass, regrid, transform
from tests.runtime.maps import white_noise

LENGTHS = (21.0, 32.0, 25.0)


def filtered(spectrum, shape, gain, end):
    used_memory = np.full_like(memory_for(shape), np.nan)
    planes = FilteredPlanes(spectrum, shape, gain, end, threads=2, memory=used_memory)
    return np.concatenate([planes.density(part) for part in planes.parts()])


@pytest.mark.parametrize("size", [(19, 24, 30), (24, 30, 19)])
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.4])
@pytest.mark.parametrize("end", [np.inf, 0.21, 0.07])
@pytest.mark.parametrize("voxels", [1, 1 << 18])
def test_they_agree_with_the_filtered_spectrum_on_grids_of_any_shape(monkeypatch, size, factor, end, voxels):
    monkeypatch.setattr(filtered_planes, "CACHED_VOXELS", voxels)
    spectrum = transform(white_noise(3, size), (1.1, 1.2, 1.3))
    shape = tuple(max(4, round(factor * n)) for n in spectrum.shape)

    def gain(k):
        return gaussian_gain(k, 0.8) * (k <= end)

    expected = np.empty(shape, np.float32)
    inverse_transform(regrid(spectrum, shape, gain), expected.__setitem__)
    assert_allclose(filtered(spectrum, shape, gain, end), expected, atol=1e-5 * np.abs(expected).max() + 1e-12)


def test_a_band_without_waves_is_empty():
    spectrum = transform(white_noise(4, (20, 20, 20)), (1.0, 1.0, 1.0))
    values = filtered(spectrum, spectrum.shape, lambda k: low_pass(k, -1.0, 0.1).astype(np.float32), 0.001)
    assert_allclose(values, 0)
