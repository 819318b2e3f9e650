"""Pieces of masks and sums over shells."""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from cryores_lite.fourier.grids import add_shell_sums, bounding_slices, without_small_pieces


def test_small_pieces_of_a_mask_are_dropped_and_a_single_piece_stays():
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = True
    assert_array_equal(without_small_pieces(mask, 0.05), mask)
    with_speck = mask.copy()
    with_speck[18, 18, 18] = True
    assert_array_equal(without_small_pieces(with_speck, 0.05), mask)
    assert_array_equal(without_small_pieces(with_speck, 0.0005), with_speck)
    assert not without_small_pieces(np.zeros_like(mask), 0.05).any()


def test_the_bounding_slices_hold_all_pieces_of_a_mask():
    mask = np.zeros((9, 8, 7), bool)
    assert bounding_slices(mask) is None
    mask[2, 3, 4] = mask[5, 3, 1] = True
    assert bounding_slices(mask) == (slice(2, 6), slice(3, 4), slice(1, 5))


def test_shell_sums_are_added_to_those_of_earlier_planes():
    sums = np.zeros((2, 3))
    shells = np.array([[0, 1], [1, 2]])
    for _ in range(2):
        add_shell_sums(sums, shells, np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)))
    assert_allclose(sums, [[2, 10, 8], [2, 4, 2]])
