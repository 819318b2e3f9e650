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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve, Waves, correlation_terms, first_crossing, squared_amplitude
from cryores_lite.fourier.grids import add_shell_sums
from cryores_lite.fourier.spectrum import radius_planes, total_power
from cryores_lite.types import Lengths, Mask, Shape, Volume

RANDOMISE_BELOW_FSC = 0.8  # phases are randomised beyond the shell where the unmasked FSC falls below, as in RELION
UNCORRECTED_SHELLS = 2  # first randomised shells, in which the masked FSC is not corrected, as in RELION
ABOVE = 1 + 1e-5  # times a frequency: beyond it, also if rounding errors depend on the axis
MAX_MASK_FSC = 0.15  # that the mask adds at the global resolution; more: directions are compared without it
MASK_EDGE_SIGMA = 4.0  # Å
PHASE_SEED = 135  # of the random phases: the same half maps give the same curves
UNIT_CIRCLE = np.exp(2j * np.pi * np.arange(1024) / 1024).astype(np.complex64)  # random phases are drawn from these
MIN_SOLVENT_NOISE = 0.05  # power of the noise outside the molecule / that of the box; less: it was masked away


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

    @property
    def mask_correlation(self) -> Curve:
        """The FSC (shells,) that the mask adds: that of random phases in the shells where it is corrected for."""
        if self.corrected is None or self.phase_randomised is None:
            return np.zeros_like(self.frequencies)
        return np.where(self.corrected == self.masked, 0.0, self.phase_randomised)

    @property
    def mask_adds_much(self) -> bool:
        """Whether the mask adds so much at the resolution that what it adds by direction matters."""
        return float(np.interp(1 / self.resolution(), self.frequencies, self.mask_correlation)) > MAX_MASK_FSC


@dataclass(frozen=True, eq=False, kw_only=True)
class PairWaves:
    """Transforms of two half maps and of their noise, from which the resolution by direction is measured.

    Attributes
    ----------
    shape : voxels of the box
    voxel_size : Å
    mask : (z, y, x) float32, with which the half maps were multiplied, or None
    one, other : (z, y, x//2 + 1) complex64, of the half maps, multiplied by the mask
    noise : the same for the difference of the half maps, outside the molecule if there is noise outside
    """

    shape: Shape
    voxel_size: Lengths
    mask: Volume | None
    one: Waves
    other: Waves
    noise: Waves


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
    return curves_and_waves(first, second, voxel_size, mask, threads)[0]


def curves_and_waves(
    first: Volume,
    second: Volume,
    voxel_size: Lengths,
    mask: Volume | None = None,
    threads: int = 1,
    release: Callable[[], None] | None = None,
) -> tuple[FscCurves, PairWaves]:
    """Measure the global FSC as `fsc_curves`, and return the transforms from which directions are measured.

    Parameters
    ----------
    release : called whenever the half maps have been read; frees their memory if they are mapped
    """
    release = release or _keep
    frequencies, unmasked, plain = global_fsc_and_waves(first, second, voxel_size, threads)
    release()
    shape, scale, noise = shape_of(first), *_difference(plain, shape_of(first))
    if mask is None:
        one, other = plain
        waves = PairWaves(shape=shape, voxel_size=voxel_size, mask=None, one=one, other=other, noise=noise)
        return FscCurves(frequencies=frequencies, unmasked=unmasked), waves
    start = randomisation_start(frequencies, unmasked)
    random = phase_randomised_fsc(plain, mask, voxel_size, start, threads)
    waves = _masked_waves(first, second, voxel_size, mask, scale, noise, threads)
    release()
    _, masked = fsc_of_waves(waves.one, waves.other, shape, voxel_size)
    curves = FscCurves(
        frequencies=frequencies,
        unmasked=unmasked,
        masked=masked,
        phase_randomised=random,
        corrected=corrected_for_mask(masked, random, frequencies, start),
    )
    if curves.mask_adds_much:
        waves = _without_mask(waves, first, second, threads)
        release()
    return curves, waves


def pair_waves(
    first: Volume, second: Volume, voxel_size: Lengths, mask: Volume | None, curves: FscCurves, threads: int = 1
) -> PairWaves:
    """Transform two half maps and their noise, as `curves_and_waves` does. `curves` are those with the mask."""
    shape, plain = shape_of(first), [fft.rfftn(half, workers=threads) for half in (first, second)]
    scale, noise = _difference(plain, shape)
    if mask is not None:
        del plain
        waves = _masked_waves(first, second, voxel_size, mask, scale, noise, threads)
        return _without_mask(waves, first, second, threads) if curves.mask_adds_much else waves
    one, other = plain
    return PairWaves(shape=shape, voxel_size=voxel_size, mask=None, one=one, other=other, noise=noise)


def _without_mask(waves: PairWaves, first: Volume, second: Volume, threads: int) -> PairWaves:
    """Replace the transforms of masked half maps by those without a mask; the noise is still that outside the mask."""
    one, other = (fft.rfftn(half, workers=threads) for half in (first, second))
    return replace(waves, mask=None, one=one, other=other)


def _keep() -> None:
    """Free nothing."""


def _difference(plain: list[Waves], shape: Shape) -> tuple[np.float32, Waves]:
    """Return the factor that gives the second half map the power of the first, and their difference with it."""
    one, other = plain
    scale = np.float32(np.sqrt(total_power(one, shape) / max(total_power(other, shape), 1e-30)))
    noise = np.multiply(other, -scale)
    noise += one
    return scale, noise


def _masked_waves(
    first: Volume,
    second: Volume,
    voxel_size: Lengths,
    mask: Volume,
    scale: np.float32,
    noise: Waves,
    threads: int,
) -> PairWaves:
    """Transform two masked half maps, and subtract their difference from that of the half maps, in place."""
    shape = shape_of(first)
    one, other = (fft.rfftn(half * mask, workers=threads) for half in (first, second))
    power, voxels = total_power(noise, shape), float(mask.size)
    outside_share = sum(float(np.square(1 - plane).sum()) for plane in mask) / voxels

    def add_masked(sign: np.float32) -> None:
        for plane, a, b in zip(noise, one, other, strict=True):
            plane += sign * (a - scale * b)

    add_masked(np.float32(-1))
    if total_power(noise, shape) <= MIN_SOLVENT_NOISE * power * outside_share:  # it was masked away
        add_masked(np.float32(1))
    return PairWaves(shape=shape, voxel_size=voxel_size, mask=mask, one=one, other=other, noise=noise)


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
    return global_fsc_and_waves(first, second, voxel_size, threads)[:2]


def global_fsc_and_waves(
    first: Volume, second: Volume, voxel_size: Lengths, threads: int = 1
) -> tuple[Curve, Curve, list[Waves]]:
    """Measure the FSC as `global_fsc`, and return the transforms that it took."""
    waves = [fft.rfftn(half, workers=threads) for half in (first, second)]
    return (*fsc_of_waves(waves[0], waves[1], shape_of(first), voxel_size), waves)


def fsc_of_waves(one: Waves, other: Waves, shape: Shape, voxel_size: Lengths) -> tuple[Curve, Curve]:
    """Measure the FSC of two maps of `shape` voxels from their transforms; results as of `global_fsc`."""
    planes = (correlation_terms(a, b) for a, b in zip(one, other, strict=True))
    frequencies, (cross, first_power, second_power) = shell_sums(planes, shape, voxel_size)
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
    waves: list[Waves], mask: Volume, voxel_size: Lengths, start: float, threads: int = 1
) -> Curve:
    """Return the expected FSC of two half maps with random phases beyond `start` (1/Å) in a mask.

    It is the same for half maps and a mask that are rotated by 90° or mirrored together.

    Parameters
    ----------
    waves : transforms of the half maps; the list is emptied, and they are overwritten
    mask : (z, y, x) float32, 0 to 1
    voxel_size : Å

    Returns
    -------
    (shells,), in the shells of `global_fsc`

    References
    ----------
    Chen et al. (2013), Ultramicroscopy 135, 24 (with one draw of phases).
    """
    shape = shape_of(mask)
    window = fft.irfftn(squared_amplitude(fft.rfftn(mask, workers=threads)), s=shape, workers=threads)
    masked, powers = [], []
    while waves:
        half = waves.pop(0)
        random = np.zeros(half.shape, np.float32)
        for plane, k in enumerate(radius_planes(shape, box_lengths(shape, voxel_size))):
            beyond = k > start * ABOVE
            random[plane][beyond] = squared_amplitude(half[plane][beyond])
            half[plane][beyond] = 0
        masked.append(fft.rfftn(fft.irfftn(half, s=shape, workers=threads) * mask, workers=threads))
        del half
        random = fft.irfftn(random, s=shape, workers=threads) * window
        powers.append(fft.rfftn(random, workers=threads).real / mask.size + squared_amplitude(masked[-1]))
    one, other = masked
    planes = (((one[n] * other[n].conj()).real, powers[0][n], powers[1][n]) for n in range(len(one)))
    cross, first_power, second_power = shell_sums(planes, shape, voxel_size)[1]
    out: Curve = cross / np.sqrt(np.maximum(first_power, 1e-30) * np.maximum(second_power, 1e-30))
    return out


def with_random_phases(waves: Waves, shape: Shape, voxel_size: Lengths, start: float, seed: int) -> Waves:
    """Turn the phases of a map's transform beyond `start` (1/Å) by random angles, in place."""
    rng = np.random.default_rng(seed)
    for plane, k in zip(waves, radius_planes(shape, box_lengths(shape, voxel_size)), strict=True):
        beyond = k > start * ABOVE
        turns = (rng.random(int(beyond.sum()), np.float32) * np.float32(len(UNIT_CIRCLE))).astype(np.int32)
        plane[beyond] *= UNIT_CIRCLE.take(turns, mode="clip")
    return waves


def masked_random_halves(
    waves: list[Waves], mask: Volume, voxel_size: Lengths, start: float, threads: int = 1
) -> Iterator[Volume]:
    """Mask two half maps with random phases beyond `start` (1/Å): what correlates there is the mask's.

    Parameters
    ----------
    waves : transforms of the half maps; the list is emptied, and they are overwritten
    mask : (z, y, x) float32
    voxel_size : Å
    """
    shape = shape_of(mask)
    for seed in (PHASE_SEED, PHASE_SEED + 1):
        random = with_random_phases(waves.pop(0), shape, voxel_size, start, seed)
        random = fft.ifftn(random, axes=(0, 1), overwrite_x=True, workers=threads)
        values = fft.irfft(random, n=shape[2], overwrite_x=True, workers=threads)
        del random
        values *= mask
        yield values
        del values  # before the next one is made


def shape_of(values: Volume) -> Shape:
    """Return the shape of a map as three numbers."""
    z, y, x = values.shape
    return z, y, x


def box_lengths(shape: Shape, voxel_size: Lengths) -> Lengths:
    """Return the edges of a map's box, in Å."""
    z, y, x = (n * size for n, size in zip(shape, voxel_size, strict=True))
    return z, y, x


def soft_mask(mask: Mask, voxel_size: Lengths) -> Volume:
    """Give a mask a soft edge: 1 inside, falling to 0 within about 8 Å outside."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), [MASK_EDGE_SIGMA / v for v in voxel_size], truncate=3)
    soft *= 2
    out: Volume = np.minimum(soft, 1, out=soft)
    return out
