"""What the network sees: gain, offset and global filter taken out, lengths in units of the map's own resolution.

The working grid has a fixed number of voxels per resolution element of the map's level, and bands are taken at
fixed multiples of its frequency: a map at 3 Å and one at 9 Å look alike to the network, and one network serves all.
The level is a guess (the level network's), and the noise that powers are divided by is made to agree with it; what
the physical estimate would have said is told, as is how sure the guess is: the network may correct it. Band powers
are divided by the noise's and by the molecule's own median, so that a radial filter drops out by construction; the
density itself feeds the mask head only, and twice as finely: the mask's own grid, the working grid, is finer again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.fourier.local_power import LADDER
from cryores_lite.fourier.spectrum import Spectrum, chunks, grid_for, sample
from cryores_lite.method.solvent_noise import STEEP, WIDEST, BandPowers, SolventEstimate, noise_at_level
from cryores_lite.types import Half, Lengths, Shape, Volume

Curve = npt.NDArray[np.float64]

VERSION = 4  # of this conditioning: a model trained with another one is refused
VOXELS_PER_LEVEL = 3.0  # working voxels per resolution element of the level
WORKING_VOXEL_SIZES = (0.5, 6.0)  # Å
LARGEST_EDGE = 1280  # working voxels: a larger box gets coarser ones
BANDS = 16
BAND_SPAN = (0.4, 2.2)  # lowest and highest band, in units of 1/level
NEAR = (0.7, 1.1)  # bands whose local power the first estimate follows, in units of 1/level
FLAGS = 7
CONTEXT = 4 * BANDS + FLAGS  # numbers per map
CHANNELS = 2 * BANDS + 2  # coarse fields per map


@dataclass(frozen=True, eq=False)
class NetworkInputs:
    """What the network is given for one map.

    Attributes
    ----------
    density : (1, z/2, y/2, x/2) float16, on half of the working grid
    bands : (CHANNELS, z/4, y/4, x/4) float16: log P/N and log P/median per band; share of map that is there;
        log of a first estimate over the level. No window is narrower than their grid
    context : (CONTEXT,) float32, numbers of the whole map
    level : Å, in units of which the network answers
    voxel_size : Å, achieved working voxel size
    """

    density: Half
    bands: Half
    context: Volume
    level: float
    voxel_size: Lengths

    @property
    def shape(self) -> Shape:
        """Of the working grid, that of the mask."""
        z, y, x = (4 * n for n in self.bands.shape[1:])
        return z, y, x


def working_shape(lengths: Lengths, level: float) -> Shape:
    """The working grid over a periodic box: about a third of the level per voxel, in multiples of eight."""
    step = max(float(np.clip(level / VOXELS_PER_LEVEL, *WORKING_VOXEL_SIZES)), max(lengths) / LARGEST_EDGE)
    z, y, x = (4 * n for n in grid_for(lengths, 4 * step))
    return z, y, x


def network_inputs(
    spectrum: Spectrum, powers: BandPowers, solvent: SolventEstimate, level: float, doubt: float, threads: int = 1
) -> NetworkInputs:
    """Turn a map's spectrum, band powers and physical estimate into the network's inputs.

    `level` is the map's level in Å as far as known, `doubt` the standard deviation of its logarithm.
    """
    shape = working_shape(spectrum.lengths, level)
    z, y, x = (length / n for length, n in zip(spectrum.lengths, shape, strict=True))
    noise = noise_at_level(powers, solvent, level)

    outline, frequencies = solvent.outline, np.geomspace(*BAND_SPAN, BANDS) / level
    live = (frequencies <= 1.05 / outline.limit) & (frequencies >= LADDER[0])
    log_noise = at_bands(np.log(np.maximum(noise, 1e-30)), powers.frequencies, frequencies)
    log_inside = at_bands(np.log(np.maximum(solvent.inside, 1e-30)), powers.frequencies, frequencies)
    near = followed(frequencies * level, live)
    quarter = (shape[0] // 4, shape[1] // 4, shape[2] // 4)
    bands = np.zeros((CHANNELS, *quarter), np.float16)
    quantiles = np.zeros((3, BANDS))

    def fill(n: int) -> Volume | None:
        log_power = log_power_at(powers, frequencies[n])
        against_inside = np.clip(log_power - log_inside[n], -5, 5) / 2
        bands[n] = resample_periodic(np.clip(log_power - log_noise[n], -3, 8) / 3, quarter)
        bands[BANDS + n] = resample_periodic(against_inside, quarter)
        quantiles[:, n] = np.percentile(against_inside[outline.molecule], (10, 50, 90))
        return 2 * against_inside if near[n] else None

    with ThreadPoolExecutor(threads) as pool:  # one by one: together they need many times the memory
        close = [power for power in pool.map(fill, np.flatnonzero(live)) if power is not None]
    limit = float(np.clip(np.log(outline.limit / level), -2, 1))
    pattern = follow_power(close) if close else np.zeros(powers.shape, np.float32)
    bands[-2] = resample_periodic(outline.there, quarter)
    bands[-1] = resample_periodic(np.maximum(pattern, np.float32(limit)), quarter)
    flags = [
        float(solvent.has_solvent),
        solvent.solvent_fraction,
        np.log(level / 4),
        limit,
        float(outline.seen.mean()),
        np.clip(np.log(solvent.level / level), -2, 2),
        np.log(np.clip(doubt, 0.01, 0.5)) + 2,
    ]
    low, middle, high = quantiles
    context = np.concatenate([live * np.clip(log_inside - log_noise, -3, 8) / 3, live, high - low, middle - low, flags])
    return NetworkInputs(
        molecule_density(spectrum, solvent, (shape[0] // 2, shape[1] // 2, shape[2] // 2), threads),
        bands,
        context.astype(np.float32),
        level,
        (z, y, x),
    )


def followed(relative: Curve, live: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which bands the first estimate follows: the live ones just below the level, or else all live ones.

    `relative` is the bands' frequencies in units of 1/level.
    """
    near = live & (relative >= NEAR[0]) & (relative <= NEAR[1])
    return near if near.any() else live


def follow_power(log_powers: Sequence[Volume]) -> Volume:
    """Log of local resolution over the level, from bands' log of local power over the molecule's median.

    Where signal falls against noise as the power `STEEP` of frequency, power above the median by a factor carries the
    crossing up in frequency by that factor to the 1 / `STEEP`. Averaged over the bands.
    """
    widest = float(np.log(WIDEST))
    found: Volume = np.clip(-np.mean(log_powers, axis=0) / STEEP, -widest, widest)
    return found


def log_power_at(powers: BandPowers, frequency: float) -> Volume:
    """Log of local power at a frequency between the ladder's: linear in log f, ends held."""
    place = np.clip(np.log(frequency / powers.frequencies[0]) / np.log(LADDER[1]), 0, len(powers.frequencies) - 1)
    lower = min(int(place), max(len(powers.frequencies) - 2, 0))
    first, second = (
        np.log(np.maximum(powers.values[n], np.float32(1e-30)))
        for n in (lower, min(lower + 1, len(powers.frequencies) - 1))
    )
    out: Volume = first + np.float32(place - lower) * (second - first)
    return out


def molecule_density(spectrum: Spectrum, solvent: SolventEstimate, shape: Shape, threads: int = 1) -> Half:
    """(1, z, y, x): the density on a grid of `shape` points over the periodic box, of unit variance in the molecule."""
    values, molecule = sample(spectrum, shape, threads=threads), solvent.outline.molecule.astype(np.float32)
    inside = np.zeros(shape, bool)
    for part in chunks(shape):
        np.greater(resample_periodic(molecule, shape, (part, slice(None), slice(None))), 0.5, out=inside[part])
    values /= max(float(values[inside].std()) if inside.any() else float(values.std()), 1e-20)
    return np.clip(values, -8, 8, out=values).astype(np.float16)[None]


def at_bands(values: Curve, known: Curve, wanted: Curve) -> Curve:
    """Read a curve of the bands off at other frequencies: linear in log f, ends held."""
    curve: Curve = np.interp(np.log(wanted), np.log(known), values)
    return curve
