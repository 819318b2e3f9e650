"""Global resolution by direction: the FSC of two half maps in cones, and whether it differs between directions.

The FSC of a cone is that of a shell with the sums weighted by the cone (conical FSC, 3DFSC: Tan et al. 2017, Nat.
Methods 14, 793). The share of directions whose FSC is above 0.143, by frequency, is the Fourier shell occupancy (Vilas
& Tagare 2023, Nat. Methods 20, 1496). Waves are first summed in small cells of direction, and then over the cones.

Noisy cones differ also where all directions have one resolution, so the differences are tested. δ(u), the logarithm of
the signal-to-noise ratio in the direction u less its mean, is described by spherical harmonics of order 2. They are
measured in each block of shells, and their scatter between the blocks tells how large their mean would be by chance.
docs/fsc_method.md has the equations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, special

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve, correlation_terms, first_crossing
from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.half_maps.cones import cone_weights, icosahedral_axes
from cryores_lite.half_maps.fsc_curves import FscCurves, box_lengths
from cryores_lite.types import Directions, Lengths, Shape, Volume

CONE_POWER = 24  # half of the weight lies within 19° of the axis, as in the cones of 20° of Tan et al.
CELLS = 16  # of direction, along an edge of a face of a cube
COARSEST, FINEST = 4.0, 0.5  # of the bands, in units of the global resolution
BAND_RATIO = 1.05  # of neighbouring bands
TESTED = (2.5, 0.9)  # range of shells in the test, in units of the global resolution
BLOCK_SHELLS = 2  # number per block of the test; masks correlate neighbouring shells
MIN_BLOCKS = 4
HIGHEST_TESTED_FSC = 0.97  # above, the ratio of signal and noise is not known
MAX_CHANCE = 0.01  # probability by chance below which differences between directions are significant
MIN_RATIO = 1.03  # of the worst to the best resolution; smaller differences are not reported


@dataclass(frozen=True, eq=False)
class DirectionSums:
    """The sums of an FSC by shell and cell of direction.

    Attributes
    ----------
    frequencies : (shells,) 1/Å
    cells : (cells, 3) unit vectors, z, y, x
    terms : (3, shells, cells), sums of Re F1 F2*, |F1|² and |F2|²
    waves : (shells, cells), number of waves
    """

    frequencies: Curve
    cells: Curve
    terms: Curve
    waves: Curve


def measure_directions(
    first: Volume, second: Volume, voxel_size: Lengths, mask: Volume | None, curves: FscCurves, threads: int = 1
) -> Directions:
    """Measure the resolution of two half maps by direction.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å
    mask : (z, y, x), soft, or None
    curves : global FSC with that mask, which gives the correlation that the mask adds
    threads : CPU threads
    """
    halves = (first, second) if mask is None else (first * mask, second * mask)
    resolution = curves.resolution()
    sums = direction_sums(*halves, voxel_size, 1 / (FINEST * resolution), threads)
    axes = icosahedral_axes()
    frequencies = band_centres(sums, resolution)
    fsc = cone_fsc(sums, frequencies, axes)
    added = np.interp(frequencies, curves.frequencies, mask_correlation(curves))[:, None]
    fsc = (fsc - added) / np.maximum(1 - added, 1e-6)
    resolutions = first_crossing(fsc, frequencies).astype(np.float64)
    shares = cone_weights(sums.cells, axes, CONE_POWER).T @ cell_areas()
    semi_axes, vectors = ellipsoid(axes, resolutions, shares)
    chance = chance_of_equal_directions(sums, resolution)
    significant = chance < MAX_CHANCE and semi_axes[2] > MIN_RATIO * semi_axes[0]
    return Directions(
        significant=significant,
        chance=chance,
        sentence=sentence(semi_axes, vectors) if significant else EQUAL,
        axes=axes,
        resolutions=resolutions,
        ellipsoid=semi_axes,
        ellipsoid_axes=vectors,
        frequencies=frequencies,
        fsc=fsc,
        occupancy=(fsc >= FSC_THRESHOLD) @ shares,
    )


def direction_sums(
    first: Volume, second: Volume, voxel_size: Lengths, highest: float, threads: int = 1
) -> DirectionSums:
    """Sum the terms of the FSC of two maps by shell and cell of direction.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å
    highest : 1/Å, of the shells, at most the Nyquist frequency
    """
    lengths = box_lengths(first, voxel_size)
    halves = [fft.rfftn(half, workers=threads) for half in ((first,) if first is second else (first, second))]
    one, other = halves[0], halves[-1]
    longest = max(lengths)
    last = int(min(longest * highest, longest / max(voxel_size) / 2) + 1e-6)
    number = 3 * CELLS**2
    sums = np.zeros((4, (last + 1) * number))
    z, y, x = (fft.fftfreq(n, length / n).astype(np.float32) for n, length in zip(first.shape, lengths, strict=True))
    x = np.abs(x[: one.shape[2]])
    limit = (last + 0.5) / longest
    rows, columns = np.flatnonzero(np.abs(y) <= limit), np.flatnonzero(x <= limit)
    y, x = y[rows, None], x[columns]
    counts = np.where(x > 0, np.float32(1), np.float32(0.5))  # the plane x = 0 holds both waves of a pair
    for plane in np.flatnonzero(np.abs(z) <= limit):
        shells = np.rint(np.sqrt(z[plane] ** 2 + y**2 + x**2) * longest).astype(np.int32)
        inside = (shells > 0) & (shells <= last)
        along = (np.broadcast_to(axis, shells.shape)[inside] for axis in (z[plane], y, x))
        index = shells[inside] * number + cell_indices(*along)
        weights = np.broadcast_to(counts, shells.shape)[inside]
        a, b = (half[plane][np.ix_(rows, columns)][inside] for half in (one, other))
        terms = (*correlation_terms(a, b), 1) if other is not one else (None, np.abs(a) ** 2, None, 1)
        for row, values in zip(sums, terms, strict=True):
            if values is not None:
                row += np.bincount(index, weights * values, len(row))
    by_shell = sums.reshape(4, last + 1, number)[:, 1:]
    return DirectionSums(np.arange(1, last + 1) / longest, cell_centres(), by_shell[:3], by_shell[3])


def cell_indices(z: Volume, y: Volume, x: Volume) -> npt.NDArray[np.int32]:
    """Return the cell of direction of waves (n,): the face of a cube that the wave points to, and the square on it."""
    sizes = np.abs(z), np.abs(y), np.abs(x)
    largest = np.maximum(np.maximum(sizes[0], sizes[1]), sizes[2])
    on_z, on_y = sizes[0] == largest, sizes[1] == largest
    face = np.where(on_z, 0, np.where(on_y, 1, 2)).astype(np.int32)
    normal = np.where(on_z, z, np.where(on_y, y, x))
    across, down = np.where(on_z, y, z), np.where(on_z | on_y, x, y)
    i, j = (np.minimum((part / normal + 1) * (CELLS / 2), CELLS - 1).astype(np.int32) for part in (across, down))
    return (face * CELLS + i) * CELLS + j


def cell_centres() -> Curve:
    """Return the unit vectors (cells, 3) of the centres of the cells of direction, z, y, x."""
    along = (np.arange(CELLS) + 0.5) / (CELLS / 2) - 1
    i, j = (part.ravel() for part in np.meshgrid(along, along, indexing="ij"))
    one = np.ones_like(i)
    vectors = np.concatenate([np.stack(face, axis=1) for face in ((one, i, j), (i, one, j), (i, j, one))])
    out: Curve = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return out


def cell_areas() -> Curve:
    """Return the shares (cells,) of all directions that lie in each cell."""
    areas = np.abs(cell_centres()).max(1) ** 3  # of a square on a cube's face, seen from the centre
    out: Curve = areas / areas.sum()
    return out


def band_centres(sums: DirectionSums, resolution: float) -> Curve:
    """Return the bands of the FSC by direction, in 1/Å, around a global resolution (Å)."""
    lowest = max(1 / (COARSEST * resolution), sums.frequencies[0])
    count = int(np.ceil(np.log(sums.frequencies[-1] / lowest) / np.log(BAND_RATIO))) + 1
    centres: Curve = np.geomspace(lowest, sums.frequencies[-1], max(count, 2))
    return centres


def cone_fsc(sums: DirectionSums, frequencies: Curve, axes: Curve, power: int = CONE_POWER) -> Curve:
    """Compute the FSC (bands, axes) in cones, in the bands of the local FSC.

    Parameters
    ----------
    frequencies : (bands,) 1/Å
    axes : (axes, 3) unit vectors
    """
    spacing = sums.frequencies[0]
    width = np.maximum(BAND_WIDTH * frequencies, spacing / 2)[:, None]
    in_band = np.exp(-(((sums.frequencies - frequencies[:, None]) / width) ** 2))
    cross, first_power, second_power = in_band @ sums.terms @ cone_weights(sums.cells, axes, power)
    out: Curve = cross / np.maximum(np.sqrt(first_power * second_power), 1e-30)
    return out


def mask_correlation(curves: FscCurves) -> Curve:
    """Return the FSC (shells,) that the mask adds: that of random phases in the shells where it is corrected for."""
    if curves.corrected is None or curves.phase_randomised is None:
        return np.zeros_like(curves.frequencies)
    return np.where(curves.corrected == curves.masked, 0.0, curves.phase_randomised)


def ellipsoid(axes: Curve, resolutions: Curve, shares: Curve) -> tuple[Curve, Curve]:
    """Fit an ellipsoid to the frequencies 1/d at which the FSC in each direction crosses the threshold.

    d² = uᵀ M u is linear in the six elements of M; the semi-axes of the ellipsoid are 1/√λ with the eigenvalues λ of M.

    Parameters
    ----------
    axes : (n, 3) unit vectors u
    resolutions : (n,) Å, d
    shares : (n,) weights of the axes

    Returns
    -------
    resolutions : (3,) Å along the axes of the ellipsoid, the best first
    vectors : (3, 3) unit vectors of these axes, one per row
    """
    rows, columns = np.triu_indices(3)
    design = axes[:, rows] * axes[:, columns] * np.where(rows == columns, 1, 2)
    weight = np.sqrt(shares)
    elements = np.linalg.lstsq(design * weight[:, None], resolutions**2 * weight, rcond=None)[0]
    matrix = np.zeros((3, 3))
    matrix[rows, columns] = matrix[columns, rows] = elements
    values, vectors = np.linalg.eigh(matrix)
    return np.sqrt(np.clip(values, resolutions.min() ** 2 / 4, resolutions.max() ** 2 * 4)), vectors.T


def quadrupoles(directions: Curve) -> Curve:
    """Return the five real spherical harmonics of order 2 (…, 5) in the directions (…, 3); their mean square is 1."""
    z, y, x = np.moveaxis(directions, -1, 0)
    return np.sqrt(15) * np.stack(
        [x * y, y * z, z * x, (x**2 - y**2) / 2, (3 * z**2 - 1) / np.sqrt(12)], axis=-1
    )


def shell_quadrupoles(sums: DirectionSums) -> tuple[Curve, Curve, Curve]:
    """Measure how the signal-to-noise ratio of each shell depends on direction.

    Returns
    -------
    fsc : (shells,) of all directions
    delta : (shells, 5), ln(signal/noise) by spherical harmonics of order 2, times F (1 − F) with the FSC F
    power : (shells,), number of waves
    """
    cross, first_power, second_power = sums.terms
    scale = np.sqrt(first_power.sum(1, keepdims=True) / np.maximum(second_power.sum(1, keepdims=True), 1e-30))
    cross, power = cross * scale, (first_power + scale**2 * second_power) / 2
    total = np.maximum(power.sum(1), 1e-30)
    fsc = cross.sum(1) / total
    residual = (cross - fsc[:, None] * power) @ quadrupoles(sums.cells)
    return fsc, residual / total[:, None], sums.waves.sum(1)


def chance_of_equal_directions(sums: DirectionSums, resolution: float) -> float:
    """Return the probability that directions of one resolution differ by chance as much as those of the half maps.

    Parameters
    ----------
    resolution : Å, global
    """
    fsc, residual, waves = shell_quadrupoles(sums)
    relative = 1 / (sums.frequencies * resolution)
    used = (relative <= TESTED[0]) & (relative >= TESTED[1]) & (fsc > 0) & (fsc < HIGHEST_TESTED_FSC)
    fsc, residual, waves = fsc[used], residual[used], waves[used]
    blocks = np.arange(len(fsc)) // BLOCK_SHELLS
    if not len(fsc) or blocks[-1] + 1 < MIN_BLOCKS:
        return 1.0
    weight = waves * (fsc / (1 + fsc)) ** 2  # inverse variance of ln(signal/noise), but for a factor
    weighted = residual * (weight / (fsc * (1 - fsc)))[:, None]
    weights = np.bincount(blocks, weight)
    means = np.stack([np.bincount(blocks, column) for column in weighted.T], axis=1) / weights[:, None]
    mean = weights @ means / weights.sum()
    freedom = 5 * (len(weights) - 1)
    scatter = float((weights[:, None] * (means - mean) ** 2).sum()) / freedom
    statistic = weights.sum() * float(mean @ mean) / 5 / max(scatter, 1e-30)
    return float(special.fdtrc(5, freedom, statistic))


EQUAL = "The half maps show no preferred direction."
MISSING = 1.25  # ratio of the worst to the best resolution from which views are called missing, below: rare
NEAR_AXIS = 0.97  # cosine: within 14° of z, y or x


def sentence(resolutions: Curve, vectors: Curve) -> str:
    """Describe the resolution by direction in one sentence.

    A view adds the waves that are perpendicular to it. If the resolution is worst along one axis, views across that
    axis are missing; if it is best along one axis and equally bad across, views along that axis are missing.

    Parameters
    ----------
    resolutions : (3,) Å, of the ellipsoid's axes, the best first
    vectors : (3, 3), one axis per row
    """
    best, middle, worst = (float(r) for r in resolutions)
    amount = "missing" if worst > MISSING * best else "rare"
    if worst / middle >= middle / best:
        name, across = axis_name(vectors[2]), (best * middle) ** 0.5
        return f"Views across {name} are {amount}: resolution {across:.1f} Å across, {worst:.1f} Å along {name}."
    name, across = axis_name(vectors[0]), (worst * middle) ** 0.5
    return f"Views along {name} are {amount}: resolution {across:.1f} Å across, {best:.1f} Å along {name}."


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
    z, y, x = (
        fft.fftshift(fft.fftfreq(n, v)).astype(np.float32) for n, v in zip(shape, voxel_size, strict=True)
    )
    out = np.zeros(shape, np.float32)
    steps = np.log(directions.frequencies)
    for plane in range(shape[0]):
        k = np.sqrt(z[plane] ** 2 + y[:, None] ** 2 + x**2)
        inside = k <= directions.frequencies[-1]
        if not inside.any():
            continue
        parts = (np.broadcast_to(axis, k.shape)[inside] for axis in (z[plane], y[:, None], x))
        along_z, along_y, along_x = parts
        along_x = np.where((along_z == 0) & (along_y == 0) & (along_x == 0), np.float32(1), along_x)
        position = np.interp(np.log(np.maximum(k[inside], 1e-9)), steps, np.arange(len(steps)))
        band = np.minimum(position.astype(int), len(steps) - 2)
        share, cell = position - band, cell_indices(along_z, along_y, along_x)
        out[plane][inside] = (1 - share) * table[band, cell] + share * table[band + 1, cell]
    return out


@dataclass(frozen=True, eq=False)
class NoiseByDirection:
    """The noise of two half maps by direction.

    Attributes
    ----------
    relative : (axes,) power of the noise in each cone / that of all directions
    chance : probability that noise of equal power in all directions differs as much
    """

    relative: Curve
    chance: float


def noise_by_direction(sums: DirectionSums, axes: Curve, resolution: float) -> NoiseByDirection:
    """Measure how the noise depends on direction, from the sums of the difference of two half maps."""
    relative = 1 / (sums.frequencies * resolution)
    used = (relative <= TESTED[0]) & (relative >= TESTED[1])
    power, waves = sums.terms[1][used], sums.waves[used]
    level = power.sum(1, keepdims=True) / np.maximum(waves.sum(1, keepdims=True), 1e-30)
    weights = cone_weights(sums.cells, axes, CONE_POWER)
    scaled = (power / np.maximum(level, 1e-30)).sum(0) @ weights / np.maximum(waves.sum(0) @ weights, 1e-30)
    residual = (power / np.maximum(level, 1e-30) - waves) @ quadrupoles(sums.cells)
    return NoiseByDirection(scaled, block_test(residual, waves.sum(1)))


def block_test(sums: Curve, weights: Curve) -> float:
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


def views_fsc(sums: DirectionSums, frequencies: Curve, axes: Curve, noise: Curve, added: Curve) -> Curve:
    """FSC by direction of a signal of the same power in all directions"""
    cell_weights = cone_weights(sums.cells, axes, CONE_POWER)
    whitening = 1 / (cell_weights @ noise)
    spacing = sums.frequencies[0]
    width = np.maximum(BAND_WIDTH * frequencies, spacing / 2)[:, None]
    in_band = np.exp(-(((sums.frequencies - frequencies[:, None]) / width) ** 2))
    cross, first_power, second_power = in_band @ sums.terms @ whitening
    white = cross / np.maximum(np.sqrt(first_power * second_power), 1e-30)
    white = (white - added) / np.maximum(1 - added, 1e-6)
    waves = in_band @ sums.waves
    mean = waves @ whitening / waves.sum(1)
    ratio = np.clip(white, None, 0.9999) / (1 - np.clip(white, None, 0.9999)) / mean
    ratio = np.maximum(ratio, 0)
    return ratio[:, None] / (ratio[:, None] + noise)
