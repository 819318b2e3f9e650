"""Subtract the level of the solvent inside a mask, if it differs from the value outside the mask.

A mask multiplies the map by 0 outside. If the solvent of the map was not at 0, a step remains at the edge of the mask,
or a ramp at a soft edge. The step looks like density: a ball of solvent inside a spherical mask looks like a molecule.
Padding with a constant has the same effect.

The solvent is recognised by its evenness. Along the inside of a wide mask, averages over 12 Å differ little, and do not
change with depth. Along the inside of a mask that follows the molecule, they differ as much as in the molecule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.fourier.grids import pieces_at_faces
from cryores_lite.fourier.interpolation import interpolate
from cryores_lite.method.crop import BLOCK_EDGE, block_mean
from cryores_lite.types import Density, Lengths, Mask, Volume

SAMPLE_STEP = 4  # voxels between the voxels of the sample in which constants are searched for
MIN_CONSTANT = 0.02  # share of the map that holds one value, if a part of the map is constant
SHELLS = 7  # depths inside the mask at which the level is measured, one block each
MAX_BLOCKS = 128  # along each axis
MIN_SHELL_BLOCKS = 20
MAX_SHELL_SPREAD = 0.27  # half the distance of the 10th and 90th percentiles of a shell of solvent, over the contrast
MAX_SHELL_DIFFERENCE = 0.06  # between the levels of two shells of solvent, over the contrast
MAX_HARD_RAMP = 0.15  # difference of levels near a hard edge, over the level of the solvent
MIN_LEVEL = 0.02  # over the contrast; a lower level does not change the answer
CONTRAST_PERCENTILE = 98  # of the averages inside the mask: the level of the molecule


@dataclass(frozen=True, eq=False)
class SolventLevel:
    """Level of the solvent inside a mask.

    Attributes
    ----------
    outside : values that the map holds outside the mask
    reference : the outside value next to the mask, from which levels are measured
    profile : (shells,) level at increasing depths inside the mask; the last is that of the solvent
    depth : (z, y, x) float32, depth of each block inside the mask, in blocks
    block : edges of a block, voxels
    contrast : level of the molecule minus that of the solvent
    """

    outside: npt.NDArray[np.float32]
    reference: float
    profile: npt.NDArray[np.float64]
    depth: Volume
    block: tuple[int, ...]
    contrast: float

    @property
    def relative(self) -> float:
        """Level of the solvent over the contrast of the molecule."""
        return float(self.profile[-1]) / self.contrast if self.contrast else 0.0


def level_solvent(density: Density) -> tuple[Density, SolventLevel | None]:
    """Subtract the level of the solvent inside a mask from a map, and set the outside to 0.

    Returns
    -------
    The map and the level that was subtracted; the same map and None if there is nothing to subtract
    """
    level = solvent_level(density.values, density.grid.voxel_size)
    if level is None:
        return density, None
    out = density.values - np.float32(level.reference)
    if np.ptp(level.profile) == 0:
        out -= np.float32(level.profile[-1])
    else:
        centres = np.arange(len(level.profile)) + 1.0
        coarse = np.interp(level.depth, np.append(0, centres), np.append(0, level.profile)).astype(np.float32)
        _, y, x = ((np.arange(n) + 0.5) / b - 0.5 for n, b in zip(out.shape, level.block, strict=True))
        for z, plane in enumerate(out):
            position = np.array([(z + 0.5) / level.block[0] - 0.5])
            plane -= interpolate(coarse[None], (position, y, x))[0, 0]
    for constant in level.outside:
        out[density.values == constant] = 0
    return Density(out, density.grid), level


def solvent_level(values: Volume, voxel_size: Lengths) -> SolventLevel | None:
    """Measure the level of the solvent inside a mask.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å

    Returns
    -------
    None if no part of the map is constant, or if only the molecule is inside the mask, or if the levels are equal
    """
    edges = (max(round(BLOCK_EDGE / v), -(-n // MAX_BLOCKS)) for v, n in zip(voxel_size, values.shape, strict=True))
    block = tuple(min(max(2, edge), n) for edge, n in zip(edges, values.shape, strict=True))
    regions = constant_regions(values, block)
    if not regions:
        return None
    covered = ~np.logical_or.reduce([region for _, region in regions])
    at_edge = ndimage.binary_dilation(covered)
    reference = float(max(regions, key=lambda region: np.count_nonzero(region[1] & at_edge))[0])
    means = block_mean(values, block) - np.float32(reference)
    means[~covered] = 0
    depth = ndimage.distance_transform_edt(covered).astype(np.float32)
    profile, contrast = even_profile(means, covered, depth)
    if len(regions) == 1 and abs(profile[-1]) < MIN_LEVEL * contrast:
        return None
    outside = np.array([constant for constant, _ in regions], np.float32)
    return SolventLevel(outside, reference, profile, depth, block, contrast)


def constant_regions(values: Volume, block: tuple[int, ...]) -> list[tuple[np.float32, Mask]]:
    """Find the values that the map holds outside a mask, each with the blocks that hold nothing else.

    A constant part that no constant blocks connect with the faces of the box is not outside.
    """
    step = max(1, min(SAMPLE_STEP, min(values.shape) // 16))
    sample = values[::step, ::step, ::step]
    levels, counts = np.unique(sample, return_counts=True)
    common = levels[counts >= MIN_CONSTANT * sample.size]
    regions = [block_mean(values == constant, block) == 1 for constant in common]
    if not regions:
        return []
    outside = pieces_at_faces(np.logical_or.reduce(regions))
    return [
        (constant, region & outside)
        for constant, region in zip(common, regions, strict=True)
        if (region & outside).mean() >= MIN_CONSTANT and not region.all()
    ]


def even_profile(means: Volume, covered: Mask, depth: Volume) -> tuple[npt.NDArray[np.float64], float]:
    """Measure the level at increasing depths inside a mask, down to the first two depths of even and equal level.

    Parameters
    ----------
    means : (z, y, x), averages of blocks, 0 outside the mask
    covered : (z, y, x) bool, blocks inside the mask
    depth : (z, y, x), in blocks

    Returns
    -------
    Profile, and contrast, of `SolventLevel`. The profile is 0 if no depth is even; it is constant if the mask's edge is
    hard.
    """
    weight = ndimage.uniform_filter(covered.astype(np.float32), 3, mode="constant")
    smoothed = ndimage.uniform_filter(means, 3, mode="constant") / np.maximum(weight, np.float32(1e-3))
    top = float(np.percentile(smoothed[covered], CONTRAST_PERCENTILE))
    levels: list[float] = []
    even: list[bool] = []
    for n in range(SHELLS):
        shell = (depth > n + 0.1) & (depth <= n + 1.1)
        if np.count_nonzero(shell) < MIN_SHELL_BLOCKS:
            break
        levels.append(float(np.median(means[shell])))
        low, high = np.percentile(smoothed[shell], (10, 90))
        contrast = top - levels[-1]
        even.append(bool(high - low <= 2 * MAX_SHELL_SPREAD * contrast))
        if n > 1 and all(even[-2:]) and abs(levels[-1] - levels[-2]) <= MAX_SHELL_DIFFERENCE * contrast:
            profile = np.array(levels)
            hard = np.ptp(profile[1:]) <= MAX_HARD_RAMP * abs(profile[-1])
            return (np.full_like(profile, profile[-2:].mean()) if hard else profile), contrast
    return np.zeros(1), max(top, 0.0)
