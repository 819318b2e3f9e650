"""Two half maps: where theory puts the crossing, what must not move it, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft, ndimage

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import FSC_CUT, bands, first_crossing, fixed, interpolate_log, one_bit
from cryores_lite.fourier.local_power import window
from cryores_lite.fourier.spectrum import transform
from cryores_lite.half_maps import local_fsc as fsc
from cryores_lite.half_maps.fsc_curves import shell_fsc, soft_edge
from cryores_lite.half_maps.independence import ALIKE, SAME, likeness
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.io.mrc import read_map
from cryores_lite.method.statistical import estimate_by_noise
from cryores_lite.types import Density, Grid

N, V = 64, 2.0
GRID = Grid((N, N, N), (V, V, V))


def wave_numbers():
    k = np.fft.fftfreq(N, V)
    return np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.fft.rfftfreq(N, V) ** 2)


def filtered(values, gain):
    return fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32)


def white(seed):
    return np.random.default_rng(seed).standard_normal((N, N, N)).astype(np.float32)


def halves(fall, seed=0, strength=1.0):
    """White noise of power 1 and a signal whose power falls as `fall` of |k|, everywhere the same."""
    signal = strength * filtered(white(seed), np.sqrt(fall(wave_numbers())))
    return [Density(signal + white(seed + n), GRID) for n in (1, 2)]


def around(resolution):
    """Signal over noise that crosses 0.143, at which S/N = 1/6, at so many Å."""
    return lambda k: np.exp(4 * (1 - k * resolution)) / 6


def of(values):
    """A map of another shape."""
    return Density(np.ascontiguousarray(values), Grid(values.shape, GRID.voxel_size))


def inside(values, edge=12):
    return values[edge:-edge, edge:-edge, edge:-edge]


@pytest.fixture(scope="module")
def pair():
    return halves(around(8.0))


def lumps():
    """Half maps of a ball of lumps under fresh noise in each half; finer in one half of the ball than in the other."""
    place = np.indices((N, N, N)) - N / 2
    ball = ndimage.gaussian_filter((np.square(place).sum(0) < 20**2).astype(np.float32), 1)
    fine = [filtered(white(9), np.exp(-((wave_numbers() * d) ** 2))) for d in (12.0, 24.0)]
    signal = ball * np.where(place[2] > 0, *(6 * v / v.std() for v in fine)) + 6 * ball
    return [Density((signal + 4 * white(n)).astype(np.float32), GRID) for n in (1, 2)]


@pytest.fixture(scope="module")
def molecule():
    return lumps()


@pytest.mark.parametrize("resolution", [6.0, 8.0, 12.0])
def test_the_fsc_crosses_where_theory_says(resolution):
    found = local_fsc(*halves(around(resolution))).values
    assert np.median(inside(found)) == pytest.approx(resolution, rel=0.07)


def test_a_higher_threshold_is_crossed_where_theory_says():
    first, second = halves(around(6.0))
    expected = 6.0 / (1 - np.log(6) / 4)  # S/N = 1
    found = local_fsc(first, second, threshold=fixed(0.5)).values
    assert np.median(inside(found)) == pytest.approx(expected, rel=0.06)
    between = np.median(inside(local_fsc(first, second, threshold=one_bit).values))
    assert 6.0 < between < expected


def test_the_one_bit_curve_ends_at_half_a_bit_less_than_noise_free():
    assert one_bit(0.1, 1e6) == pytest.approx(1 / 3, abs=0.001)  # S/N 0.5 in one half: 1 bit in both
    assert one_bit(0.1, 15.0) > one_bit(0.1, 30.0) > 1 / 3


def test_a_wide_window_calms_and_a_narrow_one_does_not(pair):
    narrow, wide = (np.log(inside(local_fsc(*pair, sigma=s).values)).std() for s in (8.0, 24.0))
    assert wide < 0.6 * narrow


def test_scale_offset_and_a_common_filter_change_nothing(pair):
    before = inside(local_fsc(*pair).values)
    gain = np.exp(-40 * wave_numbers() ** 2) + 0.02
    scaled = [replace(half, values=1e4 * half.values + 7) for half in pair]
    alone = [pair[0], replace(pair[1], values=3 * pair[1].values)]
    for changed, error in ((scaled, 1e-3), (alone, 1e-3)):
        assert_allclose(inside(local_fsc(*changed).values), before, rtol=error)
    smoothed = [replace(half, values=filtered(half.values, gain)) for half in pair]
    assert np.median(np.abs(np.log(inside(local_fsc(*smoothed).values) / before))) < 0.03


def test_the_halves_may_be_swapped(pair):
    assert_allclose(local_fsc(*pair).values, local_fsc(*pair[::-1]).values, rtol=1e-4)


@pytest.mark.parametrize("part", [np.s_[3:, :61, 2:63], np.s_[:, 5:60, 1:], np.s_[:59, :59, :59]])
def test_odd_and_oblong_boxes_change_next_to_nothing(molecule, part):
    before = local_fsc(*molecule).values[part]
    found = local_fsc(*(of(half.values[part]) for half in molecule)).values
    ball = (np.square(np.indices((N, N, N)) - N / 2).sum(0) < 18**2)[part]
    assert np.median(np.abs(np.log(found[ball] / before[ball]))) < 0.02


def test_the_order_of_the_axes_changes_nothing(molecule):
    turned = local_fsc(*(of(half.values.transpose(2, 0, 1)) for half in molecule)).values
    assert_allclose(turned.transpose(1, 2, 0), local_fsc(*molecule).values, rtol=2e-3)


def test_it_agrees_with_direct_windowed_correlation(molecule):
    """One window at one place: Gaussian weights on filtered whole maps, real-space correlation, nothing coarse."""
    found = local_fsc(*molecule)
    k, place = wave_numbers(), np.indices((N, N, N))
    for centre in ((32, 32, 44), (32, 32, 20), (40, 28, 36)):
        curve = []
        for f in found.frequencies:
            band = np.exp(-0.5 * ((k - f) / (0.15 / 2.3548 * f)) ** 2)
            a, b = (filtered(half.values, band) for half in molecule)
            away = sum((V * (p - c)) ** 2 for p, c in zip(place, centre, strict=True))
            weight = np.exp(-0.5 * away / max(1.5 / f, 4.0) ** 2)
            cross, powers = (weight * a * b).sum(), ((weight * a**2).sum(), (weight * b**2).sum())
            curve.append(max(cross, 0) / np.sqrt(np.prod(powers)))
        theirs = first_crossing(np.array(curve)[:, None], found.frequencies)[0]
        assert found.values[centre] == pytest.approx(theirs, rel=0.12)


def test_the_finer_side_comes_out_finer(molecule):
    values = local_fsc(*molecule).values
    assert np.median(values[26:38, 26:38, 40:48]) < 0.8 * np.median(values[26:38, 26:38, 16:24])


def test_the_last_band_is_the_nyquist_frequency():
    for nyquist in (0.1, 0.31, 1 / 3, 1.0):
        assert bands(nyquist)[-1] == pytest.approx(nyquist)
        assert (np.diff(np.log(bands(nyquist, 1.12))) <= np.log(1.12) + 1e-12).all()


def test_a_curve_that_never_falls_ends_at_nyquist_and_one_that_never_rises_at_the_first_band():
    frequencies = bands(0.25)
    high, low = np.full((len(frequencies), 1), 0.9), np.zeros((len(frequencies), 1))
    assert first_crossing(high, frequencies)[0] == pytest.approx(4.0)
    assert first_crossing(low, frequencies)[0] == pytest.approx(45.0)


def test_between_bands_a_curve_is_linear_in_log_f():
    measured, fine = bands(0.25, 1.12), bands(0.25)
    curves = np.stack([0.3 + 0.2 * np.log(measured), np.ones(len(measured))], -1).astype(np.float32)
    expected = np.stack([0.3 + 0.2 * np.log(fine), np.ones(len(fine))], -1)
    assert_allclose(interpolate_log(curves, measured, fine), expected, atol=1e-6)


def test_a_dip_of_two_bands_is_no_crossing():
    frequencies = bands(0.25)
    curve = np.where(np.arange(len(frequencies)) < 30, 0.9, 0.0)[:, None]
    dipped = curve.copy()
    dipped[10:12] = 0
    assert first_crossing(dipped, frequencies) == first_crossing(curve, frequencies)


def copies(half):
    k = wave_numbers()
    ball = np.square(np.indices((N, N, N)) - N / 2).sum(0) < 24**2
    return {
        "the same": half,
        "scaled": 3 * half + 1,
        "masked": half * ball,
        "softly masked": half * ndimage.gaussian_filter(ball.astype(np.float32), 2),
        "low-passed": filtered(half, k < 0.12),
        "blurred": filtered(half, np.exp(-30 * k**2)),
        "rounded": np.round(half).astype(np.float32),
    }


@pytest.mark.parametrize("how", copies(white(0)))
def test_copies_of_one_map_are_refused(how, molecule):
    copy = copies(molecule[0].values)[how]
    assert likeness(molecule[0].values, copy) > SAME
    with pytest.raises(InputError, match="no half maps"):
        local_fsc(molecule[0], replace(molecule[0], values=copy))


def test_noise_free_halves_are_refused(molecule):
    signal = filtered(molecule[0].values, np.exp(-80 * wave_numbers() ** 2))
    with pytest.raises(InputError, match="no half maps"):
        local_fsc(*(replace(molecule[0], values=signal.copy()) for _ in "12"))


def test_true_halves_differ_and_a_half_differs_less_from_the_whole(molecule):
    first, second = (half.values for half in molecule)
    assert likeness(first, second) < ALIKE / 2
    assert ALIKE < likeness(first, (first + second) / 2) < SAME


def test_halves_on_two_grids_are_refused(molecule):
    moved = replace(molecule[1], grid=Grid(GRID.shape, (2.1, 2.1, 2.1)))
    with pytest.raises(InputError, match="do not match"):
        local_fsc(molecule[0], moved)


@pytest.mark.parametrize(
    "mask", [np.ones((N, N)), np.ones((N, N, N - 1)), np.zeros((N, N, N)), np.full((N, N, N), 2.0)]
)
def test_what_is_no_mask_of_the_half_maps_is_refused(molecule, mask):
    with pytest.raises(InputError, match="no mask"):
        local_fsc(*molecule, mask=mask)


def test_a_mask_with_holes_in_its_numbers_is_refused(molecule):
    with pytest.raises(InputError, match="nan"):
        local_fsc(*molecule, mask=np.where(np.indices((N, N, N))[0] > 3, 1, np.nan))


def blobs():
    """Halves that share nothing finer than 20 Å, on a high level, and a hard mask that cuts through them."""
    signal = 60 * filtered(white(3), wave_numbers() < 1 / 20) + 30
    mask = (np.square(np.indices((N, N, N)) - N / 2).sum(0) < 14**2).astype(np.float32)
    return [(signal + white(n)).astype(np.float32) for n in (1, 2)], mask


def test_the_correction_takes_off_what_a_hard_mask_adds():
    (first, second), mask = blobs()
    found = shell_fsc(first, second, GRID.voxel_size, mask)
    fine = slice(int(np.searchsorted(found.frequencies, 1 / 12)), None)
    assert found.masked[fine].mean() > 0.3
    assert np.abs(found.unmasked[fine]).mean() < 0.05
    assert np.abs(found.corrected[fine]).mean() < 0.15
    assert abs(found.corrected[fine].mean()) < 0.08


def test_local_noise_substitution_takes_off_what_a_hard_mask_adds():
    values, mask = blobs()
    corrected = local_fsc(*(Density(half, GRID) for half in values), mask=mask)
    band = int(np.searchsorted(corrected.frequencies, 1 / 10))
    f = corrected.frequencies[band]
    masked = [transform(half * mask, GRID.voxel_size) for half in values]
    spoilt = fsc.band_fsc(masked, f, window(f), corrected.fsc.shape[1:])
    assert np.median(spoilt) > 0.4  # of nothing but noise
    assert np.median(corrected.fsc[band]) < 0.6 * np.median(spoilt)


def test_a_soft_mask_changes_no_clean_curve(molecule):
    values = [half.values for half in molecule]
    mask = soft_edge(np.square(np.indices((N, N, N)) - N / 2).sum(0) < 24**2, GRID.voxel_size)
    found = shell_fsc(*values, GRID.voxel_size, mask)
    assert_allclose(found.corrected, found.masked, atol=0.2)
    assert found.resolution() == pytest.approx(
        float(first_crossing(found.masked[:, None], found.frequencies, FSC_CUT)[0]), rel=0.1
    )


def test_the_noise_of_visible_solvent_tells_the_resolution(molecule):
    mean = replace(molecule[0], values=(molecule[0].values + molecule[1].values) / 2)
    found, true = estimate_by_noise(mean), local_fsc(*molecule).values
    assert np.isnan(found.uncertainty).all()
    assert found.provider == "numpy"
    assert ((found.values > 0) == found.mask).all()
    assert np.median(found.values[found.mask] / true[found.mask]) == pytest.approx(1, abs=0.25)


def test_without_solvent_there_is_no_statistical_answer(molecule):
    soft = soft_edge(np.square(np.indices((N, N, N)) - N / 2).sum(0) < 21**2, GRID.voxel_size)
    with pytest.raises(InputError, match="noisy solvent"):
        estimate_by_noise(replace(molecule[0], values=molecule[0].values * soft))


def test_the_bench_is_met(shared):
    errors, correlations = [], []
    for case in ("d1", "d2", "d3", "d4"):
        first, second, truth = (
            read_map(shared / "bench" / case / f"{name}.mrc.gz").density for name in ("half1", "half2", "truth")
        )
        inside = truth.values > 0
        found, true = local_fsc(first, second).values[inside], truth.values[inside]
        errors.append(np.sqrt(np.mean((found - true) ** 2)) / np.median(true))
        correlations.append(np.corrcoef(found, true)[0, 1])
    assert np.mean(errors) < 0.06
    assert min(correlations) > 0.96
