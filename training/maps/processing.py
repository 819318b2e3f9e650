"""What people do to a map: weight, sharpen, filter, locally or as a whole; mask it, or cut a part out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.local_power import smooth
from cryores_lite.types import Mask, Shape, Volume

Curve = npt.NDArray[np.float64]


def process(
    average: Volume,
    k: Volume,
    frequencies: Curve,
    curve: Curve,
    overall: float,
    kind: str,
    rng: np.random.Generator,
) -> tuple[Volume, float]:
    """Weight, sharpen and filter a map as `kind` says. Also returns the low-pass in Å (0 for none)."""
    waves = fft.rfftn(average)
    gain = np.ones_like(k)
    limit = 0.0
    if rng.random() < (0.4 if kind == "average" else 0.8):
        weight = np.sqrt(2 * np.clip(curve, 0, 1) / (1 + np.clip(curve, 0, 1)))
        gain *= np.interp(k, frequencies, weight, left=1.0).astype(np.float32)
    if kind not in ("average", "lowpass") or rng.random() < 0.4:
        strength = guinier(waves, k, overall) * (
            rng.uniform(0.3, 1.3) if rng.random() < 0.75 else rng.uniform(1.3, 2.5)
        )
        last = 10.0 if kind == "postprocess" else 1.25 / overall  # without a low-pass nobody lifts noise for long
        gain *= np.exp(np.clip(strength * np.minimum(k, last) ** 2 / 4, -20, 20))
    if kind in ("postprocess", "lowpass"):
        vanishing = np.flatnonzero((curve < rng.uniform(0.005, 0.06)) & (frequencies * overall > 1))
        if kind == "postprocess" and rng.random() < 0.65:  # RELION weights by the FSC until it vanishes
            limit = float(1 / frequencies[vanishing[0] if len(vanishing) else -1])
        else:
            limit = overall * (rng.uniform(0.95, 1.05) if kind == "postprocess" else rng.uniform(0.75, 1.3))
        centre, edge = 1 / limit, rng.choice([0.5, 2.0]) * k[0, 0, 1]
        if rng.random() >= 0.7:  # a wide edge ends at the limit: nothing finer is left
            edge = rng.uniform(0.02, 0.25) / limit
            centre -= edge
        gain *= low_pass(k, centre, edge)
    out: Volume = fft.irfftn(waves * gain, s=average.shape)
    return out / out.std(), limit


def low_pass(k: Volume, centre: float, edge: float) -> Volume:
    """Gain of a filter whose cosine edge falls from 1 to 0 between `centre` - `edge` and `centre` + `edge` (1/Å)."""
    gain: Volume = 0.5 - 0.5 * np.cos(np.pi * np.clip((centre + edge - k) / (2 * edge), 0, 1))
    return gain


def guinier(waves: npt.NDArray[np.complex64], k: Volume, resolution: float) -> float:
    """B in Å² by which the amplitudes fall between 10 Å (or 2.5 × the resolution) and the resolution.

    Where too few waves tell, 0.
    """
    start = min(0.1, 0.4 / resolution)
    chosen = (k > start) & (k < 1 / resolution)
    if chosen.sum() < 50:
        return 0.0
    slope = np.polyfit(k[chosen] ** 2, np.log(np.abs(waves[chosen]) + 1e-20), 1)[0]
    return float(np.clip(-4 * slope, 0, 4000))


def locally_filtered(values: Volume, k: Volume, local: Volume) -> Volume:
    """The map low-passed everywhere at its local resolution, as RELION and cryoSPARC write it."""
    local = on_grid(local, values.shape)
    cuts = np.geomspace(*np.maximum(np.percentile(local, (1, 99)), [1e-3, 1.1e-3]), 6)
    place = np.clip(np.interp(np.log(local), np.log(cuts), np.arange(len(cuts))), 0, len(cuts) - 1.001)
    waves, out = fft.rfftn(values), np.zeros_like(values)
    for n, cut in enumerate(cuts):
        share = np.clip(1 - np.abs(place - n), 0, 1).astype(np.float32)
        out += share * fft.irfftn(waves * low_pass(k, 1 / cut, 2 * k[0, 0, 1]), s=values.shape)
    return out


def locally_sharpened(
    values: Volume, lengths: tuple[float, ...], resolution: float, rng: np.random.Generator
) -> Volume:
    """The map with its local amplitude made more even, as LocScale-like sharpening does."""
    sigma = max(5.0, 2 * resolution)
    amplitude = np.sqrt(smooth(values**2, lengths, sigma, values.shape))
    out: Volume = values / np.maximum(amplitude, np.percentile(amplitude, 20)) ** rng.uniform(0.3, 0.9)
    return out / out.std()


def nearest_inside(values: Volume, inside: Mask) -> Volume:
    """Values of the molecule, held outwards: what programs do that know a local resolution in the mask alone."""
    place = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    out: Volume = values[tuple(place)]
    return out


def on_grid(values: Volume, shape: Shape) -> Volume:
    """Read a periodic field off at another grid over the same box, linearly."""
    axes = [np.arange(m) * (n / m) for n, m in zip(values.shape, shape, strict=True)]
    where = np.meshgrid(*axes, indexing="ij")
    out: Volume = ndimage.map_coordinates(values, where, order=1, mode="grid-wrap", output=np.float32)
    return out


def apply_mask(
    values: Volume, mask: Mask, voxel_size: float, kind: str, rng: np.random.Generator
) -> tuple[Volume, Mask, Shape]:
    """Mask or crop a map as people do. Returns the map, its part of the molecule, and its first voxel."""
    start = (0, 0, 0)
    if kind == "none":
        return values, mask, start
    if kind == "cut":
        return cut_out(values, mask, rng)
    chosen = mask
    if kind == "zone":
        where = np.argwhere(mask)
        along = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.6, 1.4, 3)
        apart = (np.indices(mask.shape).reshape(3, -1).T - where[rng.integers(len(where))]) @ along
        chosen = mask & (np.linalg.norm(apart, axis=1).reshape(mask.shape) < rng.uniform(0.15, 0.5) * mask.shape[0])
    if kind == "sphere":
        where = np.argwhere(mask) - np.array(mask.shape) / 2
        reach = np.sqrt((where**2).sum(1).max())
        apart = np.sqrt(((np.indices(mask.shape).T - np.array(mask.shape) / 2) ** 2).sum(-1)).T - reach
        extend, edge = rng.uniform(0, 15), rng.uniform(4, 14)
    else:
        apart = ndimage.distance_transform_edt(~chosen) - ndimage.distance_transform_edt(chosen)  # negative inside
        ranges = {"soft": ((1, 8), (3, 14)), "tight": ((-2, 1), (0.1, 5)), "zone": ((-1, 3), (0.1, 0.1))}
        extend, edge = (rng.uniform(*r) for r in ranges[kind])
    soft = 0.5 + 0.5 * np.cos(np.pi * np.clip((apart * voxel_size - extend) / edge, 0, 1))
    out = (values * soft).astype(np.float32)
    if kind != "zone":
        return out, mask, start
    where = np.argwhere(chosen)
    rim = int(rng.integers(0, 12))
    low, high = np.maximum(where.min(0) - rim, 0), np.minimum(where.max(0) + 1 + rim, mask.shape)
    inner = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return out[inner], chosen[inner], (int(low[0]), int(low[1]), int(low[2]))


def cut_out(values: Volume, mask: Mask, rng: np.random.Generator) -> tuple[Volume, Mask, Shape]:
    """A box cut out of the map, with part of the molecule in it."""
    where = np.argwhere(mask)
    centre = where[rng.integers(len(where))]
    edge = int(rng.uniform(0.45, 0.75) * values.shape[0]) // 2
    low = np.clip(centre - edge, 0, np.array(values.shape) - 2 * edge)
    inner = tuple(slice(int(a), int(a) + 2 * edge) for a in low)
    return values[inner], mask[inner], (int(low[0]), int(low[1]), int(low[2]))
