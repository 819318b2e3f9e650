"""Maps with any order of axes look the same, axes have few round ticks, and values are extended outwards."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryores_lite.figures.display_map import EXTENSION, contour_level, extend_outwards, in_zyx_order, ticks, zyx_axes
from tests.runtime.figures.helpers import make_answer
from tests.runtime.maps import ball
from tests.runtime.paths import EXAMPLE


@pytest.mark.parametrize("header_axes", [(1, 2, 3), (3, 1, 2), (2, 1, 3)])
def test_every_order_of_axes_in_a_file_is_displayed_alike(header_axes):
    example = make_answer(EXAMPLE)
    density = example.map.density.values
    in_file_order = [3 - axis for axis in reversed(header_axes)]
    values, mask = (
        field.transpose(in_file_order) for field in (example.local_resolution.values, example.local_resolution.mask)
    )
    result = replace(example.local_resolution, values=values, mask=mask)
    display = in_zyx_order(density.transpose(in_file_order), result, header_axes)
    np.testing.assert_array_equal(display.density, density)
    np.testing.assert_array_equal(display.local_resolution, example.local_resolution.values)
    assert sorted(zyx_axes(header_axes)) == [0, 1, 2]


@pytest.mark.parametrize(("low", "high"), [(3.05, 3.15), (3.2, 5.3), (7.4, 9.0), (2.0, 40.0)])
def test_ticks_are_few_lie_within_the_limits_and_match_their_labels(low, high):
    chosen = ticks(low, high)
    assert 2 <= len(chosen) <= 10
    for value, label in chosen:
        assert low - 1e-6 <= value <= high + 1e-6
        assert float(label) == pytest.approx(value)


def test_the_contour_encloses_part_of_the_molecule_and_hardly_any_noise():
    mask, noise = ball((32, 32, 32), 8), np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    quiet = np.where(mask, noise, 0)
    assert (quiet[mask] > contour_level(quiet, mask)).mean() == pytest.approx(0.45, abs=0.001)
    assert (noise[~mask] > contour_level(noise, mask)).mean() == pytest.approx(0.001, abs=0.0005)
    assert contour_level(noise, np.ones_like(mask)) == pytest.approx(np.quantile(noise, 0.55))
    assert contour_level(noise, np.zeros_like(mask)) == noise.max()


@pytest.mark.parametrize("voxel_size", [1.0, 3.1, 20.0])
def test_extended_values_reach_outwards_and_leave_the_mask_unchanged(voxel_size):
    mask = ball((40, 40, 40), 8)
    values = np.where(mask, np.random.default_rng(0).uniform(3, 6, mask.shape), 0).astype(np.float32)
    out = extend_outwards(values, (voxel_size,) * 3)
    near = ndimage.distance_transform_edt(~mask, voxel_size) <= EXTENSION
    np.testing.assert_array_equal(out[mask], values[mask])
    assert (out[near] > 0).all()
    beyond = out[out > 0]
    assert values[mask].min() - 1e-5 <= beyond.min() <= beyond.max() <= values[mask].max() + 1e-5
    assert (out[ndimage.distance_transform_edt(~mask, voxel_size) > 1.8 * EXTENSION + 2 * voxel_size] == 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.tuples(*[st.integers(1, 9)] * 3))
def test_extended_values_never_wrap_around_the_box(seed, shape):
    """Each new voxel is a mean of its neighbours, so that the values beside a slab are those of its nearer face."""
    rng = np.random.default_rng(seed)
    values = (rng.uniform(3, 6, shape) * (rng.random(shape) < 0.1)).astype(np.float32)
    padded = extend_outwards(np.pad(values, 12), (1.0, 1.0, 1.0))[12:-12, 12:-12, 12:-12]
    plain = extend_outwards(values, (1.0, 1.0, 1.0))
    assert ((plain > 0) == (padded > 0)).all()
    faced = extend_outwards(np.pad(values[:1], ((0, 30), (0, 0), (0, 0))), (1.0, 1.0, 1.0))
    assert (faced[9:] == 0).all()


def test_an_empty_mask_stays_empty_when_extended():
    assert not extend_outwards(np.zeros((4, 5, 6), np.float32), (1.0, 1.0, 1.0)).any()
