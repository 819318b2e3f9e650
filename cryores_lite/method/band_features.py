"""What a map says about its level, band by band on the fixed ladder: the level network's input.

Without visible solvent nothing single tells noise from signal, but much hints at it: where the power inside has an
edge (low-pass, FSC weighting); how unevenly it is spread (signal is patchy, noise is not); whether neighbouring
bands are strong at the same places (signal is, noise is not); how it falls off outside the molecule. All are
ratios within one band, or second differences between bands: a smooth radial filter changes none of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.local_power import LADDER, window
from cryores_lite.method.solvent_noise import BandPowers, SolventEstimate
from cryores_lite.types import Mask, Volume

MAX_BANDS = 44  # bands of the ladder that are looked at, from 40 Å to 0.66 Å
PERCENTILES = (10, 25, 75, 90)
SHELLS = ((3.0, 8.0), (8.0, 14.0), (14.0, 22.0))  # Å from the molecule
APART = 2  # rungs between bands that share no wave
AROUND = 8.0  # Å: the surroundings that take part in the second correlation
FEWEST = 20  # voxels that make a median
FEATURES = 17


def all_band_frequencies() -> npt.NDArray[np.float64]:
    """Centres of all rungs, in 1/Å."""
    first, ratio = LADDER
    centres: npt.NDArray[np.float64] = first * ratio ** np.arange(MAX_BANDS, dtype=np.float64)
    return centres


def band_features(powers: BandPowers, solvent: SolventEstimate) -> Volume:
    """Describe every rung of the ladder by numbers that a radial filter cannot change.

    Returns
    -------
    (FEATURES, RUNGS) float32; rungs beyond the map's Nyquist frequency are 0
    """
    bands = min(len(powers.frequencies), MAX_BANDS)
    frequencies = powers.frequencies[:bands]
    outline = solvent.outline
    seen, distance, molecule = outline.seen, outline.distance, outline.molecule
    around = seen & (distance <= AROUND)
    inside, outside = (_logarithms(powers.values[:bands], chosen) for chosen in (molecule, around))
    middle = np.array([np.median(band) for band in inside], np.float32)
    spread = np.stack([np.percentile(band, PERCENTILES) for band in inside], 1) - middle
    shells = [_shell(powers.values[:bands], seen & (distance > a) & (distance <= b)) - middle for a, b in SHELLS]
    size = np.cbrt(max(molecule.sum(), 1) * np.prod([a / n for a, n in zip(powers.lengths, powers.shape, strict=True)]))
    log_noise = np.log(np.maximum(solvent.noise[:bands], 1e-30))
    rows = [
        np.ones(bands),
        np.clip(-np.log(frequencies * solvent.outline.limit) / np.log(LADDER[1]), -1, 1),
        np.clip(middle - log_noise, -3, 8) / 3,
        *np.clip(spread, -4, 4),
        np.clip(_second_difference(middle), -3, 3),
        _neighbour_band_correlation(inside),
        _neighbour_band_correlation(outside if around.sum() >= FEWEST else inside),
        *(np.clip(np.nan_to_num(shell), -4, 2) / 2 for shell in shells),
        np.log([window(f) / size for f in frequencies]),
        np.log(4 * frequencies),
        np.full(bands, float(solvent.has_solvent)),
        np.full(bands, solvent.solvent_fraction),
    ]
    out = np.zeros((FEATURES, MAX_BANDS), np.float32)
    out[:, :bands] = rows
    return out


def _logarithms(powers: Volume, chosen: Mask) -> Volume:
    """(bands, voxels): log power where a mask is."""
    values: Volume = np.stack([power[chosen] for power in powers])
    return np.log(np.maximum(values, np.float32(1e-30)))


def _shell(powers: Volume, chosen: Mask) -> npt.NDArray[np.floating]:
    """Median log power per band over a shell of solvent; NaN where there is none."""
    if chosen.sum() < FEWEST:
        return np.full(len(powers), np.nan)
    return np.array([np.median(np.log(np.maximum(power[chosen], np.float32(1e-30)))) for power in powers])


def _second_difference(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Second differences, 0 at the ends."""
    bend = np.zeros(len(values))
    bend[1:-1] = np.diff(values, 2)
    return bend


def _neighbour_band_correlation(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Correlation of each band's log power with that of a band `APART` rungs up, over the voxels; the last repeated."""
    centred = values - values.mean(1, keepdims=True)
    norm = np.maximum(np.sqrt((centred**2).sum(1)), 1e-12)
    kin = np.zeros(len(values))
    kin[:-APART] = (centred[:-APART] * centred[APART:]).sum(1) / (norm[:-APART] * norm[APART:])
    kin[-APART:] = kin[-APART - 1]
    return kin
