"""A map low-passed everywhere at its local resolution, as RELION's `_locres_filtered` is."""

from __future__ import annotations

from functools import partial

import numpy as np

from cryores_lite.fourier.spectrum import low_pass, planes, regrid, transform
from cryores_lite.types import Lengths, Volume

STEP = 1.1  # ratio of the cut-offs that are mixed
EDGE = 2  # shells from 1 to 0, on either side of a cut-off


def locally_filtered(values: Volume, local: Volume, voxel_size: Lengths, threads: int = 1) -> Volume:
    """Low-pass a map at its local resolution, between cut-offs 10 % apart by linear mixing; where that is 0, 0.

    Parameters
    ----------
    values : (z, y, x) float32
    local : (z, y, x) float32, Å, 0 where it is not known
    voxel_size : Å
    """
    out = np.zeros(values.shape, np.float32)
    if not local.any():
        return out
    spectrum = transform(values, voxel_size, threads)
    low, high = float(local[local > 0].min()), float(local.max())
    shell = 1 / min(spectrum.lengths)
    z, y, x = (slice(before, before + n) for before, n in zip(spectrum.before, values.shape, strict=True))
    for n in range(int(np.ceil(np.log(high / low) / np.log(STEP) + 1e-6)) + 1):

        def mix(part: slice, density: Volume, n: int = n) -> None:
            first, last = max(part.start, z.start), min(part.stop, z.stop)
            if first < last:
                rows = slice(first - z.start, last - z.start)
                place = np.log(np.maximum(local[rows], low) / low) / np.log(STEP)
                share = np.clip(1 - np.abs(place - n), 0, 1) * (local[rows] > 0)
                out[rows] += share * density[first - part.start : last - part.start, y, x]

        gain = partial(low_pass, cutoff=1 / (low * STEP**n), edge=EDGE * shell)
        planes(regrid(spectrum, spectrum.shape, gain, threads), mix, threads)
    return out
