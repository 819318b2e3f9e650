"""Marks of changed values: cut off, squared, rounded."""

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryores_lite import estimate
from cryores_lite.fourier.local_power import band_frequencies, local_power
from cryores_lite.fourier.spectrum import Spectrum, grid_for
from cryores_lite.method.value_edits import edit_warnings, value_edits, white_power
from tests.runtime.command import run
from tests.runtime.maps import density_of, filtered, save, wave_numbers, white_noise
from tests.runtime.paths import EXAMPLES, EXPERIMENTAL


@pytest.fixture(scope="module")
def example():
    with mrcfile.open(EXAMPLES / "example_map.mrc") as file:
        return np.array(file.data, np.float32)


def in_sphere(values, radius=0.45):
    away = np.sqrt(((np.indices(values.shape).T - np.array(values.shape) / 2) ** 2).sum(-1)).T
    return np.where(away < radius * min(values.shape), values, 0).astype(np.float32)


def to_integers(values, levels):
    share = (values - values.min()) / np.ptp(values)
    return np.round(share * (levels - 1)).astype(np.float32)


CUT_OFF_BELOW = {
    "negatives": lambda v: np.maximum(v, 0),
    "negatives of integers": lambda v: np.clip(np.round(25 * v / v.std()), 0, 255),
    "values below -1 standard deviation": lambda v: np.maximum(v, -v.std()),
    "values below a contour": lambda v: np.where(v > 2 * v.std(), v, 0),
    "negatives in a sphere": lambda v: in_sphere(np.maximum(v, 0)),
}
CUT_OFF_ABOVE = {
    "3 standard deviations": lambda v: np.minimum(v, 3 * v.std()),
    "5 standard deviations": lambda v: np.minimum(v, 5 * v.std()),
    "99.9 %": lambda v: np.minimum(v, np.quantile(v, 0.999)),
}
NOT_CUT_OFF = {
    "as it is": lambda v: v,
    "in a sphere": in_sphere,
    "in a sphere, with its solvent above 0": lambda v: in_sphere(v + v.std()),
    "above 0": lambda v: v - v.min(),
    "above 0, in a sphere": lambda v: in_sphere(v - v.min() + v.std()),
    "above 0, in a sphere that touches the faces": lambda v: in_sphere(v - v.min() + v.std(), 0.485),
    "bytes, in a sphere": lambda v: in_sphere(to_integers(v, 256) + 1),
    "16-bit integers": lambda v: to_integers(v, 65536),
    "bytes": lambda v: to_integers(v, 256),
    "16-bit floats": lambda v: v.astype(np.float16).astype(np.float32),
    "negated": lambda v: -v,
}


@pytest.mark.parametrize("edit", CUT_OFF_BELOW.values(), ids=CUT_OFF_BELOW)
def test_values_that_were_cut_off_at_the_bottom_are_found(example, edit):
    edits = value_edits(density_of(edit(example).astype(np.float32)))
    assert edits.scattered_lowest > 0
    assert "bottom" in " ".join(edit_warnings(edits))


@pytest.mark.parametrize("edit", CUT_OFF_ABOVE.values(), ids=CUT_OFF_ABOVE)
def test_values_that_were_cut_off_at_the_top_are_found(example, edit):
    edits = value_edits(density_of(edit(example).astype(np.float32)))
    assert edits.strongest > 0
    assert "top" in " ".join(edit_warnings(edits))


@pytest.mark.parametrize("gain", [1e-3, 1e3])
def test_squares_are_found(example, gain):
    assert value_edits(density_of((gain * example**2).astype(np.float32))).one_sided


@pytest.mark.parametrize("edit", NOT_CUT_OFF.values(), ids=NOT_CUT_OFF)
def test_no_mark_is_found_in_a_map_that_keeps_all_values(example, edit):
    edits = value_edits(density_of(edit(example).astype(np.float32)))
    assert edit_warnings(edits) == ()


def test_values_of_equal_probability_are_not_taken_for_squares():
    values = np.random.default_rng(4).random((40, 40, 40)).astype(np.float32)
    for scale in (1, 50, 1000):
        rounded = values if scale == 1 else np.trunc(scale * (values - 0.5))
        assert not value_edits(density_of(rounded)).one_sided


def test_a_gain_and_an_offset_change_no_mark(example):
    for edit in (*CUT_OFF_BELOW.values(), *CUT_OFF_ABOVE.values(), np.square):
        edited = edit(example).astype(np.float32)
        first = edit_warnings(value_edits(density_of(edited)))
        assert edit_warnings(value_edits(density_of(edited * np.float32(1024)))) == first


# riken_6555 was set to 0 below a contour; EMD-1832 was cut off at -0.16 in the dark ring around the molecule.
@pytest.mark.parametrize(("name", "cut_off"), [("emd_1832", True), ("riken_6555", True), ("emd_2566_chain9", False)])
def test_experimental_maps_that_were_cut_off_are_found(name, cut_off):
    with mrcfile.open(EXPERIMENTAL / f"{name}.mrc.gz") as file:
        density = density_of(np.array(file.data, np.float32), float(file.voxel_size.x))
    assert ["bottom" in warning for warning in edit_warnings(value_edits(density))] == [True] * cut_off


@pytest.mark.parametrize("levels", [64, 256, 1024])
def test_the_rounding_error_is_that_of_the_step_between_levels(levels):
    values = white_noise(1, (48, 48, 48))
    step = np.ptp(values) / (levels - 1)
    rounded = (to_integers(values, levels) * step).astype(np.float32)
    edits = value_edits(density_of(rounded))
    assert 0 < edits.levels <= levels
    assert_allclose(edits.rounding_variance, step**2 / 12, rtol=0.1)
    assert_allclose(edits.rounding_variance, np.var(rounded - (values - values.min())), rtol=0.1)


def test_few_strong_values_far_apart_are_not_taken_for_rounding():
    """A map of 16-bit integers with a heavy tail: in a sample, the strong values have gaps that are no steps."""
    values = np.round(200 * white_noise(6, (48, 48, 48))).astype(np.float32)
    values[20:24, 20:24, 20:24] = np.round(np.random.default_rng(7).random((4, 4, 4)) * 30_000)
    edits = value_edits(density_of(values))
    assert edits.levels > 0
    assert_allclose(edits.rounding_variance, 1 / 12, rtol=0.1)


def test_the_power_of_white_noise_in_a_band_is_that_of_local_power():
    size, shape = 1.5, (64, 64, 64)
    lengths = tuple(n * size for n in shape)
    spectrum = Spectrum(np.fft.rfftn(2 * white_noise(2, shape)).astype(np.complex64), shape, lengths, (0, 0, 0))
    frequencies = band_frequencies(0.8 * 0.5 / size)[12:]  # lower bands hold few waves
    measured = [local_power(spectrum, f, grid_for(lengths, 4.0)).mean() for f in frequencies]
    assert_allclose(white_power(4.0, frequencies, (size,) * 3), measured, rtol=0.15)


def test_rounding_that_is_stronger_than_the_noise_is_said_and_else_not(example):
    smooth = filtered(example, np.exp(-((10 * wave_numbers(example.shape, 1.2)) ** 2)))
    answers = [estimate(values, 1.2, threads=2) for values in (smooth, to_integers(smooth, 200), example)]
    assert ["rounded" in " ".join(answer.warnings) for answer in answers] == [False, True, False]


@pytest.mark.parametrize("method", ["network", "statistical"])
def test_the_command_says_that_values_were_cut_off(example, tmp_path, method):
    path = save(tmp_path / "cut.mrc", np.maximum(example, 0), voxel_size=1.2)
    result = run(path, "-o", tmp_path / "out", "--method", method)
    assert "cut off at the bottom" in result.stdout + result.stderr
