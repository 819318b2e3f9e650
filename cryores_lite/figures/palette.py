"""One palette for script, report, surface and slices: cividis, light is good and dark is poor, readable by everyone.

Nuñez, Anderton & Renslow (2018), PLoS ONE 13, e0199239 (cividis).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STOPS = ("#fee838", "#c8b866", "#948e77", "#666970", "#35456c", "#00224e")  # of equal steps in Å, finest first
APART = ("#2b6cb0", "#d5d8dc", "#b7472a")  # of differences: finer, the same, coarser
OUTSIDE = "#808080"  # where there is no answer
PERCENTILES = (2.5, 97.5)  # of the answer, between which the colours run
LEAST = 0.1  # Å, of a range: an even answer is not noise in all colours


def colour_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Å of the first and the last colour, for local resolution that is 0 where there is no answer."""
    inside = values[values > 0]
    if not inside.size:
        return LEAST, 2 * LEAST
    low, high = (float(v) for v in np.percentile(inside, PERCENTILES))
    return low, max(high, low + LEAST)


def stops(low: float, high: float) -> Sequence[tuple[float, str]]:
    """Å and colour of every stop."""
    return [(float(value), colour) for value, colour in zip(np.linspace(low, high, len(STOPS)), STOPS, strict=True)]


def reach(apart: npt.NDArray[np.floating]) -> float:
    """Å of the first and the last colour of differences, which are NaN where there are none."""
    known = np.abs(apart[np.isfinite(apart)])
    return max(float(np.percentile(known, PERCENTILES[1])), LEAST) if known.size else LEAST


def colours(
    values: npt.NDArray[np.floating], low: float, high: float, scale: Sequence[str] = STOPS
) -> npt.NDArray[np.uint8]:
    """Red, green and blue of lengths in Å: linear between a scale's stops, as ChimeraX does; (…) becomes (…, 3)."""
    table = np.array([[int(stop[n : n + 2], 16) for n in (1, 3, 5)] for stop in scale], np.float32)
    place = np.clip((values - low) / (high - low), 0, 1) * (len(scale) - 1)
    channels = [np.interp(place, np.arange(len(scale)), channel) for channel in table.T]
    return np.stack(channels, -1).round().astype(np.uint8)


def colour(value: float, low: float, high: float) -> str:
    """Colour of a value in Å, as #rrggbb."""
    red, green, blue = colours(np.array(value), low, high).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
