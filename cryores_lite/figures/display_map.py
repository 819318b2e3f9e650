"""The map and its answer as they are shown: upright, contoured, and carried outwards to colour by."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.figures.palette import colour_range, colours
from cryores_lite.types import Lengths, LocalResolution, Mask, Shape, Volume

REACH = 8.0  # Å by which colours reach out of the mask: a surface drawn low still has some
CONTOUR = 0.45  # share of the mask's voxels that the suggested surface encloses,
NOISE = 0.001  # unless more than this share of the others would be above: in a sharpened map that is dust everywhere


@dataclass(frozen=True, eq=False, kw_only=True)
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
    return Upright(
        density=density.transpose(turn),
        local=local,
        mask=result.mask.transpose(turn),
        voxel_size=(z, y, x),
        ends=colour_range(local),
        fsc=None if fsc is None else fsc.transpose(turn),
    )


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


def contour(density: Volume, mask: Mask) -> float:
    """A density at which the surface shows the molecule and not the noise around it."""
    inside, outside = density[mask], density[~mask]
    shows = [np.quantile(part, 1 - share) for part, share in ((inside, CONTOUR), (outside, NOISE)) if part.size]
    return float(max(shows)) if inside.size else float(density.max())


def extended(values: Volume, voxel_size: Lengths) -> Volume:
    """Local resolution carried outwards by `REACH` Å, so that no surface near the mask takes the colour of 0.

    Shell by shell, every new voxel is the mean of the known ones among the 26 around it; inside nothing changes.

    Parameters
    ----------
    values : (z, y, x) Å, 0 outside the mask
    voxel_size : Å
    """
    out = values.copy()
    if not out.any():
        return out
    shells = max(1, math.ceil(REACH / min(voxel_size)))
    known = [np.flatnonzero((values > 0).any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(0, places[0] - shells), places[-1] + 1 + shells) for places in known)
    padded = np.pad(out[box], 1)  # a rim, so that every voxel has 26 others around it
    flat, free = padded.ravel(), np.pad(out[box] == 0, 1).ravel()
    steps = [np.ravel_multi_index(step, padded.shape) for step in itertools.product((0, 1, 2), repeat=3)]
    around = [int(step - steps[13]) for step in steps if step != steps[13]]
    shell = np.flatnonzero(flat)
    for _ in range(shells):
        near = np.zeros(flat.shape, bool)
        for step in around:
            near[shell + step] = True
        shell = np.flatnonzero(near & free)
        total, count = np.zeros(shell.size, np.float32), np.zeros(shell.size, np.float32)
        for step in around:
            there = flat[shell + step]
            total += there
            count += there > 0
        flat[shell], free[shell] = total / count, False
    out[box] = padded[1:-1, 1:-1, 1:-1]
    return out
