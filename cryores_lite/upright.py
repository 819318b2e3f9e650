"""A map and its answer turned upright, and what page and picture both draw of them. Arrays are (z, y, x); lengths Å."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.palette import colour_range, colours
from cryores_lite.types import Lengths, LocalResolution, Mask, Shape, Volume


@dataclass(frozen=True, eq=False)
class Upright:
    """A map and its answer as (z, y, x), whatever the order in their files.

    Attributes
    ----------
    density : float32, any unit
    local : float32, Å, 0 outside the mask
    mask : bool
    voxel_size : Å, (z, y, x)
    ends : Å of the first and the last colour
    fsc : float32, Å, local resolution from half maps, 0 outside the mask; None without them
    """

    density: Volume
    local: Volume
    mask: Mask
    voxel_size: Lengths
    ends: tuple[float, float]
    fsc: Volume | None = None


def order(axes: Sequence[int]) -> Shape:
    """Array axes of z, y and x, for columns, rows and sections along `axes` (1 = x, 2 = y, 3 = z)."""
    z, y, x = (2 - tuple(axes).index(name) for name in (3, 2, 1))
    return z, y, x


def upright(density: Volume, result: LocalResolution, axes: Sequence[int], fsc: Volume | None = None) -> Upright:
    """Turn a map and its answer upright, without a copy; `axes` as in the MRC header."""
    turn = order(axes)
    z, y, x = (result.grid.voxel_size[n] for n in turn)
    local = result.values.transpose(turn)
    mask, beside = result.mask.transpose(turn), None if fsc is None else fsc.transpose(turn)
    return Upright(density.transpose(turn), local, mask, (z, y, x), colour_range(local), beside)


def tinted(local: Volume, ends: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Local resolution as red, green, blue and opacity: clear where there is no answer; (…) becomes (…, 4)."""
    return np.dstack([colours(local, *ends), np.where(local > 0, 255, 0).astype(np.uint8)])


def ticks(low: float, high: float, most: int = 9) -> list[tuple[float, str]]:
    """Round values between two lengths, at most so many, with as many digits as they need."""
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= raw)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(n * step, f"{n * step:.{digits}f}") for n in range(first, last + 1)]
