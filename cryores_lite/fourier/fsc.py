"""Fourier shell correlation: bands, thresholds, where a curve ends. One for answers and for truths.

The resolution is 1/f at the first crossing of a threshold below which the FSC stays for the next two bands, by linear
interpolation in f; the first band's where that lies below already, the last one's where none does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.types import Volume

Curve = npt.NDArray[np.float64]
Threshold = Callable[[float, float], float]  # of a band's frequency (1/Å) and its window's σ (Å)

FSC_CUT = 0.143
COARSEST = 45.0  # Å, the first band
STEP = 1.05  # ratio of neighbouring bands, at most, among which a crossing is looked for
STAYS = 3  # bands that must lie below the threshold


def bands(nyquist: float, step: float = STEP) -> Curve:
    """Centres of bands in 1/Å, from 1/45 Å to `nyquist` itself, at most a factor of `step` apart."""
    count = int(np.ceil(np.log(nyquist * COARSEST) / np.log(step))) + 1
    centres: Curve = np.geomspace(1 / COARSEST, nyquist, count)
    return centres


def first_crossing(fsc: npt.NDArray[np.floating], frequencies: Curve, threshold: float | Curve = FSC_CUT) -> Volume:
    """Resolution in Å from FSC curves.

    Parameters
    ----------
    fsc : (bands, …)
    frequencies : (bands,) 1/Å, rising
    threshold : one for all bands, or (bands,)

    Returns
    -------
    (…) float32, Å
    """
    cuts = np.broadcast_to(np.asarray(threshold, fsc.dtype), len(frequencies))
    below = fsc < cuts.reshape(-1, *[1] * (fsc.ndim - 1))
    stays = below.copy()
    for n in range(1, STAYS):
        stays[:-n] &= below[n:]
    at = stays.argmax(0)
    before = np.maximum(at - 1, 0)
    high, low = (np.take_along_axis(fsc, place[None], 0)[0] for place in (before, at))
    fall = high - low - (cuts[before] - cuts[at])
    share = np.where(at > 0, (high - cuts[before]) / np.maximum(fall, 1e-9), 0)
    found = frequencies[before] + share * (frequencies[at] - frequencies[before])
    local: Volume = np.where(stays.any(0), 1 / found, 1 / frequencies[-1]).astype(np.float32)
    return local


def between(fsc: Volume, measured: Curve, frequencies: Curve) -> Volume:
    """FSC (bands, …) at other frequencies than those that were measured, linear in log f."""
    above = np.clip(np.searchsorted(measured, frequencies), 1, len(measured) - 1)
    low, high = np.log(measured[above - 1]), np.log(measured[above])
    share = np.clip((np.log(frequencies) - low) / (high - low), 0, 1).astype(np.float32)
    share = share.reshape(-1, *[1] * (fsc.ndim - 1))
    found: Volume = (1 - share) * fsc[above - 1] + share * fsc[above]
    return found


def correlation_terms(
    first: npt.NDArray[np.complexfloating[Any, Any]], second: npt.NDArray[np.complexfloating[Any, Any]]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Re F1 F2*, |F1|² and |F2|² of every wave: the terms of the three sums in an FSC."""
    return (first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2


def fixed(value: float = FSC_CUT) -> Threshold:
    """The same threshold everywhere: 0.143 (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721), or 0.5."""
    return lambda frequency, sigma: value


def one_bit(frequency: float, sigma: float) -> float:
    """The 1-bit threshold of van Heel & Schatz (2005), J. Struct. Biol. 151, 250, for the waves that a window holds.

    Their number n is the product of the window's volume, (4π)^(3/2) σ³, and of the band's, 4π f² · √(4π) · 0.064 f
    (both Gaussians, squared), halved, because the density is real: (0.5 + 2.4142/√n) / (1.5 + 1.4142/√n).
    """
    volume = (4 * np.pi) ** 1.5 * sigma**3
    root = np.sqrt(max(0.5 * volume * 4 * np.pi * frequency**2 * np.sqrt(4 * np.pi) * BAND_WIDTH * frequency, 1.0))
    return float((0.5 + 2.4142 / root) / (1.5 + 1.4142 / root))
