"""The simulator's truth is what half maps would show, and what an independent program computes."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from cryores_lite.steps.spectrum import grid_for, local_power, radius
from training import structures as st
from training import truth
from training.simulate import Recipe, band_sums, draw_map, draw_signal, match_level, on_grid, periodic

PLAIN = replace(
    Recipe(),
    resolution=(4.0, 4.0),
    oversampling=(3.0, 3.0),
    box=(48, 48),
    processing={"average": 1.0},
    masking={"none": 1.0},
    uneven_noise=0.0,
    following_noise=0.0,
    missing_views=0.0,
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


def test_the_median_truth_is_the_resolution_that_was_asked_for(signal):
    simulated = draw_map(signal, PLAIN, np.random.default_rng(3))
    inside = on_grid(signal.mask.astype(np.float32), simulated.truth.shape) > 0.5
    assert_allclose(np.median(simulated.truth[inside]), signal.resolution, rtol=0.03)


def test_a_low_pass_ends_the_truth_and_a_mask_leaves_zeros(signal):
    recipe = replace(PLAIN, processing={"lowpass": 1.0}, masking={"tight": 1.0})
    simulated = draw_map(signal, recipe, np.random.default_rng(4))
    assert simulated.limit > 0
    assert simulated.truth.min() >= simulated.limit - 1e-4
    assert (simulated.density == 0).mean() > 0.2


def test_a_crop_keeps_the_truth_in_place(signal):
    recipe = replace(PLAIN, masking={"cut": 1.0})
    simulated = draw_map(signal, recipe, np.random.default_rng(5))
    inner = tuple(slice(a, a + n) for a, n in zip(simulated.start, simulated.density.shape, strict=True))
    assert simulated.density.shape < signal.density.shape
    assert (simulated.mask == signal.mask[inner]).all()


def test_noise_has_the_power_that_the_truth_assumes(signal):
    shape, v = signal.density.shape, signal.voxel_size
    k = radius(shape, tuple(n * v for n in shape))
    amplitude = np.exp(-3 * k).astype(np.float32)
    frequencies = truth.bands(v)[10::8]
    noise = fft.irfftn(amplitude * fft.rfftn(np.random.default_rng(6).standard_normal(shape, np.float32)), s=shape)
    spectrum = periodic(noise, v)
    coarse = grid_for(spectrum.lengths, 4.0)
    measured = [local_power(spectrum, f, coarse).mean() for f in frequencies]
    assert_allclose(measured, band_sums(amplitude, k, frequencies), rtol=0.15)


def test_the_truth_is_the_local_fsc_of_two_noisy_halves(signal):
    """Draw many pairs of halves; their mean windowed cross power over power is the expected FSC."""
    shape, v = signal.density.shape, signal.voxel_size
    k = radius(shape, tuple(n * v for n in shape))
    frequencies = truth.bands(v)
    coarse = signal.powers.shape[1:]
    inside = on_grid(signal.mask.astype(np.float32), coarse) > 0.5
    white = np.broadcast_to(
        band_sums(np.ones_like(k), k, frequencies)[:, None, None, None], signal.powers.shape
    ).astype(np.float32)
    scale = match_level(signal, frequencies, white, np.zeros_like(white), inside)
    expected = truth.crossing(signal.powers / (signal.powers + scale * white), frequencies, 2 * v)[inside]
    rng = np.random.default_rng(7)
    band = int(np.abs(frequencies - 1 / np.median(expected)).argmin())
    f, cross, power = frequencies[band], 0.0, 0.0
    for _ in range(6):
        halves = [signal.density + np.float32(np.sqrt(scale)) * rng.standard_normal(shape, np.float32) for _ in "12"]
        total, apart = (local_power(periodic(halves[0] + s * halves[1], v), f, coarse) for s in (1, -1))
        cross, power = cross + (total - apart)[inside] / 4, power + (total + apart)[inside] / 4
    assert_allclose(np.median(cross / power), truth.FSC_CUT, atol=0.05)


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
    flat = 0.16 * band_sums(np.ones_like(k), k, frequencies)[:, None, None, None]
    ours = truth.crossing(signal.powers / (signal.powers + flat).astype(np.float32), frequencies, 2 * v)
    ours = on_grid(ours, shape)[signal.mask]
    assert_allclose(np.median(ours), np.median(theirs[signal.mask]), rtol=0.02)
    assert np.corrcoef(ours, theirs[signal.mask])[0, 1] > 0.95
