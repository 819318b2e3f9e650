"""The network: a level network on a map's band features, and two small U-Nets on a quarter of the working grid.

The level network reads the band features of the map, a one-dimensional picture in which maps at 3 Å and at 6 Å differ
by a shift, and gives the global and the median local resolution, and the kind of editing. The resolution branch gets
the coarse fields; the mask branch also gets the density. Both get the map's context, one vector for all tiles of a map.
A quarter voxel is 1.3 resolution elements of the median: local resolution, an average over windows of 1.5 elements,
hardly varies within one.
No layer normalises over space, so that a voxel's output depends on its receptive field alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cryores_lite.method.band_features import COUPLING_SCALE, FEATURES, all_band_frequencies
from cryores_lite.method.coupling_estimate import MAX_LOG_RATIO, PATTERN_BANDS, PATTERN_SLOPE
from cryores_lite.method.network_inputs import BAND_SPAN, BANDS, CHANNELS, CONTEXT
from cryores_lite.types import EDITINGS

HALO = 32  # working voxels around a tile's core; the receptive field reaches 30


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Numbers of channels and blocks of the network."""

    resolution: tuple[int, int] = (48, 96)  # on the quarter grid, and on the eighth
    mask: tuple[int, int] = (32, 64)
    context: int = 48
    deep: int = 2  # residual blocks on the eighth grid
    level: int = 96
    level_members: int = 8


class MapResolution(NamedTuple):
    """Global resolution and median local resolution in Å, standard deviation of the latter's logarithm, each (b, 1).

    editing (b, len(EDITINGS)): logarithms of the probabilities of the kinds of editing.
    """

    global_: Tensor
    median: Tensor
    log_std: Tensor
    editing: Tensor


class Heads(NamedTuple):
    """The network's output: that of the level network (`MapResolution`), then fields.

    relative (b, 1, t/4, …): local minus global resolution in Å; error (b, 1, t/4, …): standard deviation of the local
    resolution's logarithm; mask (b, 64, t/4, …): logits of the 4³ working voxels of each quarter voxel.
    """

    global_: Tensor
    median: Tensor
    log_std: Tensor
    editing: Tensor
    relative: Tensor
    error: Tensor
    mask: Tensor


class DilatedConvBlock(nn.Module):
    """A residual block of two convolutions along the bands."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.second = nn.Conv1d(width, width, 1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.relu(self.first(functional.relu(x))))


class LevelNetMember(nn.Module):
    """(b, FEATURES, MAX_BANDS) → the map's resolution, as means of log resolution with weights over the bands."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(FEATURES, width, 1)
        self.blocks = nn.ModuleList(DilatedConvBlock(width, dilation) for dilation in (1, 2, 4, 1))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Conv1d(width, 3, 1)
        self.editing = nn.Linear(2 * width, len(EDITINGS))
        self.register_buffer(
            "log_resolutions", -torch.from_numpy(all_band_frequencies()).log().float(), persistent=False
        )

    def forward(self, evidence: Tensor) -> MapResolution:
        x = self.stem(evidence)
        for block in self.blocks:
            x = block(x)
        hidden = self.drop(functional.relu(x))
        global_logits, median_logits, log_std = self.head(hidden).unbind(1)
        editing = self.editing(torch.cat([hidden.mean(2), hidden.amax(2)], 1))
        weights = median_logits.softmax(1)
        return MapResolution(
            torch.exp((global_logits.softmax(1) * self.log_resolutions).sum(1, keepdim=True)),
            torch.exp((weights * self.log_resolutions).sum(1, keepdim=True)),
            deviation((weights * log_std).sum(1, keepdim=True)),
            editing.log_softmax(1),
        )


class LevelNet(nn.Module):
    """An ensemble of networks, whose standard deviation includes their disagreement.

    The members are called `readers` in files of weights.
    """

    def __init__(self, width: int, members: int) -> None:
        super().__init__()
        self.readers = nn.ModuleList(LevelNetMember(width) for _ in range(members))

    def forward(self, evidence: Tensor) -> MapResolution:
        estimates = [member(evidence) for member in self.readers]
        log_global, log_median = (torch.log(torch.stack(v)) for v in list(zip(*estimates, strict=True))[:2])
        mean = log_median.mean(0)
        log_stds = torch.stack([estimate.log_std for estimate in estimates])
        variance = log_stds.square().mean(0) + (log_median - mean).square().mean(0)
        editing = torch.stack([estimate.editing.exp() for estimate in estimates]).mean(0)
        return MapResolution(torch.exp(log_global.mean(0)), torch.exp(mean), torch.sqrt(variance), editing.log())


class Residual(nn.Module):
    """A residual block of a 3³ and a 1³ convolution, scaled and shifted by the map's context."""

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
    """A U-Net of two levels on the quarter grid, from the coarse fields and optionally the density of the half grid."""

    def __init__(self, narrow: int, wide: int, out: int, widths: Widths, with_density: bool) -> None:
        super().__init__()
        self.enter = nn.Conv3d(8, narrow, 3, padding=1) if with_density else None
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


class CouplingEstimate(nn.Module):
    """An estimate of the pattern from the coupling of bands near the median, and how far it is trusted.

    Where a map was sharpened locally, its power says nothing about the pattern.
    """

    def __init__(self, context: int) -> None:
        super().__init__()
        relative = np.geomspace(*BAND_SPAN, BANDS)
        near = (relative >= PATTERN_BANDS[0]) & (relative <= PATTERN_BANDS[1])
        self.weights = nn.Parameter(torch.from_numpy(PATTERN_SLOPE / COUPLING_SCALE * near).float())
        self.trust = nn.Linear(context, 1)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, -3.0)

    def forward(self, bands: Tensor, context: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Log of local over median resolution, and its weight from 0 to 1.

        `context` are the numbers of the map, which include the median coupling of every band.
        """
        deviation = bands[:, 2 * BANDS : 3 * BANDS] - context[:, 4 * BANDS : 5 * BANDS, None, None, None]
        log_ratio = -(self.weights[:, None, None, None] * deviation).sum(1, keepdim=True)
        weight = torch.sigmoid(self.trust(features))[:, :, None, None, None]
        return MAX_LOG_RATIO * torch.tanh(log_ratio / MAX_LOG_RATIO), weight


class LocalResolutionNet(nn.Module):
    """The full network, from the inputs of a tile of t³ working voxels to `Heads`.

    Inputs: evidence (b, FEATURES, MAX_BANDS), the band features; density (b, 1, t/2, …); bands (b, CHANNELS, t/4, …),
    the coarse fields; context (b, CONTEXT); given_median (b, 1), the median resolution in Å with which the other
    inputs were made. Every t is a multiple of eight.
    """

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        width = widths.context
        self.level = LevelNet(widths.level, widths.level_members)
        self.context = nn.Sequential(nn.Linear(CONTEXT, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.coupling = CouplingEstimate(width)
        self.resolution = Branch(*widths.resolution, 2, widths, with_density=False)
        self.mask = Branch(*widths.mask, 64, widths, with_density=True)

    def forward(self, evidence: Tensor, density: Tensor, bands: Tensor, context: Tensor, given_median: Tensor) -> Heads:
        resolution = self.level(evidence)
        features = self.context(context)
        fields = torch.cat([bands, correlation(bands[:, :BANDS])], 1)
        correction, error = self.resolution(fields, features).split(1, 1)
        coupled, weight = self.coupling(bands, context, features)
        log_local = bands[:, -1:] + weight * (coupled - bands[:, -1:]) + 1.5 * torch.tanh(correction)
        local = given_median[:, :, None, None, None] * torch.exp(log_local)
        relative = local - resolution.global_[:, :, None, None, None]
        mask = self.mask(fields, features, density)
        return Heads(**resolution._asdict(), relative=relative, error=deviation(error), mask=mask)


def leaky_relu(x: Tensor) -> Tensor:
    """A ReLU with slope 0.1 for negative values."""
    return functional.leaky_relu(x, 0.1)


def correlation(against_noise: Tensor) -> Tensor:
    """Four times (P − N)/(P + N), which is steep where the signal ends, from the network's input log(P/N) / 3."""
    return 4 * torch.tanh(1.5 * against_noise)


def deviation(x: Tensor) -> Tensor:
    """Map a number to the standard deviation of a logarithm, between 0.2 % and 270 %; 0 gives 8 %."""
    return torch.exp(3.5 * torch.tanh(x / 3.5) - 2.5)


def upsample_nearest(x: Tensor) -> Tensor:
    """(b, c, z, y, x) → (b, c, 2z, 2y, 2x); each voxel is repeated, which onnxruntime does faster than resizing."""
    for axis in (4, 3, 2):
        x = torch.stack([x, x], axis + 1).flatten(axis, axis + 1)
    return x


def space_to_depth(x: Tensor, n: int) -> Tensor:
    """(b, c, n z, n y, n x) → (b, n³ c, z, y, x)."""
    b, c, z, y, w = x.shape
    blocks = x.reshape(b, c, z // n, n, y // n, n, w // n, n).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.reshape(b, n**3 * c, z // n, y // n, w // n)
