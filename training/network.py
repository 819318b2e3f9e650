"""The network: a level from the whole map's evidence, then two small U-Nets on a quarter of the working grid.

The level network reads the ladder of bands, a one-dimensional picture on which a map at 3 Å and one at 6 Å differ
by a shift, and answers where on the ladder the map ends. The resolution branch sees the coarse fields, the mask
branch the density too; both are told the map's context, one vector per map, so
that every tile of a map gets the same level. A quarter voxel is 1.3 resolution elements of the level: local
resolution, an average over windows of 1.5 elements, hardly varies within one. Nothing is normalised over space: a
tile's answer does not depend on what else is in the tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cryores_lite.method.band_features import FEATURES, all_band_frequencies
from cryores_lite.method.network_inputs import BANDS, CHANNELS, CONTEXT

HALO = 32  # working voxels beyond which nothing changes an answer: the reach is 30


@dataclass(frozen=True)
class Widths:
    """Widths of the network."""

    resolution: tuple[int, int] = (48, 96)  # on the quarter grid, and on the eighth
    mask: tuple[int, int] = (32, 64)
    context: int = 48
    deep: int = 2  # residual blocks on the eighth grid
    level: int = 96
    readers: int = 4


class MapResolution(NamedTuple):
    """Each (b, 1): global resolution and median local resolution in Å, standard deviation of the latter's logarithm."""

    overall: Tensor
    median: Tensor
    doubt: Tensor


class Heads(NamedTuple):
    """What the network answers: the level's three numbers, then fields.

    relative (b, 1, t/4, …): local minus global resolution in Å; error (b, 1, t/4, …): standard deviation of the local
    resolution's logarithm; mask (b, 64, t/4, …): logits of the 4³ working voxels of each quarter voxel.
    """

    overall: Tensor
    median: Tensor
    doubt: Tensor
    relative: Tensor
    error: Tensor
    mask: Tensor


class DilatedConvBlock(nn.Module):
    """Two convolutions along the ladder beside the identity."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class LevelNetMember(nn.Module):
    """(b, FEATURES, RUNGS) → where on the ladder the map ends, as a mean over rungs, and how sure that is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(FEATURES, width, 1)
        self.blocks = nn.ModuleList(DilatedConvBlock(width, dilation) for dilation in (1, 2, 4, 1))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Conv1d(width, 3, 1)
        self.register_buffer("rungs", -torch.from_numpy(all_band_frequencies()).log().float(), persistent=False)

    def forward(self, evidence: Tensor) -> MapResolution:
        x = self.stem(evidence)
        for block in self.blocks:
            x = block(x)
        overall, median, doubt = self.head(self.drop(functional.relu(x))).unbind(1)
        share = median.softmax(1)
        return MapResolution(
            torch.exp((overall.softmax(1) * self.rungs).sum(1, keepdim=True)),
            torch.exp((share * self.rungs).sum(1, keepdim=True)),
            deviation((share * doubt).sum(1, keepdim=True)),
        )


class LevelNet(nn.Module):
    """A few readers that were trained apart. Where they disagree, the doubt is larger."""

    def __init__(self, width: int, readers: int) -> None:
        super().__init__()
        self.readers = nn.ModuleList(LevelNetMember(width) for _ in range(readers))

    def forward(self, evidence: Tensor) -> MapResolution:
        told = [reader(evidence) for reader in self.readers]
        overall, median = (torch.log(torch.stack(values)) for values in list(zip(*told, strict=True))[:2])
        centre = median.mean(0)
        variance = torch.stack([level.doubt for level in told]).square().mean(0) + (median - centre).square().mean(0)
        return MapResolution(torch.exp(overall.mean(0)), torch.exp(centre), torch.sqrt(variance))


class Residual(nn.Module):
    """A 3³ and a 1³ convolution beside the identity, steered by the map's context."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 1)
        self.steer = nn.Linear(context, 2 * width)
        for layer in (self.second, self.steer):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        scale, shift = self.steer(context)[:, :, None, None, None].chunk(2, 1)
        hidden = self.first(leaky_relu(x)) * (1 + scale) + shift
        return x + self.second(leaky_relu(hidden))


class Branch(nn.Module):
    """A U-Net of two levels on the quarter grid: bands in, and the density of the half grid if it is to be seen."""

    def __init__(self, narrow: int, wide: int, out: int, widths: Widths, sees_density: bool) -> None:
        super().__init__()
        self.enter = nn.Conv3d(8, narrow, 3, padding=1) if sees_density else None
        self.bands = nn.Conv3d(CHANNELS + BANDS, narrow, 1)
        self.before = Residual(narrow, widths.context)
        self.down = nn.Conv3d(narrow, wide, 2, stride=2)
        self.deep = nn.ModuleList(Residual(wide, widths.context) for _ in range(widths.deep))
        self.up = nn.Conv3d(wide, narrow, 1)
        self.after = Residual(narrow, widths.context)
        self.head = nn.Conv3d(narrow, out, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, bands: Tensor, context: Tensor, density: Tensor | None = None) -> Tensor:
        x = self.bands(bands)
        if self.enter is not None and density is not None:
            x = x + self.enter(space_to_depth(density, 2))
        x = self.before(x, context)
        deep = self.down(x)
        for block in self.deep:
            deep = block(deep, context)
        x = x + upsample_nearest(self.up(deep))
        return self.head(leaky_relu(self.after(x, context)))


class LocalResolutionNet(nn.Module):
    """Evidence, density, coarse fields and context in; the level and the fields of `Heads` out.

    Inputs: evidence (b, FEATURES, RUNGS); density (b, 1, t/2, …); bands (b, CHANNELS, t/4, …); context (b, CONTEXT);
    level (b, 1), Å, that the other inputs were made with. Every t is a multiple of eight.
    """

    def __init__(self, widths: Widths = Widths()) -> None:
        super().__init__()
        width = widths.context
        self.level = LevelNet(widths.level, widths.readers)
        self.context = nn.Sequential(nn.Linear(CONTEXT, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.resolution = Branch(*widths.resolution, 2, widths, sees_density=False)
        self.mask = Branch(*widths.mask, 64, widths, sees_density=True)

    def forward(self, evidence: Tensor, density: Tensor, bands: Tensor, context: Tensor, level: Tensor) -> Heads:
        found = self.level(evidence)
        told = self.context(context)
        seen = torch.cat([bands, correlation(bands[:, :BANDS])], 1)
        correction, error = self.resolution(seen, told).split(1, 1)
        log_local = bands[:, -1:] + 1.5 * torch.tanh(correction)
        local = level[:, :, None, None, None] * torch.exp(log_local)
        relative = local - found.overall[:, :, None, None, None]
        return Heads(*found, relative, deviation(error), self.mask(seen, told, density))


def leaky_relu(x: Tensor) -> Tensor:
    """A ReLU that does not die."""
    return functional.leaky_relu(x, 0.1)


def correlation(against_noise: Tensor) -> Tensor:
    """Four times (P − N)/(P + N), from log P/N over three as the conditioning gives it: steep where maps end."""
    return 4 * torch.tanh(1.5 * against_noise)


def deviation(x: Tensor) -> Tensor:
    """A standard deviation of a logarithm, between 0.2 % and 270 %, 8 % for 0."""
    return torch.exp(3.5 * torch.tanh(x / 3.5) - 2.5)


def upsample_nearest(x: Tensor) -> Tensor:
    """Every voxel eight times: (b, c, z, y, x) → (b, c, 2z, 2y, 2x). onnxruntime repeats faster than it resizes."""
    for axis in (4, 3, 2):
        x = torch.stack([x, x], axis + 1).flatten(axis, axis + 1)
    return x


def space_to_depth(x: Tensor, n: int) -> Tensor:
    """(b, c, n z, n y, n x) → (b, n³ c, z, y, x)."""
    b, c, z, y, w = x.shape
    blocks = x.reshape(b, c, z // n, n, y // n, n, w // n, n).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(b, n**3 * c, z // n, y // n, w // n)
