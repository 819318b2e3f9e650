"""Percentiles are those of numpy."""

import numpy as np
from numpy.testing import assert_array_equal

from cryores_lite.method.percentiles import percentiles
from tests.runtime.maps import white_noise


def test_they_are_those_of_numpy_and_leave_the_values_as_they_are():
    for size in (1, 2, 7, 4000):
        values = white_noise(size, (1, 1, size)).ravel()
        before = values.copy()
        assert_array_equal(percentiles(values, (0, 10, 25, 50, 90)), np.percentile(values, (0, 10, 25, 50, 90)))
        assert_array_equal(values, before)
