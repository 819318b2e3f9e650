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
        same = np.diff(values, axis=axis) == 0
        ends = [(0, 0)] * 3
        ends[axis] = (0, 1)
        blank &= np.pad(same, ends, constant_values=True)
        ends[axis] = (1, 0)
        blank &= np.pad(same, ends, constant_values=True)
    if blank.any():
        fill, counts = np.unique(values[blank], return_counts=True)
        blank &= values == fill[counts.argmax()]
    return blank


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
        return values, np.ones(values.shape, np.float32)
    share = blank.astype(np.float32)
    for _ in range(2):
        for axis, size in enumerate(voxel_size):
            share = ndimage.uniform_filter1d(share, 2 * max(1, round(WIDTH / size / 2)) + 1, axis)
    kept = np.clip(1 - 2 * share, 0, 1)
    kept[blank] = 0
    fill = values[blank][0]
    return (values - fill) * kept, kept
