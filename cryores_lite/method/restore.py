"""Interpolate fields over the periodic box back to the voxels of the crop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import Slices, bounding_slices
from cryores_lite.fourier.interpolation import Positions, interpolate, voxel_positions
from cryores_lite.fourier.spectrum import chunks, for_each
from cryores_lite.method.prepare import Frame
from cryores_lite.types import Mask, Volume


def for_each_chunk(
    frame: Frame, part: Slices, use: Callable[..., None], threads: int, *fields: npt.NDArray[np.generic]
) -> None:
    """Interpolate fields over the periodic box at the voxels of a part of the crop, chunk by chunk.

    Interpolation is linear, which adds no ringing. `use` is called with a slice along z, within the part, and each
    field's planes in it.
    """
    positions = [
        [position[side] for position, side in zip(crop_positions(frame, field.shape), part, strict=True)]
        for field in fields
    ]
    shape = (part[0].stop - part[0].start, part[1].stop - part[1].start, part[2].stop - part[2].start)

    def interpolate_planes(planes: slice) -> None:
        interpolated = (
            interpolate(field[None], (z[planes], y, x))[0] for field, (z, y, x) in zip(fields, positions, strict=True)
        )
        use(planes, *interpolated)

    for_each(interpolate_planes, chunks(shape), threads)


def resample_to_crop(frame: Frame, *fields: npt.NDArray[np.generic]) -> list[Volume]:
    """Interpolate coarse fields over the periodic box at all voxels of the crop."""
    resampled = [np.empty(frame.box.shape, np.float32) for _ in fields]

    def store(part: slice, *planes: Volume) -> None:
        for values, plane in zip(resampled, planes, strict=True):
            values[part] = plane

    z, y, x = (slice(0, n) for n in frame.box.shape)
    for_each_chunk(frame, (z, y, x), store, 1, *fields)
    return resampled


def crop_positions(frame: Frame, grid: tuple[int, ...]) -> tuple[Positions, Positions, Positions]:
    """Return the positions of the crop's voxels on a grid over the periodic box, in its points along each axis."""
    z, y, x = grid
    return voxel_positions(frame.box.shape, frame.before, frame.padded_shape, (z, y, x))


def voxels_near(frame: Frame, points: Mask) -> Slices | None:
    """Return the smallest part of the crop whose voxels are interpolated from any of the marked points; None if none.

    Parameters
    ----------
    points : (z, y, x) bool, on a grid over the periodic box
    """
    box = bounding_slices(points)
    if box is None:
        return None
    z, y, x = (
        slice(int(np.searchsorted(position, side.start - 1, "right")), int(np.searchsorted(position, side.stop)))
        for position, side in zip(crop_positions(frame, points.shape), box, strict=True)
    )
    is_empty = any(side.start >= side.stop for side in (z, y, x))
    return None if is_empty else (z, y, x)
