"""Inputs of the network: independent of gain, offset and global filter, with lengths in units of the map's resolution.

The working grid has a fixed number of voxels per median resolution element, and bands have fixed multiples of its
frequency. Maps at 3 Å and at 9 Å therefore look alike to the network, and one network serves all resolutions. The first
part of the network estimates the median resolution. The noise power is scaled to agree with this estimate. The inputs
include the median resolution of the solvent estimate and the uncertainty of the network's median resolution, so that
the network can correct the latter. Band powers are divided by the noise power and by the molecule's median power, which
removes radial filters. The density has half of the working grid and is used for the mask only; the mask has the working
grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.fourier.local_power import BAND_STEP, FIRST_BAND
from cryores_lite.fourier.spectrum import Spectrum, chunks, sample_density
from cryores_lite.method.band_features import COUPLING_SCALE
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.coupling_estimate import protein_coupling
from cryores_lite.method.percentiles import percentiles
from cryores_lite.method.phase_coupling import PhaseCoupling
from cryores_lite.method.prepare import Spectra
from cryores_lite.method.solvent_noise import (
    MAX_SPREAD,
    MIN_POWER,
    SIGNAL_SLOPE,
    SolventEstimate,
    noise_at_resolution,
)
from cryores_lite.types import Float16Volume, Lengths, MapResolution, Mask, Shape, Volume

VERSION = 6  # of these inputs: a model trained with another version is refused
VOXELS_PER_RESOLUTION = 3.0  # working voxels per median resolution element
WORKING_VOXEL_SIZES = (0.5, 6.0)  # Å
MAX_WORKING_EDGE = 1280  # working voxels: a larger box has larger working voxels
BANDS = 16
BAND_SPAN = (0.4, 2.2)  # lowest and highest band, in units of 1/median
NEAR_MEDIAN_SPAN = (0.7, 1.1)  # bands from whose power local resolution is estimated, in units of 1/median
FLAGS = 8
CONTEXT = 6 * BANDS + FLAGS  # numbers per map
CHANNELS = 3 * BANDS + 2  # coarse fields per map


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkInputs:
    """Inputs of the network for one map.

    Attributes
    ----------
    features : (FEATURES, MAX_BANDS) float32, from `band_features`
    density : (1, z/2, y/2, x/2) float16, on half of the working grid
    bands : (CHANNELS, z/4, y/4, x/4) float16: log P/N, log P/median and coupling of each band; coverage; log of local
        over median resolution, estimated from power. No averaging window is narrower than this grid
    context : (CONTEXT,) float32, numbers for the map
    median_resolution : Å, the unit of the network's output
    lengths : edges of the periodic box, Å
    """

    features: Volume
    density: Float16Volume
    bands: Float16Volume
    context: Volume
    median_resolution: float
    lengths: Lengths

    @property
    def shape(self) -> Shape:
        """Voxels of the working grid, which is also the grid of the mask."""
        z, y, x = (4 * n for n in self.bands.shape[1:])
        return z, y, x

    @property
    def voxel_size(self) -> Lengths:
        """Working voxel size, Å."""
        z, y, x = (length / n for length, n in zip(self.lengths, self.shape, strict=True))
        return z, y, x


def working_shape(lengths: Lengths, voxel_size: Lengths, median_resolution: float) -> Shape:
    """Choose the working grid of a periodic box, with multiples of eight voxels along each axis.

    Its voxels are a third of the median resolution, but not finer than those of the map: these hold all its waves.
    """
    step = float(np.clip(median_resolution / VOXELS_PER_RESOLUTION, *WORKING_VOXEL_SIZES))
    step = max(step, min(voxel_size), max(lengths) / MAX_WORKING_EDGE)
    z, y, x = (8 * fft.next_fast_len(max(4, int(np.ceil(length / step / 8 - 1e-6)))) for length in lengths)
    return z, y, x


def network_inputs(
    spectra: Spectra,
    solvent: SolventEstimate,
    features: Volume,
    resolution: MapResolution,
    scale: float = 1.0,
    threads: int = 1,
) -> NetworkInputs:
    """Compute the network's inputs from the measurements of a map.

    Parameters
    ----------
    features : from `band_features`
    resolution : the network's estimate for the map; its global resolution is not used
    scale : factor by which all lengths of the map were divided
    """
    spectrum, powers, outline, median = spectra.spectrum, spectra.powers, solvent.outline, resolution.median
    shape = working_shape(spectrum.lengths, spectrum.voxel_size, median)
    noise_power = noise_at_resolution(powers, solvent, median)

    frequencies = np.geomspace(*BAND_SPAN, BANDS) / median
    live_bands = (frequencies <= 1.05 / outline.limit) & (frequencies >= FIRST_BAND)
    log_noise = interpolate_bands(np.log(np.maximum(noise_power, MIN_POWER)), powers.frequencies, frequencies)
    log_inside = interpolate_bands(
        np.log(np.maximum(solvent.molecule_power, MIN_POWER)), powers.frequencies, frequencies
    )
    near_median = bands_near_median(frequencies * median, live_bands)
    quarter = (shape[0] // 4, shape[1] // 4, shape[2] // 4)
    bands = np.zeros((CHANNELS, *quarter), np.float16)
    quantiles, median_coupling = np.zeros((3, BANDS)), np.zeros(BANDS)

    def fill(n: int) -> Volume | None:
        log_power = log_power_at(powers, frequencies[n])
        relative_power = np.clip(log_power - log_inside[n], -5, 5) / 2
        bands[n] = resample_periodic(np.clip(log_power - log_noise[n], -3, 8) / 3, quarter)
        bands[BANDS + n] = resample_periodic(relative_power, quarter)
        coupled = COUPLING_SCALE * coupling_at(spectra.coupling, frequencies[n])
        bands[2 * BANDS + n] = resample_periodic(coupled, quarter)
        median_coupling[n] = np.median(coupled[outline.molecule])
        quantiles[:, n] = percentiles(relative_power[outline.molecule], (10, 50, 90))
        return 2 * relative_power if near_median[n] else None

    with ThreadPoolExecutor(threads) as pool:  # one by one: together they need many times the memory
        powers_near_median = [power for power in pool.map(fill, np.flatnonzero(live_bands)) if power is not None]
    log_limit = float(np.clip(np.log(outline.limit / median), -2, 1))
    power_estimate = (
        log_resolution_from_power(powers_near_median) if powers_near_median else np.zeros(powers.shape, np.float32)
    )
    bands[-2] = resample_periodic(outline.coverage, quarter)
    bands[-1] = resample_periodic(np.maximum(power_estimate, np.float32(log_limit)), quarter)
    flags = [
        float(solvent.has_solvent),
        solvent.solvent_fraction,
        np.log(median / 4),
        log_limit,
        float(outline.in_map.mean()),
        np.clip(np.log(solvent.median_resolution / median), -2, 2),
        np.log(np.clip(resolution.log_std, 0.01, 0.5)) + 2,
        np.log(scale),
    ]
    low, middle, high = quantiles
    reference = COUPLING_SCALE * live_bands * protein_coupling(frequencies / scale)
    signal_to_noise = live_bands * np.clip(log_inside - log_noise, -3, 8) / 3
    context = np.concatenate([signal_to_noise, live_bands, high - low, middle - low, median_coupling, reference, flags])
    return NetworkInputs(
        features=features,
        density=molecule_density(spectrum, outline.molecule, (shape[0] // 2, shape[1] // 2, shape[2] // 2), threads),
        bands=bands,
        context=context.astype(np.float32),
        median_resolution=median,
        lengths=spectrum.lengths,
    )


def bands_near_median(relative: Curve, live_bands: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Choose the live bands near the median resolution, or all live bands if none is near.

    `relative` holds the frequencies of the bands in units of 1/median.
    """
    near = live_bands & (relative >= NEAR_MEDIAN_SPAN[0]) & (relative <= NEAR_MEDIAN_SPAN[1])
    return near if near.any() else live_bands


def log_resolution_from_power(log_powers: Sequence[Volume]) -> Volume:
    """Estimate log (local / median resolution) from log (local / median power) of bands; the mean over the bands.

    The ratio of signal to noise falls as frequency to the power `SIGNAL_SLOPE`. If local power is higher by a factor,
    the crossing is higher in frequency by the factor to the power 1 / `SIGNAL_SLOPE`.
    """
    max_log_spread = float(np.log(MAX_SPREAD))
    estimate: Volume = np.clip(-np.mean(log_powers, axis=0) / SIGNAL_SLOPE, -max_log_spread, max_log_spread)
    return estimate


def log_power_at(powers: BandPowers, frequency: float) -> Volume:
    """Interpolate the log of local power at a frequency (1/Å): linear in log f between bands, constant beyond."""
    last = len(powers.frequencies) - 1
    position = np.clip(np.log(frequency / powers.frequencies[0]) / np.log(BAND_STEP), 0, last)
    lower = min(int(position), max(last - 1, 0))
    first, second = (np.log(np.maximum(powers.values[n], np.float32(MIN_POWER))) for n in (lower, min(lower + 1, last)))
    log_power: Volume = first + np.float32(position - lower) * (second - first)
    return log_power


def coupling_at(coupling: PhaseCoupling, frequency: float) -> Volume:
    """Interpolate the local coupling at a frequency (1/Å): linear in log f between bands, constant beyond."""
    last = len(coupling.frequencies) - 1
    position = np.clip(np.log(frequency / coupling.frequencies[0]) / np.log(BAND_STEP), 0, last)
    lower = min(int(position), max(last - 1, 0))
    first, second = coupling.values[lower], coupling.values[min(lower + 1, last)]
    values: Volume = first + np.float32(position - lower) * (second - first)
    return values


def molecule_density(spectrum: Spectrum, molecule: Mask, shape: Shape, threads: int = 1) -> Float16Volume:
    """Sample the density, (1, z, y, x), at `shape` points over the periodic box, with unit variance in the molecule."""
    values, weight = sample_density(spectrum, shape, threads=threads), molecule.astype(np.float32)
    inside = np.zeros(shape, bool)
    for part in chunks(shape):
        np.greater(resample_periodic(weight, shape, (part, slice(None), slice(None))), 0.5, out=inside[part])
    values /= max(float(values[inside].std()) if inside.any() else float(values.std()), 1e-20)
    return np.clip(values, -8, 8, out=values).astype(np.float16)[None]


def interpolate_bands(values: Curve, measured: Curve, frequencies: Curve) -> Curve:
    """Interpolate a curve over the bands at other frequencies: linear in log f, constant beyond its ends."""
    curve: Curve = np.interp(np.log(frequencies), np.log(measured), values)
    return curve
