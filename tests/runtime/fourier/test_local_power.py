"""Local power of bands: it scales with the square of the map, is conserved, and loses radial filters in ratios."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose
from scipy import ndimage

from cryores_lite.fourier.local_power import BAND_STEP, BAND_WIDTH, band_frequencies, local_power, smooth
from cryores_lite.fourier.spectrum import grid_for, radius, sample_density, transform
from tests.runtime.maps import blob, white_noise


def test_band_powers_scale_with_the_square_and_conserve_power():
    values = white_noise(6, (48, 48, 48))
    spectrum, louder = transform(values, (1, 1, 1)), transform(3 * values, (1, 1, 1))
    coarse = grid_for(spectrum.lengths, 4.0)
    for f in (0.08, 0.2, 0.35):
        power = local_power(spectrum, f, coarse)
        assert_allclose(local_power(louder, f, coarse), 9 * power, rtol=1e-5)

        def band(k, f=f):
            return np.exp(-0.5 * ((k - f) / (BAND_WIDTH * f)) ** 2)

        assert_allclose(power.mean(), (sample_density(spectrum, spectrum.shape, band) ** 2).mean(), rtol=0.02)


def test_a_radial_filter_drops_out_of_power_ratios():
    values = blob((48, 48, 48), (24, 24, 24), 7) * white_noise(7, (48, 48, 48))
    spectrum = transform(values, (1.2, 1.2, 1.2))
    gain = np.exp(-60 * radius(spectrum.shape, spectrum.lengths) ** 2 / 4).astype(np.float32)
    filtered = replace(spectrum, waves=spectrum.waves * gain)
    coarse = grid_for(spectrum.lengths, 4.0)
    power, filtered_power = (local_power(s, 0.25, coarse) for s in (spectrum, filtered))
    molecule = power > 0.1 * power.max()
    before, after = power[molecule], filtered_power[molecule]
    assert after.max() < 0.3 * before.max()
    shift = np.log(after / np.median(after)) - np.log(before / np.median(before))
    assert np.abs(shift).mean() < 0.015  # measured: 0.005


def test_smoothing_agrees_with_scipy():
    values = np.random.default_rng(18).random((24, 30, 36)).astype(np.float32)
    expected = ndimage.gaussian_filter(values, (3, 4, 5), mode="wrap", truncate=8)[::2, ::2, ::2]
    assert_allclose(smooth(values, (24 * 2.0, 30 * 1.5, 36 * 1.2), 6.0, (12, 15, 18)), expected, atol=1e-6)


def test_smoothing_keeps_the_mean():
    values = np.random.default_rng(8).random((24, 30, 36)).astype(np.float32)
    assert_allclose(smooth(values, (24, 30, 36), 3.0, (12, 16, 18)).mean(), values.mean(), rtol=1e-6)


def test_the_bands_end_at_nyquist():
    assert band_frequencies(0.5)[-1] <= 0.5 < band_frequencies(0.5)[-1] * BAND_STEP
