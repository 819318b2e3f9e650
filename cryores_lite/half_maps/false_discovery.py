"""The FSC above which a band is significant at a false-discovery rate, from half maps of noise with random phases.

Beckers & Sachse (2020), J. Struct. Biol. 212, 107579, test an FSC against that of permuted Fourier coefficients, and
limit the share of false discoveries. Here the same is done in windows: the difference of the half maps holds their
noise and no signal, and two copies of it with random phases are half maps by chance, with the power of the noise in
every direction. Their windowed FSC at all places is the distribution by chance. Of the places whose FSC exceeds the
threshold, at most the stated share exceeds it by chance (Benjamini & Hochberg 1995, J. R. Stat. Soc. B 57, 289).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryores_lite.fourier.criterion import FALSE_DISCOVERY_RATE
from cryores_lite.fourier.fsc import window_volume
from cryores_lite.fourier.spectrum import Spectrum
from cryores_lite.types import Lengths, Volume

MIN_WINDOWS = 100  # independent windows in the distribution by chance
UNTESTED_FSC = 0.5  # threshold of bands whose window is larger than the box: too few waves to test
MAX_DRAWS = 10  # of random phases for a band
SEED = 212


@dataclass(frozen=True)
class FalseDiscovery:
    """A test of each band's FSC against chance, at a false-discovery rate; it stands for a threshold of `local_fsc`."""

    rate: float = FALSE_DISCOVERY_RATE


def is_testable(lengths: Lengths, sigma: float) -> bool:
    """Return whether a box (Å) holds a window of σ (Å), so that its FSC varies little by chance."""
    return window_volume(sigma) <= float(np.prod(lengths))


def draws(lengths: Lengths, sigma: float) -> int:
    """Return how many pairs of random half maps a band needs, from its window's σ (Å) and the box (Å)."""
    return int(np.clip(np.ceil(MIN_WINDOWS * window_volume(sigma) / np.prod(lengths)), 1, MAX_DRAWS))


def random_phases(noise: Spectrum, rng: np.random.Generator) -> Spectrum:
    """Return a band with the amplitudes of `noise` and random phases."""
    angles = rng.random(noise.waves.shape, np.float32)
    angles *= np.float32(2 * np.pi)
    waves = np.empty_like(noise.waves)
    waves.real, waves.imag = np.cos(angles), np.sin(angles)
    waves *= np.abs(noise.waves)
    return replace(noise, waves=waves)


def significant_from(fsc: Volume, by_chance: Volume, rate: float) -> float:
    """Return the lowest FSC that is significant: of all places at or above it, a share of `rate` is so by chance.

    Parameters
    ----------
    fsc : FSC of a band at all places, of any shape
    by_chance : FSC of half maps without a common signal, of any shape

    Returns
    -------
    float; above all of `fsc` where no place is significant
    """
    chance, observed = np.sort(by_chance, axis=None), np.sort(fsc, axis=None)[::-1]
    exceeding = chance.size - np.searchsorted(chance, observed, side="left")
    p_values = (1 + exceeding) / (1 + chance.size)
    passed = np.flatnonzero(p_values <= rate * np.arange(1, observed.size + 1) / observed.size)
    if not passed.size:
        return float(np.nextafter(max(observed[0], chance[-1]), np.float32(2)))
    return float(observed[passed[-1]])
