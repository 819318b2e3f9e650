"""The outline of a map: its molecule, and where a low-pass filter ends it."""

import numpy as np
import pytest

from cryores_lite.method.outline import distance_from
from cryores_lite.method.prepare import prepare
from tests.runtime.maps import blob, density_of, filtered, wave_numbers, white_noise


def limit_of(values):
    return prepare(density_of(values))[1].outline.limit


@pytest.mark.slow
@pytest.mark.parametrize("cutoff", [5.0, 8.0])
def test_the_edge_of_a_low_pass_is_found_in_the_molecule(cutoff):
    """Also where the filtered map was cropped through its noise, so that the faces of the box jump."""
    n = 72
    values = 4 * blob((n, n, n), (36, 36, 36), 11) + white_noise(17, (n, n, n))
    low_passed = filtered(values, wave_numbers(values.shape, 1.5) < 1 / cutoff)
    for part in (low_passed, low_passed[5:-4, 3:-6, 7:]):
        assert limit_of(part) == pytest.approx(cutoff, rel=0.08)
    assert limit_of(values) == pytest.approx(3, rel=0.05)


def test_the_molecule_is_found_in_strong_noise_and_distances_are_those_from_its_surface():
    n, sigma = 64, 8
    values = 2 * blob((n, n, n), (32, 32, 32), sigma) + white_noise(3, (n, n, n))
    _, spectra = prepare(density_of(values))
    outline = spectra.outline
    radius_of_ball = np.cbrt(3 * outline.molecule.sum() / (4 * np.pi)) * 4.0  # Å, coarse voxels of about 4 Å
    assert 0.8 * sigma * 1.5 < radius_of_ball < 3 * sigma * 1.5
    assert outline.distance[outline.molecule].max() == 0
    assert (outline.distance[~outline.molecule] > 0).mean() > 0.95


def test_distances_are_in_angstrom_along_each_axis():
    mask = np.zeros((8, 8, 8), bool)
    mask[0, 0, 0] = True
    distance = distance_from(mask, (1.0, 2.0, 3.0))
    assert distance[2, 0, 0] == pytest.approx(4.0)
    assert distance[0, 2, 0] == pytest.approx(8.0)
    assert distance[0, 0, 2] == pytest.approx(12.0)
