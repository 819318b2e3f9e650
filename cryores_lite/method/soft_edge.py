"""Soften the edge that a mask has cut into a map, so that it does not ring in every shell of Fourier space.

A hard mask adds power to every shell, also to shells that a low-pass has emptied. A taper of a few Å inside the edge
prevents this. The power that the taper removes is known, and is restored band by band.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from cryores_lite.fourier.spectrum import chunks
from cryores_lite.types import Lengths, Mask, Volume

TAPER_WIDTH = 4.0  # Å, from the masked-out voxels to the unchanged map
SAMPLED_EDGE = 100  # voxels along an axis of the sample in which the fill value is searched for first


def masked_out_voxels(values: Volume) -> Mask:
    """Find the voxels that hold the fill value of a mask: they equal all six neighbours."""
    masked_out = np.ones(values.shape, bool)
    z, y, x = values.shape
    for part in chunks((z, y, x)):
        equal_neighbours(values[part], 2, masked_out[part])
        if masked_out[part].any():  # not in a map without a mask, and the other axes need no look
            equal_neighbours(values[part], 1, masked_out[part])
    if masked_out.any():
        equal_neighbours(values, 0, masked_out)
    if masked_out.any():
        masked_out &= values == fill_value(values, masked_out)
    return masked_out


def equal_neighbours(values: Volume, axis: int, mask: Mask) -> None:
    """Leave in a mask the voxels that equal both neighbours along an axis, or the only one at a face."""
    along, kept = (np.moveaxis(array, axis, 0) for array in (values, mask))
    same = along[1:] == along[:-1]
    kept[1:] &= same
    kept[:-1] &= same


def fill_value(values: Volume, masked_out: Mask) -> np.float32:
    """Return the most common value of the masked-out voxels, from a sample of them if the map is large."""
    for step in (max(1, max(values.shape) // SAMPLED_EDGE), 1):
        sample = (slice(None, None, step),) * 3
        levels, counts = np.unique(values[sample][masked_out[sample]], return_counts=True)
        if len(levels):
            break
    return np.float32(levels[counts.argmax()])


def soften(values: Volume, voxel_size: Lengths) -> tuple[Volume, Volume]:
    """Fade a map out towards its masked-out part.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å

    Returns
    -------
    The map minus the fill value; and the edge weight by which each voxel was multiplied: 0 where it is masked out,
    1 from `TAPER_WIDTH` Å inside on. A map without a mask is returned unchanged.
    """
    masked_out = masked_out_voxels(values)
    if not masked_out.any():
        return values, np.broadcast_to(np.float32(1), values.shape)
    edge_weight = masked_out.astype(np.float32)
    for _ in range(2):
        for axis, size in enumerate(voxel_size):
            width = 2 * max(1, round(TAPER_WIDTH / size / 2)) + 1
            ndimage.uniform_filter1d(edge_weight, width, axis, output=edge_weight)
    edge_weight *= -2
    edge_weight += 1
    np.clip(edge_weight, 0, 1, out=edge_weight)
    edge_weight[masked_out] = 0
    softened = values - fill_value(values, masked_out)
    softened *= edge_weight
    return softened, edge_weight
