"""Features of each band, from which the network estimates the global and the median resolution of a map.

Without noisy solvent, signal and noise are separated by several weak indications: the frequency at which the power in
the molecule ends (low-pass filter, FSC weighting); the spread of power over the molecule (uneven for signal, even for
noise); the correlation of neighbouring bands (high for signal, low for noise); the fall of power outside the molecule.
All features are ratios within one band or second differences between bands. Smooth radial filters change none of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import BAND_STEP, FIRST_BAND, window_sigma
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.coupling_estimate import protein_coupling
from cryores_lite.method.percentiles import percentiles
from cryores_lite.method.phase_coupling import PhaseCoupling
from cryores_lite.method.solvent_noise import MIN_POWER, SolventEstimate
from cryores_lite.method.value_edits import ValueEdits, white_power
from cryores_lite.types import Lengths, Mask, Volume

MAX_BANDS = 44  # from 40 Å to 0.66 Å
POWER_PERCENTILES = (10, 25, 75, 90)  # of the power in the molecule
COUPLING_PERCENTILES = (10, 50, 90)  # of the coupling in the molecule
SOLVENT_SHELLS = ((3.0, 8.0), (8.0, 14.0), (14.0, 22.0))  # Å from the molecule
BAND_LAG = 2  # distance in bands at which two bands share no wave
SURROUNDINGS = 8.0  # Å from the molecule: range of the second correlation of bands
MIN_MEDIAN_VOXELS = 20
COUPLING_SCALE = 4.0  # of coupling in the features and in the network's inputs; coupling is 0.05 to 0.3
FEATURES = 27


def all_band_frequencies() -> npt.NDArray[np.float64]:
    """Return the centres of all `MAX_BANDS` bands, in 1/Å."""
    centres: npt.NDArray[np.float64] = FIRST_BAND * BAND_STEP ** np.arange(MAX_BANDS, dtype=np.float64)
    return centres


def band_features(
    powers: BandPowers,
    coupling: PhaseCoupling,
    solvent: SolventEstimate,
    edits: ValueEdits,
    voxel_size: Lengths,
    scale: float = 1.0,
) -> Volume:
    """Describe every band by numbers that a smooth radial filter does not change.

    Parameters
    ----------
    edits : marks of changed values in the map
    voxel_size : of the map, Å
    scale : factor by which all lengths of the map were divided

    Returns
    -------
    (FEATURES, MAX_BANDS) float32; 0 in bands beyond the map's Nyquist frequency
    """
    bands = min(len(powers.frequencies), MAX_BANDS)
    frequencies, values = powers.frequencies[:bands], powers.values[:bands]
    outline, molecule = solvent.outline, solvent.molecule
    in_map, distance = outline.in_map, outline.distance
    surroundings = in_map & (distance <= SURROUNDINGS)
    has_surroundings = surroundings.sum() >= MIN_MEDIAN_VOXELS
    inside = [percentiles(band, (50, *POWER_PERCENTILES)) for band in _log_powers(values, molecule)]
    medians, *others = np.array(inside, np.float32).T
    spread = np.stack(others) - medians
    shells = [
        _shell_medians(values, in_map & (distance > near) & (distance <= far)) - medians for near, far in SOLVENT_SHELLS
    ]
    size = np.cbrt(max(molecule.sum(), 1) * np.prod([a / n for a, n in zip(powers.lengths, powers.shape, strict=True)]))
    log_noise = np.log(np.maximum(solvent.noise_power[:bands], MIN_POWER))
    low_coupling, median_coupling, high_coupling = np.transpose(
        [percentiles(band[molecule], COUPLING_PERCENTILES) for band in coupling.values[:bands]]
    )
    in_solvent = in_map & (distance > SOLVENT_SHELLS[0][0]) & (distance <= SOLVENT_SHELLS[-1][1])
    solvent_coupling = (
        [band[in_solvent].std() for band in coupling.values[:bands]]
        if in_solvent.sum() >= MIN_MEDIAN_VOXELS
        else np.zeros(bands)
    )
    rounding = white_power(edits.rounding_variance, frequencies, voxel_size)
    log_rounding = np.log(np.maximum(rounding, MIN_POWER)) - np.maximum(medians, np.log(MIN_POWER))
    rows = [
        np.ones(bands),
        np.clip(-np.log(frequencies * outline.limit) / np.log(BAND_STEP), -1, 1),
        np.clip(medians - log_noise, -3, 8) / 3,
        *np.clip(spread, -4, 4),
        np.clip(_second_difference(medians), -3, 3),
        _neighbour_band_correlation(_log_powers(values, molecule)),
        _neighbour_band_correlation(_log_powers(values, surroundings if has_surroundings else molecule)),
        *(np.clip(np.nan_to_num(shell), -4, 2) / 2 for shell in shells),
        np.log([window_sigma(f) / size for f in frequencies]),
        np.log(4 * frequencies),
        np.full(bands, float(solvent.has_solvent)),
        np.full(bands, solvent.solvent_fraction),
        COUPLING_SCALE * median_coupling,
        COUPLING_SCALE * (low_coupling - median_coupling),
        COUPLING_SCALE * (high_coupling - median_coupling),
        np.clip(median_coupling / protein_coupling(frequencies / scale), -1, 2),
        COUPLING_SCALE * np.array(solvent_coupling),
        np.clip(log_rounding, -10, 2) / 5 if edits.rounding_variance else np.full(bands, -2.0),
        np.full(bands, edits.scattered_lowest),
        np.full(bands, edits.strongest),
        np.full(bands, float(edits.one_sided)),
        np.full(bands, np.log(scale)),
    ]
    features = np.zeros((FEATURES, MAX_BANDS), np.float32)
    features[:, :bands] = rows
    return features


def _log_powers(powers: Volume, mask: Mask) -> Iterator[Volume]:
    """Yield the log power of each band in a mask, (voxels,). All bands together would need much memory."""
    for power in powers:
        yield np.log(np.maximum(power[mask], np.float32(MIN_POWER)))


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


def _neighbour_band_correlation(log_powers: Iterable[Volume]) -> npt.NDArray[np.float64]:
    """Correlate each band over voxels with the band `BAND_LAG` higher, (bands,); the last value is repeated."""
    recent: deque[Volume] = deque(maxlen=BAND_LAG + 1)
    correlation: list[float] = []
    for band in log_powers:
        centred = band - band.mean()
        recent.append(centred / max(float(np.linalg.norm(centred)), 1e-12))
        if len(recent) > BAND_LAG:
            correlation.append(float(np.vdot(recent[0], recent[-1])))
    return np.array([*correlation, *BAND_LAG * correlation[-1:]])
