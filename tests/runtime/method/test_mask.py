"""Pieces of the mask: kept if large, or as certain as the largest one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from cryores_lite.method.mask import CERTAIN_PIECE, LARGE_PIECE, SMALL_PIECE, likely_pieces, without_small_holes
from tests.runtime.maps import white_noise

BODY, BODY_CERTAINTY = 20**3, 200


def body_and_piece(volume, certainty):
    """A cube and a rod of `volume` voxels apart from it; the certainty of the rod is given relative to the cube's."""
    probability = np.zeros((40, 60, 60), np.uint8)
    probability[5:25, 5:25, 5:25] = BODY_CERTAINTY
    rod = np.zeros(probability.shape, bool)
    rod[30:38, 30:58, 30:58] = np.arange(8 * 28 * 28).reshape(8, 28, 28) < volume
    probability[rod] = round(certainty * BODY_CERTAINTY)
    return probability, rod


@pytest.mark.parametrize(
    ("share", "certainty", "kept"),
    [
        (LARGE_PIECE * 1.1, 0.3, True),
        (LARGE_PIECE * 0.9, 1.0, True),
        (SMALL_PIECE * 1.1, CERTAIN_PIECE * 1.05, True),
        (SMALL_PIECE * 1.1, CERTAIN_PIECE * 0.95, False),
        (SMALL_PIECE * 0.9, 1.0, False),
    ],
)
def test_a_piece_is_kept_by_its_size_or_its_certainty(share, certainty, kept):
    probability, piece = body_and_piece(int(share * BODY), certainty)
    mask, left_out = likely_pieces(probability > 0, probability)
    assert mask[piece].all() == mask[piece].any() == kept
    assert mask[5:25, 5:25, 5:25].all()
    assert_allclose(left_out, 0 if kept else piece.sum() / BODY)


def test_what_is_left_out_and_what_is_kept_are_the_mask():
    """Thresholded noise: many pieces."""
    noise = white_noise(3, (40, 40, 40))
    probability = np.clip(100 + 40 * noise, 0, 255).astype(np.uint8)
    candidate = probability > 150
    mask, left_out = likely_pieces(candidate, probability)
    assert not (mask & ~candidate).any()
    assert_allclose(mask.sum() * (1 + left_out), candidate.sum())


def test_one_piece_and_an_empty_mask_are_returned_as_they_are():
    for candidate in (np.zeros((5, 5, 5), bool), np.ones((5, 5, 5), bool)):
        mask, left_out = likely_pieces(candidate, candidate.astype(np.uint8))
        assert_array_equal(mask, candidate)
        assert left_out == 0


def test_only_small_enclosed_holes_are_filled():
    mask = np.zeros((30, 30, 30), bool)
    mask[2:28, 2:28, 2:28] = True
    mask[10:13, 10:13, 10:13] = False  # small and enclosed
    mask[16:24, 16:24, 16:24] = False  # large
    mask[5, 5, 0:8] = False  # a channel from outside
    filled = without_small_holes(mask, 27)
    assert filled[10:13, 10:13, 10:13].all()
    assert not filled[16:24, 16:24, 16:24].any()
    assert not filled[5, 5, 0:8].any()
    assert (filled >= mask).all()
    assert_array_equal(without_small_holes(filled, 27), filled)


def test_the_complement_of_noise_has_no_small_enclosed_piece_after_filling():
    mask = white_noise(5, (30, 30, 30)) > -1.2
    filled = without_small_holes(mask, 5)
    labels, count = ndimage.label(~filled)
    assert count
    for n in range(1, count + 1):
        piece = labels == n
        at_face = any(np.moveaxis(piece, axis, 0)[[0, -1]].any() for axis in range(3))
        assert at_face or piece.sum() > 5
