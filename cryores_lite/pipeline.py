"""The method, as one paragraph: down the stairs, predict, back up the same stairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cryores_lite.steps.condition import Inputs, condition
from cryores_lite.steps.crop import Box, cut, molecule_box
from cryores_lite.steps.physical import Physical, Powers, measure, physical_estimate
from cryores_lite.steps.spectrum import Spectrum, transform
from cryores_lite.types import Density, Grid, Volume

MARGIN = 30.0  # Å around the molecule: the solvent ring, and the network's view


@dataclass(frozen=True, eq=False)
class Prepared:
    """A map on its way down: where it was cut, its waves, band powers, physical estimate, network inputs."""

    box: Box
    spectrum: Spectrum
    powers: Powers
    physical: Physical
    inputs: Inputs


def prepare(density: Density, threads: int = 1) -> Prepared:
    """Crop, transform, measure, estimate without a network, condition. Training calls this too."""
    box = molecule_box(density.values, density.grid.voxel_size, MARGIN)
    values = cut(density.values, box)
    spectrum = transform(values, density.grid.voxel_size, threads)
    powers = measure(spectrum, threads)
    physical = physical_estimate(spectrum, powers, seen(values, spectrum, powers))
    return Prepared(box, spectrum, powers, physical, condition(spectrum, powers, physical, threads))


def seen(values: Volume, spectrum: Spectrum, powers: Powers) -> Volume:
    """Share of each coarse voxel that holds map: 0 in the rim and where the map is blank (equal to its neighbours)."""
    blank = np.ones(values.shape, bool)
    for axis in range(3):
        blank &= np.diff(values, axis=axis, append=values.take([-2], axis)) == 0
    there = np.zeros(spectrum.shape, np.float32)
    there[tuple(slice(a, a + n) for a, n in zip(spectrum.before, values.shape, strict=True))] = ~blank
    reach = [max(1, round(n / m)) for n, m in zip(spectrum.shape, powers.shape, strict=True)]
    mean = ndimage.uniform_filter(there, reach)
    places = np.meshgrid(
        *(np.arange(m) * (n / m) for n, m in zip(spectrum.shape, powers.shape, strict=True)), indexing="ij", sparse=True
    )
    coarse: Volume = mean[tuple(np.round(p).astype(int) % n for p, n in zip(places, spectrum.shape, strict=True))]
    return coarse


__all__ = ["Density", "Grid", "Prepared", "prepare"]
