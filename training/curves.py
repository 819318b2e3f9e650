"""What would lower the errors: more maps, or larger networks? Trains level and local networks of several sizes.

    python -m training.curves --data runs/train --validation runs/validation --out docs/curves.png

Prints the errors on validation maps and patches, and draws them. Where an error still falls with the number of maps
and no longer with the width, data is what is missing. All networks of a kind go down the same number of steps, from
nothing: fewer than a release takes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from training.data import Patches, read_levels
from training.level import train, validate
from training.network import LevelNet, LocalResolutionNet, Widths
from training.train import RECIPES, go_down, optimizer_for, rate_at
from training.train import validate as validate_patches

SHARES = (0.125, 0.25, 0.5, 1.0)
WIDTHS = (12, 24, 48, 96)
READERS = 2
SIZES = (0.25, 0.5, 1.0, 1.5)  # of the local network, relative to the released one's widths
BATCH, SEED = 4, 1


@dataclass(frozen=True)
class Point:
    """Errors (by what they are called) of a network at some number of maps, or size."""

    at: int
    errors: dict[str, float]


def level_errors(maps: dict[str, torch.Tensor], width: int, steps: int, validation: Path) -> dict[str, float]:
    """Errors of a level network of `width` trained on these maps."""
    torch.manual_seed(SEED)
    scores = validate(train(LevelNet(width, READERS), maps, steps, lambda *_: None), validation)
    return {"rms": scores["median"], "typical (median size)": scores["median_typical"]}


def local_errors(size: float, data: Path, steps: int, validation: Path) -> Point:
    """Errors of a local network whose widths are `size` times the released ones; `at` counts its thousand weights."""
    usual, recipe = Widths(), RECIPES["logarithmic"]
    torch.manual_seed(SEED)
    network = LocalResolutionNet(
        replace(usual, resolution=_times(usual.resolution, size), mask=_times(usual.mask, size))
    ).to(memory_format=torch.channels_last_3d)
    network.level.requires_grad_(False)
    optimizer = optimizer_for(network, recipe)
    for step, batch in zip(
        range(steps), DataLoader(Patches(data, SEED), batch_size=BATCH, num_workers=1), strict=False
    ):
        go_down(network, optimizer, recipe.loss, batch, recipe.rate * rate_at(step, steps))
    scores = validate_patches(network, validation, "cpu")
    weights = sum(w.numel() for name, w in network.named_parameters() if not name.startswith("level."))
    return Point(round(weights / 1000), {"local resolution": scores["error"], "pattern": scores["pattern"]})


def _times(widths: tuple[int, int], size: float) -> tuple[int, int]:
    first, second = (round(size * width) for width in widths)
    return first, second


def draw(curves: dict[str, list[Point]], path: Path) -> None:
    """Error against what the curves are named by."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4.3 * len(curves), 3.4), layout="constrained", sharey=True)
    for axis, (title, points) in zip(axes, curves.items(), strict=True):
        points = sorted(points, key=lambda point: point.at)
        for label in points[0].errors:
            axis.loglog([point.at for point in points], [point.errors[label] for point in points], "o-", label=label)
        axis.set_xticks([point.at for point in points], [str(point.at) for point in points])
        axis.minorticks_off()
        axis.set_xlabel(title)
        axis.set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
        axis.legend(fontsize="small")
    axes[0].set_ylabel("error in log units, validation")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1200, help="of the level networks")
    parser.add_argument("--local-steps", type=int, default=600, help="of the local networks")
    parser.add_argument("--out", type=Path, required=True, help="picture")
    args = parser.parse_args()
    maps, _ = read_levels(args.data)
    most, usual = len(maps["median"]), Widths().level

    def of_level(count: int, width: int) -> dict[str, float]:
        errors = level_errors({key: values[:count] for key, values in maps.items()}, width, args.steps, args.validation)
        print("level network", count, "maps, width", width, errors, flush=True)
        return errors

    by_maps = [Point(count, of_level(count, usual)) for count in (int(most * share) for share in SHARES)]
    by_width = [Point(width, of_level(most, width)) for width in WIDTHS if width != usual] + [
        Point(usual, by_maps[-1].errors)
    ]
    by_size = []
    for size in SIZES:
        by_size.append(local_errors(size, args.data, args.local_steps, args.validation))
        print("local network,", size, "times the widths:", by_size[-1], flush=True)
    draw(
        {
            "simulated maps (level)": by_maps,
            "width of the level network": by_width,
            "thousand weights of the local network": by_size,
        },
        args.out,
    )


if __name__ == "__main__":
    main()
