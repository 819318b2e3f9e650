"""A comparison as the figures show it: axes in (z, y, x), one colour range for A and B, planes of A, B and B − A."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.comparison.measure import CLEAR_Z, Difference
from cryores_lite.figures import slices
from cryores_lite.figures.display_map import to_rgba, zyx_axes
from cryores_lite.figures.palette import DIFFERENCE_STOPS, colour_range, difference_limit, rgb_colours
from cryores_lite.types import Lengths, Mask, Volume

ENDS = ("B better", "A better")  # of the scale of differences: negative and positive
SIDE_COLOURS = (DIFFERENCE_STOPS[2], DIFFERENCE_STOPS[0])  # of A and B: the colour of where each is better


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """What the figures show, with axes in the order (z, y, x).

    Attributes
    ----------
    names : of A and B
    densities : maps of A and B on the grid of A, any unit; None where a map is unknown
    a, b : local resolution in Å, 0 outside the mask of each
    values : B − A in Å
    common : voxels that are compared
    voxel_size : Å
    colour_limits : Å of the first and the last colour of A and B
    difference_limit : Å of the last colour of B − A; that of the first is its negative
    """

    names: tuple[str, str]
    densities: tuple[Volume | None, Volume | None]
    a: Volume
    b: Volume
    values: Volume
    common: Mask
    voxel_size: Lengths
    colour_limits: tuple[float, float]
    difference_limit: float

    @property
    def density(self) -> Volume | None:
        """The map of A, or that of B if A's is unknown."""
        return self.densities[0] if self.densities[0] is not None else self.densities[1]

    @property
    def view(self) -> slices.View:
        """The cube that the slices show."""
        return slices.view_around(self.common)


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """One plane in colours; the first row is at the top.

    Attributes
    ----------
    axis, number : normal of the plane, "z", "y" or "x", and its number from 0
    a, b, difference : (rows, columns, 4) uint8, red, green, blue, opacity
    median : Å, of the difference in the plane; NaN where nothing is compared
    """

    axis: str
    number: int
    a: npt.NDArray[np.uint8]
    b: npt.NDArray[np.uint8]
    difference: npt.NDArray[np.uint8]
    median: float


def shown(
    result: Difference,
    names: tuple[str, str],
    densities: tuple[Volume | None, Volume | None],
    header_axes: Sequence[int],
    colours: tuple[float, float] | None,
) -> Shown:
    """Order the axes of a comparison as (z, y, x), and choose one colour range for both local resolutions.

    Parameters
    ----------
    densities : maps on the grid of `result`
    header_axes : MAPC, MAPR, MAPS of A's header
    colours : Å of the first and the last colour; None: from both local resolutions
    """
    axes = zyx_axes(header_axes)
    z, y, x = (result.grid.voxel_size[axis] for axis in axes)
    first, second = (None if density is None else density.transpose(axes) for density in densities)
    both = np.concatenate([field[result.common] for field in (result.a, result.b)])
    return Shown(
        names=names,
        densities=(first, second),
        a=result.a.transpose(axes),
        b=result.b.transpose(axes),
        values=result.values.transpose(axes),
        common=result.common.transpose(axes),
        voxel_size=(z, y, x),
        colour_limits=colours or colour_range(both),
        difference_limit=max(difference_limit(result.values[result.common]), _clear_difference(result)),
    )


def _clear_difference(result: Difference) -> float:
    """Return the difference in Å that is clear in half of the molecule, so that errors look pale; 0 if unknown."""
    return 0.0 if result.error is None else CLEAR_Z * float(np.median(result.error[result.common]))


def orthogonal(view: Shown) -> list[Plane]:
    """Cut three planes through the molecule's centre, normal to z, y and x."""
    return [plane(view, axis, view.view.centre[axis]) for axis in range(3)]


def extremes(view: Shown) -> list[Plane]:
    """Cut the planes normal to z in which B gains and loses most against A, by their median difference."""
    sections = slices.extremes(view.a, view.values, view.common, view.view)
    return [plane(view, 0, section.number) for section in sections]


def plane(view: Shown, axis: int, number: int) -> Plane:
    """Colour plane `number` normal to `axis` (0, 1, 2 = z, y, x)."""
    cube, common = view.view, view.common

    def cut(field: Volume) -> slices.Slice:
        return slices.cut(view.a, field, common, cube, axis, number)

    a, b, difference, inside = (cut(field) for field in (view.a, view.b, view.values, common.astype(np.float32)))
    limit = view.difference_limit
    colours = rgb_colours(difference.local_resolution, -limit, limit, DIFFERENCE_STOPS)
    opacity = np.where(inside.local_resolution > 0, 255, 0).astype(np.uint8)
    return Plane(
        axis="zyx"[axis],
        number=number,
        a=to_rgba(a.local_resolution, view.colour_limits),
        b=to_rgba(b.local_resolution, view.colour_limits),
        difference=np.dstack([colours, opacity]),
        median=difference.median,
    )
