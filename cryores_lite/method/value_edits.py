"""Recognise maps whose values were changed: cut off at the bottom or the top, squared, or stored with few levels.

The noise of an unedited map has a distribution with two tails. Few voxels are near the lowest value, and few hold the
highest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.grids import pieces_at_faces
from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.method.crop import BLOCK_EDGE, block_mean
from cryores_lite.types import Density, Lengths, Volume

SAMPLE_VOXELS = 100_000
MIN_LOWEST = 0.002  # share of a sample that holds the lowest value; below, the voxels are not counted
MIN_SCATTERED_LOWEST = 0.02  # share of the voxels inside a mask that hold the lowest value, if it was cut off
FACE_BLOCKS = 2  # blocks next to the faces of the box in which the lowest value is not searched for
MAX_LOWEST = 0.05  # share of a sample that holds the lowest value, in a map without a constant part
MIN_HIGHEST = 0.02  # share of the strong voxels that hold the highest value, if it was cut off
MIN_HIGHEST_VOXELS = 20
MAX_TAIL = 1.3  # (median - lowest value) / (median - 5th percentile); 3 or more for noise, 1.0 to 1.1 for its square
# (25th percentile - lowest value) / (median - lowest value): 0.22 for squared noise, less for the tail of a map
# without noise
MIN_QUARTILE = 0.1
EQUAL_PROBABILITY = (1 / 0.9, 0.5, 0.06)  # the two ratios for values of equal probability, and the largest difference
ROUNDING_TO_WARN = 0.05  # share of the rounding error in the noise of a band
MAX_LEVELS = 0.5  # distinct values over voxels of a sample; with more, the values are not rounded


@dataclass(frozen=True, kw_only=True)
class ValueEdits:
    """Marks of changed values.

    Attributes
    ----------
    scattered_lowest : share of the voxels inside a mask that hold the lowest value, if it was cut off, else 0
    strongest : share of the strong voxels that hold the highest value, if it was cut off, else 0
    one_sided : whether the values crowd at the lowest one, as those of a squared map do
    levels : number of distinct values in a sample, if the values are rounded, else 0
    rounding_variance : variance of the rounding error, in squared units of the map
    """

    scattered_lowest: float = 0.0
    strongest: float = 0.0
    one_sided: bool = False
    levels: int = 0
    rounding_variance: float = 0.0


def value_edits(density: Density) -> ValueEdits:
    """Look for marks of changed values in a map."""
    values = density.values
    step = max(1, round((values.size / SAMPLE_VOXELS) ** (1 / 3)))
    sample = values[::step, ::step, ::step].ravel()
    lowest, highest = values.min(), values.max()
    is_lowest = sample == lowest
    scattered = 0.0
    if is_lowest.mean() >= MIN_LOWEST:
        scattered = scattered_share(values == lowest, density.grid.voxel_size)
    levels, variance = rounding(sample)
    return ValueEdits(
        scattered_lowest=scattered if scattered >= MIN_SCATTERED_LOWEST else 0.0,
        strongest=share_at_top(values, float(np.median(sample)), float(highest)),
        one_sided=bool(is_lowest.mean() < MAX_LOWEST) and is_one_sided(sample[~is_lowest], float(lowest)),
        levels=levels,
        rounding_variance=variance,
    )


def scattered_share(lowest: Volume, voxel_size: Lengths) -> float:
    """Return the share of lowest values among the voxels that are not outside a mask.

    Outside is what is connected with the faces of the box, in or next to a constant part of 12 Å or more.
    `lowest` is (z, y, x) bool.
    """
    block = tuple(min(max(2, round(BLOCK_EDGE / v)), n) for v, n in zip(voxel_size, lowest.shape, strict=True))
    share = block_mean(lowest, block)
    cube = np.ones((3, 3, 3), bool)
    solid = pieces_at_faces(ndimage.binary_erosion(share == 1, cube, border_value=1))
    rest = ~ndimage.binary_dilation(solid, cube, iterations=2)
    for axis, blocks in enumerate(share.shape):  # between a mask and the faces of the box there may be less than 12 Å
        if blocks > 4 * FACE_BLOCKS:
            layers = np.moveaxis(rest, axis, 0)
            layers[:FACE_BLOCKS] = layers[-FACE_BLOCKS:] = False
    rest = share[rest]
    return float(rest.mean()) if rest.size else 0.0


def share_at_top(values: Volume, typical: float, highest: float) -> float:
    """Return the share of the strong voxels that hold the highest value; 0 if it was not cut off.

    Strong voxels are those in the upper half of the range from the typical to the highest value.
    """
    strong = at_highest = 0
    middle = np.float32((typical + highest) / 2)
    for plane in values:
        strong += int(np.count_nonzero(plane > middle))
        at_highest += int(np.count_nonzero(plane == np.float32(highest)))
    share = at_highest / max(strong, 1)
    return share if at_highest >= MIN_HIGHEST_VOXELS and share >= MIN_HIGHEST else 0.0


def is_one_sided(sample: Volume, lowest: float) -> bool:
    """Whether the values crowd at the lowest one, as those of a squared map do."""
    fifth, quarter, median = (float(np.percentile(sample, q)) - lowest for q in (5, 25, 50))
    tail, quartile = median / max(median - fifth, 1e-6 * median), quarter / median
    first, second, tolerance = EQUAL_PROBABILITY
    if max(abs(tail - first), abs(quartile - second)) < tolerance:
        return False
    return tail < MAX_TAIL and quartile > MIN_QUARTILE


def rounding(sample: Volume) -> tuple[int, float]:
    """Return the number of distinct values of a sample, and the variance of their rounding error.

    Both are 0 if the values are not rounded.
    """
    levels, where, counts = np.unique(sample, return_inverse=True, return_counts=True)
    varying = where != counts.argmax()  # the most common value may be that outside a mask, which is exact
    if not 3 <= len(levels) <= MAX_LEVELS * np.count_nonzero(varying):
        return 0, 0.0
    gaps = np.diff(levels.astype(np.float64))
    steps = np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    # the median: the highest and lowest values of a sample are far apart, also if they are not rounded
    return len(levels), float(np.median(steps[where[varying]]) ** 2 / 12)


def white_power(variance: float, frequencies: Curve, voxel_size: Lengths) -> Curve:
    """Return the power of white noise in bands, for its `variance`, as `local_power` measures it."""
    width = BAND_WIDTH * frequencies
    waves = 4 * np.pi * frequencies**2 * width * np.sqrt(np.pi) * float(np.prod(voxel_size))
    power: Curve = variance * waves
    return power


def edit_warnings(edits: ValueEdits, rounding: float = 0.0) -> tuple[str, ...]:
    """Return warnings about changed values. `rounding` is the share of the rounding error in the noise."""
    warnings = []
    if edits.scattered_lowest:
        warnings.append(
            f"Values were cut off at the bottom ({edits.scattered_lowest:.0%} of the voxels hold the lowest value): "
            "resolution and mask may be wrong. Pass the map before negative or low values were set to one value."
        )
    if edits.strongest:
        warnings.append(
            f"Values were cut off at the top ({edits.strongest:.0%} of the strong voxels hold the highest value): "
            "the resolution may be wrong. Pass the map before that."
        )
    if edits.one_sided:
        warnings.append(
            "Most values are close to the lowest one, as in a squared map: resolution and mask may be "
            "wrong. Pass the map before that."
        )
    if rounding > ROUNDING_TO_WARN:
        warnings.append(
            f"The values are rounded to few levels ({edits.levels} in a sample). The rounding is {rounding:.0%} of the "
            "noise of fine detail, and the resolution may be wrong. Pass the map before it was rounded."
        )
    return tuple(warnings)
