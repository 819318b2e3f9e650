"""Bands, thresholds and crossings of FSC curves."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.fsc import bands, first_crossing, interpolate_log, one_bit_threshold


def test_the_one_bit_threshold_falls_to_one_third_in_large_windows():
    assert one_bit_threshold(0.1, 1e6) == pytest.approx(1 / 3, abs=1e-6)  # S/N 0.5 in one half: 1 bit in both
    assert one_bit_threshold(0.1, 15.0) > one_bit_threshold(0.1, 30.0) > 1 / 3


def test_the_last_band_is_the_nyquist_frequency():
    for nyquist in (0.1, 0.31, 1 / 3, 1.0):
        assert bands(nyquist)[-1] == pytest.approx(nyquist)
        assert (np.diff(np.log(bands(nyquist, 1.12))) <= np.log(1.12) + 1e-12).all()


def test_a_curve_that_never_falls_ends_at_nyquist_and_one_that_never_rises_at_the_first_band():
    frequencies = bands(0.25)
    high, low = np.full((len(frequencies), 1), 0.9), np.zeros((len(frequencies), 1))
    assert first_crossing(high, frequencies)[0] == pytest.approx(4.0)
    assert first_crossing(low, frequencies)[0] == pytest.approx(45.0)


def test_between_bands_a_curve_is_linear_in_log_f():
    measured, fine = bands(0.25, 1.12), bands(0.25)
    curves = np.stack([0.3 + 0.2 * np.log(measured), np.ones(len(measured))], -1).astype(np.float32)
    expected = np.stack([0.3 + 0.2 * np.log(fine), np.ones(len(fine))], -1)
    assert_allclose(interpolate_log(curves, measured, fine), expected, atol=1e-6)


def test_a_dip_of_two_bands_is_not_a_crossing():
    frequencies = bands(0.25)
    curve = np.where(np.arange(len(frequencies)) < 30, 0.9, 0.0)[:, None]
    dipped = curve.copy()
    dipped[10:12] = 0
    assert first_crossing(dipped, frequencies) == first_crossing(curve, frequencies)
