"""The level of the solvent inside a mask, and its subtraction."""

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from cryores_lite import Model, estimate
from cryores_lite.method.solvent_level import level_solvent, solvent_level
from cryores_lite.types import Density, Grid
from tests.runtime.maps import density_of, white_noise
from tests.runtime.paths import EXAMPLES, EXPERIMENTAL

LEVELS = (-0.5, 0.2, 1.0, 2.0)  # standard deviations of the map


@pytest.fixture(scope="module")
def example():
    with mrcfile.open(EXAMPLES / "example_map.mrc") as file:
        return Density(np.array(file.data, np.float32), Grid(file.data.shape, (float(file.voxel_size.x),) * 3))


@pytest.fixture(scope="module")
def model():
    return Model.open(device="cpu", threads=2)


def depth_in_sphere(density):
    """Distance in Å from the surface of the largest ball in a box; positive inside."""
    indices = np.indices(density.values.shape) - (np.array(density.values.shape) - 1).reshape(3, 1, 1, 1) / 2
    size = density.grid.voxel_size[0]
    return (min(density.values.shape) / 2 - 2) * size - np.sqrt((indices**2).sum(0)) * size


def depth_in_cube(density):
    """Distance in Å from the surface of a cube that is 5 % smaller than the box on all sides; positive inside."""
    size = density.grid.voxel_size[0]
    margins = [np.minimum(np.arange(n), n - 1 - np.arange(n)) - round(0.05 * n) for n in density.values.shape]
    return np.minimum(np.minimum(margins[0][:, None, None], margins[1][:, None]), margins[2]) * size


def masked(density, depth, level, edge):
    """A map with its solvent at `level` standard deviations, in a mask with an edge of `edge` Å."""
    weight = np.clip(depth / edge, 0, 1) if edge else depth > 0
    weight = 0.5 - 0.5 * np.cos(np.pi * weight)
    return ((density.values + np.float32(level * density.values.std())) * weight).astype(np.float32)


@pytest.mark.parametrize("level", [-0.5, 0.2, 1.0])
@pytest.mark.parametrize("shape", [depth_in_sphere, depth_in_cube])
@pytest.mark.parametrize("edge", [0.0, 8.0])
def test_the_answer_does_not_depend_on_the_level_of_the_solvent_inside_a_mask(example, model, shape, edge, level):
    depth = shape(example)
    size = example.grid.voxel_size
    expected = estimate(masked(example, depth, 0.0, edge), size, model=model, threads=2)
    answer = estimate(masked(example, depth, level, edge), size, model=model, threads=2)
    assert_allclose(np.median(answer.values[answer.mask]), np.median(expected.values[expected.mask]), rtol=0.05)
    assert_allclose(answer.mask.sum(), expected.mask.sum(), rtol=0.3)
    assert_allclose(answer.global_resolution, expected.global_resolution, rtol=0.05)
    stated = [warning for warning in answer.warnings if "level was subtracted" in warning]
    assert len(stated) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_hard_mask_is_levelled_by_one_number(example, level):
    depth = depth_in_sphere(example)
    density = Density(masked(example, depth, level, 0.0), example.grid)
    levelled, measured = level_solvent(density)
    inside = density.values != 0
    assert (levelled.values[~inside] == 0).all()
    subtracted = density.values[inside] - levelled.values[inside]
    assert np.ptp(subtracted) < 1e-5 * np.ptp(density.values)
    solvent_mean = level * example.values.std()
    assert_allclose(subtracted.mean(), solvent_mean, atol=0.1 * example.values.std())
    assert_allclose(measured.relative, subtracted.mean() / measured.contrast, rtol=1e-4)


def test_a_second_constant_around_a_mask_is_outside_too(example):
    """A masked map in a box that was padded with another constant."""
    inner = masked(example, depth_in_sphere(example), 0.0, 0.0)
    padded = np.pad(inner, 10, constant_values=np.float32(-3.0))
    levelled, _ = level_solvent(density_of(padded, example.grid.voxel_size[0]))
    assert_array_equal(levelled.values[:10], 0)
    outside = inner == 0
    assert_array_equal(levelled.values[10:-10, 10:-10, 10:-10][outside], 0)


@pytest.mark.parametrize("name", ["emd_2566_chain9", "riken_6555"])
def test_a_mask_that_follows_the_molecule_has_no_solvent(name):
    with mrcfile.open(EXPERIMENTAL / f"{name}.mrc.gz") as file:
        assert solvent_level(np.array(file.data, np.float32), (float(file.voxel_size.x),) * 3) is None


def test_a_constant_part_inside_the_map_is_not_outside(example):
    """Dark values around a molecule that were cut off are no mask."""
    values = masked(example, depth_in_sphere(example), 0.0, 0.0)
    ring = (depth_in_sphere(example) > 12) & (depth_in_sphere(example) < 24)
    cut_off = np.where(ring, values.min(), values)
    levelled, _ = level_solvent(Density(cut_off, example.grid))
    assert (levelled.values[ring] < np.percentile(levelled.values[~ring], 1)).all()


def test_a_map_without_a_constant_part_is_not_changed(example):
    levelled, measured = level_solvent(example)
    assert measured is None
    assert levelled is example


def test_the_sign_and_size_follow_a_map_with_a_gain(example):
    depth = depth_in_sphere(example)
    first = Density(masked(example, depth, 0.5, 0.0), example.grid)
    second = Density(first.values * np.float32(1000) + np.float32(7), example.grid)
    levelled, _ = level_solvent(first)
    again, _ = level_solvent(second)
    assert_allclose(again.values, 1000 * levelled.values, atol=1e-2 * levelled.values.std() * 1000)


def test_rounded_solvent_is_no_constant_part():
    """Integers: many voxels hold each value, but no part of the map holds one only."""
    noise = np.round(2 * ndimage.gaussian_filter(white_noise(1, (48, 48, 48)), 0.5) + 10).astype(np.float32)
    assert solvent_level(noise, (1.2, 1.2, 1.2)) is None
