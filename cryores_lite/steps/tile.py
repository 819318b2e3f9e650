"""Cut a large working grid into tiles with a halo; join the tiles' cores again.

The network's reach ends within the halo, so a core's answer does not depend on where the tiles fall, and cores
can be laid side by side: the weights of the blend are 1 in a tile's core and 0 in its halo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cryores_lite.types import Mask, Shape, Volume

Slices = tuple[slice, slice, slice]
ALIGN = 8  # voxels: the network halves the grid three times


@dataclass(frozen=True)
class Tile:
    """Where a tile is read (`view`) and which part of it counts (`core`), on the working grid."""

    view: Slices
    core: Slices

    def inner(self, step: int = 1) -> Slices:
        """The core within the view, on a grid coarser by `step`."""
        z, y, x = (
            slice((c.start - v.start) // step, (c.stop - v.start) // step)
            for c, v in zip(self.core, self.view, strict=True)
        )
        return z, y, x


def coarser(slices: Slices, step: int) -> Slices:
    """The same part of a grid that is coarser by `step`."""
    z, y, x = (slice(s.start // step, s.stop // step) for s in slices)
    return z, y, x


def split(shape: Shape, edge: int, halo: int) -> list[Tile]:
    """Cover a grid with cores that share no voxel, each inside a view of at most `edge` voxels.

    A grid that fits into one view is one tile, without a halo.
    """
    if edge % ALIGN or halo % ALIGN or edge <= 2 * halo:
        raise ValueError(f"edge {edge} and halo {halo} must be multiples of {ALIGN} with a core between them")
    axes = []
    for n in shape:
        size = n if n <= edge else edge - 2 * halo
        axes.append([slice(a, min(a + size, n)) for a in range(0, n, size)])
    tiles = []
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                core = (z, y, x)
                a, b, c = (
                    slice(max(0, s.start - halo), min(n, s.stop + halo)) for s, n in zip(core, shape, strict=True)
                )
                tiles.append(Tile((a, b, c), core))
    return tiles


def holds(tile: Tile, shape: Shape, wanted: Mask) -> bool:
    """Does a tile's core hold any voxel of a coarser mask over the same box?"""
    part = tuple(
        slice(s.start * m // n, -(-s.stop * m // n)) for s, n, m in zip(tile.core, shape, wanted.shape, strict=True)
    )
    return bool(wanted[part].any())


def join(parts: Iterable[tuple[Slices, Volume]], shape: Shape, fill: float) -> Volume:
    """Lay cores into a grid; where none is, `fill`."""
    whole = np.full(shape, fill, np.float32)
    for where, values in parts:
        whole[where] = values
    return whole
