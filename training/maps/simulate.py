"""Simulated maps with known local resolution.

`draw_signal` makes the mean density of a molecule and its local band powers, which take most of the time. `draw_map`
adds fresh noise, whose power gives the truth, and processes the map as experimentalists do. `Recipe` holds the ranges
and probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.local_power import POWER_STEP, local_power, smooth
from cryores_lite.fourier.spectrum import Spectrum, grid_for, radius
from cryores_lite.types import Density, Grid, Lengths, Mask, Shape, Volume
from training.maps import structures, truth
from training.maps.editing import (
    clip,
    edit_region,
    enhance,
    rounding_is_visible,
    sharpen_locally,
    store,
)
from training.maps.known_map import KnownMap, MapKind, Placement
from training.maps.noise import noise_envelope, noise_filter, pose_noise_share, random_field, white_noise_powers
from training.maps.processing import (
    apply_mask,
    filter_locally,
    nearest_inside,
    process,
    resample_wrapped,
    soft_region,
)
from training.maps.recipe import Recipe, choose, draw_log

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Signal:
    """The noise-free mean density of a molecule, shared by all maps drawn from it.

    Attributes
    ----------
    density : (z, y, x), of variance 1
    mask : (z, y, x) bool, the molecule
    voxel_size : Å
    resolution : Å, the intended median local resolution of its maps
    powers : (bands, coarse z, y, x), local band powers
    molecule_kind : kind of the structure, from the manifest
    """

    density: Volume
    mask: Mask
    voxel_size: float
    resolution: float
    powers: Volume
    molecule_kind: str

    @property
    def lengths(self) -> Lengths:
        """Edges of the box in Å."""
        z, y, x = (n * self.voxel_size for n in self.density.shape)
        return z, y, x


@dataclass(frozen=True, eq=False, kw_only=True)
class Noise:
    """The noise of a half map of a signal, and the truth that follows from it.

    Attributes
    ----------
    filter : (z, y, half x), factors of the Fourier amplitudes of white noise
    envelope : (z, y, x), amplitude of the noise over space
    pose_share : (bands,), power of the noise from pose errors / power of the signal
    scale : power of the filtered white noise in one half map
    region : (z, y, x) from 0 to 1, the second part of a composite map, or None
    local : coarse (z, y, x), local resolution, Å
    inside : coarse (z, y, x), the molecule
    curve : (bands,), FSC over the molecule
    global_resolution : Å, where the curve falls below 0.143
    """

    filter: Volume
    envelope: Volume
    pose_share: Curve
    scale: float
    region: Volume | None
    local: Volume
    inside: Mask
    curve: Curve
    global_resolution: float


def draw_signal(structure: structures.Structure, recipe: Recipe, rng: np.random.Generator) -> Signal:
    """Put a moving molecule into a box and measure the local band powers of its mean density."""
    atoms = structures.rotated(structures.read_atoms(structure.path), rng)
    resolution = draw_log(recipe.usual_resolution if rng.random() < recipe.usual_share else recipe.resolution, rng)
    resolution = min(
        resolution, float(np.ptp(atoms.positions, axis=0).max()) / rng.uniform(*recipe.resolution_elements)
    )
    voxel_size = float(np.clip(resolution / draw_log(recipe.oversampling, rng), 0.3, 6.0))
    margin = rng.uniform(1.25, 1.9)
    atoms = structures.cut_ball(atoms, recipe.box[1] * voxel_size / margin, rng)
    if structure.kind == "membrane" and rng.random() < recipe.membrane_belt:
        atoms = structures.with_membrane(atoms, rng)
    extent = float(np.ptp(atoms.positions, axis=0).max())
    edge = int(np.clip(max(extent * margin, extent + 30) / voxel_size, *recipe.box)) // 2 * 2
    shape = (edge, edge, edge)
    molecule = structures.ensemble(atoms, resolution, recipe.conformers, draw_log(recipe.mobility_spread, rng), rng)
    density = structures.mean_density(molecule, shape, voxel_size)
    density = damped(density, voxel_size, 4 * draw_log(recipe.amplitude_falloff, rng) * resolution**2)
    spectrum = periodic(density, voxel_size)
    coarse = grid_for(spectrum.lengths, POWER_STEP)
    powers = np.stack([local_power(spectrum, f, coarse) for f in truth.bands(voxel_size)])
    return Signal(
        density=density / density.std(),
        mask=structures.molecule_mask(molecule, shape, voxel_size),
        voxel_size=voxel_size,
        resolution=resolution,
        powers=powers / density.var(),
        molecule_kind=structure.kind,
    )


def damped(density: Volume, voxel_size: float, b: float) -> Volume:
    """Multiply all amplitudes by exp(-b k²/4), with `b` in Å²."""
    lengths = tuple(n * voxel_size for n in density.shape)
    out: Volume = fft.irfftn(fft.rfftn(density) * np.exp(-b * radius(density.shape, lengths) ** 2 / 4), s=density.shape)
    return out


def periodic(values: Volume, voxel_size: float) -> Spectrum:
    """The spectrum of a simulated box, which is periodic and needs no padding."""
    z, y, x = values.shape
    return Spectrum(fft.rfftn(values), (z, y, x), (z * voxel_size, y * voxel_size, x * voxel_size), (0, 0, 0))


def draw_noise(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> Noise:
    """Draw the spectrum and the envelope of the noise, and match its power to the signal's median local resolution."""
    k = radius(signal.density.shape, signal.lengths)
    frequencies = truth.bands(signal.voxel_size)
    coarse = signal.powers.shape[1:]
    inside = resample_wrapped(signal.mask.astype(np.float32), coarse) > 0.5

    amplitude = noise_filter(k, signal.resolution, recipe, rng)
    envelope = noise_envelope(signal.mask, signal.voxel_size, recipe, rng)
    region = soft_region(signal.mask, signal.voxel_size, rng) if rng.random() < recipe.composite else None
    if region is not None:
        envelope = envelope * np.exp(np.float32(rng.uniform(*recipe.composite_noise)) * region)
    white_power = white_noise_powers(amplitude, k, frequencies)
    window = smooth(envelope**2, signal.lengths, 8.0, coarse)
    white = white_power[:, None, None, None].astype(np.float32) * window
    pose_share = np.zeros(len(frequencies))
    if rng.random() < recipe.pose_noise:
        pose_share = pose_noise_share(frequencies, signal.resolution, rng)
    pose = pose_share[:, None, None, None].astype(np.float32) * signal.powers

    scale = match_noise(signal, frequencies, white, pose, inside)
    half_noise = scale * white + pose
    fsc = signal.powers / np.maximum(signal.powers + half_noise, 1e-20)
    curve = signal.powers[:, inside].sum(1) / (signal.powers + half_noise)[:, inside].sum(1)
    return Noise(
        filter=amplitude,
        envelope=envelope,
        pose_share=pose_share,
        scale=scale,
        region=region,
        local=truth.first_crossing(fsc, frequencies),
        inside=inside,
        curve=curve,
        global_resolution=float(truth.first_crossing(curve[:, None].astype(np.float32), frequencies)[0]),
    )


def with_noise(signal: Signal, noise: Noise, share: float, rng: np.random.Generator) -> Volume:
    """Add fresh noise of `share` of a half map's power: 1 for a half map, 0.5 for the average of two."""
    shape = signal.density.shape
    k, frequencies = radius(shape, signal.lengths), truth.bands(signal.voxel_size)
    white = fft.irfftn(noise.filter * fft.rfftn(noise.envelope * rng.standard_normal(shape, np.float32)), s=shape)
    modulation = random_field(shape, signal.lengths, 8.0, rng)
    pose_amplitude = np.sqrt(np.interp(k, frequencies, noise.pose_share))
    pose = fft.irfftn(pose_amplitude * fft.rfftn(signal.density * modulation), s=shape)
    out: Volume = signal.density + np.float32(np.sqrt(noise.scale * share)) * white + np.float32(np.sqrt(share)) * pose
    return out


def draw_halves(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> tuple[Volume, Volume, Volume]:
    """Two unprocessed half maps of a molecule, and their local resolution in Å, 0 outside the molecule."""
    noise = draw_noise(signal, recipe, rng)
    first, second = (with_noise(signal, noise, 1.0, rng).astype(np.float32) for _ in range(2))
    kind = MapKind("none", "none", signal.molecule_kind, "none")
    half = _known_map(signal, noise, first, signal.mask, (0, 0, 0), 0.0, kind)
    return first, second, half.local_resolution()


def draw_map(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """Add fresh noise to a molecule, matched to its median local resolution, process the map, and edit it."""
    k, frequencies = radius(signal.density.shape, signal.lengths), truth.bands(signal.voxel_size)
    noise = draw_noise(signal, recipe, rng)
    average = with_noise(signal, noise, 0.5, rng)
    editing = choose(recipe.editing, rng)
    enhanced_later = editing == "enhanced" and rng.random() < recipe.locally_sharpened_before_enhancement
    sharpened = editing == "locally sharpened" or enhanced_later
    processing = choose(recipe.processing, rng)
    if sharpened and processing == "local filter":  # what a local filter removed is not sharpened
        processing = "sharpened"
    values, limit = process(
        average, k, frequencies, noise.curve, noise.global_resolution, kind=processing, recipe=recipe, rng=rng
    )
    if processing == "local filter":
        outwards = rng.random() < recipe.local_filter_outwards
        local = nearest_inside(noise.local, noise.inside) if outwards else noise.local
        values = filter_locally(values, k, local * np.float32(rng.uniform(0.9, 1.1)))
    if noise.region is not None:
        values = edit_region(values, k, noise.region, noise.global_resolution, rng)
    if sharpened:
        values, last = sharpen_locally(values, signal.lengths, noise.local, noise.global_resolution, recipe, rng)
        limit = max(limit, last)
    if rng.random() < recipe.solvent_level:
        values = values + np.float32(rng.uniform(*recipe.solvent_levels) * values.std())
    zone = editing == "clipped" and rng.random() < recipe.zone_of_clipped_maps
    masking = "zone" if zone else choose(recipe.masking, rng)
    values, mask, start = apply_mask(values, signal.mask, signal.voxel_size, masking, rng)
    gain = np.float32(np.exp(rng.normal(0, 2)))
    kind = MapKind(processing, masking, signal.molecule_kind, editing)
    known = _known_map(signal, noise, (values * gain).astype(np.float32), mask, start, limit, kind)
    for probability, effect in (
        (recipe.resampled, resampled),
        (recipe.padded, padded),
        (recipe.resharpened, resharpened),
    ):
        if rng.random() < probability:
            known = effect(known, rng)
    if editing in ("clipped", "enhanced"):
        known = clipped(known, recipe, rng) if editing == "clipped" else enhanced(known, signal, recipe, rng)
        if rng.random() < recipe.resampled_after_editing:
            known = resampled(known, rng)
    edited = editing not in ("none", "low precision")
    if editing == "low precision" or (edited and rng.random() < recipe.low_precision_of_edited_maps):
        known = stored(known, recipe, rng)
    return known


def _known_map(
    signal: Signal,
    noise: Noise,
    values: Volume,
    mask: Mask,
    start: Shape,
    low_pass_limit: float,
    kind: MapKind,
) -> KnownMap:
    """Put a map that begins at voxel `start` of the simulated box together with its truth."""
    z, y, x = signal.density.shape
    return KnownMap(
        density=_cubic(values, signal.voxel_size),
        mask=mask,
        truth=np.maximum(noise.local, low_pass_limit),
        placement=Placement((z, y, x), start),
        global_resolution=noise.global_resolution,
        low_pass_limit=low_pass_limit,
        kind=kind,
    )


def _cubic(values: Volume, voxel_size: float) -> Density:
    z, y, x = values.shape
    return Density(values, Grid((z, y, x), (voxel_size,) * 3))


def resampled(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The map on voxels 0.8 to 1.4 times as large, by cubic interpolation, as viewers and model builders write it.

    A map of fewer than 48 voxels is not made coarser. No detail finer than two of the new voxels remains.
    """
    values, voxel_size = known.density.values, known.density.grid.voxel_size[0]
    ratio = min(rng.uniform(0.8, 1.4), max(min(values.shape) / 48, 1.0))
    sizes = [max(int(n / ratio), 8) for n in values.shape]
    stride = max(n / m for n, m in zip(values.shape, sizes, strict=True))
    positions = np.meshgrid(*(np.arange(int((n - 1) / stride) + 1) * stride for n in values.shape), indexing="ij")
    density = ndimage.map_coordinates(values, positions, order=3, output=np.float32)
    mask = ndimage.map_coordinates(known.mask.astype(np.float32), positions, order=1) > 0.5
    placement = replace(known.placement, stride=stride)
    limit = max(known.low_pass_limit, 2 * voxel_size * stride)
    return replace(
        known,
        density=_cubic(density, voxel_size * stride),
        mask=mask,
        truth=np.maximum(known.truth, limit),
        placement=placement,
        low_pass_limit=limit,
    )


def padded(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The map off-centre in a larger box, padded with zeros."""
    values, voxel_size = known.density.values, known.density.grid.voxel_size[0]
    before, after = (rng.integers(2, max(3, min(values.shape) // 4), 3) for _ in range(2))
    widths = [(int(a), int(b)) for a, b in zip(before, after, strict=True)]
    stride = known.placement.stride
    z, y, x = (a - b * stride for a, b in zip(known.placement.start, before, strict=True))
    return replace(
        known,
        density=_cubic(np.pad(values, widths), voxel_size),
        mask=np.pad(known.mask, widths),
        placement=replace(known.placement, start=(z, y, x)),
    )


def resharpened(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The finished map sharpened or blurred once more, including its rounding errors and cut edges."""
    voxel_size = known.density.grid.voxel_size[0]
    b = rng.uniform(-14, 14) * known.global_resolution**2
    values = damped(known.density.values, voxel_size, max(b, -60 * voxel_size**2))
    return with_values(known, values.astype(np.float32))


def clipped(known: KnownMap, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """The map clipped at a contour, at 0 or at the top."""
    return with_values(known, clip(known.density.values, known.mask, recipe, rng))


def enhanced(known: KnownMap, signal: Signal, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """The map as if enhanced by a network, sometimes with the histogram of its noise-free density."""
    z, y, x = (n * known.density.grid.voxel_size[0] for n in known.density.values.shape)
    noise_free = np.sort(signal.density[signal.mask & (signal.density > 0)])
    resolution = known.visible_global_resolution
    values = enhance(known.density.values, (z, y, x), known.mask, resolution, noise_free, recipe, rng)
    return with_values(known, values)


def stored(known: KnownMap, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """The map stored with low precision; a label "low precision" becomes "none" where this cannot be seen."""
    values = store(known.density.values, recipe, rng)
    unseen = known.kind.editing == "low precision" and not rounding_is_visible(known.density.values, values)
    kind = replace(known.kind, editing="none") if unseen else known.kind
    return replace(with_values(known, values), kind=kind)


def with_values(known: KnownMap, values: Volume) -> KnownMap:
    """The map with other values on the same grid."""
    return replace(known, density=replace(known.density, values=values))


def match_noise(signal: Signal, frequencies: Curve, white: Volume, pose: Volume, inside: Mask) -> float:
    """Find by bisection the power of the white noise that gives the signal's median local resolution."""
    signal_power, white_power, pose_power = signal.powers[:, inside], white[:, inside], pose[:, inside]
    low, high = np.log(1e-12), np.log(1e12)
    for _ in range(24):
        middle = (low + high) / 2
        noise = np.float32(np.exp(middle)) * white_power + pose_power
        local = truth.first_crossing(signal_power / np.maximum(signal_power + noise, 1e-20), frequencies)
        low, high = (middle, high) if np.median(local) < signal.resolution else (low, middle)
    return float(np.exp((low + high) / 2))
