"""Global FSC curves: corrected for the correlation that a mask adds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from cryores_lite.fourier.fsc import FSC_THRESHOLD, first_crossing
from cryores_lite.half_maps.fsc_curves import (
    fsc_curves,
    global_fsc,
    phase_randomised_fsc,
    soft_mask,
)
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, wave_numbers, white_noise

VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3


def test_the_corrected_global_fsc_is_free_of_the_correlation_that_a_hard_mask_adds(half_maps_and_hard_mask):
    (first, second), mask = half_maps_and_hard_mask
    curves = fsc_curves(first, second, VOXEL_SIZE, mask)
    noise = slice(int(np.searchsorted(curves.frequencies, 1 / 12)), None)
    assert curves.masked[noise].mean() > 0.9
    assert np.abs(curves.unmasked[noise]).mean() < 0.03
    assert np.abs(curves.corrected[noise]).mean() < 0.15
    assert abs(curves.corrected[noise].mean()) < 0.1  # the mean over draws of random phases gives the same


def test_a_soft_mask_around_the_molecule_needs_little_correction(molecule):
    values = [half.values for half in molecule]
    mask = soft_mask(ball(HALF_MAP_SHAPE, 24), VOXEL_SIZE)
    curves = fsc_curves(*values, VOXEL_SIZE, mask)
    assert_allclose(curves.corrected, curves.masked, atol=0.1)  # measured: 0.04
    masked_resolution = float(first_crossing(curves.masked[:, None], curves.frequencies, FSC_THRESHOLD)[0])
    assert curves.resolution() == pytest.approx(masked_resolution, rel=0.05)  # measured: 2.6 %


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_the_global_fsc_does_not_depend_on_which_axis_is_x(molecule, axes):
    mask = soft_mask(ball(HALF_MAP_SHAPE, 24), VOXEL_SIZE)
    fields = [field[:, :60, :51] for field in (*(half.values for half in molecule), mask)]
    turned = [np.ascontiguousarray(np.rot90(field, axes=axes)) for field in fields]
    here, there = (fsc_curves(*maps[:2], VOXEL_SIZE, maps[2]) for maps in (fields, turned))
    assert there.resolution() == pytest.approx(here.resolution(), rel=1e-3)
    for name in ("unmasked", "masked", "phase_randomised"):
        assert_allclose(getattr(there, name), getattr(here, name), atol=1e-4)


def test_the_expected_fsc_of_random_phases_is_the_mean_over_draws(half_maps_and_hard_mask):
    """Phases are those of white noise, so that those of k and −k are opposite."""
    halves, mask = half_maps_and_hard_mask
    k = wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE)
    for start in (1 / 40, 1 / 20):

        def drawn(half, seed, start=start):
            noise = np.fft.rfftn(white_noise(seed, HALF_MAP_SHAPE))
            turn = np.where(k > start, noise / np.abs(noise), 1)
            return (mask * np.fft.irfftn(np.fft.rfftn(half) * turn, HALF_MAP_SHAPE, (0, 1, 2))).astype(np.float32)

        draws = [
            global_fsc(*(drawn(half, seed + n) for n, half in enumerate(halves)), VOXEL_SIZE)[1]
            for seed in range(0, 24, 2)
        ]
        error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
        waves = [fft.rfftn(half) for half in halves]
        z = (np.mean(draws, axis=0) - phase_randomised_fsc(waves, mask, VOXEL_SIZE, start)) / np.maximum(error, 1e-4)
        assert np.sqrt(np.mean(z[4:] ** 2)) < 2  # of 12 draws: 1.1 is expected
