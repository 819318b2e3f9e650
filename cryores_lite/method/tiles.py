"""Cover the part of a working grid that matters with tiles, each with a halo; join the tiles' cores again.

The network's reach ends within the halo, so a core's answer does not depend on where the tiles fall, and cores
can be laid side by side: the weights of the blend are 1 in a tile's core and 0 in its halo.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.types import Mask, Shape

T = TypeVar("T", bound=np.generic)

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


def cover(wanted: Mask, shape: Shape, halo: int, largest: int) -> list[Tile]:
    """Cover what is wanted with cores that share no voxel, each inside a view of at most `largest` voxels.

    A box that holds all of it is halved across its longest edge, each half shrunk to what it holds, until all fit.

    Parameters
    ----------
    wanted : a coarser mask over the same box as the grid of `shape` points, whose edges are multiples of `ALIGN`
    halo : voxels around a core that a view holds, as far as the grid reaches
    """
    if halo % ALIGN or largest < (ALIGN + 2 * halo) ** 3:
        raise ValueError(f"halo {halo} must be a multiple of {ALIGN}, and {largest} voxels hold it around a core")
    z, y, x = (slice(0, n) for n in shape)
    pending, tiles = [(z, y, x)], []
    while pending:
        core = around(wanted, shape, pending.pop())
        if core is None:
            continue
        z, y, x = (slice(max(0, s.start - halo), min(n, s.stop + halo)) for s, n in zip(core, shape, strict=True))
        edges = [s.stop - s.start for s in core]
        if np.prod([s.stop - s.start for s in (z, y, x)]) <= largest:
            tiles.append(Tile((z, y, x), core))
            continue
        longest = int(np.argmax(edges))
        whole = core[longest]
        middle = whole.start + (edges[longest] // 2 + ALIGN - 1) // ALIGN * ALIGN
        for half in (slice(middle, whole.stop), slice(whole.start, middle)):
            z, y, x = (half if axis == longest else s for axis, s in enumerate(core))
            pending.append((z, y, x))
    return tiles


def around(wanted: Mask, shape: Shape, part: Slices) -> Slices | None:
    """The smallest aligned box inside `part` of a grid that holds what is wanted there; None where nothing is."""
    coarse = tuple(
        slice(s.start * m // n, -(-s.stop * m // n)) for s, n, m in zip(part, shape, wanted.shape, strict=True)
    )
    found = ndimage.find_objects(wanted[coarse].astype(np.int8))
    if not found:
        return None
    z, y, x = (
        slice(
            max(s.start, (c.start + f.start) * n // m // ALIGN * ALIGN),
            min(s.stop, -(-(c.start + f.stop) * n // m // ALIGN) * ALIGN),
        )
        for s, c, f, n, m in zip(part, coarse, found[0], shape, wanted.shape, strict=True)
    )
    return z, y, x


def join(parts: Iterable[tuple[Slices, npt.NDArray[T]]], shape: Shape, dtype: npt.DTypeLike) -> npt.NDArray[T]:
    """Lay cores into a grid; where none is, 0."""
    whole = np.zeros(shape, dtype)
    for where, values in parts:
        whole[where] = values
    return whole


def depth_to_space(parts: npt.NDArray[T]) -> npt.NDArray[T]:
    """(n³, z, y, x) → (n z, n y, n x): lay the parts of coarse voxels, last axis first, side by side."""
    n = round(len(parts) ** (1 / 3))
    whole = np.empty([n * edge for edge in parts.shape[1:]], parts.dtype)
    for values, (z, y, x) in zip(parts, np.ndindex(n, n, n), strict=True):
        whole[z::n, y::n, x::n] = values
    return whole
