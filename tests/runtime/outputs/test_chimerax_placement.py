"""The ChimeraX script opens files that ChimeraX can read, where and as large as the local resolution lies.

Checked against the source of ChimeraX 1.x: `map/src/volumecommand.py` (voxelSize keeps the origin in voxels; region),
`map_data/src/mrc/mrc_format.py` (placement) and `open_command/src/cmd.py` (compressed files are refused).
"""

import bz2
import gzip
import re
from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.io.mrc import is_compressed, read_map, write_map
from cryores_lite.job import plan
from cryores_lite.outputs import contents
from cryores_lite.outputs.result import MapResult
from cryores_lite.types import LocalResolution
from tests.runtime.paths import EXAMPLE

PACK = {".mrc": bytes, ".mrc.gz": gzip.compress, ".map.bz2": bz2.compress}


def result_of(path, **options):
    """The result for a map, without an estimate: local resolution from 3 to 5 Å in its densest part."""
    source = read_map(path, voxel_size=options.get("voxel_size"))
    values = np.where(source.density.values > 2, np.float32(3), np.float32(0))
    estimate = LocalResolution(
        values=values,
        mask=values > 0,
        uncertainty=values / 10,
        grid=source.density.grid,
        global_resolution=3.0,
        working_voxel_size=1.0,
        provider="none",
    )
    job = plan(path, path.parent / "out", ["chimerax"], **options)
    return MapResult(job=job, map=source, local_resolution=estimate)


def lines(result):
    return contents.chimerax(result).splitlines()


def save(folder, suffix, header=None):
    source = read_map(EXAMPLE)
    plain = write_map(
        folder / "plain.mrc", source.density.values, header or source.header, label="test", overwrite=True
    )
    path = folder / f"map{suffix}"
    path.write_bytes(PACK[suffix](plain.read_bytes()))
    return path


@pytest.mark.parametrize("suffix", PACK)
def test_the_script_opens_no_compressed_file(tmp_path, suffix):
    result = result_of(save(tmp_path, suffix))
    (name,) = re.findall(r'^open "(.*)" id 1$', contents.chimerax(result), re.MULTILINE)
    assert name == ("../map.mrc" if suffix == ".mrc" else "map_map.mrc")
    assert ("unpacked" in result.job.outputs) == (suffix != ".mrc")


def test_the_unpacked_map_is_the_map(tmp_path):
    result = result_of(save(tmp_path, ".mrc.gz"))
    np.testing.assert_array_equal(contents.unpacked(result), read_map(EXAMPLE).density.values)


def test_a_compressed_map_is_known_by_its_content_too(tmp_path):
    packed = save(tmp_path, ".mrc.gz")
    assert is_compressed(packed.rename(tmp_path / "renamed.mrc"))
    assert not is_compressed(EXAMPLE)
    assert is_compressed(tmp_path / "missing.map.gz")
    assert not is_compressed(tmp_path / "missing.map")


@pytest.mark.parametrize("options", [{"requested": []}, {"requested": ["report"]}])
def test_no_copy_is_made_without_a_script(tmp_path, options):
    assert "unpacked" not in plan(tmp_path / "map.mrc.gz", None, **options).outputs


def test_a_given_voxel_size_is_set_before_the_origin(tmp_path):
    header = replace(read_map(EXAMPLE).header, origin=(-48.0, 10.0, 0.5))
    script = lines(result_of(save(tmp_path, ".mrc", header), voxel_size=1.5))
    size, origin = script.index("volume #1 voxelSize 1.5"), script.index("volume #1 origin -48,10,0.5")
    assert script.index('open "../map.mrc" id 1') < size < origin
    surface = next(line for line in script if "style surface" in line)
    assert origin < script.index(surface) < next(n for n, line in enumerate(script) if line.startswith("color sample"))


def test_a_map_placed_in_voxels_keeps_its_place_without_an_origin(tmp_path):
    header = replace(read_map(EXAMPLE).header, nstart=(-40, -40, -40))
    script = lines(result_of(save(tmp_path, ".mrc", header), voxel_size=1.5))
    assert "volume #1 voxelSize 1.5" in script
    assert not any(line.startswith("volume #1 origin") for line in script)


def test_without_a_given_voxel_size_or_with_a_copy_nothing_is_resized(tmp_path):
    same = read_map(EXAMPLE).density.grid.voxel_size[0]
    for suffix, options in ((".mrc", {}), (".mrc", {"voxel_size": same}), (".mrc.gz", {"voxel_size": 1.5})):
        result = result_of(save(tmp_path, suffix), **options)
        assert "voxelSize" not in contents.chimerax(result)


def test_the_surface_is_that_of_the_complete_map(tmp_path):
    """A map of 256 million voxels or more opens as one plane."""
    (surface,) = (line for line in lines(result_of(save(tmp_path, ".mrc"))) if "style surface" in line)
    assert surface.startswith("volume #1 region all style surface level ")
    assert " step 1 " in surface
