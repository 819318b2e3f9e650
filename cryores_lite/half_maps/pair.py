"""Two half maps as read, on one grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.half_maps.independence import average
from cryores_lite.half_maps.local_fsc import check
from cryores_lite.io.mrc import Map, read_map
from cryores_lite.types import Density

SAME_SIZE = 1e-3  # relative difference of voxel sizes that rounding in headers makes
SAME_PLACE = 1e-2  # Å
UNEQUAL = 1.5  # ratio of the half maps' standard deviations from which their average is more the one than the other


@dataclass(frozen=True, eq=False)
class Pair:
    """Two half maps of one map, as read, and how alike they are (see `copies`)."""

    paths: tuple[Path, Path]
    first: Density
    second: Density
    likeness: float


def read_map_and_halves(
    map_path: Path, paths: tuple[Path, Path] | None, averaged: bool, voxel_size: float | None
) -> tuple[Map, Pair | None]:
    """Read a map, or make it of its half maps, and read those if there are any."""
    if paths is None:
        return read_map(map_path, voxel_size=voxel_size), None
    pair, mean = read_pair(paths, voxel_size)
    if averaged:
        return mean, pair
    found = read_map(map_path, voxel_size=voxel_size)
    same_grid(found, mean, (map_path, paths[0]))
    return found, pair


def read_pair(paths: tuple[Path, Path], voxel_size: float | None) -> tuple[Pair, Map]:
    """Read two half maps; also give their average, with the first one's header.

    Raises
    ------
    InputError
        They lie on different grids or places, or are copies of one map.
    """
    first, second = (read_map(path, voxel_size=voxel_size) for path in paths)
    same_grid(first, second, paths)
    other = replace(second.density, grid=first.density.grid)
    common = check(first.density, other)
    density = Density(average(first.density.values, second.density.values), first.density.grid)
    warnings = [*first.warnings, *(said for said in second.warnings if said not in first.warnings)]
    low, high = sorted(float(one.density.values.std()) for one in (first, second))
    if high > UNEQUAL * low:
        warnings.append(
            f"the half maps' scales differ by a factor of {high / low:.3g}: their average is more the one than the "
            "other; pass the final map too"
        )
    return Pair(paths, first.density, other, common), Map(density, first.header, tuple(warnings))


def same_grid(one: Map, other: Map, paths: tuple[Path, Path]) -> None:
    """Refuse two maps whose voxels do not lie on each other.

    Raises
    ------
    InputError
        Their boxes, voxel sizes, axes, origins or starts differ.
    """
    what = f"{paths[1].name} is not on the grid of {paths[0].name}"
    try_ = "pass maps of one reconstruction, neither cropped, binned nor moved"
    a, b = one.density.grid, other.density.grid
    if a.shape != b.shape or not np.allclose(a.voxel_size, b.voxel_size, rtol=SAME_SIZE):
        found, expected = (
            f"{' x '.join(map(str, g.shape))} voxels of {float(np.mean(g.voxel_size)):.4g} Å" for g in (b, a)
        )
        raise InputError(what, found=found, expected=expected, try_=try_)
    x, y = one.header, other.header
    if (x.axes, x.nstart) != (y.axes, y.nstart) or not np.allclose(x.origin, y.origin, atol=SAME_PLACE):
        found, expected = (f"origin {h.origin}, start {h.nstart}, axes {h.axes}" for h in (y, x))
        raise InputError(what, found=found, expected=expected, try_=try_)
