"""Crop a map to the box around its molecule, and paste values back into the full grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import otsu_threshold, without_small_pieces
from cryores_lite.types import Lengths, Shape, Volume

T = TypeVar("T", bound=np.generic)

BLOCK_EDGE = 4.0  # Å; the molecule is searched for in averages over such blocks
MIN_CONTRAST = 4.0  # of a block of molecule to solvent, in robust standard deviations of the solvent
MIN_MOLECULE_PIECE = 0.02  # share of the largest piece; smaller pieces are noise


@dataclass(frozen=True)
class Box:
    """A part of a grid: its first voxel and its number of voxels."""

    start: Shape
    shape: Shape

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of the grid's values."""
        z, y, x = (slice(a, a + n) for a, n in zip(self.start, self.shape, strict=True))
        return z, y, x


def molecule_box(values: Volume, voxel_size: Lengths, margin: float, second: Volume | None = None) -> Box:
    """Find the smallest box that holds all density above μ + 3σ, plus a margin.

    The map is averaged in blocks of about 4 Å first: 0.1 % of a noisy box is above μ + 3σ by
    chance. Where the molecule fills so much of the box that μ + 3σ would cut into it, Otsu's
    threshold is lower and replaces it.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å
    margin : Å, added on every side as far as the grid reaches
    second : another half map: the box is that of the average of both, which need not be made

    References
    ----------
    Dai et al. (2023), CryoRes, J. Mol. Biol. 435, 168059 (the μ + 3σ rule).
    """
    block = tuple(max(1, min(round(BLOCK_EDGE / v), n)) for v, n in zip(voxel_size, values.shape, strict=True))
    coarse = block_mean(values, block)
    if second is not None:
        coarse += block_mean(second, block)
        coarse /= 2
    solvent = float(np.median(coarse))
    solvent_std = 1.4826 * float(np.median(np.abs(coarse - solvent)))
    # Otsu's threshold divides even pure noise into two classes: keep it above the noise.
    otsu = max(float(otsu_threshold(coarse.ravel())), solvent + MIN_CONTRAST * solvent_std)
    threshold = min(float(coarse.mean() + 3 * coarse.std()), otsu)
    dense = np.argwhere(without_small_pieces(coarse > threshold, MIN_MOLECULE_PIECE))
    if not len(dense):
        return Box((0, 0, 0), values.shape)
    reach = [int(np.ceil(margin / v)) for v in voxel_size]
    low = [max(0, int(c) * b - r) for c, b, r in zip(dense.min(0), block, reach, strict=True)]
    high = [min(n, (int(c) + 1) * b + r) for c, b, r, n in zip(dense.max(0), block, reach, values.shape, strict=True)]
    z, y, x = (b - a for a, b in zip(low, high, strict=True))
    return Box((low[0], low[1], low[2]), (z, y, x))


def cut(values: Volume, box: Box) -> Volume:
    """Return the part of a grid in the box, as a view. Undone by `paste`."""
    part: Volume = values[box.slices]
    return part


def paste(values: npt.NDArray[T], box: Box, shape: Shape) -> npt.NDArray[T]:
    """Paste values into a grid of zeros at the box. Values that fill the grid are returned unchanged."""
    if values.shape == shape:
        return values
    grid = np.zeros(shape, values.dtype)
    grid[box.slices] = values
    return grid


def block_mean(values: Volume, block: tuple[int, ...]) -> Volume:
    """Average in blocks. Blocks that reach beyond the far faces repeat the outermost voxels.

    `io.input_checks.block_means` leaves such blocks out and rounds in another order; one function would change results.
    """
    a, b, c = block
    pad = [(0, -n % edge) for n, edge in zip(values.shape, block, strict=True)]
    rows = []
    for z in range(0, values.shape[0], a):
        slab = values[z : z + a]
        plane = slab.sum(0, dtype=np.float32) + (a - len(slab)) * slab[-1]
        plane = np.pad(plane, pad[1:], mode="edge")
        rows.append(plane.reshape(plane.shape[0] // b, b, plane.shape[1] // c, c).mean((1, 3), dtype=np.float32) / a)
    return np.stack(rows)
