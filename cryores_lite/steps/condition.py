"""What the network sees: gain, offset and global filter taken out, lengths in units of the map's own resolution.

The working grid has a fixed number of voxels per resolution element of the map's level, and bands are taken at
fixed multiples of its frequency: a map at 3 Å and one at 9 Å look alike to the network, and one network serves all.
The level is a guess (the level network's), and the noise that powers are divided by is made to agree with it; what
the physical estimate would have said is told, as is how sure the guess is: the network may correct it. Band powers
are divided by the noise's and by the molecule's own median, so that a radial filter drops out by construction; the
density itself feeds the mask head only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.steps.physical import STEEP, WIDEST, Physical, Powers, noise_at_level
from cryores_lite.steps.spectrum import LADDER, Spectrum, grid_for, on_same_box, radius, sample
from cryores_lite.types import Lengths, Shape, Volume

Curve = npt.NDArray[np.float64]

VERSION = 3  # of this conditioning: a model trained with another one is refused
VOXELS_PER_LEVEL = 3.0  # working voxels per resolution element of the level
WORKING_VOXEL_SIZES = (0.5, 6.0)  # Å
LARGEST_EDGE = 448  # working voxels: a larger box gets coarser ones
BANDS = 16
BAND_SPAN = (0.4, 2.2)  # lowest and highest band, in units of 1/level
NEAR = (0.7, 1.1)  # bands whose local power the first estimate follows, in units of 1/level
FLAGS = 7
CONTEXT = 4 * BANDS + FLAGS  # numbers per map
CHANNELS = 2 * BANDS + 2  # coarse fields per map


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the network is given for one map.

    Attributes
    ----------
    fields : (2, z, y, x) float32 on the working grid: density, and the spectrally flat density ("texture")
    bands : (CHANNELS, z/4, y/4, x/4) float32: log P/N and log P/median per band; share of map that is there;
        log of a first estimate over the level. No window is narrower than their grid
    context : (CONTEXT,) float32, numbers of the whole map
    level : Å, in units of which the network answers
    voxel_size : Å, achieved working voxel size
    """

    fields: Volume
    bands: Volume
    context: Volume
    level: float
    voxel_size: Lengths


def working_shape(lengths: Lengths, level: float) -> Shape:
    """The working grid over a periodic box: about a third of the level per voxel, in multiples of eight."""
    step = max(float(np.clip(level / VOXELS_PER_LEVEL, *WORKING_VOXEL_SIZES)), max(lengths) / LARGEST_EDGE)
    z, y, x = (4 * n for n in grid_for(lengths, 4 * step))
    return z, y, x


def condition(
    spectrum: Spectrum, powers: Powers, physical: Physical, level: float, doubt: float, threads: int = 1
) -> Inputs:
    """Turn a map's spectrum, band powers and physical estimate into the network's inputs.

    `level` is the map's level in Å as far as known, `doubt` the standard deviation of its logarithm.
    """
    shape = working_shape(spectrum.lengths, level)
    z, y, x = (length / n for length, n in zip(spectrum.lengths, shape, strict=True))
    noise = noise_at_level(powers, physical, level)

    frequencies = np.geomspace(*BAND_SPAN, BANDS) / level
    live = (frequencies <= 1.05 / physical.limit) & (frequencies >= LADDER[0])
    log_power = at_bands(np.log(np.maximum(powers.values, 1e-30)), powers.frequencies, frequencies)
    log_noise = at_bands(np.log(np.maximum(noise, 1e-30)), powers.frequencies, frequencies)
    log_inside = at_bands(np.log(np.maximum(physical.inside, 1e-30)), powers.frequencies, frequencies)
    against_noise = np.clip(log_power - _column(log_noise), -3, 8) / 3
    against_inside = np.clip(log_power - _column(log_inside), -5, 5) / 2
    against_noise[~live] = 0
    against_inside[~live] = 0
    quarter = (shape[0] // 4, shape[1] // 4, shape[2] // 4)
    bands = np.empty((CHANNELS, *quarter), np.float32)
    pattern = follow_power(2 * against_inside, frequencies * level, live)
    pattern = np.maximum(pattern, np.clip(np.log(physical.limit / level), -2, 1))
    coarse = (*against_noise, *against_inside, physical.there, pattern)
    for band, values in zip(bands, coarse, strict=True):  # one by one: together they need five times the memory
        band[:] = on_same_box(values.astype(np.float32), quarter)

    low, middle, high = np.percentile(against_inside[:, physical.molecule], (10, 50, 90), axis=1)
    flags = [
        float(physical.ring_valid),
        physical.ring_share,
        np.log(level / 4),
        np.clip(np.log(physical.limit / level), -2, 1),
        float(physical.seen.mean()),
        np.clip(np.log(physical.level / level), -2, 2),
        np.log(np.clip(doubt, 0.01, 0.5)) + 2,
    ]
    context = np.concatenate([live * np.clip(log_inside - log_noise, -3, 8) / 3, live, high - low, middle - low, flags])
    return Inputs(
        fields(spectrum, powers.frequencies, physical, shape, threads),
        bands,
        context.astype(np.float32),
        level,
        (z, y, x),
    )


def follow_power(
    log_power: npt.NDArray[np.floating], relative: Curve, live: npt.NDArray[np.bool_]
) -> npt.NDArray[np.floating]:
    """Log of local resolution over the level, from the log of local power over the molecule's median.

    Where signal falls against noise as the power `STEEP` of frequency, power above the median by a factor carries the
    crossing up in frequency by that factor to the 1 / `STEEP`. Averaged over the live bands just below the level.

    Parameters
    ----------
    log_power : (bands, z, y, x)
    relative : (bands,) frequencies in units of 1/level
    live : (bands,) bool
    """
    near = live & (relative >= NEAR[0]) & (relative <= NEAR[1])
    chosen = near if near.any() else live
    if not chosen.any():
        return np.zeros_like(log_power[0])
    widest = float(np.log(WIDEST))
    found: npt.NDArray[np.floating] = np.clip(-log_power[chosen].mean(0) / STEEP, -widest, widest)
    return found


def fields(spectrum: Spectrum, frequencies: Curve, physical: Physical, shape: Shape, threads: int = 1) -> Volume:
    """The density, and the density with equal power in every live band, both of unit variance in the molecule."""
    k = radius(shape, spectrum.lengths)
    power = np.maximum(physical.inside / max(physical.inside.max(), 1e-30), 1e-6)
    gain = np.interp(k, frequencies, 1 / np.sqrt(power))
    gain *= k <= 1.03 / physical.limit
    gain[0, 0, 0] = 0
    inside = on_same_box(physical.molecule.astype(np.float32), shape) > 0.5
    out = np.empty((2, *shape), np.float32)
    for field, scale in zip(out, (None, gain.astype(np.float32)), strict=True):
        field[:] = sample(spectrum, shape, scale, threads)
        field /= max(float(field[inside].std()) if inside.any() else float(field.std()), 1e-20)
    return np.clip(out, -8, 8, out=out)


def at_bands(values: npt.NDArray[np.floating], known: Curve, wanted: Curve) -> npt.NDArray[np.floating]:
    """Read values, whose first axis is the band, off at other frequencies: linear in log f, ends held."""
    place = np.clip(np.log(wanted / known[0]) / np.log(LADDER[1]), 0, len(known) - 1)
    lower = np.minimum(place.astype(int), max(len(known) - 2, 0))
    share = (place - lower).reshape(-1, *[1] * (values.ndim - 1)).astype(values.dtype)
    upper = np.minimum(lower + 1, len(known) - 1)
    mixed: npt.NDArray[np.floating] = values[lower] * (1 - share) + values[upper] * share
    return mixed


def _column(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return values[:, None, None, None]
