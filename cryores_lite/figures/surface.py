"""The molecule's surface as a triangle mesh, coloured by local resolution and small enough for an HTML page."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.figures.display_map import EXTENSION, extend_outwards
from cryores_lite.figures.palette import COLOUR_STOPS, OUTSIDE_COLOUR, rgb, rgb_colours
from cryores_lite.figures.slices import block_means, voxels_per_plane
from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.types import Lengths, Mask, Volume

MAX_GRID_SIDE = 120  # voxels of the grid that the surface is computed on
MAX_TRIANGLES = 150_000
MIN_PIECE_FRACTION = 0.01  # of the largest piece's voxels: smaller pieces are left out
MAX_POSITION = 65535  # positions are stored in 16 bits


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in space, anticlockwise when seen from outside.

    Attributes
    ----------
    positions : (n, 3) uint16, (x, y, z); 65535 is `span` Å
    colours : (n, 3) uint8, red, green, blue
    triangles : (m, 3) uint32, rows of `positions`
    span : Å
    """

    positions: npt.NDArray[np.uint16]
    colours: npt.NDArray[np.uint8]
    triangles: npt.NDArray[np.uint32]
    span: float


def surface(
    density: Volume,
    local_resolution: Volume,
    mask: Mask,
    voxel_size: Lengths,
    contour_level: float,
    colour_limits: tuple[float, float],
    stops: Sequence[str] = COLOUR_STOPS,
) -> Mesh | None:
    """Compute the surface of a map inside its mask, without small loose pieces.

    The grid is made coarser until the mesh has at most `MAX_TRIANGLES`.

    Parameters
    ----------
    density, local_resolution, mask : (z, y, x); local resolution in Å, 0 outside the mask
    voxel_size : Å, (z, y, x)
    contour_level : density of the surface
    colour_limits : Å of the first and the last colour
    stops : #rrggbb, colours at equal steps between the limits

    Returns
    -------
    Mesh, or None if no density inside the mask reaches the level
    """
    if not mask.any():
        return None
    box = _box_around(mask, voxel_size)
    step = -(-max(part.stop - part.start for part in box) // MAX_GRID_SIDE)
    while True:
        mesh = _surface(density[box], local_resolution[box], voxel_size, contour_level, colour_limits, stops, step)
        if mesh is None or len(mesh.triangles) <= MAX_TRIANGLES:
            return mesh
        step = max(step + 1, int(step * (len(mesh.triangles) / MAX_TRIANGLES) ** (1 / 3)))


def without_dust(above: Mask) -> Mask:
    """Leave out pieces smaller than 1 % of the largest piece, like ChimeraX's ``surface dust``."""
    return without_small_pieces(above, MIN_PIECE_FRACTION)


def to_json(mesh: Mesh) -> dict[str, Any]:
    """Encode a mesh for the page: numbers, and arrays as base64 text (see `_encode`)."""
    return {
        "vertices": len(mesh.positions),
        "triangles": len(mesh.triangles),
        "span": mesh.span,
        "positions": _encode(mesh.positions.T, np.uint16),
        "colours": _encode(mesh.colours.T, np.uint8),
        "corners": _encode(mesh.triangles, np.uint32),
    }


def _box_around(mask: Mask, voxel_size: Lengths) -> tuple[slice, slice, slice]:
    sides = []
    for count, size in zip(voxels_per_plane(mask), voxel_size, strict=True):
        planes, margin = np.flatnonzero(count), int(np.ceil(EXTENSION / size))
        sides.append(slice(max(0, int(planes[0]) - margin), int(planes[-1]) + 1 + margin))
    z, y, x = (slice(side.start, min(side.stop, n)) for side, n in zip(sides, mask.shape, strict=True))
    return z, y, x


def _surface(
    density: Volume,
    local_resolution: Volume,
    voxel_size: Lengths,
    level: float,
    colour_limits: tuple[float, float],
    stops: Sequence[str],
    step: int,
) -> Mesh | None:
    from skimage.measure import marching_cubes  # slow to import

    if min(density.shape) < step:
        return None
    z, y, x = (size * step for size in voxel_size)
    values = block_means(density, step)
    mask_fraction = block_means((local_resolution > 0).astype(np.float32), step)
    molecule = without_dust((values > level) & ndimage.binary_dilation(mask_fraction > 0))
    if not molecule.any():
        return None
    floor = min(float(values.min()), level) - 1e-3 * abs(level) - 1e-6
    closed = np.pad(np.where(ndimage.binary_dilation(molecule), values, floor), 1, constant_values=floor)
    corners, triangles, _, _ = marching_cubes(closed, level)
    lengths = corners * np.array((z, y, x), np.float32)
    lengths -= lengths.min(axis=0)
    span = float(lengths.max())
    positions = np.rint(lengths[:, ::-1] * (MAX_POSITION / span)).astype(np.uint16)
    averaged = np.divide(
        block_means(local_resolution, step), mask_fraction, out=np.zeros_like(mask_fraction), where=mask_fraction > 0
    )
    colours = _colours_at((corners - 1).T, extend_outwards(averaged, (z, y, x)), colour_limits, stops)
    return Mesh(positions, colours, triangles.astype(np.uint32), span)


def _colours_at(
    points: npt.NDArray[np.floating], local_resolution: Volume, colour_limits: tuple[float, float], stops: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """Return colours (n, 3) at points (3, n) in voxels by linear interpolation among the voxels inside the mask."""
    known = (local_resolution > 0).astype(np.float32)
    weight = ndimage.map_coordinates(known, points, order=1, mode="nearest")
    weighted = ndimage.map_coordinates(local_resolution, points, order=1, mode="nearest")
    colours = rgb_colours(weighted / np.maximum(weight, 1e-6), *colour_limits, stops)
    colours[weight < 1e-3] = rgb(OUTSIDE_COLOUR)
    return colours


def _encode(values: npt.NDArray[Any], kind: type[np.unsignedinteger[Any]]) -> str:
    """Encode an array as base64 of its deflated differences, low bytes before high bytes.

    Neighbouring values differ little, so their differences, which wrap around, compress well.
    """
    flat = np.ascontiguousarray(values, kind).ravel()
    differences = np.diff(flat, prepend=kind(0)).astype(np.dtype(kind).newbyteorder("<"))
    byte_planes = differences.view(np.uint8).reshape(differences.size, -1).T
    return base64.b64encode(zlib.compress(byte_planes.tobytes())).decode("ascii")
