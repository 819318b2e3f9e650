"""Resolution of half maps by direction: cones, missing views, and the independence of the result from orientation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.half_maps import directions as d
from cryores_lite.half_maps.cones import cone_weights, icosahedral_axes
from cryores_lite.half_maps.direction_errors import ratio_range
from cryores_lite.half_maps.direction_sums import CONE_POWER, cone_fsc, direction_sums
from cryores_lite.half_maps.directions import EQUAL, measure_directions
from cryores_lite.half_maps.fsc_curves import fsc_curves, soft_mask
from cryores_lite.half_maps.local_directions import measure_local_directions
from cryores_lite.half_maps.local_fsc import checked_local_fsc
from cryores_lite.types import Density, Grid
from tests.runtime.maps import ball, filtered, wave_numbers, white_noise

SHAPE, VOXEL_SIZE = (64, 64, 64), 2.0
LENGTHS = (VOXEL_SIZE,) * 3
MOLECULE = ball(SHAPE, 18)


def unit_waves(shape, voxel_size=VOXEL_SIZE):
    """Unit vectors of all waves of a real transform, (z, y, x, 3)."""
    z, y, x = (np.fft.fftfreq(n, voxel_size) for n in shape)
    vectors = np.stack(np.meshgrid(z, y, np.abs(x[: shape[2] // 2 + 1]), indexing="ij"), -1)
    vectors[0, 0, 0] = 1, 0, 0  # the mean density has no direction
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def half_maps(noise_along_z=1.0, seed=0, axis=0):
    """Half maps of a ball of random density, whose noise is `noise_along_z` times as strong along one array axis."""
    k = wave_numbers(SHAPE, VOXEL_SIZE)
    signal = MOLECULE * filtered(white_noise(seed + 50, SHAPE), 0.114 * np.exp(-45 * k**2) / (k + 0.03))
    cosine = np.abs(unit_waves(SHAPE)[..., axis])
    gain = 1 + (noise_along_z - 1) * cosine**4
    halves = [(signal + 0.4 * filtered(white_noise(2 * seed + n, SHAPE), gain)).astype(np.float32) for n in (1, 2)]
    return halves[0], halves[1]


def measured(halves, mask=MOLECULE):
    soft = soft_mask(mask, LENGTHS)
    return measure_directions(*halves, LENGTHS, soft, fsc_curves(*halves, LENGTHS, soft))


def without_mask(halves):
    return measure_directions(*halves, LENGTHS, None, fsc_curves(*halves, LENGTHS))


def test_the_weights_of_the_cones_of_every_wave_sum_to_one():
    waves = unit_waves((16, 16, 16)).reshape(-1, 3)[1:]
    for number, power in ((31, CONE_POWER), (6, 8)):
        assert_allclose(cone_weights(waves, icosahedral_axes()[:number], power).sum(-1), 1, rtol=1e-12)


def test_the_axes_are_those_of_an_icosahedron():
    axes = icosahedral_axes()
    assert_allclose(np.linalg.norm(axes, axis=1), 1)
    for part in (axes[:6], axes[6:16], axes[16:]):  # every kind is a design: its quadratic forms are spheres
        assert_allclose(part.T @ part, np.eye(3) * len(part) / 3, atol=1e-12)


def test_the_fsc_of_all_cones_together_is_that_of_the_shell():
    halves = half_maps()
    sums = direction_sums(*halves, LENGTHS, 0.2)
    weights = cone_weights(sums.cells, icosahedral_axes(), CONE_POWER)
    assert_allclose((sums.terms @ weights).sum(-1), sums.terms.sum(-1), rtol=1e-9)


def test_the_fsc_of_a_cone_agrees_with_the_sum_over_all_waves():
    first, second = half_maps(noise_along_z=4)
    sums = direction_sums(first, second, LENGTHS, 0.25)
    axes, frequencies = icosahedral_axes(), np.array([0.1, 0.15, 0.2])
    one, other = np.fft.rfftn(first), np.fft.rfftn(second)
    weights = cone_weights(unit_waves(SHAPE), axes, CONE_POWER)
    k = wave_numbers(SHAPE, VOXEL_SIZE)
    errors = []
    once = np.where(np.fft.rfftfreq(SHAPE[2]) > 0, 1, 0.5)
    for row, f in zip(cone_fsc(sums, frequencies, axes), frequencies, strict=True):
        width = max(BAND_WIDTH * f, sums.frequencies[0] / 2)
        band = np.nan_to_num(np.exp(-(((k - f) / width) ** 2)) * once)[..., None] * weights
        band[0, 0, 0] = 0
        cross, *powers = (
            np.nansum(term[..., None] * band, axis=(0, 1, 2))
            for term in ((one * other.conj()).real, np.abs(one) ** 2, np.abs(other) ** 2)
        )
        assert_allclose(row, cross / np.sqrt(powers[0] * powers[1]), atol=0.1)  # cells of 5.6°
        errors.append(row - cross / np.sqrt(powers[0] * powers[1]))
    assert np.sqrt(np.mean(np.square(errors))) < 0.03


@pytest.mark.parametrize("seed", range(6))
def test_equal_noise_in_all_directions_is_not_a_missing_view(seed):
    measured_directions = measured(half_maps(seed=10 * seed))
    assert measured_directions.sentence == EQUAL
    assert measured_directions.views.ratio < 1.03


@pytest.mark.parametrize("measure", [measured, without_mask])
def test_a_rotation_of_the_maps_rotates_the_axis(measure):
    """The ball of the mask is its own rotation."""
    halves = half_maps(noise_along_z=3)
    along_z = measure(halves)
    assert along_z.significant
    assert "Views across z" in along_z.sentence
    assert "along z" in along_z.sentence
    for axes, name in (((0, 1), "y"), ((0, 2), "x")):
        turned = measure([np.ascontiguousarray(np.rot90(half, axes=axes)) for half in halves])
        assert f"along {name}" in turned.sentence
        assert_allclose(turned.views.resolutions, along_z.views.resolutions, rtol=0.02)


def test_few_views_along_an_axis_leave_its_resolution_the_best():
    measured_directions = measured(half_maps(noise_along_z=0.3))
    assert measured_directions.sentence.startswith("Views along z")


def test_the_share_of_directions_falls_from_all_to_none():
    measured_directions = measured(half_maps(noise_along_z=3))
    assert measured_directions.occupancy[0] > 0.85
    assert measured_directions.occupancy[-1] < 0.05
    assert measured_directions.shares.sum() == pytest.approx(1)


def test_the_ellipsoid_of_an_ellipsoid_is_itself():
    axes = icosahedral_axes()
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    true = np.array([3.0, 3.5, 4.5])
    resolutions = np.sqrt(((axes @ turn) ** 2) @ true**2)
    fitted = d.ellipsoid(axes, resolutions, np.full(len(axes), 1 / len(axes)))
    assert_allclose(fitted.resolutions, np.clip(true, resolutions.min(), resolutions.max()), rtol=1e-6)
    assert_allclose(np.abs(fitted.axes @ turn), np.eye(3), atol=1e-6)


def test_the_volume_of_the_fsc_is_symmetric_and_worse_along_the_noisy_axis():
    measured_directions = measured(half_maps(noise_along_z=3))
    volume = d.fsc_volume(measured_directions, SHAPE, LENGTHS)
    inner = volume[1:, 1:, 1:]
    assert_allclose(inner, inner[::-1, ::-1, ::-1], atol=0.1)
    centre, shell = 32, int(64 * VOXEL_SIZE / measured_directions.views.resolutions.mean())
    assert volume[centre + shell, centre, centre] < volume[centre, centre + shell, centre]


@pytest.mark.parametrize("noise_along_z", [1.0, 2.0])
def test_the_local_ratio_is_one_only_if_all_views_are_present(noise_along_z):
    halves = half_maps(noise_along_z)
    densities = [Density(half, Grid(SHAPE, LENGTHS)) for half in halves]
    measured_directions = measured(halves)
    local = measure_local_directions(*densities, MOLECULE, measured_directions, checked_local_fsc(*densities))
    ratio = np.median(local.anisotropy[MOLECULE])
    if noise_along_z == 1:
        assert (local.anisotropy[MOLECULE] > 1.02).mean() < 0.05
    else:
        assert 1.1 < ratio < 2
    assert not local.anisotropy[~MOLECULE].any()


def test_a_mask_that_adds_to_the_fsc_does_not_change_the_ratio():
    """Coarse waves a thousand times as strong as the noise reach all shells over the edge of the mask."""
    k, cosine = wave_numbers(SHAPE, VOXEL_SIZE), np.abs(unit_waves(SHAPE)[..., 0])
    signal = 4000 * filtered(MOLECULE * white_noise(3, SHAPE), np.exp(-((k / 0.035) ** 2)))
    gain = 1 + 2 * cosine**2
    halves = [(signal + filtered(white_noise(n, SHAPE), gain)).astype(np.float32) for n in (1, 2)]
    mask = soft_mask(MOLECULE, LENGTHS)
    curves = fsc_curves(*halves, LENGTHS, mask)
    added = np.interp(1 / curves.resolution(), curves.frequencies, curves.phase_randomised)
    assert added > 0.5
    masked, unmasked = measure_directions(*halves, LENGTHS, mask, curves), without_mask(halves)
    assert masked.significant
    assert masked.views.ratio == pytest.approx(unmasked.views.ratio, rel=0.05)
    assert masked.views.ratio < 1.2


def ratios_of(signal_to_noise, share):
    """Range of the ratio for noise of 0.8 and 1.2, of a signal-to-noise ratio by frequency (1/Å)."""
    first, second = half_maps()
    sums = direction_sums(first, second, LENGTHS, 0.25)
    frequencies = np.geomspace(0.03, 0.25, 44)
    return ratio_range(sums, frequencies, signal_to_noise(frequencies), (0.8, 1.2), (2000.0, 2000.0), share)


def test_the_range_of_the_ratio_is_wide_where_the_fsc_is_flat_or_waves_are_few():
    """The signal-to-noise ratio is 1/6, that of an FSC of 0.143, at 0.125/Å."""

    def power_law(exponent):
        return lambda f: (f / 0.125) ** -exponent / 6

    widths = {}
    for exponent, share in ((8, 0.1), (2, 0.1), (8, 0.01)):
        low, high = ratios_of(power_law(exponent), share)
        assert low <= 1.5 ** (1 / exponent) <= high
        widths[exponent, share] = high / low
    assert widths[8, 0.1] < 1.1
    assert widths[2, 0.1] > 1.1
    assert widths[8, 0.01] > 1.2 * widths[8, 0.1] - 0.2


def test_the_range_of_the_ratio_is_that_of_pairs_with_other_noise():
    repeats = [measured(half_maps(noise_along_z=2, seed=10 * n)) for n in range(6)]
    spread = np.std([np.log(part.views.ratio) for part in repeats], ddof=1)
    expected = np.mean([np.log(part.ratio_range[1] / part.ratio_range[0]) for part in repeats]) / 3.29  # 90 % in σ
    assert 0.4 * expected < spread < 2.5 * expected
    for part in repeats:
        assert part.ratio_range[0] <= part.views.ratio <= part.ratio_range[1]


def test_a_wide_range_of_the_ratio_is_said_and_the_lower_end_decides_between_rare_and_missing():
    fitted = d.Ellipsoid(np.array([3.0, 3.1, 5.1]), np.eye(3)[[1, 2, 0]])
    assert d.sentence(fitted, (1.6, 1.8)).startswith("Views across z are missing: resolution 3.0 Å across, 5.1 Å along")
    uncertain = d.sentence(fitted, (1.1, 1.8))
    assert uncertain.startswith("Views across z are rare")
    assert uncertain.endswith("the ratio of the two is uncertain, 1.1 to 1.8.")
    assert d.sentence(fitted) == d.sentence(fitted, (1.6, 1.8))
