"""Draw the README's picture: map, truth, estimate and error of the example.

pip install ".[docs]" && python docs/figures.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from cryores_lite import estimate, read_map

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    density = read_map(ROOT / "examples" / "example_map.mrc").density
    truth = read_map(ROOT / "examples" / "example_truth.mrc.gz").density.values
    found = estimate(density.values, density.grid.voxel_size)
    z = int(np.argmax((truth > 0).sum((1, 2))))
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
            np.where(found.mask[z], found.values[z], np.nan),
            {"cmap": "cividis_r", "vmin": low, "vmax": high},
        ),
        (
            "estimate − truth",
            np.where(found.mask[z] & (truth[z] > 0), found.values[z] - truth[z], np.nan),
            {"cmap": "RdBu_r", "vmin": -1, "vmax": 1},
        ),
    ]
    for axis, (title, values, more) in zip(axes, panels, strict=True):
        image = axis.imshow(values, **options, **more)
        axis.set_title(title)
        axis.set_xlabel("Å")
        if title != "map":
            figure.colorbar(image, ax=axis, label="Å", shrink=0.85)
    figure.savefig(ROOT / "docs" / "example.png", dpi=100)


if __name__ == "__main__":
    main()
