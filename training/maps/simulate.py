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
from training.maps.arrangements import LEAVES_THE_BOX, MERGED_EDGE, arrange, stained
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
    high_passed,
    nearest_inside,
    process,
    resample_wrapped,
    sharpening_gain,
    soft_region,
)
from training.maps.recipe import Recipe, choose, draw_log

Curve = npt.NDArray[np.float64]

SMALLEST_VOXEL = 0.4  # Å
FINEST_SCALED = 10.0  # Å; signals of coarser resolution are simulated with this one, on a smaller scale


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
    molecule_kind : kind of the structure, from the manifest, or of the arrangement
    scale : all lengths in Å of the signal were divided by this number
    rim : voxels that maps lack at every face, where what leaves the box would come in again on the other side
    """

    density: Volume
    mask: Mask
    voxel_size: float
    resolution: float
    powers: Volume
    molecule_kind: str
    scale: float = 1.0
    rim: int = 0

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """The box without its rim."""
        z, y, x = (slice(self.rim, n - self.rim) for n in self.density.shape)
        return z, y, x

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
    """Put a moving molecule or an arrangement of copies into a box, and measure the band powers of its mean density.

    What is to be coarser than 10 Å is simulated at 10 Å, with all lengths divided by `Signal.scale`.
    """
    atoms = structures.rotated(structures.read_atoms(structure.path), rng)
    kind = choose(recipe.arrangement, rng)
    resolution = draw_resolution(kind, recipe, rng)
    if kind == "negative stain" and extent_of(atoms) < 4 * resolution:
        atoms = arrange("ring", atoms, 10 * resolution, resolution, rng)
    if kind == "single":
        resolution = min(resolution, extent_of(atoms) / rng.uniform(*recipe.resolution_elements))
    voxel_size = max(resolution / draw_log(recipe.oversampling, rng), SMALLEST_VOXEL)
    rim = 0
    if kind in ("single", "negative stain"):
        margin = rng.uniform(1.25, 1.9)
        atoms = structures.cut_ball(atoms, recipe.box[1] * voxel_size / margin, rng)
        if kind == "single" and structure.kind == "membrane" and rng.random() < recipe.membrane_belt:
            atoms = structures.with_membrane(atoms, rng)
        extent = extent_of(atoms)
        edge = int(np.clip(max(extent * margin, extent + 30) / voxel_size, *recipe.box)) // 2 * 2
    else:
        edge = int(max(rng.uniform(0.7, 1) * recipe.box[1], recipe.box[0])) // 2 * 2
        atoms = arrange(kind, atoms, edge * voxel_size, resolution, rng)
        rim = int(np.ceil(0.8 * resolution / voxel_size)) if kind in LEAVES_THE_BOX else 0
    scale = max(1.0, resolution / FINEST_SCALED)
    atoms, resolution, voxel_size = atoms.at(atoms.positions / scale), resolution / scale, voxel_size / scale
    shape = (edge, edge, edge)
    lengths = (edge * voxel_size,) * 3
    molecule = structures.ensemble(atoms, resolution, recipe.conformers, draw_log(recipe.mobility_spread, rng), rng)
    density = structures.mean_density(molecule, shape, voxel_size, scale)
    mask = structures.molecule_mask(molecule, shape, voxel_size, scale)
    if kind == "negative stain":
        density = stained(density, mask, lengths, resolution, rng)
        mask = structures.closed(mask, 0.4 * resolution / voxel_size)
    elif kind != "single":
        mask = structures.closed(mask, MERGED_EDGE * resolution / voxel_size)
    density = damped(density, voxel_size, 4 * draw_log(recipe.amplitude_falloff, rng) * resolution**2)
    spectrum = periodic(density, voxel_size)
    coarse = grid_for(spectrum.lengths, POWER_STEP)
    powers = np.stack([local_power(spectrum, f, coarse) for f in truth.bands(voxel_size)])
    return Signal(
        density=density / density.std(),
        mask=mask,
        voxel_size=voxel_size,
        resolution=resolution,
        powers=powers / density.var(),
        molecule_kind=structure.kind if kind == "single" else kind,
        scale=scale,
        rim=rim,
    )


def draw_resolution(kind: str, recipe: Recipe, rng: np.random.Generator) -> float:
    """The intended median resolution in Å of an arrangement's maps, a key of ``recipe.arrangement``."""
    if kind == "negative stain":
        return draw_log(recipe.stain_resolution, rng)
    if kind != "single" and rng.random() < recipe.coarse:
        return draw_log(recipe.coarse_resolution, rng)
    resolution = draw_log(recipe.usual_resolution if rng.random() < recipe.usual_share else recipe.resolution, rng)
    return max(resolution, recipe.finest_bilayer) if kind == "bilayer" else resolution


def extent_of(atoms: structures.Atoms) -> float:
    """The longest edge of the box around a molecule, in Å."""
    return float(np.ptp(atoms.positions, axis=0).max())


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
    inner = np.zeros(signal.mask.shape, np.float32)
    inner[signal.inner] = signal.mask[signal.inner]
    inside = resample_wrapped(inner, coarse) > 0.5

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
    inner = signal.inner
    half = _known_map(signal, noise, first[inner], signal.mask[inner], (signal.rim,) * 3, 0.0, kind)
    return first[inner], second[inner], half.local_resolution()


def draw_map(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """Add fresh noise to a molecule, matched to its median local resolution, process the map, and edit it."""
    k, frequencies = radius(signal.density.shape, signal.lengths), truth.bands(signal.voxel_size)
    noise = draw_noise(signal, recipe, rng)
    average = with_noise(signal, noise, 0.5, rng)
    if rng.random() < (recipe.high_pass_of_coarse_maps if signal.scale > 1 else recipe.high_pass):
        average = high_passed(average, k, rng.uniform(2, 8) * signal.resolution, rng.uniform(0.5, 1))
    editing = choose(recipe.editing, rng)
    enhanced_later = editing == "enhanced" and rng.random() < recipe.locally_sharpened_before_enhancement
    sharpened = editing == "locally sharpened" or enhanced_later
    processing = choose(recipe.processing, rng)
    if sharpened and processing == "local filter":  # what a local filter removed is not sharpened
        processing = "sharpened"
    if editing == "low precision" and rng.random() < recipe.low_passed_before_storing:
        processing = "lowpass"
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
    inner = signal.inner
    values, mask, (z, y, x) = apply_mask(values[inner], signal.mask[inner], signal.voxel_size, masking, rng)
    start = (z + signal.rim, y + signal.rim, x + signal.rim)
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
    """Put a map that begins at voxel `start` of the simulated box together with its truth, in unscaled lengths."""
    z, y, x = signal.density.shape
    return KnownMap(
        density=_cubic(values, signal.voxel_size * signal.scale),
        mask=mask,
        truth=np.maximum(noise.local, low_pass_limit) * np.float32(signal.scale),
        placement=Placement((z, y, x), start),
        global_resolution=noise.global_resolution * signal.scale,
        low_pass_limit=low_pass_limit * signal.scale,
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
    values = known.density.values
    lengths = tuple(n * voxel_size for n in values.shape)
    # programs sharpen up to Nyquist: beyond, rounding errors and the edges of masks would hide the map
    gain = sharpening_gain(radius(values.shape, lengths), min(-b, 60 * voxel_size**2), 1 / (2 * voxel_size))
    return with_values(known, fft.irfftn(fft.rfftn(values) * gain, s=values.shape).astype(np.float32))


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
