"""Train the network on patches that `training.data` made; the same command on CPU and CUDA.

    python -m training.train --data runs/train --validation runs/validation --out runs/first --steps 4000

Run it again to go on from the last checkpoint, exactly as if it had not stopped. `log.csv` holds the losses and
validation scores; `weights.safetensors` the averaged weights with the lowest validation error so far. The level
network is not trained here (but for the recipe `cryores`, whose global resolution it gives): see `training.level`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from training import losses
from training.data import PATCHES_PER_READ, Patches, written
from training.evaluation.metrics import INTERVAL
from training.network import Heads, LocalResolutionNet, space_to_depth


@dataclass(frozen=True)
class Descent:
    """How to go down the loss."""

    loss: losses.Loss
    optimizer: str  # "adamw" or "sgd"
    rate: float
    epochs: int  # how often every file is read, where no number of steps is given
    momentum: float = 0.0
    cosine: bool = True
    level: bool = False  # does the loss train the level network, or does `training.level`?


RECIPES = {
    "logarithmic": Descent(losses.logarithmic, "adamw", 1e-3, 24),
    "cryores": Descent(losses.cryores, "sgd", 1e-7, 500, momentum=0.8, cosine=False, level=True),
}
AVERAGE = 0.995  # of the weights, per step
WARM_UP = 100  # steps


def optimizer_for(network: torch.nn.Module, recipe: Descent) -> torch.optim.Optimizer:
    """The recipe's optimizer."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=recipe.rate, momentum=recipe.momentum)
    return torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.02)


def rate_at(step: int, steps: int) -> float:
    """Learning rate, as a share of the recipe's: a short rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))))


def run(network: LocalResolutionNet, batch: losses.Batch) -> Heads:
    """The heads for a batch of records."""
    heads: Heads = network(
        batch["evidence"], batch["density"], batch["bands"], batch["context"], batch["level"][:, None]
    )
    return heads


@torch.no_grad()
def validate(network: LocalResolutionNet, folder: Path, device: str) -> dict[str, float]:
    """Errors over every patch of a folder, in log units.

    Patches are told a wrong level. rms error of local resolution, its level and pattern, what it was before the
    network, the share that the 80 % interval holds, and the mask's IoU.
    """
    network.eval()
    rows = []
    for path in written(folder):
        with np.load(path) as file:
            batch = {
                key: torch.from_numpy(file[key].astype(np.float32)).to(device) for key in file.files if key != "kind"
            }
        heads, masks = run(network, batch), space_to_depth(batch["mask"][:, None], 4)
        local = (heads.overall[:, :, None, None, None] + heads.relative)[:, 0]
        start = batch["level"][:, None, None, None] * torch.exp(batch["bands"][:, -1])
        for n in range(len(local)):
            inside = batch["inside"][n] > 0
            if inside.sum() < 10:
                continue
            truth = torch.log(torch.minimum(batch["local"][n][inside], losses.WILD * batch["overall"][n]))
            error, before = torch.log(local[n][inside]) - truth, torch.log(start[n][inside]) - truth
            level = error.median()
            held = error.abs() <= INTERVAL * heads.error[n, 0][inside]
            there, guessed = masks[n] > 0, heads.mask[n] > 0
            iou = (there & guessed).sum() / (there | guessed).sum().clamp(min=1)
            parts = (error, level, error - level, before)
            rows.append([*(float(p.square().mean()) for p in parts), float(held.float().mean()), float(iou)])
    means = np.array(rows).mean(0)
    scores = dict(zip(("error", "level", "pattern", "told"), np.sqrt(means[:4]).tolist(), strict=True))
    network.train()
    return {**scores, "held": float(means[4]), "iou": float(means[5])}


def train(args: argparse.Namespace) -> None:
    """Train until `args.steps`, from the last checkpoint if there is one."""
    recipe = RECIPES[args.recipe]
    args.steps = args.steps or recipe.epochs * PATCHES_PER_READ * len(written(args.data)) // args.batch
    torch.manual_seed(args.seed)
    network = LocalResolutionNet().to(args.device)
    network = network.to(memory_format=torch.channels_last_3d)  # a quarter faster on CPUs
    if args.start:
        load_local(network, args.start)
    network.level.requires_grad_(recipe.level)
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
    )
    optimizer = optimizer_for(network, recipe)
    step, best = 0, math.inf
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=args.device, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, best = state["step"], state["best"]

    def save(**more: object) -> None:
        state = {
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        torch.save({**state, **more}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    patches = Patches(args.data, args.seed, start=step * args.batch)
    loader = iter(DataLoader(patches, batch_size=args.batch, num_workers=min(args.loaders, 1)))
    bar = tqdm(range(step, args.steps), initial=step, total=args.steps, unit="step", mininterval=5)
    losses_seen: list[float] = []
    began = time.monotonic()
    for step in bar:
        torch.manual_seed(args.seed * 1_000_003 + step)  # a resumed run draws what an unbroken one does
        batch = {key: value.to(args.device) for key, value in next(loader).items()}
        rate = recipe.rate * (rate_at(step, args.steps) if recipe.cosine else 1)
        losses_seen.append(go_down(network, optimizer, recipe.loss, batch, rate))
        averaged.update_parameters(network)
        bar.set_postfix(loss=f"{np.mean(losses_seen[-50:]):.4f}", refresh=False)
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            scores = validate(averaged.module, args.validation, args.device)
            row = {
                "step": step + 1,
                "patches": (step + 1) * args.batch,
                "seconds": round(time.monotonic() - began),
                "loss": float(np.mean(losses_seen)),
                **scores,
            }
            losses_seen.clear()
            append(args.out / "log.csv", row)
            if scores["error"] < best:
                best = scores["error"]
                save_weights(args.out / "weights.safetensors", averaged.module, describe(args, row))
            save(step=step + 1, best=best)


def go_down(
    network: LocalResolutionNet,
    optimizer: torch.optim.Optimizer,
    loss: losses.Loss,
    batch: losses.Batch,
    rate: float,
) -> float:
    """One step down the loss of a batch. Returns that loss."""
    for key in ("density", "bands"):
        batch[key] = batch[key].contiguous(memory_format=torch.channels_last_3d)
    for group in optimizer.param_groups:
        group["lr"] = rate
    now = loss(run(network, batch), batch)
    optimizer.zero_grad()
    now.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return now.item()


def load_local(network: LocalResolutionNet, path: Path) -> None:
    """Take over all weights but the level network's."""
    kept = {key: value for key, value in load_file(path).items() if not key.startswith("level.")}
    unknown = network.load_state_dict(kept, strict=False)
    if unknown.unexpected_keys or any(not key.startswith("level.") for key in unknown.missing_keys):
        raise SystemExit(f"{path} holds the weights of another network: {unknown}")


def append(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV file, with its header first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()})


def describe(args: argparse.Namespace, row: dict[str, object]) -> dict[str, str]:
    """How weights were made, for their file."""
    made = {key: str(value) for key, value in vars(args).items() if key != "device"}
    return {"trained": json.dumps(made), "scores": json.dumps(row), "recipe": json.dumps(_plain(RECIPES[args.recipe]))}


def save_weights(path: Path, network: LocalResolutionNet, metadata: dict[str, str]) -> None:
    """Write weights with how they were made."""
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, path, metadata)


def _plain(recipe: Descent) -> dict[str, object]:
    return {**asdict(recipe), "loss": recipe.loss.__name__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default="logarithmic")
    parser.add_argument("--steps", type=int, help="default: the recipe's epochs over the files of --data")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to start from (but the level network's)")
    parser.add_argument("--every", type=int, default=200, help="steps between validations and checkpoints")
    parser.add_argument("--loaders", type=int, default=1, help="0 reads patches in the training process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
