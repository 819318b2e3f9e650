"""What training lowers: our own loss on logarithms, and CryoRes' as published.

Both take the network's three heads and a batch of records with `local`, `inside`, `overall` and `mask`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Heads = tuple[Tensor, Tensor, Tensor]
Batch = dict[str, Tensor]
Loss = Callable[[Heads, Batch], Tensor]

KNEE = 0.1  # log units: errors above 10 % count linearly


def in_mask_mean(values: Tensor, inside: Tensor) -> Tensor:
    """Mean over each patch's molecule, then over the patches that hold some."""
    count = inside.flatten(1).sum(1)
    mean = (values * inside).flatten(1).sum(1) / count.clamp(min=1)
    return (mean * (count > 0)).sum() / (count > 0).sum().clamp(min=1)


def logarithmic(heads: Heads, batch: Batch) -> Tensor:
    """Relative errors of local and global resolution, and the mask's cross-entropy."""
    overall, relative, mask = heads
    local = (overall[:, :, None, None, None] + relative)[:, 0]
    error = torch.log(local) - torch.log(batch["local"].clamp(min=1))
    parts = functional.smooth_l1_loss(error, torch.zeros_like(error), beta=KNEE, reduction="none")
    whole = torch.log(overall[:, 0]) - torch.log(batch["overall"])
    return (
        in_mask_mean(parts, batch["inside"])
        + 0.3 * functional.smooth_l1_loss(whole, torch.zeros_like(whole), beta=KNEE)
        + 0.3 * functional.binary_cross_entropy_with_logits(mask[:, 0], batch["mask"])
    )


def cryores(heads: Heads, batch: Batch, weight: float = 1.0) -> Tensor:
    """L_global + λ L_rel + L_mask of Dai et al. (2023), J. Mol. Biol. 435, 168059, in Å."""
    overall, relative, mask = heads
    truth = batch["local"] - batch["overall"][:, None, None, None]
    rel = torch.log10((relative[:, 0] - truth).abs() + 1)
    return (
        functional.mse_loss(overall[:, 0], batch["overall"])
        + weight * in_mask_mean(rel, batch["inside"])
        + functional.binary_cross_entropy_with_logits(mask[:, 0], batch["mask"])
    )
