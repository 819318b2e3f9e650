"""Synthetic maps for timing: a ball of protein-like texture in noisy solvent, of any box and filling.

The resolution is near 3.5 Å on voxels of 1 Å; times depend on the sizes of box and molecule alone.
"""

from __future__ import annotations

from pathlib import Path

import mrcfile  # type: ignore[import-untyped]
import numpy as np
from scipy import fft

from cryores_lite.fourier.spectrum import radius
from cryores_lite.types import Volume

TEXTURE_PERIOD = 64  # voxels, of texture and noise
RESOLUTION = 3.5  # Å, where signal and noise are about equal
B_FACTOR = 120.0  # Å², of the signal


def texture(seed: int, b_factor: float) -> Volume:
    """A periodic tile of Gaussian noise whose amplitudes fall off with `b_factor` Å², of mean amplitude 1 at 0."""
    waves = fft.rfftn(np.random.default_rng(seed).standard_normal((TEXTURE_PERIOD,) * 3, np.float32))
    waves *= np.exp(-b_factor * radius((TEXTURE_PERIOD,) * 3, (float(TEXTURE_PERIOD),) * 3) ** 2 / 4)
    values: Volume = fft.irfftn(waves, s=(TEXTURE_PERIOD,) * 3)
    return values.astype(np.float32)


def write(path: Path, edge: int, filling: float, half: int = 0) -> Path:
    """Write a map of `edge`³ voxels, plane by plane; its molecule, a ball, fills the share `filling` of the box.

    Half map 1 or 2 has noise of its own, of twice the power; the map is not the average of both.
    """
    signal, noise = texture(1, B_FACTOR), texture(2 + half, 0.0)
    noise *= np.float32(
        np.exp(-B_FACTOR / 4 / RESOLUTION**2) * np.sqrt(6 if half else 3)
    )  # S / N is 1/3 where the FSC of the half maps is 1/7
    signal += 3 * signal.std()
    repeats = -(-edge // TEXTURE_PERIOD)
    squared = (np.arange(edge, dtype=np.float32) - edge / 2) ** 2
    radius_voxels = edge * np.cbrt(3 * filling / (4 * np.pi))
    with mrcfile.new_mmap(path, (edge, edge, edge), mrc_mode=2, overwrite=True) as file:
        for z in range(edge):
            inside = np.clip(0.5 - (np.sqrt(squared[:, None] + squared + squared[z]) - radius_voxels) / 4, 0, 1)
            molecule, solvent = (
                np.tile(tile[z % TEXTURE_PERIOD], (repeats, repeats))[:edge, :edge] for tile in (signal, noise)
            )
            file.data[z] = inside * molecule + solvent
        file.voxel_size = 1.0
    return path
