"""Read two half maps, check that they have one grid, and average them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.half_maps.independence import mean_map
from cryores_lite.half_maps.local_fsc import check_half_maps
from cryores_lite.io.input_checks import BLOCK_LENGTH, MAX_INVERTED_SKEWNESS, map_statistics
from cryores_lite.io.mrc import Map, read_map
from cryores_lite.io.mrc_header import first_voxel, has_position
from cryores_lite.types import Density, Grid

SAME_VOXEL_SIZE_RTOL = 1e-3  # headers round voxel sizes
SAME_POSITION_ATOL = 1e-2  # Å
MAX_SCALE_RATIO = 1.5  # of the half maps' standard deviations; more: one of them dominates their average


@dataclass(frozen=True, eq=False)
class HalfMapPair:
    """Two half maps of one map, and their `lowest_shell_fsc`."""

    paths: tuple[Path, Path]
    first: Density
    second: Density
    lowest_shell_fsc: float

    def release_pages(self) -> None:
        """Free the memory of memory-mapped half maps."""
        self.first.release_pages()
        self.second.release_pages()


def read_map_and_halves(
    map_path: Path, paths: tuple[Path, Path], averaged: bool, voxel_size: float | None
) -> tuple[Map, HalfMapPair]:
    """Read a map and its half maps.

    Parameters
    ----------
    map_path : file of the map
    paths : files of the half maps
    averaged : whether the average of the half maps is the map, with molecules brighter than the solvent; `map_path` is
        not read then
    voxel_size : Å, in place of the voxel size in the headers, or None

    Raises
    ------
    InputError
        The maps have different grids, or the half maps are copies of one map.
    """
    if averaged:
        pair, average = read_pair(paths, voxel_size)
        return upright(average, pair)
    pair, first = read_halves(paths, voxel_size)
    full_map = read_map(map_path, voxel_size=voxel_size)
    if has_position(first.header):
        check_same_grid(full_map, first, (map_path, paths[0]))
        return full_map, pair
    check_same_voxels(full_map, first, (map_path, paths[0]))
    if not has_position(full_map.header):
        return full_map, pair
    note = "The half maps have no position in their headers; that of the map was used."
    return replace(full_map, warnings=(*full_map.warnings, note)), pair


def read_pair(paths: tuple[Path, Path], voxel_size: float | None) -> tuple[HalfMapPair, Map]:
    """Read two half maps as `read_halves`; return their average with the header of the first instead of the first."""
    pair, first = read_halves(paths, voxel_size)
    average = Density(mean_map(pair.first.values, pair.second.values), pair.first.grid)
    return pair, replace(first, density=average)


def read_halves(paths: tuple[Path, Path], voxel_size: float | None) -> tuple[HalfMapPair, Map]:
    """Read two half maps; also return the first one, with the warnings of both.

    Raises
    ------
    InputError
        They have different grids, or are copies of one map.
    """
    first, second = (read_map(path, voxel_size=voxel_size) for path in paths)
    check_same_grid(first, second, paths)
    on_first_grid = replace(second.density, grid=first.density.grid)
    lowest_shell_fsc = check_half_maps(first.density, on_first_grid)
    warnings = [*first.warnings, *(warning for warning in second.warnings if warning not in first.warnings)]
    low, high = sorted(float(half.density.values.std()) for half in (first, second))
    if high > MAX_SCALE_RATIO * low:
        warnings.append(
            f"The scales of the half maps differ by a factor of {high / low:.3g}, so one dominates their average. "
            "Pass the final map too."
        )
    pair = HalfMapPair(paths, first.density, on_first_grid, lowest_shell_fsc)
    pair.release_pages()
    return pair, replace(first, warnings=tuple(warnings))


def upright(average: Map, pair: HalfMapPair) -> tuple[Map, HalfMapPair]:
    """Multiply half maps and their average by -1 if the molecule is darker than the solvent, as in tomography.

    The FSC does not change, but the molecule would not be found.
    """
    values, voxel_size = average.density.values, min(average.density.grid.voxel_size)
    skewness = map_statistics(values, voxel_size).skewness
    if skewness is None:  # too few blocks: a small box, or an unknown voxel size
        skewness = map_statistics(values, BLOCK_LENGTH).skewness
    if skewness is None or skewness > MAX_INVERTED_SKEWNESS:
        return average, pair
    note = "The contrast is inverted: the half maps and their average were multiplied by -1."
    first, second, mean = (
        replace(density, values=-density.values, memory_mapped=False)
        for density in (pair.first, pair.second, average.density)
    )
    return replace(average, density=mean, warnings=(*average.warnings, note)), replace(pair, first=first, second=second)


def check_same_grid(first: Map, second: Map, paths: tuple[Path, Path]) -> None:
    """Refuse two maps whose voxels have different positions, by the rule of ChimeraX (see `first_voxel`).

    Raises
    ------
    InputError
        Their boxes, voxel sizes, axes or positions differ.
    """
    check_same_voxels(first, second, paths)
    first_position, second_position = (
        first_voxel(source.header, first.density.grid.voxel_size, path)
        for source, path in zip((first, second), paths, strict=True)
    )
    if not np.allclose(first_position, second_position, atol=SAME_POSITION_ATOL):
        place = "first voxel at {:g}, {:g}, {:g} Å in x, y, z".format
        raise _other_grid(paths, place(*second_position), place(*first_position))
    rotations = [source.header.rotation_label or "no rotation" for source in (second, first)]
    if rotations[0] != rotations[1]:
        raise _other_grid(paths, *rotations)


def check_same_voxels(first: Map, second: Map, paths: tuple[Path, Path]) -> None:
    """Refuse two maps of different boxes, voxel sizes or orders of axes, wherever they lie.

    Raises
    ------
    InputError
        One of them differs.
    """
    grid, second_grid = first.density.grid, second.density.grid
    same_size = np.allclose(grid.voxel_size, second_grid.voxel_size, rtol=SAME_VOXEL_SIZE_RTOL)
    if grid.shape != second_grid.shape or not same_size:
        raise _other_grid(paths, _voxels_text(second_grid), _voxels_text(grid))
    if first.header.axes != second.header.axes:
        raise _other_grid(paths, f"axes {second.header.axes}", f"axes {first.header.axes}")


def _voxels_text(grid: Grid) -> str:
    return f"{' x '.join(map(str, grid.shape))} voxels of {float(np.mean(grid.voxel_size)):.4g} Å"


def _other_grid(paths: tuple[Path, Path], second: str, first: str) -> InputError:
    """Return the error for two maps that differ in a property, given as text for each."""
    return InputError(
        f"{paths[1].name} is not on the grid of {paths[0].name}",
        found=second,
        expected=first,
        try_="pass maps of one reconstruction that were not cropped, binned or moved",
    )
