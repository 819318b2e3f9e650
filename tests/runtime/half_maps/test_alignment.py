"""A displacement of one half map is measured; half maps that lie alike, whatever their gain, raise no alarm."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite.half_maps.alignment import alignment_warnings, measure_alignment
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, filtered, wave_numbers, white_noise

VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3
SHIFTS = [(0.5, 0.0, 0.0), (0.3, -0.4, 0.1), (-2.0, 1.0, 3.0), (9.4, -7.7, 0.2)]


def half_maps(seed=0):
    """Half maps of an irregular ball with detail to 8 Å."""
    k = wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE)
    detail = filtered(white_noise(100 * seed + 9, HALF_MAP_SHAPE), np.exp(-((6 * k) ** 2)))
    signal = ndimage.gaussian_filter(ball(HALF_MAP_SHAPE, 18).astype(np.float32), 1) * (3 * detail / detail.std() + 3)
    return [(signal + white_noise(100 * seed + n, HALF_MAP_SHAPE)).astype(np.float32) for n in (1, 2)]


def shifted(values, shift):
    """The map moved by (z, y, x) voxels, by interpolation in Fourier space."""
    waves = ndimage.fourier_shift(fft.rfftn(values), shift, n=values.shape[2])
    return fft.irfftn(waves, s=values.shape).astype(np.float32)


def turned(values, degrees, scale):
    """The map rotated about z, from x to y, and enlarged, about the middle of the box."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    back = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) / scale
    middle = (np.array(values.shape) - 1) / 2
    return ndimage.affine_transform(values, back, middle - back @ middle, order=5, mode="nearest")


@pytest.fixture(scope="module")
def pair():
    return half_maps()


def measured(first, second):
    alignment = measure_alignment(first, second, VOXEL_SIZE)
    assert alignment is not None
    return alignment


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_that_is_applied_is_measured_and_said(pair, shift):
    alignment = measured(pair[0], shifted(pair[1], shift))
    assert_allclose(np.array(alignment.shift) / HALF_MAP_VOXEL_SIZE, shift, atol=0.05)
    (warning,) = alignment_warnings(alignment)
    assert "shifted by" in warning
    assert "rotated" not in warning


def test_swapped_half_maps_have_the_opposite_displacement(pair):
    moved = shifted(turned(pair[1], 2.0, 1.0), (0.5, -0.3, 0.2))
    there, back = measured(pair[0], moved), measured(moved, pair[0])
    assert_allclose(np.array(there.shift) + back.shift, 0, atol=0.05 * HALF_MAP_VOXEL_SIZE)
    assert_allclose(np.array(there.rotation) + back.rotation, 0, atol=0.25)
    assert there.scale * back.scale == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize("degrees", [2.0, -4.0])
def test_a_rotation_that_is_applied_is_measured_and_said(pair, degrees):
    alignment = measured(pair[0], turned(pair[1], degrees, 1.0))
    assert_allclose(alignment.rotation, (degrees, 0, 0), atol=0.4)
    assert any("rotated" in warning for warning in alignment_warnings(alignment))


@pytest.mark.parametrize("scale", [0.97, 1.03])
def test_a_scale_that_is_applied_is_measured_and_said(pair, scale):
    alignment = measured(pair[0], turned(pair[1], 0.0, scale))
    assert alignment.scale == pytest.approx(scale, abs=0.005)
    assert any("larger" if scale > 1 else "smaller" in warning for warning in alignment_warnings(alignment))


@pytest.mark.parametrize("seed", range(6))
def test_half_maps_that_lie_alike_raise_no_alarm(seed):
    assert alignment_warnings(measured(*half_maps(seed))) == ()


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0)])
def test_gain_offset_and_contrast_change_nothing(pair, shift):
    second = shifted(pair[1], shift)
    plain, changed = measured(pair[0], second), measured(-pair[0], -(30 * second + 12))
    assert_allclose(changed.shift, plain.shift, atol=0.01)
    assert alignment_warnings(changed) == alignment_warnings(plain)


def test_the_shift_is_in_angstroms(pair):
    second = shifted(pair[1], (0.5, 0.0, 0.0))
    small, large = (measure_alignment(pair[0], second, (size,) * 3) for size in (2.0, 4.0))
    assert small is not None
    assert large is not None
    assert large.shift[0] == pytest.approx(2 * small.shift[0], rel=0.05)
    assert large.shift_voxels == pytest.approx(small.shift_voxels, rel=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_noise_alone_has_no_alignment(seed):
    noise = [ndimage.gaussian_filter(white_noise(10 * seed + n, HALF_MAP_SHAPE), seed / 2) for n in (1, 2)]
    assert measure_alignment(*noise, VOXEL_SIZE) is None


def test_a_displacement_within_its_error_is_not_said(pair):
    alignment = measured(pair[0], shifted(pair[1], (0.5, 0.0, 0.0)))
    assert alignment_warnings(replace(alignment, shift_error=1.0)) == ()
