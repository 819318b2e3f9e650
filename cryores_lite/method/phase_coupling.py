"""Phase coupling: how much the waves of a band know of the waves below it. Noise knows nothing of them.

For a band at frequency f, b is its wave and h the sum of the waves between f/2.3 and f/1.25. The coupling is the local
correlation of b and h², c = ⟨b h²⟩ / √(⟨b²⟩ (⟨h⁴⟩ − ⟨h²⟩²)), in a Gaussian window of σ = 13 Å, at least 1.5/f.
It is a statistic of third order. Atoms make it positive: a band has its crests where the lower bands are strong.
Gaussian noise of any spectrum and envelope makes it 0. Radial filters, gains that vary slowly, and masks cancel.
The power of a band is measured in the same pass, since both need the band's wave. docs/method.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.filtered_planes import FilteredPlanes, memory_for
from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.local_power import GaussianAverage, band_frequencies, band_grid, band_planes, window_sigma
from cryores_lite.fourier.spectrum import Gain, Spectrum, for_each, grid_for, low_pass
from cryores_lite.method.band_powers import MIN_COVERAGE, BandFields, BandPowers, window_coverage
from cryores_lite.types import Lengths, Shape, Volume

COUPLING_WINDOW = 13.0  # Å, least σ of the averages
COUPLING_STEP = 8.0  # Å, spacing of the grid on which the averages are computed
LOWER_WAVES = (1 / 2.3, 1 / 1.25)  # frequencies of h, in units of the band's
LOWER_EDGE = 0.04  # half width of the edges of h, in units of the band's frequency; h ends below most of b
FIRST_COUPLED_BAND = 3  # bands below have too few waves under them
POWER_FLOOR = 1e-3  # share of the typical power of a band; weaker windows are divided by no less, and fade to 0
FOURTH_ORDER_FLOOR = 1e-5  # the same for ⟨h⁴⟩
LIVE_POWER_RATIO = (0.03, 0.08)  # local power of a band over the band below: under it emptied (first), live (second)
EMPTIED_DECAY = 0.2  # per band, of the power below which an emptied band stays emptied
MIN_FOURTH_ORDER = 1e-20  # h has a power of about 1, or holds rounding errors
MIN_POWER = 1e-30  # of a window; its reciprocal is a 32-bit float
ROUNDING_POWER = 1e-13  # share of the strongest band's typical power that is rounding noise
GAIN_POINTS = 4096  # of a table of gains, per frequency of the band


class PhaseCoupling(BandFields):
    """Local coupling of each band with the waves below it, from -1 to 1; near 0 where there is no signal."""


@dataclass(frozen=True, eq=False, kw_only=True)
class BandAverages:
    """Local averages of a band's wave b and of the waves h below it.

    Attributes
    ----------
    power : ⟨b²⟩, the local power of the band, on the grid of the band powers
    product : ⟨b h²⟩, on the same grid, with the same window
    square, fourth : ⟨h²⟩ and ⟨h⁴⟩, on the grid of the coupling, with its window
    """

    power: Volume
    product: Volume
    square: Volume
    fourth: Volume


def measure_powers_and_coupling(
    spectrum: Spectrum, masked_out: Volume, threads: int = 1
) -> tuple[BandPowers, PhaseCoupling]:
    """Measure the local power and the coupling of every band up to the Nyquist frequency, in one pass.

    The powers are those of `measure_band_powers`.

    Parameters
    ----------
    masked_out : (z, y, x) float32, share of each coarse voxel's power that a mask has removed
    """
    frequencies, lengths = band_frequencies(spectrum.nyquist), spectrum.lengths
    shape = (masked_out.shape[0], masked_out.shape[1], masked_out.shape[2])
    grid = grid_for(lengths, COUPLING_STEP)
    powers, coupling = (np.zeros((len(frequencies), *shape), np.float32) for _ in range(2))
    typical = np.zeros(len(frequencies))
    live = np.zeros(grid, np.float32)
    memory = [memory_for(band_grid(spectrum, frequencies[-1])) for _ in range(2)]
    for n, f in enumerate(frequencies):
        lower = lower_waves_gain(f, frequencies[:n], typical[:n])
        averages = band_averages(spectrum, f, lower, shape, memory, threads)
        powers[n], typical[n] = averages.power, typical_value(averages.power)
        local = np.maximum(average(powers[n], lengths, widening(f), grid), 0)
        weight, live = live_weight(local, live)
        if n >= FIRST_COUPLED_BAND and typical[n] > ROUNDING_POWER * typical.max():
            coverage = average(1 - masked_out, lengths, coupling_window(f), grid)
            correlated = correlation(averages, typical[n], coverage, lengths, widening(f))
            coupling[n] = average(weight * correlated, lengths, 0.0, shape)
        if masked_out.any():
            powers[n] /= window_coverage(masked_out, lengths, window_sigma(f))
    return BandPowers(frequencies, powers, lengths), PhaseCoupling(frequencies, coupling, lengths)


def coupling_window(frequency: float) -> float:
    """Return σ of the window in which a band's coupling is measured, in Å."""
    return max(COUPLING_WINDOW, window_sigma(frequency))


def widening(frequency: float) -> float:
    """Return σ of the Gaussian that widens the window of a band's power to that of its coupling, in Å."""
    return float(np.sqrt(coupling_window(frequency) ** 2 - window_sigma(frequency) ** 2))


def average(values: Volume, lengths: Lengths, sigma: float, shape: Shape) -> Volume:
    """Average a periodic field of any sign with a Gaussian of `sigma` Å (0: resample), on a grid of `shape` points."""
    z, y, x = values.shape
    gaussian = GaussianAverage((z, y, x), lengths, sigma, shape)
    gaussian.add(slice(0, z), values)
    return gaussian.signed_values()


def typical_value(power: Volume) -> float:
    """Return the mean of a power over a map, weighted by the power itself, so that empty surroundings do not count."""
    total = float(power.sum(dtype=np.float64))
    return float(np.square(power, dtype=np.float64).sum()) / total if total > 0 else 0.0


def lower_waves_gain(frequency: float, frequencies: Curve, typical: Curve) -> Gain:
    """Return the filter that leaves the waves below a band, with equal power in all bands; 0 without lower bands.

    Parameters
    ----------
    frequency : of the band, 1/Å
    frequencies, typical : (lower bands,) their centres in 1/Å, and the typical powers of the map in them
    """
    k = np.arange(int(GAIN_POINTS * lower_waves_end(frequency) / frequency) + 2) * (frequency / GAIN_POINTS)
    low, high, edge = LOWER_WAVES[0] * frequency, LOWER_WAVES[1] * frequency, LOWER_EDGE * frequency
    table = np.zeros(len(k))
    if typical.any():
        log_power = np.log(np.maximum(typical, ROUNDING_POWER * typical.max()))
        equal_power = np.exp(-0.5 * np.interp(np.log(np.maximum(k, k[1])), np.log(frequencies), log_power))
        table = low_pass(k, high, edge) * (1 - low_pass(k, low, edge)) * equal_power
    table[-1] = 0
    table = table.astype(np.float32)

    def gain(radii: Volume) -> Volume:
        nearest = radii * np.float32(GAIN_POINTS / frequency) + np.float32(0.5)
        return np.take(table, nearest.astype(np.intp), mode="clip")

    return gain


def lower_waves_end(frequency: float) -> float:
    """Return the frequency beyond which `lower_waves_gain` is 0, in 1/Å."""
    return (LOWER_WAVES[1] + LOWER_EDGE) * frequency


def band_averages(
    spectrum: Spectrum,
    frequency: float,
    lower: Gain,
    shape: Shape,
    memory: Sequence[npt.NDArray[np.complex64]],
    threads: int = 1,
) -> BandAverages:
    """Average the power of a band, and its products with the waves that `lower` leaves of the map.

    Parameters
    ----------
    lower : filter of the waves below the band
    shape : points of the grid of the band powers
    memory : two arrays from `memory_for`, for the waves below and for the band
    """
    lengths, grid = spectrum.lengths, band_grid(spectrum, frequency)
    below = FilteredPlanes(spectrum, grid, lower, lower_waves_end(frequency), threads, memory[0])
    band = band_planes(spectrum, frequency, threads, memory[1])
    power = GaussianAverage(grid, lengths, window_sigma(frequency), shape)
    square = GaussianAverage(grid, lengths, coupling_window(frequency), grid_for(lengths, COUPLING_STEP))
    product, fourth = power.another(), square.another()

    def add(part: slice) -> None:
        wave, h2 = band.density(part), below.density(part)
        np.square(h2, out=h2)
        square.add(part, h2)
        product.add(part, wave * h2)
        fourth.add(part, np.square(h2, out=h2))
        power.add(part, np.square(wave, out=wave))

    for_each(add, band.parts(), threads)
    return BandAverages(
        power=power.values(), product=product.signed_values(), square=square.values(), fourth=fourth.values()
    )


def correlation(averages: BandAverages, typical: float, coverage: Volume, lengths: Lengths, sigma: float) -> Volume:
    """Return the correlation of b and h² from their averages, on the grid of the coupling.

    b is divided by the root of its local power, so that strong places in a window do not outweigh weak ones. Where the
    power is below `POWER_FLOOR`, it is not, and the correlation fades to 0.

    Parameters
    ----------
    typical : power of the band that is typical of the map
    coverage : (z, y, x), share of each window that a mask has left; ⟨h²⟩² / coverage belongs to ⟨h⁴⟩ within the mask
    lengths : edges of the box, Å
    sigma : σ of the Gaussian that widens the window of the power to that of the coupling, Å
    """
    z, y, x = averages.square.shape
    typical_fourth = typical_value(averages.fourth)
    if typical_fourth < MIN_FOURTH_ORDER:
        return np.zeros((z, y, x), np.float32)
    normal = np.reciprocal(np.maximum(averages.power, np.float32(max(POWER_FLOOR * typical, MIN_POWER))))
    product = average(averages.product * np.sqrt(normal), lengths, sigma, (z, y, x))
    power = np.maximum(average(averages.power * normal, lengths, sigma, (z, y, x)), 0) + np.float32(POWER_FLOOR)
    variance = averages.fourth - np.square(averages.square) / np.maximum(coverage, MIN_COVERAGE)
    floor = np.float32(FOURTH_ORDER_FLOOR * typical_fourth)
    scale = np.sqrt(power) * np.sqrt(np.maximum(variance, 0) + floor)
    out: Volume = product / np.maximum(scale, np.finfo(np.float32).tiny)
    return out


def live_weight(power: Volume, live: Volume) -> tuple[Volume, Volume]:
    """Return the weight, 0 to 1, of a band that may be emptied, and the power with which the next band is compared.

    A band is Gaussian. Where a filter has removed its waves, its tail brings in those of the bands below, with their
    coupling, but with 5 % of their power at most. Filters that fall less steeply are kept.

    Parameters
    ----------
    power : local power of the band
    live : local power of the highest lower band that is not emptied, or less if that is several bands below
    """
    ratio = np.divide(np.clip(power, 0, live), live, out=np.ones_like(power), where=live > 0)
    none, full = LIVE_POWER_RATIO
    weight: Volume = np.clip((ratio - np.float32(none)) / np.float32(full - none), 0, 1)
    return weight, np.where(weight > 0, power, np.float32(EMPTIED_DECAY) * live)
