"""Local resolution from two half maps: the windowed Fourier shell correlation, band by band.

V1 and V2 are the half maps in one frequency band, G is the mean with a Gaussian window, and g = √(Σ V1² / Σ V2²)
equalises the scales of the half maps. Half maps share the signal and no noise, so the signal's power is
P_S = G(V1 g V2), the noise's power in one half map is P_N = G((V1 − g V2)²) / 2, and FSC = P_S / (P_S + P_N). Bands are
Gaussian in |k| with a full width at half maximum of 0.15 f. The window has σ = 1.5/f, at least 4 Å, or is fixed. Noise
changes more slowly over space than signal, so its window is twice as wide. docs/fsc_method.md has the equations and
their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.fourier.criterion import Criterion
from cryores_lite.fourier.fsc import (
    CONSECUTIVE_BANDS,
    FSC_THRESHOLD,
    Curve,
    Threshold,
    bands,
    first_crossing,
    fixed_threshold,
    interpolate_log,
    one_bit_threshold,
)
from cryores_lite.fourier.interpolation import interpolate, resample_periodic, voxel_positions
from cryores_lite.fourier.local_power import GaussianAverage, filter_alike, smooth, window_sigma
from cryores_lite.fourier.spectrum import Spectrum, grid_for, inverse_transform, transform
from cryores_lite.half_maps.false_discovery import (
    SEED,
    UNTESTED_FSC,
    FalseDiscovery,
    draws,
    is_testable,
    random_phases,
    significant_from,
)
from cryores_lite.half_maps.fsc_curves import global_fsc_and_waves, masked_random_halves, randomisation_start
from cryores_lite.half_maps.independence import refuse_copies
from cryores_lite.half_maps.masking import common_region, coverage, estimated_mask, squared_mask_spectrum
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.method.crop import Box, cut, molecule_box, paste
from cryores_lite.resources import require_memory
from cryores_lite.types import Density, Lengths, Mask, Shape, Volume, without_offset

MOLECULE_MARGIN = 30.0  # Å around the molecule
MEASURED_BAND_STEP = 1.12  # highest ratio of neighbouring bands that are measured; the curve between is interpolated
NOISE_WINDOW_RATIO = 2.0  # σ of the window for the noise, over σ of the window for the signal
POINTS_PER_WAVE = 2.2  # of a band: changes local resolution by 0.2 % (rms) at most, and 2.0 by 4 %
ENVELOPE_RATIO = 0.5  # σ of the window for the envelope of noise by chance, over σ of the window for the signal
WHOLE_PLANE = (slice(None), slice(None))
MIN_POWER = 1e-30  # avoids division by zero
BYTES_PER_VOXEL = 26.0  # of the box: five transforms and a mask for the global FSC; the local FSC needs 22
TEST_BYTES_PER_VOXEL = 22.0  # additional bytes of a test against chance: noise, and two bands with random phases
MASK_BYTES_PER_VOXEL = 14.0  # additional bytes with a mask: two half maps with random phases


@dataclass(frozen=True, eq=False)
class LocalFsc:
    """Local resolution and local FSC of two half maps.

    Attributes
    ----------
    values : (z, y, x) float32, local resolution in Å everywhere in the molecule's box, 0 outside it
    frequencies : (bands,) 1/Å, up to the Nyquist frequency
    fsc : (bands, coarse z, y, x) float32, on a grid over the periodic box around the molecule; 0 in bands so fine that
        all curves ended before
    box : the molecule's box in the grid of the half maps; `transform` makes it periodic
    """

    values: Volume
    frequencies: Curve
    fsc: Volume
    box: Box


def local_fsc(
    first: Density,
    second: Density,
    *,
    mask: Volume | None = None,
    threshold: Threshold | FalseDiscovery | None = None,
    sigma: float | None = None,
    step: float = MEASURED_BAND_STEP,
    threads: int = 1,
) -> LocalFsc:
    """Measure local resolution from two half maps.

    Parameters
    ----------
    first, second : half maps on one grid
    mask : (z, y, x), 0 to 1; both half maps are multiplied by it. The FSC that the mask adds is measured with random
        phases (Chen et al. 2013, Ultramicroscopy 135, 24) and subtracted. Windows are local, so a mask is not needed.
    threshold : function of a band's frequency (1/Å) and its window's σ (Å), or a test against chance; 0.143 by default
    sigma : Å, of a fixed window; by default 1.5/f, at least 4 Å
    step : highest ratio of neighbouring bands that are measured
    threads : CPU threads

    Raises
    ------
    InputError
        The grids differ, the maps are copies of one map, or the mask is not one for these maps.
    NotEnoughMemory
        The maps do not fit into memory.

    References
    ----------
    Cardone, Heymann & Steven (2013), J. Struct. Biol. 184, 226 (windowed FSC).
    """
    check_half_maps(first, second)
    if mask is not None:
        check_mask(mask, first.grid.shape)
    return checked_local_fsc(first, second, mask, threshold, sigma, step, threads)


def checked_local_fsc(
    first: Density,
    second: Density,
    mask: Volume | None = None,
    threshold: Threshold | FalseDiscovery | None = None,
    sigma: float | None = None,
    step: float = MEASURED_BAND_STEP,
    threads: int = 1,
) -> LocalFsc:
    """Measure local resolution from half maps that `check_half_maps` has passed; parameters as in `local_fsc`."""
    (first, factor), (second, _) = scaled_down(first), scaled_down(second)
    sigma, voxel_size = sigma / factor if sigma else None, first.grid.voxel_size
    densities = [without_offset(half.values) for half in (first, second)]
    box = molecule_box(densities[0], voxel_size, MOLECULE_MARGIN, densities[1])
    region = common_region(*densities) if mask is None else None
    masking = 0.0 if mask is None else MASK_BYTES_PER_VOXEL
    testing = TEST_BYTES_PER_VOXEL if isinstance(threshold, FalseDiscovery) else 0.0
    require_memory(box.shape, BYTES_PER_VOXEL + masking + testing)
    halves = [cut(density, box) for density in densities]
    box_mask = None if mask is None else cut(mask, box)
    spectra = [transform(half if box_mask is None else half * box_mask, voxel_size, threads) for half in halves]
    squared_mask = None
    if region is not None:
        own_mask = estimated_mask(region[box.slices], *halves)
        squared_mask = squared_mask_spectrum(own_mask, spectra[0], threads)
    lengths = spectra[0].lengths
    frequencies = bands(spectra[0].nyquist, step)
    coarse = grid_for(lengths, min(sigma or window_sigma(f) for f in frequencies))
    first.release_pages()
    second.release_pages()
    limit, significant = threshold or fixed_threshold(), np.full(len(frequencies), UNTESTED_FSC)
    random = None if box_mask is None else phase_randomised_halves(halves, box_mask, voxel_size, threads)
    fsc, ended = np.zeros((len(frequencies), *coarse), np.float32), np.zeros(coarse, bool)
    for n, f in enumerate(frequencies):
        fsc[n] = band_fsc(spectra, f, sigma or window_sigma(f), coarse, threads, squared_mask)
        if random and f > random[1]:
            mask_fsc = band_fsc(random[0], f, sigma or window_sigma(f), coarse, threads)
            fsc[n] = (fsc[n] - mask_fsc) / np.maximum(1 - mask_fsc, 1e-6)
        if not isinstance(limit, FalseDiscovery):
            significant[n] = limit(float(f) / factor, factor * (sigma or window_sigma(f)))
        elif is_testable(lengths, sigma or window_sigma(f)):
            by_chance = chance_fsc(spectra, f, sigma or window_sigma(f), coarse, threads, squared_mask)
            significant[n] = significant_from(fsc[n], by_chance, limit.rate)
        latest = slice(max(0, n + 1 - CONSECUTIVE_BANDS), n + 1)
        ended |= stay_below(fsc[latest], np.minimum(significant[latest], FSC_THRESHOLD))
        if ended.all():  # finer bands change no resolution
            break
    fine = bands(spectra[0].nyquist)
    if isinstance(limit, FalseDiscovery):
        cuts = np.interp(np.log(fine), np.log(frequencies), significant)
    else:
        cuts = np.array([limit(float(f) / factor, factor * (sigma or window_sigma(f))) for f in fine])
    local = np.stack(
        [first_crossing(interpolate_log(plane, frequencies, fine), fine, cuts) for plane in fsc.swapaxes(0, 1)]
    )
    if factor != 1:
        local *= factor
    values = paste(interpolate_to_voxels(local, spectra[0], box), box, first.grid.shape)
    return LocalFsc(values, frequencies / factor, fsc, box)


def stay_below(fsc: Volume, thresholds: Curve) -> Mask:
    """Return where curves (bands, …) are below their thresholds (bands,) in all bands; nowhere if the bands are few."""
    if len(fsc) < CONSECUTIVE_BANDS:
        return np.zeros(fsc.shape[1:], bool)
    below: Mask = np.all(fsc < thresholds.reshape(-1, 1, 1, 1), axis=0)
    return below


def band_fsc(
    halves: list[Spectrum],
    frequency: float,
    sigma: float,
    shape: Shape,
    threads: int = 1,
    squared_mask: Spectrum | None = None,
) -> Volume:
    """Measure the FSC of one band on a coarse grid over the periodic box; negative values become 0.

    Parameters
    ----------
    halves : spectra of the two half maps
    frequency : 1/Å, centre of the band
    sigma : Å, of the window
    shape : points of the coarse grid
    squared_mask : for half maps that were masked before, spectrum of the square of their mask: without noise outside,
        the mean of the noise is divided by that of the mask
    """
    one, other = filter_alike(halves, frequency, POINTS_PER_WAVE, threads)
    return fsc_of_bands(one, other, sigma, shape, threads, squared_mask=squared_mask)


def chance_fsc(
    halves: list[Spectrum],
    frequency: float,
    sigma: float,
    shape: Shape,
    threads: int = 1,
    squared_mask: Spectrum | None = None,
) -> Volume:
    """Measure the FSC of one band of half maps that hold the noise of `halves` with random phases, and no signal.

    The noise by chance has the local power of the noise: where that power changes, fewer waves share a window.
    Parameters are those of `band_fsc`; the result, (draws, coarse z, y, x), has as many random pairs as the band needs.
    """
    one, other = filter_alike(halves, frequency, POINTS_PER_WAVE, threads)
    noise = replace(one, waves=one.waves - band_scale(one, other) * other.waves)
    del one, other
    power, copy = GaussianAverage(noise.shape, noise.lengths, ENVELOPE_RATIO * sigma, shape), noise.waves.copy()
    inverse_transform(replace(noise, waves=copy), lambda part, band: power.add(part, np.square(band)), threads)
    envelope = power.values()
    rng = np.random.default_rng([SEED, round(1e4 * frequency)])
    pairs = ((random_phases(noise, rng), random_phases(noise, rng)) for _ in range(draws(noise.lengths, sigma)))
    return np.stack(
        [fsc_of_bands(*pair, sigma, shape, threads, envelope=envelope, squared_mask=squared_mask) for pair in pairs]
    )


def band_scale(one: Spectrum, other: Spectrum) -> np.float32:
    """Return the factor that gives one band the power of another, from the stored half of the Fourier coefficients."""
    first_power, second_power = (float(np.vdot(band.waves, band.waves).real) for band in (one, other))
    return np.float32(np.sqrt(first_power / max(second_power, MIN_POWER)))


def fsc_of_bands(
    one: Spectrum,
    other: Spectrum,
    sigma: float,
    shape: Shape,
    threads: int = 1,
    *,
    envelope: Volume | None = None,
    squared_mask: Spectrum | None = None,
) -> Volume:
    """Measure the windowed FSC of two filtered half maps, as `band_fsc`; their waves are overwritten.

    Parameters
    ----------
    envelope : coarse (z, y, x), power that both half maps are multiplied by
    squared_mask : as in `band_fsc`
    """
    box, lengths, scale = one.shape, one.lengths, band_scale(one, other)
    first_band = np.empty(box, np.float32)
    inverse_transform(one, first_band.__setitem__, threads)
    signal_mean = GaussianAverage(box, lengths, sigma, shape)
    noise_mean = signal_mean.another()

    def add_planes(part: slice, second_band: Volume) -> None:
        second_band *= scale
        product, difference = first_band[part] * second_band, np.subtract(second_band, first_band[part])
        noise = np.square(difference, out=difference)
        if envelope is not None:
            factor = resample_periodic(envelope, box, (part, *WHOLE_PLANE))
            product *= factor
            noise *= factor
        signal_mean.add(part, product)
        noise_mean.add(part, noise)

    inverse_transform(other, add_planes, threads)
    wider = float(np.sqrt(NOISE_WINDOW_RATIO**2 - 1)) * sigma  # with the first mean: NOISE_WINDOW_RATIO times sigma
    signal, noise = signal_mean.values(), smooth(noise_mean.values(), lengths, wider, shape)
    noise /= 2
    if squared_mask:
        noise /= coverage(squared_mask, NOISE_WINDOW_RATIO * sigma, shape, threads)
    fsc: Volume = signal / np.maximum(signal + noise, np.float32(MIN_POWER))
    return fsc


def threshold_of(criterion: Criterion) -> Threshold | FalseDiscovery:
    """Return the threshold of `local_fsc` for a criterion of the command."""
    thresholds: dict[Criterion, Threshold | FalseDiscovery] = {
        Criterion.fsc_0143: fixed_threshold(),
        Criterion.fsc_05: fixed_threshold(0.5),
        Criterion.one_bit: one_bit_threshold,
        Criterion.fdr: FalseDiscovery(),
    }
    return thresholds[criterion]


def phase_randomised_halves(
    halves: list[Volume], mask: Volume, voxel_size: Lengths, threads: int = 1
) -> tuple[list[Spectrum], float]:
    """Mask half maps with random phases beyond a frequency; return their spectra and that frequency (1/Å)."""
    frequencies, curve, waves = global_fsc_and_waves(halves[0], halves[1], voxel_size, threads)
    start = randomisation_start(frequencies, curve)
    masked = masked_random_halves(waves, mask, voxel_size, start, threads)
    return [transform(half, voxel_size, threads) for half in masked], start


def interpolate_to_voxels(coarse: Volume, spectrum: Spectrum, box: Box) -> Volume:
    """Interpolate a coarse field over the periodic box at the voxels of the cropped map."""
    values: Volume = interpolate(
        coarse[None], voxel_positions(box.shape, spectrum.before, spectrum.shape, coarse.shape)
    )[0]
    return values


def check_half_maps(first: Density, second: Density) -> float:
    """Refuse maps that are not two half maps of one reconstruction; return their `lowest_shell_fsc`.

    Raises
    ------
    InputError
        The grids differ, or the maps are copies of one map.
    """
    if first.grid != second.grid:
        grids = [f"{half.grid.shape} voxels of {half.grid.voxel_size[0]:.4g} Å" for half in (first, second)]
        raise InputError(
            "the half maps have different grids",
            found=" and ".join(grids),
            expected="the same grid",
            try_="pass both half maps of one reconstruction, without cropping or binning",
        )
    return refuse_copies(first.values, second.values)


def check_mask(mask: Volume, shape: Shape) -> None:
    """Refuse an array that is not a mask for half maps.

    Raises
    ------
    InputError
        The mask has another shape, is empty, or holds values below 0 or above 1.
    """
    has_shape = mask.shape == shape
    low, high = (float(mask.min()), float(mask.max())) if has_shape else (0.0, 0.0)
    if not has_shape or not (low >= 0 and 0 < high <= 1):
        raise InputError(
            "this array is not a mask for the half maps",
            found=f"values from {low:.4g} to {high:.4g}" if has_shape else f"an array of shape {mask.shape}",
            expected=f"{shape} values from 0 to 1, some above 0",
            try_="pass a mask on the grid of the half maps, 1 inside the molecule",
        )
