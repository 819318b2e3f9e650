"""The molecule's surface, coloured by its local resolution, small enough for a page."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.figures.display_map import REACH, extended
from cryores_lite.figures.palette import OUTSIDE, colours
from cryores_lite.figures.slices import means, profiles
from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.types import Lengths, Mask, Volume

SIDE = 120  # voxels of the map that the surface is drawn through, at most
TRIANGLES = 150_000  # at most
DUST = 0.01  # of the largest piece: smaller ones are left out
FULL = 65535  # positions are kept in 16 bits


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in space, anticlockwise when seen from outside.

    Attributes
    ----------
    positions : (n, 3) uint16, (x, y, z); 65535 is `span` Å
    colours : (n, 3) uint8, red, green, blue
    triangles : (m, 3) uint32, rows of `positions`
    """

    positions: npt.NDArray[np.uint16]
    colours: npt.NDArray[np.uint8]
    triangles: npt.NDArray[np.uint32]
    span: float


def surface(
    density: Volume, local: Volume, mask: Mask, voxel_size: Lengths, level: float, ends: tuple[float, float]
) -> Mesh | None:
    """Draw the surface of a map around its mask.

    What lies outside the mask and small loose pieces are left out. Coarser and coarser, until there are few enough
    triangles.

    Parameters
    ----------
    density, local, mask : (z, y, x); `local` in Å and 0 outside the mask
    voxel_size : Å, (z, y, x)
    level : the surface's density
    ends : Å of the first and the last colour

    Returns
    -------
    Mesh, or None where nothing of the molecule reaches the level
    """
    if not mask.any():
        return None
    box = _around(mask, voxel_size)
    step = -(-max(part.stop - part.start for part in box) // SIDE)
    while True:
        mesh = _surface(density[box], local[box], voxel_size, level, ends, step)
        if mesh is None or len(mesh.triangles) <= TRIANGLES:
            return mesh
        step = max(step + 1, int(step * (len(mesh.triangles) / TRIANGLES) ** (1 / 3)))


def without_dust(above: Mask) -> Mask:
    """Leave out pieces that are small beside the largest, as ChimeraX's ``surface dust`` does."""
    return without_small_pieces(above, DUST)


def packed(mesh: Mesh) -> dict[str, Any]:
    """Words for the page: numbers, and arrays as base64 of deflated differences, low bytes before high ones."""
    return {
        "vertices": len(mesh.positions),
        "triangles": len(mesh.triangles),
        "span": mesh.span,
        "positions": _packed(mesh.positions.T, np.uint16),
        "colours": _packed(mesh.colours.T, np.uint8),
        "corners": _packed(mesh.triangles, np.uint32),
    }


def _around(mask: Mask, voxel_size: Lengths) -> tuple[slice, slice, slice]:
    found = []
    for count, size in zip(profiles(mask), voxel_size, strict=True):
        places, room = np.flatnonzero(count), int(np.ceil(REACH / size))
        found.append(slice(max(0, int(places[0]) - room), int(places[-1]) + 1 + room))
    z, y, x = (slice(part.start, min(part.stop, n)) for part, n in zip(found, mask.shape, strict=True))
    return z, y, x


def _surface(
    density: Volume, local: Volume, voxel_size: Lengths, level: float, ends: tuple[float, float], step: int
) -> Mesh | None:
    from skimage.measure import marching_cubes  # slow to import

    if min(density.shape) < step:
        return None
    z, y, x = (size * step for size in voxel_size)
    answered = means((local > 0).astype(np.float32), step)
    averaged = np.divide(means(local, step), answered, out=np.zeros_like(answered), where=answered > 0)
    spread = extended(averaged, (z, y, x))
    known = (spread > 0).astype(np.float32)
    values = means(density, step)
    shown = without_dust((values > level) & ndimage.binary_dilation(answered > 0))
    if not shown.any():
        return None
    floor = min(float(values.min()), level) - 1e-3 * abs(level) - 1e-6
    closed = np.pad(np.where(ndimage.binary_dilation(shown), values, floor), 1, constant_values=floor)
    corners, triangles, _, _ = marching_cubes(closed, level)
    places = (corners - 1).T
    weight = ndimage.map_coordinates(known, places, order=1, mode="nearest")
    value = ndimage.map_coordinates(spread, places, order=1, mode="nearest") / np.maximum(weight, 1e-6)
    shade = colours(value, *ends)
    shade[weight < 1e-3] = [int(OUTSIDE[n : n + 2], 16) for n in (1, 3, 5)]
    lengths = corners * np.array((z, y, x), np.float32)
    lengths -= lengths.min(axis=0)
    span = float(lengths.max())
    positions = np.rint(lengths[:, ::-1] * (FULL / span)).astype(np.uint16)
    return Mesh(positions, shade, triangles.astype(np.uint32), span)


def _packed(values: npt.NDArray[Any], kind: type[np.unsignedinteger[Any]]) -> str:
    """Neighbours differ little, so their differences (which wrap) pack well."""
    flat = np.ascontiguousarray(values, kind).ravel()
    steps = np.diff(flat, prepend=kind(0)).astype(np.dtype(kind).newbyteorder("<"))
    apart = steps.view(np.uint8).reshape(steps.size, -1).T
    return base64.b64encode(zlib.compress(apart.tobytes())).decode("ascii")
