"""Processed cases keep their truth at their molecule; the classifier separates only groups that differ."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from cryores_lite.fourier.spectrum import radius
from cryores_lite.io.mrc import read_map
from training.evaluation import cases, realism

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def case():
    density = read_map(EXAMPLES / "example_map.mrc").density
    truth = read_map(EXAMPLES / "example_truth.mrc.gz").density.values
    return cases.Case(name="example", density=density, truth=truth)


@pytest.mark.parametrize("name", [*cases.PROCESSINGS, *cases.NEUTRAL_PROCESSINGS])
def test_a_processed_case_has_truth_on_its_grid_at_its_molecule(case, name):
    changed = {**cases.PROCESSINGS, **cases.NEUTRAL_PROCESSINGS}[name](case)
    inside = changed.truth > 0
    values = changed.density.values
    assert changed.truth.shape == values.shape == changed.density.grid.shape
    assert values.dtype == np.float32
    noise = values[~inside].std() / np.sqrt(inside.sum())
    assert values[inside].mean() > values[~inside].mean() + 20 * noise


def test_a_low_pass_leaves_no_power_beyond_its_limit(case):
    changed = cases.low_passed(case)
    lengths = tuple(n * v for n, v in zip(case.truth.shape, case.density.grid.voxel_size, strict=True))
    k = radius(case.truth.shape, lengths)
    power = np.abs(fft.rfftn(changed.density.values)) ** 2
    assert changed.low_pass_limit == pytest.approx(np.median(case.truth[case.truth > 0]))
    assert power[k > 1.1 / changed.low_pass_limit].max() < 1e-6 * power.max()


def test_sharpening_is_undone_by_blurring(case):
    back = cases.sharpened(cases.sharpened(case, -60.0), 60.0)
    assert_allclose(back.density.values, case.density.values, atol=1e-3 * case.density.values.std())


@pytest.mark.parametrize("ratio", [1.37, 2 / 3])
def test_resampling_keeps_lengths_and_the_molecule(case, ratio):
    changed = cases.resampled(case, ratio)
    for points, size, before, voxel_size in zip(
        changed.truth.shape,
        changed.density.grid.voxel_size,
        case.truth.shape,
        case.density.grid.voxel_size,
        strict=True,
    ):
        assert points * size == pytest.approx(before * voxel_size)
    volumes = [(c.truth > 0).sum() * c.density.grid.voxel_volume for c in (case, changed)]
    assert_allclose(volumes[1], volumes[0], rtol=0.02)
    assert changed.median == pytest.approx(case.median, rel=0.01)


def test_the_classifier_separates_groups_only_if_they_differ():
    rng = np.random.default_rng(1)
    first_group, second_group = ([rng.normal(0, 1, (10, 6)) for _ in range(20)] for _ in range(2))
    accuracy, _ = realism.classify(first_group, second_group)
    assert 0.35 < accuracy < 0.65
    shifted_group = [m + np.array([2.5, 0, 0, 0, 0, 0]) for m in second_group]
    accuracy, weights = realism.classify(first_group, shifted_group)
    assert accuracy > 0.85
    assert np.abs(weights).argmax() == 0
    assert weights[0] > 0
