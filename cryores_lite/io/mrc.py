"""All that knows the MRC/CCP4 format: a map in, an answer out on the same spot.

Arrays stay in the order stored, (sections, rows, columns); only voxel sizes are reordered to match.
Whatever places the map (NSTART, ORIGIN, axis order) is never interpreted, only copied.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from mrcfile.mrcinterpreter import MrcInterpreter  # type: ignore[import-untyped]
from mrcfile.utils import data_dtype_from_header  # type: ignore[import-untyped]

from cryores_lite.errors import CryoresError, MapNotFound, OutputError, is_lack_of_memory, lack_of_memory
from cryores_lite.io.atomic import whole
from cryores_lite.io.mrc_header import (
    Header,
    check_range,
    check_words,
    grid_of,
    header_of,
    kind_of,
    refusal,
    shape_xyz,
    truncated,
)
from cryores_lite.resources import require_bytes
from cryores_lite.types import Density, Shape, Volume, check_spread

StrPath: TypeAlias = "str | os.PathLike[str]"

MAX_NON_FINITE = 0.01  # of all voxels
CHUNK = 1 << 24
SURPLUS = 1 << 26  # bytes that a compressed file may hold beyond what its header says, if it is not larger itself


@dataclass(frozen=True, eq=False)
class Map:
    """A map as read: the density, where it lies, and what the user should know about the file.

    ``density.values`` are in the order stored; ``density.grid.voxel_size`` belongs to the array's axes.
    """

    density: Density
    header: Header
    warnings: tuple[str, ...] = ()


def read_map(path: StrPath, *, voxel_size: float | None = None) -> Map:
    """Read a cryo-EM map, plain, gzip or bzip2 (told by content), and check it before any long work.

    The file is opened read-only. A few non-finite voxels are replaced by the median, with a warning.

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
        There is no such file.
    InputError
        The file is no whole MRC volume of real numbers, or its voxel size cannot be believed.

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
        if is_lack_of_memory(error):
            raise lack_of_memory(path.name) from error
        found = getattr(error, "strerror", None) or error
        raise refusal(path, "file", found, "a readable, whole file", "fetch it again or unlock it") from error


def write_map(
    path: StrPath,
    values: npt.NDArray[Any],
    header: Header,
    *,
    label: str,
    voxel_size: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write values as float32 where `header` places them: wholly, or not at all.

    A hidden file beside the target is written, synced and renamed; on any failure it is removed.

    Parameters
    ----------
    path : the file to write, uncompressed
    values : (z, y, x) real or bool, finite, in the order of the map that `header` came from
    header : from `read_map`
    label : printable ASCII, at most 80 characters; the only label, so equal values give equal bytes
    voxel_size : Å, only if the user gave one; else the cell is copied bit for bit
    overwrite : replace a file of that name

    Returns
    -------
    `path`, of a file that passes ``mrcfile.validate``

    Raises
    ------
    OutputError
        The file exists, or cannot be written (folder missing or read-only, disk full).
    """
    path = Path(path)
    try:
        if not overwrite and os.path.lexists(path):
            raise FileExistsError
        with whole(path) as stream:
            stored = np.asarray(values)
            stored = stored if stored.dtype == bool else stored.astype(np.float32, copy=False)
            _Writer(stream, stored, header, label, voxel_size)
    except FileExistsError:
        raise OutputError(
            str(path), found="a file", expected="a free name", try_="move it or allow overwriting"
        ) from None
    except OSError as error:
        found = error.strerror or error
        try_ = "check the folder, its permissions and the space left"
        raise OutputError(str(path), found=found, expected="to write it", try_=try_) from error
    return path


def extent(path: StrPath) -> tuple[Shape, int]:
    """Tell the shape of a map, and the bytes that it takes in memory once read: 0 if it is mapped from its file."""
    with Path(path).open("rb") as file, _unpacked(file) as stream:
        words = _read_words(Path(path), stream)
        held = stream is not file or data_dtype_from_header(words) != np.float32
    return (shape := check_words(Path(path), words)[0]), 4 * math.prod(shape) * held


def map_stem(path: StrPath) -> str:
    """Name a map without its folder and suffixes: ``maps/emd_1234.map.gz`` is ``emd_1234``."""
    path = Path(path)
    for suffixes in ((".gz", ".bz2"), (".mrc", ".map", ".ccp4")):
        if path.suffix.lower() in suffixes:
            path = path.with_suffix("")
    return path.name


class _Reader(MrcInterpreter):  # type: ignore[misc]
    """An MRC file that believes no size: ``mrcfile.open`` allocates what NSYMBT says and unpacks .gz twice."""

    def __init__(self, stream: IO[bytes], header_only: bool = False) -> None:
        super().__init__(permissive=True)
        self._read_only = True
        self._iostream = stream
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # our own checks speak
            self._read(header_only)

    def _read_bytearray_from_stream(self, number_of_bytes: int) -> tuple[bytearray, int]:
        found = bytearray()
        while len(found) < number_of_bytes:
            chunk = self._iostream.read(min(CHUNK, number_of_bytes - len(found)))
            if not chunk:
                break
            found += chunk
        return found, len(found)


class _Writer(MrcInterpreter):  # type: ignore[misc]
    """A new MRC file on a stream that stays ours to sync and close (``mrcfile.new`` leaks it on a full disk)."""

    def __init__(self, stream: IO[bytes], values: Volume, header: Header, label: str, voxel_size: float | None) -> None:
        super().__init__()
        self._create_default_attributes()
        self._iostream = stream
        self._data = np.broadcast_to(np.float32(0), values.shape)  # set_data would copy all, as float32
        self.update_header_from_data()  # mode and n; the space group is 1
        words = self.header
        words.dmin, words.dmax = values.min(), values.max()
        words.dmean = mean = values.mean(dtype=np.float64)
        squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in values)
        words.rms = math.sqrt(squares / values.size)
        words.nlabl = 0
        self.add_label(label)
        words.nxstart, words.nystart, words.nzstart = header.nstart
        words.mapc, words.mapr, words.maps = header.axes
        shape = shape_xyz(header.axes, values.shape)
        m = tuple(m if m > 0 else n for m, n in zip(header.m, shape, strict=True))
        words.mx, words.my, words.mz = m
        words.cella = header.cella if voxel_size is None else tuple(voxel_size * n for n in m)
        words.cellb = header.cellb
        words.origin = header.origin
        stream.write(words.tobytes())
        for plane in values:
            stream.write(np.ascontiguousarray(plane, np.float32).data)
        self._read_only = True  # else it writes what it holds when it is forgotten


def _read_map(path: Path, voxel_size: float | None) -> Map:
    if voxel_size is not None:
        check_range(path, (voxel_size,) * 3)
    if Path(map_stem(path)).suffix.lower() == ".mrcs":
        raise refusal(path, "kind", "a stack of images (.mrcs)", "a volume", "pass the reconstructed map")
    if path.exists() and not path.is_file():  # a pipe would block for ever
        kind = "a folder" if path.is_dir() else "no regular file"
        raise refusal(path, "file", kind, "an MRC file", "pass one .mrc, .map or .ccp4 file")
    with path.open("rb") as file, _unpacked(file) as stream:
        words = _read_words(path, stream)
        shape, size = check_words(path, words)
        length = os.fstat(file.fileno()).st_size
        if stream is file and length < size:
            raise truncated(path, length, size)
        header, notes = header_of(path, words)
        grid, more = grid_of(path, header, shape, int(words.ispg), voxel_size)
        notes += more
        voxels, as_is = math.prod(shape), data_dtype_from_header(words) == np.dtype(np.float32)
        wanted = (0 if stream is file else size) + voxels * (1 if as_is else 5)  # and a byte for the mask
        require_bytes(path.name, wanted, " x ".join(map(str, shape)))
        if stream is file:  # its pages are read when they are looked at, and can be let go
            stored: npt.NDArray[Any] = np.memmap(
                file, data_dtype_from_header(words), "c", 1024 + int(words.nsymbt), shape
            )
            surplus = length - size
        else:
            stream.seek(0)
            stored = _Reader(stream).data
            if stored is None:
                raise truncated(path, stream.tell(), size)
            surplus = _drained(path, stream, size)
    if surplus:
        said = f"The file is {surplus} bytes longer than its header says; the end was ignored."
        notes.append(f"{said} If NSYMBT is wrong in the header, the map is shifted.")
    if words.mode == 0:
        stored, more = _signed_or_not(stored, words)
        notes += more
    values, more = _check_values(path, stored)
    return Map(Density(values, grid, isinstance(values, np.memmap)), header, (*notes, *more))


def _unpacked(file: IO[bytes]) -> IO[bytes]:
    start = file.read(212)
    file.seek(0)
    if start[208:] != b"MAP " and start[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start[208:] != b"MAP " and start[:3] == b"BZh":
        return bz2.BZ2File(file)
    return file


def _drained(path: Path, stream: IO[bytes], size: int) -> int:
    """Read a compressed stream to its end and checksum: the bytes beyond the map. No end in sight is a bomb."""
    surplus = 0
    while chunk := stream.read(CHUNK):
        surplus += len(chunk)
        if surplus > max(size, SURPLUS):
            found = f"more than {size + surplus} bytes when unpacked"
            raise refusal(path, "size", found, f"{size} from its header", "fetch it again or repair the header")
    return surplus


def _read_words(path: Path, stream: IO[bytes]) -> Any:
    kind = kind_of(stream.read(1024))
    if kind:
        try_ = "fetch the file itself with git lfs pull" if "LFS" in kind else "convert it to .mrc or unpack it"
        raise refusal(path, "format", kind, "an MRC/CCP4 map", try_)
    stream.seek(0)
    try:
        return _Reader(stream, header_only=True).header
    except ValueError:
        raise refusal(path, "file", f"{stream.tell()} bytes", "an MRC map (1024 or more)", "fetch it again") from None


def _signed_or_not(stored: npt.NDArray[Any], words: Any) -> tuple[npt.NDArray[Any], list[str]]:
    """Mode 0 is signed, but IMOD's stamp (bytes 152-159) may say otherwise, and some old files just are not.

    https://bio3d.colorado.edu/imod/doc/mrc_format.txt
    """
    order = words.dtype["mode"].byteorder
    stamp, flags = np.frombuffer(bytes(words.extra2), np.dtype("i4").newbyteorder(order), count=2, offset=40)
    unsigned = stored.view(np.uint8)
    if stamp == 0x444F4D49:  # "IMOD"
        return (stored, []) if flags & 1 else (unsigned, ["Bytes were read as unsigned, as the IMOD stamp says."])
    if _roughness(unsigned) < _roughness(stored):
        return stored, ["Mode 0 bytes were read as signed but look unsigned (values jump); save the map as mode 2."]
    return stored, []


def _roughness(values: npt.NDArray[Any]) -> int:
    return int(np.abs(np.diff(values.astype(np.int16), axis=2)).sum(dtype=np.int64))


def _check_values(path: Path, stored: npt.NDArray[Any]) -> tuple[Volume, list[str]]:
    values: Volume = stored.astype(np.float32, copy=False)
    values.flags.writeable = True  # Cython code of others refuses read-only arrays
    bad, notes = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in values), []
    if bad > MAX_NON_FINITE * values.size:
        found = f"{bad} of {values.size} voxels not finite"
        raise refusal(path, "values", found, "at most 1 %", "compute the map again")
    if bad:
        whole = np.isfinite(values)
        values = np.where(whole, values, np.median(values[whole]))
        notes.append(f"{bad} voxels were NaN or infinite and were replaced by the median.")
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        raise refusal(path, "values", f"{lowest:g} everywhere", "a density", "compute the map again")
    check_spread(lowest, highest, path.name)
    return values, notes
