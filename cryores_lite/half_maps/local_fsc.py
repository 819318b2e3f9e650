"""Local resolution from two half maps: the windowed Fourier shell correlation, band by band.

Of half maps V1 and V2 in a band, G is the mean with a Gaussian window, and g = √(Σ V1² / Σ V2²) makes up for the
halves' scale. They share nothing but the signal: its power is P_S = G(V1 g V2), the noise's in one half
P_N = G((V1 − g V2)²) / 2, and FSC = P_S / (P_S + P_N). Bands are Gaussian in |k| with a full width at half maximum of
0.15 f. The window has σ = 1.5/f, at least 4 Å, or is fixed; noise, which changes more slowly over space, is averaged
with twice that. docs/fsc_method.md has the equations and where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import Curve, Threshold, bands, first_crossing, fixed, interpolate_log
from cryores_lite.fourier.interpolation import interpolate, voxel_positions
from cryores_lite.fourier.local_power import Average, band_of, smooth, window
from cryores_lite.fourier.spectrum import Spectrum, grid_for, planes, transform
from cryores_lite.half_maps.fsc_curves import RELIABLE, SEED, global_fsc, phase_randomised
from cryores_lite.half_maps.independence import average, refuse_copies
from cryores_lite.method.crop import Box, cut, molecule_box, paste
from cryores_lite.resources import require
from cryores_lite.types import Density, Lengths, Shape, Volume

MARGIN = 30.0  # Å around the molecule
STEP = 1.12  # ratio of neighbouring bands that are measured, at most; a curve is interpolated between them
NOISE_WINDOW_RATIO = 2.0  # the window of the noise, in units of the signal's
LEAST = 1e-30
PER_VOXEL = 22.0  # bytes per voxel of the box: two spectra, a band of each, and what a transform needs
MASKED = 14.0  # more of them with a mask: its two halves with random phases


@dataclass(frozen=True, eq=False)
class LocalFsc:
    """What two half maps say of every place.

    Attributes
    ----------
    values : (z, y, x) float32, local resolution in Å everywhere in the molecule's box, 0 outside it
    frequencies : (bands,) 1/Å, up to the Nyquist frequency
    fsc : (bands, coarse z, y, x) float32, on a grid over the periodic box around the molecule
    """

    values: Volume
    frequencies: Curve
    fsc: Volume


def local_fsc(
    first: Density,
    second: Density,
    *,
    mask: Volume | None = None,
    threshold: Threshold | None = None,
    sigma: float | None = None,
    step: float = STEP,
    threads: int = 1,
) -> LocalFsc:
    """Local resolution from two half maps.

    Parameters
    ----------
    first, second : half maps on one grid
    mask : (z, y, x), 0 to 1, by which both halves are multiplied; what that adds to the FSC is measured with random
        phases (Chen et al. 2013, Ultramicroscopy 135, 24) and taken off. No mask is needed: windows are local.
    threshold : of a band's frequency (1/Å) and its window's σ (Å); 0.143 by default
    sigma : Å, of a fixed window; by default 1.5/f, at least 4 Å
    step : ratio of neighbouring bands that are measured, at most
    threads : CPU threads

    Raises
    ------
    InputError
        The grids differ, the maps are copies of one map, or the mask is none for them.
    NotEnoughMemory
        The maps will not fit.
    """
    check(first, second)
    if mask is not None:
        check_mask(mask, first.grid.shape)
    size = first.grid.voxel_size
    box = molecule_box(average(first.values, second.values), size, MARGIN)
    require(box.shape, PER_VOXEL if mask is None else PER_VOXEL + MASKED)
    halves = [cut(half.values, box) for half in (first, second)]
    seen = None if mask is None else cut(mask, box)
    spectra = [transform(half if seen is None else half * seen, size, threads) for half in halves]
    lengths = spectra[0].lengths
    frequencies = bands(spectra[0].nyquist, step)
    coarse = grid_for(lengths, min(sigma or window(f) for f in frequencies))
    first.release_pages()
    second.release_pages()
    fake = None if seen is None else phase_randomised_halves(halves, seen, size, threads)
    fsc = np.empty((len(frequencies), *coarse), np.float32)
    for n, f in enumerate(frequencies):
        fsc[n] = band_fsc(spectra, f, sigma or window(f), coarse, threads)
        if fake and f > fake[1]:
            added = band_fsc(fake[0], f, sigma or window(f), coarse, threads)
            fsc[n] = (fsc[n] - added) / np.maximum(1 - added, 1e-6)
    fine = bands(spectra[0].nyquist)
    cuts = np.array([(threshold or fixed())(float(f), sigma or window(f)) for f in fine])
    local = np.stack(
        [first_crossing(interpolate_log(plane, frequencies, fine), fine, cuts) for plane in fsc.swapaxes(0, 1)]
    )
    return LocalFsc(paste(off(local, spectra[0], box), box, first.grid.shape), frequencies, fsc)


def band_fsc(halves: list[Spectrum], frequency: float, sigma: float, shape: Shape, threads: int = 1) -> Volume:
    """FSC of one band on a coarse grid of `shape` points over the periodic box, 0 where it would be negative."""
    one, other = (band_of(half, frequency, threads) for half in halves)
    whole, lengths = one.shape, one.lengths
    scale = np.float32(np.sqrt(power(one.waves, whole) / max(power(other.waves, whole), LEAST)))
    there = np.empty(whole, np.float32)
    planes(one, there.__setitem__, threads)
    common, apart = Average(whole, lengths, sigma, shape), Average(whole, lengths, sigma, shape)

    def take(part: slice, wave: Volume) -> None:
        wave *= scale
        common.add(part, there[part] * wave)
        wave -= there[part]
        apart.add(part, np.square(wave, out=wave))

    planes(other, take, threads)
    signal, noise = (
        common.values(),
        smooth(apart.values(), lengths, float(np.sqrt(NOISE_WINDOW_RATIO**2 - 1)) * sigma, shape),
    )
    noise /= 2
    fsc: Volume = signal / np.maximum(signal + noise, np.float32(LEAST))
    return fsc


def power(waves: npt.NDArray[np.complex64], shape: Shape) -> float:
    """Sum of the squares of all waves, of which a real transform holds half."""
    edges = [waves[..., 0], waves[..., -1]] if shape[2] % 2 == 0 else [waves[..., 0]]
    return 2 * float(np.vdot(waves, waves).real) - sum(float(np.vdot(edge, edge).real) for edge in edges)


def phase_randomised_halves(
    halves: list[Volume], mask: Volume, voxel_size: Lengths, threads: int = 1
) -> tuple[list[Spectrum], float]:
    """Masked halves whose phases are random from where their FSC without a mask falls below 0.8; and that in 1/Å."""
    frequencies, curve = global_fsc(halves[0], halves[1], voxel_size, threads)
    start = 1 / float(first_crossing(curve[:, None], frequencies, RELIABLE)[0])
    fakes = [phase_randomised(half, voxel_size, start, SEED + n, threads) * mask for n, half in enumerate(halves)]
    return [transform(fake, voxel_size, threads) for fake in fakes], start


def off(local: Volume, spectrum: Spectrum, box: Box) -> Volume:
    """A coarse field over the periodic box, at the voxels of the crop."""
    values: Volume = interpolate(local[None], voxel_positions(box.shape, spectrum.before, spectrum.shape, local.shape))[
        0
    ]
    return values


def check(first: Density, second: Density) -> float:
    """Refuse what are no two half maps of one reconstruction; return how alike they are.

    Raises
    ------
    InputError
        The grids differ, or the maps are copies of one map.
    """
    if first.grid != second.grid:
        found, other = (f"{d.grid.shape} voxels of {d.grid.voxel_size[0]:.4g} Å" for d in (first, second))
        raise InputError(
            "the half maps do not match",
            found=f"{found} and {other}",
            expected="one grid",
            try_="pass both halves of one reconstruction, neither cropped nor binned",
        )
    return refuse_copies(first.values, second.values)


def check_mask(mask: Volume, shape: Shape) -> None:
    """Refuse what is no mask of half maps.

    Raises
    ------
    InputError
        It has another shape, is empty, or holds values that are not from 0 to 1.
    """
    lies = mask.shape == shape
    low, high = (float(mask.min()), float(mask.max())) if lies else (0.0, 0.0)
    if not lies or not (low >= 0 and 0 < high <= 1):
        raise InputError(
            "this is no mask of the half maps",
            found=f"values from {low:.4g} to {high:.4g}" if lies else f"an array of shape {mask.shape}",
            expected=f"{shape} values from 0 to 1, some above 0",
            try_="pass a mask on the half maps' grid, 1 in the molecule",
        )
