"""Maps are read as other programs read them, and outputs are placed in space like the input."""

import ast
import bz2
import contextlib
import gzip
import hashlib
import itertools
import os
import resource
import tracemalloc
from functools import partial
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryores_lite.errors import CryoresError, InputError, MapNotFound, NotEnoughMemory, OutputError
from cryores_lite.io import mrc
from cryores_lite.io.mrc import grid_and_memory, map_stem, read_map, write_map
from cryores_lite.io.mrc_header import Header
from cryores_lite.types import VOXEL_SIZE_RANGE, Grid
from tests.runtime import maps
from tests.runtime.maps import PLACEMENT
from tests.runtime.paths import SHARED

REAL_MAPS = sorted(SHARED.glob("data/maps/*.gz"))
SHAPE = (8, 9, 10)
CUBIC_VOXELS = Header(
    cella=(12.0, 10.8, 9.6),
    cellb=(90.0, 90.0, 90.0),
    m=(10, 9, 8),
    nstart=(0, 0, 0),
    axes=(1, 2, 3),
    origin=(0.0, 0.0, 0.0),
)
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def noise(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).normal(0, 30, shape).astype(np.float32)


save = partial(maps.save, voxel_size=1.2)


def write_copy(path, **options):
    source = read_map(path, **options)
    return write_map(path.with_name("copy.mrc"), source.density.values, source.header, label="a copy", **options)


def assert_message(error, *fragments):
    """The message is one line with what was found and expected, and with the fragments."""
    message = str(error.value)
    assert "\n" not in message
    for fragment in ("found", "expected", *fragments):
        assert fragment in message


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i1", "i2", "f4", "u2", "f2"])
def test_every_mode_byte_order_and_compression_reads_as_the_same_float32(tmp_path, kind, order, pack):
    values = (np.abs(noise()) if kind == "u2" else noise()).clip(-100, 100).astype(order + kind)
    path = save(tmp_path / f"m.map{pack}", values, pack=PACK[pack])
    path.chmod(0o444)
    digest = hashlib.sha256(path.read_bytes()).digest()
    source = read_map(path)
    assert source.density.values.dtype == np.dtype(np.float32)
    assert source.density.values.flags.writeable  # Cython code of other libraries refuses read-only arrays
    np.testing.assert_array_equal(source.density.values, values.astype(np.float32))
    np.testing.assert_allclose(source.density.grid.voxel_size, 1.2, rtol=1e-6)
    assert source.density.grid.shape == SHAPE
    assert source.warnings == ()
    assert hashlib.sha256(path.read_bytes()).digest() == digest
    assert mrcfile.validate(write_copy(path))


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_a_landmark_has_the_position_that_gemmi_gives_for_every_axis_order(tmp_path, axes):
    gemmi = pytest.importorskip("gemmi")
    values = noise()
    values[2, 5, 7] = 1000
    n = dict(zip(axes, reversed(SHAPE), strict=True))
    step = {1: 1.200, 2: 1.205, 3: 1.210}
    fields = {"mx": n[1], "my": n[2], "mz": n[3], "cella": tuple(n[a] * step[a] for a in (1, 2, 3))}
    fields |= dict(zip(("mapc", "mapr", "maps"), axes, strict=True))
    path = save(tmp_path / "m.mrc", values, fields=fields)
    source = read_map(path)
    landmark = np.unravel_index(source.density.values.argmax(), SHAPE) * np.array(source.density.grid.voxel_size)
    position = [landmark[::-1][axes.index(axis)] for axis in (1, 2, 3)]

    grids = []
    for file in (path, write_copy(path)):
        ccp4 = gemmi.read_ccp4_map(str(file))
        ccp4.setup(0.0)
        grids.append(np.array(ccp4.grid.array))
    gemmi_position = ccp4.grid.get_position(*map(int, np.unravel_index(grids[0].argmax(), grids[0].shape)))
    np.testing.assert_allclose(position, gemmi_position.tolist(), rtol=1e-5)
    np.testing.assert_array_equal(*grids)


def test_a_map_written_by_gemmi_is_read_with_its_values_and_voxel_size(tmp_path):
    gemmi = pytest.importorskip("gemmi")
    ccp4 = gemmi.Ccp4Map()
    ccp4.grid = gemmi.FloatGrid(np.ascontiguousarray(noise().T))
    ccp4.grid.set_unit_cell(gemmi.UnitCell(12, 10.8, 9.6, 90, 90, 90))
    ccp4.grid.spacegroup = gemmi.SpaceGroup("P1")
    ccp4.update_ccp4_header()
    ccp4.write_ccp4_map(str(tmp_path / "m.ccp4"))
    source = read_map(tmp_path / "m.ccp4")
    np.testing.assert_array_equal(source.density.values, noise())
    np.testing.assert_allclose(source.density.grid.voxel_size, 1.2, rtol=1e-6)


starts = st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3)
origins = st.tuples(*[st.floats(width=32)] * 3)


@settings(max_examples=25, deadline=None)
@given(starts, origins, st.integers(-3, 40), st.permutations((1, 2, 3)), st.sampled_from("<>"))
def test_start_origin_and_cell_of_any_crop_are_kept_bit_for_bit(tmp_path_factory, start, origin, larger, axes, order):
    m = [n + larger for n in (10, 9, 8)]
    fields = dict(zip(("nxstart", "nystart", "nzstart", "mx", "my", "mz"), (*start, *m), strict=True))
    fields |= dict(zip(("mapc", "mapr", "maps"), axes, strict=True))
    fields |= {"cella": tuple(1.2 * n for n in m), "origin": origin, "ispg": 0, "cellb": (0, 0, 0)}
    path = save(tmp_path_factory.mktemp("crop") / "m.mrc", noise().astype(order + "f4"), fields=fields)
    copy = write_copy(path)
    assert mrcfile.validate(copy)
    for part in PLACEMENT:
        old, new = np.frombuffer(path.read_bytes()[part], order + "u4"), np.frombuffer(copy.read_bytes()[part], "<u4")
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(read_map(copy).density.values, noise())


def test_statistics_and_label_are_those_of_the_output_and_equal_values_give_equal_bytes(tmp_path):
    values = noise() - noise().mean(dtype=np.float64)  # a mean near 0, float64
    first, second = (write_map(tmp_path / name, values, CUBIC_VOXELS, label="local resolution (A)") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert mrcfile.validate(first)
    with mrcfile.open(first) as file:
        assert file.get_labels() == ["local resolution (A)"]
        assert int(file.header.ispg) == 1
        np.testing.assert_allclose(file.header.rms, values.std(), rtol=1e-5)


def test_a_boolean_mask_is_written_as_float32_with_the_permissions_of_any_new_file(tmp_path):
    path = write_map(tmp_path / "mask.mrc", noise() > 0, CUBIC_VOXELS, label="mask")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert mrcfile.validate(path)
    np.testing.assert_array_equal(read_map(path).density.values, (noise() > 0).astype(np.float32))


def test_only_an_explicit_voxel_size_changes_the_cell(tmp_path):
    path = save(tmp_path / "m.mrc", noise(), fields={"cella": (0, 0, 0), "mx": -4})
    assert read_map(path, voxel_size=1.5).density.grid.voxel_size == (1.5, 1.5, 1.5)
    copy = write_copy(path, voxel_size=1.5)
    assert mrcfile.validate(copy)
    assert read_map(copy).density.grid.voxel_size == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("ispg", [0, 1])
def test_a_volume_with_a_stack_header_takes_z_from_x_and_so_does_its_copy(tmp_path, ispg):
    path = save(tmp_path / "m.mrc", noise(), fields={"ispg": ispg, "mz": 1})
    for file in (path, write_copy(path)):
        source = read_map(file)
        np.testing.assert_allclose(source.density.grid.voxel_size, 1.2, rtol=1e-6)
        assert "stack" in source.warnings[0]


@pytest.mark.parametrize("ispg", [401, 402, 630])
def test_a_stack_of_one_volume_is_read_as_that_volume(tmp_path, ispg):
    path = save(tmp_path / "m.mrc", noise())
    with mrcfile.open(path, "r+") as file:  # as mrcfile writes a stack of volumes
        file.set_data(noise()[None])
        file.voxel_size, file.header.ispg = 1.2, ispg
        assert file.is_volume_stack()
    source = read_map(path)
    np.testing.assert_array_equal(source.density.values, noise())
    assert source.warnings == ()
    assert read_map(write_copy(path)).density.grid == source.density.grid


right_or_missing = st.tuples(*[st.sampled_from((0.0, 90.0, 89.99))] * 3)
skewed = st.tuples(*[st.sampled_from((0.0, 90.0, 120.0, 60.0, 180.0, -90.0, np.nan, np.inf))] * 3)


@settings(max_examples=25, deadline=None)
@given(right_or_missing | skewed)
def test_missing_cell_angles_are_right_angles_and_others_are_refused(tmp_path_factory, angles):
    path = save(tmp_path_factory.mktemp("angles") / "m.mrc", noise(), fields={"cellb": angles})
    if not all(angle == 0 or abs(angle - 90) < 0.1 for angle in angles):
        with pytest.raises(InputError, match="cell angles"):
            read_map(path)
        return
    source = read_map(path)
    np.testing.assert_array_equal(source.density.values, noise())
    is_mended = 0 in angles and any(angles)
    assert ["0 was read as 90" in warning for warning in source.warnings] == [True] * is_mended
    with mrcfile.open(write_copy(path)) as copy:
        written = copy.header.cellb.item()
    np.testing.assert_allclose(written, [angle or 90.0 * is_mended for angle in angles])


def test_a_voxel_size_of_exactly_one_gives_a_warning_unless_it_was_passed(tmp_path):
    path = save(tmp_path / "m.mrc", noise(), fields={"cella": (10, 9, 8)})
    assert "exactly 1" in read_map(path).warnings[0]
    assert read_map(path, voxel_size=1.0).warnings == ()


def test_unsigned_bytes_are_read_by_their_stamp_and_otherwise_give_a_warning(tmp_path):
    ramp = np.add.outer(np.add.outer(np.arange(8), np.arange(9)), 10 * np.arange(10)).astype(np.uint8) + 60
    stored = ramp.view(np.int8)
    path = save(tmp_path / "m.mrc", stored)
    assert "unsigned" in read_map(path).warnings[0]
    stamp = (152, "<i", 0x444F4D49)
    source = read_map(save(path, stored, patches=[stamp]))
    np.testing.assert_array_equal(source.density.values, ramp.astype(np.float32))
    assert "IMOD" in source.warnings[0]
    signed = read_map(save(path, stored, patches=[stamp, (156, "<i", 1)]))
    np.testing.assert_array_equal(signed.density.values, stored.astype(np.float32))
    assert signed.warnings == ()


def test_a_few_non_finite_voxels_are_replaced_by_the_median_with_a_warning(tmp_path):
    values = noise()
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    with pytest.warns(RuntimeWarning):
        path = save(tmp_path / "m.mrc", values)
    source = read_map(path)
    assert source.warnings[0].startswith("3 voxels")
    np.testing.assert_array_equal(source.density.values[0, 0, :3], np.median(values[np.isfinite(values)]))


@pytest.mark.parametrize(
    ("patch", "fragments"),
    [((208, "4s", b"\0" * 4), []), ((212, "4s", b"\0" * 4), []), ((64, "12s", b"\0" * 12), ["axis order"])],
    ids=["no MAP", "no machine stamp", "no axis order"],
)
def test_old_headers_are_read(tmp_path, patch, fragments):
    path = save(tmp_path / "m.mrc", noise(), patches=[patch])
    source = read_map(path)
    np.testing.assert_array_equal(source.density.values, noise())
    assert len(source.warnings) == len(fragments)
    for warning, fragment in zip(source.warnings, fragments, strict=True):
        assert fragment in warning
    assert mrcfile.validate(write_copy(path))


@pytest.mark.parametrize("pack", PACK)
def test_surplus_bytes_give_a_warning(tmp_path, pack):
    path = save(tmp_path / "m.mrc", noise(), pack=lambda raw: PACK[pack](raw + bytes(7)))
    assert "7 bytes longer" in read_map(path).warnings[0]


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ([(12, "<i", 3)], "complex"),
        ([(12, "<i", 4)], "complex"),
        ([(12, "<i", 101)], "4-bit"),
        ([(88, "<i", 401), (36, "<i", 4)], "ISPG 401, 8 sections, MZ 4"),
        ([(88, "<i", 401), (36, "<i", 1)], "ISPG 401, 8 sections, MZ 1"),
        ([(88, "<i", 0), (36, "<i", 1), (48, "<f", 1.2)], "8 images"),
        ([(8, "<i", 1)], "three-dimensional"),
        ([(0, "<i", 0)], "0 x 9 x 8"),
        ([(4, "<i", -9)], "-9"),
        ([(0, "<i", 11)], "truncated"),
        ([(o, "<i", 2**31 - 1) for o in (0, 4, 8)], "its header"),
        ([(92, "<i", -1)], "an unknown header"),
        ([(60, "<f", 120.0)], "90, 90, 120"),
        ([(52, "<f", float("nan"))], "nan"),
        ([(64, "<i", 2)], "(2, 2, 3)"),
        ([(40, "<f", 0.0)], "--voxel-size"),
        ([(40, "<f", -12.0)], "-1.2"),
        ([(28, "<i", 0)], "unknown"),
        ([(44, "<f", 9 * 1.22)], "1.22"),
        ([(40 + 4 * i, "<f", 0.09 * n) for i, n in enumerate((10, 9, 8))], "0.09"),
        ([(40 + 4 * i, "<f", 52.0 * n) for i, n in enumerate((10, 9, 8))], "52, 52, 52"),
    ],
)
@pytest.mark.parametrize("pack", PACK)
def test_a_wrong_header_is_refused_in_one_line(tmp_path, patches, message, pack):
    path = save(tmp_path / "m.mrc", noise(), patches=patches, pack=PACK[pack])
    tracemalloc.start()
    with pytest.raises((InputError, NotEnoughMemory)) as error:
        read_map(path)
    assert tracemalloc.get_traced_memory()[1] < 60e6  # the gigabytes that a header claims are not allocated
    tracemalloc.stop()
    assert_message(error, "m.mrc", message)


def test_a_large_truncated_file_is_refused_before_it_is_read(tmp_path):
    path = save(tmp_path / "m.mrc", noise(), patches=[(8, "<i", 2**31 - 1)])
    os.truncate(path, 200_000_000)
    tracemalloc.start()
    with pytest.raises(InputError, match="truncated"):
        read_map(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Data array contains:RuntimeWarning")
@pytest.mark.parametrize(("values", "message"), [(np.float32(3), "3 everywhere"), (np.float32(np.nan), "720 of 720")])
def test_a_map_without_content_is_refused(tmp_path, values, message):
    with pytest.raises(InputError) as error:
        read_map(save(tmp_path / "m.mrc", np.full(SHAPE, values)))
    assert_message(error, message)


@pytest.mark.parametrize("size", [-1.0, 0.0, 0.09, 51.0, float("nan"), float("inf")])
def test_a_passed_voxel_size_out_of_range_is_refused(tmp_path, size):
    with pytest.raises(InputError) as error:
        read_map(save(tmp_path / "m.mrc", noise()), voxel_size=size)
    assert_message(error, "0.1 to 50 Å")


@pytest.mark.parametrize("size", [*VOXEL_SIZE_RANGE, 0.7, 12.6])
def test_voxel_sizes_of_the_whole_range_are_read_although_headers_round_them(tmp_path, size):
    for edge in range(4, 30):
        values = np.zeros((edge, edge, edge), np.float32)
        values[1, 1, 1] = 1
        path = save(tmp_path / "m.mrc", values, voxel_size=size)
        assert read_map(path).density.grid.voxel_size == pytest.approx((size,) * 3)
        assert read_map(path, voxel_size=size).density.grid.voxel_size == (size,) * 3


def test_missing_files_other_files_and_stacks_by_name_are_refused(tmp_path):
    (tmp_path / "text.mrc").write_text("ATOM " * 1000)
    (tmp_path / "short.mrc").write_bytes(bytes(10))
    (tmp_path / "zeros.mrc").write_bytes(bytes(5000))
    (tmp_path / "folder.mrc").mkdir()
    os.mkfifo(tmp_path / "pipe.mrc")
    save(tmp_path / "stack.mrcs", noise())
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError) as error:
            read_map(path)
        assert_message(error, path.name)
    for path in (tmp_path / "none.mrc", tmp_path / "text.mrc" / "none.mrc"):
        with pytest.raises(MapNotFound) as missing:
            read_map(path)
        assert_message(missing, "none.mrc")


patches = st.lists(st.tuples(st.integers(0, 1023), st.just("B"), st.integers(0, 255)), max_size=4)


@settings(max_examples=100, deadline=None)
@given(patches, patches, st.just(1) | st.floats(0, 1), st.sampled_from(list(PACK)))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path_factory, map_patches, file_patches, kept_share, pack
):
    path = save(tmp_path_factory.mktemp("damaged") / "m.mrc", noise(), patches=map_patches, pack=PACK[pack])
    raw = bytearray(path.read_bytes())
    for offset, _, value in file_patches:
        raw[offset] = value
    path.write_bytes(raw[: round(kept_share * len(raw))])
    with contextlib.suppress(CryoresError):
        assert np.isfinite(read_map(path).density.values).all()


class InterruptedArray:
    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_a_failed_write_leaves_no_file_and_does_not_change_the_old_one(tmp_path):
    path = write_map(tmp_path / "m.mrc", noise(), CUBIC_VOXELS, label="old")
    old = path.read_bytes()
    with pytest.raises(OutputError) as error:
        write_map(path, noise(), CUBIC_VOXELS, label="new")
    assert_message(error, "allow overwriting")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # as if the disk were full after 2000 bytes
    try:
        with pytest.raises(OutputError) as error:
            write_map(path, noise(), CUBIC_VOXELS, label="new", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_message(error, "m.mrc")
    with pytest.raises(KeyboardInterrupt):
        write_map(path, InterruptedArray(), CUBIC_VOXELS, label="new", overwrite=True)
    with pytest.raises(ValueError, match="80 printable"):
        write_map(path, noise(), CUBIC_VOXELS, label="x" * 81, overwrite=True)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    write_map(path, noise(seed=1), CUBIC_VOXELS, label="new", overwrite=True)
    np.testing.assert_array_equal(read_map(path).density.values, noise(seed=1))


def test_the_error_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o555)
    folders = ["missing", "file"] + ([] if os.access(tmp_path / "locked", os.W_OK) else ["locked"])
    for folder in folders:
        with pytest.raises(OutputError) as error:
            write_map(tmp_path / folder / "m.mrc", noise(), CUBIC_VOXELS, label="x")
        assert_message(error, folder)


@pytest.mark.parametrize("name", ["emd_1.map.gz", "a/emd_1.mrc", "emd_1.CCP4", "emd_1.mrc.bz2", "emd_1"])
def test_the_stem_is_the_name_without_compression_and_map_suffix(name):
    assert map_stem(name) == "emd_1"
    assert map_stem("a.b.map") == "a.b"


@pytest.mark.usefixtures("shared")
def test_the_shared_folder_holds_real_maps():
    assert REAL_MAPS


@pytest.mark.parametrize("path", REAL_MAPS, ids=map_stem)
def test_every_real_map_is_read_and_its_copy_is_valid_and_equal(tmp_path, path):
    source = read_map(path)
    copy = write_map(tmp_path / "copy.mrc", source.density.values, source.header, label="a copy")
    assert mrcfile.validate(copy)
    reread = read_map(copy)
    assert (reread.header, reread.density.grid) == (source.header, source.density.grid)
    np.testing.assert_array_equal(reread.density.values, mrcfile.read(path).astype(np.float32))


def test_the_grid_of_a_map_is_read_from_its_header_alone(tmp_path):
    path = save(tmp_path / "m.mrc.gz", noise().astype("i2"), pack=lambda raw: gzip.compress(raw)[:-8])
    grid, memory = grid_and_memory(path)
    assert (grid.shape, memory) == (SHAPE, 4 * noise().size)
    assert grid.voxel_size == pytest.approx((1.2,) * 3)
    assert grid_and_memory(save(tmp_path / "m.mrc", noise()), 12.5) == (Grid(SHAPE, (12.5,) * 3), 0)
    with pytest.raises(InputError, match="mode"):
        grid_and_memory(save(tmp_path / "m.mrc", noise(), patches=[(12, "<i", 99)]))


def test_the_reader_and_writer_use_only_public_names_of_mrcfile():
    tree = ast.parse(Path(mrc.__file__).read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    bases = {ast.unparse(base) for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases}
    assert [name for name in names if name.startswith("_")] == []
    assert bases == set()
