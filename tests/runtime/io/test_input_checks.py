"""What is no final map is told from one that is, and no final map is called something else."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.io.input_checks import block_means, check_input, hints, is_local_resolution, traits
from cryores_lite.io.mrc import map_stem, read_map

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "example_map.mrc"
SHARED = ROOT.parent / "shared"
FINAL = [p for p in sorted(SHARED.glob("data/maps/*.gz")) if "local_resolution" not in p.name]
FINAL += sorted(SHARED.glob("bench/*/map.mrc.gz"))
SIZE = 1.2


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE).density.values


def said(name, values):
    return " ".join(hints(name, traits(values.astype(np.float32), SIZE)))


@pytest.mark.parametrize("path", [EXAMPLE, *FINAL], ids=lambda path: f"{path.parent.name}-{map_stem(path)}")
def test_no_final_map_is_called_something_else(path):
    found = read_map(path)
    assert check_input(path, found).warnings == found.warnings


@pytest.mark.skipif(not FINAL, reason="the shared maps are not here")
def test_masks_halves_and_local_resolution_of_the_shared_cases_are_told():
    for case in sorted(SHARED.glob("bench/*/case.json")):
        with pytest.raises(InputError, match="a mask"):
            check_input(case.parent / "mask.mrc.gz", read_map(case.parent / "mask.mrc.gz"))
        for name, says in (("half1", "half map"), ("truth", "local-resolution map")):
            path = case.parent / f"{name}.mrc.gz"
            assert any(says in warning for warning in check_input(path, read_map(path)).warnings)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("offset", [-5.0, 0.0, 5.0])
def test_contrast_is_told_whatever_the_gain_and_offset(example, gain, offset):
    assert said("m.mrc", gain * (example + offset)) == ""
    assert "inverted" in said("m.mrc", -gain * (example + offset))


def test_a_masked_map_is_a_map(example):
    masked = np.where(ndimage.gaussian_filter(example, 3) > 0.05, example, 0).astype(np.float32)
    assert said("m.mrc", masked) == ""
    assert not is_local_resolution(np.maximum(masked, 0), SIZE)


def test_noise_and_differences_are_told(example):
    rng = np.random.default_rng(0)
    assert "noise" in said("m.mrc", rng.normal(size=example.shape))
    assert "difference" in said("m.mrc", example - np.roll(example, 2, 0))


def test_half_maps_are_told_by_their_names_alone(example):
    for name in ("run_half1_class001_unfil.mrc", "emd_1234_half_map_2.map.gz", "J12_map_half_A.mrc"):
        assert "half map" in said(name, example)
    assert said("behalf_of_1.mrc", example) == ""


def test_a_hot_voxel_is_told(example):
    hot = np.array(example)
    hot[5, 5, 5] = 1e5
    assert "Very few voxels (1)" in said("m.mrc", hot)


@pytest.mark.parametrize("edge", [1, 2, 5])
def test_block_means_keep_the_mean(edge):
    values = np.random.default_rng(0).normal(size=(11, 12, 13)).astype(np.float32)
    means = block_means(values, edge)
    assert means.size == (11 // edge) * (12 // edge) * (13 // edge)
    kept = values[: 11 // edge * edge, : 12 // edge * edge, : 13 // edge * edge]
    np.testing.assert_allclose(means.mean(), kept.mean(), atol=1e-6)
