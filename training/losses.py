"""What training lowers: our own loss on logarithms, and CryoRes' as published.

Both take the network's heads and a batch of records with `local`, `inside`, `overall` and `mask`; `level_loss` takes
the level network's answer and records of whole maps with `median` and `overall`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from training.evaluation.metrics import INTERVAL
from training.network import Heads, MapResolution, space_to_depth

Batch = dict[str, Tensor]
Loss = Callable[[Heads, Batch], Tensor]

KNEE = 0.1  # log units: errors above 10 % count linearly
WILD = 2.5  # local resolutions farther than this factor above the global one count as that far
HELD = 0.8  # share of the errors that the interval is to hold


def in_mask_mean(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over each patch's molecule, then over the patches that hold some."""
    count = inside.flatten(1).sum(1)
    mean = (values * inside).flatten(1).sum(1) / count.clamp(min=1)
    return (mean * (count > 0)).sum() / (count > 0).sum().clamp(min=1)


def robust(error: Tensor) -> Tensor:
    """Squared below the knee, linear above."""
    return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=KNEE, reduction="none")


def interval(error: Tensor, deviation: Tensor) -> Tensor:
    """Least where `INTERVAL` deviations hold the share `HELD` of the errors.

    Koenker & Bassett (1978), Econometrica 46, 33 (the loss of a quantile).
    """
    over = error.detach().abs() - INTERVAL * deviation
    return torch.maximum(HELD * over, (HELD - 1) * over)


def logarithmic(heads: Heads, batch: Batch) -> Tensor:
    """Relative errors of local resolution, as they are and less their mean over the patch; the share of them that the
    interval holds; the mask's cross-entropy.

    The level was told wrong: what is left of it drowns the pattern where both are judged as one.
    """
    local = (heads.overall[:, :, None, None, None] + heads.relative)[:, 0]
    truth = torch.minimum(batch["local"].clamp(min=1), WILD * batch["overall"][:, None, None, None])
    error = torch.log(local) - torch.log(truth)
    inside = batch["inside"]
    mean = (error * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    return (
        in_mask_mean(robust(error), inside)
        + 2 * in_mask_mean(robust(error - mean[:, None, None, None]), inside)
        + 0.3 * in_mask_mean(interval(error, heads.error[:, 0]), inside)
        + 0.3 * functional.binary_cross_entropy_with_logits(heads.mask, space_to_depth(batch["mask"][:, None], 4))
    )


def level_loss(level: MapResolution, batch: Batch) -> Tensor:
    """Relative errors of a map's median and global resolution, and the share of them that the interval holds."""
    error = torch.log(level.median[:, 0]) - torch.log(batch["median"])
    whole = torch.log(level.overall[:, 0]) - torch.log(batch["overall"])
    return (robust(error) + 0.5 * robust(whole) + 0.3 * interval(error, level.doubt[:, 0])).mean()


def cryores(heads: Heads, batch: Batch, weight: float = 1.0) -> Tensor:
    """L_global + λ L_rel + L_mask of Dai et al. (2023), J. Mol. Biol. 435, 168059, in Å."""
    truth = batch["local"] - batch["overall"][:, None, None, None]
    rel = torch.log10((heads.relative[:, 0] - truth).abs() + 1)
    return (
        functional.mse_loss(heads.overall[:, 0], batch["overall"])
        + weight * in_mask_mean(rel, batch["inside"])
        + functional.binary_cross_entropy_with_logits(heads.mask, space_to_depth(batch["mask"][:, None], 4))
    )
