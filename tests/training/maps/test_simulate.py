"""The simulator's truth agrees with half maps and with an independent program; its effects have the drawn strength."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite.fourier.local_power import local_power
from cryores_lite.fourier.spectrum import grid_for, low_pass, radius
from cryores_lite.half_maps.independence import DEPENDENT_FSC, lowest_shell_fsc
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.types import Density, Grid
from training.maps import structures as st
from training.maps import truth
from training.maps.noise import (
    change_at_molecule,
    missing_views_gain,
    noise_envelope,
    pose_noise_share,
    slow_drift,
    spectral_slope,
    white_noise_powers,
)
from training.maps.processing import (
    apply_mask,
    draw_low_pass_limit,
    filter_locally,
    fsc_weight,
    resample_wrapped,
    sharpening_gain,
)
from training.maps.recipe import EVEN_NOISE
from training.maps.simulate import (
    draw_halves,
    draw_map,
    draw_signal,
    match_noise,
    padded,
    periodic,
    resampled,
    resharpened,
)

PLAIN = replace(
    EVEN_NOISE,
    resolution=(4.0, 4.0),
    usual_share=0.0,
    resolution_elements=(2.0, 2.0),
    mobility_spread=(1.0, 1.0),
    amplitude_falloff=(1e-6, 1e-6),
    oversampling=(3.0, 3.0),
    box=(48, 48),
)


@pytest.fixture(scope="module")
def signal(structures):
    return draw_signal(st.read_manifest(structures, "train")[0], PLAIN, np.random.default_rng(1))


def test_train_and_validation_share_no_structure(structures):
    train, validation = (st.read_manifest(structures, split) for split in ("train", "validation"))
    assert {s.id for s in train}.isdisjoint({s.id for s in validation})
    with pytest.raises(ValueError, match="split"):
        st.read_manifest(structures, "test")


def test_train_and_validation_of_the_real_manifest_share_no_structure(shared):
    folder = shared / "data" / "structures"
    train, validation = (st.read_manifest(folder, split) for split in ("train", "validation"))
    assert len(train) > len(validation) > 0
    assert {s.path for s in train}.isdisjoint({s.path for s in validation})


def test_splatting_conserves_weight_and_centre():
    grid = np.zeros((20, 20, 20), np.float32)
    rng = np.random.default_rng(2)
    positions, weights = rng.uniform(-6, 6, (50, 3)), rng.uniform(1, 3, 50)
    st.splat(grid, positions, weights)
    assert_allclose(grid.sum(), weights.sum(), rtol=1e-4)
    centre = [(grid * (np.indices(grid.shape)[a] - 10)).sum() / grid.sum() for a in range(3)]
    assert_allclose(centre, (positions * weights[:, None]).sum(0) / weights.sum(), atol=1e-3)


def test_the_median_truth_is_the_drawn_resolution(signal):
    simulated = draw_map(signal, PLAIN, np.random.default_rng(3))
    inside = resample_wrapped(signal.mask.astype(np.float32), simulated.truth.shape) > 0.5
    assert_allclose(np.median(simulated.truth[inside]), signal.resolution, rtol=0.03)


def test_a_low_pass_limits_the_truth_and_a_mask_sets_the_solvent_to_zero(signal):
    recipe = replace(PLAIN, processing={"lowpass": 1.0}, masking={"tight": 1.0})
    simulated = draw_map(signal, recipe, np.random.default_rng(4))
    assert simulated.low_pass_limit > 0
    assert simulated.truth.min() >= simulated.low_pass_limit - 1e-4
    assert (simulated.density.values == 0).mean() > 0.2


def test_a_crop_keeps_the_truth_in_place(signal):
    recipe = replace(PLAIN, masking={"cut": 1.0})
    simulated = draw_map(signal, recipe, np.random.default_rng(5))
    inner = tuple(slice(a, a + n) for a, n in zip(simulated.placement.start, simulated.mask.shape, strict=True))
    assert simulated.density.grid.shape < signal.density.shape
    assert (simulated.mask == signal.mask[inner]).all()


def test_noise_has_the_power_that_the_truth_assumes(signal):
    shape, v = signal.density.shape, signal.voxel_size
    k = radius(shape, tuple(n * v for n in shape))
    amplitude = np.exp(-3 * k).astype(np.float32)
    frequencies = truth.bands(v)[18::7]
    noise = fft.irfftn(amplitude * fft.rfftn(np.random.default_rng(6).standard_normal(shape, np.float32)), s=shape)
    spectrum = periodic(noise, v)
    coarse = grid_for(spectrum.lengths, 4.0)
    measured = [local_power(spectrum, f, coarse).mean() for f in frequencies]
    assert_allclose(measured, white_noise_powers(amplitude, k, frequencies), rtol=0.15)


def test_the_local_fsc_of_half_maps_is_their_truth(signal):
    first, second, local = draw_halves(signal, PLAIN, np.random.default_rng(14))
    grid = Grid(signal.density.shape, (signal.voxel_size,) * 3)
    local_resolution = local_fsc(Density(first, grid), Density(second, grid)).values
    inside = local > 0
    assert (inside == signal.mask).all()
    assert np.median(local_resolution[inside] / local[inside]) == pytest.approx(1, abs=0.05)
    assert lowest_shell_fsc(first, second) < DEPENDENT_FSC


def test_the_truth_is_the_local_fsc_of_two_noisy_halves(signal):
    """Draw many pairs of halves; their mean windowed cross power over power is the expected FSC."""
    shape, v = signal.density.shape, signal.voxel_size
    k = radius(shape, tuple(n * v for n in shape))
    frequencies = truth.bands(v)
    coarse = signal.powers.shape[1:]
    inside = resample_wrapped(signal.mask.astype(np.float32), coarse) > 0.5
    white = np.broadcast_to(
        white_noise_powers(np.ones_like(k), k, frequencies)[:, None, None, None], signal.powers.shape
    ).astype(np.float32)
    scale = match_noise(signal, frequencies, white, np.zeros_like(white), inside)
    expected = truth.first_crossing(signal.powers / (signal.powers + scale * white), frequencies)[inside]
    rng = np.random.default_rng(7)
    band = int(np.abs(frequencies - 1 / np.median(expected)).argmin())
    f, cross, power = frequencies[band], 0.0, 0.0
    for _ in range(6):
        halves = [
            signal.density + np.float32(np.sqrt(scale)) * rng.standard_normal(shape, np.float32) for _ in range(2)
        ]
        total, difference = (local_power(periodic(halves[0] + s * halves[1], v), f, coarse) for s in (1, -1))
        cross, power = cross + (total - difference)[inside] / 4, power + (total + difference)[inside] / 4
    assert_allclose(np.median(cross / power), truth.FSC_THRESHOLD, atol=0.05)


def test_truth_agrees_with_the_bench_program(signal, shared):
    """Another program computes band powers and crossings of the same signal and noise."""
    spec = importlib.util.spec_from_file_location("bench_truth", shared / "bench" / "truth.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    v, shape = signal.voxel_size, signal.density.shape
    noise = np.random.default_rng(8).standard_normal((2, *shape)).astype(np.float32) * 0.4
    theirs, _ = bench.truth_map(
        signal.density, signal.density, signal.density + noise[0], signal.density + noise[1], signal.mask, v
    )
    k = radius(shape, tuple(n * v for n in shape))
    frequencies = truth.bands(v)
    flat = 0.16 * white_noise_powers(np.ones_like(k), k, frequencies)[:, None, None, None]
    ours = truth.first_crossing(signal.powers / (signal.powers + flat).astype(np.float32), frequencies)
    ours = resample_wrapped(ours, shape)[signal.mask]
    assert_allclose(np.median(ours), np.median(theirs[signal.mask]), rtol=0.02)
    assert np.corrcoef(ours, theirs[signal.mask])[0, 1] > 0.95


@pytest.mark.parametrize("effect", [resampled, padded])
def test_moving_a_map_to_another_grid_keeps_its_truth_in_place(signal, effect):
    plain = draw_map(signal, PLAIN, np.random.default_rng(9))
    moved = effect(plain, np.random.default_rng(10))
    truths = [known.local_resolution() for known in (plain, moved)]
    volumes, medians, centres = [], [], []
    for known, local in zip((plain, moved), truths, strict=True):
        volumes.append((local > 0).sum() * known.density.grid.voxel_volume)
        medians.append(np.median(local[local > 0]))
        centres.append(np.argwhere(local > 0).mean(0) * known.placement.stride + known.placement.start)
    assert_allclose(volumes[1], volumes[0], rtol=0.03)
    assert_allclose(medians[1], max(medians[0], moved.low_pass_limit), rtol=0.01)
    assert_allclose(centres[1], centres[0], atol=0.2)
    values = moved.density.values
    assert values[truths[1] > 0].mean() > 2 * np.abs(np.median(values[truths[1] == 0]))


def test_missing_views_amplify_noise_around_z_only():
    k = radius((32, 32, 32), (64.0,) * 3)
    gain = missing_views_gain(k, np.random.default_rng(1))
    assert gain[8, 0, 0] > 1.2
    assert (gain[0, :8, :8] == 1).all()


@pytest.mark.parametrize("change", [-0.5, 0.8])
def test_noise_changes_by_the_drawn_share_at_the_molecule(change):
    mask = ((np.indices((64, 64, 64)) - 32) ** 2).sum(0) < 20**2
    amplitude = change_at_molecule(mask, 1.0, (change, change), np.random.default_rng(1))
    assert amplitude[32, 32, 32] ** 2 == pytest.approx(1 + change, abs=0.02)
    assert amplitude[0, 0, 0] == pytest.approx(1, abs=0.01)


def test_drifting_noise_varies_slowly():
    amplitude = slow_drift((48, 48, 48), 2.0, np.random.default_rng(2))
    assert 0 < amplitude.std() < 0.35
    assert np.abs(np.diff(amplitude, axis=0)).max() < amplitude.std()


def test_the_noise_amplitude_is_positive_and_one_at_zero_frequency():
    k = radius((32, 32, 32), (64.0,) * 3)
    amplitude = spectral_slope(k, 4.0, np.random.default_rng(3))
    assert amplitude[0, 0, 0] == 1
    assert (amplitude > 0).all()


def test_the_fsc_weight_is_the_amplitude_correlation_of_the_full_map_with_the_signal():
    frequencies = np.array([0.05, 0.1, 0.2])
    gain = fsc_weight(np.array([[[0.01, 0.1, 0.2]]], np.float32), frequencies, np.array([1.0, 0.143, 0.0]))
    assert_allclose(gain[0, 0], [1, 0.5, 0], atol=0.001)


def test_sharpening_stops_at_its_last_frequency():
    k = np.array([0.0, 0.1, 0.2, 0.4], np.float32)
    assert_allclose(sharpening_gain(k, 40.0, 0.2), np.exp(10 * np.array([0, 0.01, 0.04, 0.04])), rtol=1e-6)


@pytest.mark.parametrize("kind", ["postprocess", "lowpass"])
def test_a_map_is_low_passed_near_its_resolution_or_where_its_fsc_vanishes(kind):
    frequencies = np.geomspace(1 / 40, 1 / 2, 40)
    curve = np.clip(1.2 - 4 * frequencies, 0, 1)
    for seed in range(6):
        limit = draw_low_pass_limit(frequencies, curve, 4.0, kind, PLAIN, np.random.default_rng(seed))
        assert 2.9 < limit < 5.3


@pytest.mark.parametrize("kind", ["none", "sphere", "soft", "tight", "zone", "cut"])
def test_every_masking_keeps_the_densest_part_of_its_molecule(signal, kind):
    values, mask, start = apply_mask(
        signal.density.astype(np.float32), signal.mask, signal.voxel_size, kind, np.random.default_rng(2)
    )
    box = tuple(slice(first, first + n) for first, n in zip(start, values.shape, strict=True))
    inside = ndimage.binary_erosion(mask, iterations=2)
    assert mask.any()
    assert values.shape == mask.shape
    assert (mask <= signal.mask[box]).all()
    assert_allclose(values[inside], signal.density[box][inside], rtol=1e-5)


def test_the_truth_is_interpolated_and_zero_outside_the_molecule(signal):
    known = draw_map(signal, PLAIN, np.random.default_rng(15))
    local = known.local_resolution()
    assert ((local > 0) == known.mask).all()
    assert_allclose(known.truth_at([np.zeros(1)] * 3)[0, 0, 0], known.truth[0, 0, 0])
    limited = replace(known, low_pass_limit=2 * known.global_resolution)
    assert limited.visible_global_resolution == 2 * known.global_resolution


def test_a_local_filter_removes_detail_finer_than_the_local_resolution(signal):
    lengths = tuple(n * signal.voxel_size for n in signal.density.shape)
    k = radius(signal.density.shape, lengths)
    noise = np.random.default_rng(13).standard_normal(signal.density.shape, np.float32)
    halves = np.where(np.arange(noise.shape[2]) < noise.shape[2] // 2, 4.0, 8.0)
    local = np.broadcast_to(halves, noise.shape).astype(np.float32)
    filtered = filter_locally(noise, k, local)
    fine = local_power(periodic(filtered, signal.voxel_size), 1 / 5.2, (12, 12, 12))
    assert fine[:, :, 8:10].mean() < 0.3 * fine[:, :, 2:4].mean()


def test_pose_noise_grows_with_frequency_and_has_the_drawn_share_at_the_resolution():
    frequencies = np.geomspace(1 / 40, 1 / 3, 30)
    for seed in range(5):
        share = pose_noise_share(frequencies, 4.0, np.random.default_rng(seed))
        assert (np.diff(share) >= 0).all()
        assert 0.005 < np.interp(0.25, frequencies, share) < 1.6
        assert share[0] < 0.1 * np.interp(0.25, frequencies, share)


def test_radial_noise_falls_off_from_the_centre(signal):
    recipe = replace(PLAIN, radial_noise=1.0)
    envelope = noise_envelope(signal.mask, signal.voxel_size, recipe, np.random.default_rng(14))
    n = envelope.shape[0] // 2
    assert (np.diff(envelope[n, n, n:]) <= 1e-6).all()
    assert envelope[n, n, -1] < 0.97 * envelope[n, n, n]


@pytest.mark.parametrize("edge", [0.5, 2.0, 12.0])
def test_a_low_pass_keeps_frequencies_below_its_edge_and_removes_those_above(edge):
    k = radius((64, 64, 64), (96.0,) * 3)
    gain = low_pass(k, 1 / 6, edge / 96)
    assert (gain[k > 1 / 6 + edge / 96 + 1e-4] == 0).all()
    assert_allclose(gain[k < 1 / 6 - edge / 96], 1, atol=1e-6)
    order = np.argsort(k, axis=None)
    assert (np.diff(gain.ravel()[order]) <= 1e-6).all()


def test_sharpening_a_finished_map_keeps_its_truth_and_changes_its_amplitudes(signal):
    simulated = draw_map(signal, PLAIN, np.random.default_rng(3))
    sharpened = resharpened(simulated, np.random.default_rng(4))
    assert (sharpened.local_resolution() == simulated.local_resolution()).all()
    waves, changed = (np.abs(fft.rfftn(m.density.values)) for m in (simulated, sharpened))
    k = radius(signal.density.shape, signal.lengths)
    inner = (k > 0) & (k < 0.5 / signal.voxel_size)
    slope = np.log(changed[inner] / waves[inner]) / k[inner] ** 2
    assert np.ptp(slope[k[inner] > 0.02]) < 0.02 * abs(slope.mean())
