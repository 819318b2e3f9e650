"""Scores of a difference map against the true difference."""

import numpy as np
import pytest

from training.evaluation.pairs import MIN_TRUE_DIFFERENCE, score


def scores(estimated, true, error=0.3):
    inside, errors = np.ones(true.shape, bool), np.full(true.shape, error, np.float32)
    return score("m", estimated, estimated / errors, errors, true, inside)


@pytest.fixture
def true():
    return np.random.default_rng(0).normal(0, 1, (8, 8, 8)).astype(np.float32)


def test_the_truth_has_the_right_sign_everywhere_and_its_opposite_nowhere(true):
    right, wrong = scores(true, true), scores(-true, true)
    assert (right.right_sign, right.wrong_and_clear, right.rmse, right.within_error) == (1, 0, 0, 1)
    assert (wrong.right_sign, wrong.r) == (0, pytest.approx(-1))
    assert wrong.wrong_and_clear == np.mean(np.abs(true[np.abs(true) > MIN_TRUE_DIFFERENCE]) > 0.6)
    assert right.voxels == wrong.voxels == np.count_nonzero(np.abs(true) > MIN_TRUE_DIFFERENCE)


def test_small_true_differences_have_no_sign_to_be_right(true):
    small = 0.1 * np.tanh(true)
    result = scores(small, small)
    assert result.voxels == 0
    assert np.isnan(result.right_sign)
    assert result.within_error == 1
