"""Train networks of several sizes on several numbers of maps, and measure their errors.

    python -m training.curves --data runs/train --validation runs/validation --out docs/curves.png

Prints the errors on validation maps and patches, and draws them. If an error still falls with the number of maps but
not with the width, more maps would help. All networks of a kind are trained from random weights for the same number of
steps, fewer than those of a release.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from training.data import Patches, read_levels
from training.level import begin, train, validate
from training.network import LevelNet, LocalResolutionNet, Widths
from training.train import RECIPES, descend, optimizer_for, rate_at
from training.train import validate as validate_patches

DATA_SHARES = (0.125, 0.25, 0.5, 1.0)
WIDTHS = (12, 24, 48, 96)
LEVEL_MEMBERS = 2
RELATIVE_WIDTHS = (0.25, 0.5, 1.0, 1.5)  # of the local network, in units of the released one's
BATCH, SEED = 4, 1


@dataclass(frozen=True)
class Point:
    """Errors of a network by name, and its position on the horizontal axis (number of maps, or size)."""

    x: int
    errors: dict[str, float]


def level_errors(maps: dict[str, torch.Tensor], width: int, steps: int, validation: Path) -> dict[str, float]:
    """Errors of a level network of `width` trained on these maps."""
    torch.manual_seed(SEED)
    scores = validate(train(begin(LevelNet(width, LEVEL_MEMBERS)), maps, steps), validation)
    return {"rms": scores["median"], "typical (median size)": scores["median_typical"]}


def local_errors(size: float, data: Path, steps: int, validation: Path) -> Point:
    """Errors of a local network whose widths are `size` times the released; `x` is its number of weights / 1000."""
    released, recipe = Widths(), RECIPES["logarithmic"]
    torch.manual_seed(SEED)
    network = LocalResolutionNet(
        replace(released, resolution=_scaled(released.resolution, size), mask=_scaled(released.mask, size))
    ).to(memory_format=torch.channels_last_3d)
    network.level.requires_grad_(False)
    optimizer = optimizer_for(network, recipe)
    for step, batch in zip(
        range(steps), DataLoader(Patches(data, SEED), batch_size=BATCH, num_workers=1), strict=False
    ):
        descend(network, optimizer, recipe.loss, batch, recipe.rate * rate_at(step, steps))
    scores = validate_patches(network, validation, "cpu")
    weights = sum(w.numel() for name, w in network.named_parameters() if not name.startswith("level."))
    return Point(round(weights / 1000), {"local resolution": scores["error"], "pattern": scores["pattern"]})


def _scaled(widths: tuple[int, int], size: float) -> tuple[int, int]:
    first, second = (round(size * width) for width in widths)
    return first, second


def draw(curves: dict[str, list[Point]], path: Path) -> None:
    """Draw one panel for each curve; its name labels the horizontal axis."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4.3 * len(curves), 3.4), layout="constrained", sharey=True)
    for axis, (title, points) in zip(axes, curves.items(), strict=True):
        points = sorted(points, key=lambda point: point.x)
        for label in points[0].errors:
            axis.loglog([point.x for point in points], [point.errors[label] for point in points], "o-", label=label)
        axis.set_xticks([point.x for point in points], [str(point.x) for point in points])
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
    all_maps, released_width = len(maps["median"]), Widths().level

    def level_point_errors(count: int, width: int) -> dict[str, float]:
        errors = level_errors({key: values[:count] for key, values in maps.items()}, width, args.steps, args.validation)
        print("level network", count, "maps, width", width, errors, flush=True)
        return errors

    counts = [int(all_maps * share) for share in DATA_SHARES]
    by_maps = [Point(count, level_point_errors(count, released_width)) for count in counts]
    by_width = [Point(width, level_point_errors(all_maps, width)) for width in WIDTHS if width != released_width] + [
        Point(released_width, by_maps[-1].errors)
    ]
    by_size = []
    for size in RELATIVE_WIDTHS:
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
