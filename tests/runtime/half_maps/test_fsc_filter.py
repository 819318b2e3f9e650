"""A map weighted by its local half-map FSC."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import fft

from cryores_lite.fourier.spectrum import transform
from cryores_lite.half_maps.fsc_filter import band_gain, figure_of_merit, filtered_by_fsc
from cryores_lite.half_maps.local_fsc import LocalFsc, local_fsc
from cryores_lite.io.mrc import read_map
from cryores_lite.method.crop import Box
from tests.runtime.command import rows, run
from tests.runtime.maps import HALF_MAP_SHAPE, HALF_MAP_VOXEL_SIZE, ball, filtered, save, wave_numbers, white_noise

VOXEL_SIZE = (HALF_MAP_VOXEL_SIZE,) * 3
FREQUENCIES = np.geomspace(1 / 45, 0.5 / HALF_MAP_VOXEL_SIZE, 24)
WHOLE = Box((0, 0, 0), HALF_MAP_SHAPE)
NOISE = white_noise(4, HALF_MAP_SHAPE)


def curves(fsc, shape=(32, 32, 32), box=WHOLE):
    """Local FSC that is the same everywhere."""
    everywhere = np.broadcast_to(np.reshape(fsc, (-1, 1, 1, 1)), (len(FREQUENCIES), *shape)).astype(np.float32)
    return LocalFsc(np.zeros(HALF_MAP_SHAPE, np.float32), FREQUENCIES, everywhere, box)


def without_constant(values):
    return values - np.median(np.concatenate([values.take([0, -1], axis).ravel() for axis in range(3)]))


def test_the_gains_of_all_bands_add_up_to_one():
    k = np.linspace(0, 0.6, 500).astype(np.float32)
    gains = np.stack([band_gain(FREQUENCIES, n, k) for n in range(len(FREQUENCIES))])
    assert_allclose(gains.sum(0), 1, atol=1e-6)
    assert (gains >= 0).all()


def test_a_perfect_fsc_leaves_the_map_as_it_is():
    assert_allclose(filtered_by_fsc(NOISE, curves(1.0), VOXEL_SIZE), without_constant(NOISE), atol=2e-5)


def test_an_fsc_of_zero_leaves_nothing():
    assert_allclose(filtered_by_fsc(NOISE, curves(0.0), VOXEL_SIZE), 0, atol=1e-6)


def test_one_curve_everywhere_is_the_weight_of_the_complete_map():
    fsc = 1 / (1 + (FREQUENCIES * 9) ** 4)
    padded = transform(NOISE, VOXEL_SIZE)
    before = padded.before
    values = fft.irfftn(padded.waves, s=padded.shape)
    k = wave_numbers(padded.shape, HALF_MAP_VOXEL_SIZE)
    kept = np.where(fsc < 0.143, 0, fsc)  # the curve only falls
    gain = np.interp(np.log(np.maximum(k, FREQUENCIES[0])), np.log(FREQUENCIES), figure_of_merit(kept))
    expected = filtered(values, gain)[tuple(slice(b, b + n) for b, n in zip(before, HALF_MAP_SHAPE, strict=True))]
    assert_allclose(filtered_by_fsc(NOISE, curves(fsc), VOXEL_SIZE), expected, atol=1e-3 * expected.std())


def test_the_figure_of_merit_is_the_correlation_of_the_average_with_the_noise_free_map():
    signal = white_noise(0, HALF_MAP_SHAPE)
    first, second = (signal + 2 * white_noise(n, HALF_MAP_SHAPE) for n in (1, 2))
    fsc = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    true = np.corrcoef((first + second).ravel(), signal.ravel())[0, 1]
    assert figure_of_merit(np.float32(fsc)) == pytest.approx(true, abs=0.01)
    assert figure_of_merit(np.float32(-0.3)) == 0


def test_scale_and_offset_of_the_half_maps_do_not_change_the_weights(molecule):
    average = (molecule[0].values + molecule[1].values) / 2
    scaled = (molecule[0], replace(molecule[1], values=5 * molecule[1].values + 3))
    weighted, same = (filtered_by_fsc(average, local_fsc(*pair), VOXEL_SIZE) for pair in (molecule, scaled))
    assert_allclose(same, weighted, atol=1e-3 * weighted.std())


def test_outside_the_molecules_box_the_map_is_zero():
    box = Box((8, 4, 0), (40, 48, 60))
    weighted = filtered_by_fsc(NOISE, curves(0.9, box=box), VOXEL_SIZE)
    inside = np.zeros(HALF_MAP_SHAPE, bool)
    inside[box.slices] = True
    assert weighted[inside].all()
    assert not weighted[~inside].any()


def test_the_weighted_map_is_nearer_to_the_noise_free_map_than_the_average(molecule):
    """The coarser side of the molecule holds the more noise that a weight can remove."""
    first, second = molecule
    average = (first.values + second.values) / 2
    weighted = filtered_by_fsc(average, local_fsc(first, second), VOXEL_SIZE)
    noise = (white_noise(1, HALF_MAP_SHAPE) + white_noise(2, HALF_MAP_SHAPE)) * 2
    signal = average - noise
    for side in (np.s_[:, :, 16:28], np.s_[:, :, 36:48]):
        inside = ball(HALF_MAP_SHAPE, 17)[side]
        before, after = (np.corrcoef(v[side][inside], signal[side][inside])[0, 1] for v in (average, weighted))
        assert 1 - after < 0.3 * (1 - before)


@pytest.mark.slow
def test_the_command_writes_both_filtered_maps_and_names_them_in_its_json(tmp_path, molecule):
    for n, half in enumerate(molecule, 1):
        save(tmp_path / f"m_half{n}.mrc", half.values, voxel_size=HALF_MAP_VOXEL_SIZE)
    halves = [tmp_path / f"m_half{n}.mrc" for n in (1, 2)]
    (row,) = rows(run("--half-maps", *halves, "--filtered", "--json", "-j", 1))
    assert row["files"]["filtered_fsc"] == str(tmp_path / "m_locres_fsc_filtered.mrc")
    weighted, mask, average = (
        read_map(row["files"][name]).density.values for name in ("filtered_fsc", "mask", "average")
    )
    assert not weighted[mask == 0].any()
    assert 0 < weighted.std() < average.std()
    (without_filter,) = rows(run("--half-maps", *halves, "--json", "-j", 1, "--overwrite"))
    assert without_filter["files"]["filtered_fsc"] is None
