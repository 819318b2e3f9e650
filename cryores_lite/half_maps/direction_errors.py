"""Random error of the ratio of resolutions by direction.

Where the FSC falls slowly at its threshold, a small error of the FSC or of the noise moves the crossing far. Random
errors are added to both, as large as the numbers of waves give, and the ratio is measured again.
"""

from __future__ import annotations

import numpy as np

from cryores_lite.fourier.fsc import Curve, first_crossing
from cryores_lite.half_maps.direction_sums import DirectionSums, band_weights
from cryores_lite.types import Volume

DRAWS = 400
SEED = 143  # of the random errors: the same half maps give the same range
RANGE = (5.0, 95.0)  # percentiles of the ratios
HIGHEST_FSC = 0.9999


def independent_share(weights: Volume | None) -> float:
    """Return the share of a map's waves that are independent after it was multiplied by weights (z, y, x)."""
    if weights is None:
        return 1.0
    squares = np.square(weights)
    return float(squares.mean()) ** 2 / max(float(np.square(squares).mean()), 1e-30)


def ratio_range(
    sums: DirectionSums,
    frequencies: Curve,
    ratio: Curve,
    noise: tuple[float, float],
    noise_waves: tuple[float, float],
    share: float,
) -> tuple[float, float]:
    """Return the range of the ratio of the worst to the best resolution, from its 5th to its 95th percentile.

    The FSC F of n independent waves has a standard deviation of (1 − F²) / √(2n), because a wave has two parts. The
    power of n waves of noise has a relative standard deviation of 1 / √n.

    Parameters
    ----------
    sums : of the two half maps
    frequencies : (bands,) 1/Å
    ratio : (bands,) of the signal to the mean noise
    noise : relative power of the noise in the best and in the worst direction
    noise_waves : numbers of waves that gave these powers
    share : of the waves that are independent
    """
    rng = np.random.default_rng(SEED)
    fsc = ratio / (1 + ratio)
    waves = sums.waves.sum(1)
    by_shell = np.interp(np.log(sums.frequencies), np.log(frequencies), fsc)
    shell_error = (1 - by_shell**2) / np.sqrt(2 * np.maximum(share * waves, 1))
    weights = band_weights(sums, frequencies) * waves
    weights /= weights.sum(1, keepdims=True)
    errors = weights @ (shell_error[:, None] * rng.standard_normal((len(waves), DRAWS)))
    drawn = np.clip(fsc[:, None] + errors, 0, HIGHEST_FSC)
    drawn /= 1 - drawn
    best, worst = (
        first_crossing(drawn / (drawn + power * np.exp(rng.standard_normal(DRAWS) / np.sqrt(max(n, 1)))), frequencies)
        for power, n in zip(noise, noise_waves, strict=True)
    )
    low, high = np.percentile(worst / best, RANGE)
    return max(float(low), 1.0), max(float(high), 1.0)
