"""Editing of finished maps: local sharpening, enhancement, clipping, stored precision, composites.

Editing changes what a map looks like, and no truth: the data behind the map stay the same. `EDITINGS` names the kinds
that a map is labelled with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.local_power import smooth
from cryores_lite.fourier.spectrum import low_pass, radius
from cryores_lite.types import Lengths, Mask, Volume
from training.maps.processing import sharpening_gain, vary_filter
from training.maps.recipe import Recipe, choose, draw_log

Curve = npt.NDArray[np.float64]
Profile = Callable[[Curve], Curve]

BAND_RATIO = 1.4  # of neighbouring bands that are sharpened apart
MOLECULE_PERCENTILE = 95  # of a band's local rms, that of the molecule
EMPTY_BAND = 1e-4  # of the strongest band's rms; a low-pass leaves less, and rounding errors are not amplified
TURN_PEAK = (0.1, 0.03, 0.6)  # centre and width in 1/Å, and height, of the peak from helices in protein's amplitudes
VISIBLE_ROUNDING = 0.1  # share of the rounding errors in the power of a Fourier shell that makes precision low


# local sharpening


def sharpen_locally(
    values: Volume,
    lengths: Lengths,
    local: Volume,
    resolution: float,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Volume, float]:
    """Sharpen a map locally, in one of the ways of ``recipe.local_sharpening``, and sometimes low-pass it afterwards.

    Parameters
    ----------
    values : (z, y, x)
    lengths : edges of the periodic box, Å
    local : coarse (z, y, x), local resolution in Å
    resolution : Å, global resolution

    Returns
    -------
    The map, of variance 1, and the resolution in Å at which it was low-passed (0 if it was not).
    """
    kind = choose(recipe.local_sharpening, rng)
    sigma = draw_log(recipe.sharpening_window, rng)
    floor = rng.uniform(*recipe.sharpening_floor) if rng.random() < recipe.floor_of_local_sharpening else 0.0
    k = radius(values.shape, lengths)
    if kind == "whole":
        out = even_amplitude(values, lengths, sigma, floor, rng.uniform(0.6, 1.0))
    elif kind == "local B":
        out = sharpen_by_resolution(values, k, local, rng.uniform(4, 16))
    elif kind == "profile":
        b = rng.uniform(0, 3) * resolution**2
        out = even_bands(values, lengths, max(sigma, 8.0), max(floor, 0.05), lambda f: protein_profile(f, b))
    else:
        out = even_bands(values, lengths, sigma, floor, np.ones_like if kind == "flat bands" else None)
    limit = 0.0
    if rng.random() < recipe.low_pass_of_local_sharpening:
        limit = resolution * rng.uniform(0.8, 1.1)
        out = fft.irfftn(fft.rfftn(out) * low_pass(k, 1 / limit, rng.choice([0.5, 2.0]) * k[0, 0, 1]), s=out.shape)
    return out / out.std(), limit


def sharpened_bands(values: Volume, lengths: Lengths, sigma: float) -> Curve:
    """Centres in 1/Å, up to Nyquist, of bands whose waves are at most twice as long as the window of `sigma` Å."""
    nyquist = min(n / length for n, length in zip(values.shape, lengths, strict=True)) / 2
    first = min(1 / (2 * sigma), nyquist / 2)
    return np.geomspace(first, nyquist, int(np.ceil(np.log(nyquist / first) / np.log(BAND_RATIO))) + 1)


def bands_of(values: Volume, lengths: Lengths, frequencies: Curve) -> Iterator[Volume]:
    """Split a map into bands about rising frequencies (1/Å); their sum is the map."""
    waves, k = fft.rfftn(values), radius(values.shape, lengths)
    position = np.interp(np.log(np.maximum(k, 1e-9)), np.log(frequencies), np.arange(len(frequencies)))
    for n in range(len(frequencies)):
        yield fft.irfftn(waves * np.clip(1 - np.abs(position - n), 0, 1).astype(np.float32), s=values.shape)


def even_bands(values: Volume, lengths: Lengths, sigma: float, floor: float, profile: Profile | None = None) -> Volume:
    """Divide each band of a map by its own local rms.

    Parameters
    ----------
    values, lengths : the map, and the edges of its periodic box in Å
    sigma : Å, of the window of the local rms
    floor : smallest rms by which a band is divided, as a share of its rms in the molecule; with 0, solvent becomes as
        strong as the molecule
    profile : rms of the bands at given frequencies (1/Å) in the result, as LocScale's reference; by default, each band
        keeps its rms in the molecule
    """
    frequencies = sharpened_bands(values, lengths, sigma)
    target = profile(frequencies) if profile else None
    empty = EMPTY_BAND * float(values.std())
    out = np.zeros_like(values)
    for n, band in enumerate(bands_of(values, lengths, frequencies)):
        rms = np.sqrt(smooth(band**2, lengths, sigma, values.shape))
        in_molecule = max(float(np.percentile(rms, MOLECULE_PERCENTILE)), empty)
        gain = np.float32(in_molecule if target is None else target[n])
        out += band * (gain / np.maximum(rms, max(floor * in_molecule, empty)))
    return out


def protein_profile(frequencies: Curve, b: float) -> Curve:
    """Rms of log-spaced bands of a protein with a B factor in Å²: flat amplitudes with a peak from helices."""
    centre, width, height = TURN_PEAK
    peak = 1 + height * np.exp(-(((frequencies - centre) / width) ** 2))
    return np.asarray(frequencies**1.5 * peak * np.exp(-b * frequencies**2 / 4))


def even_amplitude(values: Volume, lengths: Lengths, sigma: float, floor: float, strength: float) -> Volume:
    """Divide a map by a power of its local rms, whatever the frequency. Arguments as in `even_bands`."""
    rms = np.sqrt(smooth(values**2, lengths, sigma, values.shape))
    lowest = max(floor, EMPTY_BAND) * float(np.percentile(rms, MOLECULE_PERCENTILE))
    return (values / np.maximum(rms, lowest) ** strength).astype(np.float32)


def sharpen_by_resolution(values: Volume, k: Volume, local: Volume, strength: float) -> Volume:
    """Sharpen a map at every voxel by a B factor of `strength` times its local resolution squared."""
    return vary_filter(values, local, lambda cut: sharpening_gain(k, strength * cut**2, 1 / cut))


# clipping


def contour_level(values: Volume, voxels: int) -> float:
    """The level, at least 0, above which a map has a number of voxels."""
    last = int(np.clip(values.size - voxels, 0, values.size - 1))
    return max(float(np.partition(values, last, axis=None)[last]), 0.0)


def clip_below(values: Volume, level: float, *, subtract: bool = False) -> Volume:
    """Set a map to 0 below a contour level; with `subtract`, the level is subtracted from the values above."""
    return np.where(values >= level, values - np.float32(level if subtract else 0), 0).astype(np.float32)


def clip_above(values: Volume, level: float) -> Volume:
    """Cut a map off at a level, as a narrow range of stored values does."""
    return np.minimum(values, np.float32(level))


def clip(values: Volume, mask: Mask, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Clip a map in one of the ways of ``recipe.clipping``; `mask` is its molecule."""
    kind, molecule = choose(recipe.clipping, rng), int(mask.sum())
    if kind == "contour":
        level = contour_level(values, int(rng.uniform(*recipe.contour_volume) * molecule))
        return clip_below(values, level, subtract=rng.random() < recipe.contour_subtracted)
    if kind == "top":
        return clip_above(values, contour_level(values, max(int(rng.uniform(0.01, 0.08) * molecule), 1)))
    return clip_below(values, 0.0)


# enhancement


def soft_contour(values: Volume, lengths: Lengths, sigma: float, voxels: int, edge: float) -> Volume:
    """A mask from 0 to 1 of the map smoothed by `sigma` Å, above the contour that encloses a number of voxels.

    The contour is at least a twentieth of the highest value, so that solvent near 0 is left out. The mask is blurred
    by `edge` Å.
    """
    smoothed = smooth(values, lengths, sigma, values.shape)
    level = max(contour_level(smoothed, voxels), 0.05 * float(smoothed.max()))
    inside = (smoothed > level).astype(np.float32)
    return np.minimum(smooth(inside, lengths, edge, values.shape), 1)


def with_gamma(values: Volume, gamma: float) -> Volume:
    """Raise the values of a map without negatives to a power; the highest value stays."""
    top = max(float(values.max()), 1e-20)
    out: Volume = top * (values / top) ** np.float32(gamma)
    return out


def match_histogram(values: Volume, reference: Volume) -> Volume:
    """Give the positive values of a map, in their order, the distribution of a sorted reference; the others stay."""
    positive = np.flatnonzero(values > 0)
    order = positive[np.argsort(values.ravel()[positive])]
    out = values.copy().ravel()
    ranks = (np.arange(len(order)) + 0.5) / max(len(order), 1)
    out[order] = np.interp(ranks, np.linspace(0, 1, len(reference)), reference)
    return out.reshape(values.shape)


def heavy_tail(rng: np.random.Generator) -> Volume:
    """A sorted, heavy-tailed distribution of positive values, like those of enhanced maps."""
    quantiles: Volume = np.sort(rng.gamma(rng.uniform(0.4, 1.5), size=2000)).astype(np.float32)
    return quantiles


def enhance(
    values: Volume,
    lengths: Lengths,
    mask: Mask,
    resolution: float,
    noise_free: Volume,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Volume:
    """Enhance a sharpened map: own soft mask, clipped negatives, gamma or another histogram.

    Networks such as deepEMhancer make maps that look like this. `mask` is the molecule, and `noise_free` holds the
    sorted positive values of its density.
    """
    volume = int(rng.uniform(*recipe.enhanced_volume) * mask.sum())
    sigma, edge = rng.uniform(0.5, 1.2) * resolution, rng.uniform(0.1, 0.5) * resolution
    out = clip_below(values * soft_contour(values, lengths, sigma, volume, edge), 0.0)
    if rng.random() < recipe.matched_histogram:
        return match_histogram(out, heavy_tail(rng) if rng.random() < 0.5 else noise_free)
    return with_gamma(out, draw_log(recipe.gamma, rng))


# stored precision


def as_float16(values: Volume) -> Volume:
    """A map stored as 16-bit floating-point numbers (MRC mode 12)."""
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16).astype(np.float32)


def as_integers(values: Volume, low: float, high: float, levels: int) -> Volume:
    """A map cut off at two values and rounded to a number of equal steps between them; 0 stays 0."""
    step = max(high - low, 1e-20) / levels
    return (np.round(np.clip(values, low, high) / step) * step).astype(np.float32)


def without_negatives(values: Volume) -> Volume:
    """A map shifted so that its lowest value is 0, as unsigned numbers need it."""
    return values - values.min()


def store(values: Volume, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Store a map with low precision, in one of the formats of ``recipe.storing``."""
    kind = choose(recipe.storing, rng)
    if kind == "float16":
        return as_float16(values)
    low, high = float(values.min()), float(values.max())
    if rng.random() < recipe.cut_off_when_stored:
        reach = rng.uniform(4, 12) * float(values.std())
        low, high = max(low, -reach), min(high, reach)
    levels = int(draw_log((200, 20000), rng)) if kind == "int16" else 255
    rounded = as_integers(values, low, high, levels)
    return without_negatives(rounded) if kind == "uint8" else rounded


def rounding_is_visible(values: Volume, rounded: Volume) -> bool:
    """Whether rounding errors are a visible part of any Fourier shell of a map below its Nyquist frequency."""
    shortest = min(values.shape)
    z, y, x = (float(n) for n in values.shape)
    shells = np.round(radius(values.shape, (z, y, x)) * shortest).astype(int).ravel()
    power, error_power = (
        np.bincount(shells, (np.abs(fft.rfftn(v)) ** 2).ravel())[1 : shortest // 2] for v in (rounded, rounded - values)
    )
    return bool((error_power > VISIBLE_ROUNDING * power).any())


# composites


def merge(first: Volume, second: Volume, region: Volume) -> Volume:
    """Take the second map in a region (0 to 1) and the first elsewhere."""
    return first + region * (second - first)


def edit_region(values: Volume, k: Volume, region: Volume, resolution: float, rng: np.random.Generator) -> Volume:
    """Give a region of a map another gain and another sharpening, as in a composite of focused refinements."""
    b, gain = rng.uniform(-8, 8) * resolution**2, np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    other = fft.irfftn(fft.rfftn(values) * sharpening_gain(k, b, 1 / resolution), s=values.shape)
    return merge(values, other * gain * (values.std() / max(float(other.std()), 1e-20)), region)
