"""Local resolution from the noise in the solvent."""

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.io.mrc import read_map
from cryores_lite.method.prepare import prepare
from cryores_lite.method.solvent_noise import FSC_THRESHOLD, noise_at_resolution, solvent_estimate
from cryores_lite.types import Density, Grid
from tests.runtime.paths import EXAMPLE, EXAMPLE_TRUTH


def estimate_of(density):
    _, spectra = prepare(density)
    return spectra.powers, solvent_estimate(spectra.powers, spectra.outline)


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE).density


@pytest.fixture(scope="module")
def estimate(example):
    return estimate_of(example)


@pytest.mark.slow
def test_the_median_is_near_the_truth_and_does_not_depend_on_gain(example, estimate):
    truth = read_map(EXAMPLE_TRUTH).density.values
    _, solvent = estimate
    assert solvent.has_solvent
    assert solvent.median_resolution == pytest.approx(np.median(truth[truth > 0]), rel=0.03)
    _, scaled = estimate_of(replace(example, values=(example.values * 1e-3).astype(np.float32)))
    assert scaled.median_resolution == pytest.approx(solvent.median_resolution, rel=1e-3)


@pytest.mark.slow
def test_zeros_around_the_map_are_not_taken_for_solvent(example, estimate):
    padded = np.pad(example.values, 16)
    _, solvent = estimate_of(Density(padded, Grid(padded.shape, example.grid.voxel_size)))
    assert solvent.median_resolution == pytest.approx(estimate[1].median_resolution, rel=0.005)  # measured: 0.07 %


@pytest.mark.parametrize("has_solvent", [True, False])
@pytest.mark.parametrize("factor", [0.95, 1.15])
def test_the_noise_is_scaled_so_that_the_median_power_crosses_it_at_the_given_resolution(estimate, has_solvent, factor):
    powers, solvent = estimate
    resolution = factor * solvent.median_resolution
    noise = noise_at_resolution(powers, replace(solvent, has_solvent=has_solvent), resolution)
    ratio = np.interp(1 / resolution, powers.frequencies, solvent.molecule_power / noise)
    assert (ratio - 1) / (ratio + 1) == pytest.approx(FSC_THRESHOLD, abs=0.01)
