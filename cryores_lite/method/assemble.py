"""Assemble (global + relative) × mask on the map's grid, as in CryoRes (Dai et al. 2023, J. Mol. Biol. 435, 168059)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.fourier.interpolation import interpolate, voxel_positions
from cryores_lite.fourier.spectrum import chunks
from cryores_lite.method.crop import paste
from cryores_lite.method.predict import PROBABILITY_ONE, NetworkFields
from cryores_lite.method.prepare import Frame
from cryores_lite.types import Grid, MapResolution, Mask, Volume

MIN_MASK_PIECE = 0.1  # share of the largest piece of the mask; smaller pieces are noise


def assemble(
    fields: NetworkFields,
    resolution: MapResolution,
    frame: Frame,
    grid: Grid,
    mask_threshold: float,
    threads: int = 1,
) -> tuple[Volume, Volume, Mask]:
    """Compute local resolution on the grid of the map from the network's fields.

    Parameters
    ----------
    resolution : the network's estimate for the map
    mask_threshold : lowest probability (0 to 1) of a voxel of the molecule

    Returns
    -------
    Local resolution and its standard deviation, (z, y, x) float32, Å, 0 outside the mask; and the mask.
    """
    box, nyquist_limit = frame.box, 2 * max(grid.voxel_size)
    mask = molecule_mask(fields.mask_probability, mask_threshold, frame, threads)
    values, uncertainty = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)

    def fill(part: slice, relative: Volume, error: Volume) -> None:
        planes = aggregate(resolution.global_, relative, error, mask[part], nyquist_limit)
        for out, plane in zip((values, uncertainty), planes, strict=True):  # pages that stay 0 take no memory
            np.copyto(out[box.slices][part], plane, where=mask[part])

    for_each_chunk(frame, fill, threads, fields.relative, fields.error)
    return values, uncertainty, paste(mask, box, grid.shape)


def molecule_mask(probability: npt.NDArray[np.uint8], threshold: float, frame: Frame, threads: int = 1) -> Mask:
    """Return the molecule's mask on the voxels of the box.

    Parameters
    ----------
    probability : (z, y, x) on the working grid, in units of 1/255
    threshold : lowest probability (0 to 1) of a voxel of the molecule
    """
    mask = np.empty(frame.box.shape, bool)

    def decide(part: slice, values: Volume) -> None:
        np.greater(values, threshold * PROBABILITY_ONE, out=mask[part])

    for_each_chunk(frame, decide, threads, probability)
    return without_small_pieces(mask, MIN_MASK_PIECE)


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
