"""Sums of the FSC of two maps by shell and by direction, and the FSC in cones.

Waves are first summed in small cells of direction, and then over the cones. The cells are squares on the faces of a
cube around the origin of Fourier space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.fsc import Curve, correlation_terms
from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.half_maps.cones import cone_weights
from cryores_lite.half_maps.fsc_curves import box_lengths
from cryores_lite.types import Lengths, Volume

CELLS = 16  # of direction, along an edge of a face of a cube
COARSEST, FINEST = 4.0, 0.5  # of the bands, in units of the global resolution
BAND_RATIO = 1.05  # of neighbouring bands
CONE_POWER = 24  # half of the weight lies within 19° of the axis, as in the cones of 20° of Tan et al.


@dataclass(frozen=True, eq=False)
class DirectionSums:
    """The sums of an FSC by shell and cell of direction.

    Attributes
    ----------
    frequencies : (shells,) 1/Å
    cells : (cells, 3) unit vectors, z, y, x
    terms : (3, shells, cells), sums of Re F1 F2*, |F1|² and |F2|²
    waves : (shells, cells), number of waves
    """

    frequencies: Curve
    cells: Curve
    terms: Curve
    waves: Curve


def direction_sums(
    first: Volume, second: Volume, voxel_size: Lengths, highest: float, threads: int = 1
) -> DirectionSums:
    """Sum the terms of the FSC of two maps by shell and cell of direction.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å
    highest : 1/Å, of the shells, at most the Nyquist frequency
    """
    lengths = box_lengths(first, voxel_size)
    halves = [fft.rfftn(half, workers=threads) for half in ((first,) if first is second else (first, second))]
    one, other = halves[0], halves[-1]
    longest = max(lengths)
    last = int(min(longest * highest, longest / max(voxel_size) / 2) + 1e-6)
    number = 3 * CELLS**2
    sums = np.zeros((4, (last + 1) * number))
    z, y, x = (fft.fftfreq(n, length / n).astype(np.float32) for n, length in zip(first.shape, lengths, strict=True))
    x = np.abs(x[: one.shape[2]])
    limit = (last + 0.5) / longest
    rows, columns = np.flatnonzero(np.abs(y) <= limit), np.flatnonzero(x <= limit)
    y, x = y[rows, None], x[columns]
    counts = np.where(x > 0, np.float32(1), np.float32(0.5))  # the plane x = 0 holds both waves of a pair
    for plane in np.flatnonzero(np.abs(z) <= limit):
        shells = np.rint(np.sqrt(z[plane] ** 2 + y**2 + x**2) * longest).astype(np.int32)
        inside = (shells > 0) & (shells <= last)
        along = (np.broadcast_to(axis, shells.shape)[inside] for axis in (z[plane], y, x))
        index = shells[inside] * number + cell_indices(*along)
        weights = np.broadcast_to(counts, shells.shape)[inside]
        a, b = (half[plane][np.ix_(rows, columns)][inside] for half in (one, other))
        terms = (*correlation_terms(a, b), 1) if other is not one else (None, np.abs(a) ** 2, None, 1)
        for row, values in zip(sums, terms, strict=True):
            if values is not None:
                row += np.bincount(index, weights * values, len(row))
    by_shell = sums.reshape(4, last + 1, number)[:, 1:]
    return DirectionSums(np.arange(1, last + 1) / longest, cell_centres(), by_shell[:3], by_shell[3])


def cell_indices(z: Volume, y: Volume, x: Volume) -> npt.NDArray[np.int32]:
    """Return the cell of direction of waves (…): the face of a cube that the wave points to, and the square on it."""
    sizes = np.abs(z), np.abs(y), np.abs(x)
    largest = np.maximum(np.maximum(sizes[0], sizes[1]), sizes[2])
    on_z, on_y = sizes[0] == largest, sizes[1] == largest
    face = np.where(on_z, 0, np.where(on_y, 1, 2)).astype(np.int32)
    normal = np.where(on_z, z, np.where(on_y, y, x))
    normal = np.where(largest > 0, normal, np.float32(1))  # the mean density has no direction
    across, down = np.where(on_z, y, z), np.where(on_z | on_y, x, y)
    i, j = (np.minimum((part / normal + 1) * (CELLS / 2), CELLS - 1).astype(np.int32) for part in (across, down))
    return (face * CELLS + i) * CELLS + j


def cell_centres() -> Curve:
    """Return the unit vectors (cells, 3) of the centres of the cells of direction, z, y, x."""
    along = (np.arange(CELLS) + 0.5) / (CELLS / 2) - 1
    i, j = (part.ravel() for part in np.meshgrid(along, along, indexing="ij"))
    one = np.ones_like(i)
    vectors = np.concatenate([np.stack(face, axis=1) for face in ((one, i, j), (i, one, j), (i, j, one))])
    out: Curve = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return out


def cell_areas() -> Curve:
    """Return the shares (cells,) of all directions that lie in each cell."""
    areas = np.abs(cell_centres()).max(1) ** 3  # of a square on a cube's face, seen from the centre
    out: Curve = areas / areas.sum()
    return out


def band_centres(sums: DirectionSums, resolution: float) -> Curve:
    """Return the bands of the FSC by direction, in 1/Å, around a global resolution (Å)."""
    lowest = max(1 / (COARSEST * resolution), sums.frequencies[0])
    count = int(np.ceil(np.log(sums.frequencies[-1] / lowest) / np.log(BAND_RATIO))) + 1
    centres: Curve = np.geomspace(lowest, sums.frequencies[-1], max(count, 2))
    return centres


def cone_fsc(sums: DirectionSums, frequencies: Curve, axes: Curve, power: int = CONE_POWER) -> Curve:
    """Compute the FSC (bands, axes) in cones, in the bands of the local FSC.

    Parameters
    ----------
    frequencies : (bands,) 1/Å
    axes : (axes, 3) unit vectors
    """
    in_band = band_weights(sums, frequencies)
    cross, first_power, second_power = in_band @ sums.terms @ cone_weights(sums.cells, axes, power)
    out: Curve = cross / np.maximum(np.sqrt(first_power * second_power), 1e-30)
    return out


def band_weights(sums: DirectionSums, frequencies: Curve) -> Curve:
    """Return the weights (bands, shells) of the shells in the bands, as in the local FSC."""
    width = np.maximum(BAND_WIDTH * frequencies, sums.frequencies[0] / 2)[:, None]
    out: Curve = np.exp(-(((sums.frequencies - frequencies[:, None]) / width) ** 2))
    return out
