"""Interpolate fields over the periodic box back to the voxels of the crop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.interpolation import interpolate, voxel_positions
from cryores_lite.fourier.spectrum import chunks
from cryores_lite.method.prepare import Frame
from cryores_lite.types import Volume


def for_each_chunk(frame: Frame, use: Callable[..., None], threads: int, *fields: npt.NDArray[np.generic]) -> None:
    """Interpolate fields over the periodic box at the voxels of the crop, chunk by chunk.

    Interpolation is linear, which adds no ringing. `use` is called with a slice along z and each field's planes in it.
    """
    crop = frame.box.shape
    positions = [voxel_positions(crop, frame.before, frame.padded_shape, field.shape) for field in fields]

    def interpolate_part(part: slice) -> None:
        planes = (
            interpolate(field[None], (z[part], y, x))[0] for field, (z, y, x) in zip(fields, positions, strict=True)
        )
        use(part, *planes)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(interpolate_part, chunks(crop)))


def resample_to_crop(frame: Frame, *fields: npt.NDArray[np.generic]) -> list[Volume]:
    """Interpolate coarse fields over the periodic box at all voxels of the crop."""
    resampled = [np.empty(frame.box.shape, np.float32) for _ in fields]

    def store(part: slice, *planes: Volume) -> None:
        for values, plane in zip(resampled, planes, strict=True):
            values[part] = plane

    for_each_chunk(frame, store, 1, *fields)
    return resampled
