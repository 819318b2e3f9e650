"""Inputs that are not final maps are detected, and final maps are not taken for anything else."""

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.io.input_checks import (
    block_means,
    check_input,
    is_local_resolution,
    map_statistics,
    other_kind_warnings,
)
from cryores_lite.io.mrc import map_stem, read_map
from tests.runtime.paths import EXAMPLE, SHARED

REAL_MAPS = [p for p in sorted(SHARED.glob("data/maps/*.gz")) if "local_resolution" not in p.name]
SIMULATED_MAPS = sorted(SHARED.glob("bench/*/map.mrc.gz"))
VOXEL_SIZE = 1.2


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE).density.values


def warnings_of(name, values):
    return " ".join(other_kind_warnings(name, map_statistics(values.astype(np.float32), VOXEL_SIZE)))


@pytest.mark.parametrize(
    "path", [EXAMPLE, *REAL_MAPS, *SIMULATED_MAPS], ids=lambda path: f"{path.parent.name}-{map_stem(path)}"
)
def test_a_final_map_is_not_taken_for_anything_else(path):
    source = read_map(path)
    assert check_input(path, source).warnings == source.warnings


@pytest.mark.usefixtures("shared")
def test_the_shared_folder_holds_real_and_simulated_maps():
    assert REAL_MAPS
    assert SIMULATED_MAPS


def test_masks_half_maps_and_local_resolution_maps_of_the_shared_cases_are_detected(shared):
    folders = [path.parent for path in sorted(shared.glob("bench/*/case.json"))]
    assert folders
    for folder in folders:
        mask = folder / "mask.mrc.gz"
        with pytest.raises(InputError, match="a mask"):
            check_input(mask, read_map(mask))
        for name, kind in (("half1", "half map"), ("truth", "local-resolution map")):
            path = folder / f"{name}.mrc.gz"
            assert any(kind in warning for warning in check_input(path, read_map(path)).warnings)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("offset", [-5.0, 0.0, 5.0])
def test_inverted_contrast_is_detected_for_any_gain_and_offset(example, gain, offset):
    assert warnings_of("m.mrc", gain * (example + offset)) == ""
    assert "inverted" in warnings_of("m.mrc", -gain * (example + offset))


def test_a_masked_map_is_a_final_map(example):
    masked = np.where(ndimage.gaussian_filter(example, 3) > 0.05, example, 0).astype(np.float32)
    assert warnings_of("m.mrc", masked) == ""
    assert not is_local_resolution(np.maximum(masked, 0), VOXEL_SIZE)


def test_noise_and_difference_maps_are_detected(example):
    rng = np.random.default_rng(0)
    assert "noise" in warnings_of("m.mrc", rng.normal(size=example.shape))
    assert "difference" in warnings_of("m.mrc", example - np.roll(example, 2, 0))


def test_half_maps_are_detected_by_their_names_alone(example):
    for name in ("run_half1_class001_unfil.mrc", "emd_1234_half_map_2.map.gz", "J12_map_half_A.mrc"):
        assert "half map" in warnings_of(name, example)
    assert warnings_of("behalf_of_1.mrc", example) == ""


def test_a_hot_voxel_is_detected(example):
    with_hot_voxel = np.array(example)
    with_hot_voxel[5, 5, 5] = 1e5
    assert "Very few voxels (1)" in warnings_of("m.mrc", with_hot_voxel)


@pytest.mark.parametrize("edge", [1, 2, 5])
def test_block_means_keep_the_mean_of_complete_blocks(edge):
    values = np.random.default_rng(0).normal(size=(11, 12, 13)).astype(np.float32)
    means = block_means(values, edge)
    assert means.size == (11 // edge) * (12 // edge) * (13 // edge)
    in_blocks = values[: 11 // edge * edge, : 12 // edge * edge, : 13 // edge * edge]
    np.testing.assert_allclose(means.mean(), in_blocks.mean(), atol=1e-6)
