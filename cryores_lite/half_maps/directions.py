"""Global resolution by direction: the FSC of two half maps in cones, and whether views are missing.

The FSC of a cone is that of a shell with the sums weighted by the cone (3DFSC: Tan et al. 2017, Nat. Methods 14, 793).
The share of directions whose FSC is above 0.143, by frequency, is the Fourier shell occupancy (Vilas & Tagare 2023,
Nat. Methods 20, 1021). Waves are first summed in small cells of direction, and then over the cones.

The FSC of cones differs also where all views are present, because cones are noisy and because a molecule scatters more
in some directions. The noise does not depend on the molecule: each view adds noise, and the reconstruction divides by
the number of views, so the power of the noise in a direction is the inverse of the number of views that reach it. So
missing views are found in the difference of the half maps outside the molecule. The resolution by direction that they
cause is that of a signal with the same power in all directions. docs/fsc_method.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, special

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve, first_crossing
from cryores_lite.half_maps import direction_errors
from cryores_lite.half_maps.cones import cone_weights, icosahedral_axes, quadratic_form, quadratic_terms
from cryores_lite.half_maps.direction_sums import (
    CONE_POWER,
    FINEST,
    DirectionSums,
    band_centres,
    band_weights,
    cell_areas,
    cell_centres,
    cell_indices,
    cone_fsc,
    sums_of_waves,
)
from cryores_lite.half_maps.fsc_curves import FscCurves, PairWaves, pair_waves
from cryores_lite.types import Directions, Ellipsoid, Lengths, Mask, Shape, Volume

TESTED = (2.5, 0.9)  # range of shells in the test, in units of the global resolution
BLOCK_SHELLS = 2  # number per block of the test; masks correlate neighbouring shells
MIN_BLOCKS = 4
HIGHEST_TESTED_FSC = 0.97  # above, the ratio of signal and noise is not known
MAX_CHANCE = 0.01  # probability by chance below which differences between directions are significant
MIN_RATIO = 1.03  # of the worst to the best resolution; smaller differences are not reported
MIN_NOISE = 1e-4  # relative power of the noise in a cone
HIGHEST_FSC = 0.9999
CONTRADICTION = -0.6  # correlation of the resolutions by noise and by FSC, below which they contradict each other
EQUAL = "The half maps show no preferred direction."
MISSING = 1.25  # ratio of the worst to the best resolution from which views are called missing, below: rare
WIDE_RANGE = 1.2  # of the ratio of the resolutions: its highest over its lowest value; wider ranges are said
UNCERTAIN = "The FSC falls slowly there: the ratio of the two is uncertain, {:.1f} to {:.1f}."
NEAR_AXIS = 0.97  # cosine: within 14° of z, y or x


def measure_directions(
    first: Volume, second: Volume, voxel_size: Lengths, mask: Volume | None, curves: FscCurves, threads: int = 1
) -> Directions:
    """Measure the resolution of two half maps by direction.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å
    mask : (z, y, x), soft, or None. Where it adds much to the FSC, the half maps are compared without it: the
        correlation that it adds depends on direction too. It still tells where the noise is.
    curves : global FSC with that mask, which gives the correlation that the mask adds
    threads : CPU threads
    """
    return directions_of_waves(pair_waves(first, second, voxel_size, mask, curves, threads), curves)


def directions_of_waves(waves: PairWaves, curves: FscCurves) -> Directions:
    """Measure the resolution of two half maps by direction from their transforms, as `measure_directions`."""
    resolution = curves.resolution()
    highest, axes = 1 / (FINEST * resolution), icosahedral_axes()
    pairs = [(waves.one, waves.other), (waves.noise, waves.noise)]
    sums, noise_sums = sums_of_waves(pairs, waves.shape, waves.voxel_size, highest)
    added_by_shell = np.zeros_like(curves.frequencies) if waves.mask is None else curves.mask_correlation
    noise = noise_by_direction(noise_sums, cone_weights(sums.cells, axes, CONE_POWER), resolution)
    frequencies = band_centres(sums, resolution)
    added = in_bands(sums, frequencies, added_by_shell)[:, None]
    shares = cone_weights(sums.cells, axes, CONE_POWER).T @ cell_areas()
    fsc = without_mask_correlation(cone_fsc(sums, frequencies, axes), added)
    resolutions = first_crossing(fsc, frequencies).astype(np.float64)
    measured = ellipsoid(axes, resolutions, shares)
    whitening = 1 / noise_of_cells(axes, noise.relative)
    isotropic = whitened_snr(sums, frequencies, whitening, added)
    of_views = first_crossing(with_noise(isotropic, noise.relative), frequencies).astype(np.float64)
    views, along = along_its_axes(ellipsoid(axes, of_views, shares), noise_sums, isotropic, frequencies, resolution)
    ratio_range = direction_errors.ratio_range(
        sums,
        frequencies,
        isotropic,
        noise=(along.relative[0], along.relative[2]),
        noise_waves=(along.waves[0], along.waves[2]),
        share=direction_errors.independent_share(waves.mask),
    )
    significant = noise.chance < MAX_CHANCE and views.ratio > MIN_RATIO
    shown_by_noise = np.corrcoef(np.log(of_views), np.log(resolutions))[0, 1] > CONTRADICTION if significant else True
    if not shown_by_noise:
        # Programs that weaken waves of few views weaken their noise too: then only the FSC shows these directions.
        views, ratio_range = measured, (np.nan, np.nan)
        significant = chance_of_equal_directions(sums, resolution) < MAX_CHANCE and views.ratio > MIN_RATIO
    return Directions(
        significant=significant,
        chance=noise.chance,
        sentence=sentence(views, ratio_range) if significant else EQUAL,
        ratio_range=ratio_range,
        axes=axes,
        shares=shares,
        noise=noise.relative if shown_by_noise else np.ones(len(axes)),
        resolutions=resolutions,
        measured=measured,
        views=views,
        frequencies=frequencies,
        fsc=fsc,
        occupancy=(fsc >= FSC_THRESHOLD) @ shares,
    )


def in_bands(sums: DirectionSums, frequencies: Curve, shell_values: Curve) -> Curve:
    """Average values of shells (shells or more,) in bands, each wave alike."""
    weights = band_weights(sums, frequencies) * sums.waves.sum(1)
    out: Curve = weights @ shell_values[: weights.shape[1]] / weights.sum(1)
    return out


def without_mask_correlation(fsc: Curve, added: Curve) -> Curve:
    """Correct FSC (bands, …) for what a mask adds (Chen et al. 2013, Ultramicroscopy 135, 24)."""
    out: Curve = (fsc - added) / np.maximum(1 - added, 1e-6)
    return out


def ellipsoid(axes: Curve, resolutions: Curve, shares: Curve) -> Ellipsoid:
    """Fit an ellipsoid to the frequencies 1/d at which the FSC in each direction crosses the threshold.

    d² = uᵀ M u is linear in the six elements of M; the semi-axes of the ellipsoid are 1/√λ with the eigenvalues λ of M.

    Parameters
    ----------
    axes : (n, 3) unit vectors u
    resolutions : (n,) Å, d
    shares : (n,) weights of the axes
    """
    weight = np.sqrt(shares)
    elements = np.linalg.lstsq(quadratic_terms(axes) * weight[:, None], resolutions**2 * weight, rcond=None)[0]
    matrix = quadratic_form(elements)
    values, vectors = np.linalg.eigh(matrix)
    lowest, highest = float(resolutions.min()), float(resolutions.max())  # a fit can leave the range of the values
    return Ellipsoid(np.clip(np.sqrt(np.maximum(values, 0)), lowest, highest), vectors.T)


def quadrupoles(directions: Curve) -> Curve:
    """Return the five real spherical harmonics of order 2 (…, 5) in the directions (…, 3); their mean square is 1."""
    z, y, x = np.moveaxis(directions, -1, 0)
    out: Curve = np.sqrt(15) * np.stack([x * y, y * z, z * x, (x**2 - y**2) / 2, (3 * z**2 - 1) / np.sqrt(12)], axis=-1)
    return out


def shell_quadrupoles(sums: DirectionSums) -> tuple[Curve, Curve, Curve]:
    """Measure how the signal-to-noise ratio of each shell depends on direction.

    Returns
    -------
    fsc : (shells,) of all directions
    delta : (shells, 5), ln(signal/noise) by spherical harmonics of order 2, times F (1 − F) with the FSC F
    waves : (shells,), number of waves
    """
    cross, first_power, second_power = sums.terms
    scale = np.sqrt(first_power.sum(1, keepdims=True) / np.maximum(second_power.sum(1, keepdims=True), 1e-30))
    cross, power = cross * scale, (first_power + scale**2 * second_power) / 2
    total = np.maximum(power.sum(1), 1e-30)
    fsc = cross.sum(1) / total
    residual = (cross - fsc[:, None] * power) @ quadrupoles(sums.cells)
    return fsc, residual / total[:, None], sums.waves.sum(1)


def chance_of_equal_directions(sums: DirectionSums, resolution: float) -> float:
    """Return the probability that the FSC of a map with one resolution (Å) differs as much between directions."""
    fsc, residual, waves = shell_quadrupoles(sums)
    used = tested_shells(sums, resolution) & (fsc > 0) & (fsc < HIGHEST_TESTED_FSC)
    fsc, weights = fsc[used], waves[used] * (fsc[used] / (1 + fsc[used])) ** 2  # inverse variance, but for a factor
    return block_test(residual[used] * (weights / (fsc * (1 - fsc)))[:, None], weights)


def tested_shells(sums: DirectionSums, resolution: float) -> Mask:
    """Return which shells are tested for differences between directions, around a global resolution (Å)."""
    relative = 1 / (sums.frequencies * resolution)
    return (relative <= TESTED[0]) & (relative >= TESTED[1])


def block_test(sums: Curve, weights: Curve) -> float:
    """Return the probability that weighted sums, whose expected values are 0, are as large as these by chance.

    The F test compares the mean of all shells with the scatter of the means of blocks of shells.

    Parameters
    ----------
    sums : (shells, 5), weighted sums of spherical harmonics of order 2
    weights : (shells,)
    """
    blocks = np.arange(len(weights)) // BLOCK_SHELLS
    if not len(weights) or blocks[-1] + 1 < MIN_BLOCKS:
        return 1.0
    totals = np.bincount(blocks, weights)
    means = np.stack([np.bincount(blocks, column) for column in sums.T], axis=1) / totals[:, None]
    mean = totals @ means / totals.sum()
    freedom = 5 * (len(totals) - 1)
    scatter = float((totals[:, None] * (means - mean) ** 2).sum()) / freedom
    statistic = totals.sum() * float(mean @ mean) / 5 / max(scatter, 1e-30)
    return float(special.fdtrc(5, freedom, statistic))


@dataclass(frozen=True, eq=False)
class NoiseByDirection:
    """The noise of two half maps by direction.

    Attributes
    ----------
    relative : (axes,) power of the noise in each cone / that of all directions
    waves : (axes,) number of waves that would give its mean the same error if they counted alike
    chance : probability that noise of one power in all directions differs as much
    """

    relative: Curve
    waves: Curve
    chance: float


def noise_by_direction(sums: DirectionSums, weights: Curve, resolution: float) -> NoiseByDirection:
    """Measure how the noise depends on direction, around a global resolution (Å).

    Parameters
    ----------
    sums : of the difference of two half maps
    weights : (cells, cones), weights of the directions in cones
    """
    used = tested_shells(sums, resolution)
    power, waves = sums.terms[1][used], sums.waves[used]
    level = power.sum(1, keepdims=True) / np.maximum(waves.sum(1, keepdims=True), 1)
    relative = power / np.maximum(level, 1e-30)
    in_cones = relative.sum(0) @ weights / np.maximum(waves.sum(0) @ weights, 1e-30)
    effective_waves = (waves.sum(0) @ weights) ** 2 / np.maximum(waves.sum(0) @ weights**2, 1e-30)
    chance = block_test((relative - waves) @ quadrupoles(sums.cells), waves.sum(1))
    return NoiseByDirection(np.maximum(in_cones, MIN_NOISE), effective_waves, chance)


def noise_of_cells(axes: Curve, noise: Curve) -> Curve:
    """Return the relative power of the noise (cells,) in each cell of direction, from that in the cones (axes,)."""
    out: Curve = cone_weights(cell_centres(), axes, CONE_POWER) @ noise
    return out


def whitened_snr(sums: DirectionSums, frequencies: Curve, whitening: Curve, added: Curve) -> Curve:
    """Measure the ratio (bands,) of the signal to the mean noise of all directions, from all waves alike.

    All waves are divided by the amplitude of the noise in their direction, so that they have noise of one power and
    count alike. The signal has the same power in all directions.

    Parameters
    ----------
    sums : of the two half maps
    frequencies : (bands,) 1/Å
    whitening : (cells,), inverse of the relative power of the noise
    added : (bands, 1), FSC that the mask adds
    """
    in_band = band_weights(sums, frequencies)
    cross, first_power, second_power = in_band @ sums.terms @ whitening
    white = cross / np.maximum(np.sqrt(first_power * second_power), 1e-30)
    white = np.clip(without_mask_correlation(white, added[:, 0]), 0, HIGHEST_FSC)
    waves = in_band @ sums.waves
    gain = waves @ whitening / waves.sum(1)
    out: Curve = white / (1 - white) / gain
    return out


def with_noise(ratio: Curve, noise: Curve) -> Curve:
    """Return the FSC (bands, directions) for a ratio (bands,) of signal to mean noise, and relative noise."""
    out: Curve = ratio[:, None] / (ratio[:, None] + noise)
    return out


def along_its_axes(
    fitted: Ellipsoid, noise_sums: DirectionSums, ratio: Curve, frequencies: Curve, resolution: float
) -> tuple[Ellipsoid, NoiseByDirection]:
    """Replace the resolutions of an ellipsoid by those in cones about its axes; a fit smooths sharp minima.

    Also return the noise in these cones, the best resolution first.

    Parameters
    ----------
    noise_sums : of the difference of two half maps
    ratio : (bands,), from `whitened_snr`
    frequencies : (bands,) 1/Å
    resolution : Å, global
    """
    noise = noise_by_direction(noise_sums, (noise_sums.cells @ fitted.axes.T) ** CONE_POWER, resolution)
    resolutions = first_crossing(with_noise(ratio, noise.relative), frequencies).astype(np.float64)
    order = np.argsort(resolutions, kind="stable")
    along = NoiseByDirection(noise.relative[order], noise.waves[order], noise.chance)
    return Ellipsoid(resolutions[order], fitted.axes[order]), along


def sentence(fitted: Ellipsoid, ratio_range: tuple[float, float] = (np.nan, np.nan)) -> str:
    """Describe the resolution by direction in one sentence, and in a second one that the ratio is uncertain.

    A view adds the waves that are perpendicular to it. If the resolution is worst along one axis, views across that
    axis are missing; if it is best along one axis and equally bad across, views along that axis are missing.
    """
    best, middle, worst = (float(r) for r in fitted.resolutions)
    low, high = ratio_range
    uncertain = high > WIDE_RANGE * low  # False if the range is unknown
    amount = "missing" if (low if uncertain else worst / best) > MISSING else "rare"
    across, along, vector = (best * middle) ** 0.5, worst, fitted.axes[2]
    sides = "across"
    if worst / middle < middle / best:
        across, along, vector, sides = (worst * middle) ** 0.5, best, fitted.axes[0], "along"
    name = axis_name(vector)
    text = f"Views {sides} {name} are {amount}: resolution {across:.1f} Å across, {along:.1f} Å along {short(name)}."
    return f"{text} {UNCERTAIN.format(low, high)}" if uncertain else text


def short(name: str) -> str:
    """Return the name of an axis for its second mention."""
    return name if name in "zyx" else "it"


def axis_name(vector: Curve) -> str:
    """Name a direction (z, y, x): z, y or x if it is near that axis, else its unit vector in the order x, y, z."""
    nearest = int(np.abs(vector).argmax())
    if abs(vector[nearest]) >= NEAR_AXIS:
        return "zyx"[nearest]
    x, y, z = np.round(vector[::-1] * np.sign(vector[nearest]), 2) + 0.0
    return f"the axis ({x:.2f}, {y:.2f}, {z:.2f}) in x, y, z"


def fsc_volume(directions: Directions, shape: Shape, voxel_size: Lengths) -> Volume:
    """Return the FSC of every wave of a box as a volume, with the frequency 0 at voxel n // 2 of each axis.

    The FSC at a wave is the mean of those of the cones with the weights of the wave, interpolated between the bands.
    Beyond the last band it is 0; before the first one, it is that of the first one.

    Parameters
    ----------
    shape : voxels
    voxel_size : Å
    """
    table = directions.fsc @ cone_weights(cell_centres(), directions.axes, CONE_POWER).T
    z, y, x = (fft.fftshift(fft.fftfreq(n, v)).astype(np.float32) for n, v in zip(shape, voxel_size, strict=True))
    out = np.zeros(shape, np.float32)
    steps = np.log(directions.frequencies)
    for plane in range(shape[0]):
        k = np.sqrt(z[plane] ** 2 + y[:, None] ** 2 + x**2)
        inside = k <= directions.frequencies[-1]
        if not inside.any():
            continue
        parts = (np.broadcast_to(axis, k.shape)[inside] for axis in (z[plane], y[:, None], x))
        position = np.interp(np.log(np.maximum(k[inside], 1e-9)), steps, np.arange(len(steps)))
        band = np.minimum(position.astype(int), len(steps) - 2)
        share, cell = position - band, cell_indices(*parts)
        out[plane][inside] = (1 - share) * table[band, cell] + share * table[band + 1, cell]
    return out
