"""The estimate from phase coupling: near the truth, the same after local sharpening; it tells inverted contrast."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats

from cryores_lite.fourier.local_power import POWER_STEP
from cryores_lite.fourier.spectrum import grid_for
from cryores_lite.io.mrc import read_map
from cryores_lite.method.coupling_estimate import contrast_sign, contrast_warnings, coupling_estimate
from cryores_lite.method.crop import paste
from cryores_lite.method.outline import find_molecule
from cryores_lite.method.phase_coupling import measure_powers_and_coupling
from cryores_lite.method.prepare import Frame, transform_molecule
from cryores_lite.method.restore import resample_to_crop
from tests.runtime.maps import density_of, white_noise
from tests.runtime.paths import EXAMPLE, EXAMPLE_TRUTH, EXPERIMENTAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE).density


@pytest.fixture(scope="module")
def truth():
    return read_map(EXAMPLE_TRUTH).density.values


def estimate(density):
    """The level in Å, and the pattern at the voxels of the map."""
    box, _, spectrum, coverage, masked_out = transform_molecule(density)
    molecule, _ = find_molecule(spectrum, grid_for(spectrum.lengths, POWER_STEP), coverage > 0.5)
    result = coupling_estimate(measure_powers_and_coupling(spectrum, masked_out)[1], molecule)
    frame = Frame(
        box=box, before=spectrum.before, padded_shape=spectrum.shape, lengths=spectrum.lengths, nyquist_filtered=False
    )
    return result.level, paste(resample_to_crop(frame, result.pattern)[0], box, density.grid.shape)


def sign(density):
    _, _, spectrum, _, masked_out = transform_molecule(density)
    return contrast_sign(*measure_powers_and_coupling(spectrum, masked_out), masked_out)


def sharpened_locally(density, sigma):
    """The map divided by the root of its local power, within `sigma` Å."""
    values = density.values
    power = ndimage.gaussian_filter(values**2, sigma / density.grid.voxel_size[0])
    return replace(density, values=values / np.sqrt(np.maximum(power, np.percentile(power, 30))))


def rank_correlation(pattern, truth):
    inside = truth > 0
    return stats.spearmanr(pattern[inside], truth[inside])[0]


def test_level_and_pattern_are_near_the_truth_also_after_local_sharpening(example, truth):
    median = np.median(truth[truth > 0])
    for density in (example, sharpened_locally(example, 12)):
        level, pattern = estimate(density)
        assert level == pytest.approx(median, rel=0.15)
        assert rank_correlation(pattern, truth) < -0.7


def test_experimental_maps_are_read_near_their_model_fsc():
    for name, resolution in (("emd_2566_chain9", 3.7), ("riken_6555", 2.8)):  # tests/data/README.md
        level, _ = estimate(read_map(EXPERIMENTAL / f"{name}.mrc.gz").density)
        assert level == pytest.approx(resolution, rel=0.25)


def test_noise_and_inverted_maps_have_no_level(example):
    for values in (white_noise(1, (64, 64, 64)), -example.values):
        level, pattern = estimate(density_of(values, 1.2))
        assert not level < 5
        assert np.abs(pattern).max() < 1.5


def test_the_sign_tells_inverted_contrast(example):
    assert sign(example) == 1
    assert sign(replace(example, values=-example.values)) == -1
    assert sign(density_of(white_noise(2, (64, 64, 64)), 1.2)) == 0


@pytest.mark.parametrize("path", sorted(EXPERIMENTAL.glob("*.mrc.gz")), ids=lambda path: path.name)
def test_masked_maps_are_not_judged_by_their_sign(path):
    density = read_map(path).density
    assert sign(density) == sign(replace(density, values=-density.values)) == 0


def test_only_a_negative_sign_gives_a_warning():
    assert contrast_warnings(1) == contrast_warnings(0) == ()
    assert "inverted" in contrast_warnings(-1)[0]
