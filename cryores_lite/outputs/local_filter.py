"""A map low-passed everywhere at its local resolution, as RELION's `_locres_filtered` is."""

from __future__ import annotations

from functools import partial

import numpy as np

from cryores_lite.fourier.spectrum import inverse_transform, low_pass, regrid, transform
from cryores_lite.types import Lengths, Volume

CUTOFF_RATIO = 1.1  # of neighbouring cut-offs
CUTOFF_EDGE = 2  # shells in which the gain falls, on either side of a cut-off


def locally_filtered(values: Volume, local: Volume, voxel_size: Lengths, threads: int = 1) -> Volume:
    """Low-pass a map at its local resolution. Maps with cut-offs 10 % apart are mixed linearly in log resolution.

    Parameters
    ----------
    values : (z, y, x) float32
    local : (z, y, x) float32, Å, 0 outside the mask
    voxel_size : Å

    Returns
    -------
    (z, y, x) float32, 0 outside the mask
    """
    out = np.zeros(values.shape, np.float32)
    if not local.any():
        return out
    spectrum = transform(values, voxel_size, threads)
    low, high = float(local[local > 0].min()), float(local.max())
    shell = 1 / min(spectrum.lengths)
    z, y, x = (slice(before, before + n) for before, n in zip(spectrum.before, values.shape, strict=True))
    for n in range(int(np.ceil(np.log(high / low) / np.log(CUTOFF_RATIO) + 1e-6)) + 1):

        def mix(part: slice, density: Volume, n: int = n) -> None:
            first, last = max(part.start, z.start), min(part.stop, z.stop)
            if first < last:
                sections = slice(first - z.start, last - z.start)
                position = np.log(np.maximum(local[sections], low) / low) / np.log(CUTOFF_RATIO)
                weight = np.clip(1 - np.abs(position - n), 0, 1) * (local[sections] > 0)
                out[sections] += weight * density[first - part.start : last - part.start, y, x]

        gain = partial(low_pass, cutoff=1 / (low * CUTOFF_RATIO**n), edge=CUTOFF_EDGE * shell)
        inverse_transform(regrid(spectrum, spectrum.shape, gain, threads), mix, threads)
    return out
