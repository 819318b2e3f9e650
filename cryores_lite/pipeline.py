"""The method, as one paragraph: down the stairs, predict, back up the same stairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.errors import InputError
from cryores_lite.groups import available_threads
from cryores_lite.header import check_spread
from cryores_lite.memory import require
from cryores_lite.model import Model
from cryores_lite.steps.aggregate import aggregate
from cryores_lite.steps.condition import Inputs, condition
from cryores_lite.steps.corners import share_beyond, within_nyquist
from cryores_lite.steps.crop import Box, cut, molecule_box, paste, without_specks
from cryores_lite.steps.edge import soften
from cryores_lite.steps.evidence import gather
from cryores_lite.steps.outline import outline
from cryores_lite.steps.physical import Physical, Powers, measure, physical_estimate
from cryores_lite.steps.spectrum import (
    POWER_STEP,
    Average,
    Spectrum,
    chunks,
    grid_for,
    on_same_box,
    places,
    read_off,
    transform,
)
from cryores_lite.steps.tile import coarser, cover, interleaved, join
from cryores_lite.types import Density, Grid, Level, LocalResolution, Mask, Progress, Volume

MARGIN = 30.0  # Å around the molecule: the solvent ring, and the network's view
NEAR = 20.0  # Å from what the physical estimate takes for molecule: farther out there is none
DROWNED = 0.9  # share of a map's power beyond the Nyquist frequency, above which that hides all else
DOUBTFUL = 0.15  # standard deviation of the level's logarithm that the user is told about
Fields = tuple[Volume, Volume, npt.NDArray[np.uint8]]
SMALL = 1 << 25  # voxels of a box whose molecule and bands are looked at side by side
CERTAIN = 255  # mask probabilities are kept in bytes
SPECK = 0.1  # pieces of the mask smaller than this share of its largest are noise


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
    inputs = condition(prepared.spectrum, prepared.powers, prepared.physical, level.median, level.doubt, threads)
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


def predict(prepared: Prepared, inputs: Inputs, model: Model, progress: Progress = iter) -> Fields:
    """Run the network tile by tile.

    Returns
    -------
    Local minus global resolution (quarter grid, Å), its relative error (quarter grid), mask probability (working grid,
    in units of 1/255).
    """
    shape = z, y, x = inputs.shape
    quarter = (z // 4, y // 4, x // 4)
    step = max(prepared.spectrum.lengths) / max(prepared.powers.shape)
    wanted = ndimage.binary_dilation(prepared.physical.outline.molecule, iterations=max(1, round(NEAR / step)))
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
        near = on_same_box(wanted.astype(np.float32), quarter, core) > 0.5
        mask.append((tile.core, interleaved(np.rint(CERTAIN * near * told[2][(..., *inner)]).astype(np.uint8))))
    return join(relative, quarter, np.float32), join(error, quarter, np.float32), join(mask, shape, np.uint8)


def molecule(prepared: Prepared, probability: npt.NDArray[np.uint8], threshold: float, threads: int = 1) -> Mask:
    """The mask on the crop's voxels, from its probability in units of 1/255 on the working grid."""
    inside = np.empty(prepared.box.shape, bool)

    def decide(part: slice, sure: Volume) -> None:
        np.greater(sure, threshold * CERTAIN, out=inside[part])

    restored(prepared, decide, threads, probability)
    return without_specks(inside, SPECK)


def answer(
    prepared: Prepared, inside: Mask, relative: Volume, error: Volume, level: Level, grid: Grid, threads: int = 1
) -> tuple[Volume, Volume]:
    """Local resolution and its standard deviation in Å, on the map's own grid, from what `predict` returns."""
    box, finest = prepared.box, 2 * max(grid.voxel_size)
    values, uncertainty = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)

    def fill(part: slice, local: Volume, spread: Volume) -> None:
        found = aggregate(level.overall, local, spread, inside[part], finest)
        for whole, planes in zip((values, uncertainty), found, strict=True):  # memory that stays 0 is never taken
            np.copyto(whole[box.slices][part], planes, where=inside[part])

    restored(prepared, fill, threads, relative, error)
    return values, uncertainty


def restored(prepared: Prepared, use: Callable[..., None], threads: int, *fields: npt.NDArray[np.generic]) -> None:
    """Read fields over the padded box off at the voxels of the crop, and hand `use` some planes of each, with their
    place.

    Linear, so that nothing rings.
    """
    crop = prepared.box.shape
    lie = [places(prepared.spectrum, crop, field.shape) for field in fields]

    def hand(part: slice) -> None:
        use(part, *(read_off(field[None], (z[part], y, x))[0] for field, (z, y, x) in zip(fields, lie, strict=True)))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(hand, chunks(crop)))


def on_map(prepared: Prepared, *fields: Volume) -> list[Volume]:
    """Coarse fields over a prepared map's padded box, at all voxels of its crop."""
    whole = [np.empty(prepared.box.shape, np.float32) for _ in fields]

    def keep(part: slice, *planes: Volume) -> None:
        for values, some in zip(whole, planes, strict=True):
            values[part] = some

    restored(prepared, keep, 1, *fields)
    return whole


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


def remarks(prepared: Prepared, level: Level, mask: Mask) -> tuple[str, ...]:
    """What the user should know about this answer."""
    said = []
    if not mask.any():
        said.append("no molecule was found: the answer is empty")
    if prepared.drowned:
        said.append(
            "nearly all of this map lay beyond its Nyquist frequency (sharpened, no low-pass?): that was left out"
        )
    if not prepared.physical.ring_valid:
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
