"""Settings follow their rules, and a value in use stays unless another is better."""

import numpy as np
import pytest

from training.evaluation.tune_fsc import BAND_STEPS, band_step_row, best_threshold, count_misjudged


def test_the_widest_band_step_without_loss_of_accuracy_is_chosen():
    errors = dict(zip(BAND_STEPS, (0.03, 0.03, 0.029, 0.0309, 0.0311, 0.06), strict=True))
    measured = [{step: (error, 1.0) for step, error in errors.items()}]
    assert band_step_row(measured).endswith("| 18 % |")


@pytest.mark.parametrize(("used", "chosen"), [(0.5, 0.5), (0.62, 0.5), (0.1, 0.5)])
def test_a_threshold_stays_unless_another_misjudges_fewer(used, chosen):
    below, above = np.array([0.0, 0.2, 0.4]), np.array([0.6, 0.9])
    assert best_threshold(used, below, above) == pytest.approx(chosen, abs=0.01)
    assert count_misjudged(chosen, below, above) == 0
