"""Draw the mask of every real map, as contours on the map (`docs/masks.png`).

    python -m training.evaluation.mask_pictures --maps ../shared/data/maps --out docs/masks.png

Each panel is the slice along z with most of the molecule.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from cryores_lite.io.mrc import read_map
from cryores_lite.method.network import Model
from cryores_lite.method.pipeline import estimate_local_resolution
from cryores_lite.resources import available_threads
from cryores_lite.types import Density, LocalResolution
from training.evaluation.real_map_tables import LOCAL_RESOLUTION_MAP, read_rows

COLUMNS = 6  # of the picture
GREY_RANGE = (1, 99.8)  # percentiles of a slice's values


def draw_mask(axis: Any, name: str, density: Density, estimate: LocalResolution) -> None:
    """Draw the slice along z that has most of the molecule, with the outline of the mask."""
    z = int(np.argmax(estimate.mask.sum((1, 2))))
    low, high = np.percentile(density.values[z], GREY_RANGE)
    axis.imshow(density.values[z], cmap="gray", vmin=low, vmax=high, origin="lower")
    if 0 < estimate.mask[z].mean() < 1:
        axis.contour(estimate.mask[z], levels=[0.5], colors="orange", linewidths=1)
    axis.set_title(f"{name}\n{estimate.median:.1f} Å, {estimate.mask.mean():.0%} of the box", fontsize=8)
    axis.set_axis_off()


def draw_masks(folder: Path, model: Model, path: Path) -> None:
    """Draw all maps of a folder into one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in read_rows(folder) if LOCAL_RESOLUTION_MAP not in row["kind"]]
    lines = -(-len(rows) // COLUMNS)
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(2.2 * COLUMNS, 2.5 * lines), layout="constrained")
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        density = read_map(folder / row["file"]).density
        draw_mask(axis, row["name"], density, estimate_local_resolution(density, model, available_threads()))
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=Path, required=True, help="folder with maps.csv")
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped one by default")
    parser.add_argument("--out", type=Path, required=True, help="picture")
    args = parser.parse_args()
    draw_masks(args.maps, Model.open(args.model, device="cpu"), args.out)


if __name__ == "__main__":
    main()
