"""Power in the corners of Fourier space, beyond the Nyquist frequency of the axes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.spectrum import transform
from cryores_lite.method.nyquist import filter_to_nyquist, power_share_beyond_nyquist
from tests.runtime.maps import density_of, white_noise


@pytest.mark.parametrize("shape", [(96, 100, 108), (81, 128, 90)])
def test_white_noise_beyond_nyquist_is_the_cube_less_its_ball(shape):
    noise = white_noise(4, shape)
    assert power_share_beyond_nyquist(transform(noise, (1.5, 1.5, 1.5))) == pytest.approx(1 - np.pi / 6, abs=0.05)
    filtered = filter_to_nyquist(density_of(noise))
    assert np.square(filtered.values).sum() / np.square(noise).sum() == pytest.approx(np.pi / 6, abs=0.003)
    assert_allclose(filter_to_nyquist(filtered).values, filtered.values, atol=1e-5)
    assert filtered.values.mean() == pytest.approx(noise.mean(), abs=1e-6)
