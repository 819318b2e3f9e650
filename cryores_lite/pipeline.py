"""The method, as one paragraph: down the stairs, predict, back up the same stairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.model import Model, available_threads
from cryores_lite.steps.aggregate import aggregate
from cryores_lite.steps.condition import Inputs, condition, read_off
from cryores_lite.steps.crop import Box, cut, molecule_box, paste, without_specks
from cryores_lite.steps.physical import Physical, Powers, measure, physical_estimate
from cryores_lite.steps.spectrum import POWER_STEP, Spectrum, grid_for, transform
from cryores_lite.steps.tile import coarser, holds, join, split
from cryores_lite.types import Density, Grid, LocalResolution, Mask, Progress, Volume

MARGIN = 30.0  # Å around the molecule: the solvent ring, and the network's view
NEAR = 12.0  # Å from what the physical estimate takes for molecule: farther out no tile is evaluated
SURE = 0.15  # mask probability that is molecule: highest tried that keeps 95 % on validation
SPECK = 0.1  # pieces of the mask smaller than this share of its largest are noise


@dataclass(frozen=True, eq=False)
class Prepared:
    """A map on its way down: where it was cut, its waves, band powers, physical estimate, network inputs."""

    box: Box
    spectrum: Spectrum
    powers: Powers
    physical: Physical
    inputs: Inputs


def estimate(
    density: npt.ArrayLike,
    voxel_size: float | Sequence[float],
    *,
    model: Model | str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = iter,
) -> LocalResolution:
    """Estimate the local resolution of a cryo-EM density at every voxel of its molecule.

    Parameters
    ----------
    density : (z, y, x) array, any unit, contrast positive
    voxel_size : Å, one number or (z, y, x)
    model : an open `Model` (to serve many maps), a file, or None for the shipped one
    device : "auto", "cpu" or "cuda"; used when `model` is not open yet
    threads : CPU threads, or None for all that this process may use
    progress : wraps the sequence of tiles, for a progress bar

    Returns
    -------
    LocalResolution, on the grid of `density`

    Raises
    ------
    InputError
        The array is not a three-dimensional map with finite, varying values, or a length is not positive.
    ModelError, DeviceError
        The model cannot be opened on that device.
    """
    checked = _density(density, voxel_size)
    threads = threads or available_threads()
    opened = model if isinstance(model, Model) else Model.open(model, device=device, threads=threads)
    return estimate_local_resolution(checked, opened, threads, progress)


def estimate_local_resolution(density: Density, model: Model, threads: int, progress: Progress) -> LocalResolution:
    """Down, predict, up."""
    prepared = prepare(density, threads)
    overall, relative, probability = predict(prepared, model, progress)
    local, sure = restore(prepared, (relative, probability))
    mask = without_specks(sure > SURE, SPECK)
    finest = 2 * max(density.grid.voxel_size)
    values = aggregate(overall, local, mask, finest)
    shape = density.grid.shape
    return LocalResolution(
        paste(values, prepared.box, shape),
        paste(mask, prepared.box, shape),
        density.grid,
        max(overall, finest),
        float(np.mean(prepared.inputs.voxel_size)),
        model.provider,
        remarks(prepared, mask),
    )


def prepare(density: Density, threads: int = 1) -> Prepared:
    """Crop, transform, measure, estimate without a network, condition. Training calls this too."""
    box = molecule_box(density.values, density.grid.voxel_size, MARGIN)
    values = cut(density.values, box)
    spectrum = transform(values, density.grid.voxel_size, threads)
    present, blank = coverage(values, spectrum)
    powers = measure(spectrum, blank, threads)
    physical = physical_estimate(spectrum, powers, present)
    return Prepared(box, spectrum, powers, physical, condition(spectrum, powers, physical, threads))


def predict(prepared: Prepared, model: Model, progress: Progress = iter) -> tuple[float, Volume, Volume]:
    """Run the network: global resolution (Å), relative resolution (half grid, Å), mask probability (working grid)."""
    inputs = prepared.inputs
    z, y, x = inputs.fields.shape[1:]
    shape, half = (z, y, x), (z // 2, y // 2, x // 2)
    step = max(prepared.spectrum.lengths) / max(prepared.powers.shape)
    wanted = ndimage.binary_dilation(prepared.physical.molecule, iterations=max(1, round(NEAR / step)))
    tiles = [t for t in split(shape, model.spec.tile, model.spec.halo) if holds(t, shape, wanted)]
    found, relative, mask = [], [], []
    for tile in progress(tiles):
        told = model.predict(
            inputs.fields[(..., *tile.view)],
            inputs.bands[(..., *coarser(tile.view, 2))],
            inputs.context,
            inputs.level,
        )
        found.append(told[0])
        relative.append((coarser(tile.core, 2), told[1][tile.inner(2)]))
        mask.append((tile.core, told[2][tile.inner()]))
    return found[0], join(relative, half, 0.0), join(mask, shape, 0.0)


def restore(prepared: Prepared, values: Sequence[Volume]) -> tuple[Volume, ...]:
    """Read fields over the padded box off at the voxels of the crop: linear, so that nothing rings."""
    spectrum, box = prepared.spectrum, prepared.box
    out = []
    for field in values:
        places = tuple(
            (np.arange(n) + before) * (m / whole)
            for n, before, m, whole in zip(box.shape, spectrum.before, field.shape, spectrum.shape, strict=True)
        )
        out.append(read_off(field[None], places)[0])
    return tuple(out)


def coverage(values: Volume, spectrum: Spectrum) -> tuple[Volume, Volume]:
    """Shares of each coarse voxel that hold map, and that are blank (equal to their neighbours, as a mask leaves them).

    The rim around the map counts as neither.
    """
    blank = np.ones(values.shape, bool)
    for axis in range(3):
        blank &= np.diff(values, axis=axis, append=values.take([-2], axis)) == 0
    shape = grid_for(spectrum.lengths, POWER_STEP)
    reach = [max(1, round(n / m)) for n, m in zip(spectrum.shape, shape, strict=True)]
    places = [
        np.minimum(np.round(np.arange(m) * (n / m)).astype(int), n - 1)
        for n, m in zip(spectrum.shape, shape, strict=True)
    ]
    shares = []
    for part in (~blank, blank):
        there = np.zeros(spectrum.shape, np.float32)
        there[tuple(slice(a, a + n) for a, n in zip(spectrum.before, values.shape, strict=True))] = part
        shares.append(ndimage.uniform_filter(there, reach)[np.ix_(*places)])
    return shares[0], shares[1]


def remarks(prepared: Prepared, mask: Mask) -> tuple[str, ...]:
    """What the user should know about this answer."""
    said = []
    if not mask.any():
        said.append("no molecule was found: the answer is empty")
    if not prepared.physical.ring_valid:
        said.append(
            "no even solvent is visible around the molecule (masked, cropped or low-passed?): the error is larger"
        )
    return tuple(said)


def _density(density: npt.ArrayLike, voxel_size: float | Sequence[float]) -> Density:
    values = np.asarray(density, np.float32)
    sizes = np.broadcast_to(np.asarray(voxel_size, float), 3) if np.size(voxel_size) in (1, 3) else np.zeros(3)
    if values.ndim != 3 or min(values.shape, default=0) < 2:
        raise InputError(
            "not a density map", found=f"an array of shape {values.shape}", expected="(z, y, x)", try_="pass one volume"
        )
    if not np.isfinite(values).all() or values.min() == values.max():
        raise InputError(
            "the density cannot be used",
            found="constant or non-finite values",
            expected="finite values that differ",
            try_="check the map",
        )
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError(
            "the voxel size cannot be used",
            found=voxel_size,
            expected="one or three positive lengths in Å",
            try_="pass the voxel size in Å",
        )
    z, y, x = (float(s) for s in sizes)
    a, b, c = values.shape
    return Density(values, Grid((a, b, c), (z, y, x)))
