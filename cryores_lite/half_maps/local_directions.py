"""Local resolution by direction, from the noise of half maps in cones.

The noise of the half maps, V1 − V2, is filtered to a band and to six cones, and its power is averaged in a Gaussian
window of twice the width of the local FSC. The power in a cone / that in all cones is the relative noise of a direction
at a place. As in `directions`, the signal has the same power in all directions, so that helices and sheets, which
scatter more in some directions, do not count as missing views.

Six noisy cones always differ. Their departure from the directions of the whole map is described by a quadratic form
(spherical harmonics of order 2), which is shrunk by its expected size for noise of one power, from the number of waves
in window, band and cone (James & Stein 1961); what noise explains in 19 of 20 places becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import fft

from cryores_lite.fourier.fsc import Curve, bands, first_crossing, interpolate_log, waves_in_window
from cryores_lite.fourier.local_power import BAND_WIDTH, GaussianAverage, filter_to_band, smooth, window_sigma
from cryores_lite.fourier.spectrum import Spectrum, inverse_transform, transform
from cryores_lite.half_maps.cones import cone_weights, icosahedral_axes, quadratic_form, quadratic_terms
from cryores_lite.half_maps.direction_sums import cell_areas, cell_indices
from cryores_lite.half_maps.directions import noise_of_cells
from cryores_lite.half_maps.fsc_curves import shape_of
from cryores_lite.half_maps.local_fsc import MOLECULE_MARGIN, LocalFsc, checked_local_fsc, interpolate_to_voxels
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.method.crop import cut, molecule_box, paste
from cryores_lite.types import Density, Directions, Lengths, Mask, Shape, Volume, without_offset

LOCAL_AXES = 6  # the fivefold axes of an icosahedron
LOCAL_CONE_POWER = 8
LOCAL_CONE_LOSS = 0.695  # of a spherical harmonic of order 2, by the mean over one of these cones
WINDOW_RATIO = 2.0  # σ of the window, over σ of the window of the local FSC
BANDS_AROUND = (0.65, 0.77, 0.91, 1.07, 1.26)  # bands, in units of 1 / median local resolution
MAX_LOCAL_RATIO = 3.0  # of the resolution in any direction to that of all directions
CHANCE_LEVEL = 11.07  # of χ² with 5 degrees of freedom, exceeded by chance in 1 of 20 places


@dataclass(frozen=True, eq=False)
class LocalDirections:
    """Local resolution by direction, on the grid of the half maps; 0 outside the mask.

    Attributes
    ----------
    worst : (z, y, x) float32, Å, in the worst direction
    anisotropy : (z, y, x) float32, resolution in the worst direction / that in the best one
    """

    worst: Volume
    anisotropy: Volume


def measure_local_directions(
    first: Density, second: Density, mask: Mask, directions: Directions, local: LocalFsc, threads: int = 1
) -> LocalDirections:
    """Measure local resolution by direction.

    Parameters
    ----------
    first, second : half maps on one grid
    mask : (z, y, x) bool, the molecule
    directions : resolution of the whole map by direction
    local : local FSC of the half maps, without regard to direction
    threads : CPU threads
    """
    inside = mask & (local.values > 0)
    if not inside.any():
        return LocalDirections(np.zeros_like(local.values), np.zeros_like(local.values))
    median = float(np.median(local.values[inside]))
    if directions.significant and np.ptp(directions.noise) == 0:  # the noise does not show the missing views
        local = checked_local_fsc(first, second, threads=threads)  # at 0.143, as below
        return constant_directions(local.values, inside, directions)
    noise = directions.noise if directions.significant else np.ones(len(directions.axes))
    halves = [Density(without_offset(half.values), half.grid) for half in (first, second)]
    if directions.significant:
        halves = [whitened(half, directions, threads) for half in halves]
        local = checked_local_fsc(halves[0], halves[1], threads=threads)
    (one, factor), (other, _) = scaled_down(halves[0]), scaled_down(halves[1])
    voxel_size = one.grid.voxel_size
    densities = [without_offset(half.values) for half in (one, other)]
    box = molecule_box(densities[0], voxel_size, MOLECULE_MARGIN, densities[1])
    difference = transform(noise_map(cut(densities[0], box), cut(densities[1], box)), voxel_size, threads)
    coarse = shape_of(local.fsc[0])
    departure = noise_departure(difference, factor / median, coarse, threads)
    lowest, highest = extreme_noise(departure, directions.axes, noise)
    gain = float(cell_areas() @ (1 / noise_of_cells(directions.axes, noise)))
    measured, fine = local.frequencies * factor, bands(difference.nyquist)
    best, worst = (
        np.stack(
            [
                crossing_with_noise(interpolate_log(plane, measured, fine), fine, gain * level)
                for plane, level in zip(local.fsc.swapaxes(0, 1), extreme, strict=True)
            ]
        )
        for extreme in (lowest, highest)
    )
    weight = local.fsc.sum(0)  # near 0 outside the molecule
    sigma = WINDOW_RATIO * window_sigma(factor / median)
    ratio = smooth(weight * worst / best, difference.lengths, sigma, coarse)
    ratio /= np.maximum(smooth(weight, difference.lengths, sigma, coarse), 1e-6)
    shape = first.grid.shape
    worst_values, ratio = (
        paste(interpolate_to_voxels(values, difference, box), box, shape) for values in (factor * worst, ratio)
    )
    return LocalDirections(
        np.where(inside, worst_values, 0).astype(np.float32),
        np.where(inside, np.maximum(ratio, 1), 0).astype(np.float32),
    )


def noise_map(first: Volume, second: Volume) -> Volume:
    """Return the difference of two half maps of one scale."""
    scale = np.float32(np.sqrt(np.vdot(first, first) / max(float(np.vdot(second, second)), 1e-30)))
    difference: Volume = first - scale * second
    return difference


def constant_directions(values: Volume, inside: Mask, directions: Directions) -> LocalDirections:
    """Give every voxel the ratios between directions of the whole map; `values` are local resolution, Å."""
    resolutions = directions.views.resolutions
    factor = float(resolutions[2] / np.exp(np.log(resolutions).mean()))
    return LocalDirections(
        np.where(inside, factor * values, 0).astype(np.float32),
        np.where(inside, directions.views.ratio, 0).astype(np.float32),
    )


def whitened(half: Density, directions: Directions, threads: int = 1) -> Density:
    """Divide the waves of a half map by the amplitude of the noise in their direction."""
    shape = half.grid.shape
    amplitude = (1 / np.sqrt(noise_of_cells(directions.axes, directions.noise))).astype(np.float32)
    waves = fft.rfftn(half.values, workers=threads)
    z, y, x = wave_axes(shape, half.grid.voxel_size)
    for plane in range(shape[0]):
        along_z, along_y, along_x = np.broadcast_arrays(z[plane], y, x)
        waves[plane] *= amplitude[cell_indices(along_z, along_y, along_x)]
    values = fft.irfftn(waves, s=shape, overwrite_x=True, workers=threads).astype(np.float32, copy=False)
    return Density(values, half.grid)


def wave_axes(shape: Shape, voxel_size: Lengths) -> tuple[Volume, Volume, Volume]:
    """Return the components (1/Å) of the waves of a real transform, shaped to be combined: z, y, x."""
    z, y, x = (fft.fftfreq(n, v).astype(np.float32) for n, v in zip(shape, voxel_size, strict=True))
    return z[:, None, None], y[:, None], np.abs(x[: shape[2] // 2 + 1])


def noise_departure(difference: Spectrum, frequency: float, shape: Shape, threads: int = 1) -> Volume:
    """Measure how the noise at each place departs from equal power in all directions, beyond chance.

    Parameters
    ----------
    difference : of the half maps, with noise of equal power in all directions of the whole map
    frequency : 1/Å, around which it is measured
    shape : points of the coarse grid over the periodic box

    Returns
    -------
    (3, 3, coarse z, y, x), quadratic form of ln(relative power of the noise), without a trace
    """
    axes = icosahedral_axes()[:LOCAL_AXES]
    relative = np.zeros((LOCAL_AXES, *shape), np.float32)
    waves = 0.0
    for around in BANDS_AROUND:
        f = float(frequency * around)
        if f > difference.nyquist:
            continue
        sigma = WINDOW_RATIO * window_sigma(f)
        powers, shares = cone_powers(difference, f, sigma, axes, shape, threads)
        count = waves_in_window(f, sigma)
        relative += count * powers / np.maximum(powers.sum(0), 1e-30) / shares[:, None, None, None]
        waves += count
    if waves == 0:
        return np.zeros((3, 3, *shape), np.float32)
    departure = np.log(np.maximum(relative / waves, 1e-3))
    departure -= departure.mean(0)
    expected = LOCAL_AXES / waves  # variance of each value, for noise of one power
    kept = np.maximum(0, 1 - CHANCE_LEVEL * expected / np.maximum((departure**2).sum(0), 1e-30))
    elements = np.tensordot(np.linalg.inv(quadratic_terms(axes)) / LOCAL_CONE_LOSS, departure * kept, 1)
    return quadratic_form(elements.astype(np.float32))


def cone_powers(
    difference: Spectrum, frequency: float, sigma: float, axes: Curve, shape: Shape, threads: int = 1
) -> tuple[Volume, Curve]:
    """Average the power of a band in each cone with a Gaussian window.

    Returns
    -------
    powers : (axes, coarse z, y, x)
    shares : (axes,), share of the band's power in each cone for noise of equal power in all directions
    """
    band = filter_to_band(difference, frequency, threads)
    z, y, x = wave_axes(band.shape, band.voxel_size)
    k = np.sqrt(z**2 + y**2 + x**2)
    directions = np.stack(np.broadcast_arrays(z, y, x), -1) / np.maximum(k, np.float32(1e-9))[..., None]
    directions[0, 0, 0] = 1  # the mean density has no direction, and no band holds it
    weights = cone_weights(directions, axes, LOCAL_CONE_POWER)
    gain = np.exp(-(((k - frequency) / (BAND_WIDTH * frequency)) ** 2)) * np.where(x > 0, 2, 1)
    shares = np.tensordot(gain, weights, 3) / gain.sum()
    powers = []
    for n in range(len(axes)):
        average = GaussianAverage(band.shape, band.lengths, sigma, shape)
        cone = Spectrum(band.waves * np.sqrt(weights[..., n]), band.shape, band.lengths, band.before)
        inverse_transform(cone, partial(_add_power, average), threads)
        powers.append(average.values())
    return np.stack(powers), shares.astype(np.float64)


def _add_power(average: GaussianAverage, part: slice, values: Volume) -> None:
    average.add(part, np.square(values, out=values))


def extreme_noise(departure: Volume, axes: Curve, noise: Curve) -> tuple[Volume, Volume]:
    """Return the lowest and the highest relative power of the noise in any direction, at every place.

    Parameters
    ----------
    departure : (3, 3, z, y, x), from `noise_departure`
    axes : (axes, 3) unit vectors
    noise : (axes,), of the whole map
    """
    shape = departure.shape[2:]
    lowest, highest = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
    for axis, log in zip(axes.astype(np.float32), np.log(noise), strict=True):
        local: Volume = np.tensordot(np.outer(axis, axis), departure, 2).astype(np.float32) + np.float32(log)
        lowest, highest = np.minimum(lowest, local), np.maximum(highest, local)
    return np.exp(lowest).astype(np.float32), np.exp(highest).astype(np.float32)


def crossing_with_noise(fsc: Volume, frequencies: Curve, level: Volume) -> Volume:
    """Compute the resolution (Å) from FSC (bands, …) for noise of `level` (…) times the power.

    Bands far coarser than the resolution of the FSC itself count as resolved: many molecules have little power there.
    """
    own = first_crossing(fsc, frequencies)
    noisy = fsc / np.maximum(fsc + level * (1 - fsc), np.float32(1e-30))
    resolved = frequencies.reshape(-1, *[1] * own.ndim) * own < 1 / MAX_LOCAL_RATIO
    return first_crossing(np.where(resolved, np.float32(1), noisy), frequencies)
