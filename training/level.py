r"""Train the level network on the band features of maps, and write it with trained weights of the local network.

    python -m training.level --data runs/train --validation runs/validation --weights runs/first/weights.safetensors \
        --out training/weights/v6.safetensors

The same command continues a stopped run from its last checkpoint, with the same result as an uninterrupted run.
The level network gives a map's global and median local resolution. Its members start from different weights and see
different maps in every step, so that they differ where the band features leave the resolution open.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tqdm import tqdm

from training import losses
from training.data import read_levels
from training.evaluation.metrics import INTERVAL
from training.network import LevelNet, LocalResolutionNet
from training.train import RunState, append, average_of, load_local, rate_at, save_weights

RATE, WEIGHT_DECAY = 2e-3, 0.05
MAPS_PER_STEP = 64  # for each member
FEATURE_NOISE = 0.05  # standard deviation; no single feature of a simulated map is reliable
KIND_COLUMNS = {1: "", 0: "", 2: "", 3: "editing_"}  # masking, processing, molecule, editing: prefix of a score


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """Settings of a training run of the level network.

    Attributes
    ----------
    data, validation : folders of `training.data`
    weights : of `training.train`, with the local network
    out : weights of both networks
    log : CSV of the losses and validation scores
    start : weights, of which the first members begin with those of the level network; the others are random
    steps : number of steps
    every : steps between validations and checkpoints
    seed : of the initial weights, the maps and dropout
    """

    data: Path
    validation: Path
    weights: Path
    out: Path
    log: Path
    start: Path | None = None
    steps: int = 2000
    every: int = 500
    seed: int = 1

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of a run that is not finished."""
        return self.out.with_suffix(".checkpoint.pt")


def with_noise(evidence: torch.Tensor) -> torch.Tensor:
    """Add noise to band features, except where they are 0 (beyond the map's Nyquist frequency)."""
    return evidence + FEATURE_NOISE * torch.randn_like(evidence) * (evidence != 0)


@torch.no_grad()
def validate(network: LevelNet, folder: Path) -> dict[str, float]:
    """Errors over all maps of a folder, in log units.

    Returns
    -------
    median, median_typical, overall : rms and median error of the median, and rms error of the global resolution
    median_held : share of the true medians within the 80 % interval
    median_physical : rms error of the physical estimate
    edited : share of the maps that are rightly called edited or unedited
    median_KIND : rms error of maps of one masking, processing or molecule
    median_editing_KIND : rms error of maps of one kind of editing
    """
    network.eval()
    levels, kinds = read_levels(folder)
    estimate = network(levels["evidence"])
    error = torch.log(estimate.median[:, 0]) - torch.log(levels["median"])
    global_error = torch.log(estimate.global_[:, 0]) - torch.log(levels["overall"])
    physical_error = (torch.log(levels["physical"]) - torch.log(levels["median"])).clamp(-1, 1)
    scores = {
        "median": _rms(error),
        "median_typical": float(error.abs().median()),
        "overall": _rms(global_error),
        "median_held": float((error.abs() <= INTERVAL * estimate.log_std[:, 0]).float().mean()),
        "median_physical": _rms(physical_error),
        "edited": edited_rate(estimate.editing, levels["editing"]),
    }
    for column, prefix in KIND_COLUMNS.items():
        for kind in np.unique(kinds[:, column]):
            scores[f"median_{prefix}{kind}"] = _rms(error[torch.from_numpy(kinds[:, column] == kind)])
    network.train()
    return scores


def edited_rate(log_probability: torch.Tensor, editing: torch.Tensor) -> float:
    """Share of the maps with known editing that are rightly called edited or unedited."""
    known = editing >= 0
    called = log_probability[:, 0] < math.log(0.5)
    return float((called == (editing > 0))[known].float().mean())


def _rms(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def load_members(network: LevelNet, path: Path) -> None:
    """Load as many members as a file of weights contains; their weights for the kind of editing may be missing."""
    members = {key.removeprefix("level."): w for key, w in load_file(path).items() if key.startswith("level.")}
    mismatch = network.load_state_dict(members, strict=False)
    if mismatch.unexpected_keys:
        raise SystemExit(f"{path} contains the weights of another level network: {mismatch.unexpected_keys}")


def begin(network: LevelNet) -> RunState:
    """The state of a run at its first step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    return RunState(network=network, averaged=average_of(network), optimizer=optimizer)


def train(
    state: RunState, maps: dict[str, torch.Tensor], steps: int, report: Callable[[float], None] = lambda _: None
) -> LevelNet:
    """Train every member on maps' band features, from the step of `state` to the last.

    Returns the network with averaged weights. `report` is called with the loss after every step.
    """
    network, optimizer = cast(LevelNet, state.network), state.optimizer
    for step in tqdm(range(state.step, steps), initial=state.step, total=steps, unit="step", mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_at(step, steps)
        loss = torch.zeros(())
        for member in network.readers:
            chosen = torch.randint(len(maps["median"]), (MAPS_PER_STEP,))
            batch = {key: values[chosen] for key, values in maps.items()}
            loss = loss + losses.level_loss(member(with_noise(batch["evidence"])), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.averaged.update_parameters(network)
        state.step = step + 1
        report(loss.item())
    return cast(LevelNet, state.averaged.module)


def train_level(config: LevelConfig) -> None:
    """Train a level network, from the last checkpoint if there is one, and write it with a trained local network."""
    torch.manual_seed(config.seed)
    network = LocalResolutionNet()
    load_local(network, config.weights)
    if config.start:
        load_members(network.level, config.start)
    maps, _ = read_levels(config.data)
    state = begin(network.level)
    if config.checkpoint.exists():
        state.load(config.checkpoint, "cpu")
    else:
        config.log.unlink(missing_ok=True)

    def report(loss: float) -> None:
        if state.step % config.every == 0 or state.step == config.steps:
            scores = validate(state.averaged.module, config.validation)
            append(config.log, {"step": state.step, "maps": len(maps["median"]), "loss": loss, **scores})
            state.save(config.checkpoint)

    network.level = train(state, maps, config.steps, report)
    with safe_open(config.weights, "pt") as file:
        metadata = dict(file.metadata() or {})
    settings = {key: str(value) for key, value in asdict(config).items()}
    save_weights(config.out, network, {**metadata, "level": json.dumps(settings)})
    config.checkpoint.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="of training.train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="default: --out with the suffix .level.csv")
    parser.add_argument("--start", type=Path, help="weights with which the first members begin")
    parser.add_argument("--steps", type=int, default=LevelConfig.steps)
    parser.add_argument(
        "--every", type=int, default=LevelConfig.every, help="steps between validations and checkpoints"
    )
    parser.add_argument("--seed", type=int, default=LevelConfig.seed)
    args = parser.parse_args()
    train_level(LevelConfig(**{**vars(args), "log": args.log or args.out.with_suffix(".level.csv")}))


if __name__ == "__main__":
    main()
