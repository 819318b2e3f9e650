"""A map and its local resolution as the figures show them: axes in (z, y, x), contour level, colours, axis ticks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.figures.palette import colour_range, rgb_colours
from cryores_lite.types import Lengths, LocalResolution, Mask, Shape, Volume

EXTENSION = 8.0  # Å outside the mask: a surface at a low contour level still has colours
CONTOUR_MASK_FRACTION = 0.45  # of the mask's voxels that the suggested surface encloses
MAX_NOISE_FRACTION = 0.001  # of the other voxels above the level; more would show as dust in a sharpened map


@dataclass(frozen=True, eq=False, kw_only=True)
class DisplayMap:
    """A map and its local resolution with axes in the order (z, y, x), for any order of axes in the file.

    Attributes
    ----------
    density : (z, y, x) float32, any unit
    local_resolution : (z, y, x) float32, Å, 0 outside the mask
    mask : (z, y, x) bool
    voxel_size : Å, (z, y, x)
    colour_limits : Å of the first and the last colour
    has_given_limits : whether the user gave these limits; then they are the axis of the histogram too
    half_map_resolution : (z, y, x) float32, Å, local resolution from half maps, 0 outside the mask; None without them
    clear_difference : (z, y, x) bool, where both differ by more than twice the error of both; None if that is unknown
    """

    density: Volume
    local_resolution: Volume
    mask: Mask
    voxel_size: Lengths
    colour_limits: tuple[float, float]
    has_given_limits: bool = False
    half_map_resolution: Volume | None = None
    clear_difference: Mask | None = None


def zyx_axes(header_axes: Sequence[int]) -> Shape:
    """Return the array axes of z, y and x, from MAPC, MAPR and MAPS of the MRC header (1 = x, 2 = y, 3 = z)."""
    z, y, x = (2 - tuple(header_axes).index(name) for name in (3, 2, 1))
    return z, y, x


def in_zyx_order(
    density: Volume,
    result: LocalResolution,
    header_axes: Sequence[int],
    half_map_resolution: Volume | None = None,
    colours: tuple[float, float] | None = None,
    clear_difference: Mask | None = None,
) -> DisplayMap:
    """Order the axes of a map and its local resolution as (z, y, x), without a copy.

    Parameters
    ----------
    density, half_map_resolution, clear_difference : arrays of the shape of ``result.values``, in the order of the file
    header_axes : MAPC, MAPR, MAPS of the MRC header
    colours : Å of the first and the last colour; None: from the local resolution
    """
    axes = zyx_axes(header_axes)
    z, y, x = (result.grid.voxel_size[axis] for axis in axes)
    local_resolution = result.values.transpose(axes)
    return DisplayMap(
        density=density.transpose(axes),
        local_resolution=local_resolution,
        mask=result.mask.transpose(axes),
        voxel_size=(z, y, x),
        colour_limits=colours or colour_range(local_resolution),
        has_given_limits=colours is not None,
        half_map_resolution=None if half_map_resolution is None else half_map_resolution.transpose(axes),
        clear_difference=None if clear_difference is None else clear_difference.transpose(axes),
    )


def to_rgba(local_resolution: Volume, colour_limits: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Colour a plane (rows, columns): (rows, columns, 4) red, green, blue, opacity; transparent outside the mask."""
    opacity = np.where(local_resolution > 0, 255, 0).astype(np.uint8)
    return np.dstack([rgb_colours(local_resolution, *colour_limits), opacity])


def ticks(low: float, high: float, max_count: int = 9) -> list[tuple[float, str]]:
    """Choose at most `max_count` + 1 round values between two limits; return each with its label."""
    raw_step = (high - low) / max_count
    power = 10.0 ** math.floor(math.log10(raw_step))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw_step)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(n * step, f"{n * step:.{digits}f}") for n in range(first, last + 1)]


def contour_level(density: Volume, mask: Mask) -> float:
    """Suggest the density of a surface that shows the molecule and little noise.

    The surface encloses 45 % of the mask's voxels, or fewer if otherwise more than 0.1 % of the voxels outside the mask
    would lie above the level.
    """
    inside, outside = density[mask], density[~mask]
    if not inside.size:
        return float(density.max())
    fractions = ((inside, CONTOUR_MASK_FRACTION), (outside, MAX_NOISE_FRACTION))
    return float(max(np.quantile(values, 1 - fraction) for values, fraction in fractions if values.size))


def extend_outwards(values: Volume, voxel_size: Lengths) -> Volume:
    """Extend local resolution by 8 Å beyond the mask, so that a surface near its edge is not coloured by 0.

    The extension grows by one layer of voxels at a time. A new voxel is the mean of the known voxels among its 26
    neighbours. Values inside the mask do not change.

    Parameters
    ----------
    values : (z, y, x) Å, 0 outside the mask
    voxel_size : Å
    """
    out = values.copy()
    if not out.any():
        return out
    layers = max(1, math.ceil(EXTENSION / min(voxel_size)))
    known_planes = [np.flatnonzero((values > 0).any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(0, planes[0] - layers), planes[-1] + 1 + layers) for planes in known_planes)
    padded = np.pad(out[box], 1)  # so that every voxel has 26 neighbours
    flat, unknown = padded.ravel(), np.pad(out[box] == 0, 1).ravel()
    corner_offsets = [int(np.ravel_multi_index(n, padded.shape)) for n in itertools.product((0, 1, 2), repeat=3)]
    offsets = [offset - corner_offsets[13] for n, offset in enumerate(corner_offsets) if n != 13]  # 13 is the centre
    layer = np.flatnonzero(flat)
    for _ in range(layers):
        adjacent = np.zeros(flat.shape, bool)
        for offset in offsets:
            adjacent[layer + offset] = True
        layer = np.flatnonzero(adjacent & unknown)
        total, count = np.zeros(layer.size, np.float32), np.zeros(layer.size, np.float32)
        for offset in offsets:
            neighbours = flat[layer + offset]
            total += neighbours
            count += neighbours > 0
        flat[layer], unknown[layer] = total / count, False
    out[box] = padded[1:-1, 1:-1, 1:-1]
    return out
