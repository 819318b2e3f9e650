"""Train the level network on whole maps' evidence, and put it into trained weights. Minutes on one CPU core.

    python -m training.level --data runs/train --validation runs/validation --weights runs/first/weights.safetensors \\
        --out training/weights/v5.safetensors

Its readers see other maps in every step, and start from other weights: what they agree on is in the evidence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from tqdm import tqdm

from training import losses
from training.data import read_levels
from training.evaluation.metrics import INTERVAL
from training.network import LevelNet, LocalResolutionNet
from training.train import append, load_local, rate_at, save_weights

RATE, DECAY, AVERAGE = 2e-3, 0.05, 0.995
MAPS = 64  # of each step and reader
JITTER = 0.05  # noise on the evidence: no single number of a simulated map is to be trusted


def blurred(evidence: torch.Tensor) -> torch.Tensor:
    """Evidence with a little noise, where there is any."""
    return evidence + JITTER * torch.randn_like(evidence) * (evidence != 0)


@torch.no_grad()
def validate(network: LevelNet, folder: Path) -> dict[str, float]:
    """Errors of the median over every map of a folder, in log units: rms, by masking, and the share of the interval."""
    network.eval()
    levels, kinds = read_levels(folder)
    found = network(levels["evidence"])
    off = torch.log(found.median[:, 0]) - torch.log(levels["median"])
    whole = torch.log(found.overall[:, 0]) - torch.log(levels["overall"])
    solvent = (torch.log(levels["physical"]) - torch.log(levels["median"])).clamp(-1, 1)
    scores = {
        "median": _root(off),
        "median_typical": float(off.abs().median()),
        "overall": _root(whole),
        "median_held": float((off.abs() <= INTERVAL * found.doubt[:, 0]).float().mean()),
        "median_physical": _root(solvent),
    }
    for column in (1, 0, 2):
        for kind in np.unique(kinds[:, column]):
            scores[f"median_{kind}"] = _root(off[torch.from_numpy(kinds[:, column] == kind)])
    network.train()
    return scores


def _root(values: torch.Tensor) -> float:
    return float(values.square().mean().sqrt())


def train(
    network: LevelNet, maps: dict[str, torch.Tensor], steps: int, report: Callable[[LevelNet, int, float], None]
) -> LevelNet:
    """Train every reader on maps' evidence; returns the averaged weights. `report` sees them after every step."""
    averaged = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    for step in tqdm(range(steps), unit="step", mininterval=5):
        for group in optimizer.param_groups:
            group["lr"] = RATE * rate_at(step, steps)
        loss = torch.zeros(())
        for reader in network.readers:
            drawn = torch.randint(len(maps["median"]), (MAPS,))
            some = {key: values[drawn] for key, values in maps.items()}
            loss = loss + losses.level_loss(reader(blurred(some["evidence"])), some)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        averaged.update_parameters(network)
        report(averaged.module, step + 1, loss.item())
    return averaged.module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="of training.train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, help="default: beside --out, .level.csv")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.log = args.log or args.out.with_suffix(".level.csv")
    args.log.unlink(missing_ok=True)
    torch.manual_seed(args.seed)
    network = LocalResolutionNet()
    load_local(network, args.weights)
    maps, _ = read_levels(args.data)

    def report(level: LevelNet, step: int, loss: float) -> None:
        if step % args.every == 0 or step == args.steps:
            scores = validate(level, args.validation)
            append(args.log, {"step": step, "maps": len(maps["median"]), "loss": loss, **scores})

    network.level = train(network.level, maps, args.steps, report)
    with safe_open(args.weights, "pt") as file:
        metadata = dict(file.metadata() or {})
    made = {key: str(value) for key, value in vars(args).items()}
    save_weights(args.out, network, {**metadata, "level": json.dumps(made)})


if __name__ == "__main__":
    main()
