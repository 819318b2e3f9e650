"""Two maps on one grid: values stay at their places in space, and shifts are found."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryores_lite.comparison.placement import (
    Placed,
    affine,
    check_boxes,
    check_molecules,
    measure_shift,
    resample,
    resample_inside,
)
from cryores_lite.errors import InputError
from cryores_lite.io.mrc import read_map
from tests.runtime.maps import ball, blob, save, white_noise

AXES = list(itertools.permutations((1, 2, 3)))
FIRST = (12.0, -7.5, 30.0)  # Å, x, y, z of the first voxel of the target


def placed(path):
    source = read_map(path)
    return Placed(grid=source.density.grid, header=source.header, path=path)


def linear(x, y, z):
    """A field that linear interpolation reads off without error."""
    return 50 + 0.3 * x - 0.2 * y + 0.1 * z


def positions(shape_xyz, first, voxel_size, axes=(1, 2, 3)):
    """x, y and z of the voxels of an array whose columns, rows and sections are `axes`."""
    lines = [f + voxel_size * np.arange(n) for f, n in zip(first, shape_xyz, strict=True)]
    return [field.transpose([axis - 1 for axis in reversed(axes)]) for field in np.meshgrid(*lines, indexing="ij")]


def save_linear(path, shape_xyz, first, voxel_size, axes=(1, 2, 3), *, by_start=False):
    """A map that holds `linear`, placed by ORIGIN, or by NSTART."""
    values = linear(*positions(shape_xyz, first, voxel_size, axes)).astype(np.float32)
    fields = dict(zip(("mapc", "mapr", "maps"), axes, strict=True))
    fields |= dict(zip(("mx", "my", "mz"), shape_xyz, strict=True))
    fields["cella"] = tuple(n * voxel_size for n in shape_xyz)
    if by_start:
        starts = (round(first[axis - 1] / voxel_size) for axis in axes)
        fields |= dict(zip(("nxstart", "nystart", "nzstart"), starts, strict=True))
    else:
        fields["origin"] = first
    return save(path, values, voxel_size=voxel_size, fields=fields)


@pytest.mark.parametrize("by_start", [False, True])
@pytest.mark.parametrize("axes", AXES)
def test_a_value_stays_at_its_place_in_space(tmp_path, axes, by_start):
    target = placed(save_linear(tmp_path / "a.mrc", (9, 10, 11), FIRST, 1.5))
    first = (FIRST[0] - 4.5, FIRST[1] - 3.0, FIRST[2] - 6.0)
    name = "b.map" if by_start else "b.mrc"
    path = save_linear(tmp_path / name, (20, 21, 22), first, 1.5 if by_start else 1.25, axes, by_start=by_start)
    to_source, note = affine(target, placed(path))
    values = resample(read_map(path).density.values, to_source, target.grid.shape)
    assert note is None
    np.testing.assert_allclose(values, linear(*positions((9, 10, 11), FIRST, 1.5)), atol=1e-3)


def test_a_rotated_map_is_turned_back(tmp_path):
    path = save_linear(tmp_path / "a.mrc", (9, 9, 9), (0.0, 0.0, 0.0), 1.0)
    source = read_map(path)
    label = b"Chimera rotation: 0 0 1 90"
    raw = bytearray(path.read_bytes())
    raw[224 : 224 + 80] = label.ljust(80)
    raw[220:224] = (1).to_bytes(4, "little")
    (tmp_path / "b.mrc").write_bytes(raw)
    to_source, _ = affine(placed(path), placed(tmp_path / "b.mrc"))
    x_axis_end = to_source(np.array([[0.0, 8.0, 0.0]]))  # y = 8 Å in space is the end of the x axis of the turned map
    np.testing.assert_allclose(x_axis_end, [[0, 0, 8]], atol=1e-6)
    np.testing.assert_allclose(
        resample(source.density.values, to_source, (9, 9, 9))[0, :, 0], linear(np.arange(9), 0, 0)
    )


def test_the_same_grid_needs_no_interpolation(tmp_path):
    path = save_linear(tmp_path / "a.mrc", (9, 10, 11), FIRST, 1.5)
    to_source, _ = affine(placed(path), placed(path))
    values = read_map(path).density.values
    assert to_source.is_identity
    assert resample(values, to_source, values.shape) is values
    assert resample_inside(values, to_source, values.shape) is values


def test_a_map_without_a_position_takes_that_of_the_other(tmp_path):
    first = placed(save_linear(tmp_path / "a.mrc", (9, 10, 11), FIRST, 1.5))
    second = placed(save_linear(tmp_path / "b.mrc", (9, 10, 11), (0.0, 0.0, 0.0), 1.5))
    for target, source in ((first, second), (second, first)):
        to_source, note = affine(target, source)
        assert to_source.is_identity
        assert note is not None
        assert note.startswith("b.mrc has no position")


def test_the_rim_of_a_mask_is_not_mixed_with_the_zeros_outside(tmp_path):
    target = placed(save_linear(tmp_path / "a.mrc", (20, 20, 20), FIRST, 1.5))
    source = placed(save_linear(tmp_path / "b.mrc", (24, 24, 24), (11.3, -8.0, 29.1), 1.4))
    to_source, _ = affine(target, source)
    values = np.where(ball((24, 24, 24), 8), np.float32(5), np.float32(0))
    inside = resample_inside(values, to_source, target.grid.shape)
    np.testing.assert_allclose(inside[inside > 0], 5, rtol=1e-5)
    volumes = np.count_nonzero(inside) * 1.5**3, np.count_nonzero(values) * 1.4**3
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def molecule(shape, seed=0):
    """Smooth random density in a ball."""
    return (ball(shape, min(shape) / 3.2) * (1 + ndimage.gaussian_filter(white_noise(seed, shape), 2) * 8)).astype("f4")


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(-6, 6)] * 3), st.sampled_from(AXES))
def test_a_shift_is_found_and_has_its_direction(tmp_path_factory, shift, axes):
    path = save_linear(tmp_path_factory.mktemp("shift") / "a.mrc", (44, 48, 52), FIRST, 1.5, axes)
    target = placed(path)
    values = molecule(target.grid.shape)
    moved = ndimage.shift(values, np.array([shift[axis - 1] for axis in reversed(axes)]) / 1.5, order=1)
    found = measure_shift(values, moved, target, 4.0)
    np.testing.assert_allclose(found.vector, [-s for s in shift], atol=0.35)
    assert found.correlation > 0.95
    back = measure_shift(moved, values, target, 4.0)
    np.testing.assert_allclose(back.vector, [-s for s in found.vector], atol=1e-3)


def test_noise_and_sharpening_do_not_move_a_map(tmp_path):
    target = placed(save_linear(tmp_path / "a.mrc", (48, 48, 48), FIRST, 1.5))
    values = molecule((48, 48, 48))
    other = values - ndimage.gaussian_filter(values, 3) + 0.3 * values.std() * white_noise(5, values.shape)
    assert measure_shift(values, other, target, 4.0).length < 0.3


def test_unlike_maps_do_not_correlate(tmp_path):
    target = placed(save_linear(tmp_path / "a.mrc", (48, 48, 48), FIRST, 1.5))
    first, second = (blob((48, 48, 48), (20, 24, 24), 2) * white_noise(seed, (48, 48, 48)) for seed in (1, 2))
    assert measure_shift(first, second, target, 4.0).correlation < 0.5


def test_maps_beside_each_other_are_refused(tmp_path):
    first = placed(save_linear(tmp_path / "a.mrc", (9, 10, 11), FIRST, 1.5))
    beyond = (FIRST[0] + 9 * 1.5, FIRST[1], FIRST[2])
    second = placed(save_linear(tmp_path / "b.mrc", (9, 10, 11), beyond, 1.5))
    with pytest.raises(InputError, match="lie beside each other") as error:
        check_boxes(first, second, affine(first, second)[0])
    assert "fitmap" in str(error.value)
    check_boxes(first, first, affine(first, first)[0])


def test_molecules_beside_each_other_in_one_box_are_refused():
    one = Placed(grid=None, header=None, path=Path("a.mrc"))
    first, second = np.zeros((2, 8, 8, 8), bool)
    first[:4], second[4:] = True, True
    for masks in ((first, second), (first, np.zeros_like(first)), (np.zeros_like(first), second)):
        with pytest.raises(InputError, match="cannot be compared"):
            check_molecules(one, one, *masks)
    check_molecules(one, one, first, first)
