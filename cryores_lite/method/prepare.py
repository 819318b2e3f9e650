"""From a density to its waves, band powers, solvent estimate and the evidence of its level."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from cryores_lite.fourier.local_power import POWER_STEP, Average
from cryores_lite.fourier.spectrum import Spectrum, chunks, grid_for, transform
from cryores_lite.method.band_features import gather
from cryores_lite.method.crop import Box, cut, molecule_box
from cryores_lite.method.molecule import outline
from cryores_lite.method.nyquist import share_beyond, within_nyquist
from cryores_lite.method.soft_edge import soften
from cryores_lite.method.solvent_noise import Physical, Powers, measure, physical_estimate
from cryores_lite.resources import require
from cryores_lite.types import Density, Volume

MARGIN = 30.0  # Å around the molecule: the solvent ring, and the network's view
DROWNED = 0.9  # share of a map's power beyond the Nyquist frequency, above which that hides all else
SMALL = 1 << 25  # voxels of a box whose molecule and bands are looked at side by side


@dataclass(frozen=True, eq=False)
class Prepared:
    """A map on its way down: where it was cut, its waves, band powers, physical estimate, evidence of its level.

    `drowned`: it held hardly more than waves beyond the Nyquist frequency, which were left out.
    """

    box: Box
    spectrum: Spectrum
    powers: Powers
    physical: Physical
    evidence: Volume
    drowned: bool


def prepare(density: Density, threads: int = 1) -> Prepared:
    """Crop, soften, transform, measure, estimate without a network, gather evidence. Training calls this too."""
    box, spectrum, there, blank = waves(density, threads)
    drowned = not share_beyond(spectrum) <= DROWNED
    if drowned:
        require(density.grid.shape)
        box, spectrum, there, blank = waves(within_nyquist(density, threads), threads)
    # Neither step fills two cores with a small map; with a large one each takes much memory.
    workers = min(2, threads) if int(np.prod(spectrum.shape)) <= SMALL else 1
    with ThreadPoolExecutor(workers) as pool:
        found = pool.submit(outline, spectrum, there, threads)
        powers = pool.submit(measure, spectrum, blank, threads).result()
    physical = physical_estimate(powers, found.result())
    return Prepared(box, spectrum, powers, physical, gather(powers, physical), drowned)


def waves(density: Density, threads: int = 1) -> tuple[Box, Spectrum, Volume, Volume]:
    """The box around the molecule, its waves, and what `coverage` tells of it."""
    box = molecule_box(density.values, density.grid.voxel_size, MARGIN)
    require(box.shape)
    values, kept = soften(cut(density.values, box), density.grid.voxel_size)
    spectrum = transform(values, density.grid.voxel_size, threads)
    density.rest()
    return box, spectrum, *coverage(kept, spectrum)


def without_waves(prepared: Prepared) -> Prepared:
    """The same without what takes most memory and is not needed on the way up."""
    spectrum, powers = prepared.spectrum, prepared.powers
    return replace(
        prepared,
        spectrum=replace(spectrum, waves=spectrum.waves[:0].copy()),
        powers=replace(powers, values=powers.values[:1].copy()),
    )


def coverage(kept: Volume, spectrum: Spectrum) -> tuple[Volume, Volume]:
    """Shares of each coarse voxel: of map that is there, and of power that a mask has taken.

    The rim around the map counts as neither.
    """
    shape = grid_for(spectrum.lengths, POWER_STEP)
    z, y, x = kept.shape
    over = (spectrum.shape, spectrum.lengths, POWER_STEP / 2, shape, spectrum.before)
    there, taken = Average(*over), Average(*over)
    for part in chunks((z, y, x)):
        there.add(part, kept[part])
        taken.add(part, 1 - kept[part] ** 2)
    return there.values(), taken.values()
