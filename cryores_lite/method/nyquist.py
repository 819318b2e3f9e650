"""Power beyond the Nyquist frequency of the axes: the corners of Fourier space, where no resolution is defined.

A map that was sharpened by a B-factor without a low-pass may hold little else: exp(-B k²/4) raises rounding errors in
the corners above all signal. When a crop is made periodic, these errors leak into every band.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import fft

from cryores_lite.fourier.spectrum import Spectrum, radius_planes
from cryores_lite.types import Density

PLANE_STEP = 8  # every eighth plane of waves is measured


def power_share_beyond_nyquist(spectrum: Spectrum) -> float:
    """Return the share of a map's power beyond the Nyquist frequency; for white noise it is about a half."""
    total, beyond = 0.0, 0.0
    radii = radius_planes(spectrum.shape, spectrum.lengths, PLANE_STEP)
    for plane, k in zip(spectrum.waves[::PLANE_STEP], radii, strict=True):
        power = np.square(plane.real, dtype=float) + np.square(plane.imag, dtype=float)
        total += float(power.sum())
        beyond += float(power.sum(where=k > spectrum.nyquist))
    return beyond / max(total, 1e-300)


def filter_to_nyquist(density: Density, threads: int = 1) -> Density:
    """Remove the waves beyond the Nyquist frequency."""
    shape, sizes = density.grid.shape, density.grid.voxel_size
    z, y, x = (n * size for n, size in zip(shape, sizes, strict=True))
    waves, nyquist = fft.rfftn(density.values, workers=threads), 0.5 / max(sizes)
    for plane, k in zip(waves, radius_planes(shape, (z, y, x)), strict=True):
        plane[k > nyquist] = 0
    values = fft.irfftn(waves, s=shape, overwrite_x=True, workers=threads)
    return replace(density, values=values.astype(np.float32, copy=False))
