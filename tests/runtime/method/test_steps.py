"""Each step and its inverse, on any shape."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, ndimage

from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.fourier.interpolation import interpolate, resample_periodic
from cryores_lite.fourier.local_power import band_frequencies, local_power, smooth
from cryores_lite.fourier.spectrum import TAPER, Spectrum, grid_for, radius, regrid, sample, transform
from cryores_lite.io.mrc import read_map
from cryores_lite.method.assemble import aggregate
from cryores_lite.method.band_features import FEATURES, MAX_BANDS
from cryores_lite.method.crop import Box, block_mean, cut, molecule_box, paste
from cryores_lite.method.network_inputs import follow_power, followed
from cryores_lite.method.nyquist import filter_to_nyquist, power_share_beyond_nyquist
from cryores_lite.method.prepare import prepare
from cryores_lite.method.soft_edge import WIDTH, soften
from cryores_lite.method.solvent_noise import FSC_CUT, STEEP, noise_at_level
from cryores_lite.method.tiles import coarser, cover, join
from cryores_lite.types import Density, Grid

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

edges = st.integers(3, 14)


def blob(shape, centre, sigma):
    squares = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    total = squares[0][:, None, None] + squares[1][:, None] + squares[2]
    return np.exp(-total / (2 * sigma**2)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cut_undoes_paste(data):
    shape = data.draw(st.tuples(edges, edges, edges))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    box = Box(start, tuple(data.draw(st.integers(1, n - s)) for n, s in zip(shape, start, strict=True)))
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    whole = paste(cut(values, box), box, shape)
    assert_array_equal(cut(whole, box), cut(values, box))
    assert_allclose(whole.sum(), cut(values, box).sum(), rtol=1e-4)


@pytest.mark.parametrize("pad", [(20, 20, 20), (0, 31, 7)])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_larger_box_of_zeros_or_noise_keeps_the_molecule_and_is_cropped_to_it(pad, noise):
    rng = np.random.default_rng(2)
    shape, centre = (40, 44, 48), (20, 22, 24)
    inner = tuple(slice(p, p + n) for p, n in zip(pad, shape, strict=True))
    padded = np.zeros([n + 2 * p for n, p in zip(shape, pad, strict=True)], np.float32)
    padded[inner] = 10 * blob(shape, centre, 5)
    padded += rng.normal(0, noise, padded.shape).astype(np.float32)
    box = molecule_box(padded, (1.5, 1.5, 1.5), 12.0)
    for start, n, c, p, whole in zip(box.start, box.shape, centre, pad, padded.shape, strict=True):
        assert start <= max(0, c + p - 5 - 8)
        assert start + n >= min(whole, c + p + 5 + 8)
        assert n <= min(whole, 56)


def test_a_box_of_mere_noise_is_not_cropped_to_nothing():
    noise = np.random.default_rng(3).standard_normal((40, 40, 40)).astype(np.float32)
    assert min(molecule_box(noise, (1.0, 1.0, 1.0), 10.0).shape) >= 20


def test_block_means_keep_the_mean_and_specks_go():
    values = np.random.default_rng(3).standard_normal((12, 8, 16)).astype(np.float32)
    assert_allclose(block_mean(values, (3, 2, 4)).mean(), values.mean(), rtol=1e-4)
    mask = np.zeros((20, 20, 20), bool)
    mask[2:12, 2:12, 2:12] = mask[18, 18, 18] = True
    assert without_small_pieces(mask, 0.05).sum() == 1000


@settings(max_examples=25, deadline=None)
@given(st.tuples(*(st.integers(2, 7),) * 3), st.tuples(*(st.integers(1, 5),) * 3))
def test_regridding_to_a_finer_grid_is_undone_by_swapping_the_grids(half, more):
    coarse = tuple(2 * n for n in half)
    fine = tuple(2 * (n + m) for n, m in zip(half, more, strict=True))
    smooth_field = np.random.default_rng(4).standard_normal(coarse).astype(np.float32)
    waves = Spectrum(np.fft.rfftn(smooth_field).astype(np.complex64), coarse, (20.0, 30.0, 40.0), (0, 0, 0))
    assert_array_equal(regrid(waves, coarse).waves, waves.waves)
    inner = regrid(regrid(waves, fine), coarse)  # leaves out the Nyquist waves, which have no mate
    assert_allclose(regrid(regrid(inner, fine), coarse).waves, inner.waves, atol=1e-4)


def test_a_map_read_off_at_its_own_grid_is_the_map():
    values = np.random.default_rng(5).standard_normal((21, 24, 30)).astype(np.float32)
    spectrum = transform(values, (1.1, 1.1, 1.1))
    back = sample(spectrum, spectrum.shape)
    inner = tuple(slice(b, b + n) for b, n in zip(spectrum.before, values.shape, strict=True))
    difference = back[inner] - values
    assert min(spectrum.before) >= TAPER
    assert difference.std() < 1e-4  # but for a constant


def test_a_landmark_stays_where_it_is_in_angstrom():
    centre = (22.0, 31.0, 27.0)
    spectrum = transform(blob((50, 56, 60), centre, 3.0), (1.3, 1.3, 1.3))
    for step in (0.7, 2.0, 3.1):
        shape = grid_for(spectrum.lengths, step)
        found = np.unravel_index(sample(spectrum, shape).argmax(), shape)
        place = [i * length / n for i, n, length in zip(found, shape, spectrum.lengths, strict=True)]
        expected = [(c + b) * 1.3 for c, b in zip(centre, spectrum.before, strict=True)]
        assert_allclose(place, expected, atol=0.5 * step + 1e-6)


def test_band_powers_scale_with_the_square_and_conserve_power():
    rng = np.random.default_rng(6)
    values = rng.standard_normal((48, 48, 48)).astype(np.float32)
    spectrum, louder = transform(values, (1, 1, 1)), transform(3 * values, (1, 1, 1))
    coarse = grid_for(spectrum.lengths, 4.0)
    for f in (0.08, 0.2, 0.35):
        power = local_power(spectrum, f, coarse)
        assert_allclose(local_power(louder, f, coarse), 9 * power, rtol=1e-3)

        def band(k, f=f):
            return np.exp(-0.5 * ((k - f) / (0.15 / 2.3548 * f)) ** 2)

        assert_allclose(power.mean(), (sample(spectrum, spectrum.shape, band) ** 2).mean(), rtol=0.02)


def test_a_radial_filter_drops_out_of_power_ratios():
    rng = np.random.default_rng(7)
    values = blob((48, 48, 48), (24, 24, 24), 7) * rng.standard_normal((48, 48, 48)).astype(np.float32)
    spectrum = transform(values, (1.2, 1.2, 1.2))
    gain = np.exp(-60 * radius(spectrum.shape, spectrum.lengths) ** 2 / 4).astype(np.float32)
    blurred = replace(spectrum, waves=spectrum.waves * gain)
    coarse = grid_for(spectrum.lengths, 4.0)
    power = local_power(spectrum, 0.25, coarse)
    molecule = power > 0.1 * power.max()
    here, there = power[molecule], local_power(blurred, 0.25, coarse)[molecule]
    assert there.max() < 0.5 * here.max()
    shift = np.log(there / np.median(there)) - np.log(here / np.median(here))
    assert np.abs(shift).mean() < 0.1


@pytest.mark.parametrize("shape", [(96, 100, 108), (81, 128, 90)])
def test_beyond_nyquist_lie_the_corners_of_a_cube_around_its_ball(shape):
    noise = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
    density = Density(noise, Grid(shape, (1.5, 1.5, 1.5)))
    assert power_share_beyond_nyquist(transform(noise, (1.5, 1.5, 1.5))) == pytest.approx(1 - np.pi / 6, abs=0.05)
    kept = filter_to_nyquist(density)
    assert np.square(kept.values).sum() / np.square(noise).sum() == pytest.approx(np.pi / 6, abs=0.03)
    assert_allclose(filter_to_nyquist(kept).values, kept.values, atol=1e-5)
    assert kept.values.mean() == pytest.approx(noise.mean(), abs=1e-6)


def test_smoothing_agrees_with_scipy():
    values = np.random.default_rng(18).random((24, 30, 36)).astype(np.float32)
    there = ndimage.gaussian_filter(values, (3, 4, 5), mode="wrap", truncate=8)
    assert_allclose(smooth(values, (24 * 2.0, 30 * 1.5, 36 * 1.2), 6.0, (12, 15, 18)), there[::2, ::2, ::2], atol=1e-4)


def test_smoothing_keeps_the_mean_and_the_ladder_ends_at_nyquist():
    values = np.random.default_rng(8).random((24, 30, 36)).astype(np.float32)
    assert_allclose(smooth(values, (24, 30, 36), 3.0, (12, 16, 18)).mean(), values.mean(), rtol=1e-4)
    assert band_frequencies(0.5)[-1] <= 0.5 < band_frequencies(0.5)[-1] * 1.1


@settings(max_examples=40, deadline=None)
@given(st.tuples(*(st.integers(1, 12),) * 3), st.sampled_from([(40, 8), (48, 16), (24, 8)]), st.integers(0, 99))
def test_cores_share_no_voxel_and_hold_all_that_is_wanted(eighth, size, seed):
    shape = tuple(8 * n for n in eighth)
    edge, halo = size
    rng = np.random.default_rng(seed)
    values, wanted = rng.random(shape).astype(np.float32), rng.random((5, 7, 4)) < rng.uniform(0, 0.2)
    tiles = cover(wanted, shape, halo, edge**3)
    count = np.zeros(shape, int)
    for tile in tiles:
        count[tile.core] += 1
        assert np.prod([v.stop - v.start for v in tile.view]) <= edge**3
        assert all(s.start % 8 == 0 and s.stop % 8 == 0 for s in (*tile.view, *tile.core))
        for c, v, n in zip(tile.core, tile.view, shape, strict=True):
            assert c.start - v.start >= halo or v.start == 0
            assert v.stop - c.stop >= halo or v.stop == n
    assert count.max() <= 1
    there = resample_periodic(wanted.astype(np.float32).repeat(2, 0).repeat(2, 1).repeat(2, 2), shape) == 1
    assert count[there].all()
    joined = join(((t.core, values[t.view][t.inner()]) for t in tiles), shape, np.float32)
    assert_array_equal(joined, values * count)
    quarter = values[::4, ::4, ::4]
    parts = ((coarser(t.core, 4), quarter[coarser(t.view, 4)][t.inner(4)]) for t in tiles)
    assert_array_equal(join(parts, quarter.shape, np.float32), quarter * count[::4, ::4, ::4])


def test_a_tile_is_no_larger_than_what_is_wanted():
    wanted = np.zeros((10, 10, 10), bool)
    assert cover(wanted, (80, 80, 80), 8, 48**3) == []
    wanted[9, 9, 9] = True
    (tile,) = cover(wanted, (80, 80, 80), 8, 48**3)
    assert tile.core == (slice(72, 80),) * 3
    assert tile.view == (slice(64, 80),) * 3
    assert len(cover(np.ones((10, 10, 10), bool), (80, 80, 80), 8, 80**3)) == 1


def test_reading_off_is_linear_and_stays_within_the_values():
    field = np.arange(5 * 6 * 7, dtype=np.float32).reshape(1, 5, 6, 7)
    places = (np.array([0, 1.5, 4, 9]), np.array([2.25]), np.array([-3.0, 6.0]))
    out = interpolate(field, places)[0]
    assert_allclose(out[1, 0, 0], 1.5 * 42 + 2.25 * 7, rtol=1e-6)
    assert out.min() >= field.min()
    assert out.max() <= field.max()


def test_aggregate_is_global_plus_relative_inside_and_zero_outside():
    relative = np.array([[[-5.0, 0.5, 2.0]]], np.float32)
    mask = np.array([[[True, True, False]]])
    values, uncertainty = aggregate(3.0, relative, np.full_like(relative, 0.1), mask, 2.0)
    assert_allclose(values, [[[2.0, 3.5, 0.0]]])
    assert_allclose(uncertainty, [[[0.2, 0.35, 0.0]]])


def test_a_map_without_a_mask_is_not_softened():
    values = np.random.default_rng(10).standard_normal((20, 20, 20)).astype(np.float32)
    out, kept = soften(values, (1.0, 1.0, 1.0))
    assert_array_equal(out, values)
    assert (kept == 1).all()


@pytest.mark.parametrize("fill", [0.0, -3.0])
def test_a_hard_mask_is_softened_inside_and_blank_outside(fill):
    values = np.random.default_rng(11).standard_normal((40, 40, 40)).astype(np.float32)
    away = np.abs(np.indices((40, 40, 40)) - 20).max(0)
    out, kept = soften(np.where(away < 14, values, np.float32(fill)), (1.0, 1.0, 1.0))
    assert (kept[away >= 15] == 0).all()
    assert (out[away >= 15] == 0).all()
    assert_allclose(kept[away < 14 - 2 * WIDTH], 1)
    assert_allclose(out[away < 14 - 2 * WIDTH], values[away < 14 - 2 * WIDTH] - fill, atol=1e-6)
    profile = kept[20, 20, 20:]
    assert (np.diff(profile) <= 1e-6).all()


def test_softening_empties_the_shells_that_a_hard_mask_has_filled():
    """Low-pass noise, cut with a knife: what leaks beyond the low-pass."""
    rng = np.random.default_rng(12)
    spectrum = transform(rng.standard_normal((64, 64, 64)).astype(np.float32), (1.0, 1.0, 1.0))
    k = radius(spectrum.shape, spectrum.lengths)
    smooth_noise = sample(spectrum, spectrum.shape, lambda k: (k < 0.15).astype(np.float32))
    away = np.sqrt(((np.indices(spectrum.shape).T - np.array(spectrum.shape)[::-1] / 2) ** 2).sum(-1)).T
    cut_out = np.where(away < 22, smooth_noise, 0).astype(np.float32)
    leaks = []
    for values in (cut_out, soften(cut_out, (1.0, 1.0, 1.0))[0]):
        waves = np.abs(np.fft.rfftn(values)) ** 2
        leaks.append(waves[(k > 0.3) & (k < 0.45)].mean() / waves[(k > 0.02) & (k < 0.15)].mean())
    assert leaks[1] < 0.2 * leaks[0]


def test_the_evidence_of_a_level_survives_gain_offset_and_a_radial_filter():
    rng = np.random.default_rng(13)
    n = 56
    values = 6 * blob((n, n, n), (28, 27, 29), 8) * (1 + 0.5 * rng.standard_normal((n, n, n)))
    values = (values + 0.1 * rng.standard_normal((n, n, n))).astype(np.float32)
    here = prepare(Density(values, Grid(values.shape, (1.5, 1.5, 1.5)))).evidence
    louder = prepare(Density(1000 * values + 7, Grid(values.shape, (1.5, 1.5, 1.5)))).evidence
    assert here.shape == (FEATURES, MAX_BANDS)
    assert np.isfinite(here).all()
    assert_allclose(louder, here, atol=0.02)
    k = radius(values.shape, (n * 1.5,) * 3)
    blurred = fft.irfftn(fft.rfftn(values) * np.exp(-60 * k**2 / 4), s=values.shape).astype(np.float32)
    there = prepare(Density(blurred, Grid(values.shape, (1.5, 1.5, 1.5)))).evidence
    assert np.abs(there - here).mean() < 0.1 * np.abs(here).mean()


@pytest.mark.parametrize("cut", [5.0, 8.0])
def test_the_edge_of_a_low_pass_is_found_in_the_molecule(cut):
    """Also where the filtered map was cropped through its noise, and the box's faces jump."""
    rng = np.random.default_rng(17)
    n = 72
    values = 4 * blob((n, n, n), (36, 36, 36), 11) + rng.standard_normal((n, n, n)).astype(np.float32)
    k = radius(values.shape, (n * 1.5,) * 3)
    filtered_ = fft.irfftn(fft.rfftn(values) * (k < 1 / cut), s=values.shape).astype(np.float32)
    for part in (filtered_, filtered_[5:-4, 3:-6, 7:]):
        found = prepare(Density(part, Grid(part.shape, (1.5, 1.5, 1.5)))).solvent.outline.limit
        assert found == pytest.approx(cut, rel=0.08)
    assert prepare(Density(values, Grid(values.shape, (1.5, 1.5, 1.5)))).solvent.outline.limit == pytest.approx(
        3, rel=0.05
    )


def test_the_noise_is_scaled_so_that_the_median_crosses_at_the_level():
    prepared = prepare(read_map(EXAMPLES / "example_map.mrc").density)
    for level in (0.95 * prepared.solvent.level, 1.15 * prepared.solvent.level):
        for ring in (True, False):
            noise = noise_at_level(prepared.powers, replace(prepared.solvent, has_solvent=ring), level)
            ratio = np.interp(1 / level, prepared.powers.frequencies, prepared.solvent.inside / noise)
            assert (ratio - 1) / (ratio + 1) == pytest.approx(FSC_CUT, abs=0.05)


def test_local_resolution_follows_local_power_and_the_median_stays_at_the_level():
    relative = np.geomspace(0.4, 2.2, 16)
    log_power = np.zeros((16, 2, 2, 2))
    log_power[:, 0] = 1.0
    for live in (np.ones(16, bool), relative < 0.6):
        found = follow_power(log_power[followed(relative, live)])
        assert_allclose(found[0], -1 / STEEP)
        assert_allclose(found[1], 0)
    assert not followed(relative, np.zeros(16, bool)).any()
