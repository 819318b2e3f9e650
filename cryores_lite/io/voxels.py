"""Read the voxels of an MRC file whose header is known, and convert them to finite float32 values."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.io.mrc_header import Record, input_error, truncation_error
from cryores_lite.types import Mask, Shape, Volume, check_spread

Stored: TypeAlias = npt.NDArray[Any]  # voxels in the data type of the file

HEADER_SIZE = 1024  # bytes
MAX_NON_FINITE_FRACTION = 0.01  # of voxels that are not outside a mask
CORNER_DEPTH = 4  # voxels, of narrow corners between two bodies
MIN_PIECE = 0.9  # share of the finite voxels that are connected, in a map whose outside is not finite
CHUNK_SIZE = 1 << 24  # bytes
MAX_SURPLUS = 1 << 26  # bytes beyond the map in a compressed file, if the map is not larger itself
IMOD_STAMP = 0x444F4D49  # "IMOD"


@dataclass(frozen=True)
class DataBlock:
    """The voxels in an uncompressed MRC file, as its header describes them."""

    offset: int  # bytes: the header and the extended header
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def without_extended_header(self) -> DataBlock:
        """The same voxels right behind the header: files made from the header of another map may lack the rest."""
        return replace(self, offset=HEADER_SIZE)

    @property
    def end(self) -> int:
        """Bytes from the start of the file to the end of the voxels."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def map_voxels(file: IO[bytes], data: DataBlock) -> tuple[Stored, int]:
    """Memory-map the voxels: pages are loaded on access and can be released. Also return the bytes after the voxels."""
    surplus = os.fstat(file.fileno()).st_size - data.end
    stored: Stored = np.memmap(file, data.dtype, "c", data.offset if surplus >= 0 else HEADER_SIZE, data.shape)
    return stored, surplus


def read_voxels(path: Path, stream: IO[bytes], data: DataBlock) -> tuple[Stored, int]:
    """Read the voxels of a compressed file, and the stream to its end, where the checksum is verified.

    Also return the number of bytes after the voxels, negative if the extended header is missing. Memory grows with the
    content of the stream, not with the size in the header. A stream without end is refused.
    """
    extended_header, raw = bytearray(), bytearray()
    for chunk in _chunks(stream, data.offset - HEADER_SIZE):
        if len(extended_header) <= data.end - data.offset:  # more bytes than voxels cannot be the voxels
            extended_header += chunk
    for chunk in _chunks(stream, data.end - data.offset):
        raw += chunk
    if extended_header and stream.tell() == data.without_extended_header.end:
        return np.frombuffer(extended_header + raw, data.dtype).reshape(data.shape), stream.tell() - data.end
    if stream.tell() < data.end:
        raise truncation_error(path, stream.tell(), data.end)
    surplus = 0
    while chunk := stream.read(CHUNK_SIZE):
        surplus += len(chunk)
        if surplus > max(data.end, MAX_SURPLUS):
            found = f"more than {data.end + surplus} bytes when unpacked"
            raise input_error(
                path, "size", found, f"{data.end} from its header", "download it again or repair the header"
            )
    return np.frombuffer(raw, data.dtype).reshape(data.shape), surplus


def _chunks(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next `size` bytes of a stream, or all that are left."""
    while size > 0 and (chunk := stream.read(min(CHUNK_SIZE, size))):
        size -= len(chunk)
        yield chunk


def surplus_warning(surplus: int) -> list[str]:
    """Warn of bytes after the voxels, or of an extended header that is missing (negative)."""
    if not surplus:
        return []
    if surplus < 0:
        return [
            f"The header has an extended header of {-surplus} bytes (NSYMBT) that is not in the file: it was ignored."
        ]
    message = f"The file is {surplus} bytes longer than its header says; the last bytes were ignored."
    return [f"{message} If NSYMBT is wrong in the header, the map is shifted."]


def with_sign(stored: Stored, record: Record) -> tuple[Stored, list[str]]:
    """Interpret mode 0 as signed, unless the IMOD stamp (bytes 152-159) says otherwise; warn if it looks unsigned.

    https://bio3d.colorado.edu/imod/doc/mrc_format.txt
    """
    if record.mode != 0:
        return stored, []
    order = record.dtype["mode"].byteorder
    stamp, flags = np.frombuffer(bytes(record.extra2), np.dtype("i4").newbyteorder(order), count=2, offset=40)
    unsigned = stored.view(np.uint8)
    if stamp == IMOD_STAMP:
        return (
            (stored, []) if flags & 1 else (unsigned, ["Voxels were read as unsigned bytes, as the IMOD stamp says."])
        )
    if _roughness(unsigned) < _roughness(stored):
        return stored, ["Voxels were read as signed bytes (mode 0) but look unsigned; save the map in mode 2."]
    return stored, []


def _roughness(values: Stored) -> int:
    return int(np.abs(np.diff(values.astype(np.int16), axis=2)).sum(dtype=np.int64))


def finite_float32(path: Path, stored: Stored) -> tuple[Volume, list[str]]:
    """Convert voxels to float32; fill the non-finite ones outside a mask, and replace a few others by the median."""
    values: Volume = stored.astype(np.float32, copy=False)
    warnings: list[str] = []
    if any(not np.isfinite(plane).all() for plane in values):
        values, warnings = _without_non_finite(path, values)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        raise input_error(path, "values", f"the value {lowest:g} everywhere", "a density map", "recompute the map")
    check_spread(lowest, highest, path.name)
    return values, warnings


def _without_non_finite(path: Path, values: Volume) -> tuple[Volume, list[str]]:
    is_finite, few = np.isfinite(values), MAX_NON_FINITE_FRACTION * values.size
    warnings, count = [], values.size - int(np.count_nonzero(is_finite))
    if few < count < values.size:
        outside = outside_voxels(~is_finite)
        filled = int(np.count_nonzero(outside))
        if filled and count - filled <= few and is_one_piece(is_finite):
            level = median_beside(values, is_finite, outside)
            values = np.where(outside, level, values)
            is_finite |= outside
            count -= filled
            warnings.append(
                f"{filled} voxels ({filled / values.size:.0%}) outside the density were NaN or infinite and were "
                f"filled with {level:.4g}, the median of the voxels beside them."
            )
    if count > few:
        found = f"{count} of {values.size} voxels not finite"
        raise input_error(path, "values", found, "at most 1 %, or all outside a mask", "recompute the map")
    if count:
        values = np.where(is_finite, values, np.median(values[is_finite]))
        warnings.append(f"{count} voxels were NaN or infinite and were replaced by the median.")
    return values, warnings


def outside_voxels(non_finite: Mask) -> Mask:
    """Find the voxels around the density: they reach a face of the box in a region that is nowhere thin.

    All that lies outside a sphere, a cylinder or another convex body is found, and the narrow corners between two
    bodies. Damaged slices, rows and single voxels are not.

    Parameters
    ----------
    non_finite : (z, y, x) bool
    """
    margin = 2  # beyond the faces all is outside, so that a layer of one voxel at a face is wide enough
    padded = np.pad(non_finite, margin, constant_values=True).astype(np.uint8)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(padded, 3, mode="nearest"), 3, mode="nearest")
    pieces, _ = ndimage.label(opened)
    around = ndimage.binary_dilation(pieces == pieces[0, 0, 0], iterations=CORNER_DEPTH, mask=padded > 0)
    outside: Mask = around[(slice(margin, -margin),) * 3]
    return outside


def is_one_piece(inside: Mask) -> bool:
    """Return whether nearly all voxels of a mask are connected: damaged slices would divide them."""
    sizes = np.bincount(ndimage.label(inside)[0].ravel())[1:]
    return bool(sizes.max() >= MIN_PIECE * sizes.sum())


def median_beside(values: Volume, is_finite: Mask, outside: Mask) -> np.float32:
    """Return the median of the finite voxels that touch the voxels outside."""
    beside = is_finite & ndimage.binary_dilation(outside)
    return np.float32(np.median(values[beside]))
