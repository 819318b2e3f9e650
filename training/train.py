"""Train the network on patches that `training.data` made; the same command on CPU and CUDA.

    python -m training.train --data runs/train --validation runs/validation --out runs/first --steps 4000

Run it again to go on from the last checkpoint, exactly as if it had not stopped. `log.csv` holds the losses and
validation scores; `weights.safetensors` the averaged weights with the lowest validation error so far.
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
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from training import losses
from training.data import Patches, written
from training.network import LocalResolutionNet


@dataclass(frozen=True)
class Descent:
    """How to go down the loss."""

    loss: losses.Loss
    optimizer: str  # "adamw" or "sgd"
    rate: float
    momentum: float = 0.0
    cosine: bool = True


RECIPES = {
    "logarithmic": Descent(losses.logarithmic, "adamw", 1.5e-3),
    "cryores": Descent(losses.cryores, "sgd", 1e-7, momentum=0.8, cosine=False),
}
AVERAGE = 0.998  # of the weights, per step
WARM_UP = 100  # steps


def optimizer_for(network: torch.nn.Module, recipe: Descent) -> torch.optim.Optimizer:
    """The recipe's optimizer."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=recipe.rate, momentum=recipe.momentum)
    return torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.02)


def rate_at(step: int, steps: int, recipe: Descent) -> float:
    """Learning rate: a short rise, then half a cosine down to a hundredth."""
    if not recipe.cosine:
        return recipe.rate
    rise = min(1.0, (step + 1) / WARM_UP)
    return recipe.rate * rise * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))))


def run(network: LocalResolutionNet, batch: losses.Batch) -> losses.Heads:
    """The three heads for a batch of records."""
    heads: losses.Heads = network(batch["fields"], batch["bands"], batch["context"], batch["level"][:, None])
    return heads


@torch.no_grad()
def validate(network: LocalResolutionNet, folder: Path, device: str) -> dict[str, float]:
    """Errors over every patch of a folder: rms of log resolution, its level and pattern, mask IoU; by masking."""
    network.eval()
    rows: list[tuple[str, float, float, float, float, float]] = []
    for path in written(folder):
        with np.load(path) as file:
            kinds = file["kind"][:, 1]
            batch = {
                key: torch.from_numpy(file[key].astype(np.float32)).to(device) for key in file.files if key != "kind"
            }
        overall, relative, mask = run(network, batch)
        local = (overall[:, :, None, None, None] + relative)[:, 0]
        start = batch["level"][:, None, None, None] * torch.exp(batch["bands"][:, -1])
        for n, kind in enumerate(kinds):
            inside = batch["inside"][n] > 0
            if inside.sum() < 50:
                continue
            truth = torch.log(batch["local"][n][inside])
            error, before = torch.log(local[n][inside]) - truth, torch.log(start[n][inside]) - truth
            level = error.median()
            there, found = batch["mask"][n] > 0, mask[n, 0] > 0
            iou = (there & found).sum() / (there | found).sum().clamp(min=1)
            squares = (error.square().mean(), level.square(), (error - level).square().mean(), before.square().mean())
            rows.append((str(kind), *(float(s) for s in squares), float(iou)))
    network.train()
    table = np.array([row[1:] for row in rows])
    kinds = np.array([row[0] for row in rows])
    root = np.sqrt(np.minimum(table[:, :4], 1.0).mean(0))
    scores = dict(zip(("error", "level", "pattern", "physical"), root.tolist(), strict=True))
    scores["iou"] = float(table[:, 4].mean())
    for kind in np.unique(kinds):
        chosen = np.minimum(table[kinds == kind], 1.0)
        scores[f"error_{kind}"] = float(np.sqrt(chosen[:, 0].mean()))
        scores[f"physical_{kind}"] = float(np.sqrt(chosen[:, 3].mean()))
    return scores


def train(args: argparse.Namespace) -> None:
    """Train until `args.steps`, from the last checkpoint if there is one."""
    recipe = RECIPES[args.recipe]
    torch.manual_seed(args.seed)
    network = LocalResolutionNet().to(args.device)
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
        batch = {key: value.to(args.device) for key, value in next(loader).items()}
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, args.steps, recipe)
        loss = recipe.loss(run(network, batch), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(network)
        losses_seen.append(loss.item())
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
                save_weights(args.out / "weights.safetensors", averaged.module, args, row)
            save(step=step + 1, best=best)


def append(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV file, with its header first."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()})


def save_weights(path: Path, network: LocalResolutionNet, args: argparse.Namespace, row: dict[str, object]) -> None:
    """Write weights with how they were made."""
    made = {key: str(value) for key, value in vars(args).items() if key != "device"}
    metadata = {
        "trained": json.dumps(made),
        "scores": json.dumps(row),
        "recipe": json.dumps(_plain(RECIPES[args.recipe])),
    }
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, path, metadata)


def _plain(recipe: Descent) -> dict[str, object]:
    return {**asdict(recipe), "loss": recipe.loss.__name__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default="logarithmic")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=200, help="steps between validations and checkpoints")
    parser.add_argument("--loaders", type=int, default=1, help="0 reads patches in the training process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
