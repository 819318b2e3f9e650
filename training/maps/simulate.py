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
from training.maps.known_map import KnownMap, MapKind, Placement
from training.maps.noise import noise_envelope, noise_filter, pose_noise_share, random_field, white_noise_powers
from training.maps.processing import (
    apply_mask,
    filter_locally,
    nearest_inside,
    process,
    resample_wrapped,
    sharpen_locally,
)
from training.maps.recipe import Range, Recipe

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
    local : coarse (z, y, x), local resolution, Å
    inside : coarse (z, y, x), the molecule
    curve : (bands,), FSC over the molecule
    global_resolution : Å, where the curve falls below 0.143
    """

    filter: Volume
    envelope: Volume
    pose_share: Curve
    scale: float
    local: Volume
    inside: Mask
    curve: Curve
    global_resolution: float


def draw_log(limits: Range, rng: np.random.Generator) -> float:
    """Draw a number whose logarithm is uniform between those of the limits."""
    return float(np.exp(rng.uniform(*np.log(limits))))


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
    half = _known_map(signal, noise, first, signal.mask, (0, 0, 0), 0.0, ("none", "none"))
    return first, second, half.local_resolution()


def draw_map(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> KnownMap:
    """Add fresh noise to a molecule, matched to its median local resolution, and process the map."""
    k, frequencies = radius(signal.density.shape, signal.lengths), truth.bands(signal.voxel_size)
    noise = draw_noise(signal, recipe, rng)
    average = with_noise(signal, noise, 0.5, rng)
    processing = choose(recipe.processing, rng)
    values, limit = process(
        average, k, frequencies, noise.curve, noise.global_resolution, kind=processing, recipe=recipe, rng=rng
    )
    if processing == "local filter":
        outwards = rng.random() < recipe.local_filter_outwards
        local = nearest_inside(noise.local, noise.inside) if outwards else noise.local
        values = filter_locally(values, k, local * np.float32(rng.uniform(0.9, 1.1)))
    if processing == "local sharpening":
        values = sharpen_locally(values, signal.lengths, noise.global_resolution, rng)
    masking = choose(recipe.masking, rng)
    values, mask, start = apply_mask(values, signal.mask, signal.voxel_size, masking, rng)
    gain = np.float32(np.exp(rng.normal(0, 2)))
    known = _known_map(signal, noise, (values * gain).astype(np.float32), mask, start, limit, (processing, masking))
    for probability, effect in (
        (recipe.resampled, resampled),
        (recipe.padded, padded),
        (recipe.quantised, quantised),
        (recipe.resharpened, resharpened),
    ):
        if rng.random() < probability:
            known = effect(known, rng)
    return known


def _known_map(
    signal: Signal,
    noise: Noise,
    values: Volume,
    mask: Mask,
    start: Shape,
    low_pass_limit: float,
    kind: tuple[str, str],
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
        kind=MapKind(*kind, signal.molecule_kind),
    )


def _cubic(values: Volume, voxel_size: float) -> Density:
    z, y, x = values.shape
    return Density(values, Grid((z, y, x), (voxel_size,) * 3))


def resampled(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The map on voxels 0.8 to 1.4 times as large, by cubic interpolation, as viewers and model builders write it."""
    values, voxel_size = known.density.values, known.density.grid.voxel_size[0]
    ratio = max(rng.uniform(0.8, 1.4), 48 / min(values.shape))
    sizes = [max(int(n / ratio), 8) for n in values.shape]
    stride = max(n / m for n, m in zip(values.shape, sizes, strict=True))
    positions = np.meshgrid(*(np.arange(int((n - 1) / stride) + 1) * stride for n in values.shape), indexing="ij")
    density = ndimage.map_coordinates(values, positions, order=3, output=np.float32)
    mask = ndimage.map_coordinates(known.mask.astype(np.float32), positions, order=1) > 0.5
    placement = replace(known.placement, stride=stride)
    return replace(known, density=_cubic(density, voxel_size * stride), mask=mask, placement=placement)


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


def quantised(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The map rounded to 8 bits, with clipped or full range."""
    values = known.density.values
    low, high = np.percentile(values, (0, 100) if rng.random() < 0.5 else (0.02, 99.98))
    step = max(high - low, 1e-20) / 255
    rounded = (np.round(np.clip(values, low, high) / step) * step).astype(np.float32)
    return replace(known, density=replace(known.density, values=rounded))


def resharpened(known: KnownMap, rng: np.random.Generator) -> KnownMap:
    """The finished map sharpened or blurred once more, including its rounding errors and cut edges."""
    voxel_size = known.density.grid.voxel_size[0]
    b = rng.uniform(-14, 14) * known.global_resolution**2
    values = damped(known.density.values, voxel_size, max(b, -60 * voxel_size**2))
    return replace(known, density=replace(known.density, values=values.astype(np.float32)))


def choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    """Draw one of the keys, with probabilities proportional to the values."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


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
