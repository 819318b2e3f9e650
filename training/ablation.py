"""Train networks that read power only, phases only, or both, and measure their errors on unedited and edited maps.

    python -m training.ablation --data runs/train --validation runs/validation

Prints a table of errors in log units. All networks are trained from random weights for the same number of steps, fewer
than those of a release. Inputs that a network does not read are 0. All networks read the marks of edits, the limit of
the map, and the density, which only the mask depends on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from cryores_lite.method.network_inputs import BANDS
from cryores_lite.types import EDITINGS
from training.data import Patches, nonempty_files, read_levels
from training.evaluation.page import text_table
from training.level import begin, train
from training.losses import Batch
from training.network import LevelNet, LocalResolutionNet, Widths
from training.train import RECIPES, descend, optimizer_for, patch_errors, predict, rate_at

LEVEL_MEMBERS, BATCH, SEED = 2, 4, 1
EDITING_COLUMN = 3  # of a map's kind
HEADER = (
    "inputs",
    *(f"{error}, {maps}" for maps in ("unedited", "edited") for error in ("level rms", "level typical")),
    *(f"pattern rms, {maps}" for maps in ("unedited", "edited")),
)

Inputs = dict[str, tuple[Sequence[int], ...]]  # rows of the second axis by name of the input

POWER: Inputs = {
    "evidence": (range(2, 13),),  # rows of `band_features`
    "bands": (range(2 * BANDS), (-1,)),  # channels of `NetworkInputs.bands`, the estimate from power last
    "context": (range(BANDS), range(2 * BANDS, 4 * BANDS), (6 * BANDS + 5,)),
}
PHASES: Inputs = {
    "evidence": (range(17, 22),),
    "bands": (range(2 * BANDS, 3 * BANDS),),
    "context": (range(4 * BANDS, 5 * BANDS),),
}
LEFT_OUT: dict[str, Inputs] = {
    "power and phases": {},
    "power": PHASES,
    "phases": POWER,
}


def without(batch: Batch, inputs: Inputs) -> Batch:
    """Copy a batch of maps or patches with some of its inputs set to 0. The first axis is that of the batch."""
    changed = dict(batch)
    for key in inputs.keys() & batch.keys():
        changed[key] = batch[key].clone()
        for rows in inputs[key]:
            changed[key][:, list(rows)] = 0
    return changed


def rms(values: npt.NDArray[np.floating]) -> str:
    """The root of the mean square of logarithmic errors, as text."""
    return f"{np.sqrt(np.mean(np.square(values))):.3f}"


def level_row(data: Path, validation: Path, steps: int, reads: str) -> list[str]:
    """Errors of the median resolution of unedited and edited maps: rms, and the median of their sizes."""
    torch.manual_seed(SEED)
    maps, _ = read_levels(data)
    network = train(begin(LevelNet(Widths().level, LEVEL_MEMBERS)), without(maps, LEFT_OUT[reads]), steps)
    network.eval()
    unseen, _ = read_levels(validation)
    with torch.no_grad():
        estimate = network(without(unseen, LEFT_OUT[reads])["evidence"]).median[:, 0]
    errors = (torch.log(estimate) - torch.log(unseen["median"])).numpy()
    edited = unseen["editing"].numpy() > 0
    return [
        text for chosen in (~edited, edited) for text in (rms(errors[chosen]), f"{np.median(abs(errors[chosen])):.3f}")
    ]


def local_row(data: Path, validation: Path, steps: int, reads: str) -> list[str]:
    """Errors of the local resolution within patches of unedited and edited maps, without their mean: rms."""
    recipe = RECIPES["logarithmic"]
    torch.manual_seed(SEED)
    network = LocalResolutionNet().to(memory_format=torch.channels_last_3d)
    network.level.requires_grad_(False)
    optimizer = optimizer_for(network, recipe)
    patches = DataLoader(Patches(data, SEED), batch_size=BATCH, num_workers=1)
    for step, batch in zip(range(steps), patches, strict=False):
        rate = recipe.rate * rate_at(step, steps)
        descend(network, optimizer, recipe.loss, without(batch, LEFT_OUT[reads]), rate)
    pattern: dict[bool, list[float]] = {False: [], True: []}
    network.eval()
    with torch.no_grad():
        for path in nonempty_files(validation):
            with np.load(path) as file:
                edited = np.array([kind != EDITINGS[0] for kind in file["kind"][:, EDITING_COLUMN]])
                batch = {key: torch.from_numpy(file[key].astype(np.float32)) for key in file.files if key != "kind"}
            for value in (False, True):
                chosen = {key: values[torch.from_numpy(edited == value)] for key, values in batch.items()}
                if len(chosen["level"]):
                    heads = predict(network, without(chosen, LEFT_OUT[reads]))
                    pattern[value] += [row[2] for row in patch_errors(heads, chosen)]
    return [f"{np.sqrt(np.mean(pattern[value])):.3f}" for value in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000, help="of the level networks")
    parser.add_argument("--local-steps", type=int, default=600, help="of the local networks")
    args = parser.parse_args()
    rows = [
        (
            reads,
            *level_row(args.data, args.validation, args.steps, reads),
            *local_row(args.data, args.validation, args.local_steps, reads),
        )
        for reads in LEFT_OUT
    ]
    print(text_table(HEADER, rows, align="lr"))


if __name__ == "__main__":
    main()
