"""Periodic boxes: their parts are parts of one density, which is that of their spectrum."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryores_lite.fourier.padding import PADDING, pad, without_padding
from cryores_lite.fourier.spectrum import sample_density, transform_box
from tests.runtime.maps import white_noise


@pytest.mark.parametrize("size", [(21, 24, 30), (3, 40, 9)])
def test_the_density_is_that_of_the_spectrum(size):
    box = pad(white_noise(5, size))
    spectrum = transform_box(box, (1.1, 1.2, 1.3))
    assert box.shape == spectrum.shape
    assert_allclose(sample_density(spectrum, box.shape), box.part(slice(None)), atol=1e-5)


@pytest.mark.parametrize("y", [slice(0, 9), slice(10, 20)])  # with padding, and inside the map
def test_parts_are_parts_of_the_whole(y):
    box = pad(white_noise(6, (20, 25, 31)))
    z, x = slice(3, 30), slice(12, 30)
    assert_array_equal(box.part(z, y, x), box.part(slice(None))[z, y, x])


def test_the_map_is_inside_and_fades_towards_the_faces():
    values = white_noise(7, (20, 25, 31))
    box = pad(values)
    assert min(box.before) >= PADDING
    whole = box.part(slice(None))
    inside = tuple(slice(start, start + n) for start, n in zip(box.before, values.shape, strict=True))
    assert_allclose(whole[inside], values - box.solvent, atol=1e-6)
    assert np.abs(whole[0]).max() < 0.1 * np.abs(whole).max()


def test_a_box_without_padding_is_the_density():
    values = white_noise(8, (6, 7, 8))
    assert_array_equal(without_padding(values).part(slice(None)), values)
