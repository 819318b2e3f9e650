"""Fields read off between their voxels: linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.spectrum import Spectrum
from cryores_lite.types import Shape, Volume

Places = npt.NDArray[np.float64]


def places(spectrum: Spectrum, crop: Shape, grid: Shape) -> tuple[Places, Places, Places]:
    """Where a crop's voxels lie on a grid of so many points over the periodic box made of it, along each axis."""
    z, y, x = (
        (np.arange(n, dtype=np.float64) + before) * (m / whole)
        for n, before, m, whole in zip(crop, spectrum.before, grid, spectrum.shape, strict=True)
    )
    return z, y, x


def interpolate(values: npt.NDArray[Any], places: tuple[npt.NDArray[np.float64], ...]) -> Volume:
    """Read fields (channel, z, y, x) off at a grid of places, in voxels along each axis: linear, ends held."""
    for axis, place in enumerate(places, 1):
        n = values.shape[axis]
        place = np.clip(place, 0, n - 1)
        lower = np.minimum(place.astype(int), max(n - 2, 0))
        share = (place - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (
            np.take(values, np.minimum(lower + s, n - 1), axis).astype(np.float32, copy=False) for s in (0, 1)
        )
        second -= first
        second *= share
        first += second
        values = first
    return values


def same_box(source: tuple[int, ...], target: Shape) -> tuple[npt.NDArray[np.float64], ...]:
    """Where the voxels of one grid over a box lie on another grid over it."""
    return tuple(np.linspace(0, n, m, endpoint=False, dtype=np.float64) for n, m in zip(source, target, strict=True))


def resample_periodic(values: Volume, shape: Shape, part: Sequence[slice] = (slice(None),) * 3) -> Volume:
    """A field on (a part of) another grid of `shape` points over the same box: linear."""
    places = tuple(place[s] for place, s in zip(same_box(values.shape, shape), part, strict=True))
    out: Volume = interpolate(values[None], places)[0]
    return out
