"""The map filtered to its local resolution."""

import numpy as np
from scipy import fft, ndimage

from cryores_lite.outputs.local_filter import locally_filtered
from tests.runtime.maps import ball, filtered, wave_numbers


def noisy(seed=0, n=40):
    """Noise in the middle of an empty box."""
    inner = np.random.default_rng(seed).normal(size=(20, 20, 20))
    return np.pad(ndimage.gaussian_filter(inner, 0.7), (n - 20) // 2).astype(np.float32)


def power(values, low, voxel_size=1.5):
    is_high = wave_numbers(values.shape, voxel_size) > low
    return float((np.abs(fft.rfftn(values)[is_high]) ** 2).sum())


def test_one_resolution_everywhere_is_a_plain_low_pass():
    values, resolution, voxel_size = noisy(), 6.0, 1.5
    n = fft.next_fast_len(40 + 16, real=True)
    before = (n - 40) // 2
    padded = np.pad(values, (before, n - 40 - before))
    shell = 1 / (n * voxel_size)
    k = wave_numbers(padded.shape, voxel_size)
    gain = 0.5 + 0.5 * np.cos(np.pi * np.clip((k - 1 / resolution + 2 * shell) / (4 * shell), 0, 1))
    expected = filtered(padded, gain)[(slice(before, before + 40),) * 3]
    local = np.where(ball((40, 40, 40), 14), np.float32(resolution), 0).astype(np.float32)
    out = locally_filtered(values, local, (voxel_size,) * 3)
    np.testing.assert_allclose(out[local > 0], expected[local > 0], atol=1e-6)
    assert (out[local == 0] == 0).all()


def test_the_filter_is_linear_in_the_map_and_ignores_a_constant():
    local = np.random.default_rng(3).uniform(4, 12, (40, 40, 40)).astype(np.float32)
    one, other = noisy(0), noisy(1)
    both, *each = (locally_filtered(v, local, (1.5,) * 3) for v in (2 * one - 3 * other + 7, one, other))
    np.testing.assert_allclose(both, 2 * each[0] - 3 * each[1], atol=5e-6)


def test_the_filter_removes_waves_beyond_the_local_resolution_and_keeps_the_others():
    values = noisy()
    local = np.full(values.shape, 5.0, np.float32)
    out = locally_filtered(values, local, (1.5,) * 3)
    assert power(out, 1 / 5 + 0.06) < 2e-4 * power(values, 1 / 5 + 0.06)
    low = ndimage.gaussian_filter(values, 4)
    np.testing.assert_allclose(locally_filtered(low, local, (1.5,) * 3), low, atol=0.001 * low.max())


def test_each_half_is_filtered_at_its_own_resolution():
    values = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    local = np.full(values.shape, 4.0, np.float32)
    local[:, :, 20:] = 12.0
    out = locally_filtered(values, local, (1.5,) * 3)
    fine, coarse = out[8:-8, 8:-8, 6:16], out[8:-8, 8:-8, 24:34]
    assert power(coarse, 1 / 8) < 0.01 * power(fine, 1 / 8)


def test_a_map_without_a_molecule_is_filtered_to_zeros():
    assert not locally_filtered(noisy(), np.zeros((40, 40, 40), np.float32), (1.5,) * 3).any()
