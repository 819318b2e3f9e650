"""From a density to its waves, band powers, solvent estimate and the evidence of its level."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from cryores_lite.fourier.local_power import POWER_STEP, Average
from cryores_lite.fourier.spectrum import Spectrum, chunks, grid_for, transform
from cryores_lite.method.band_features import band_features
from cryores_lite.method.crop import Box, cut, molecule_box
from cryores_lite.method.molecule import outline
from cryores_lite.method.nyquist import filter_to_nyquist, power_share_beyond_nyquist
from cryores_lite.method.soft_edge import soften
from cryores_lite.method.solvent_noise import BandPowers, SolventEstimate, measure_band_powers, solvent_estimate
from cryores_lite.resources import require_memory
from cryores_lite.types import Density, Volume

MARGIN = 30.0  # Å around the molecule: the solvent ring, and the network's view
MAX_POWER_BEYOND_NYQUIST = 0.9  # share of a map's power beyond the Nyquist frequency, above which that hides all else
SMALL = 1 << 25  # voxels of a box whose molecule and bands are looked at side by side


@dataclass(frozen=True, eq=False)
class Prepared:
    """A map on its way down: where it was cut, its waves, band powers, physical estimate, evidence of its level.

    `nyquist_filtered`: it held hardly more than waves beyond the Nyquist frequency, which were left out.
    """

    box: Box
    spectrum: Spectrum
    powers: BandPowers
    solvent: SolventEstimate
    evidence: Volume
    nyquist_filtered: bool


def prepare(density: Density, threads: int = 1) -> Prepared:
    """Crop, soften, transform, measure, estimate without a network, gather evidence. Training calls this too."""
    box, spectrum, there, blank = waves(density, threads)
    nyquist_filtered = not power_share_beyond_nyquist(spectrum) <= MAX_POWER_BEYOND_NYQUIST
    if nyquist_filtered:
        require_memory(density.grid.shape)
        box, spectrum, there, blank = waves(filter_to_nyquist(density, threads), threads)
    # Neither step fills two cores with a small map; with a large one each takes much memory.
    workers = min(2, threads) if int(np.prod(spectrum.shape)) <= SMALL else 1
    with ThreadPoolExecutor(workers) as pool:
        found = pool.submit(outline, spectrum, there, threads)
        powers = pool.submit(measure_band_powers, spectrum, blank, threads).result()
    solvent = solvent_estimate(powers, found.result())
    return Prepared(box, spectrum, powers, solvent, band_features(powers, solvent), nyquist_filtered)


def waves(density: Density, threads: int = 1) -> tuple[Box, Spectrum, Volume, Volume]:
    """The box around the molecule, its waves, and what `coverage` tells of it."""
    box = molecule_box(density.values, density.grid.voxel_size, MARGIN)
    require_memory(box.shape)
    values, kept = soften(cut(density.values, box), density.grid.voxel_size)
    spectrum = transform(values, density.grid.voxel_size, threads)
    density.release_pages()
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
