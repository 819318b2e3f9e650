"""The corners of Fourier space: waves beyond the Nyquist frequency of the axes, of which no resolution is told.

A map that was sharpened by a B-factor without a low-pass may hold little else: exp(-B k²/4) lifts what rounding left in
the corners above all signal, and where a crop is made periodic it leaks from there into every band.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import fft

from cryores_lite.fourier.spectrum import Spectrum, radius_planes
from cryores_lite.types import Density

EVERY = 8  # planes of waves of which one is looked at


def power_share_beyond_nyquist(spectrum: Spectrum) -> float:
    """Share of a map's power beyond the Nyquist frequency; of white noise it is about a half."""
    total, beyond = 0.0, 0.0
    for plane, k in zip(spectrum.waves[::EVERY], radius_planes(spectrum.shape, spectrum.lengths, EVERY), strict=True):
        power = np.square(plane.real, dtype=float) + np.square(plane.imag, dtype=float)
        total += float(power.sum())
        beyond += float(power.sum(where=k > spectrum.nyquist))
    return beyond / max(total, 1e-300)


def filter_to_nyquist(density: Density, threads: int = 1) -> Density:
    """The map without its waves beyond the Nyquist frequency."""
    shape, sizes = density.grid.shape, density.grid.voxel_size
    z, y, x = (n * size for n, size in zip(shape, sizes, strict=True))
    waves, nyquist = fft.rfftn(density.values, workers=threads), 0.5 / max(sizes)
    for plane, k in zip(waves, radius_planes(shape, (z, y, x)), strict=True):
        plane[k > nyquist] = 0
    values = fft.irfftn(waves, s=shape, overwrite_x=True, workers=threads)
    return replace(density, values=values.astype(np.float32, copy=False))
