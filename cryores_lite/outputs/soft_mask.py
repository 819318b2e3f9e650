"""The mask with a soft edge, as post-processing and refinement programs need it."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage

from cryores_lite.fourier.spectrum import chunks
from cryores_lite.types import Lengths, Mask, Shape, Volume

TINY = 1e-6  # Å, in place of an edge without width


def soft_mask(mask: Mask, voxel_size: Lengths, extend: float, edge: float, threads: int = 1) -> Volume:
    """Extend a mask, and let it fall from 1 to 0 as half a period of a cosine.

    Parameters
    ----------
    mask : (z, y, x) bool
    voxel_size : Å
    extend : Å, distance from the nearest voxel of the mask up to which the soft mask is 1
    edge : Å, width over which it falls to 0

    Returns
    -------
    (z, y, x) float32, 0 to 1; 0 everywhere if the mask is empty
    """
    out = np.zeros(mask.shape, np.float32)
    parts = ndimage.find_objects(mask.view(np.uint8), 1)
    if not parts or parts[0] is None:
        return out
    reach = extend + edge
    margins = (int(reach / size) + 1 for size in voxel_size)
    box = tuple(slice(max(0, part.start - n), part.stop + n) for part, n in zip(parts[0], margins, strict=True))
    near = out[box]
    near[~mask[box]] = (reach + max(voxel_size)) ** 2  # Å²: beyond the edge
    _square_distances(near, voxel_size, reach, threads)

    def fall(part: slice) -> None:
        beyond = np.clip((np.sqrt(near[part]) - extend) / max(edge, TINY), 0, 1)
        near[part] = 0.5 + 0.5 * np.cos(np.pi * beyond)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fall, chunks(_shape(near))))
    return out


def _square_distances(squares: Volume, voxel_size: Lengths, reach: float, threads: int) -> None:
    """Replace the values outside a mask by the square of their distance from it, if that is at most `reach`.

    One axis is treated after the other, in place and in small parts: scipy's distance transform takes twice the time
    and ten times the memory. The values are 0 inside the mask and more than the square of `reach` outside.

    References
    ----------
    Felzenszwalb and Huttenlocher, Theory of Computing 8 (2012) 415. doi:10.4086/toc.2012.v008a019
    """
    with ThreadPoolExecutor(threads) as pool:
        for axis, size in enumerate(voxel_size):
            lines = np.moveaxis(squares, axis, 1)  # the parts divide the first axis

            def spread(part: slice, lines: Volume = lines, size: float = size) -> None:
                _spread(lines[part], size, reach)

            list(pool.map(spread, chunks(_shape(lines))))


def _spread(squares: Volume, size: float, reach: float) -> None:
    """Lower each value to the least sum of a value along the second axis and the square of the distance to it."""
    before = squares.copy()
    for n in itertools.takewhile(lambda n: n * size <= reach, range(1, squares.shape[1])):
        square = np.float32((n * size) ** 2)
        for target, source in ((squares[:, n:], before[:, :-n]), (squares[:, :-n], before[:, n:])):
            np.minimum(target, source + square, out=target)


def _shape(values: Volume) -> Shape:
    z, y, x = values.shape
    return z, y, x
