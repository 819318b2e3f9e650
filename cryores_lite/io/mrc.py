"""Read and write MRC/CCP4 maps.

Arrays keep the order of the file, (sections, rows, columns); only the voxel sizes are reordered to match.
The header fields that place a map in space (NSTART, ORIGIN, axis order) are copied from the input to the outputs.

mrcfile defines and interprets the header. Voxels are written here and read in `voxels`, because mrcfile 1.5.4 allocates
the size that NSYMBT claims, decompresses a .gz file twice and leaves its file open when the disk is full.
"""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
from mrcfile.constants import MAP_ID, VOLUME_SPACEGROUP  # type: ignore[import-untyped]
from mrcfile.dtypes import HEADER_DTYPE  # type: ignore[import-untyped]
from mrcfile.mrcinterpreter import MrcInterpreter  # type: ignore[import-untyped]
from mrcfile.utils import (  # type: ignore[import-untyped]
    data_dtype_from_header,
    machine_stamp_from_byte_order,
    mode_from_dtype,
)

from cryores_lite.errors import CryoresError, MapNotFound, OutputError, is_out_of_memory, out_of_memory
from cryores_lite.io.atomic_write import atomic_write
from cryores_lite.io.mrc_header import (
    COMPRESSED_SUFFIXES,
    Header,
    Record,
    check_record,
    check_voxel_sizes,
    grid_from_header,
    header_from_record,
    input_error,
    other_file_kind,
    shape_xyz,
    truncation_error,
)
from cryores_lite.io.voxels import (
    HEADER_SIZE,
    DataBlock,
    Stored,
    finite_float32,
    map_voxels,
    read_voxels,
    surplus_warning,
    with_sign,
)
from cryores_lite.resources import require_memory_for_file
from cryores_lite.types import Density, Grid

StrPath: TypeAlias = "str | os.PathLike[str]"

FORMAT_VERSION = 20141  # of MRC2014, in NVERSION
LABELS_START = 224  # bytes
OWN_LABEL = b"cryores_lite "  # beginning of the label of every map that the command writes
MAX_LABEL = 80  # characters
LABEL = f"at most {MAX_LABEL} printable ASCII characters"


@dataclass(frozen=True, eq=False)
class Map:
    """A map as read: the density, its place in space, and warnings about the file.

    ``density.values`` are in the order stored; ``density.grid.voxel_size`` belongs to the array's axes.
    """

    density: Density
    header: Header
    warnings: tuple[str, ...] = ()


def read_map(path: StrPath, *, voxel_size: float | None = None) -> Map:
    """Read a cryo-EM map, plain, gzip or bzip2 (detected by content), and check it before any long work.

    The file is opened read-only. A few non-finite voxels are replaced by the median, with a warning; all those outside
    a mask are filled with the median of the voxels beside them, with a warning.

    Parameters
    ----------
    path : an MRC/CCP4 volume of mode 0, 1, 2, 6 or 12; either byte order, any axis order
    voxel_size : Å, all axes; overrides the header

    Returns
    -------
    Map, with (z, y, x) float32 values in the order stored

    Raises
    ------
    MapNotFound
        The file does not exist.
    InputError
        The file is not a complete MRC volume of real numbers, or its voxel size is implausible.
    NotEnoughMemory
        The values do not fit into memory.

    References
    ----------
    MRC2014. doi:10.1016/j.jsb.2015.04.002
    """
    path = Path(path)
    try:
        return _read_map(path, voxel_size)
    except CryoresError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise MapNotFound(str(path), found="no such file", expected="a map", try_="check the path") from None
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        if is_out_of_memory(error):
            raise out_of_memory(path.name) from error
        found = getattr(error, "strerror", None) or error
        raise input_error(
            path, "file", found, "a complete, readable file", "download it again or check its permissions"
        ) from error


def write_map(
    path: StrPath,
    values: npt.NDArray[Any],
    header: Header,
    *,
    label: str,
    voxel_size: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a complete map as float32, placed in space by `header`, or leave no file.

    The map is written and synced under a hidden name in the same folder, then renamed.

    Parameters
    ----------
    path : the file to write, uncompressed
    values : (z, y, x) real or bool, finite, in the order of the map that `header` came from
    header : from `read_map`
    label : printable ASCII, at most 80 characters; without a date, so equal values give equal bytes
    voxel_size : Å, only if the user gave one; otherwise the cell is copied bit for bit
    overwrite : replace an existing file

    Returns
    -------
    `path`, of a file that passes ``mrcfile.validate``

    Raises
    ------
    OutputError
        The file exists, or cannot be written (folder missing or read-only, disk full).
    InputError
        The values, the label or the voxel size cannot be written, or the values are not on the grid of `header`.
    """
    path, values = Path(path), np.asarray(values)
    _check_writable(path, values, header, label, voxel_size)
    try:
        if not overwrite and os.path.lexists(path):
            raise FileExistsError
        with atomic_write(path) as stream:
            values = values if values.dtype == bool else values.astype(np.float32, copy=False)
            stream.write(_new_record(values, header, label, voxel_size).tobytes())
            for plane in values:
                stream.write(np.ascontiguousarray(plane, np.float32).data)
    except FileExistsError:
        raise OutputError(
            str(path), found="an existing file", expected="a free name", try_="move it or allow overwriting"
        ) from None
    except OSError as error:
        found = error.strerror or error
        try_ = "check the folder, its permissions and the free disk space"
        raise OutputError(str(path), found=found, expected="a writable file", try_=try_) from error
    return path


def _check_writable(path: Path, values: npt.NDArray[Any], header: Header, label: str, voxel_size: float | None) -> None:
    """Refuse what would not be a map on the grid of the header."""
    if voxel_size is not None:
        check_voxel_sizes(path, (voxel_size,) * 3)
    shape = header.shape or values.shape
    text = " x ".join(map(str, values.shape))
    is_finite = values.dtype.kind in "biuf" and all(bool(np.isfinite(plane).all()) for plane in values)
    for is_right, *message in (
        (values.ndim == 3 and values.size > 0, "shape", text, "(sections, rows, columns)", "pass one volume"),
        (values.shape == shape, "shape", text, f"{shape} as in the header", "use the header of the same map"),
        (is_finite, "values", "NaN, infinite or complex values", "finite real numbers", "replace them first"),
        (
            label.isascii() and label.isprintable() and len(label) <= MAX_LABEL,
            "label",
            repr(label),
            LABEL,
            "shorten it",
        ),
    ):
        if not is_right:
            raise input_error(path, *message)


def grid_and_memory(path: StrPath, voxel_size: float | None = None) -> tuple[Grid, int]:
    """Read the grid of a map, and the bytes that its values take in memory: 0 if they are memory-mapped.

    `voxel_size` (Å) overrides the header.
    """
    path = Path(path)
    with path.open("rb") as file, _decompressed(file) as stream:
        record, data = _read_layout(path, stream)
        is_mapped = stream is file and data.dtype == np.float32
    header, _ = header_from_record(path, record)
    grid, _ = grid_from_header(path, header, data.shape, int(record.ispg), voxel_size)
    return grid, 0 if is_mapped else 4 * math.prod(data.shape)


def map_stem(path: StrPath) -> str:
    """Return the name of a map without folder and suffixes: ``emd_1234`` for ``maps/emd_1234.map.gz``."""
    path = Path(path)
    for suffixes in (COMPRESSED_SUFFIXES, (".mrc", ".map", ".ccp4")):
        if path.suffix.lower() in suffixes:
            path = path.with_suffix("")
    return path.name


def _read_map(path: Path, voxel_size: float | None) -> Map:
    if voxel_size is not None:
        check_voxel_sizes(path, (voxel_size,) * 3)
    _check_file(path)
    with path.open("rb") as file, _decompressed(file) as stream:
        record, data = _read_layout(path, stream)
        is_plain = stream is file
        if is_plain:
            _check_length(path, file, data)
        header, header_warnings = header_from_record(path, record)
        grid, grid_warnings = grid_from_header(path, header, data.shape, int(record.ispg), voxel_size)
        _require_memory(path, data, is_plain)
        stored, surplus = map_voxels(file, data) if is_plain else read_voxels(path, stream, data)
    stored, sign_warnings = with_sign(stored, record)
    values, value_warnings = finite_float32(path, stored)
    warnings = (*header_warnings, *grid_warnings, *surplus_warning(surplus), *sign_warnings, *value_warnings)
    return Map(Density(values, grid, isinstance(values, np.memmap)), header, warnings)


def _check_file(path: Path) -> None:
    if Path(map_stem(path)).suffix.lower() == ".mrcs":
        raise input_error(path, "kind", "a stack of images (.mrcs)", "a volume", "pass the reconstructed map")
    if path.exists() and not path.is_file():  # a pipe would block for ever
        kind = "a folder" if path.is_dir() else "a pipe or device"
        raise input_error(path, "file", kind, "an MRC file", "pass one .mrc, .map or .ccp4 file")


def is_compressed(path: Path) -> bool:
    """Whether a file is a compressed map, by its name, or by its content if it can be read."""
    if path.suffix.lower() in COMPRESSED_SUFFIXES:
        return True
    try:
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb") as file:
            return _decompressed(file) is not file
    except OSError:
        return False


def is_own_output(path: Path) -> bool:
    """Whether a file is a map that this program has written, by its label."""
    try:
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb") as file:
            return file.read(HEADER_SIZE)[LABELS_START:].startswith(OWN_LABEL)
    except OSError:
        return False


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(212)
    file.seek(0)
    if start[208:] != MAP_ID and start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start[208:] != MAP_ID and start[:3] == b"BZh":
        return bz2.BZ2File(file)
    return file


def _read_layout(path: Path, stream: IO[bytes]) -> tuple[Record, DataBlock]:
    record = _read_record(path, stream)
    shape = check_record(path, record)
    return record, DataBlock(HEADER_SIZE + int(record.nsymbt), shape, data_dtype_from_header(record))


def _read_record(path: Path, stream: IO[bytes]) -> Record:
    """Read the 1024 bytes of the header, in the byte order that mrcfile detects."""
    start = stream.read(HEADER_SIZE)
    kind = other_file_kind(start)
    if kind:
        try_ = "download the file itself with git lfs pull" if "LFS" in kind else "convert it to .mrc or unpack it"
        raise input_error(path, "format", kind, "an MRC/CCP4 map", try_)
    if len(start) < HEADER_SIZE:
        raise input_error(path, "file", f"{len(start)} bytes", "1024 or more of an MRC map", "download it again")
    offset = HEADER_DTYPE.fields["nsymbt"][1]
    without_extended_header = start[:offset] + bytes(4) + start[offset + 4 :]  # mrcfile would allocate NSYMBT bytes
    with io.BytesIO(without_extended_header) as header_only, catch_warnings():
        simplefilter("ignore", RuntimeWarning)  # check_record reports what is wrong
        interpreted = MrcInterpreter(header_only, permissive=True, header_only=True)
    return np.frombuffer(start, interpreted.header.dtype).reshape(()).view(np.recarray)


def _check_length(path: Path, file: IO[bytes], data: DataBlock) -> None:
    length = os.fstat(file.fileno()).st_size
    if length < data.end and length != data.without_extended_header.end:
        raise truncation_error(path, length, data.end)


def _require_memory(path: Path, data: DataBlock, is_plain: bool) -> None:
    bytes_per_voxel = 1 if data.dtype == np.float32 else 5  # a boolean mask, and a copy as float32
    needed = (0 if is_plain else data.end) + math.prod(data.shape) * bytes_per_voxel
    require_memory_for_file(path.name, needed, data.shape)


def _new_record(values: Stored, header: Header, label: str, voxel_size: float | None) -> Record:
    """Make the header of a float32 map, with the statistics of its values, a label, and the map's rotation if any."""
    record: Record = np.zeros((), HEADER_DTYPE).view(np.recarray)
    record.map, record.nversion, record.ispg = MAP_ID, FORMAT_VERSION, VOLUME_SPACEGROUP
    record.machst = machine_stamp_from_byte_order(record.mode.dtype.byteorder)
    record.mode = mode_from_dtype(np.dtype(np.float32))
    record.nz, record.ny, record.nx = values.shape
    _set_statistics(record, values)
    _place(record, values, header, voxel_size)
    labels = [label, *filter(None, [header.rotation_label])]
    record.label[: len(labels)], record.nlabl = labels, len(labels)
    return record


def _set_statistics(record: Record, values: Stored) -> None:
    """Set minimum, maximum, mean and standard deviation, in the memory of a few planes."""
    record.dmin, record.dmax = values.min(), values.max()
    record.dmean = mean = values.mean(dtype=np.float64)
    squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in values)
    record.rms = math.sqrt(squares / values.size)


def _place(record: Record, values: Stored, header: Header, voxel_size: float | None) -> None:
    """Copy the fields that place a map in space; fill in a missing grid size, and a voxel size that the user gave."""
    record.nxstart, record.nystart, record.nzstart = header.nstart
    record.mapc, record.mapr, record.maps = header.axes
    shape = shape_xyz(header.axes, values.shape)
    grid_size = tuple(m if m > 0 else n for m, n in zip(header.m, shape, strict=True))
    record.mx, record.my, record.mz = grid_size
    record.cella = header.cella if voxel_size is None else tuple(voxel_size * m for m in grid_size)
    record.cellb = header.cellb
    record.origin = header.origin
