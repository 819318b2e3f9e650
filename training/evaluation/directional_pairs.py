"""Draw half maps with missing views of known strength, and their true resolution by direction.

Every image of a particle adds one central slice of Fourier space, perpendicular to its view v. So the count of views
that reach the direction u of Fourier space is the integral of the density of views over the great circle perpendicular
to u (the Funk transform), the power of the noise is its inverse, and the signal does not change. Views have the
density exp(κ (v·n)²) about an axis n (Watson 1965, Biometrika 52, 193), whose integral over the circle is known:
c(θ) = exp(κ sin²θ / 2) I₀(κ sin²θ / 2), θ from n. κ > 0: most views are along n, and the resolution along n is worst.
κ < 0: most views are across n, and the resolution along n is best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import i0e

from cryores_lite.fourier.fsc import first_crossing
from cryores_lite.fourier.spectrum import radius
from cryores_lite.half_maps.direction_sums import CONE_POWER, band_centres, band_weights, direction_sums
from cryores_lite.half_maps.fsc_curves import soft_mask
from cryores_lite.types import Density, Grid, Lengths, Mask, Shape, Volume
from training.maps import truth
from training.maps.noise import white_noise_powers
from training.maps.processing import resample_wrapped
from training.maps.recipe import EVEN_NOISE, Recipe
from training.maps.simulate import Noise, Signal, draw_noise, with_noise
from training.maps.structures import Structure, read_manifest

Curve = npt.NDArray[np.float64]

SEED = 2026
STRUCTURES = 20
MAX_STRENGTH_ERROR = 0.02  # pairs further from the wanted ratio are left out
RATIOS = (1.1, 1.2, 1.4, 1.8)  # of the worst to the best resolution by direction
RECIPE: Recipe = replace(
    EVEN_NOISE,
    resolution=(3.0, 8.0),
    usual_share=0.0,
    oversampling=(2.6, 3.6),
    box=(88, 112),
    mobility_spread=(0.3, 0.8),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class DirectionalPair:
    """Two half maps whose noise depends on direction.

    Attributes
    ----------
    first, second : the half maps
    mask : (z, y, x) bool, the molecule
    truth : (z, y, x) float32, Å, local resolution from the mean noise of all directions, as local FSC measures it
    axis : (3,) unit vector (z, y, x) of the views' axis
    ratio : resolution of the worst direction / that of the best one, of the molecule as a whole
    best, worst : Å, of the molecule as a whole
    along_is_worst : whether the resolution along `axis` is the worst
    local_ratio : (z, y, x) float32, the same ratio at every voxel
    local_worst : (z, y, x) float32, Å, resolution of every voxel in its worst direction
    """

    first: Density
    second: Density
    mask: Mask
    truth: Volume
    axis: Curve
    ratio: float
    best: float
    worst: float
    along_is_worst: bool
    local_ratio: Volume
    local_worst: Volume


def coverage(cosine: npt.NDArray[np.floating], concentration: float) -> npt.NDArray[np.floating]:
    """Count of views that reach a direction, from the cosine of its angle to the axis; 1 at its highest.

    Parameters
    ----------
    concentration : κ of the views about the axis
    """
    half = abs(concentration) * (1 - cosine**2) / 2
    if concentration >= 0:  # exp(x) I0(x), over its value at the equator
        highest = concentration / 2
        out: npt.NDArray[np.floating] = np.exp(2 * (half - highest)) * i0e(half) / i0e(highest)
        return out
    return i0e(half)


def cosines(shape: Shape, lengths: Lengths, axis: Curve) -> Volume:
    """|cos| of the angle between every wave of a real transform and an axis."""
    z, y, x = (np.fft.fftfreq(n, length / n) for n, length in zip(shape, lengths, strict=True))
    x = np.abs(x[: shape[2] // 2 + 1])
    along = z[:, None, None] * axis[0] + y[:, None] * axis[1] + x * axis[2]
    out: Volume = (np.abs(along) / np.maximum(radius(shape, lengths), 1e-9)).astype(np.float32)
    return out


@dataclass(frozen=True, eq=False)
class Powers:
    """Power of the signal and of the noise of a half map (bands, …), in directions that a count of 1 reaches."""

    frequencies: Curve
    signal: Volume
    noise: Volume


def crossings(powers: Powers, counts: tuple[float, ...]) -> list[Volume]:
    """Resolution (Å) in directions that are reached by `counts` of views."""
    signal, noise = powers.signal, powers.noise
    return [
        first_crossing(signal / np.maximum(signal + noise / np.float32(count), 1e-20), powers.frequencies)
        for count in counts
    ]


def global_powers(signal: Signal, noise: Noise) -> Powers:
    """Powers (bands, 1) of the signal and of the noise inside the soft mask, in bands of the FSC by direction.

    The signal is not multiplied by the mask: the edge of the mask would move power of strong coarse waves into fine
    bands, where it can exceed that of the molecule a hundred times.
    """
    voxel_size = (signal.voxel_size,) * 3
    mask, density = soft_mask(signal.mask, voxel_size), signal.density.astype(np.float32)
    sums = direction_sums(density, density, voxel_size, 0.5 / signal.voxel_size)
    centres = band_centres(sums, signal.resolution)
    in_band, waves = band_weights(sums, centres), sums.waves.sum(1)
    shells = np.rint(radius(signal.density.shape, signal.lengths) * max(signal.lengths)).astype(int).ravel()
    filters = np.bincount(shells, noise.filter.ravel() ** 2) / np.maximum(np.bincount(shells), 1)
    noise_power = noise.scale * float(np.square(mask).sum()) * filters[1 : len(waves) + 1] * waves
    return Powers(centres, (in_band @ sums.terms[1].sum(1))[:, None], (in_band @ noise_power)[:, None])


def cone_counts(concentration: float) -> tuple[float, float]:
    """The counts of views (harmonic means) in a cone along the axis and in one across it, cones as in the package."""
    directions = np.random.default_rng(SEED).standard_normal((20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    noise = 1 / coverage(directions[:, 0], concentration)
    along, across = (float(np.average(noise, weights=directions[:, n] ** CONE_POWER)) for n in (0, 1))
    return 1 / along, 1 / across


def extreme_counts(concentration: float) -> tuple[float, float]:
    """The highest and the lowest count of views of all cones."""
    along, across = cone_counts(concentration)
    return max(along, across), min(along, across)


def concentration_for(ratio: float, oblate: bool, powers: Powers) -> float:
    """κ for a ratio of the worst to the best resolution of a molecule; 0 for a ratio of 1.

    Parameters
    ----------
    oblate : resolution along the axis is worst
    powers : of the molecule as a whole
    """
    sign = 1 if oblate else -1

    def excess(size: float) -> float:
        best, worst = crossings(powers, extreme_counts(sign * size))
        return float(worst[0] / best[0]) - ratio

    if ratio == 1:
        return 0.0
    sizes = np.geomspace(0.05, 300, 30)
    above = next((n for n, size in enumerate(sizes) if excess(size) > 0), 0)
    return sign * float(brentq(excess, sizes[above - 1], sizes[above], rtol=1e-2)) if above else 0.0


def draw_pair(
    signal: Signal, ratio: float, oblate: bool, axis: Curve, recipe: Recipe, rng: np.random.Generator
) -> DirectionalPair:
    """Two half maps of a molecule with a known ratio of the worst to the best resolution by direction."""
    noise: Noise = draw_noise(signal, recipe, rng)
    shape, frequencies = signal.density.shape, truth.bands(signal.voxel_size)
    z, y, x = shape
    concentration = concentration_for(ratio, oblate, global_powers(signal, noise))
    gain = 1 / np.sqrt(coverage(cosines((z, y, x), signal.lengths, axis), concentration))
    uneven = replace(noise, filter=(noise.filter * gain).astype(np.float32))
    first, second = (with_noise(signal, uneven, 1.0, rng).astype(np.float32) for _ in range(2))
    counts = extreme_counts(concentration)
    best, worst = (float(c[0]) for c in crossings(global_powers(signal, noise), counts))
    local_powers = Powers(frequencies, signal.powers, band_noise(signal, noise))
    mean_count = 1 / float(np.mean(1 / coverage(np.linspace(0, 1, 1001), concentration)))
    local_best, local_worst, local = crossings(local_powers, (*counts, mean_count))
    grid = Grid((z, y, x), (signal.voxel_size,) * 3)
    return DirectionalPair(
        first=Density(first, grid),
        second=Density(second, grid),
        mask=signal.mask,
        truth=resample_wrapped(local, (z, y, x)),
        axis=axis,
        ratio=worst / best,
        best=best,
        worst=worst,
        along_is_worst=oblate,
        local_ratio=resample_wrapped(local_worst / local_best, (z, y, x)),
        local_worst=resample_wrapped(local_worst, (z, y, x)),
    )


def band_noise(signal: Signal, noise: Noise) -> Volume:
    """(bands, coarse z, y, x) power of the noise in one half map, the same everywhere and in all directions."""
    k = radius(signal.density.shape, signal.lengths)
    white = noise.scale * white_noise_powers(noise.filter, k, truth.bands(signal.voxel_size))
    return np.broadcast_to(white[:, None, None, None].astype(np.float32), signal.powers.shape)


def structures_for(folder: Path, number: int = STRUCTURES, unseen: bool = False) -> list[Structure]:
    """Structures at even distances in the list of the validation structures; unseen ones are not among the usual."""
    rows = read_manifest(folder, "validation")
    if unseen:
        usual = {structure.id for structure in structures_for(folder)}
        rows = [structure for structure in rows if structure.id not in usual]
    return [rows[n * len(rows) // number] for n in range(number)]


def random_axis(rng: np.random.Generator) -> Curve:
    """Draw a random unit vector."""
    axis = rng.standard_normal(3)
    return axis / float(np.linalg.norm(axis))
