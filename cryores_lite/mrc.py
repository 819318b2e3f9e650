"""All that knows the MRC/CCP4 format: a map in, an answer out on the same spot.

Arrays stay in the order stored, (sections, rows, columns); only voxel sizes are reordered to match.
Whatever places the map (NSTART, ORIGIN, axis order) is never interpreted, only copied.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import math
import os
import secrets
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from mrcfile.mrcinterpreter import MrcInterpreter  # type: ignore[import-untyped]
from mrcfile.utils import data_dtype_from_header  # type: ignore[import-untyped]

from cryores_lite.errors import CryoresError, InputError, MapNotFound, OutputError
from cryores_lite.types import Density, Grid, Lengths, Shape, Volume

Floats: TypeAlias = tuple[float, float, float]
Ints: TypeAlias = tuple[int, int, int]
StrPath: TypeAlias = "str | os.PathLike[str]"

VOXEL_SIZES = (0.3, 10.0)  # Å; finer or coarser is a header in other units, or no cryo-EM map
MAX_AXIS_RATIO = 1.01
MAX_NON_FINITE = 0.01  # of all voxels
ITEM_SIZES = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}  # mode: bytes
OTHER_MODES = {3: "complex int16", 4: "complex float32", 101: "4-bit"}
CHUNK = 1 << 24


@dataclass(frozen=True)
class Header:
    """The words that place a map in space, kept so that the answer lands on it (MRC2014 words in brackets)."""

    cella: Floats  # Å, (x, y, z) [11-13]; the voxel size is cella / m, also in crops, where m is not the shape
    cellb: Floats  # degrees [14-16]
    m: Ints  # voxels per cell, (x, y, z) [8-10]
    nstart: Ints  # voxels, (columns, rows, sections) [5-7]
    axes: Ints  # which of 1 = x, 2 = y, 3 = z are the columns, rows, sections [17-19]
    origin: Floats  # Å, (x, y, z) [50-52]


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
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or error
        raise _refusal(path, "file", found, "a readable, whole file", "fetch it again or unlock it") from error


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
    temporary = path.with_name(f".cryores_lite-{secrets.token_hex(6)}.tmp")
    try:
        if not overwrite and os.path.lexists(path):
            raise FileExistsError
        with temporary.open("xb") as stream:  # the umask applies, as to any new file
            stored = np.asarray(values)
            stored = stored if stored.dtype == bool else stored.astype(np.float32, copy=False)
            _Writer(stream, stored, header, label, voxel_size)
            os.fsync(stream.fileno())
        temporary.replace(path)
    except FileExistsError:
        raise OutputError(
            str(path), found="a file", expected="a free name", try_="move it or allow overwriting"
        ) from None
    except OSError as error:
        found = error.strerror or error
        try_ = "check the folder, its permissions and the space left"
        raise OutputError(str(path), found=found, expected="to write it", try_=try_) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def extent(path: StrPath) -> tuple[Shape, int]:
    """Tell the shape of a map, and the bytes that it takes in memory once read: 0 if it is mapped from its file."""
    with Path(path).open("rb") as file, _unpacked(file) as stream:
        words = _read_words(Path(path), stream)
        held = stream is not file or data_dtype_from_header(words) != np.float32
    return (shape := _check_words(Path(path), words)[0]), 4 * math.prod(shape) * held


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
        shape = _shape_xyz(header.axes, values.shape)
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
        _check_range(path, (voxel_size,) * 3)
    if Path(map_stem(path)).suffix.lower() == ".mrcs":
        raise _refusal(path, "kind", "a stack of images (.mrcs)", "a volume", "pass the reconstructed map")
    if path.exists() and not path.is_file():  # a pipe would block for ever
        kind = "a folder" if path.is_dir() else "no regular file"
        raise _refusal(path, "file", kind, "an MRC file", "pass one .mrc, .map or .ccp4 file")
    with path.open("rb") as file, _unpacked(file) as stream:
        words = _read_words(path, stream)
        shape, size = _check_words(path, words)
        length = os.fstat(file.fileno()).st_size
        if stream is file and length < size:
            raise _truncated(path, length, size)
        header, notes = _header(path, words)
        grid, more = _grid(path, header, shape, int(words.ispg), voxel_size)
        notes += more
        if stream is file:  # its pages are read when they are looked at, and can be let go
            stored: npt.NDArray[Any] = np.memmap(
                file, data_dtype_from_header(words), "c", 1024 + int(words.nsymbt), shape
            )
            surplus = length - size
        else:
            stream.seek(0)
            stored = _Reader(stream).data
            if stored is None:
                raise _truncated(path, stream.tell(), size)
            surplus = sum(len(chunk) for chunk in iter(lambda: stream.read(CHUNK), b""))  # reaches the checksum
    if surplus:
        notes.append(f"The file is {surplus} bytes longer than its header says; the end was ignored.")
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


def _read_words(path: Path, stream: IO[bytes]) -> Any:
    try:
        return _Reader(stream, header_only=True).header
    except ValueError:
        raise _refusal(path, "file", f"{stream.tell()} bytes", "an MRC map (1024 or more)", "fetch it again") from None


def _check_words(path: Path, words: Any) -> tuple[Shape, int]:
    """Refuse what is no volume; return the shape and the bytes that such a file must have."""
    mode, ispg, nsymbt = int(words.mode), int(words.ispg), int(words.nsymbt)
    shape = (int(words.nz), int(words.ny), int(words.nx))
    size = "{2} x {1} x {0} voxels".format(*shape)
    mode_name = f"{mode} ({OTHER_MODES.get(mode, 'unknown')})"
    signed = bytes(words.map)[:3] == b"MAP"  # missing in files older than MRC2000
    is_mrc = nsymbt >= 0 and (signed or (mode in ITEM_SIZES and min(shape) > 0))
    for right, *refusal in (
        (is_mrc, "format", "no MRC header", "an MRC/CCP4 map", "convert it to .mrc"),
        (mode in ITEM_SIZES, "mode", mode_name, "0, 1, 2, 6 or 12", "save it as 32-bit float (mode 2)"),
        (min(shape) > 0, "size", size, "1 or more on each axis", "fetch it again"),
        (min(shape) > 1, "size", size, "a three-dimensional map", "pass the volume, not a projection or slice"),
        (ispg < 401, "kind", f"a stack of volumes (ISPG {ispg})", "one volume", "pass its volumes one by one"),
    ):
        if not right:
            raise _refusal(path, *refusal)
    return shape, 1024 + nsymbt + math.prod(shape) * ITEM_SIZES[mode]


def _header(path: Path, words: Any) -> tuple[Header, list[str]]:
    axes, notes = (int(words.mapc), int(words.mapr), int(words.maps)), []
    if axes == (0, 0, 0):
        axes = (1, 2, 3)
        notes.append("The header gives no axis order; columns, rows and sections were taken as X, Y and Z.")
    if sorted(axes) != [1, 2, 3]:
        raise _refusal(path, "axis order", axes, "1, 2 and 3 in any order", "repair MAPC, MAPR and MAPS")
    header = Header(
        cella=words.cella.item(),
        cellb=words.cellb.item(),
        m=(int(words.mx), int(words.my), int(words.mz)),
        nstart=(int(words.nxstart), int(words.nystart), int(words.nzstart)),
        axes=axes,
        origin=words.origin.item(),
    )
    if header.cellb != (0, 0, 0) and not all(abs(angle - 90) < 0.1 for angle in header.cellb):
        found = "{:g}, {:g}, {:g} degrees".format(*header.cellb)
        raise _refusal(path, "cell angles", found, "90, 90, 90", "resample it on an orthogonal grid")
    return header, notes


def _grid(path: Path, header: Header, shape: Shape, ispg: int, voxel_size: float | None) -> tuple[Grid, list[str]]:
    """Voxel sizes as the header gives them, unless it lies or `voxel_size` overrides it."""
    if voxel_size is not None:
        return Grid(shape, (voxel_size,) * 3), []
    notes = []
    x, y, z = (a / m if m > 0 else math.nan for a, m in zip(header.cella, header.m, strict=True))
    sections = _shape_xyz(header.axes, shape)[2]
    if header.m[2] == 1 and math.isclose(z, sections * x, rel_tol=0.01):
        notes.append(f"The header is that of a stack (MZ is 1, Z voxels of {z:g} Å); {x:g} Å was taken for Z too.")
        z = x
    elif header.m[2] == 1 and ispg == 0:
        found = f"a stack of {sections} images (ISPG 0, MZ 1)"
        raise _refusal(path, "kind", found, "a volume", "pass the map, or --voxel-size if this is one")
    sizes = (x, y, z)
    _check_range(path, sizes)
    if max(sizes) > MAX_AXIS_RATIO * min(sizes):
        found = "{:.4g}, {:.4g}, {:.4g} Å in x, y, z".format(*sizes)
        raise _refusal(path, "voxel size", found, "equal axes within 1 %", "pass the true one with --voxel-size")
    if sizes == (1, 1, 1):
        notes.append("The voxel size is exactly 1 Å, which often means unknown; if so, pass --voxel-size.")
    column, row, section = (sizes[axis - 1] for axis in header.axes)
    return Grid(shape, (section, row, column)), notes


def _check_range(path: Path, sizes: Lengths) -> None:
    low, high = VOXEL_SIZES
    if not all(low <= size <= high for size in sizes):  # NaN too
        found = "{:.4g}, {:.4g}, {:.4g} Å in x, y, z".format(*sizes)
        raise _refusal(path, "voxel size", found, f"{low:g} to {high:g} Å", "pass the true one with --voxel-size")


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
    finite = [np.isfinite(plane) for plane in values]
    bad, notes = values.size - sum(int(np.count_nonzero(plane)) for plane in finite), []
    if bad > MAX_NON_FINITE * values.size:
        found = f"{bad} of {values.size} voxels not finite"
        raise _refusal(path, "values", found, "at most 1 %", "compute the map again")
    if bad:
        values, whole = np.array(values), np.stack(finite)
        values[~whole] = np.median(values[whole])
        notes.append(f"{bad} voxels were NaN or infinite and were replaced by the median.")
    if all((plane == values.flat[0]).all() for plane in values):
        raise _refusal(path, "values", f"{values.flat[0]:g} everywhere", "a density", "compute the map again")
    return values, notes


def _shape_xyz(axes: Ints, shape: tuple[int, ...]) -> Ints:
    """Voxels along X, Y, Z of a (sections, rows, columns) shape."""
    along = dict(zip(axes, reversed(shape), strict=True))
    return along[1], along[2], along[3]


def _truncated(path: Path, found: int, expected: int) -> InputError:
    return _refusal(path, "size", f"{found} bytes", f"{expected} from its header", "it is cut short: fetch it again")


def _refusal(path: Path, what: str, found: object, expected: object, try_: str) -> InputError:
    return InputError(f"{path.name}, {what}", found=found, expected=expected, try_=try_)
