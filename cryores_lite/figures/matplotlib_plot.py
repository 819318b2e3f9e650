"""An answer as a figure, for notebooks. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.figures.palette import OUTSIDE, STOPS, colour_range
from cryores_lite.types import LocalResolution, Mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 11.0, 3.6  # inches


def plot(result: LocalResolution, density: npt.ArrayLike | None = None) -> Figure:
    """Draw three slices of the local resolution, one across each axis, where the molecule is widest.

    Colours are those of the ChimeraX script: light is fine, dark is coarse.

    Parameters
    ----------
    result : what `estimate` found
    density : (z, y, x) array of the same shape, any unit, drawn in grey behind; without it, plain grey

    Returns
    -------
    matplotlib's figure; axes are in Å from the first voxel

    Raises
    ------
    InputError
        matplotlib is missing, or `density` has another shape.
    """
    behind = None if density is None else np.asarray(density)
    if behind is not None and behind.shape != result.values.shape:
        raise InputError(
            "density to plot",
            found=f"shape {behind.shape}",
            expected=f"the answer's, {result.values.shape}",
            try_="pass the map that was asked about",
        )
    try:
        from matplotlib import pyplot as plt
        from matplotlib.colors import LinearSegmentedColormap
    except ImportError as error:
        raise InputError(
            "plot needs matplotlib",
            found="no such package",
            expected="it beside cryores_lite",
            try_="pip install 'cryores-lite[plot]'",
        ) from error
    palette = LinearSegmentedColormap.from_list("cryores_lite", STOPS)
    low, high = colour_range(result.values)
    figure: Figure
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, HEIGHT), layout="constrained")
    for axis, (panel, place) in enumerate(zip(panels, widest(result.mask), strict=True)):
        up, across = (other for other in range(3) if other != axis)
        sizes = result.grid.voxel_size
        extent = (0.0, sizes[across] * result.grid.shape[across], 0.0, sizes[up] * result.grid.shape[up])
        panel.set_facecolor(OUTSIDE)
        if behind is not None:
            panel.imshow(behind.take(place, axis), cmap="gray", origin="lower", extent=extent)
        local = np.where(result.mask.take(place, axis), result.values.take(place, axis), np.nan)
        drawn = panel.imshow(local, cmap=palette, vmin=low, vmax=high, origin="lower", extent=extent)
        title = f"{'zyx'[axis]} = {place * sizes[axis]:.1f} Å"
        panel.set(title=title, xlabel=f"{'zyx'[across]} (Å)", ylabel=f"{'zyx'[up]} (Å)")
    figure.colorbar(drawn, ax=panels, label="local resolution (Å)", extend="both", shrink=0.9)
    return figure


def widest(mask: Mask) -> tuple[int, int, int]:
    """The plane across each axis that holds most of the mask; the middle one of an empty mask."""
    if not mask.any():
        z, y, x = (n // 2 for n in mask.shape)
    else:
        z, y, x = (int(np.argmax(mask.sum(others))) for others in ((1, 2), (0, 2), (0, 1)))
    return z, y, x
