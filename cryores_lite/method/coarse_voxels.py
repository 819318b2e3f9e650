"""Maps with large voxels, treated as the same map at a smaller scale.

The method has fixed lengths in Å: bands from 1/40 Å on, a coarse grid of 4 Å, and shells around the molecule. They suit
voxels of up to 4 Å. The lengths of a map with larger voxels are divided by one factor, and those of its result are
multiplied by it. Time and memory then depend on the number of voxels, whatever their size.
"""

from __future__ import annotations

from dataclasses import replace

from cryores_lite.fourier.local_power import POWER_STEP
from cryores_lite.types import Density, Lengths

MAX_VOXEL_SIZE = POWER_STEP  # Å: the coarse grid is not finer than the voxels. See docs/method.md for the choice


def scale_factor(voxel_size: Lengths) -> float:
    """Return the factor, at least 1, by which the lengths of a map with voxels of this size (Å) are divided."""
    return max(1.0, max(voxel_size) / MAX_VOXEL_SIZE)


def scaled_down(density: Density) -> tuple[Density, float]:
    """Divide the lengths of a map by a factor, so that its voxels are not larger than `MAX_VOXEL_SIZE`.

    Returns
    -------
    The map with its values unchanged; and the factor (`scale_factor`) by which lengths of its result are multiplied
    """
    grid, factor = density.grid, scale_factor(density.grid.voxel_size)
    if factor == 1:
        return density, factor
    voxel_size, origin = ((z / factor, y / factor, x / factor) for z, y, x in (grid.voxel_size, grid.origin))
    return replace(density, grid=replace(grid, voxel_size=voxel_size, origin=origin)), factor
