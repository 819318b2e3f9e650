"""Cover the part of a working grid that holds molecule with tiles, each with a halo; join their cores again.

The halo is wider than the reach of the network, so the values in a core do not depend on the position of the tiles, and
cores are joined without blending.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import Slices, bounding_slices
from cryores_lite.types import Mask, Shape

T = TypeVar("T", bound=np.generic)

ALIGN = 8  # voxels: the network halves the grid three times


@dataclass(frozen=True)
class Tile:
    """Part of the working grid that the network reads (`view`), and part of its output that is used (`core`)."""

    view: Slices
    core: Slices

    def inner(self, step: int = 1) -> Slices:
        """Return the core within the view, on a grid coarser by `step`."""
        z, y, x = (
            slice((c.start - v.start) // step, (c.stop - v.start) // step)
            for c, v in zip(self.core, self.view, strict=True)
        )
        return z, y, x


def coarser(slices: Slices, step: int) -> Slices:
    """Return the same part of a grid that is coarser by `step`."""
    z, y, x = (slice(s.start // step, s.stop // step) for s in slices)
    return z, y, x


def cover(mask: Mask, shape: Shape, halo: int, max_voxels: int) -> list[Tile]:
    """Cover a mask with cores that share no voxel, each inside a view of at most `max_voxels` voxels.

    The box around the mask is halved across its longest edge, and each half is shrunk to the mask inside it, until all
    views are small enough.

    Parameters
    ----------
    mask : (z, y, x) bool, coarser, over the same box as the working grid
    shape : of the working grid, multiples of `ALIGN`
    halo : voxels around a core that a view includes, up to the edge of the grid

    Raises
    ------
    ValueError
        The halo is not a multiple of `ALIGN`, or leaves no voxel for a core.
    """
    if halo % ALIGN or max_voxels < (ALIGN + 2 * halo) ** 3:
        raise ValueError(
            f"halo {halo} is not a multiple of {ALIGN}, or {max_voxels} voxels cannot hold it around a core"
        )
    z, y, x = (slice(0, n) for n in shape)
    pending, tiles = [(z, y, x)], []
    while pending:
        core = aligned_box(mask, shape, pending.pop())
        if core is None:
            continue
        z, y, x = (slice(max(0, s.start - halo), min(n, s.stop + halo)) for s, n in zip(core, shape, strict=True))
        edges = [s.stop - s.start for s in core]
        if np.prod([s.stop - s.start for s in (z, y, x)]) <= max_voxels:
            tiles.append(Tile((z, y, x), core))
            continue
        longest = int(np.argmax(edges))
        side = core[longest]
        middle = side.start + (edges[longest] // 2 + ALIGN - 1) // ALIGN * ALIGN
        for half in (slice(middle, side.stop), slice(side.start, middle)):
            z, y, x = (half if axis == longest else s for axis, s in enumerate(core))
            pending.append((z, y, x))
    return tiles


def aligned_box(mask: Mask, shape: Shape, part: Slices) -> Slices | None:
    """Return the smallest aligned box inside `part` of the working grid that holds the mask there, or None."""
    coarse_z, coarse_y, coarse_x = (
        slice(s.start * m // n, -(-s.stop * m // n)) for s, n, m in zip(part, shape, mask.shape, strict=True)
    )
    box = bounding_slices(mask[coarse_z, coarse_y, coarse_x])
    if box is None:
        return None
    z, y, x = (
        slice(
            max(s.start, (c.start + b.start) * n // m // ALIGN * ALIGN),
            min(s.stop, -(-(c.start + b.stop) * n // m // ALIGN) * ALIGN),
        )
        for s, c, b, n, m in zip(part, (coarse_z, coarse_y, coarse_x), box, shape, mask.shape, strict=True)
    )
    return z, y, x


def join(parts: Iterable[tuple[Slices, npt.NDArray[T]]], shape: Shape, dtype: npt.DTypeLike) -> npt.NDArray[T]:
    """Put cores into a grid of zeros."""
    grid = np.zeros(shape, dtype)
    for core, values in parts:
        grid[core] = values
    return grid


def depth_to_space(parts: npt.NDArray[T]) -> npt.NDArray[T]:
    """Reorder (n³, z, y, x) to (n z, n y, n x): the n³ parts of each coarse voxel become voxels, x fastest."""
    n = round(len(parts) ** (1 / 3))
    grid = np.empty([n * edge for edge in parts.shape[1:]], parts.dtype)
    for values, (z, y, x) in zip(parts, np.ndindex(n, n, n), strict=True):
        grid[z::n, y::n, x::n] = values
    return grid
