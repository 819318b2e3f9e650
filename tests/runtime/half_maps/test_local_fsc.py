"""Local resolution from half maps is as theory predicts, for any scale and order of axes."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import first_crossing, fixed_threshold, one_bit_threshold
from cryores_lite.fourier.local_power import window_sigma
from cryores_lite.fourier.spectrum import transform
from cryores_lite.half_maps.local_fsc import band_fsc, local_fsc
from cryores_lite.io.mrc import read_map
from cryores_lite.types import Density, Grid
from tests.runtime.maps import (
    HALF_MAP_SHAPE,
    HALF_MAP_VOXEL_SIZE,
    ball,
    density_of,
    filtered,
    wave_numbers,
    white_noise,
)

GRID = Grid(HALF_MAP_SHAPE, (HALF_MAP_VOXEL_SIZE,) * 3)
K = wave_numbers(HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE)


def white(seed):
    return white_noise(seed, HALF_MAP_SHAPE)


def half_maps_with(signal_power):
    """Half maps of white noise (power 1) and a signal of a given power, a function of |k|, uniform in space."""
    signal = filtered(white(0), np.sqrt(signal_power(K)))
    return [Density(signal + white(n), GRID) for n in (1, 2)]


def signal_power_for(resolution):
    """Signal power at which the FSC is 0.143, that is S/N = 1/6, at a resolution in Å."""
    return lambda k: np.exp(4 * (1 - k * resolution)) / 6


def without_edges(values, edge=12):
    return values[edge:-edge, edge:-edge, edge:-edge]


@pytest.fixture(scope="module")
def pair():
    return half_maps_with(signal_power_for(8.0))


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [6.0, 8.0, 12.0])
def test_the_fsc_crosses_where_theory_says(resolution):
    values = local_fsc(*half_maps_with(signal_power_for(resolution))).values
    assert np.median(without_edges(values)) == pytest.approx(resolution, rel=0.07)


@pytest.mark.slow
def test_the_fsc_crosses_a_higher_threshold_where_theory_says():
    first, second = half_maps_with(signal_power_for(6.0))
    expected = 6.0 / (1 - np.log(6) / 4)  # S/N = 1
    at_half = local_fsc(first, second, threshold=fixed_threshold(0.5)).values
    assert np.median(without_edges(at_half)) == pytest.approx(expected, rel=0.04)  # measured: 1.9 %
    at_one_bit = np.median(without_edges(local_fsc(first, second, threshold=one_bit_threshold).values))
    assert 6.0 < at_one_bit < expected


def test_a_wide_window_varies_less_than_a_narrow_one(pair):
    narrow, wide = (np.log(without_edges(local_fsc(*pair, sigma=s).values)).std() for s in (8.0, 24.0))
    assert wide < 0.25 * narrow  # measured: 0.11


@pytest.mark.slow
def test_scale_offset_and_a_common_filter_do_not_change_local_resolution(pair):
    original = without_edges(local_fsc(*pair).values)
    gain = np.exp(-40 * K**2) + 0.02
    scaled = [replace(half, values=1e4 * half.values + 7) for half in pair]
    one_scaled = [pair[0], replace(pair[1], values=3 * pair[1].values)]
    for changed in (scaled, one_scaled):
        assert_allclose(without_edges(local_fsc(*changed).values), original, rtol=1e-5)
    smoothed = [replace(half, values=filtered(half.values, gain)) for half in pair]
    assert np.median(np.abs(np.log(without_edges(local_fsc(*smoothed).values) / original))) < 0.03


@pytest.mark.slow
def test_the_order_of_the_half_maps_does_not_matter(pair):
    assert_allclose(local_fsc(*pair).values, local_fsc(*pair[::-1]).values, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("part", [np.s_[3:, :61, 2:63], np.s_[:, 5:60, 1:], np.s_[:59, :59, :59]])
def test_odd_and_oblong_boxes_change_local_resolution_by_less_than_half_a_percent(molecule, part):
    original = local_fsc(*molecule).values[part]
    cropped = local_fsc(*(density_of(half.values[part], HALF_MAP_VOXEL_SIZE) for half in molecule)).values
    inside = ball(HALF_MAP_SHAPE, 18)[part]
    assert np.median(np.abs(np.log(cropped[inside] / original[inside]))) < 0.005  # measured: 0.0016


@pytest.mark.slow
def test_the_order_of_the_axes_does_not_matter(molecule):
    permuted = local_fsc(*(density_of(half.values.transpose(2, 0, 1), HALF_MAP_VOXEL_SIZE) for half in molecule)).values
    assert_allclose(permuted.transpose(1, 2, 0), local_fsc(*molecule).values, rtol=2e-3)


@pytest.mark.slow
def test_local_resolution_agrees_with_direct_windowed_correlation(molecule):
    """Reference: real-space correlation of filtered maps with Gaussian weights, on the full grid, at three points."""
    result = local_fsc(*molecule)
    position = np.indices(HALF_MAP_SHAPE)
    for centre in ((32, 32, 44), (32, 32, 20), (40, 28, 36)):
        curve = []
        for f in result.frequencies:
            band = np.exp(-0.5 * ((K - f) / (0.15 / 2.3548 * f)) ** 2)
            a, b = (filtered(half.values, band) for half in molecule)
            squared_distance = sum((HALF_MAP_VOXEL_SIZE * (p - c)) ** 2 for p, c in zip(position, centre, strict=True))
            weight = np.exp(-0.5 * squared_distance / max(1.5 / f, 4.0) ** 2)
            cross, powers = (weight * a * b).sum(), ((weight * a**2).sum(), (weight * b**2).sum())
            curve.append(max(cross, 0) / np.sqrt(np.prod(powers)))
        expected = first_crossing(np.array(curve)[:, None], result.frequencies)[0]
        assert result.values[centre] == pytest.approx(expected, rel=0.04)  # measured: 1.4 %


def test_the_side_with_finer_detail_has_finer_local_resolution(molecule):
    values = local_fsc(*molecule).values
    assert np.median(values[26:38, 26:38, 40:48]) < 0.8 * np.median(values[26:38, 26:38, 16:24])


def test_half_maps_on_different_grids_are_refused(molecule):
    rescaled = replace(molecule[1], grid=Grid(GRID.shape, (2.1, 2.1, 2.1)))
    with pytest.raises(InputError, match="different grids"):
        local_fsc(molecule[0], rescaled)


@pytest.mark.parametrize(
    "mask", [np.ones((64, 64)), np.ones((64, 64, 63)), np.zeros(HALF_MAP_SHAPE), np.full(HALF_MAP_SHAPE, 2.0)]
)
def test_an_array_that_is_not_a_mask_is_refused(molecule, mask):
    with pytest.raises(InputError, match="not a mask"):
        local_fsc(*molecule, mask=mask)


def test_a_mask_with_nan_is_refused(molecule):
    with pytest.raises(InputError, match="nan"):
        local_fsc(*molecule, mask=np.where(np.indices(HALF_MAP_SHAPE)[0] > 3, 1, np.nan))


@pytest.mark.slow
def test_the_corrected_local_fsc_is_free_of_most_correlation_that_a_hard_mask_adds(half_maps_and_hard_mask):
    values, mask = half_maps_and_hard_mask
    corrected = local_fsc(*(Density(half, GRID) for half in values), mask=mask)
    band = int(np.searchsorted(corrected.frequencies, 1 / 10))
    f = corrected.frequencies[band]
    masked = [transform(half * mask, GRID.voxel_size) for half in values]
    uncorrected = band_fsc(masked, f, window_sigma(f), corrected.fsc.shape[1:])
    assert np.median(uncorrected) > 0.4  # of noise alone
    assert np.median(corrected.fsc[band]) < 0.6 * np.median(uncorrected)


@pytest.mark.slow
def test_local_fsc_matches_the_true_local_resolution_of_the_bench(shared):
    errors, correlations = [], []
    for case in ("d1", "d2", "d3", "d4"):
        first, second, truth = (
            read_map(shared / "bench" / case / f"{name}.mrc.gz").density for name in ("half1", "half2", "truth")
        )
        inside = truth.values > 0
        estimate, true = local_fsc(first, second).values[inside], truth.values[inside]
        errors.append(np.sqrt(np.mean((estimate - true) ** 2)) / np.median(true))
        correlations.append(np.corrcoef(estimate, true)[0, 1])
    assert np.mean(errors) < 0.06
    assert min(correlations) > 0.96
