"""Half maps belong to a map that lies at the same place, whatever words of the header say so."""

from dataclasses import replace

import numpy as np
import pytest

from cryores_lite.errors import InputError
from cryores_lite.half_maps.pair import read_map_and_halves
from cryores_lite.io.mrc import write_map
from cryores_lite.io.mrc_header import Header

VOXEL = 2.0
HEADER = Header(
    cella=(48.0,) * 3, cellb=(90.0,) * 3, m=(24,) * 3, nstart=(0,) * 3, axes=(1, 2, 3), origin=(0.0, 0.0, 0.0)
)
BY_START = replace(HEADER, nstart=(-12, 3, 0))
BY_ORIGIN = replace(HEADER, origin=(-24.0, 6.0, 0.0))


def save(path, header, seed):
    values = np.random.default_rng(seed).standard_normal((24, 24, 24), np.float32)
    return write_map(path, values, header, label="test")


def read(folder, full, half, names=("map.map", "run_half1.mrc", "run_half2.mrc")):
    paths = [
        save(folder / name, header, n) for n, (name, header) in enumerate(zip(names, (full, half, half), strict=True))
    ]
    return read_map_and_halves(paths[0], (paths[1], paths[2]), False, None)


def test_a_map_placed_in_voxels_lies_on_half_maps_placed_in_angstroms(tmp_path):
    full_map, pair = read(tmp_path, BY_START, BY_ORIGIN)
    assert pair is not None
    assert full_map.header.nstart == BY_START.nstart
    assert full_map.warnings == ()


def test_half_maps_without_a_position_take_that_of_the_map_with_a_note(tmp_path):
    for n, full in enumerate((BY_START, BY_ORIGIN)):
        (folder := tmp_path / str(n)).mkdir()
        full_map, _ = read(folder, full, HEADER, ("map.mrc", "run_half1.mrc", "run_half2.mrc"))
        assert any("no position" in warning for warning in full_map.warnings)


def test_maps_without_a_position_need_no_note(tmp_path):
    full_map, _ = read(tmp_path, HEADER, HEADER)
    assert full_map.warnings == ()


@pytest.mark.parametrize(
    ("full", "half"),
    [
        (BY_START, replace(BY_ORIGIN, origin=(-24.0, 8.0, 0.0))),  # moved by one voxel
        (HEADER, BY_ORIGIN),
        (BY_START, replace(BY_START, axes=(3, 2, 1))),
        (BY_START, replace(BY_START, rotation_label="Chimera rotation: 0 0 1 30")),
        (BY_START, replace(BY_START, cella=(50.0,) * 3)),
    ],
)
def test_maps_at_other_positions_are_refused_in_one_line(tmp_path, full, half):
    with pytest.raises(InputError, match="not on the grid of") as refused:
        read(tmp_path, full, half)
    assert "\n" not in str(refused.value)


def save_balls(folder, sign):
    """Two half maps of a ball, whose density has a sign; returns their paths."""
    distance = np.sqrt(sum((axis - 12) ** 2 for axis in np.ogrid[:24, :24, :24]))
    paths = tuple(folder / f"{sign}_half{n}.mrc" for n in (1, 2))
    for n, path in enumerate(paths):
        noise = np.random.default_rng(n).standard_normal((24, 24, 24), np.float32)
        write_map(path, (sign * (12 * (distance < 5) + noise)).astype(np.float32), HEADER, label="test")
    return paths


def test_half_maps_of_inverted_contrast_and_their_average_become_bright_and_that_is_said(tmp_path):
    bright, dark = (save_balls(tmp_path, sign) for sign in (1, -1))
    average, pair = read_map_and_halves(bright[0], bright, True, None)
    inverted, inverted_pair = read_map_and_halves(dark[0], dark, True, None)
    for expected, found in (
        (average.density, inverted.density),
        (pair.first, inverted_pair.first),
        (pair.second, inverted_pair.second),
    ):
        np.testing.assert_array_equal(found.values, expected.values)
    assert not any("-1" in warning for warning in average.warnings)
    assert any("multiplied by -1" in warning for warning in inverted.warnings)
