"""(global + relative) × mask, as in CryoRes (Dai et al. 2023, J. Mol. Biol. 435, 168059), on the map's own grid."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.fourier.interpolation import interpolate, places
from cryores_lite.fourier.spectrum import chunks
from cryores_lite.method.prepare import Prepared
from cryores_lite.types import Grid, MapResolution, Mask, Volume

CERTAIN = 255  # mask probabilities are kept in bytes
SPECK = 0.1  # pieces of the mask smaller than this share of its largest are noise


def aggregate(overall: float, relative: Volume, error: Volume, mask: Mask, finest: float) -> tuple[Volume, Volume]:
    """Local resolution and its standard deviation in Å inside the mask, 0 outside.

    Parameters
    ----------
    overall : Å, the map's global resolution
    relative : (z, y, x) float32, Å, local minus global
    error : (z, y, x) float32, standard deviation of the local resolution's logarithm
    mask : (z, y, x) bool
    finest : Å, the Nyquist limit: nothing finer is in the map
    """
    local: Volume = np.where(mask, np.maximum(overall + relative, np.float32(finest)), np.float32(0))
    return local, local * error


def molecule(prepared: Prepared, probability: npt.NDArray[np.uint8], threshold: float, threads: int = 1) -> Mask:
    """The mask on the crop's voxels, from its probability in units of 1/255 on the working grid."""
    inside = np.empty(prepared.box.shape, bool)

    def decide(part: slice, sure: Volume) -> None:
        np.greater(sure, threshold * CERTAIN, out=inside[part])

    for_each_chunk(prepared, decide, threads, probability)
    return without_small_pieces(inside, SPECK)


def answer(
    prepared: Prepared,
    inside: Mask,
    relative: Volume,
    error: Volume,
    level: MapResolution,
    grid: Grid,
    threads: int = 1,
) -> tuple[Volume, Volume]:
    """Local resolution and its standard deviation in Å, on the map's own grid, from what `predict` returns."""
    box, finest = prepared.box, 2 * max(grid.voxel_size)
    values, uncertainty = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)

    def fill(part: slice, local: Volume, spread: Volume) -> None:
        found = aggregate(level.overall, local, spread, inside[part], finest)
        for whole, planes in zip((values, uncertainty), found, strict=True):  # memory that stays 0 is never taken
            np.copyto(whole[box.slices][part], planes, where=inside[part])

    for_each_chunk(prepared, fill, threads, relative, error)
    return values, uncertainty


def for_each_chunk(
    prepared: Prepared, use: Callable[..., None], threads: int, *fields: npt.NDArray[np.generic]
) -> None:
    """Read fields over the padded box off at the voxels of the crop, and hand `use` some planes of each, with their
    place.

    Linear, so that nothing rings.
    """
    crop = prepared.box.shape
    lie = [places(prepared.spectrum, crop, field.shape) for field in fields]

    def hand(part: slice) -> None:
        use(part, *(interpolate(field[None], (z[part], y, x))[0] for field, (z, y, x) in zip(fields, lie, strict=True)))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(hand, chunks(crop)))


def resample_to_crop(prepared: Prepared, *fields: Volume) -> list[Volume]:
    """Coarse fields over a prepared map's padded box, at all voxels of its crop."""
    whole = [np.empty(prepared.box.shape, np.float32) for _ in fields]

    def keep(part: slice, *planes: Volume) -> None:
        for values, some in zip(whole, planes, strict=True):
            values[part] = some

    for_each_chunk(prepared, keep, 1, *fields)
    return whole
