"""Detect half maps that were masked, estimate their mask, and measure the correlation that the mask adds.

Masked half maps hold a constant outside one region. The noise of half maps fades with the mask, and the difference of
half maps is noise alone. The mean square of the difference at each depth below the surface of the region, over that
further inside, is therefore the square of a soft mask. Local FSC divides the noise by the share of the mask in its
window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.spectrum import Spectrum, gaussian_gain, sample_density
from cryores_lite.half_maps.fsc_curves import global_fsc_and_waves, phase_randomised_fsc, randomisation_start
from cryores_lite.types import Lengths, Mask, Masking, Shape, Volume

CONSTANT_WITHIN = 1e-4  # of the standard deviation: voxels that differ less from the constant are masked out
MIN_OUTSIDE = 0.02  # share of the box that is constant in masked half maps
MAX_EDGE = 14  # voxels, of a soft edge
DEEPEST = MAX_EDGE + 2  # voxels; larger depths count as this one
DEEPEST_EDGE = 64  # voxels along the shortest edge in which the largest depth is searched
MAX_EDGE_SHARE = 1 / 3  # of the largest depth: noise that follows the molecule also rises towards the middle
MIN_EDGE_RISE = 1.15  # of the noise power over the next two voxels; less: the edge has ended
MIN_COVERAGE = 0.05  # share of the mask in a window by which noise is divided at least
MAX_MASK_FSC = 0.15  # that the mask alone adds at the resolution
MAX_UNEQUAL = 0.02  # share of the box that only one half map holds


def constant_outside(values: Volume) -> Mask | None:
    """Return the voxels with the value of the corners, if all corners have one value; else None."""
    corners = values[:: len(values) - 1, :: values.shape[1] - 1, :: values.shape[2] - 1]
    if np.ptp(corners) > CONSTANT_WITHIN * values.std():
        return None
    constant = np.median(corners)
    outside: Mask = np.abs(values - constant) <= CONSTANT_WITHIN * values.std()
    return outside if outside.mean() > MIN_OUTSIDE else None


def common_region(first: Volume, second: Volume) -> Mask | None:
    """Return the voxels that were not masked out, if both half maps were masked; else None.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    """
    outside = constant_outside(first)
    other = None if outside is None else constant_outside(second)
    if outside is None or other is None:
        return None
    region: Mask = ~(outside & other)
    return region


def estimated_mask(region: Mask, first: Volume, second: Volume) -> Volume:
    """Estimate the soft mask of two half maps from the noise at each depth inside their region.

    Parameters
    ----------
    region : (z, y, x) bool, from `common_region`
    first, second : (z, y, x) float32

    Returns
    -------
    (z, y, x) float32, 0 outside the region, rising to 1 inside
    """
    if not region.any():
        return region.astype(np.float32)
    depth = depth_inside(region)
    gain = np.float32(np.sqrt(_mean_square(first, region) / max(_mean_square(second, region), 1e-30)))
    count, power = np.zeros(DEEPEST + 1), np.zeros(DEEPEST + 1)
    for planes, one, other in zip(depth, first, second, strict=True):
        count += np.bincount(planes.ravel(), minlength=DEEPEST + 1)
        power += np.bincount(planes.ravel(), np.square(one - gain * other).ravel(), DEEPEST + 1)
    power /= np.maximum(count, 1)
    power[0] = 0
    last = max(1, min(MAX_EDGE, int(MAX_EDGE_SHARE * _largest_depth(region))))
    end = next((n for n in range(1, last) if power[n + 1 : n + 3].mean() < MIN_EDGE_RISE * power[n]), last)
    profile = np.minimum(power / max(float(power[end]), 1e-30), 1)
    profile[end:] = 1
    out: Volume = np.sqrt(profile).astype(np.float32)[depth]
    return out


def depth_inside(region: Mask) -> npt.NDArray[np.uint8]:
    """Return the distance of each voxel of a region from the outside, in voxels, rounded up, at most `DEEPEST`.

    Squared distances are minimised along one axis after the other (Saito & Toriwaki 1994, Pattern Recognit. 27, 1551),
    in a tenth of the memory of a distance transform without a limit.
    """
    squares = np.where(region, np.uint16(DEEPEST**2), np.uint16(0))
    for plane in np.moveaxis(squares, 1, 0):
        _nearest_along(plane, 0)
    for plane in squares:
        _nearest_along(plane, 0)
        _nearest_along(plane, 1)
    roots = np.minimum(np.ceil(np.sqrt(np.arange(DEEPEST**2 + 1))), DEEPEST).astype(np.uint8)
    return roots[squares]


def _nearest_along(squares: npt.NDArray[np.uint16], axis: int) -> None:
    """Replace squared distances in a plane by the least sum with the squared distance along one axis, in place."""
    lines = np.moveaxis(squares, axis, 0)
    before = lines.copy()
    for step in range(1, min(DEEPEST, len(lines))):
        moved = before + np.uint16(step**2)
        np.minimum(lines[step:], moved[:-step], out=lines[step:])
        np.minimum(lines[:-step], moved[step:], out=lines[:-step])


def _largest_depth(region: Mask) -> float:
    """Return the largest distance from the outside in voxels, from every n-th voxel of a large region."""
    every = max(1, min(region.shape) // DEEPEST_EDGE)
    sparse = region[::every, ::every, ::every]
    return float(every * np.ceil(ndimage.distance_transform_edt(sparse)).max())


def _mean_square(values: Volume, region: Mask) -> float:
    """Return the mean square of the values in a region."""
    total = sum(
        float(np.square(plane[inside], dtype=float).sum()) for plane, inside in zip(values, region, strict=True)
    )
    return total / np.count_nonzero(region)


def squared_mask_spectrum(mask: Volume, like: Spectrum, threads: int = 1) -> Spectrum:
    """Transform the square of a mask, mirrored into the padding of the half maps' periodic box.

    Parameters
    ----------
    mask : (z, y, x) float32, 0 to 1
    like : spectrum of a half map
    """
    pad = [(b, m - n - b) for n, m, b in zip(mask.shape, like.shape, like.before, strict=True)]
    waves = fft.rfftn(np.pad(np.square(mask), pad, mode="symmetric"), workers=threads)
    return Spectrum(waves, like.shape, like.lengths, like.before)


def coverage(squared_mask: Spectrum, sigma: float, shape: Shape, threads: int = 1) -> Volume:
    """Return the mean square of the mask in Gaussian windows of `sigma` Å, on a grid of `shape` points."""
    share = sample_density(squared_mask, shape, lambda k: gaussian_gain(k, sigma), threads)
    out: Volume = np.clip(share, MIN_COVERAGE, 1)
    return out


def mask_fsc_curve(
    first: Volume, second: Volume, mask: Volume, voxel_size: Lengths, threads: int = 1
) -> tuple[Curve, Curve]:
    """Measure the FSC that a mask alone adds, with random phases (Chen et al. 2013, Ultramicroscopy 135, 24).

    Parameters
    ----------
    first, second : (z, y, x) float32, masked half maps
    mask : (z, y, x) float32, their mask

    Returns
    -------
    frequencies : (shells,) 1/Å
    fsc : (shells,); 1 up to the frequency beyond which phases are random
    """
    frequencies, curve, waves = global_fsc_and_waves(first, second, voxel_size, threads)
    start = randomisation_start(frequencies, curve)
    return frequencies, phase_randomised_fsc(waves, mask, voxel_size, start, threads)


def measure_masking(
    first: Volume, second: Volume, voxel_size: Lengths, resolution: float, threads: int = 1
) -> Masking | None:
    """Measure how half maps were masked; None if they were not.

    Parameters
    ----------
    first, second : (z, y, x) float32
    voxel_size : Å
    resolution : Å, at which the FSC of the mask alone is wanted
    """
    outside = [constant_outside(values) for values in (first, second)]
    if outside[0] is None and outside[1] is None:
        return None
    shares = tuple(0.0 if part is None else float(part.mean()) for part in outside)
    one, other = (np.zeros(first.shape, bool) if part is None else part for part in outside)
    unequal = float((one ^ other).mean())
    region = ~(one & other)
    mask_fsc = 0.0
    if unequal <= MAX_UNEQUAL and np.isfinite(resolution):
        frequencies, curve = mask_fsc_curve(first, second, estimated_mask(region, first, second), voxel_size, threads)
        mask_fsc = float(np.interp(1 / resolution, frequencies, curve))
    return Masking(outside=(shares[0], shares[1]), unequal=unequal, mask_fsc=max(mask_fsc, 0.0))


def masking_warnings(masking: Masking | None) -> tuple[str, ...]:
    """Return a sentence that says how half maps were masked, and what that means."""
    if masking is None:
        return ()
    if masking.unequal > MAX_UNEQUAL:
        return (
            f"The half maps have different masks: {masking.unequal:.0%} of the box is constant in one of them only, "
            "and the resolution there is wrong. Pass the half maps before masking.",
        )
    share = f"The half maps were masked: {masking.outside[0]:.0%} of the box is constant."
    if masking.mask_fsc > MAX_MASK_FSC:
        return (
            f"{share} The mask alone gives an FSC of {masking.mask_fsc:.2f} at the resolution, so the resolution near "
            "its border is too fine. Pass the half maps before masking.",
        )
    return (f"{share} The mask adds {masking.mask_fsc:.2f} to the FSC at the resolution, which is little.",)
