"""Fourier shell correlation (FSC): bands, thresholds, and the resolution that a curve shows.

The resolution is 1/f where the FSC first falls below a threshold and stays below it for the next two bands,
interpolated linearly in f. It is that of the first band if the curve begins below the threshold, and that of the last
band if the curve never stays below. Estimates and references are defined alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.types import Volume

Curve = npt.NDArray[np.float64]
Waves = npt.NDArray[np.complexfloating[Any, Any]]  # Fourier coefficients
Threshold = Callable[[float, float], float]  # function of a band's frequency (1/Å) and its window's σ (Å)

FSC_THRESHOLD = 0.143
COARSEST_BAND = 45.0  # Å, the first band
MAX_BAND_RATIO = 1.05  # of neighbouring bands between which a crossing is interpolated
CONSECUTIVE_BANDS = 3  # bands below the threshold that make a crossing, the first included


def bands(nyquist: float, max_ratio: float = MAX_BAND_RATIO) -> Curve:
    """Return the centres of bands in 1/Å, from 1/45 Å to `nyquist`, at most a factor of `max_ratio` apart."""
    count = int(np.ceil(np.log(nyquist * COARSEST_BAND) / np.log(max_ratio))) + 1
    centres: Curve = np.geomspace(1 / COARSEST_BAND, nyquist, count)
    return centres


def first_crossing(
    fsc: npt.NDArray[np.floating], frequencies: Curve, threshold: float | Curve = FSC_THRESHOLD
) -> Volume:
    """Compute the resolution (Å) from FSC curves, as defined in the docstring of this module.

    Parameters
    ----------
    fsc : (bands, …)
    frequencies : (bands,) 1/Å, rising
    threshold : one value for all bands, or (bands,)

    Returns
    -------
    (…) float32, Å
    """
    thresholds = np.broadcast_to(np.asarray(threshold, fsc.dtype), len(frequencies))
    is_crossing = stays_below(fsc, thresholds)
    crossing = is_crossing.argmax(0)
    before = np.maximum(crossing - 1, 0)
    high, low = (np.take_along_axis(fsc, band[None], 0)[0] for band in (before, crossing))
    fall = high - low - (thresholds[before] - thresholds[crossing])
    share = np.where(crossing > 0, (high - thresholds[before]) / np.maximum(fall, 1e-9), 0)
    frequency = frequencies[before] + share * (frequencies[crossing] - frequencies[before])
    resolution: Volume = np.where(is_crossing.any(0), 1 / frequency, 1 / frequencies[-1]).astype(np.float32)
    return resolution


def stays_below(fsc: npt.NDArray[np.floating], thresholds: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Return where curves (bands, …) are below their thresholds (bands,) in a band and in the two bands after it."""
    below = fsc < thresholds.reshape(-1, *[1] * (fsc.ndim - 1))
    stays = below.copy()
    for n in range(1, CONSECUTIVE_BANDS):
        stays[:-n] &= below[n:]
    return stays


def without_tail(fsc: Volume, threshold: float = FSC_THRESHOLD) -> Volume:
    """Set FSC curves (bands, …) to 0 from the band on after which they stay below a threshold: the rest is chance."""
    ended = np.maximum.accumulate(stays_below(fsc, np.full(len(fsc), threshold, fsc.dtype)), axis=0)
    return np.where(ended, np.zeros((), fsc.dtype), fsc)


def interpolate_log(fsc: Volume, measured: Curve, frequencies: Curve) -> Volume:
    """Interpolate FSC (bands, …), known at the `measured` frequencies, at other frequencies; linear in log f."""
    above = np.clip(np.searchsorted(measured, frequencies), 1, len(measured) - 1)
    low, high = np.log(measured[above - 1]), np.log(measured[above])
    share = np.clip((np.log(frequencies) - low) / (high - low), 0, 1).astype(np.float32)
    share = share.reshape(-1, *[1] * (fsc.ndim - 1))
    interpolated: Volume = (1 - share) * fsc[above - 1] + share * fsc[above]
    return interpolated


def correlation_terms(
    first: Waves, second: Waves
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Return Re F1 F2*, |F1|² and |F2|² of every wave: the terms of the three sums in an FSC."""
    cross = first.real * second.real + first.imag * second.imag
    return cross, squared_amplitude(first), squared_amplitude(second)


def squared_amplitude(waves: Waves) -> npt.NDArray[np.floating]:
    """Return |F|² of every wave, several times as fast as the square of numpy's absolute value."""
    squares: npt.NDArray[np.floating] = np.square(waves.real)
    squares += np.square(waves.imag)
    return squares


def fixed_threshold(value: float = FSC_THRESHOLD) -> Threshold:
    """Return one threshold for all bands: 0.143 (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721), or 0.5."""
    return lambda frequency, sigma: value


def window_volume(sigma: float) -> float:
    """Return the volume of a Gaussian window of σ (Å) for a product of two fields, (4π)^(3/2) σ³, in Å³."""
    return float((4 * np.pi) ** 1.5 * sigma**3)


def waves_in_window(frequency: float, sigma: float) -> float:
    """Return the number of independent waves of a real density in a band (1/Å) and a window of σ (Å).

    It is half of the product of the window's volume and of the band's, 4π f² · √(4π) · 0.064 f.
    """
    band_volume = 4 * np.pi * frequency**2 * np.sqrt(4 * np.pi) * BAND_WIDTH * frequency
    return float(0.5 * window_volume(sigma) * band_volume)


def one_bit_threshold(frequency: float, sigma: float) -> float:
    """Return the 1-bit threshold of van Heel & Schatz (2005), J. Struct. Biol. 151, 250, for the waves in a window.

    With n waves, it is (0.5 + 2.4142/√n) / (1.5 + 1.4142/√n).

    Parameters
    ----------
    frequency : 1/Å, of the band
    sigma : Å, of the window
    """
    root = np.sqrt(max(waves_in_window(frequency, sigma), 1.0))
    return float((0.5 + 2.4142 / root) / (1.5 + 1.4142 / root))
