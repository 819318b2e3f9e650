"""Slices of a map and of its local resolution, ready to be drawn. Arrays here are upright: (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.types import Mask, Shape, Volume

PIXELS = 360  # of a picture's side, at most; larger ones are averaged down
MARGIN = 0.08  # of the molecule's longest side, shown on either side of it
ENOUGH = 0.25  # of the largest slice's mask: smaller slices are not called best or worst
GREYS = (1.0, 99.7)  # percentiles of the slices' density that are black and white


@dataclass(frozen=True)
class Frame:
    """A cube around the molecule: where it starts and its side, in voxels. It may reach out of the map.

    `step` voxels along each side make one pixel; `centre` is the voxel that the orthogonal slices meet in.
    """

    start: Shape
    side: int
    step: int
    centre: Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """One plane of the frame, its first row on top.

    Attributes
    ----------
    axis, number : what it is normal to ("z", "y" or "x"), and which plane of voxels it is, from 0
    density : (rows, columns) float32; NaN outside the map
    local : (rows, columns) float32, Å, 0 where there is no answer
    median : Å, of the whole plane's local resolution inside the mask (NaN without any)
    """

    axis: str
    number: int
    density: Volume
    local: Volume
    median: float


def frame(mask: Mask) -> Frame:
    """Put the molecule in the middle of a cube with a little room, inside the map if it fits; else show all of it."""
    counts = profiles(mask)
    found = [np.flatnonzero(count) if count.any() else np.arange(count.size) for count in counts]
    longest = max(int(places[-1] - places[0]) + 1 for places in found)
    side = min(round(longest * (1 + 2 * MARGIN)), max(mask.shape))
    step = -(-side // PIXELS)
    side = -(-side // step) * step
    wanted = ((int(places[0]) + int(places[-1]) + 1 - side) // 2 for places in found)
    z, y, x = (
        min(max(start, 0), n - side) if side <= n else (n - side) // 2
        for start, n in zip(wanted, mask.shape, strict=True)
    )
    c, b, a = (_centroid(count) for count in counts)
    return Frame((z, y, x), side, step, (c, b, a))


def profiles(mask: Mask) -> tuple[npt.NDArray[np.int64], ...]:
    """Voxels of the mask in each plane normal to z, y and x."""
    return tuple(np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3))


def orthogonal(density: Volume, local: Volume, mask: Mask, seen: Frame) -> list[Slice]:
    """Three slices through the molecule's centre, normal to z, y and x."""
    return [cut(density, local, mask, seen, axis, seen.centre[axis]) for axis in range(3)]


def extremes(density: Volume, local: Volume, mask: Mask, seen: Frame) -> list[Slice]:
    """Slices normal to z of the best and of the worst median, among those with enough mask; none without a mask."""
    count = profiles(mask)[0]
    worthy = np.flatnonzero(count >= max(1, ENOUGH * count.max()))
    if not worthy.size:
        return []
    medians = [float(np.median(local[n][mask[n]])) for n in worthy]
    chosen = worthy[int(np.argmin(medians))], worthy[int(np.argmax(medians))]
    return [cut(density, local, mask, seen, 0, int(n)) for n in chosen]


def cut(density: Volume, local: Volume, mask: Mask, seen: Frame, axis: int, number: int) -> Slice:
    """Plane `number` normal to `axis` (0, 1, 2 = z, y, x), as far as `seen` shows it; the second axis points up."""
    plane = (slice(None),) * axis + (number,)
    start = tuple(s for n, s in enumerate(seen.start) if n != axis)
    inside = local[plane][mask[plane]]
    shown = means(window(density[plane], start, seen.side, np.nan), seen.step)
    picked = slice(seen.step // 2, None, seen.step)  # not averaged: 0 is no length
    answers = window(local[plane], start, seen.side, 0.0)[picked, picked]
    median = float(np.median(inside)) if inside.size else float("nan")
    return Slice(axis="zyx"[axis], number=number, density=shown[::-1], local=answers[::-1], median=median)


def window(plane: Volume, start: Sequence[int], side: int, beyond: float) -> Volume:
    """A square of `side` voxels from `start`, with `beyond` where the plane has ended."""
    out = np.full((side, side), beyond, np.float32)
    ours = tuple(slice(max(0, -s), max(0, min(side, n - s))) for s, n in zip(start, plane.shape, strict=True))
    theirs = tuple(slice(max(0, s), max(0, min(n, s + side))) for s, n in zip(start, plane.shape, strict=True))
    out[ours] = plane[theirs]
    return out


def means(values: Volume, step: int) -> Volume:
    """Means over blocks of `step` voxels along every axis; an incomplete last block is left out."""
    kept = values[tuple(slice(n // step * step) for n in values.shape)]
    blocks = kept.reshape([part for n in kept.shape for part in (n // step, step)])
    out: Volume = blocks.mean(axis=tuple(range(1, blocks.ndim, 2)), dtype=np.float32)
    return out


def greys(slices: Sequence[Slice]) -> list[npt.NDArray[np.uint8]]:
    """All slices' densities on one scale of grey; high density is light, outside the map is white."""
    known = np.concatenate([part.density[np.isfinite(part.density)] for part in slices])
    low, high = (float(v) for v in np.percentile(known, GREYS))
    scale = 255 / max(high - low, float(np.finfo(np.float32).tiny))
    shades = [np.clip((part.density - low) * scale, 0, 255) for part in slices]
    return [np.where(np.isnan(shade), 255, shade).astype(np.uint8) for shade in shades]


def _centroid(count: npt.NDArray[np.int64]) -> int:
    weight = count if count.any() else np.ones(count.size)
    return round(float(np.average(np.arange(count.size), weights=weight)))
