"""The calibration measures the errors that a user gets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.types import EDITINGS
from export.calibrate import VOXELS_PER_MAP, fit_error_scales, measure
from tests.runtime.maps import density_of, lumps
from training.evaluation.cases import Case


@pytest.mark.parametrize("voxel_size", [1.5, 12.0])
def test_stated_and_true_errors_are_those_of_the_complete_method(voxel_size):
    """On coarse voxels too, whose lengths the network gets divided by a factor."""
    model = Model.open(device="cpu", threads=2)
    density = density_of(lumps(), voxel_size)
    estimate = estimate_local_resolution(density, model, 2)
    truth = np.where(estimate.mask, np.float32(3 * voxel_size), np.float32(0))
    _, (stated, true, probability), _ = measure(
        Case(name="lumps", density=density, truth=truth), model, np.random.default_rng(3)
    )
    values, uncertainty = estimate.values[estimate.mask], estimate.uncertainty[estimate.mask]
    chosen = np.random.default_rng(3).integers(len(values), size=VOXELS_PER_MAP)
    assert_allclose(stated, (uncertainty / values)[chosen], rtol=1e-4)
    assert (probability > model.spec.mask_threshold).all()
    assert_allclose(true, (np.abs(values - 3 * voxel_size) / values)[chosen], rtol=1e-4, atol=1e-5)


def test_the_errors_of_each_kind_of_editing_get_their_own_scale():
    rng = np.random.default_rng(4)
    factors = np.array([1.0, 0.7, 1.4, 2.5, 0.9])
    kinds = rng.permutation(np.repeat(np.arange(len(EDITINGS)), 20))
    stated = [np.exp(rng.uniform(-4, -1, 800)) for _ in kinds]
    true = [factors[kind] * s * np.abs(rng.standard_normal(800)) for kind, s in zip(kinds, stated, strict=True)]
    certain = np.eye(len(EDITINGS))[kinds]
    assert_allclose(fit_error_scales(stated, true, certain), factors, rtol=0.04)
    uncertain = np.full_like(certain, 1 / len(EDITINGS))
    assert np.ptp(fit_error_scales(stated, true, uncertain)) == 0
