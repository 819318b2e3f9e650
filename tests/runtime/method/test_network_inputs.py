"""The network's inputs: the estimate that follows local power."""

import numpy as np
from numpy.testing import assert_allclose

from cryores_lite.method.network_inputs import bands_near_median, log_resolution_from_power
from cryores_lite.method.solvent_noise import SIGNAL_SLOPE


def test_resolution_is_finer_where_local_power_is_higher_and_the_median_where_it_is_the_median():
    relative = np.geomspace(0.4, 2.2, 16)
    log_power = np.zeros((16, 2, 2, 2))
    log_power[:, 0] = 1.0
    for live_bands in (np.ones(16, bool), relative < 0.6):
        estimate = log_resolution_from_power(log_power[bands_near_median(relative, live_bands)])
        assert_allclose(estimate[0], -1 / SIGNAL_SLOPE)
        assert_allclose(estimate[1], 0)
    assert not bands_near_median(relative, np.zeros(16, bool)).any()
