"""Each effect of editing does what its name says and nothing else."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite.fourier.spectrum import radius
from training.maps import editing
from training.maps import structures as st
from training.maps.known_map import EDITINGS
from training.maps.processing import resample_wrapped
from training.maps.recipe import EVEN_NOISE, Recipe
from training.maps.simulate import draw_map, draw_noise, draw_signal

PLAIN = replace(
    EVEN_NOISE,
    resolution=(4.0, 4.0),
    usual_share=0.0,
    resolution_elements=(2.0, 2.0),
    amplitude_falloff=(1e-6, 1e-6),
    oversampling=(3.0, 3.0),
    box=(48, 48),
)
RNG = np.random.default_rng


@pytest.fixture(scope="module")
def signal(structures):
    return draw_signal(st.read_manifest(structures, "train")[0], PLAIN, RNG(1))


@pytest.fixture(scope="module")
def uneven(signal):
    """A noisy map whose amplitude falls to a fifth along x."""
    noise = 0.05 * RNG(2).standard_normal(signal.density.shape, np.float32)
    return (signal.density + noise) * np.linspace(1, 0.2, signal.density.shape[2], dtype=np.float32)


def band_at(values, k, frequency):
    return fft.irfftn(fft.rfftn(values) * np.exp(-0.5 * ((k - frequency) / (0.1 * frequency)) ** 2), s=values.shape)


def unevenness(values, mask):
    """Rms of the map in the molecule's first eighth along x, divided by that in its last."""
    order = np.argsort(np.argwhere(mask)[:, 2])
    inside = values[mask][order]
    part = len(inside) // 8
    return np.sqrt((inside[:part] ** 2).mean() / (inside[-part:] ** 2).mean())


def test_bands_add_up_to_the_map(uneven, signal):
    parts = list(editing.bands_of(uneven, signal.lengths, np.geomspace(0.05, 0.3, 6)))
    assert_allclose(sum(parts), uneven, atol=1e-5)


def test_even_bands_remove_gain_that_varies_slowly_and_keep_the_phases(uneven, signal):
    even = editing.even_bands(uneven, signal.lengths, 8.0, 0.05)
    same_without_gain = unevenness(editing.even_bands(signal.density, signal.lengths, 8.0, 0.05), signal.mask)
    assert unevenness(uneven, signal.mask) > 1.7 * unevenness(signal.density, signal.mask)
    assert unevenness(even, signal.mask) == pytest.approx(same_without_gain, rel=0.25)
    k = radius(uneven.shape, signal.lengths)
    for frequency in (0.06, 0.1, 0.15, 0.2):
        before, after = (band_at(values, k, frequency)[signal.mask] for values in (uneven, even))
        strong = np.abs(before) > 0.5 * before.std()
        assert (np.sign(before) == np.sign(after))[strong].mean() > 0.97


@pytest.mark.parametrize("gain", [1e-3, 40.0])
def test_even_bands_scale_with_the_map(uneven, signal, gain):
    assert_allclose(
        editing.even_bands(uneven * np.float32(gain), signal.lengths, 8.0, 0.1),
        gain * editing.even_bands(uneven, signal.lengths, 8.0, 0.1),
        atol=2e-4 * gain,
    )


def test_a_floor_keeps_the_solvent_weak(signal):
    noise = 0.02 * RNG(3).standard_normal(signal.density.shape, np.float32)
    solvent = ndimage.distance_transform_edt(~signal.mask) * signal.voxel_size > 12
    raised, kept = (editing.even_bands(signal.density + noise, signal.lengths, 6.0, floor) for floor in (0.0, 0.5))
    assert raised[solvent].std() > 3 * kept[solvent].std()


def test_sharpening_towards_a_profile_gives_every_band_its_rms(signal):
    frequencies = editing.sharpened_bands(signal.density, signal.lengths, 8.0)
    even = editing.even_bands(signal.density, signal.lengths, 8.0, 0.0, lambda f: 3 * f)
    bands = editing.bands_of(even, signal.lengths, frequencies)
    ratios = [band[signal.mask].std() / (3 * f) for f, band in zip(frequencies, bands, strict=True)]
    assert_allclose(ratios / np.mean(ratios), 1, atol=0.45)


def test_an_empty_band_stays_empty(signal):
    k = radius(signal.density.shape, signal.lengths)
    low_passed = fft.irfftn(fft.rfftn(signal.density) * (k < 0.15), s=signal.density.shape)
    even = editing.even_bands(low_passed, signal.lengths, 8.0, 0.0, np.ones_like)
    power = np.abs(fft.rfftn(even)) ** 2
    assert power[k > 0.3].mean() < 1e-3 * power[(k > 0.05) & (k < 0.12)].mean()


def test_even_amplitude_removes_gain_of_all_frequencies_alike(uneven, signal):
    even = editing.even_amplitude(uneven, signal.lengths, 8.0, 0.05, 1.0)
    same_without_gain = unevenness(editing.even_amplitude(signal.density, signal.lengths, 8.0, 0.05, 1.0), signal.mask)
    assert unevenness(even, signal.mask) == pytest.approx(same_without_gain, rel=0.25)
    half = editing.even_amplitude(uneven, signal.lengths, 8.0, 0.05, 0.5)
    assert unevenness(even, signal.mask) < unevenness(half, signal.mask) < unevenness(uneven, signal.mask)


def test_sharpening_by_resolution_raises_high_frequencies_more_where_the_resolution_is_poor():
    shape, lengths = (48, 48, 48), (72.0,) * 3
    noise = RNG(4).standard_normal(shape, np.float32)
    local = np.where(np.arange(48) < 24, 4.0, 8.0) * np.ones(shape, np.float32)
    k = radius(shape, lengths)
    sharpened = editing.sharpen_by_resolution(noise, k, local.astype(np.float32), 8.0)
    after, before = (band_at(values, k, 0.12) for values in (sharpened, noise))
    gains = [after[..., x : x + 4].std() / before[..., x : x + 4].std() for x in (10, 34)]
    assert_allclose(gains, np.exp([8 * (4 * 0.12) ** 2 / 4, 8 * (8 * 0.12) ** 2 / 4]), rtol=0.1)


def test_local_sharpening_keeps_the_truth_except_for_its_low_pass(signal):
    seeds = range(8)
    plain = replace(PLAIN, editing={"none": 1.0})
    for low_pass in (0.0, 1.0):
        recipe = replace(PLAIN, editing={"locally sharpened": 1.0}, low_pass_of_local_sharpening=low_pass)
        for seed in seeds:
            known = draw_map(signal, recipe, RNG(seed))
            original = draw_map(signal, plain, RNG(seed))
            assert (known.low_pass_limit > 0) == (low_pass == 1.0)
            assert_allclose(known.truth, np.maximum(original.truth, known.low_pass_limit), rtol=1e-6)
            assert known.kind.editing == "locally sharpened"


@pytest.mark.parametrize("subtract", [False, True])
def test_clipping_below_a_contour_keeps_the_values_above(uneven, subtract):
    level = editing.contour_level(uneven, 5000)
    clipped = editing.clip_below(uneven, level, subtract=subtract)
    above = uneven >= level
    assert above.sum() == pytest.approx(5000, abs=5)
    assert_allclose(clipped[above], uneven[above] - (level if subtract else 0), atol=1e-6)
    assert (clipped[~above] == 0).all()


def test_a_map_cut_at_the_top_keeps_all_lower_values(uneven):
    level = editing.contour_level(uneven, 300)
    cut = editing.clip_above(uneven, level)
    assert cut.max() <= np.float32(level)
    assert (cut[uneven < level] == uneven[uneven < level]).all()


def test_clipped_and_enhanced_maps_have_no_negative_value(signal):
    recipe = replace(PLAIN, clipping={"contour": 1.0, "non-negative": 1.0}, resampled_after_editing=0.0)
    for kind in ("clipped", "enhanced"):
        for seed in range(6):
            known = draw_map(signal, replace(recipe, editing={kind: 1.0}), RNG(seed))
            assert known.density.values.min() >= 0
            assert (known.density.values == 0).mean() > 0.1
            assert known.density.values[known.mask].mean() > 0


def test_a_histogram_is_matched_in_the_order_of_the_values(uneven):
    values = np.maximum(uneven, 0)
    reference = np.sort(RNG(5).gamma(1.0, size=500)).astype(np.float32)
    matched = editing.match_histogram(values, reference)
    positive = values > 0
    assert (matched[~positive] == 0).all()
    order = np.argsort(values[positive])
    assert (np.diff(matched[positive][order]) >= 0).all()
    assert_allclose(np.percentile(matched[positive], (10, 50, 90)), np.percentile(reference, (10, 50, 90)), rtol=0.02)


def test_gamma_keeps_zero_the_highest_value_and_the_order(uneven):
    values = np.maximum(uneven, 0)
    changed = editing.with_gamma(values, 1.7)
    assert changed.max() == pytest.approx(values.max(), rel=1e-5)
    assert (changed[values == 0] == 0).all()
    assert (np.diff(changed.ravel()[np.argsort(values.ravel())]) >= 0).all()


def test_the_soft_contour_holds_the_molecule_and_leaves_the_far_solvent_out(signal):
    mask = editing.soft_contour(signal.density, signal.lengths, 3.0, int(1.5 * signal.mask.sum()), 1.5)
    far = ndimage.distance_transform_edt(~signal.mask) * signal.voxel_size > 15
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[signal.mask].mean() > 0.7
    assert mask[far].max() < 0.05


def test_float16_is_that_of_numpy(uneven):
    stored = editing.as_float16(uneven)
    assert stored.dtype == np.float32
    assert (stored == uneven.astype(np.float16)).all()
    assert np.isfinite(editing.as_float16(uneven * np.float32(1e6))).all()


@pytest.mark.parametrize("levels", [255, 5000])
def test_integers_have_equal_steps_keep_zero_and_cut_off_beyond_their_range(uneven, levels):
    values = np.where(uneven > 0.5, uneven, 0).astype(np.float32)
    stored = editing.as_integers(values, -1.0, 3.0, levels)
    steps = np.diff(np.unique(stored)) / (4 / levels)
    assert_allclose(steps, np.round(steps), atol=0.01)
    assert (stored[values == 0] == 0).all()
    assert stored.max() <= 3.0 + 4 / levels
    inside = np.abs(values) < 3
    assert np.abs(stored - values)[inside & (values > -1)].max() <= 0.5001 * 4 / levels


def test_unsigned_numbers_begin_at_zero_and_keep_all_differences(uneven):
    shifted = editing.without_negatives(uneven)
    assert shifted.min() == 0
    assert_allclose(np.diff(shifted, axis=0), np.diff(uneven, axis=0), atol=1e-5)


def test_rounding_is_visible_in_smooth_maps_only(signal):
    k = radius(signal.density.shape, signal.lengths)
    smooth = fft.irfftn(fft.rfftn(signal.density) * np.exp(-200 * k**2), s=signal.density.shape)
    noisy = signal.density + RNG(6).standard_normal(signal.density.shape, np.float32)
    assert editing.rounding_is_visible(smooth, editing.as_float16(smooth))
    assert not editing.rounding_is_visible(noisy, editing.as_float16(noisy))
    assert not editing.rounding_is_visible(smooth, smooth + 1)


def test_a_map_stored_with_low_precision_is_labelled_only_if_it_shows(structures):
    oversampled = replace(PLAIN, oversampling=(5.0, 5.0))
    signal = draw_signal(st.read_manifest(structures, "train")[0], oversampled, RNG(1))
    recipe = replace(PLAIN, editing={"low precision": 1.0}, storing={"float16": 1.0})
    for low_passed, label in ((0.0, "none"), (1.0, "low precision")):
        stored = replace(recipe, low_passed_before_storing=low_passed, narrow_edge=1.0)
        labels = [draw_map(signal, stored, RNG(seed)).kind.editing for seed in range(8)]
        assert Counter(labels).most_common(1)[0][0] == label


def test_a_composite_has_two_gains_with_a_soft_boundary(signal):
    shape = signal.density.shape
    noise = RNG(8).standard_normal(shape, np.float32)
    region = ndimage.gaussian_filter((np.arange(shape[2]) < shape[2] // 2).astype(np.float32), 2.0) * np.ones(
        shape, np.float32
    )
    merged = editing.merge(noise, 3 * noise, region)
    assert_allclose(merged[..., 0] / noise[..., 0], 3, rtol=1e-3)
    assert_allclose(merged[..., -1], noise[..., -1], rtol=1e-3)
    steps = np.diff((merged / noise)[0, 0])
    assert np.abs(steps).max() < 0.5


def test_a_composite_has_two_noise_levels_and_its_truth_follows(signal):
    noise = draw_noise(signal, replace(PLAIN, composite=1.0, composite_noise=(0.7, 0.7)), RNG(9))
    even = draw_noise(signal, PLAIN, RNG(9))
    assert even.region is None
    assert_allclose(np.log(noise.envelope / even.envelope), 0.7 * noise.region, atol=1e-5)
    second = resample_wrapped(noise.region, noise.local.shape) > 0.5
    ratio = noise.local / even.local
    assert ratio[noise.inside & second].mean() > ratio[noise.inside & ~second].mean()


def test_a_level_of_the_solvent_shows_inside_a_mask_only(signal):
    recipe = replace(PLAIN, masking={"sphere": 1.0}, solvent_level=1.0, solvent_levels=(1.5, 1.5))
    values = draw_map(signal, recipe, RNG(10)).density.values
    solvent = (values != 0) & ~ndimage.binary_dilation(signal.mask, iterations=3)
    assert (values == 0).any()
    assert values[solvent].mean() > 0.5 * values.std()


def test_the_labels_of_editing_have_the_drawn_shares(signal):
    drawn = Recipe().editing
    assert tuple(drawn) == EDITINGS
    recipe, rng, count = replace(PLAIN, editing=drawn), RNG(11), 150
    labels = Counter(draw_map(signal, recipe, rng).kind.editing for _ in range(count))
    for name in ("locally sharpened", "clipped", "enhanced"):
        share = drawn[name] / sum(drawn.values())
        assert labels[name] / count == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / count))
    assert labels["none"] / count > drawn["none"] - 0.12
