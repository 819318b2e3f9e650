"""Pictures of scored cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cryores_lite.types import Mask, Volume
from training.evaluation.scoring import ScoredCase


def draw(scored: ScoredCase, path: Path) -> None:
    """Draw the slice with most molecule: map, truth, estimate, error, uncertainty."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    case, estimate = scored.case, scored.estimate
    inside: Mask = case.truth > 0
    z = int(np.argmax(inside.sum((1, 2))))
    low, high = np.percentile(case.truth[inside], (1, 99))
    error_range = 0.3 * float(np.median(case.truth[inside]))
    resolution_colours = {"cmap": "cividis_r", "vmin": low, "vmax": high}
    panels: list[tuple[str, Volume, dict[str, Any]]] = [
        ("map", case.density.values[z], {"cmap": "gray"}),
        ("true local resolution", np.where(inside[z], case.truth[z], np.nan), resolution_colours),
        ("estimate", np.where(estimate.mask[z], estimate.values[z], np.nan), resolution_colours),
        (
            "estimate − truth",
            np.where(estimate.mask[z] & inside[z], estimate.values[z] - case.truth[z], np.nan),
            {"cmap": "RdBu_r", "vmin": -error_range, "vmax": error_range},
        ),
        (
            "uncertainty (1 σ)",
            np.where(estimate.mask[z], estimate.uncertainty[z], np.nan),
            {"cmap": "viridis", "vmin": 0, "vmax": error_range},
        ),
    ]
    edge = case.density.grid.voxel_size[0] * case.density.grid.shape[2]
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 3.2), layout="constrained")
    for axis, (title, values, style) in zip(axes, panels, strict=True):
        image = axis.imshow(values, origin="lower", extent=(0, edge, 0, edge), **style)
        axis.set_title(title)
        axis.set_xlabel("Å")
        if title != "map":
            figure.colorbar(image, ax=axis, label="Å", shrink=0.85)
    figure.savefig(path, dpi=80)
    plt.close(figure)
