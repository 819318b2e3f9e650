"""Train the local network on patches that `training.data` made, on CPU or CUDA.

    python -m training.train --data runs/train --validation runs/validation --out runs/first --steps 4000

The same command continues a stopped run from its last checkpoint, with the same result as an uninterrupted run.
`log.csv` holds the losses and validation scores; `weights.safetensors` the averaged weights with the lowest
validation error so far. `training.level` trains the level network; this
command trains it only with the recipe `cryores`, whose loss contains the global resolution.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from tqdm import tqdm

from training import losses
from training.data import PATCHES_PER_READ, Patches, nonempty_files
from training.evaluation.metrics import INTERVAL
from training.network import Heads, LocalResolutionNet, space_to_depth

WEIGHT_AVERAGE = 0.995  # decay of the moving average of the weights, per step
WARM_UP = 100  # steps
MIN_MOLECULE_VOXELS = 10  # of the quarter grid, in a patch that is scored


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """A loss and how it is minimised.

    Attributes
    ----------
    loss : of a batch
    optimizer : "adamw" or "sgd"
    rate : learning rate, the highest if it follows a cosine
    epochs : number of times that every file is read, if no number of steps is given
    momentum : of "sgd"
    cosine : whether the learning rate falls with a cosine after a short rise
    level : whether the loss trains the level network too
    """

    loss: losses.Loss
    optimizer: str
    rate: float
    epochs: int
    momentum: float = 0.0
    cosine: bool = True
    level: bool = False

    def described(self) -> dict[str, object]:
        """The settings, for the metadata of weights."""
        return {**asdict(self), "loss": self.loss.__name__}


RECIPES = {
    "logarithmic": TrainingRecipe(loss=losses.logarithmic, optimizer="adamw", rate=1e-3, epochs=24),
    "cryores": TrainingRecipe(
        loss=losses.cryores, optimizer="sgd", rate=1e-7, epochs=500, momentum=0.8, cosine=False, level=True
    ),
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of a training run of the local network.

    Attributes
    ----------
    data, validation : folders of `training.data`
    out : folder for the checkpoint, the log and the weights
    recipe : a key of `RECIPES`
    steps : number of steps, or None for the recipe's epochs over the files of `data`
    batch : patches of a step
    seed : of the initial weights, the patches and dropout
    start : weights to begin with, except those of the level network
    every : steps between validations and checkpoints
    loaders : processes that read patches, 0 or 1
    device : of torch
    """

    data: Path
    validation: Path
    out: Path
    recipe: str = "logarithmic"
    steps: int | None = None
    batch: int = 4
    seed: int = 1
    start: Path | None = None
    every: int = 200
    loaders: int = 1
    device: str = "cpu"

    def count_steps(self) -> int:
        """The given number of steps, or that of the recipe's epochs."""
        if self.steps:
            return self.steps
        return RECIPES[self.recipe].epochs * PATCHES_PER_READ * len(nonempty_files(self.data)) // self.batch


def optimizer_for(network: torch.nn.Module, recipe: TrainingRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(network.parameters(), lr=recipe.rate, momentum=recipe.momentum)
    return torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=0.02)


def rate_at(step: int, steps: int) -> float:
    """Learning rate, as a share of the recipe's: a short rise, then half a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / WARM_UP)
    return rise * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))))


def predict(network: LocalResolutionNet, batch: losses.Batch) -> Heads:
    """The heads for a batch of records."""
    heads: Heads = network(
        batch["evidence"], batch["density"], batch["bands"], batch["context"], batch["level"][:, None]
    )
    return heads


@torch.no_grad()
def validate(network: LocalResolutionNet, folder: Path, device: str) -> dict[str, float]:
    """Errors over all patches of a folder, in log units. The inputs were made with a wrong median resolution.

    Returns
    -------
    error, level, pattern : rms error of local resolution, of its median over a patch, and of the remainder
    told : rms error of the physical estimate, which the network corrects
    held : share of the truth within the 80 % interval
    iou : intersection over union of the masks
    """
    network.eval()
    rows: list[list[float]] = []
    for path in nonempty_files(folder):
        with np.load(path) as file:
            batch = {
                key: torch.from_numpy(file[key].astype(np.float32)).to(device) for key in file.files if key != "kind"
            }
        rows += patch_errors(predict(network, batch), batch)
    means = np.array(rows).mean(0)
    scores = dict(zip(("error", "level", "pattern", "told"), np.sqrt(means[:4]).tolist(), strict=True))
    network.train()
    return {**scores, "held": float(means[4]), "iou": float(means[5])}


def patch_errors(heads: Heads, batch: losses.Batch) -> list[list[float]]:
    """The scores of `validate` for each patch of a batch that contains molecule, errors as mean squares."""
    masks = space_to_depth(batch["mask"][:, None], 4)
    local = (heads.global_[:, :, None, None, None] + heads.relative)[:, 0]
    physical = batch["level"][:, None, None, None] * torch.exp(batch["bands"][:, -1])
    rows = []
    for n in range(len(local)):
        inside = batch["inside"][n] > 0
        if inside.sum() < MIN_MOLECULE_VOXELS:
            continue
        truth = torch.log(torch.minimum(batch["local"][n][inside], losses.MAX_LOCAL_RATIO * batch["overall"][n]))
        error, physical_error = torch.log(local[n][inside]) - truth, torch.log(physical[n][inside]) - truth
        level = error.median()
        held = error.abs() <= INTERVAL * heads.error[n, 0][inside]
        mask, estimated_mask = masks[n] > 0, heads.mask[n] > 0
        iou = (mask & estimated_mask).sum() / (mask | estimated_mask).sum().clamp(min=1)
        squares = (float(e.square().mean()) for e in (error, level, error - level, physical_error))
        rows.append([*squares, float(held.float().mean()), float(iou)])
    return rows


@dataclass(eq=False, kw_only=True)
class RunState:
    """The state of a run of the local or the level network, as its checkpoint holds it."""

    network: torch.nn.Module
    averaged: Any  # torch.optim.swa_utils.AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: float = math.inf  # lowest validation error

    def save(self, path: Path) -> None:
        """Write a checkpoint, with the state of torch's random numbers."""
        parts = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimizer")}
        others = {"step": self.step, "best": self.best, "random": torch.get_rng_state()}
        torch.save({**parts, **others}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def load(self, path: Path, device: str) -> None:
        """Read a checkpoint, and continue its random numbers."""
        saved = torch.load(path, map_location=device, weights_only=True)
        for name in ("network", "averaged", "optimizer"):
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.best = saved["step"], saved["best"]
        torch.set_rng_state(saved["random"].cpu())


def begin(config: TrainingConfig) -> RunState:
    """The state at the last checkpoint, or at the first step."""
    torch.manual_seed(config.seed)
    network = LocalResolutionNet().to(config.device)
    network = network.to(memory_format=torch.channels_last_3d)  # a quarter faster on CPUs
    if config.start:
        load_local(network, config.start)
    recipe = RECIPES[config.recipe]
    network.level.requires_grad_(recipe.level)
    state = RunState(network=network, averaged=average_of(network), optimizer=optimizer_for(network, recipe))
    if (config.out / "checkpoint.pt").exists():
        state.load(config.out / "checkpoint.pt", config.device)
    return state


def average_of(network: torch.nn.Module) -> Any:
    """A moving average of a network's weights."""
    swa = torch.optim.swa_utils
    return swa.AveragedModel(network, multi_avg_fn=swa.get_ema_multi_avg_fn(WEIGHT_AVERAGE))


def train(config: TrainingConfig) -> None:
    """Train until the last step, from the last checkpoint if there is one."""
    recipe, steps = RECIPES[config.recipe], config.count_steps()
    config.out.mkdir(parents=True, exist_ok=True)
    state = begin(config)
    patches = Patches(config.data, config.seed, start=state.step * config.batch)
    loader = iter(DataLoader(patches, batch_size=config.batch, num_workers=min(config.loaders, 1)))
    bar = tqdm(range(state.step, steps), initial=state.step, total=steps, unit="step", mininterval=5)
    recent_losses: list[float] = []
    start_time = time.monotonic()
    for step in bar:
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout is the same after a restart
        batch = {key: value.to(config.device) for key, value in next(loader).items()}
        rate = recipe.rate * (rate_at(step, steps) if recipe.cosine else 1)
        recent_losses.append(descend(state.network, state.optimizer, recipe.loss, batch, rate))
        state.averaged.update_parameters(state.network)
        state.step = step + 1
        bar.set_postfix(loss=f"{np.mean(recent_losses[-50:]):.4f}", refresh=False)
        if state.step % config.every == 0 or state.step == steps:
            row: dict[str, object] = {
                "step": state.step,
                "patches": state.step * config.batch,
                "seconds": round(time.monotonic() - start_time),
                "loss": float(np.mean(recent_losses)),
            }
            keep_best(state, replace(config, steps=steps), row)
            recent_losses.clear()
            state.save(config.out / "checkpoint.pt")


def keep_best(state: RunState, config: TrainingConfig, row: dict[str, object]) -> None:
    """Validate the averaged weights, add a row to the log, and write the weights if they are the best so far."""
    scores = validate(state.averaged.module, config.validation, config.device)
    row = {**row, **scores}
    append(config.out / "log.csv", row)
    if scores["error"] < state.best:
        state.best = scores["error"]
        save_weights(config.out / "weights.safetensors", state.averaged.module, describe(config, row))


def descend(
    network: LocalResolutionNet,
    optimizer: torch.optim.Optimizer,
    loss: losses.Loss,
    batch: losses.Batch,
    rate: float,
) -> float:
    """Take one step down the gradient of a batch's loss. Returns that loss."""
    for key in ("density", "bands"):
        batch[key] = batch[key].contiguous(memory_format=torch.channels_last_3d)
    for group in optimizer.param_groups:
        group["lr"] = rate
    value = loss(predict(network, batch), batch)
    optimizer.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return float(value.item())


def load_local(network: LocalResolutionNet, path: Path) -> None:
    """Load all weights except those of the level network."""
    local = {key: value for key, value in load_file(path).items() if not key.startswith("level.")}
    mismatch = network.load_state_dict(local, strict=False)
    if mismatch.unexpected_keys or any(not key.startswith("level.") for key in mismatch.missing_keys):
        raise SystemExit(f"{path} contains the weights of another network: {mismatch}")


def append(path: Path, row: dict[str, object]) -> None:
    """Add a row to a CSV file, after a header if the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5f}" if isinstance(v, float) else v for k, v in row.items()})


def describe(config: TrainingConfig, row: dict[str, object]) -> dict[str, str]:
    """Metadata of weights: the settings of the run and its scores."""
    settings = {key: str(value) for key, value in asdict(config).items() if key != "device"}
    recipe = RECIPES[config.recipe].described()
    return {"trained": json.dumps(settings), "scores": json.dumps(row), "recipe": json.dumps(recipe)}


def save_weights(path: Path, network: LocalResolutionNet, metadata: dict[str, str]) -> None:
    """Write weights and their metadata."""
    save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, path, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", choices=RECIPES, default=TrainingConfig.recipe)
    parser.add_argument("--steps", type=int, help="default: the recipe's epochs over the files of --data")
    parser.add_argument("--batch", type=int, default=TrainingConfig.batch)
    parser.add_argument("--seed", type=int, default=TrainingConfig.seed)
    parser.add_argument("--start", type=Path, help="weights to begin with, except those of the level network")
    parser.add_argument(
        "--every", type=int, default=TrainingConfig.every, help="steps between validations and checkpoints"
    )
    parser.add_argument(
        "--loaders", type=int, default=TrainingConfig.loaders, help="0: read patches in the training process"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    train(TrainingConfig(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
