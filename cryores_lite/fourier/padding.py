"""Make a box periodic, with mirrored, faded padding.

Without padding, the density of a cropped map jumps where the box wraps around, and the jump adds power to every shell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.types import Shape, Volume

PADDING = 8  # minimum voxels of mirrored, faded map on every side


@dataclass(frozen=True, eq=False, kw_only=True)
class PeriodicBox:
    """A density whose padding makes it periodic. The padded density is made part by part, and never as a whole.

    Attributes
    ----------
    values : (z, y, x) float32, the density without padding
    solvent : its value at the faces, which is subtracted
    mirrored : for each plane of the padded box, the plane of `values` that it repeats
    fades : for each axis, the factors on the padded box
    before : voxels of padding in front of the first voxel of `values`
    """

    values: Volume
    solvent: np.float32
    mirrored: npt.NDArray[np.intp]
    fades: tuple[Volume, ...]
    before: Shape

    @property
    def shape(self) -> Shape:
        """Voxels of the padded box."""
        z, y, x = map(len, self.fades)
        return z, y, x

    def part(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Volume:
        """Return a part of the padded density."""
        planes = self.mirrored[z]
        (_, *sizes), (_, *before) = self.values.shape, self.before
        rows, columns = (
            slice(side.indices(n)[0] - start, side.indices(n)[1] - start)
            for side, n, start in zip((y, x), self.shape[1:], before, strict=True)
        )
        if min(rows.start, columns.start) >= 0 and rows.stop <= sizes[0] and columns.stop <= sizes[1]:
            density: Volume = self.values[planes, rows, columns] - self.solvent
        else:
            widths = [(start, n - start - size) for start, n, size in zip(before, self.shape[1:], sizes, strict=True)]
            density = np.pad(self.values[planes] - self.solvent, ((0, 0), *widths), mode="symmetric")[:, y, x]
        density *= self.fades[1][y, None] * self.fades[2][x]
        for plane, fade in zip(density, self.fades[0][z], strict=True):
            if fade != 1:
                plane *= fade
        return density


def pad(values: Volume) -> PeriodicBox:
    """Make a box periodic with mirrored, faded padding. Its shape is fast to transform.

    The median of the six faces is subtracted, so that solvent is at zero.

    Parameters
    ----------
    values : (z, y, x) float32
    """
    fast = [fft.next_fast_len(n + 2 * PADDING, real=True) for n in values.shape]
    widths = [((m - n) // 2, m - n - (m - n) // 2) for n, m in zip(values.shape, fast, strict=True)]
    faces: list[npt.NDArray[Any]] = [values.take([0, -1], axis).ravel() for axis in range(3)]
    (z, _), (y, _), (x, _) = widths
    return PeriodicBox(
        values=values,
        solvent=np.median(np.concatenate(faces)).astype(np.float32),
        mirrored=np.pad(np.arange(len(values)), widths[0], mode="symmetric"),
        fades=tuple(_fade(n, *width) for n, width in zip(values.shape, widths, strict=True)),
        before=(z, y, x),
    )


def without_padding(values: Volume) -> PeriodicBox:
    """Return a density that is periodic already, as a box without padding."""
    return PeriodicBox(
        values=values,
        solvent=np.float32(0),
        mirrored=np.arange(len(values)),
        fades=tuple(_fade(n, 0, 0) for n in values.shape),
        before=(0, 0, 0),
    )


def _fade(n: int, before: int, after: int) -> Volume:
    """Return the factors along an axis: 1 in n voxels, and a rise to them and a fall behind them."""
    return np.concatenate([_rise(before), np.ones(n, np.float32), _rise(after)[::-1]])


def _rise(n: int) -> Volume:
    """Return half a cosine from 0 to 1 in n steps."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(n, 1))).astype(np.float32)
