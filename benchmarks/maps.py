"""Synthetic maps for timing: a body of protein-like texture in noisy solvent, of any box, shape and filling.

Times depend on the sizes of box and molecule, and on the resolution: finer detail has a finer working grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mrcfile  # type: ignore[import-untyped]
import numpy as np
from scipy import fft

from cryores_lite.fourier.spectrum import radius
from cryores_lite.types import Volume

TEXTURE_PERIOD = 64  # voxels, of texture and noise
B_FACTOR = 120.0  # Å², of the signal
EDGE = 4.0  # voxels, width of the edge of the body
SHELL_THICKNESS = 0.2  # of the outer radius of a capsid


@dataclass(frozen=True)
class MapKind:
    """A kind of map.

    Attributes
    ----------
    shape : of the molecule: "ball", "filament" through the box along z, or "shell"
    resolution : Å, where signal and noise are about equal
    voxel_size : Å
    """

    shape: str = "ball"
    resolution: float = 3.5
    voxel_size: float = 1.0


BALL = MapKind()
COSTLY_KINDS = {  # name: kind, edge in voxels, share of the box that is filled
    "detail to Nyquist": (MapKind(resolution=2.1), 256, 0.15),
    "filament": (MapKind("filament"), 256, 0.15),
    "capsid shell": (MapKind("shell"), 256, 0.15),
    "voxels of 0.8 Å": (MapKind(resolution=2.8, voxel_size=0.8), 400, 0.15),
}


def texture(seed: int, b_factor: float, voxel_size: float = 1.0) -> Volume:
    """A periodic tile of Gaussian noise whose amplitudes fall off with `b_factor` Å², of mean amplitude 1 at 0."""
    shape, length = (TEXTURE_PERIOD,) * 3, TEXTURE_PERIOD * voxel_size
    waves = fft.rfftn(np.random.default_rng(seed).standard_normal(shape, np.float32))
    waves *= np.exp(-b_factor * radius(shape, (length,) * 3) ** 2 / 4)
    values: Volume = fft.irfftn(waves, s=shape)
    return values.astype(np.float32)


def depth(kind: MapKind, edge: int, filling: float, z: int) -> Volume:
    """Voxels from the surface of the body, positive inside, on plane `z` of a box of `edge`³ voxels."""
    squared = (np.arange(edge, dtype=np.float32) - edge / 2) ** 2
    if kind.shape == "filament":
        return np.float32(edge * np.sqrt(filling / np.pi)) - np.sqrt(squared[:, None] + squared)
    from_centre = np.sqrt(squared[:, None] + squared + squared[z])
    hollow = (1 - SHELL_THICKNESS) ** 3 if kind.shape == "shell" else 0.0
    outer = edge * np.cbrt(3 * filling / (4 * np.pi * (1 - hollow)))
    inside: Volume = np.float32(outer) - from_centre
    return np.minimum(inside, from_centre - np.float32((1 - SHELL_THICKNESS) * outer)) if hollow else inside


def write(path: Path, edge: int, filling: float, kind: MapKind = BALL, half: int = 0) -> Path:
    """Write a map of `edge`³ voxels, plane by plane; its molecule fills the share `filling` of the box.

    Half map 1 or 2 has noise of its own, of twice the power; the map is not the average of both.
    """
    signal, noise = texture(1, B_FACTOR, kind.voxel_size), texture(2 + half, 0.0)
    noise *= np.float32(
        np.exp(-B_FACTOR / 4 / kind.resolution**2) * np.sqrt(6 if half else 3)
    )  # S / N is 1/3 where the FSC of the half maps is 1/7
    signal += 3 * signal.std()
    repeats = -(-edge // TEXTURE_PERIOD)
    with mrcfile.new_mmap(path, (edge, edge, edge), mrc_mode=2, overwrite=True) as file:
        for z in range(edge):
            inside = np.clip(0.5 + depth(kind, edge, filling, z) / EDGE, 0, 1)
            molecule, solvent = (
                np.tile(tile[z % TEXTURE_PERIOD], (repeats, repeats))[:edge, :edge] for tile in (signal, noise)
            )
            file.data[z] = inside * molecule + solvent
        file.voxel_size = kind.voxel_size
    return path
