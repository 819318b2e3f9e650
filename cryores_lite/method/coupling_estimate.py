"""What the phase coupling says without a network: the median resolution, the order of the voxels, and the contrast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.local_power import BAND_STEP, FIRST_BAND
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.phase_coupling import PhaseCoupling
from cryores_lite.types import Mask, Volume

# Medians over noise-free protein, in the bands of `band_frequencies` from 12.7 to 1.7 Å; coarser bands differ between
# proteins. `training.evaluation.coupling_curves` measures them.
FIRST_PROTEIN_BAND = 12
PROTEIN_COUPLING = (
    *(0.069, 0.079, 0.084, 0.102, 0.120, 0.118, 0.095, 0.076, 0.061, 0.043, 0.054),  # to 4.9 Å
    *(0.079, 0.113, 0.136, 0.152, 0.158, 0.158, 0.178, 0.216, 0.241, 0.250, 0.285),
)
COARSE_COUPLING = 0.08  # of bands below; there, it differs between proteins
RESOLVED_SHARE = 0.25  # of the coupling of noise-free protein, at the median local resolution
LEVEL_RATIO = 0.87  # level / true median, the median over 30 simulated averages of 2 to 10 Å
PATTERN_SLOPE = 1.4  # fall of log resolution with the pattern, the median over the same maps
MAX_LOG_RATIO = 0.7  # of local to median resolution
PATTERN_BANDS = (0.85, 1.3)  # lowest and highest band of the pattern, in units of the frequency of the level
SIGN_BANDS = ((1 / 10, 0.1), (1 / 6, 0.05))  # 1/Å, and the sum of the mean coupling from there that makes a sign sure
MAX_OPPOSITE_COUPLING = 0.3  # of a band, of the other sign, as a share of the largest
INVERTED_CONTRAST = "The contrast of this map is inverted (its waves are coupled negatively): multiply the map by -1."
MAX_MASKED_SHARE = 0.05  # of the box around the molecule: mask edges couple waves too, with any sign


def protein_coupling(frequencies: Curve) -> Curve:
    """Interpolate the median coupling over noise-free protein at frequencies in 1/Å; constant beyond those measured."""
    bands = FIRST_BAND * BAND_STEP ** (FIRST_PROTEIN_BAND - 1 + np.arange(len(PROTEIN_COUPLING) + 1))
    curve: Curve = np.interp(np.log(frequencies), np.log(bands), (COARSE_COUPLING, *PROTEIN_COUPLING))
    return curve


@dataclass(frozen=True, eq=False)
class CouplingEstimate:
    """Local resolution from the coupling alone, without a network.

    Attributes
    ----------
    level : Å, median local resolution; NaN if no band is coupled
    pattern : (z, y, x) float32, sum of the coupling over the bands about the level: high where the map is well resolved
    """

    level: float
    pattern: Volume

    def local_resolution(self, molecule: Mask) -> Volume:
        """Turn level and pattern into local resolution in Å, by constants fitted to simulated maps.

        `molecule` is (z, y, x) bool, on the grid of the pattern. NaN if no band is coupled.
        """
        deviation = self.pattern - np.float32(np.median(self.pattern[molecule]))
        log_ratio = np.clip(-PATTERN_SLOPE * deviation, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        return np.asarray(self.level / LEVEL_RATIO * np.exp(log_ratio), np.float32)


def coupling_estimate(coupling: PhaseCoupling, molecule: Mask) -> CouplingEstimate:
    """Estimate the median resolution of a map, and the order of its voxels, from the coupling alone.

    The level is the highest frequency at which the median coupling reaches `RESOLVED_SHARE` of that of noise-free
    protein. Maps that were clipped have too high a coupling near Nyquist, and too fine a level.

    Parameters
    ----------
    molecule : (z, y, x) bool, on the grid of the coupling
    """
    frequencies = coupling.frequencies[FIRST_PROTEIN_BAND:]
    reference = np.array(PROTEIN_COUPLING)[np.minimum(np.arange(len(frequencies)), len(PROTEIN_COUPLING) - 1)]
    medians = np.array([np.median(band[molecule]) for band in coupling.values[FIRST_PROTEIN_BAND:]])
    share = medians / reference
    resolved = np.flatnonzero(share >= RESOLVED_SHARE)
    if not len(resolved):
        return CouplingEstimate(float("nan"), np.zeros(coupling.shape, np.float32))
    last = int(resolved[-1])
    beyond = 0.0
    if last + 1 < len(share):
        beyond = float((share[last] - RESOLVED_SHARE) / (share[last] - share[last + 1]))
    level = 1 / float(frequencies[last] * BAND_STEP**beyond)
    lowest, highest = (factor / level for factor in PATTERN_BANDS)
    near = (coupling.frequencies >= lowest) & (coupling.frequencies <= highest)
    pattern: Volume = coupling.values[near].sum(0)
    return CouplingEstimate(level, pattern)


def contrast_sign(powers: BandPowers, coupling: PhaseCoupling, masked_out: Volume) -> int:
    """Judge the contrast of a map: 1 if molecules are brighter than the solvent, -1 if darker, 0 if that is uncertain.

    A negated map has the negative coupling. The molecule is not needed: empty places have no power. Nothing is said of
    masked maps, whose mask shows the contrast, and of most maps coarser than 5 Å.

    Parameters
    ----------
    masked_out : (z, y, x) float32, share of each coarse voxel's power that a mask has removed
    """
    if float(masked_out.mean()) > MAX_MASKED_SHARE:
        return 0
    mean = mean_coupling(powers, coupling)
    sums = [(float(mean[coupling.frequencies > first].sum()), limit) for first, limit in SIGN_BANDS]
    bands = mean[coupling.frequencies > SIGN_BANDS[0][0]]
    for sign in (1, -1):
        if all(sign * total >= limit for total, limit in sums):
            one_sided = -(sign * bands).min() <= MAX_OPPOSITE_COUPLING * (sign * bands).max()
            return sign if one_sided else 0
    return 0


def contrast_warnings(sign: int) -> tuple[str, ...]:
    """Return the warning for a map whose `contrast_sign` is negative."""
    return (INVERTED_CONTRAST,) if sign < 0 else ()


def mean_coupling(powers: BandPowers, coupling: PhaseCoupling) -> Curve:
    """Return the mean coupling of each band over the map, weighted by the band's power, (bands,)."""
    total = powers.values.sum((1, 2, 3), dtype=np.float64)
    weighted = np.array([np.vdot(p, c) for p, c in zip(powers.values, coupling.values, strict=True)], np.float64)
    mean: Curve = weighted / np.maximum(total, np.finfo(np.float32).tiny)
    return mean
