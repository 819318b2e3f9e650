"""Linear interpolation of fields between their voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.types import Shape, Volume

Positions = npt.NDArray[np.float64]


def voxel_positions(
    crop: Shape, before: Shape, padded_shape: Shape, grid: Shape
) -> tuple[Positions, Positions, Positions]:
    """Return the positions of a crop's voxels on a grid over its periodic box, in grid points along each axis.

    Parameters
    ----------
    crop : voxels of the crop
    before : voxels of padding in front of the crop
    padded_shape : voxels of the periodic box, which is the crop and its padding
    grid : points of the grid
    """
    z, y, x = (
        (np.arange(n, dtype=np.float64) + start) * (m / padded)
        for n, start, m, padded in zip(crop, before, grid, padded_shape, strict=True)
    )
    return z, y, x


def interpolate(values: npt.NDArray[Any], positions: tuple[Positions, ...]) -> Volume:
    """Interpolate fields (channel, z, y, x) at a grid of positions, in voxels along each axis.

    Beyond the ends the last voxel is repeated.
    """
    for axis, position in enumerate(positions, 1):
        n = values.shape[axis]
        position = np.clip(position, 0, n - 1)
        lower = np.minimum(position.astype(int), max(n - 2, 0))
        share = (position - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (
            np.take(values, np.minimum(lower + s, n - 1), axis).astype(np.float32, copy=False) for s in (0, 1)
        )
        second -= first
        second *= share
        first += second
        values = first
    return values


def periodic_positions(source: tuple[int, ...], target: Shape) -> tuple[Positions, ...]:
    """Return the points of grid `target` in units of grid `source` along each axis, both over one periodic box."""
    return tuple(np.linspace(0, n, m, endpoint=False, dtype=np.float64) for n, m in zip(source, target, strict=True))


def resample_periodic(values: Volume, shape: Shape, part: Sequence[slice] = (slice(None),) * 3) -> Volume:
    """Interpolate a field on another grid of `shape` points over the same periodic box, or on a part of that grid."""
    positions = tuple(position[s] for position, s in zip(periodic_positions(values.shape, shape), part, strict=True))
    resampled: Volume = interpolate(values[None], positions)[0]
    return resampled
