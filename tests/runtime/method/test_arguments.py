"""The Python functions refuse what the command refuses, in one line each, and take what mrcfile gives."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite import CryoresError, Model, estimate, read_map, write_map
from cryores_lite.errors import InputError
from cryores_lite.method.arguments import density_argument, threads_argument, voxel_size_argument

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "example_map.mrc"


@pytest.fixture(scope="module")
def example():
    return read_map(EXAMPLE)


def test_the_voxel_size_may_be_what_mrcfile_gives(example):
    with mrcfile.open(EXAMPLE) as file:
        sizes = voxel_size_argument(file.voxel_size)
        assert density_argument(file.data, file.voxel_size).grid.shape == file.data.shape
    assert sizes == pytest.approx(example.density.grid.voxel_size)


def test_the_record_of_mrcfile_is_read_in_the_order_of_the_array():
    record = np.rec.array((1.0, 2.0, 3.0), dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
    assert voxel_size_argument(record) == (3.0, 2.0, 1.0)
    assert voxel_size_argument(1.5) == voxel_size_argument([1.5, 1.5, 1.5]) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    "size", [0, -1, np.nan, np.inf, 1e-3, 1000.0, "1.06", None, (1, 2), (), {"x": 1}, (1.0, 1.0, 0.0)]
)
def test_a_voxel_size_that_is_not_one_of_a_map_is_refused_in_one_line(example, size):
    with pytest.raises(InputError, match="the voxel size") as refused:
        estimate(example.density.values, size, threads=1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("size", [0, -1, np.nan, 1000.0, "1.06", (1, 1, 1)])
def test_a_voxel_size_that_overrides_the_headers_is_checked_alike(size):
    with pytest.raises(InputError, match="voxel size"):
        read_map(EXAMPLE, voxel_size=size)


@pytest.mark.parametrize(
    "density", [str(EXAMPLE), EXAMPLE, "map", [["a"]], None, np.zeros((4, 4)), np.ones((4, 4, 4)), object()]
)
def test_a_density_that_is_not_an_array_of_a_map_is_refused_in_one_line(density):
    with pytest.raises(InputError) as refused:
        estimate(density, 1.2, threads=1)
    assert "\n" not in str(refused.value)


def test_a_map_as_read_is_refused_with_the_array_to_pass_instead(example):
    for whole in (example, example.density):
        with pytest.raises(InputError, match="array"):
            estimate(whole, 1.2, threads=1)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(example, threads):
    with pytest.raises(InputError, match="threads"):
        estimate(example.density.values, 1.2, threads=threads)
    with pytest.raises(InputError, match="threads"):
        Model.open(device="cpu", threads=threads)


def test_numbers_of_threads_may_be_of_numpy():
    assert threads_argument(np.int64(2)) == 2
    assert threads_argument(None) is None


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:0", "", None, 0])
def test_an_unknown_device_is_refused_and_never_replaced_by_the_cpu(device):
    with pytest.raises(InputError, match="auto, cpu, cuda"):
        Model.open(device=device, threads=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": lambda v: np.where(v > v.mean(), np.nan, v)}, "values"),
        ({"values": lambda v: v * np.complex64(1j)}, "values"),
        ({"values": lambda v: v[:40]}, "shape"),
        ({"values": lambda v: v[0]}, "shape"),
        ({"voxel_size": 0}, "voxel size"),
        ({"voxel_size": np.nan}, "voxel size"),
        ({"label": "Å"}, "label"),
        ({"label": "x" * 81}, "label"),
    ],
)
def test_what_would_not_be_a_map_is_not_written(tmp_path, example, change, message):
    arguments = {"values": lambda v: v, "label": "test", "voxel_size": None, **change}
    values = arguments.pop("values")(np.array(example.density.values))
    with pytest.raises(CryoresError, match=message):
        write_map(tmp_path / "map.mrc", values, example.header, **arguments)
    assert list(tmp_path.iterdir()) == []
