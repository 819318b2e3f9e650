"""Where a map lies in space, by ChimeraX's rule, since it is there that people see whether a model fits.

Files that end in .map or .ccp4 are placed by NSTART; others by ORIGIN, or by NSTART where ORIGIN is 0 or no number.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryores_lite.header import Floats, Header
from cryores_lite.types import Lengths

SAME = 0.01  # Å: places nearer than that are the same


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
