"""Soften the edge that a mask has cut into a map, so that it does not ring in every shell.

Multiplying by a hard mask refills the shells that a low-pass has emptied, and adds power of its own to all others.
A taper of a few Å inside the edge removes both; the power that it takes is known, and given back band by band.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cryores_lite.types import Lengths, Mask, Volume

WIDTH = 4.0  # Å from the blank to where the map is whole


def blank_voxels(values: Volume) -> Mask:
    """Voxels that hold the fill value of a mask: the same as all six neighbours."""
    blank = np.ones(values.shape, bool)
    for axis in range(3):
        along = [np.moveaxis(array, axis, 0) for array in (values, blank)]
        same = along[0][1:] == along[0][:-1]
        along[1][1:] &= same
        along[1][:-1] &= same
    if blank.any():
        blank &= values == fill_value(values, blank)
    return blank


def fill_value(values: Volume, blank: Mask) -> np.float32:
    """The commonest value of the blank voxels; of many, every few are asked."""
    for step in (max(1, max(values.shape) // 100), 1):
        some = (slice(None, None, step),) * 3
        found, counts = np.unique(values[some][blank[some]], return_counts=True)
        if len(found):
            break
    return np.float32(found[counts.argmax()])


def soften(values: Volume, voxel_size: Lengths) -> tuple[Volume, Volume]:
    """Fade a map out towards its blank part.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å

    Returns
    -------
    The map, and by how much each voxel was multiplied: 0 where it is blank, 1 from `WIDTH` Å inside on.
    """
    blank = blank_voxels(values)
    if not blank.any():
        return values, np.broadcast_to(np.float32(1), values.shape)
    kept = blank.astype(np.float32)
    for _ in range(2):
        for axis, size in enumerate(voxel_size):
            ndimage.uniform_filter1d(kept, 2 * max(1, round(WIDTH / size / 2)) + 1, axis, output=kept)
    kept *= -2
    kept += 1
    np.clip(kept, 0, 1, out=kept)
    kept[blank] = 0
    soft = values - fill_value(values, blank)
    soft *= kept
    return soft, kept
