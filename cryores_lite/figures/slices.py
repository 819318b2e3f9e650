"""Slices of a map and of its local resolution, ready to be drawn. All volumes are in (z, y, x) order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.types import Mask, Shape, Volume

MAX_PIXELS = 360  # along a side of an image; larger slices are averaged in blocks
MARGIN_FRACTION = 0.08  # of the molecule's longest side, added on both sides
MIN_MASK_FRACTION = 0.25  # of the largest section's mask: smaller sections are never the best or the worst
GREY_PERCENTILES = (1.0, 99.7)  # of the density in the slices: black and white


@dataclass(frozen=True)
class View:
    """A cube around the molecule that the slices show. It may extend beyond the map.

    Attributes
    ----------
    start : first voxel; may be negative
    side : voxels
    step : voxels along each side of one pixel
    centre : the voxel in which the orthogonal slices meet
    """

    start: Shape
    side: int
    step: int
    centre: Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """One plane of a view; the first row is at the top.

    Attributes
    ----------
    axis : normal of the plane: "z", "y" or "x"
    number : of the plane in the map, from 0
    density : (rows, columns) float32; NaN outside the map
    local_resolution : (rows, columns) float32, Å, 0 outside the mask
    median : Å, of the local resolution in the complete plane inside the mask (NaN for an empty mask)
    """

    axis: str
    number: int
    density: Volume
    local_resolution: Volume
    median: float


def view_around(mask: Mask) -> View:
    """Choose a cube with the molecule in the middle, inside the map if it fits; the map itself for an empty mask."""
    counts = voxels_per_plane(mask)
    occupied = [np.flatnonzero(count) if count.any() else np.arange(count.size) for count in counts]
    longest = max(int(planes[-1] - planes[0]) + 1 for planes in occupied)
    side = min(round(longest * (1 + 2 * MARGIN_FRACTION)), max(mask.shape))
    step = -(-side // MAX_PIXELS)
    side = -(-side // step) * step
    centred_starts = ((int(planes[0]) + int(planes[-1]) + 1 - side) // 2 for planes in occupied)
    z, y, x = (
        min(max(start, 0), n - side) if side <= n else (n - side) // 2
        for start, n in zip(centred_starts, mask.shape, strict=True)
    )
    c, b, a = (_centroid(count) for count in counts)
    return View((z, y, x), side, step, (c, b, a))


def voxels_per_plane(mask: Mask) -> tuple[npt.NDArray[np.int64], ...]:
    """Count the mask's voxels in each plane normal to z, y and x."""
    return tuple(np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3))


def orthogonal(density: Volume, local_resolution: Volume, mask: Mask, view: View) -> list[Slice]:
    """Cut three slices through the molecule's centre, normal to z, y and x."""
    return [cut(density, local_resolution, mask, view, axis, view.centre[axis]) for axis in range(3)]


def extremes(density: Volume, local_resolution: Volume, mask: Mask, view: View) -> list[Slice]:
    """Cut the sections (normal to z) of finest and coarsest median among those with enough mask; [] without a mask."""
    count = voxels_per_plane(mask)[0]
    candidates = np.flatnonzero(count >= max(1, MIN_MASK_FRACTION * count.max()))
    if not candidates.size:
        return []
    medians = [float(np.median(local_resolution[n][mask[n]])) for n in candidates]
    numbers = candidates[int(np.argmin(medians))], candidates[int(np.argmax(medians))]
    return [cut(density, local_resolution, mask, view, 0, int(n)) for n in numbers]


def cut(density: Volume, local_resolution: Volume, mask: Mask, view: View, axis: int, number: int) -> Slice:
    """Cut plane `number` normal to `axis` (0, 1, 2 = z, y, x) out of a view; the second remaining axis points up.

    Density is averaged over the voxels of a pixel. Local resolution is the value of the pixel's middle voxel: an
    average would mix it with the 0 outside the mask.
    """
    plane = (slice(None),) * axis + (number,)
    start = tuple(s for n, s in enumerate(view.start) if n != axis)
    inside = local_resolution[plane][mask[plane]]
    grey = block_means(window(density[plane], start, view.side, np.nan), view.step)
    return Slice(
        axis="zyx"[axis],
        number=number,
        density=grey[::-1],
        local_resolution=middle_voxels(local_resolution, view, axis, number),
        median=float(np.median(inside)) if inside.size else float("nan"),
    )


def middle_voxels(values: Volume | Mask, view: View, axis: int, number: int) -> Volume:
    """Cut a plane as `cut` does: the value of the middle voxel of every pixel, 0 outside the map."""
    start = tuple(s for n, s in enumerate(view.start) if n != axis)
    plane = window(values[(slice(None),) * axis + (number,)], start, view.side, 0.0)
    middle = slice(view.step // 2, None, view.step)
    return plane[middle, middle][::-1]


def outline(region: Mask) -> Mask:
    """Return the pixels of a region (rows, columns) that have a neighbour outside it."""
    padded = np.pad(region, 1)
    inner: Mask = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: Mask = region & ~inner
    return edge


def window(plane: Volume | Mask, start: Sequence[int], side: int, fill: float) -> Volume:
    """Cut a square of `side` voxels from `start` out of a plane, with `fill` outside the plane."""
    out = np.full((side, side), fill, np.float32)
    target = tuple(slice(max(0, -s), max(0, min(side, n - s))) for s, n in zip(start, plane.shape, strict=True))
    source = tuple(slice(max(0, s), max(0, min(n, s + side))) for s, n in zip(start, plane.shape, strict=True))
    out[target] = plane[source]
    return out


def block_means(values: Volume, step: int) -> Volume:
    """Average blocks of `step` voxels along every axis; an incomplete last block is left out."""
    complete = values[tuple(slice(n // step * step) for n in values.shape)]
    blocks = complete.reshape([part for n in complete.shape for part in (n // step, step)])
    out: Volume = blocks.mean(axis=tuple(range(1, blocks.ndim, 2)), dtype=np.float32)
    return out


def grey_levels(slices: Sequence[Slice]) -> list[npt.NDArray[np.uint8]]:
    """Scale the density of all slices to one range of grey; high density is light, outside the map is white."""
    known = np.concatenate([part.density[np.isfinite(part.density)] for part in slices])
    low, high = (float(v) for v in np.percentile(known, GREY_PERCENTILES))
    scale = 255 / max(high - low, float(np.finfo(np.float32).tiny))
    shades = [np.clip((part.density - low) * scale, 0, 255) for part in slices]
    return [np.where(np.isnan(shade), 255, shade).astype(np.uint8) for shade in shades]


def _centroid(count: npt.NDArray[np.int64]) -> int:
    weight = count if count.any() else np.ones(count.size)
    return round(float(np.average(np.arange(count.size), weights=weight)))
