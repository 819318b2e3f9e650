"""Processing by experimentalists: FSC weight, sharpening, global and local filters, masks, crops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.spectrum import low_pass
from cryores_lite.types import Mask, Shape, Volume
from training.maps.recipe import Recipe

Curve = npt.NDArray[np.float64]


def process(
    average: Volume,
    k: Volume,
    frequencies: Curve,
    curve: Curve,
    resolution: float,
    *,
    kind: str,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Volume, float]:
    """Weight, sharpen and low-pass a map according to its `kind` of processing.

    Parameters
    ----------
    average : (z, y, x), mean of two half maps
    k : |k| in 1/Å on the real-transform grid
    frequencies, curve : (bands,) 1/Å and the FSC of the half maps at them
    resolution : Å, global resolution
    kind : a key of ``recipe.processing``

    Returns
    -------
    The processed map, of variance 1, and the resolution in Å at which it was low-passed (0 if it was not).
    """
    waves = fft.rfftn(average)
    gain = np.ones_like(k)
    limit = 0.0
    if rng.random() < (recipe.fsc_weight_of_averages if kind == "average" else recipe.fsc_weight):
        gain *= fsc_weight(k, frequencies, curve)
    if kind not in ("average", "lowpass") or rng.random() < recipe.sharpening_of_plain_maps:
        # without a low-pass, the noise far beyond the resolution is not amplified
        last = 10.0 if kind == "postprocess" else 1.25 / resolution
        gain *= sharpening_gain(k, draw_b_factor(waves, k, resolution, recipe, rng), last)
    if kind in ("postprocess", "lowpass"):
        limit = draw_low_pass_limit(frequencies, curve, resolution, kind, recipe, rng)
        gain *= draw_low_pass(k, limit, recipe, rng)
    out: Volume = fft.irfftn(waves * gain, s=average.shape)
    return out / out.std(), limit


def high_passed(values: Volume, k: Volume, length: float, share: float) -> Volume:
    """Remove a share of the waves longer than `length` Å, which leaves dark fringes around a molecule."""
    out: Volume = fft.irfftn(fft.rfftn(values) * (1 - share * np.exp(-((k * length) ** 2))), s=values.shape)
    return out


def fsc_weight(k: Volume, frequencies: Curve, curve: Curve) -> Volume:
    """Gain sqrt(2 FSC / (1 + FSC)), Rosenthal & Henderson (2003), J. Mol. Biol. 333, 721."""
    weight = np.sqrt(2 * np.clip(curve, 0, 1) / (1 + np.clip(curve, 0, 1)))
    gain: Volume = np.interp(k, frequencies, weight, left=1.0).astype(np.float32)
    return gain


def draw_b_factor(
    waves: npt.NDArray[np.complex64], k: Volume, resolution: float, recipe: Recipe, rng: np.random.Generator
) -> float:
    """B in Å² by which a map is sharpened: a random multiple of its Guinier B factor."""
    guinier_b = guinier(waves, k, resolution)
    moderate = rng.random() < recipe.moderate_sharpening
    return guinier_b * (rng.uniform(0.3, 1.3) if moderate else rng.uniform(1.3, 2.5))


def sharpening_gain(k: Volume, b: float, last: float) -> Volume:
    """Gain exp(b k²/4), constant beyond the frequency `last` (1/Å)."""
    gain: Volume = np.exp(np.clip(b * np.minimum(k, last) ** 2 / 4, -20, 20))
    return gain


def draw_low_pass_limit(
    frequencies: Curve, curve: Curve, resolution: float, kind: str, recipe: Recipe, rng: np.random.Generator
) -> float:
    """Resolution in Å at which a map is low-passed: near its own, or where its FSC vanishes."""
    vanishing = np.flatnonzero((curve < rng.uniform(0.005, 0.06)) & (frequencies * resolution > 1))
    if kind == "postprocess" and rng.random() < recipe.weight_until_it_vanishes:
        return float(1 / frequencies[vanishing[0] if len(vanishing) else -1])
    return resolution * (rng.uniform(0.95, 1.05) if kind == "postprocess" else rng.uniform(0.75, 1.3))


def draw_low_pass(k: Volume, limit: float, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Gain of a low-pass filter at `limit` Å with a narrow or a wide edge."""
    centre, edge = 1 / limit, rng.choice([0.5, 2.0]) * k[0, 0, 1]
    if rng.random() >= recipe.narrow_edge:  # a wide edge ends at the limit, so that no finer detail remains
        edge = rng.uniform(0.02, 0.25) / limit
        centre -= edge
    return low_pass(k, centre, edge)


def guinier(waves: npt.NDArray[np.complex64], k: Volume, resolution: float) -> float:
    """B in Å² by which the amplitudes fall between 10 Å (or 2.5 × the resolution) and the resolution.

    0 where fewer than 50 Fourier terms lie between them.
    """
    start = min(0.1, 0.4 / resolution)
    chosen = (k > start) & (k < 1 / resolution)
    if chosen.sum() < 50:
        return 0.0
    slope = np.polyfit(k[chosen] ** 2, np.log(np.abs(waves[chosen]) + 1e-20), 1)[0]
    return float(np.clip(-4 * slope, 0, 4000))


def filter_locally(values: Volume, k: Volume, local: Volume) -> Volume:
    """Low-pass a map at every voxel at its local resolution, as RELION and cryoSPARC do."""
    return vary_filter(values, local, lambda cut: low_pass(k, 1 / cut, 2 * k[0, 0, 1]))


def vary_filter(values: Volume, local: Volume, gain: Callable[[float], Volume]) -> Volume:
    """Filter a map at every voxel with the gain for its local resolution, interpolated between six resolutions."""
    local = resample_wrapped(local, values.shape)
    lowest, highest = np.maximum(np.percentile(local, (1, 99)), [1e-3, 1.1e-3])
    cuts = np.geomspace(lowest, highest, 6)
    position = np.clip(np.interp(np.log(local), np.log(cuts), np.arange(len(cuts))), 0, len(cuts) - 1.001)
    waves, out = fft.rfftn(values), np.zeros_like(values)
    for n, cut in enumerate(cuts):
        weight = np.clip(1 - np.abs(position - n), 0, 1).astype(np.float32)
        out += weight * fft.irfftn(waves * gain(cut), s=values.shape)
    return out


def nearest_inside(values: Volume, inside: Mask) -> Volume:
    """Give every voxel outside the molecule the value of the nearest voxel inside."""
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    out: Volume = values[tuple(nearest)]
    return out


def resample_wrapped(values: Volume, shape: Shape) -> Volume:
    """Interpolate a periodic field linearly on another grid over the same box."""
    axes = [np.arange(m) * (n / m) for n, m in zip(values.shape, shape, strict=True)]
    positions = np.meshgrid(*axes, indexing="ij")
    out: Volume = ndimage.map_coordinates(values, positions, order=1, mode="grid-wrap", output=np.float32)
    return out


SMALL_SPHERES = (0.36, 0.5)  # radius of a sphere that cuts what leaves the box, in units of the shortest edge
SOFT_EDGES = {  # Å from the molecule to the beginning of the edge, and width of the edge
    "soft": ((1, 8), (3, 14)),
    "tight": ((-2, 1), (0.1, 5)),
    "zone": ((-1, 3), (0.1, 0.1)),
}


def apply_mask(
    values: Volume, mask: Mask, voxel_size: float, kind: str, rng: np.random.Generator
) -> tuple[Volume, Mask, Shape]:
    """Mask or crop a map according to `kind`, a key of ``Recipe.masking``.

    Returns the map, the mask of its molecule, and the position of its first voxel in the given map.
    """
    if kind == "none":
        return values, mask, (0, 0, 0)
    if kind == "cut":
        return cut_out(values, mask, rng)
    region = zone_around_an_atom(mask, rng) if kind == "zone" else mask
    if kind == "sphere":
        cuts = leaves_box(mask)
        sphere = rng.uniform(*SMALL_SPHERES) * min(mask.shape) if cuts else enclosing_radius(mask)
        distance = distance_from_centre(mask.shape) - sphere
        extend, edge = 0.0 if cuts else rng.uniform(0, 15), rng.uniform(4, 14)
        mask = mask & (distance * voxel_size < extend + edge / 2)
    else:
        distance = ndimage.distance_transform_edt(~region) - ndimage.distance_transform_edt(region)  # negative inside
        extend, edge = (rng.uniform(*limits) for limits in SOFT_EDGES[kind])
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance * voxel_size - extend) / edge, 0, 1))
    out = (values * soft).astype(np.float32)
    return crop_to(region, out, rng) if kind == "zone" else (out, mask, (0, 0, 0))


def ellipsoid_around_an_atom(mask: Mask, rng: np.random.Generator) -> Mask:
    """A random ellipsoid around one of the molecule's voxels."""
    molecule = np.argwhere(mask)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.6, 1.4, 3)
    offsets = (np.indices(mask.shape).reshape(3, -1).T - molecule[rng.integers(len(molecule))]) @ axes
    inside: Mask = np.linalg.norm(offsets, axis=1).reshape(mask.shape) < rng.uniform(0.15, 0.5) * mask.shape[0]
    return inside


def zone_around_an_atom(mask: Mask, rng: np.random.Generator) -> Mask:
    """The part of the molecule within a random ellipsoid around one of its voxels."""
    return mask & ellipsoid_around_an_atom(mask, rng)


def soft_region(mask: Mask, voxel_size: float, rng: np.random.Generator) -> Volume:
    """A part of the box around one of the molecule's voxels, from 0 to 1, with an edge of 3 to 12 Å."""
    inside = ellipsoid_around_an_atom(mask, rng).astype(np.float32)
    region: Volume = ndimage.gaussian_filter(inside, rng.uniform(3, 12) / 2 / voxel_size)
    return region


def leaves_box(mask: Mask) -> bool:
    """Whether a molecule reaches a face of the box."""
    inner = mask[1:-1, 1:-1, 1:-1]
    return bool(mask.sum() > inner.sum())


def enclosing_radius(mask: Mask) -> float:
    """Radius in voxels of the sphere around the box's centre that encloses the molecule."""
    return float(distance_from_centre(mask.shape)[mask].max())


def distance_from_centre(shape: Shape) -> Volume:
    """Distance of every voxel from the box's centre, in voxels."""
    z, y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in shape)
    distance: Volume = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    return distance


def crop_to(mask: Mask, values: Volume, rng: np.random.Generator) -> tuple[Volume, Mask, Shape]:
    """Crop a map to a mask with a margin of 0 to 11 voxels. Returns as `apply_mask`."""
    inside = np.argwhere(mask)
    margin = int(rng.integers(0, 12))
    low, high = np.maximum(inside.min(0) - margin, 0), np.minimum(inside.max(0) + 1 + margin, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return values[box], mask[box], (int(low[0]), int(low[1]), int(low[2]))


def cut_out(values: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask, Shape]:
    """Crop to a random box that contains a part of the molecule. Returns as `apply_mask`."""
    molecule = np.argwhere(mask)
    centre = molecule[rng.integers(len(molecule))]
    half_edge = int(rng.uniform(0.45, 0.75) * values.shape[0]) // 2
    low = np.clip(centre - half_edge, 0, np.array(values.shape) - 2 * half_edge)
    box = tuple(slice(int(a), int(a) + 2 * half_edge) for a in low)
    return values[box], mask[box], (int(low[0]), int(low[1]), int(low[2]))
