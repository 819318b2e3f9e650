"""The colours of local resolution: cividis, light where fine, dark where coarse, readable with colour blindness.

Nuñez, Anderton & Renslow (2018), PLoS ONE 13, e0199239 (cividis).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError

COLOUR_STOPS = ("#fee838", "#c8b866", "#948e77", "#666970", "#35456c", "#00224e")  # equal steps in Å, finest first
DIFFERENCE_STOPS = ("#2b6cb0", "#d5d8dc", "#b7472a")  # finer, equal, coarser
CLEAR_DIFFERENCE_COLOUR = "#e0182d"  # outlines on the colours of local resolution
OUTSIDE_COLOUR = "#808080"  # outside the mask
COLOUR_PERCENTILES = (2.5, 97.5)  # of local resolution inside the mask: the first and the last colour
MIN_COLOUR_RANGE = 0.1  # Å: small errors of a nearly uniform map do not span the palette
MIN_COLOUR_LIMIT = 0.1  # Å: finer than any map


def colour_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return the local resolution (Å) of the first and the last colour; `values` are Å, 0 outside the mask."""
    inside = values[values > 0]
    if not inside.size:
        return MIN_COLOUR_RANGE, 2 * MIN_COLOUR_RANGE
    low, high = (float(v) for v in np.percentile(inside, COLOUR_PERCENTILES))
    return low, max(high, low + MIN_COLOUR_RANGE)


def limits_argument(limits: Any, name: str = "colours") -> tuple[float, float]:
    """Return the local resolution (Å) of the first and the last colour that a user gives: two lengths, or ``LO,HI``.

    Raises
    ------
    InputError
        They are not two increasing lengths.
    """
    try:
        low, high = map(float, limits.split(",") if isinstance(limits, str) else limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low >= MIN_COLOUR_LIMIT and low + MIN_COLOUR_RANGE <= high < math.inf):
        raise InputError(
            name,
            found=limits,
            expected=f"two lengths in Å from {MIN_COLOUR_LIMIT:g} on, {MIN_COLOUR_RANGE:g} or more apart",
            try_="give the finest first, as in 3,8",
        )
    return low, high


def colour_stops(low: float, high: float) -> Sequence[tuple[float, str]]:
    """Return local resolution (Å) and colour (#rrggbb) of every stop of the palette between two limits (Å)."""
    lengths = np.linspace(low, high, len(COLOUR_STOPS))
    return [(float(length), colour) for length, colour in zip(lengths, COLOUR_STOPS, strict=True)]


def difference_limit(differences: npt.NDArray[np.floating]) -> float:
    """Return the absolute difference (Å) of the first and the last colour; NaN marks voxels outside the mask."""
    known = np.abs(differences[np.isfinite(differences)])
    return max(float(np.percentile(known, COLOUR_PERCENTILES[1])), MIN_COLOUR_RANGE) if known.size else MIN_COLOUR_RANGE


def rgb_colours(
    values: npt.NDArray[np.floating], low: float, high: float, stops: Sequence[str] = COLOUR_STOPS
) -> npt.NDArray[np.uint8]:
    """Colour an array: linear interpolation between the stops, as in ChimeraX.

    Parameters
    ----------
    values : (…) Å
    low, high : Å of the first and the last stop
    stops : #rrggbb

    Returns
    -------
    (…, 3) uint8, red, green, blue
    """
    table = np.array([rgb(stop) for stop in stops], np.float32)
    position = np.clip((values - low) / (high - low), 0, 1) * (len(stops) - 1)
    channels = [np.interp(position, np.arange(len(stops)), channel) for channel in table.T]
    return np.stack(channels, -1).round().astype(np.uint8)


def hex_colour(value: float, low: float, high: float) -> str:
    """Return the colour (#rrggbb) of one value in Å; `low` and `high` are Å of the first and the last colour."""
    red, green, blue = rgb_colours(np.array(value), low, high).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue (0 to 255) of #rrggbb."""
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return red, green, blue
