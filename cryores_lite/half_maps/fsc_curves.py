"""Global Fourier shell correlation of two half maps, corrected for the mask.

FSC(k) = Re Σ F1 F2* / √(Σ |F1|² Σ |F2|²) over the Fourier coefficients of a shell (Harauz & van Heel 1986, Optik 73,
146). Multiplication by a mask correlates neighbouring shells and so raises the FSC. Phase randomisation measures by how
much: the phases of both half maps are made random beyond a frequency before the mask is applied, and any correlation
FSC_n that remains there comes from the mask. The corrected curve is FSC = (FSC_t − FSC_n) / (1 − FSC_n), where FSC_t is
the masked one (Chen et al. 2013, Ultramicroscopy 135, 24).

One draw of phases varies by 1/√(2n) with the n independent waves of a shell, which moves the corrected FSC of a small
molecule far, and differently for each orientation of the axes. So FSC_n is the expected value. Below the frequency,
both half maps keep their waves L, and the waves of L in the mask m correlate. The random waves R in the mask correlate
with nothing; their expected power is |R|² convolved with |m|² in Fourier space.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve, correlation_terms, first_crossing
from cryores_lite.fourier.grids import add_shell_sums
from cryores_lite.fourier.spectrum import radius_planes
from cryores_lite.types import Lengths, Mask, Shape, Volume

RANDOMISE_BELOW_FSC = 0.8  # phases are randomised beyond the shell where the unmasked FSC falls below, as in RELION
UNCORRECTED_SHELLS = 2  # first randomised shells, in which the masked FSC is not corrected, as in RELION
ABOVE = 1 + 1e-5  # times a frequency: beyond it, also if rounding errors depend on the axis
MASK_EDGE_SIGMA = 4.0  # Å
PHASE_SEED = 135  # of the random phases: the same half maps give the same curves


@dataclass(frozen=True, eq=False, kw_only=True)
class FscCurves:
    """Global FSC curves of two half maps.

    Attributes
    ----------
    frequencies : (shells,) 1/Å
    unmasked : (shells,) FSC of the half maps
    masked : (shells,) FSC of the masked half maps; None without a mask, like the two below
    phase_randomised : (shells,) FSC of the masked half maps with random phases
    corrected : (shells,) masked FSC, corrected for the mask
    """

    frequencies: Curve
    unmasked: Curve
    masked: Curve | None = None
    phase_randomised: Curve | None = None
    corrected: Curve | None = None

    @property
    def best(self) -> Curve:
        """The corrected curve, or the unmasked one without a mask."""
        return self.unmasked if self.corrected is None else self.corrected

    def resolution(self, threshold: float = FSC_THRESHOLD) -> float:
        """Return the resolution (Å) at which the best curve falls below a threshold."""
        return float(first_crossing(self.best[:, None], self.frequencies, threshold)[0])


def fsc_curves(
    first: Volume, second: Volume, voxel_size: Lengths, mask: Volume | None = None, threads: int = 1
) -> FscCurves:
    """Measure the global FSC of two half maps, with and without a mask.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å
    mask : (z, y, x) float32, 0 to 1, preferably with a soft edge
    threads : CPU threads
    """
    frequencies, unmasked = global_fsc(first, second, voxel_size, threads)
    if mask is None:
        return FscCurves(frequencies=frequencies, unmasked=unmasked)
    _, masked = global_fsc(first * mask, second * mask, voxel_size, threads)
    start = randomisation_start(frequencies, unmasked)
    random = phase_randomised_fsc(first, second, mask, voxel_size, start, threads)
    return FscCurves(
        frequencies=frequencies,
        unmasked=unmasked,
        masked=masked,
        phase_randomised=random,
        corrected=corrected_for_mask(masked, random, frequencies, start),
    )


def global_fsc(first: Volume, second: Volume, voxel_size: Lengths, threads: int = 1) -> tuple[Curve, Curve]:
    """Measure the FSC of two maps in shells up to the Nyquist frequency.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å

    Returns
    -------
    frequencies : (shells,) 1/Å, multiples of one over the longest edge of the box
    fsc : (shells,)
    """
    one, other = (fft.rfftn(half, workers=threads) for half in (first, second))
    planes = (correlation_terms(one[n], other[n]) for n in range(len(one)))
    frequencies, (cross, first_power, second_power) = shell_sums(planes, shape_of(first), voxel_size)
    return frequencies, cross / np.maximum(np.sqrt(first_power * second_power), 1e-30)


def shell_sums(
    planes: Iterable[Sequence[npt.NDArray[np.floating]]], shape: Shape, voxel_size: Lengths
) -> tuple[Curve, Curve]:
    """Sum three real fields of the waves of a real transform over shells up to the Nyquist frequency.

    A real transform holds both waves of a pair k, −k where the frequency along x is 0 or at Nyquist, and one elsewhere.
    Every pair counts alike, so that the sums do not depend on which axis is x.

    Parameters
    ----------
    planes : the three fields of each plane along z, overwritten
    shape : voxels of the map
    voxel_size : Å

    Returns
    -------
    frequencies : (shells,) 1/Å, multiples of one over the longest edge of the box
    sums : (3, shells)
    """
    z, y, x = (n * size for n, size in zip(shape, voxel_size, strict=True))
    longest = max(z, y, x)
    last = int(longest / max(voxel_size) / 2 + 1e-6)
    sums = np.zeros((3, last + 2))
    twice = [0, -1] if shape[2] % 2 == 0 else [0]
    for k, fields in zip(radius_planes(shape, (z, y, x)), planes, strict=True):
        for field in fields:
            field[:, twice] /= 2
        add_shell_sums(sums, np.minimum(np.rint(k * longest), last + 1).astype(int), *fields)
    frequencies: Curve = np.arange(1, last + 1) / longest
    return frequencies, sums[:, 1:-1]


def randomisation_start(frequencies: Curve, unmasked: Curve) -> float:
    """Return the frequency (1/Å) from which phases are made random: there the unmasked FSC falls below 0.8."""
    return 1 / float(first_crossing(unmasked[:, None], frequencies, RANDOMISE_BELOW_FSC)[0])


def corrected_for_mask(masked: Curve, random: Curve, frequencies: Curve, start: float) -> Curve:
    """Correct a masked FSC by the one with random phases, from two shells after `start` (1/Å) on."""
    corrected = (masked - random) / np.maximum(1 - random, 1e-6)
    first_corrected = int(np.searchsorted(frequencies, start)) + UNCORRECTED_SHELLS
    out: Curve = np.where(np.arange(len(masked)) >= first_corrected, corrected, masked)
    return out


def phase_randomised_fsc(
    first: Volume, second: Volume, mask: Volume, voxel_size: Lengths, start: float, threads: int = 1
) -> Curve:
    """Return the expected FSC of two half maps with random phases beyond `start` (1/Å) in a mask.

    It is the same for half maps and a mask that are rotated by 90° or mirrored together.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    mask : (z, y, x) float32, 0 to 1
    voxel_size : Å

    Returns
    -------
    (shells,), in the shells of `global_fsc`

    References
    ----------
    Chen et al. (2013), Ultramicroscopy 135, 24 (with one draw of phases).
    """
    shape = shape_of(first)
    window = fft.irfftn(np.abs(fft.rfftn(mask, workers=threads)) ** 2, s=shape, workers=threads)
    masked, powers = [], []
    for half in (first, second):
        waves = fft.rfftn(half, workers=threads)
        random = np.zeros(waves.shape, np.float32)
        for plane, k in enumerate(radius_planes(shape, box_lengths(half, voxel_size))):
            beyond = k > start * ABOVE
            random[plane][beyond] = np.abs(waves[plane][beyond]) ** 2
            waves[plane][beyond] = 0
        masked.append(fft.rfftn(fft.irfftn(waves, s=shape, workers=threads) * mask, workers=threads))
        random = fft.irfftn(random, s=shape, workers=threads) * window
        powers.append(fft.rfftn(random, workers=threads).real / half.size + np.abs(masked[-1]) ** 2)
    one, other = masked
    planes = (((one[n] * other[n].conj()).real, powers[0][n], powers[1][n]) for n in range(len(one)))
    cross, first_power, second_power = shell_sums(planes, shape, voxel_size)[1]
    out: Curve = cross / np.sqrt(np.maximum(first_power, 1e-30) * np.maximum(second_power, 1e-30))
    return out


def phase_randomised(values: Volume, voxel_size: Lengths, start: float, seed: int, threads: int = 1) -> Volume:
    """Return a map with random phases beyond `start` (1/Å) and unchanged amplitudes.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å
    """
    coefficients = fft.rfftn(values, workers=threads)
    rng = np.random.default_rng(seed)
    for plane, k in enumerate(radius_planes(shape_of(values), box_lengths(values, voxel_size))):
        beyond = k > start * ABOVE
        angles = rng.random(int(beyond.sum()), np.float32) * np.float32(2 * np.pi)
        coefficients[plane][beyond] *= np.cos(angles) + 1j * np.sin(angles)
    out: Volume = fft.irfftn(coefficients, s=values.shape, overwrite_x=True, workers=threads)
    return out


def masked_random_halves(
    first: Volume, second: Volume, mask: Volume, voxel_size: Lengths, start: float, threads: int = 1
) -> tuple[Volume, Volume]:
    """Mask two half maps with random phases beyond `start` (1/Å): what correlates there is the mask's."""
    one, other = (
        phase_randomised(half, voxel_size, start, PHASE_SEED + n, threads) * mask
        for n, half in enumerate((first, second))
    )
    return one, other


def shape_of(values: Volume) -> Shape:
    """Return the shape of a map as three numbers."""
    z, y, x = values.shape
    return z, y, x


def box_lengths(values: Volume, voxel_size: Lengths) -> Lengths:
    """Return the edges of a map's box, in Å."""
    z, y, x = (n * size for n, size in zip(values.shape, voxel_size, strict=True))
    return z, y, x


def soft_mask(mask: Mask, voxel_size: Lengths) -> Volume:
    """Give a mask a soft edge: 1 inside, falling to 0 within about 8 Å outside."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), [MASK_EDGE_SIGMA / v for v in voxel_size], truncate=3)
    soft *= 2
    out: Volume = np.minimum(soft, 1, out=soft)
    return out
