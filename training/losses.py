"""The losses: one on logarithms of resolutions, and the published loss of CryoRes.

Both take the network's heads and a batch of patches with `local`, `inside`, `overall` and `mask`; `level_loss` takes
the level network's output and a batch of maps with `median` and `overall`.
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

LINEAR_ABOVE = 0.1  # log units; larger errors count linearly
MAX_LOCAL_RATIO = 2.5  # local resolutions above this multiple of the global one are set to it
INTERVAL_SHARE = 0.8  # share of the errors that the interval should contain
EDITING_WEIGHT = 0.3  # of the cross-entropy of the kind of editing


def in_mask_mean(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over each patch's molecule, then over the patches that contain molecule."""
    count = inside.flatten(1).sum(1)
    mean = (values * inside).flatten(1).sum(1) / count.clamp(min=1)
    return (mean * (count > 0)).sum() / (count > 0).sum().clamp(min=1)


def robust(error: Tensor) -> Tensor:
    """Smooth L1: squared for errors up to `LINEAR_ABOVE`, linear above."""
    return functional.smooth_l1_loss(error, torch.zeros_like(error), beta=LINEAR_ABOVE, reduction="none")


def interval(error: Tensor, deviation: Tensor) -> Tensor:
    """Quantile loss, least where `INTERVAL` deviations contain the share `INTERVAL_SHARE` of the errors.

    Koenker & Bassett (1978), Econometrica 46, 33.
    """
    excess = error.detach().abs() - INTERVAL * deviation
    return torch.maximum(INTERVAL_SHARE * excess, (INTERVAL_SHARE - 1) * excess)


def logarithmic(heads: Heads, batch: Batch) -> Tensor:
    """Sum the losses of local resolution, of its stated error and of the mask.

    The relative error of local resolution enters twice, with and without its mean over the patch: the inputs were made
    with a wrong median resolution, whose error would hide that of the pattern in a single term. The stated error enters
    with its quantile loss, the mask with its cross-entropy.
    """
    local = (heads.global_[:, :, None, None, None] + heads.relative)[:, 0]
    truth = torch.minimum(batch["local"].clamp(min=1), MAX_LOCAL_RATIO * batch["overall"][:, None, None, None])
    error = torch.log(local) - torch.log(truth)
    inside = batch["inside"]
    mean = (error * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
    return (
        in_mask_mean(robust(error), inside)
        + 2 * in_mask_mean(robust(error - mean[:, None, None, None]), inside)
        + 0.3 * in_mask_mean(interval(error, heads.error[:, 0]), inside)
        + 0.3 * functional.binary_cross_entropy_with_logits(heads.mask, space_to_depth(batch["mask"][:, None], 4))
    )


def level_loss(estimate: MapResolution, batch: Batch) -> Tensor:
    """Sum the losses of a map's numbers.

    They are the relative errors of the median and global resolution, the quantile loss of the median's stated error,
    and the cross-entropy of the kind of editing, where it is known.
    """
    error = torch.log(estimate.median[:, 0]) - torch.log(batch["median"])
    global_error = torch.log(estimate.global_[:, 0]) - torch.log(batch["overall"])
    lengths = robust(error) + 0.5 * robust(global_error) + 0.3 * interval(error, estimate.log_std[:, 0])
    known = batch["editing"] >= 0
    editing = functional.nll_loss(estimate.editing[known], batch["editing"][known], reduction="sum") / len(known)
    return lengths.mean() + EDITING_WEIGHT * editing


def cryores(heads: Heads, batch: Batch, weight: float = 1.0) -> Tensor:
    """L_global + λ L_rel + L_mask of Dai et al. (2023), J. Mol. Biol. 435, 168059, in Å."""
    truth = batch["local"] - batch["overall"][:, None, None, None]
    rel = torch.log10((heads.relative[:, 0] - truth).abs() + 1)
    return (
        functional.mse_loss(heads.global_[:, 0], batch["overall"])
        + weight * in_mask_mean(rel, batch["inside"])
        + functional.binary_cross_entropy_with_logits(heads.mask, space_to_depth(batch["mask"][:, None], 4))
    )
