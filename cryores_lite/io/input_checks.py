"""Detect inputs that are not final maps: half maps, masks, difference maps, local-resolution maps.

Detection uses the values and the file name. It is quick, and doubtful cases give no warning.

Averages over blocks of a few Å are skewed in a final map: much solvent surrounds a small molecule. Their skewness
was 2.1 to 6.9 in all final maps tried (experimental and simulated, masked or not). It is about 0 for noise and for the
difference of two maps, and negative for inverted contrast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.io.half_map_names import HALF_MAP_NAME
from cryores_lite.io.mrc import Map
from cryores_lite.io.noise_free import is_noise_free
from cryores_lite.types import Volume, without_offset

BLOCK_LENGTH = 5.0  # Å
MIN_BLOCKS = 500  # with fewer blocks, the distribution of their averages is not judged
MIN_MASK_PLATEAU = 0.1  # share of a mask's voxels above the lowest value that hold the highest
MAX_INVERTED_SKEWNESS = -1.0
MAX_NOISE_SKEWNESS = 0.25  # of either sign
MIN_NOISE_KURTOSIS = -0.25  # excess
HOT_VOXEL_RATIO = 10.0  # distance of a hot voxel from the typical value, over the largest distance of other voxels
MIN_EXTREME_VOXELS = 8  # fewer extreme voxels are hot voxels
MIN_OUTSIDE_FRACTION = 0.05  # of a local-resolution map's voxels that hold one value, outside the molecule
LOCAL_RESOLUTION_RANGE = (1.5, 100.0)  # voxels, Å
LONGEST_IN_VOXELS = 25.0  # the longest local resolution of a map with large voxels
MAX_LOCAL_RESOLUTION_SPREAD = 0.5  # standard deviation over mean
MAX_LOWEST_TENTH = 0.5  # share of a local-resolution map's voxels in the lowest tenth of its range
DARK_MOLECULE = "The molecule is darker than the solvent: if the contrast is inverted, multiply the map by -1."
NO_NOISE = (
    "The map holds no noise to judge by: it falls off smoothly to one value, as a map computed from a model does. "
    "The local resolution is that of a perfect map, and shows only the limits of its filter and its voxels."
)


@dataclass(frozen=True, kw_only=True)
class MapStatistics:
    """Statistics that differ between final maps and other kinds of maps.

    Attributes
    ----------
    lowest, highest : of all values
    plateau : share of the voxels above the lowest value that hold the highest
    skewness, excess_kurtosis : of block averages, 0 for noise; None if there are too few blocks
    extreme_voxels : number of voxels whose distance from the typical value is at least 1/10 of the largest distance
    """

    lowest: float
    highest: float
    plateau: float
    skewness: float | None
    excess_kurtosis: float | None
    extreme_voxels: int


def check_input(map_path: Path, input_map: Map, by_name: bool = True) -> Map:
    """Add warnings to a map that does not look like a final map; refuse a mask.

    Parameters
    ----------
    map_path : file of the map, for its name
    input_map : the map as read
    by_name : also warn if the name is that of a half map; False where the user passed half maps on purpose

    Returns
    -------
    `input_map` with more warnings, if there are any

    Raises
    ------
    InputError
        The map is a mask.
    """
    values, voxel_size = input_map.density.values, min(input_map.density.grid.voxel_size)
    statistics = map_statistics(values, voxel_size)
    if statistics.plateau >= MIN_MASK_PLATEAU:
        raise InputError(
            f"{map_path.name}, values",
            found=f"a mask ({statistics.plateau:.0%} of the voxels above the lowest value hold the highest)",
            expected="a density map",
            try_="pass the map that the mask was made for",
        )
    if statistics.lowest >= 0 and is_local_resolution(values, voxel_size):
        warnings: tuple[str, ...] = (
            f"The values (up to {statistics.highest:.3g}) look like a local-resolution map in Å: pass the density map.",
        )
    else:
        warnings = other_kind_warnings(map_path.name if by_name else "", statistics)
    if is_noise_free(values):
        warnings = (*warnings, NO_NOISE)
    return replace(input_map, warnings=(*input_map.warnings, *warnings))


def other_kind_warnings(name: str, statistics: MapStatistics) -> tuple[str, ...]:
    """Return warnings for a map whose name or values are not those of a final map."""
    warnings = []
    if HALF_MAP_NAME.search(name):
        warnings.append("The file name is that of a half map, which is noisier than the final map: pass the final map.")
    skewness, kurtosis = statistics.skewness, statistics.excess_kurtosis
    if skewness is not None and kurtosis is not None:
        if skewness < MAX_INVERTED_SKEWNESS:
            warnings.append(DARK_MOLECULE)
        elif abs(skewness) < MAX_NOISE_SKEWNESS and kurtosis > MIN_NOISE_KURTOSIS:
            warnings.append("The map looks like noise or a difference of two maps: pass the final map.")
    if statistics.extreme_voxels < MIN_EXTREME_VOXELS:
        warnings.append(
            f"Very few voxels ({statistics.extreme_voxels}) are {HOT_VOXEL_RATIO:g} times farther from the typical "
            "value than all others: if they are artefacts, replace them."
        )
    return tuple(warnings)


def is_local_resolution(values: Volume, voxel_size: float) -> bool:
    """Return whether values look like local resolution in Å: one value outside the molecule, similar lengths inside."""
    inside = values[values != values[0, 0, 0]]
    if inside.size > (1 - MIN_OUTSIDE_FRACTION) * values.size:
        return False
    shortest = LOCAL_RESOLUTION_RANGE[0] * voxel_size
    longest = max(LOCAL_RESOLUTION_RANGE[1], LONGEST_IN_VOXELS * voxel_size)
    low, high = float(inside.min()), float(inside.max())
    deviation, mean = (float(f(inside, dtype=np.float64)) for f in (np.std, np.mean))
    lowest_tenth = np.count_nonzero(inside < low + 0.1 * (high - low)) / inside.size
    return (
        shortest <= low < high <= longest
        and deviation < MAX_LOCAL_RESOLUTION_SPREAD * mean
        and lowest_tenth < MAX_LOWEST_TENTH
    )


def map_statistics(values: Volume, voxel_size: float) -> MapStatistics:
    """Measure the statistics of a map, in the memory of a few planes.

    Parameters
    ----------
    values : (z, y, x), finite, not constant
    voxel_size : Å
    """
    values = without_offset(values)
    lowest, highest = float(values.min()), float(values.max())
    blocks = block_means(values, max(1, round(BLOCK_LENGTH / voxel_size)))
    typical = float(np.median(blocks)) if blocks.size else 0.0
    distance = max(highest - typical, typical - lowest) / HOT_VOXEL_RATIO
    above_lowest = at_highest = extreme = 0
    for plane in values:
        above_lowest += int(np.count_nonzero(plane > lowest))
        at_highest += int(np.count_nonzero(plane == highest))
        extreme += int(np.count_nonzero(plane > typical + distance)) + int(np.count_nonzero(plane < typical - distance))
    skewness, excess_kurtosis = _skewness_and_kurtosis(blocks)
    return MapStatistics(
        lowest=lowest,
        highest=highest,
        plateau=at_highest / above_lowest,
        skewness=skewness,
        excess_kurtosis=excess_kurtosis,
        extreme_voxels=extreme,
    )


def block_means(values: Volume, edge: int) -> Volume:
    """Averages over complete cubes of `edge` voxels, as a flat array; incomplete cubes are left out."""
    z, y, x = (n // edge for n in values.shape)
    layers = []
    for start in range(0, z * edge, edge):
        plane = values[start : start + edge, : y * edge, : x * edge].sum(0)
        layers.append(plane.reshape(y, edge, x * edge).sum(1).reshape(y, x, edge).sum(2))
    return np.array(layers, np.float32).ravel() / np.float32(edge**3)


def _skewness_and_kurtosis(blocks: Volume) -> tuple[float | None, float | None]:
    """Skewness and excess kurtosis; None for fewer than `MIN_BLOCKS` blocks or if all are equal."""
    if blocks.size < MIN_BLOCKS:
        return None, None
    differences = blocks - blocks.mean(dtype=np.float64)
    deviation = float(np.sqrt(np.mean(differences**2)))
    if deviation == 0:
        return None, None
    skewness, kurtosis = (float(np.mean((differences / deviation) ** power)) for power in (3, 4))
    return skewness, kurtosis - 3
