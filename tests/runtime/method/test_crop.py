"""Cropping to the molecule, and its inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from cryores_lite.method.crop import Box, block_mean, cut, molecule_box, paste
from tests.runtime.maps import blob, white_noise

edges = st.integers(3, 14)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cut_undoes_paste(data):
    shape = data.draw(st.tuples(edges, edges, edges))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start, tuple(data.draw(st.integers(1, n - s)) for n, s in zip(shape, start, strict=True)))
    values = white_noise(1, shape)
    pasted = paste(cut(values, box), box, shape)
    assert_array_equal(cut(pasted, box), cut(values, box))
    assert_allclose(pasted.sum(), cut(values, box).sum(), rtol=1e-4)


@pytest.mark.parametrize("pad", [(20, 20, 20), (0, 31, 7)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_larger_box_of_zeros_or_noise_is_cropped_to_the_molecule(pad, noise):
    rng = np.random.default_rng(2)
    shape, centre = (40, 44, 48), (20, 22, 24)
    inner = tuple(slice(p, p + n) for p, n in zip(pad, shape, strict=True))
    padded = np.zeros([n + 2 * p for n, p in zip(shape, pad, strict=True)], np.float32)
    padded[inner] = 10 * blob(shape, centre, 5)
    padded += rng.normal(0, noise, padded.shape).astype(np.float32)
    box = molecule_box(padded, (1.5, 1.5, 1.5), 12.0)
    for start, n, c, p, edge in zip(box.start, box.shape, centre, pad, padded.shape, strict=True):
        assert start <= max(0, c + p - 5 - 8)
        assert start + n >= min(edge, c + p + 5 + 8)
        assert n <= min(edge, 56)


def test_a_box_of_pure_noise_is_not_cropped_to_nothing():
    assert min(molecule_box(white_noise(3, (40, 40, 40)), (1.0, 1.0, 1.0), 10.0).shape) >= 20


def test_block_means_keep_the_mean():
    values = white_noise(3, (12, 8, 16))
    assert_allclose(block_mean(values, (3, 2, 4)).mean(), values.mean(), rtol=1e-4)
