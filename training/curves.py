"""What would lower the level's error: more maps, or a larger network? Trains level networks on shares of the maps.

    python -m training.curves --data runs/train --validation runs/validation --out docs/curves.png

Prints the errors on validation maps, and draws them. Where an error still falls with the number of maps and no longer
with the width, data is what is missing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.data import read_levels
from training.level import train, validate
from training.network import LevelNet, Widths

SHARES = (0.125, 0.25, 0.5, 1.0)
WIDTHS = (12, 24, 48, 96)
READERS = 2


def measure(maps: dict[str, torch.Tensor], width: int, steps: int, validation: Path) -> dict[str, float]:
    """Validation scores of a level network of `width` trained on these maps."""
    torch.manual_seed(1)
    network = train(LevelNet(width, READERS), maps, steps, lambda *_: None)
    return validate(network, validation)


def draw(rows: list[tuple[int, int, dict[str, float]]], most: int, path: Path) -> None:
    """Error against maps, and against width."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True)
    usual = Widths().level
    curves = (
        ("simulated maps", [(n, s) for n, width, s in rows if width == usual]),
        ("width of the level network", [(width, s) for n, width, s in rows if n == most]),
    )
    for axis, (title, points) in zip(axes, curves, strict=True):
        points = sorted(points, key=lambda point: point[0])
        for key, label in (("median", "rms"), ("median_typical", "typical (median size)")):
            axis.loglog([at for at, _ in points], [scores[key] for _, scores in points], "o-", label=label)
        axis.set_xticks([at for at, _ in points], [str(at) for at, _ in points])
        axis.minorticks_off()
        axis.set_xlabel(title)
        axis.set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
        axis.legend(fontsize="small")
    axes[0].set_ylabel("error of the log level, validation")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--out", type=Path, required=True, help="picture")
    args = parser.parse_args()
    maps, _ = read_levels(args.data)
    most, usual = len(maps["median"]), Widths().level
    jobs = [(int(most * share), usual) for share in SHARES] + [(most, width) for width in WIDTHS if width != usual]
    rows = []
    print("| maps | width | rms | typical |\n|---:|---:|---:|---:|")
    for count, width in jobs:
        scores = measure({key: values[:count] for key, values in maps.items()}, width, args.steps, args.validation)
        rows.append((count, width, scores))
        print(f"| {count} | {width} | {scores['median']:.3f} | {scores['median_typical']:.3f} |", flush=True)
    draw(rows, most, args.out)


if __name__ == "__main__":
    main()
