"""Assemble (global + relative) × mask on the map's grid, as in CryoRes (Dai et al. 2023, J. Mol. Biol. 435, 168059)."""

from __future__ import annotations

import numpy as np

from cryores_lite.fourier.grids import bounding_slices
from cryores_lite.method.crop import paste
from cryores_lite.method.mask import molecule_mask
from cryores_lite.method.predict import NetworkFields
from cryores_lite.method.prepare import Frame
from cryores_lite.method.restore import for_each_chunk
from cryores_lite.types import Grid, MapResolution, Mask, Volume


def assemble(
    fields: NetworkFields,
    resolution: MapResolution,
    frame: Frame,
    grid: Grid,
    mask_threshold: float,
    threads: int = 1,
) -> tuple[Volume, Volume, Mask, float]:
    """Compute local resolution on the grid of the map from the network's fields.

    Parameters
    ----------
    resolution : the network's estimate for the map
    mask_threshold : lowest probability (0 to 1) of a voxel of the molecule

    Returns
    -------
    Local resolution and its standard deviation, (z, y, x) float32, Å, 0 outside the mask; the mask; and the volume
    of the pieces that were left out of the mask, over that of the mask.
    """
    box, nyquist_limit = frame.box, 2 * max(grid.voxel_size)
    mask, left_out = molecule_mask(fields.mask_probability, mask_threshold, frame, threads)
    values, uncertainty = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)

    inside = bounding_slices(mask)
    if inside is None:
        return values, uncertainty, paste(mask, box, grid.shape), left_out
    in_mask = mask[inside]

    def fill(part: slice, relative: Volume, error: Volume) -> None:
        planes = aggregate(resolution.global_, relative, error, in_mask[part], nyquist_limit)
        for out, plane in zip((values, uncertainty), planes, strict=True):  # pages that stay 0 take no memory
            np.copyto(out[box.slices][inside][part], plane, where=in_mask[part])

    for_each_chunk(frame, inside, fill, threads, fields.relative, fields.error)
    return values, uncertainty, paste(mask, box, grid.shape), left_out


def aggregate(
    global_resolution: float, relative: Volume, error: Volume, mask: Mask, nyquist_limit: float
) -> tuple[Volume, Volume]:
    """Compute local resolution and its standard deviation inside the mask, 0 outside.

    Parameters
    ----------
    global_resolution : Å, one number for the map
    relative : (z, y, x) float32, local minus global resolution, Å
    error : (z, y, x) float32, standard deviation of the local resolution's logarithm
    mask : (z, y, x) bool
    nyquist_limit : Å, the finest resolution that the map can hold

    Returns
    -------
    Two (z, y, x) float32, Å
    """
    local: Volume = np.where(mask, np.maximum(global_resolution + relative, np.float32(nyquist_limit)), np.float32(0))
    return local, local * error
