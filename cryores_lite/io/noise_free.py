"""Detect maps without noise, such as maps computed from an atomic model: no noise, no evidence of local resolution.

A sum of Gaussians at the atoms is nowhere below the value far from them. It falls off to that value over many orders of
magnitude, and has no local maximum on the way. Noise breaks each of the three, also where negative values were set to
0 or a mask fades it out. Maps from a Fourier sum with a sharp limit have ripples like noise, and are not detected.
"""

from __future__ import annotations

import numpy as np

from cryores_lite.types import Volume

LOWEST = -1e-7  # of the highest value: rounding below the value at the faces
WEAK = (1e-4, 1e-3)  # of the highest value, both above the value at the faces
MEDIUM = (1e-2, 1e-1)
WEAK_TO_MEDIUM = (0.15, 3.0)  # number of weak voxels over that of medium ones: 0.19 to 1.6 in maps from models
MIN_WEAK_VOXELS = 30
MAX_PEAKS = 2e-4  # share of the weak voxels that are higher than their six neighbours


def is_noise_free(values: Volume) -> bool:
    """Return whether a map falls off from its molecule as a sum of Gaussians does, without any noise.

    Parameters
    ----------
    values : (z, y, x), finite, not constant
    """
    if min(values.shape) < 3:
        return False
    level = _median_at_faces(values)
    height = float(values.max()) - level
    if height <= 0 or float(values.min()) - level < LOWEST * height:
        return False
    medium = weak = peaks = 0
    for below, plane, above in zip(values[:-2], values[1:-1], values[2:], strict=True):
        inner = plane[1:-1, 1:-1]
        share = (inner - np.float32(level)) / np.float32(height)
        is_weak = (share >= WEAK[0]) & (share < WEAK[1])
        neighbours = (below[1:-1, 1:-1], above[1:-1, 1:-1], plane[:-2, 1:-1], plane[2:, 1:-1], plane[1:-1, :-2])
        is_peak = is_weak & (inner >= plane[1:-1, 2:])
        for neighbour in neighbours:
            is_peak &= inner >= neighbour
        medium += int(np.count_nonzero((share >= MEDIUM[0]) & (share < MEDIUM[1])))
        weak += int(np.count_nonzero(is_weak))
        peaks += int(np.count_nonzero(is_peak))
    low, high = WEAK_TO_MEDIUM
    return weak >= MIN_WEAK_VOXELS and low * medium <= weak <= high * medium and peaks <= MAX_PEAKS * weak


def _median_at_faces(values: Volume) -> float:
    """Return the median of the outermost voxels: the value far from the molecule."""
    faces = [values.take(end, axis).ravel() for axis in range(3) for end in (0, -1)]
    return float(np.median(np.concatenate(faces)))
