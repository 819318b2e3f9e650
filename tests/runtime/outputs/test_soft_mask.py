"""The soft mask: distances from the mask as other programs measure them, 1 inside, falling to 0."""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryores_lite.io.mrc import read_map
from cryores_lite.outputs.soft_mask import soft_mask
from tests.runtime.command import run
from tests.runtime.maps import PLACEMENT
from tests.runtime.paths import EXAMPLE, EXPERIMENTAL

RELION = shutil.which("relion_mask_create")


def molecule():
    """The strongest voxels of a deposited map, and its voxel size."""
    density = read_map(EXPERIMENTAL / "emd_2566_chain9.mrc.gz").density
    return density.values > np.quantile(density.values, 0.97), density.grid.voxel_size


def fall(distances, extend, edge):
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distances - extend) / edge, 0, 1))


@pytest.mark.parametrize(("extend", "edge"), [(3.0, 8.0), (0.0, 5.0), (6.5, 1.3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_molecule_gets_the_edge_of_scipys_distance_transform(extend, edge, threads):
    mask, voxel_size = molecule()
    distances = ndimage.distance_transform_edt(~mask, sampling=voxel_size)
    soft = soft_mask(mask, voxel_size, extend, edge, threads)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft, fall(distances, extend, edge), atol=1e-5)
    assert (soft[distances <= extend] == 1).all()
    assert (soft[distances >= extend + edge] == 0).all()
    order = np.argsort(distances, axis=None)
    assert np.diff(soft.ravel()[order]).max() < 1e-5


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    voxel_size=st.tuples(*[st.floats(0.5, 4)] * 3),
    extend=st.floats(0, 6),
    edge=st.floats(0.1, 6),
    seed=st.integers(0, 99),
)
def test_any_mask_on_any_grid_gets_that_edge(shape, voxel_size, extend, edge, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.05
    soft = soft_mask(mask, voxel_size, extend, edge)
    if not mask.any():
        assert not soft.any()
        return
    distances = ndimage.distance_transform_edt(~mask, sampling=voxel_size)
    np.testing.assert_allclose(soft, fall(distances, extend, edge), atol=1e-4 / edge)


def test_no_extension_and_no_edge_give_the_mask_itself():
    mask, voxel_size = molecule()
    np.testing.assert_array_equal(soft_mask(mask, voxel_size, 0, 0), mask)


@pytest.mark.skipif(not RELION, reason="RELION is not installed")
@pytest.mark.parametrize("width", [2, 5])
def test_without_an_extension_it_is_relions_mask(tmp_path, width):
    values = read_map(EXAMPLE).density.values
    mask = values > np.quantile(values, 0.97)
    mrcfile.write(tmp_path / "mask.mrc", mask.astype(np.float32), voxel_size=1)
    words = ("--i", "mask.mrc", "--o", "soft.mrc", "--ini_threshold", "0.5", "--width_soft_edge", str(width))
    subprocess.run([RELION, *words], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(soft_mask(mask, (1.0,) * 3, 0, width), mrcfile.read(tmp_path / "soft.mrc"), atol=1e-6)


@pytest.mark.slow
def test_the_command_writes_it_where_the_map_lies_whatever_follows_the_option(tmp_path):
    for folder, words in (("first", ("--soft-mask", EXAMPLE)), ("last", (EXAMPLE, "--soft-mask", "3,8"))):
        run(*words, "-o", tmp_path / folder, "-q", "-j", 1, check=True)
    path = tmp_path / "first" / "example_map_softmask.mrc"
    content = path.read_bytes()
    assert content == (tmp_path / "last" / path.name).read_bytes()
    assert all(content[part] == EXAMPLE.read_bytes()[part] for part in PLACEMENT)
    mask = mrcfile.read(path.with_name("example_map_mask.mrc")) > 0
    with mrcfile.open(path) as file:
        assert file.header.mode == 2
        expected = soft_mask(mask, (float(file.voxel_size.x),) * 3, 3, 8)
        np.testing.assert_allclose(file.data, expected, atol=1e-6)
