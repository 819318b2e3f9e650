"""Maps that Chimera or ChimeraX has rotated: the rotation is kept in the outputs, and atoms are placed by it.

`map_data/src/mrc/mrc_format.py` of ChimeraX reads the label; its grids lie at origin + rotation * (voxel * index).
"""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite.io.mrc import read_map, write_map
from cryores_lite.io.mrc_header import to_voxel_coordinates
from tests.runtime.maps import lumps, save

LABEL = b"Chimera rotation:   0.00000000   0.00000000   1.00000000  30.00000000".ljust(80)
LABELS_START = 224


def rotated(folder, label=LABEL, **options):
    patches = [(220, "<i", 2), (LABELS_START + 80, "80s", label)]
    return read_map(save(folder / "map.mrc", lumps((20, 22, 24)), patches=patches, **options))


def test_the_outputs_are_rotated_as_the_map_is(tmp_path):
    source = rotated(tmp_path)
    path = write_map(tmp_path / "out.mrc", source.density.values, source.header, label="test")
    with mrcfile.open(path) as file:
        labels = [bytes(label).rstrip(b"\0 ") for label in file.header.label[: file.header.nlabl]]
    assert labels == [b"test", LABEL.rstrip()]
    assert read_map(path).header == source.header


def test_atoms_are_found_where_chimerax_shows_the_voxels(tmp_path):
    """A voxel on the X axis of the map lies 30 degrees off it, about the map's origin."""
    source = rotated(tmp_path, voxel_size=2.0, fields={"origin": (5, -3, 1)})
    angle = np.radians(30)
    shown = np.array([[5 + 2 * 10 * np.cos(angle), -3 + 2 * 10 * np.sin(angle), 1 + 2 * 4]])
    grid = source.density.grid
    np.testing.assert_allclose(
        to_voxel_coordinates(shown, source.header, grid.voxel_size, Path("map.mrc")), [[4, 0, 10]], atol=1e-6
    )


@pytest.mark.parametrize("words", [b"", b" 0 0 1", b" 0 0 0 30", b" a b c d", b" 0 0 1 nan", b" 0 0 1 30 5"])
def test_a_label_without_an_axis_and_an_angle_is_ignored(tmp_path, words):
    assert rotated(tmp_path, (b"Chimera rotation:" + words).ljust(80)).header.rotation_label == ""
