"""Local resolution as a matplotlib figure, for notebooks. Needs matplotlib: the extra `plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.figures.display_map import ticks
from cryores_lite.figures.palette import COLOUR_STOPS, OUTSIDE_COLOUR, colour_range, limits_argument
from cryores_lite.types import LocalResolution, Mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_SIZE = 11.0, 3.6  # width and height, inches


def plot(
    result: LocalResolution, density: npt.ArrayLike | None = None, *, colours: tuple[float, float] | None = None
) -> Figure:
    """Draw three slices of the local resolution, one normal to each axis, where the molecule is widest.

    Colours are those of the ChimeraX script: light is fine, dark is coarse.

    Parameters
    ----------
    result : the local resolution from `estimate`
    density : (z, y, x) array of the same shape, any unit, drawn in grey around the molecule; None for plain grey
    colours : Å of the first and the last colour, for figures that are compared; None: from the local resolution

    Returns
    -------
    matplotlib figure; its axes are in Å from the first voxel

    Raises
    ------
    InputError
        matplotlib is missing, `density` has another shape, or `colours` are not two increasing lengths.
    """
    background = None if density is None else np.asarray(density)
    if background is not None and background.shape != result.values.shape:
        raise InputError(
            "the density to plot does not fit the local resolution",
            found=f"shape {background.shape}",
            expected=f"shape {result.values.shape}",
            try_="pass the map that the local resolution was estimated from",
        )
    try:
        from matplotlib import pyplot as plt
        from matplotlib.colors import LinearSegmentedColormap
    except ImportError as error:
        raise InputError(
            "plot needs matplotlib",
            found="matplotlib is not installed",
            expected="matplotlib in the same environment",
            try_="pip install 'cryores-lite[plot]'",
        ) from error
    palette = LinearSegmentedColormap.from_list("cryores_lite", COLOUR_STOPS)
    low, high = limits_argument(colours) if colours else colour_range(result.values)
    voxel_size, shape = result.grid.voxel_size, result.grid.shape
    figure: Figure
    figure, panels = plt.subplots(1, 3, figsize=FIGURE_SIZE, layout="constrained")
    for axis, (panel, number) in enumerate(zip(panels, widest_planes(result.mask), strict=True)):
        up, across = (other for other in range(3) if other != axis)
        extent = (0.0, voxel_size[across] * shape[across], 0.0, voxel_size[up] * shape[up])
        panel.set_facecolor(OUTSIDE_COLOUR)
        if background is not None:
            panel.imshow(background.take(number, axis), cmap="gray", origin="lower", extent=extent)
        local_resolution = np.where(result.mask.take(number, axis), result.values.take(number, axis), np.nan)
        image = panel.imshow(local_resolution, cmap=palette, vmin=low, vmax=high, origin="lower", extent=extent)
        title = f"{'zyx'[axis]} = {number * voxel_size[axis]:.1f} Å"
        panel.set(title=title, xlabel=f"{'zyx'[across]} (Å)", ylabel=f"{'zyx'[up]} (Å)")
    places = [value for value, _ in ticks(low, high)]
    figure.colorbar(image, ax=panels, label="local resolution (Å)", extend="both", shrink=0.9, ticks=places)
    return figure


def widest_planes(mask: Mask) -> tuple[int, int, int]:
    """Return the plane normal to each axis that holds most of the mask; the middle plane if the mask is empty."""
    if not mask.any():
        z, y, x = (n // 2 for n in mask.shape)
    else:
        z, y, x = (int(np.argmax(mask.sum(others))) for others in ((1, 2), (0, 2), (0, 1)))
    return z, y, x
