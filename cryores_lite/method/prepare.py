"""Measure a density: the spectrum of the box around the molecule, band powers, and the outline of the molecule."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from cryores_lite.fourier.local_power import POWER_STEP, GaussianAverage, gaussian_matrix
from cryores_lite.fourier.padding import PeriodicBox, pad, without_padding
from cryores_lite.fourier.spectrum import Spectrum, chunks, grid_for, regrid, sample_density, transform_box
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.coupling_estimate import contrast_sign
from cryores_lite.method.crop import Box, cut, molecule_box
from cryores_lite.method.nyquist import filter_to_nyquist, power_share_beyond_nyquist
from cryores_lite.method.outline import OUTLINE_POINTS, Outline, outline_molecule
from cryores_lite.method.phase_coupling import PhaseCoupling, measure_powers_and_coupling
from cryores_lite.method.soft_edge import soften
from cryores_lite.method.solvent_level import level_solvent
from cryores_lite.method.value_edits import ValueEdits, value_edits
from cryores_lite.resources import memory_per_voxel, require_memory
from cryores_lite.types import Density, Lengths, Shape, Volume, without_offset

MARGIN = 30.0  # Å around the molecule: room for the solvent shell and the reach of the network
MAX_POWER_BEYOND_NYQUIST = 0.9  # share of a map's power; above, the corners of Fourier space hide the signal
MAX_CONCURRENT_VOXELS = 1 << 25  # the outline and the band powers of a larger grid are measured one after the other
FINE_VOXEL_SIZE, FINEST_STEP = 0.3, 0.5  # Å: maps with finer voxels are measured on a grid of the second spacing


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Position and size of the periodic box that was cut from a map. It takes little memory.

    Attributes
    ----------
    box : the box around the molecule, on the map's grid
    before : voxels of padding in front of the box's first voxel
    padded_shape : voxels of the periodic box, which is the box and its padding
    lengths : edges of the periodic box, Å
    nyquist_filtered : whether nearly all power of the map was beyond its Nyquist frequency and was removed
    solvent_level : level of the solvent inside a mask that was subtracted, over the contrast of the molecule
    edits : marks of changed values
    """

    box: Box
    before: Shape
    padded_shape: Shape
    lengths: Lengths
    nyquist_filtered: bool
    solvent_level: float = 0.0
    edits: ValueEdits = field(default_factory=ValueEdits)


@dataclass(frozen=True, eq=False)
class Spectra:
    """Measurements of the periodic box. They take much memory: delete them before the network runs.

    Attributes
    ----------
    spectrum : Fourier transform of the box
    powers : local power of each band, on the coarse grid
    coupling : coupling of each band with the waves below it, on the same grid
    outline : the molecule, and the finest resolution that the map holds
    contrast : 1 if molecules are brighter than the solvent, -1 if darker, 0 if that is uncertain
    """

    spectrum: Spectrum
    powers: BandPowers
    coupling: PhaseCoupling
    outline: Outline
    contrast: int


def prepare(density: Density, threads: int = 1) -> tuple[Frame, Spectra]:
    """Level the solvent, crop to the molecule, soften mask edges, transform, measure band powers.

    Training calls this too.

    Raises
    ------
    NotEnoughMemory
        The map does not fit into memory.
    """
    values = without_offset(density.values)
    if values is not density.values:
        density = Density(values, density.grid)
    edits = value_edits(density)
    density, level = level_solvent(density)
    box, periodic, spectrum, coverage, masked_out = transform_molecule(density, threads)
    nyquist_filtered = not power_share_beyond_nyquist(spectrum) <= MAX_POWER_BEYOND_NYQUIST
    if nyquist_filtered:
        require_memory(density.grid.shape, memory_per_voxel(density.grid.voxel_size))
        del periodic, spectrum
        box, periodic, spectrum, coverage, masked_out = transform_molecule(filter_to_nyquist(density, threads), threads)
    frame = Frame(
        box=box,
        before=spectrum.before,
        padded_shape=spectrum.shape,
        lengths=spectrum.lengths,
        nyquist_filtered=nyquist_filtered,
        solvent_level=level.relative if level else 0.0,
        edits=edits,
    )
    if max(density.grid.voxel_size) < FINE_VOXEL_SIZE:
        spectrum = without_finest_waves(spectrum, threads)
        periodic = without_padding(sample_density(spectrum, spectrum.shape, threads=threads))
    # With a small map, neither step keeps two cores busy; with a large one, each takes much memory.
    largest_grid = max(int(np.prod(spectrum.shape)), OUTLINE_POINTS * coverage.size)
    workers = min(2, threads) if largest_grid <= MAX_CONCURRENT_VOXELS else 1
    with ThreadPoolExecutor(workers) as pool:
        outline = pool.submit(outline_molecule, periodic, spectrum, coverage, threads)
        outline.add_done_callback(lambda _: density.release_pages())
        del periodic  # its memory is free as soon as the outline is known
        powers, coupling = pool.submit(measure_powers_and_coupling, spectrum, masked_out, threads).result()
    contrast = contrast_sign(powers, coupling, masked_out)
    return frame, Spectra(spectrum, powers, coupling, outline.result(), contrast)


def without_finest_waves(spectrum: Spectrum, threads: int = 1) -> Spectrum:
    """Leave out the waves that a grid of `FINEST_STEP` cannot hold: in maps with fine voxels, they hold no signal."""
    return regrid(spectrum, grid_for(spectrum.lengths, FINEST_STEP), None, threads)


def transform_molecule(density: Density, threads: int = 1) -> tuple[Box, PeriodicBox, Spectrum, Volume, Volume]:
    """Return the box around the molecule, its density and spectrum, and the two fields of `coarse_coverage`."""
    box = molecule_box(density.values, density.grid.voxel_size, MARGIN)
    require_memory(box.shape, memory_per_voxel(density.grid.voxel_size))
    values, edge_weight = soften(cut(density.values, box), density.grid.voxel_size)
    periodic = pad(values)
    spectrum = transform_box(periodic, density.grid.voxel_size, threads)
    density.release_pages()
    return box, periodic, spectrum, *coarse_coverage(edge_weight, spectrum)


def coverage_of_box(size: Shape, spectrum: Spectrum, shape: Shape) -> Volume:
    """Return the share of each point of a coarse grid of `shape` points that a box of `size` voxels covers."""
    z, y, x = (
        gaussian_matrix(n, m, length, POWER_STEP / 2)[:, start : start + voxels].sum(1)
        for n, m, length, start, voxels in zip(
            spectrum.shape, shape, spectrum.lengths, spectrum.before, size, strict=True
        )
    )
    coverage: Volume = np.maximum(z[:, None, None] * y[:, None] * x, 0)
    return coverage


def coarse_coverage(edge_weight: Volume, spectrum: Spectrum) -> tuple[Volume, Volume]:
    """Return the share of each coarse voxel that the map covers, and the share of its power that a mask has removed.

    The padding around the map counts as neither.
    """
    shape = grid_for(spectrum.lengths, POWER_STEP)
    z, y, x = edge_weight.shape
    if not any(edge_weight.strides):  # one number: the map has no mask
        return coverage_of_box((z, y, x), spectrum, shape), np.zeros(shape, np.float32)
    grids = (spectrum.shape, spectrum.lengths, POWER_STEP / 2, shape, spectrum.before)
    coverage, masked_out = GaussianAverage(*grids), GaussianAverage(*grids)
    for part in chunks((z, y, x)):
        coverage.add(part, edge_weight[part])
        masked_out.add(part, 1 - edge_weight[part] ** 2)
    return coverage.values(), masked_out.values()
