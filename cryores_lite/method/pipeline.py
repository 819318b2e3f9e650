"""The method, as one paragraph: down the stairs, predict, back up the same stairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.method.assemble import CERTAIN, answer, molecule
from cryores_lite.method.crop import paste
from cryores_lite.method.network import Model
from cryores_lite.method.network_inputs import NetworkInputs, network_inputs
from cryores_lite.method.prepare import Prepared, prepare, without_waves
from cryores_lite.method.tiles import coarser, cover, depth_to_space, join
from cryores_lite.resources import available_threads
from cryores_lite.types import Density, Grid, LocalResolution, MapResolution, Mask, Progress, Volume, check_spread

NEAR = 20.0  # Å from what the physical estimate takes for molecule: farther out there is none
DOUBTFUL = 0.15  # standard deviation of the level's logarithm that the user is told about
Fields = tuple[Volume, Volume, npt.NDArray[np.uint8]]


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
    NotEnoughMemory
        The map will not fit.
    """
    checked = _density(density, voxel_size)
    threads = threads or available_threads()
    opened = model if isinstance(model, Model) else Model.open(model, device=device, threads=threads)
    return estimate_local_resolution(checked, opened, threads, progress)


def estimate_local_resolution(density: Density, model: Model, threads: int, progress: Progress) -> LocalResolution:
    """Down, predict, up."""
    prepared = prepare(density, threads)
    level = model.level(prepared.evidence)
    inputs = network_inputs(prepared.spectrum, prepared.powers, prepared.solvent, level.median, level.doubt, threads)
    prepared, working = without_waves(prepared), float(np.mean(inputs.voxel_size))
    relative, error, probability = predict(prepared, inputs, model, progress)
    del inputs  # large, and not needed on the way up
    inside = molecule(prepared, probability, model.spec.mask_threshold, threads)
    del probability
    values, uncertainty = answer(prepared, inside, relative, error, level, density.grid, threads)
    mask = paste(inside, prepared.box, density.grid.shape)
    finest = 2 * max(density.grid.voxel_size)
    said = (*model.warnings, *remarks(prepared, level, mask))
    return LocalResolution(
        values, mask, uncertainty, density.grid, max(level.overall, finest), working, model.provider, said
    )


def predict(prepared: Prepared, inputs: NetworkInputs, model: Model, progress: Progress = iter) -> Fields:
    """Run the network tile by tile.

    Returns
    -------
    Local minus global resolution (quarter grid, Å), its relative error (quarter grid), mask probability (working grid,
    in units of 1/255).
    """
    shape = z, y, x = inputs.shape
    quarter = (z // 4, y // 4, x // 4)
    step = max(prepared.spectrum.lengths) / max(prepared.powers.shape)
    wanted = ndimage.binary_dilation(prepared.solvent.outline.molecule, iterations=max(1, round(NEAR / step)))
    relative, error, mask = [], [], []
    for tile in progress(cover(wanted, shape, model.spec.halo, model.spec.tile**3)):
        told = model.predict(
            prepared.evidence,
            inputs.density[(..., *coarser(tile.view, 2))],
            inputs.bands[(..., *coarser(tile.view, 4))],
            inputs.context,
            inputs.level,
        )
        core, inner = coarser(tile.core, 4), tile.inner(4)
        relative.append((core, told[0][inner]))
        error.append((core, told[1][inner]))
        near = resample_periodic(wanted.astype(np.float32), quarter, core) > 0.5
        mask.append((tile.core, depth_to_space(np.rint(CERTAIN * near * told[2][(..., *inner)]).astype(np.uint8))))
    return join(relative, quarter, np.float32), join(error, quarter, np.float32), join(mask, shape, np.uint8)


def remarks(prepared: Prepared, level: MapResolution, mask: Mask) -> tuple[str, ...]:
    """What the user should know about this answer."""
    said = []
    if not mask.any():
        said.append("no molecule was found: the answer is empty")
    if prepared.nyquist_filtered:
        said.append(
            "nearly all of this map lay beyond its Nyquist frequency (sharpened, no low-pass?): that was left out"
        )
    if not prepared.solvent.has_solvent:
        said.append(
            "no even solvent is visible around the molecule (masked, cropped or low-passed?): the error is larger"
        )
    if level.doubt > DOUBTFUL:
        said.append(
            f"it is hard to tell where this map ends: all of the answer may be off by {level.doubt:.0%} or more"
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
    check_spread(float(values.min()), float(values.max()), "the density")
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
