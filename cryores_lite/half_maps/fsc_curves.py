"""The Fourier shell correlation of two whole maps, and what a mask adds to it.

FSC(k) = Re Σ F1 F2* / √(Σ |F1|² Σ |F2|²) over the waves of a shell (Harauz & van Heel 1986, Optik 73, 146). A mask
correlates shells with their neighbours, and so lends the signal of one to the noise of another. How much it lends is
seen where phases are made random beyond a frequency in both halves before they are masked: whatever correlation is left
there, FSC_n, is the mask's, and FSC = (FSC_t − FSC_n) / (1 − FSC_n) (Chen et al. 2013, Ultramicroscopy 135, 24).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from cryores_lite.fourier.fsc import FSC_CUT, Curve, correlation_terms, first_crossing
from cryores_lite.fourier.grids import add_shell_sums
from cryores_lite.fourier.spectrum import radius_planes
from cryores_lite.types import Lengths, Mask, Shape, Volume

RELIABLE = 0.8  # phases are made random where the FSC without a mask falls below this, as RELION does
SETTLED = 2  # shells after that in which the masked FSC still stands as it is, as in RELION
SOFT = 4.0  # Å, σ of a mask's edge
SEED = 135  # of the random phases: the same halves give the same answer


@dataclass(frozen=True, eq=False)
class Shells:
    """FSC curves of two half maps. All are (shells,); the last three are None without a mask.

    Attributes
    ----------
    frequencies : 1/Å
    unmasked, masked : as they are
    randomised : masked, with random phases
    corrected : masked, less what the mask adds
    """

    frequencies: Curve
    unmasked: Curve
    masked: Curve | None = None
    phase_randomised: Curve | None = None
    corrected: Curve | None = None

    @property
    def best(self) -> Curve:
        """The corrected curve, or where there is no mask the only one."""
        return self.unmasked if self.corrected is None else self.corrected

    def resolution(self, threshold: float = FSC_CUT) -> float:
        """Å, where the best curve falls below a threshold."""
        return float(first_crossing(self.best[:, None], self.frequencies, threshold)[0])


def shell_fsc(
    first: Volume, second: Volume, voxel_size: Lengths, mask: Volume | None = None, threads: int = 1
) -> Shells:
    """FSC of two half maps, shell by shell, with and without a mask.

    Parameters
    ----------
    first, second : (z, y, x), of one shape
    voxel_size : Å
    mask : (z, y, x) float32, 0 to 1; best with a soft edge
    """
    frequencies, unmasked = global_fsc(first, second, voxel_size, threads)
    if mask is None:
        return Shells(frequencies, unmasked)
    _, masked = global_fsc(first * mask, second * mask, voxel_size, threads)
    start = 1 / float(first_crossing(unmasked[:, None], frequencies, RELIABLE)[0])
    one, other = (
        phase_randomised(half, voxel_size, start, SEED + n, threads) for n, half in enumerate((first, second))
    )
    _, random = global_fsc(one * mask, other * mask, voxel_size, threads)
    return Shells(frequencies, unmasked, masked, random, without_mask(masked, random, frequencies, start))


def global_fsc(first: Volume, second: Volume, voxel_size: Lengths, threads: int = 1) -> tuple[Curve, Curve]:
    """Frequencies in 1/Å of shells as wide as the longest edge allows, up to Nyquist; and their FSC."""
    lengths, (one, other) = edges(first, voxel_size), (fft.rfftn(half, workers=threads) for half in (first, second))
    longest = max(lengths)
    last = int(longest / max(voxel_size) / 2 + 1e-6)
    sums = np.zeros((3, last + 2))
    for plane, k in enumerate(radius_planes(box_of(first), lengths)):
        shells = np.minimum(np.rint(k * longest), last + 1).astype(int)
        add_shell_sums(sums, shells, *correlation_terms(one[plane], other[plane]))
    cross, power, also = sums[:, 1:-1]
    frequencies: Curve = np.arange(1, last + 1) / longest
    return frequencies, cross / np.maximum(np.sqrt(power * also), 1e-30)


def without_mask(masked: Curve, random: Curve, frequencies: Curve, start: float) -> Curve:
    """A masked FSC less what the mask adds to it, from two shells after `start` (1/Å) on."""
    corrected = (masked - random) / np.maximum(1 - random, 1e-6)
    after = int(np.searchsorted(frequencies, start)) + SETTLED
    out: Curve = np.where(np.arange(len(masked)) >= after, corrected, masked)
    return out


def phase_randomised(values: Volume, voxel_size: Lengths, start: float, seed: int, threads: int = 1) -> Volume:
    """The map with random phases beyond `start` (1/Å), and all amplitudes as they were."""
    waves = fft.rfftn(values, workers=threads)
    rng = np.random.default_rng(seed)
    for plane, k in enumerate(radius_planes(box_of(values), edges(values, voxel_size))):
        beyond = k > start
        turns = rng.random(int(beyond.sum()), np.float32) * np.float32(2 * np.pi)
        waves[plane][beyond] *= np.cos(turns) + 1j * np.sin(turns)
    out: Volume = fft.irfftn(waves, s=values.shape, overwrite_x=True, workers=threads)
    return out


def box_of(values: Volume) -> Shape:
    """Voxels of a map."""
    z, y, x = values.shape
    return z, y, x


def edges(values: Volume, voxel_size: Lengths) -> Lengths:
    """Edges of a map's box, in Å."""
    z, y, x = (n * size for n, size in zip(values.shape, voxel_size, strict=True))
    return z, y, x


def soft_edge(mask: Mask, voxel_size: Lengths) -> Volume:
    """A mask that falls to zero within about 8 Å outside."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), [SOFT / v for v in voxel_size], truncate=3)
    soft *= 2
    out: Volume = np.minimum(soft, 1, out=soft)
    return out
