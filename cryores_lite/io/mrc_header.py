"""The header of an MRC map: checks of its fields, the grid that it describes, and the position of the voxels.

Headers are often wrong, so every field is checked before it is used. This module reads no file, and allocates no
memory of a size that a header claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.types import VOXEL_SIZE_RANGE, Grid, Lengths, Shape, is_voxel_size

Floats: TypeAlias = tuple[float, float, float]
Ints: TypeAlias = tuple[int, int, int]
Record: TypeAlias = Any  # an MRC header as mrcfile gives it: a NumPy record in the byte order of the file

ROTATION_LABEL = "Chimera rotation: "
COMPRESSED_SUFFIXES = (".gz", ".bz2")
MAX_VOXEL_SIZE_RATIO = 1.01  # of the longest to the shortest axis
REAL_MODES = (0, 1, 2, 6, 12)  # int8, int16, float32, uint16, float16
OTHER_MODES = {3: "complex int16", 4: "complex float32", 101: "4-bit"}
FIRST_STACK_SPACE_GROUP = 401  # ISPG of stacks of volumes in MRC2014
MAX_ANGLE_ERROR = 0.1  # degrees, from a right angle
SAME_POSITION = 0.01  # Å
FILE_SIGNATURES = {  # of files that users pass by mistake
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


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header fields that place a map in space, copied to all outputs (numbers of MRC2014 words in brackets)."""

    cella: Floats  # Å, (x, y, z) [11-13]; the voxel size is cella / m, also in crops, where m is not the shape
    cellb: Floats  # degrees [14-16]
    m: Ints  # voxels per cell, (x, y, z) [8-10]
    nstart: Ints  # voxels, (columns, rows, sections) [5-7]
    axes: Ints  # which of 1 = x, 2 = y, 3 = z are the columns, rows, sections [17-19]
    origin: Floats  # Å, (x, y, z) [50-52]
    shape: Shape | None = None  # (sections, rows, columns) [1-3]; None: of any map
    rotation_label: str = ""  # of Chimera and ChimeraX: axis (x, y, z) and degrees, about the first voxel [57-256]


def check_record(path: Path, record: Record) -> Shape:
    """Return the shape of the volume; refuse a file that is not a volume of real numbers."""
    mode, ispg, nsymbt = int(record.mode), int(record.ispg), int(record.nsymbt)
    shape = (int(record.nz), int(record.ny), int(record.nx))
    size = "{2} x {1} x {0} voxels".format(*shape)
    mode_name = f"{mode} ({OTHER_MODES.get(mode, 'unknown')})"
    has_map_id = bytes(record.map)[:3] == b"MAP"  # missing in files older than MRC2000
    is_mrc = nsymbt >= 0 and (has_map_id or (mode in REAL_MODES and min(shape) > 0))
    is_one_volume = ispg < FIRST_STACK_SPACE_GROUP or int(record.mz) == shape[0]  # MZ is the sections of a volume
    stack = f"a stack of volumes (ISPG {ispg}, {shape[0]} sections, MZ {int(record.mz)})"
    for is_right, *message in (
        (is_mrc, "format", "an unknown header", "an MRC/CCP4 map", "convert it to .mrc"),
        (mode in REAL_MODES, "mode", mode_name, "0, 1, 2, 6 or 12", "save it as 32-bit float (mode 2)"),
        (min(shape) > 0, "size", size, "1 or more on each axis", "download it again"),
        (min(shape) > 1, "size", size, "a three-dimensional map", "pass the volume, not a projection or slice"),
        (is_one_volume, "kind", stack, "one volume", "pass its volumes one by one"),
    ):
        if not is_right:
            raise input_error(path, *message)
    return shape


def header_from_record(path: Path, record: Record) -> tuple[Header, list[str]]:
    """Return the fields that place a map, and warnings; refuse a cell that is not orthogonal."""
    axes, warnings = (int(record.mapc), int(record.mapr), int(record.maps)), []
    if axes == (0, 0, 0):
        axes = (1, 2, 3)
        warnings.append("The header has no axis order (MAPC, MAPR, MAPS are 0); X, Y, Z was assumed.")
    if sorted(axes) != [1, 2, 3]:
        raise input_error(path, "axis order", axes, "1, 2 and 3 in any order", "repair MAPC, MAPR and MAPS")
    angles, angle_warnings = _cell_angles(path, record.cellb.item())
    header = Header(
        cella=record.cella.item(),
        cellb=angles,
        m=(int(record.mx), int(record.my), int(record.mz)),
        nstart=(int(record.nxstart), int(record.nystart), int(record.nzstart)),
        axes=axes,
        origin=record.origin.item(),
        shape=(int(record.nz), int(record.ny), int(record.nx)),
        rotation_label=_rotation_label(record),
    )
    return header, [*warnings, *angle_warnings]


def _cell_angles(path: Path, stored: Floats) -> tuple[Floats, list[str]]:
    """Return the angles of the cell (degrees); 0 beside right angles is 90, with a warning, and no angles stay 0."""
    text = "{:g}, {:g}, {:g}".format(*stored)
    if not all(angle == 0 or abs(angle - 90) < MAX_ANGLE_ERROR for angle in stored):
        try_ = "resample it on an orthogonal grid"
        raise input_error(path, "cell angles", f"{text} degrees", "90, 90, 90", try_)
    if all(stored) or not any(stored):
        return stored, []
    alpha, beta, gamma = (angle or 90.0 for angle in stored)
    warning = f"The cell angles in the header are {text} degrees; 0 was read as 90, and is 90 in the output files."
    return (alpha, beta, gamma), [warning]


def _rotation_label(record: Record) -> str:
    """Return the label that rotates the map in ChimeraX, or an empty text."""
    labels = (bytes(label).decode("ascii", "replace").rstrip("\0 ") for label in record.label)
    matching = (label for label in labels if label.startswith(ROTATION_LABEL) and _rotation(label) is not None)
    return next(matching, "")


def _rotation(label: str) -> npt.NDArray[np.float64] | None:
    """Return the rotation matrix (for x, y, z) of a label, or None if it has no axis and angle."""
    try:
        *axis, degrees = (float(word) for word in label.removeprefix(ROTATION_LABEL).split())
    except ValueError:
        return None
    length = math.hypot(*axis)
    if len(axis) != 3 or not (0 < length < math.inf and math.isfinite(degrees)):
        return None
    from scipy.spatial.transform import Rotation

    matrix: npt.NDArray[np.float64] = Rotation.from_rotvec(np.array(axis) / length * math.radians(degrees)).as_matrix()
    return matrix


def grid_from_header(
    path: Path, header: Header, shape: Shape, ispg: int, voxel_size: float | None
) -> tuple[Grid, list[str]]:
    """Return the grid with the header's voxel sizes, or the given one, and warnings; refuse implausible sizes.

    Parameters
    ----------
    path : file of the map, for messages
    header : header of the map
    shape : (sections, rows, columns), voxels
    ispg : space group; 0 in a stack of images
    voxel_size : Å, from the user; then the header is not used
    """
    if voxel_size is not None:
        return Grid(shape, (voxel_size,) * 3), []
    warnings = []
    x, y, z = (a / m if m > 0 else math.nan for a, m in zip(header.cella, header.m, strict=True))
    sections = shape_xyz(header.axes, shape)[2]
    if header.m[2] == 1 and math.isclose(z, sections * x, rel_tol=0.01):
        warnings.append(
            f"The header describes a stack (MZ 1, {z:g} Å along Z); the voxel size along X, {x:g} Å, was used for Z."
        )
        z = x
    elif header.m[2] == 1 and ispg == 0:
        kind = f"a stack of {sections} images (ISPG 0, MZ 1)"
        raise input_error(path, "kind", kind, "a volume", "pass the map, or --voxel-size if this is one")
    sizes = (x, y, z)
    check_voxel_sizes(path, sizes)
    if max(sizes) > MAX_VOXEL_SIZE_RATIO * min(sizes):
        text = "{:.4g}, {:.4g}, {:.4g} Å in x, y, z".format(*sizes)
        raise input_error(path, "voxel size", text, "equal axes within 1 %", "pass the true one with --voxel-size")
    if sizes == (1, 1, 1):
        warnings.append("The voxel size is exactly 1 Å, which often means unknown; if so, pass --voxel-size.")
    column, row, section = (sizes[axis - 1] for axis in header.axes)
    return Grid(shape, (section, row, column)), warnings


def check_voxel_sizes(path: Path, sizes: Lengths) -> None:
    """Refuse voxel sizes (Å) outside the range of cryo-EM maps."""
    if not all(isinstance(size, Real) and is_voxel_size(float(size)) for size in sizes):
        low, high = VOXEL_SIZE_RANGE
        text = f"{', '.join(_number(size) for size in sizes)} Å in x, y, z"
        raise input_error(path, "voxel size", text, f"{low:g} to {high:g} Å", "pass the true one with --voxel-size")


def _number(size: object) -> str:
    if not isinstance(size, Real):
        return repr(size)
    return "unknown" if math.isnan(size) else f"{size:.4g}"


def other_file_kind(start: bytes) -> str | None:
    """Return the kind of a file that is not a map, from its first 1024 bytes; None for a map or an unknown kind."""
    if start[208:211] == b"MAP":
        return None
    for signature, kind in FILE_SIGNATURES.items():
        if start.startswith(signature):
            return kind
    is_text = start.strip() and all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    return "a text file" if is_text else None


def input_error(path: Path, property_: str, found: object, expected: object, try_: str) -> InputError:
    """Return the error for a property of a map that cannot be used."""
    return InputError(f"{path.name}, {property_}", found=found, expected=expected, try_=try_)


def truncation_error(path: Path, length: int, expected: int) -> InputError:
    """Return the error for a file that is shorter (bytes) than its header says."""
    return input_error(
        path, "size", f"{length} bytes", f"{expected} from its header", "it is truncated: download it again"
    )


def shape_xyz(axes: Ints, shape: tuple[int, ...]) -> Ints:
    """Return the voxels along x, y, z of a (sections, rows, columns) shape."""
    voxels = dict(zip(axes, reversed(shape), strict=True))
    return voxels[1], voxels[2], voxels[3]


def to_voxel_coordinates(
    positions: npt.NDArray[np.float64], header: Header, voxel_size: Lengths, path: Path
) -> npt.NDArray[np.float64]:
    """Convert positions in space to coordinates in the array of a map, as ChimeraX places it.

    Parameters
    ----------
    positions : (n, 3), Å, in the order x, y, z
    header : header of the map, for NSTART, ORIGIN and the order of axes
    voxel_size : Å, along the axes of the array
    path : file of the map, for its suffix

    Returns
    -------
    (n, 3), voxels along the axes of the array as stored; voxel (0, 0, 0) has its centre at 0
    """
    stored_axes = [axis - 1 for axis in reversed(header.axes)]  # which of x, y, z are sections, rows and columns
    start = np.array(first_voxel(header, voxel_size, path))
    matrix = _rotation(header.rotation_label) if header.rotation_label else None
    from_start = positions - start if matrix is None else (positions - start) @ matrix  # the inverse of the rotation
    coordinates: npt.NDArray[np.float64] = from_start[:, stored_axes] / np.array(voxel_size)
    return coordinates


def placement_warning(header: Header, voxel_size: Lengths, path: Path) -> str | None:
    """Return a warning if NSTART and ORIGIN place the map differently."""
    from_start = _position_from_start(header, voxel_size)
    if not _has_origin(header) or all(
        abs(a - b) <= SAME_POSITION for a, b in zip(from_start, header.origin, strict=True)
    ):
        return None
    if not is_placed_by_start(path) and not any(header.nstart):
        return None
    used = "NSTART" if is_placed_by_start(path) else "ORIGIN"
    return f"ORIGIN and NSTART place the map differently; {used} was used, as ChimeraX does for {path.suffix} files."


def has_voxel_size(header: Header, voxel_size: float) -> bool:
    """Whether a header gives this voxel size (Å) for all axes, to the digits of its 32-bit numbers."""
    return all(
        m > 0 and math.isclose(a / m, voxel_size, rel_tol=1e-6) for a, m in zip(header.cella, header.m, strict=True)
    )


def is_placed_by_origin(header: Header, path: Path) -> bool:
    """Whether ChimeraX places a map by ORIGIN (Å), and not by NSTART (voxels)."""
    return _has_origin(header) and not is_placed_by_start(path)


def is_placed_by_start(path: Path) -> bool:
    """Return whether ChimeraX places a file of this name by NSTART alone: .map and .ccp4, where it ignores ORIGIN."""
    uncompressed = path.with_suffix("") if path.suffix.lower() in COMPRESSED_SUFFIXES else path
    return uncompressed.suffix.lower() in (".map", ".ccp4")


def has_position(header: Header) -> bool:
    """Whether a header places its map anywhere: ORIGIN or NSTART is not 0."""
    return _has_origin(header) or any(header.nstart)


def first_voxel(header: Header, voxel_size: Lengths, path: Path) -> Floats:
    """Position (x, y, z) of the first voxel in Å, as ChimeraX places a file of this name."""
    uses_start = not is_placed_by_origin(header, path)
    return _position_from_start(header, voxel_size) if uses_start else header.origin


def _has_origin(header: Header) -> bool:
    return any(header.origin) and all(map(math.isfinite, header.origin))


def _position_from_start(header: Header, voxel_size: Lengths) -> Floats:
    """Position (x, y, z) of the first voxel, in Å; NSTART is in columns, rows, sections, voxel sizes the reverse."""
    position = {a: n * v for a, n, v in zip(header.axes, header.nstart, reversed(voxel_size), strict=True)}
    return position[1], position[2], position[3]
