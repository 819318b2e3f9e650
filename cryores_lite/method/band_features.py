"""Features of each band, from which the network estimates the global and the median resolution of a map.

Without noisy solvent, signal and noise are separated by several weak indications: the frequency at which the power in
the molecule ends (low-pass filter, FSC weighting); the spread of power over the molecule (uneven for signal, even for
noise); the correlation of neighbouring bands (high for signal, low for noise); the fall of power outside the molecule.
All features are ratios within one band or second differences between bands. Smooth radial filters change none of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import BAND_STEP, FIRST_BAND, window_sigma
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.solvent_noise import MIN_POWER, SolventEstimate
from cryores_lite.types import Mask, Volume

MAX_BANDS = 44  # from 40 Å to 0.66 Å
POWER_PERCENTILES = (10, 25, 75, 90)  # of the power in the molecule
SOLVENT_SHELLS = ((3.0, 8.0), (8.0, 14.0), (14.0, 22.0))  # Å from the molecule
BAND_LAG = 2  # distance in bands at which two bands share no wave
SURROUNDINGS = 8.0  # Å from the molecule: range of the second correlation of bands
MIN_MEDIAN_VOXELS = 20
FEATURES = 17


def all_band_frequencies() -> npt.NDArray[np.float64]:
    """Return the centres of all `MAX_BANDS` bands, in 1/Å."""
    centres: npt.NDArray[np.float64] = FIRST_BAND * BAND_STEP ** np.arange(MAX_BANDS, dtype=np.float64)
    return centres


def band_features(powers: BandPowers, solvent: SolventEstimate) -> Volume:
    """Describe every band by numbers that a smooth radial filter does not change.

    Returns
    -------
    (FEATURES, MAX_BANDS) float32; 0 in bands beyond the map's Nyquist frequency
    """
    bands = min(len(powers.frequencies), MAX_BANDS)
    frequencies, values = powers.frequencies[:bands], powers.values[:bands]
    outline, molecule = solvent.outline, solvent.molecule
    in_map, distance = outline.in_map, outline.distance
    surroundings = in_map & (distance <= SURROUNDINGS)
    log_inside, log_around = (_log_power(values, mask) for mask in (molecule, surroundings))
    medians = np.array([np.median(band) for band in log_inside], np.float32)
    spread = np.stack([np.percentile(band, POWER_PERCENTILES) for band in log_inside], 1) - medians
    shells = [
        _shell_medians(values, in_map & (distance > near) & (distance <= far)) - medians for near, far in SOLVENT_SHELLS
    ]
    size = np.cbrt(max(molecule.sum(), 1) * np.prod([a / n for a, n in zip(powers.lengths, powers.shape, strict=True)]))
    log_noise = np.log(np.maximum(solvent.noise_power[:bands], MIN_POWER))
    rows = [
        np.ones(bands),
        np.clip(-np.log(frequencies * outline.limit) / np.log(BAND_STEP), -1, 1),
        np.clip(medians - log_noise, -3, 8) / 3,
        *np.clip(spread, -4, 4),
        np.clip(_second_difference(medians), -3, 3),
        _neighbour_band_correlation(log_inside),
        _neighbour_band_correlation(log_around if surroundings.sum() >= MIN_MEDIAN_VOXELS else log_inside),
        *(np.clip(np.nan_to_num(shell), -4, 2) / 2 for shell in shells),
        np.log([window_sigma(f) / size for f in frequencies]),
        np.log(4 * frequencies),
        np.full(bands, float(solvent.has_solvent)),
        np.full(bands, solvent.solvent_fraction),
    ]
    features = np.zeros((FEATURES, MAX_BANDS), np.float32)
    features[:, :bands] = rows
    return features


def _log_power(powers: Volume, mask: Mask) -> Volume:
    """Return the log power in a mask, (bands, voxels)."""
    values: Volume = np.stack([power[mask] for power in powers])
    return np.log(np.maximum(values, np.float32(MIN_POWER)))


def _shell_medians(powers: Volume, shell: Mask) -> npt.NDArray[np.floating]:
    """Return the median log power over a shell of solvent, (bands,); NaN if the shell has too few voxels."""
    if shell.sum() < MIN_MEDIAN_VOXELS:
        return np.full(len(powers), np.nan)
    return np.array([np.median(np.log(np.maximum(power[shell], np.float32(MIN_POWER)))) for power in powers])


def _second_difference(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the second differences of a curve, 0 at its ends."""
    differences = np.zeros(len(values))
    differences[1:-1] = np.diff(values, 2)
    return differences


def _neighbour_band_correlation(log_power: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Correlate each band over voxels with the band `BAND_LAG` higher, (bands,); the last value is repeated."""
    centred = log_power - log_power.mean(1, keepdims=True)
    norm = np.maximum(np.sqrt((centred**2).sum(1)), 1e-12)
    correlation = np.zeros(len(log_power))
    correlation[:-BAND_LAG] = (centred[:-BAND_LAG] * centred[BAND_LAG:]).sum(1) / (norm[:-BAND_LAG] * norm[BAND_LAG:])
    correlation[-BAND_LAG:] = correlation[-BAND_LAG - 1]
    return correlation
