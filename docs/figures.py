"""Draw figures of the documentation: the example with its true local resolution, and the curves of the training.

pip install ".[docs]" && python docs/figures.py
"""

import csv
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from cryores_lite import estimate, read_map

ROOT = Path(__file__).resolve().parents[1]
RELEASED_WEIGHTS = "v6"


def draw_example() -> None:
    """Draw a section of the example: map, true local resolution, estimate, error."""
    density = read_map(ROOT / "examples" / "example_map.mrc").density
    truth = read_map(ROOT / "examples" / "example_truth.mrc.gz").density.values
    result = estimate(density.values, density.grid.voxel_size)
    z = int(np.argmax((truth > 0).sum((1, 2))))  # the section with most of the molecule
    inside = truth[truth > 0]
    low, high = np.percentile(inside, (1, 99))
    size = density.grid.voxel_size[0] * density.grid.shape[2]
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.5), layout="constrained")
    options = {"origin": "lower", "extent": (0, size, 0, size)}
    panels = [
        ("map", density.values[z], {"cmap": "gray"}),
        (
            "true local resolution",
            np.where(truth[z] > 0, truth[z], np.nan),
            {"cmap": "cividis_r", "vmin": low, "vmax": high},
        ),
        (
            "estimate",
            np.where(result.mask[z], result.values[z], np.nan),
            {"cmap": "cividis_r", "vmin": low, "vmax": high},
        ),
        (
            "estimate − truth",
            np.where(result.mask[z] & (truth[z] > 0), result.values[z] - truth[z], np.nan),
            {"cmap": "RdBu_r", "vmin": -1, "vmax": 1},
        ),
    ]
    for axis, (title, values, colours) in zip(axes, panels, strict=True):
        image = axis.imshow(values, **options, **colours)
        axis.set_title(title)
        axis.set_xlabel("Å")
        if title != "map":
            figure.colorbar(image, ax=axis, label="Å", shrink=0.85)
    figure.savefig(ROOT / "docs" / "example.png", dpi=100)


def draw_curves() -> None:
    """Draw validation scores against training steps, from every log of the released weights."""
    panels = {
        "error of the median (rms of log)": ("median", "median_physical"),
        "typical error of the median (log)": ("median_typical",),
        "edited or not, rightly called": ("edited",),
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.5), layout="constrained")
    for path in sorted((ROOT / "training" / "weights").glob(f"{RELEASED_WEIGHTS}.*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        if "step" not in rows[0]:
            continue
        steps = [int(row["step"]) for row in rows]
        for axis, (title, names) in zip(axes, panels.items(), strict=True):
            for name in set(names) & set(rows[0]):
                axis.plot(steps, [float(row[name]) for row in rows], label=f"{path.stem.split('.')[1]} {name}")
            axis.set_title(title)
            axis.set_xlabel("steps")
            axis.legend(fontsize="small")
    figure.savefig(ROOT / "docs" / "training.png", dpi=80)


def main() -> None:
    draw_example()
    draw_curves()


if __name__ == "__main__":
    main()
