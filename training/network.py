"""The network: two small U-Nets on a half-resolution stem, and three heads.

The resolution branch sees the texture and the coarse fields, the mask branch the density and the coarse fields;
both are told the map's context, one vector per map, so that every tile of a map gets the same level. Nothing
is normalised over space: a tile's answer does not depend on what else is in the tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cryores_lite.steps.condition import CHANNELS, CONTEXT

HALO = 32  # working voxels beyond which nothing changes an answer: the branches' reach is 28


@dataclass(frozen=True)
class Shape:
    """Widths of the network."""

    resolution: tuple[int, int] = (24, 48)
    mask: tuple[int, int] = (16, 32)
    context: int = 48
    deep: int = 2  # residual blocks at quarter resolution


class Residual(nn.Module):
    """Two 3³ convolutions beside the identity, steered by the map's context."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 3, padding=1)
        self.steer = nn.Linear(context, 2 * width)
        for layer in (self.second, self.steer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        scale, shift = self.steer(context)[:, :, None, None, None].chunk(2, 1)
        hidden = self.first(functional.relu(x)) * (1 + scale) + shift
        return x + self.second(functional.relu(hidden))


class Branch(nn.Module):
    """A U-Net of two levels."""

    def __init__(self, channels: int, widths: tuple[int, int], out: int, shape: Shape) -> None:
        super().__init__()
        wide, narrow = widths[1], widths[0]
        self.stem = nn.Conv3d(channels, narrow, 1)
        self.before = Residual(narrow, shape.context)
        self.down = nn.Conv3d(narrow, wide, 2, stride=2)
        self.deep = nn.ModuleList(Residual(wide, shape.context) for _ in range(shape.deep))
        self.up = nn.Conv3d(wide, narrow, 1)
        self.after = Residual(narrow, shape.context)
        self.head = nn.Conv3d(narrow, out, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = self.before(self.stem(x), context)
        deep = self.down(x)
        for block in self.deep:
            deep = block(deep, context)
        x = x + functional.interpolate(self.up(deep), scale_factor=2, mode="nearest")
        return self.head(functional.relu(self.after(x, context)))


class LocalResolutionNet(nn.Module):
    """Density and texture, coarse fields and context in; global, relative and mask out.

    Inputs: fields (b, 2, t, t, t); bands (b, CHANNELS, t/2, …); context (b, CONTEXT); level (b, 1) in Å.
    Outputs: global resolution (b, 1) in Å; local minus global resolution (b, 1, t/2, …) in Å; mask logit
    (b, 1, t, …).
    """

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        width = shape.context
        self.context = nn.Sequential(nn.Linear(CONTEXT, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.resolution = Branch(8 + CHANNELS, shape.resolution, 1, shape)
        self.mask = Branch(8 + CHANNELS, shape.mask, 8, shape)
        self.overall = nn.Linear(shape.context, 1)
        nn.init.zeros_(self.overall.weight)
        nn.init.zeros_(self.overall.bias)

    def forward(self, fields: Tensor, bands: Tensor, context: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        told = self.context(context)
        density, texture = (space_to_depth(fields[:, i : i + 1]) for i in (0, 1))
        correction = self.resolution(torch.cat([texture, bands], 1), told)
        log_local = bands[:, -1:] + 1.5 * torch.tanh(correction)
        local = level[:, :, None, None, None] * torch.exp(log_local)
        overall = level * torch.exp(1.5 * torch.tanh(self.overall(told)))
        mask = depth_to_space(self.mask(torch.cat([density, bands], 1), told))
        return overall, local - overall[:, :, None, None, None], mask


def space_to_depth(x: Tensor) -> Tensor:
    """(b, 1, 2z, 2y, 2x) → (b, 8, z, y, x). Undone by `depth_to_space`."""
    b, _, z, y, w = x.shape
    blocks = x.reshape(b, z // 2, 2, y // 2, 2, w // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
    return blocks.reshape(b, 8, z // 2, y // 2, w // 2)


def depth_to_space(x: Tensor) -> Tensor:
    """(b, 8, z, y, x) → (b, 1, 2z, 2y, 2x)."""
    b, _, z, y, w = x.shape
    blocks = x.reshape(b, 2, 2, 2, z, y, w).permute(0, 4, 1, 5, 2, 6, 3)
    return blocks.reshape(b, 1, 2 * z, 2 * y, 2 * w)
