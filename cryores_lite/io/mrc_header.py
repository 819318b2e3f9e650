"""What a header says, believed only as far as it can be: its words in, a grid and where it lies out.

Nothing is read from disk here, and nothing of the size that a header claims is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.types import Grid, Lengths, Shape

Floats: TypeAlias = tuple[float, float, float]
Ints: TypeAlias = tuple[int, int, int]
VOXEL_SIZES = (0.3, 10.0)  # Å; finer or coarser is a header in other units, or no cryo-EM map
MAX_AXIS_RATIO = 1.01
REAL_MODES = (0, 1, 2, 6, 12)  # int8, int16, float32, uint16, float16
OTHER_MODES = {3: "complex int16", 4: "complex float32", 101: "4-bit"}
MAGICS = {  # how files start that are given for maps
    b"version https://git-lfs": "a Git LFS pointer",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x1f\x8b": "gzip within gzip",
    b"BZh": "bzip2 within a compressed file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK\x03\x04": "a zip file",
    b"\x93NUMPY": "a NumPy file",
    b"II*\0": "a TIFF file",
    b"MM\0*": "a TIFF file",
    b"\x89PNG": "a PNG picture",
    b"%PDF": "a PDF file",
}
SAME = 0.01  # Å: places nearer than that are the same


@dataclass(frozen=True)
class Header:
    """The words that place a map in space, kept so that the answer lands on it (MRC2014 words in brackets)."""

    cella: Floats  # Å, (x, y, z) [11-13]; the voxel size is cella / m, also in crops, where m is not the shape
    cellb: Floats  # degrees [14-16]
    m: Ints  # voxels per cell, (x, y, z) [8-10]
    nstart: Ints  # voxels, (columns, rows, sections) [5-7]
    axes: Ints  # which of 1 = x, 2 = y, 3 = z are the columns, rows, sections [17-19]
    origin: Floats  # Å, (x, y, z) [50-52]


def check_words(path: Path, words: Any) -> Shape:
    """Return the shape of the volume; refuse what is not a volume of real numbers."""
    mode, ispg, nsymbt = int(words.mode), int(words.ispg), int(words.nsymbt)
    shape = (int(words.nz), int(words.ny), int(words.nx))
    size = "{2} x {1} x {0} voxels".format(*shape)
    mode_name = f"{mode} ({OTHER_MODES.get(mode, 'unknown')})"
    signed = bytes(words.map)[:3] == b"MAP"  # missing in files older than MRC2000
    is_mrc = nsymbt >= 0 and (signed or (mode in REAL_MODES and min(shape) > 0))
    for right, *told in (
        (is_mrc, "format", "no MRC header", "an MRC/CCP4 map", "convert it to .mrc"),
        (mode in REAL_MODES, "mode", mode_name, "0, 1, 2, 6 or 12", "save it as 32-bit float (mode 2)"),
        (min(shape) > 0, "size", size, "1 or more on each axis", "fetch it again"),
        (min(shape) > 1, "size", size, "a three-dimensional map", "pass the volume, not a projection or slice"),
        (ispg < 401, "kind", f"a stack of volumes (ISPG {ispg})", "one volume", "pass its volumes one by one"),
    ):
        if not right:
            raise refusal(path, *told)
    return shape


def header_of(path: Path, words: Any) -> tuple[Header, list[str]]:
    """Keep the words that place a map, if they make an orthogonal cell."""
    axes, notes = (int(words.mapc), int(words.mapr), int(words.maps)), []
    if axes == (0, 0, 0):
        axes = (1, 2, 3)
        notes.append("The header gives no axis order; columns, rows and sections were taken as X, Y and Z.")
    if sorted(axes) != [1, 2, 3]:
        raise refusal(path, "axis order", axes, "1, 2 and 3 in any order", "repair MAPC, MAPR and MAPS")
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
        raise refusal(path, "cell angles", found, "90, 90, 90", "resample it on an orthogonal grid")
    return header, notes


def grid_of(path: Path, header: Header, shape: Shape, ispg: int, voxel_size: float | None) -> tuple[Grid, list[str]]:
    """Voxel sizes as the header gives them, unless it lies or `voxel_size` overrides it."""
    if voxel_size is not None:
        return Grid(shape, (voxel_size,) * 3), []
    notes = []
    x, y, z = (a / m if m > 0 else math.nan for a, m in zip(header.cella, header.m, strict=True))
    sections = shape_xyz(header.axes, shape)[2]
    if header.m[2] == 1 and math.isclose(z, sections * x, rel_tol=0.01):
        notes.append(f"The header is that of a stack (MZ is 1, Z voxels of {z:g} Å); {x:g} Å was taken for Z too.")
        z = x
    elif header.m[2] == 1 and ispg == 0:
        found = f"a stack of {sections} images (ISPG 0, MZ 1)"
        raise refusal(path, "kind", found, "a volume", "pass the map, or --voxel-size if this is one")
    sizes = (x, y, z)
    check_range(path, sizes)
    if max(sizes) > MAX_AXIS_RATIO * min(sizes):
        found = "{:.4g}, {:.4g}, {:.4g} Å in x, y, z".format(*sizes)
        raise refusal(path, "voxel size", found, "equal axes within 1 %", "pass the true one with --voxel-size")
    if sizes == (1, 1, 1):
        notes.append("The voxel size is exactly 1 Å, which often means unknown; if so, pass --voxel-size.")
    column, row, section = (sizes[axis - 1] for axis in header.axes)
    return Grid(shape, (section, row, column)), notes


def check_range(path: Path, sizes: Lengths) -> None:
    """Refuse voxel sizes in Å that are none of a cryo-EM map."""
    low, high = VOXEL_SIZES
    if not all(low <= size <= high for size in sizes):  # NaN too
        found = "{:.4g}, {:.4g}, {:.4g} Å in x, y, z".format(*sizes)
        raise refusal(path, "voxel size", found, f"{low:g} to {high:g} Å", "pass the true one with --voxel-size")


def kind_of(start: bytes) -> str | None:
    """Name what a file holds that starts so, if it is no map but something well known."""
    if start[208:211] == b"MAP":
        return None
    for magic, kind in MAGICS.items():
        if start.startswith(magic):
            return kind
    is_text = start.strip() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    return "a text" if is_text else None


def shape_xyz(axes: Ints, shape: tuple[int, ...]) -> Ints:
    """Voxels along X, Y, Z of a (sections, rows, columns) shape."""
    along = dict(zip(axes, reversed(shape), strict=True))
    return along[1], along[2], along[3]


def truncated(path: Path, found: int, expected: int) -> InputError:
    """Say that a file is shorter than its header says."""
    return refusal(path, "size", f"{found} bytes", f"{expected} from its header", "it is cut short: fetch it again")


def refusal(path: Path, what: str, found: object, expected: object, try_: str) -> InputError:
    """Say what is wrong with a map."""
    return InputError(f"{path.name}, {what}", found=found, expected=expected, try_=try_)


def is_placed_by_start(path: Path) -> bool:
    """ChimeraX does not even read ORIGIN in a file of that name."""
    plain = path.with_suffix("") if path.suffix.lower() in (".gz", ".bz2") else path
    return plain.suffix.lower() in (".map", ".ccp4")


def in_voxels(
    positions: npt.NDArray[np.float64], header: Header, voxel_size: Lengths, path: Path
) -> npt.NDArray[np.float64]:
    """Where positions lie in the array of a map.

    Parameters
    ----------
    positions : (n, 3), Å, in the order x, y, z
    header : the map's, for NSTART, ORIGIN and the order of axes
    voxel_size : Å, along the axes of the array
    path : the map's, for its suffix

    Returns
    -------
    (n, 3), voxels along the axes of the array as stored; voxel (0, 0, 0) has its centre at 0
    """
    stored = [axis - 1 for axis in reversed(header.axes)]  # which of x, y, z the sections, rows and columns are
    first = np.array(_first_voxel(header, voxel_size, path))
    places: npt.NDArray[np.float64] = (positions - first)[:, stored] / np.array(voxel_size)
    return places


def remark(header: Header, voxel_size: Lengths, path: Path) -> str | None:
    """Tell the user if the header names two places."""
    start = _by_start(header, voxel_size)
    if not _has_origin(header) or all(abs(a - b) <= SAME for a, b in zip(start, header.origin, strict=True)):
        return None
    if not is_placed_by_start(path) and not any(header.nstart):
        return None
    first, other = ("NSTART", "ORIGIN") if is_placed_by_start(path) else ("ORIGIN", "NSTART")
    return f"ORIGIN and NSTART name two places; {first} was taken and not {other}, as ChimeraX does with {path.suffix}."


def _first_voxel(header: Header, voxel_size: Lengths, path: Path) -> Floats:
    by_start = is_placed_by_start(path) or not _has_origin(header)
    return _by_start(header, voxel_size) if by_start else header.origin


def _has_origin(header: Header) -> bool:
    return any(header.origin) and all(map(math.isfinite, header.origin))


def _by_start(header: Header, voxel_size: Lengths) -> Floats:
    """NSTART belongs to columns, rows and sections, the order that the voxel sizes have backwards."""
    along = {a: n * v for a, n, v in zip(header.axes, header.nstart, reversed(voxel_size), strict=True)}
    return along[1], along[2], along[3]
