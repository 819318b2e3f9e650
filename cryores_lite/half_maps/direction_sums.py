"""Sums of the FSC of two maps by shell and by direction, and the FSC in cones.

Waves are first summed in small cells of direction, and then over the cones. The cells are squares on the faces of a
cube around the origin of Fourier space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.fsc import Curve, Waves, correlation_terms, squared_amplitude
from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.fourier.spectrum import CHUNK_VOXELS
from cryores_lite.half_maps.cones import cone_weights
from cryores_lite.half_maps.fsc_curves import box_lengths, shape_of
from cryores_lite.types import Lengths, Shape, Volume

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
    one, other = (fft.rfftn(half, workers=threads) for half in (first, second))
    return sums_of_waves([(one, other)], shape_of(first), voxel_size, highest)[0]


def sums_of_waves(
    pairs: Sequence[tuple[Waves, Waves]], shape: Shape, voxel_size: Lengths, highest: float
) -> list[DirectionSums]:
    """Sum the terms of the FSC of pairs of maps of `shape` voxels from their transforms, as `direction_sums`.

    Of a map that is paired with itself, only |F2|² is summed; the two other terms are 0.
    """
    lengths = box_lengths(shape, voxel_size)
    longest = max(lengths)
    last = int(min(longest * highest, longest / max(voxel_size) / 2) + 1e-6)
    number = 3 * CELLS**2
    sums, counts = np.zeros((len(pairs), 3, (last + 1) * number)), np.zeros((last + 1) * number)
    z, y, x = (fft.fftfreq(n, length / n).astype(np.float32) for n, length in zip(shape, lengths, strict=True))
    x = np.abs(x[: shape[2] // 2 + 1])
    limit = (last + 0.5) / longest
    planes, rows, columns = (np.flatnonzero(np.abs(axis) <= limit) for axis in (z, y, x))
    in_plane = rows[:, None] * len(x) + columns
    step = max(1, CHUNK_VOXELS // in_plane.size)
    for chunk in (planes[n : n + step] for n in range(0, len(planes), step)):
        k = z[chunk, None, None], y[rows, None], x[columns]
        shells = np.rint(np.sqrt(k[0] ** 2 + (k[1] ** 2 + k[2] ** 2)) * longest).astype(np.int32)
        inside = (shells > 0) & (shells <= last)
        along = [np.broadcast_to(axis, shells.shape)[inside] for axis in k]
        index = shells[inside] * number + cell_indices(*along)
        weights = np.where(along[2] > 0, np.float32(1), np.float32(0.5))  # x = 0 holds both waves of a pair
        counts += np.bincount(index, weights, len(counts))
        places = (chunk[:, None, None] * (len(y) * len(x)) + in_plane)[inside]
        for rows_of_pair, (one, other) in zip(sums, pairs, strict=True):
            a = one.ravel()[places]
            terms = (
                {1: squared_amplitude(a)}
                if one is other
                else dict(enumerate(correlation_terms(a, other.ravel()[places])))
            )
            for n, values in terms.items():
                rows_of_pair[n] += np.bincount(index, weights * values, len(counts))
    by_shell, waves = sums.reshape(len(pairs), 3, last + 1, number)[:, :, 1:], counts.reshape(last + 1, number)[1:]
    return [DirectionSums(np.arange(1, last + 1) / longest, cell_centres(), terms, waves) for terms in by_shell]


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
