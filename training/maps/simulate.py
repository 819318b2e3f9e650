"""Simulated maps whose local resolution is known.

`draw_signal` makes a molecule's mean density and its local band powers, which cost most; `draw_map` adds fresh
noise, from whose power the truth follows, and processes the map as people do. What is drawn, and how often, stands
in `Recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.interpolation import interpolate
from cryores_lite.fourier.local_power import BAND_WIDTH, POWER_STEP, local_power, smooth
from cryores_lite.fourier.spectrum import Spectrum, grid_for, radius
from cryores_lite.types import Mask, Shape, Volume
from training.maps import structures, truth
from training.maps.processing import apply_mask, locally_filtered, locally_sharpened, nearest_inside, on_grid, process

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What is drawn, and how often."""

    resolution: tuple[float, float] = (1.3, 20.0)  # Å, median truth, log-uniform
    usual: tuple[float, tuple[float, float]] = (0.7, (2.0, 12.0))  # share of signals in a narrower range, and the range
    details: tuple[float, float] = (4.0, 10.0)  # a molecule is at least as many resolution elements across
    oversampling: tuple[float, float] = (2.1, 5.5)  # resolution / voxel size, log-uniform
    box: tuple[int, int] = (48, 96)  # voxels; larger molecules are cut to a ball
    conformers: int = 6
    unevenness: tuple[float, float] = (0.1, 2.2)  # of the mobility over a molecule, in log units, log-uniform
    envelope: tuple[float, float] = (0.1, 5.0)  # what optics and poses take of the amplitude: exp(-x) at the resolution
    processing: dict[str, float] = field(
        default_factory=lambda: {
            "postprocess": 0.42,
            "average": 0.16,
            "sharpened": 0.11,
            "lowpass": 0.14,
            "local filter": 0.12,
            "local sharpening": 0.05,
        }
    )
    masking: dict[str, float] = field(
        default_factory=lambda: {"none": 0.32, "sphere": 0.08, "soft": 0.21, "tight": 0.15, "zone": 0.16, "cut": 0.08}
    )
    uneven_noise: float = 0.2  # noise stronger or weaker at the molecule
    at_molecule: tuple[float, float] = (-0.2, 0.8)  # by this share of its power
    drifting_noise: float = 0.2  # noise that changes slowly over the box
    falling_noise: float = 0.4  # noise that falls off with distance from the centre
    following_noise: float = 0.7  # what pose errors and a finite ensemble make of the signal
    missing_views: float = 0.2  # noise amplified in a cone of directions
    resampled: float = 0.25  # to another voxel size by interpolation
    padded: float = 0.08  # with zeros
    quantised: float = 0.06  # to 8 bits
    resharpened: float = 0.3  # or blurred, when all else is done
    doubt: tuple[float, float] = (0.02, 0.3)  # error of the level that the network is told, log-uniform


AVERAGES = Recipe(  # of two half maps, and nothing done to them
    processing={"average": 1.0}, masking={"none": 1.0}, resampled=0.0, padded=0.0, quantised=0.0, resharpened=0.0
)
EVEN_NOISE = replace(  # the same everywhere and in all directions, and independent of the signal
    AVERAGES, uneven_noise=0.0, drifting_noise=0.0, falling_noise=0.0, following_noise=0.0, missing_views=0.0
)


@dataclass(frozen=True, eq=False)
class Signal:
    """A molecule at rest: what all maps drawn from it share. `powers` is (bands, coarse z, y, x)."""

    density: Volume
    mask: Mask
    voxel_size: float
    resolution: float
    powers: Volume


@dataclass(frozen=True, eq=False)
class Noise:
    """What spoils a half map of a signal, and the truth that follows from it.

    Attributes
    ----------
    filter : of the waves of white noise
    envelope : (z, y, x), its amplitude over space
    following : (bands,), power of what follows the signal, as a share of the signal's
    scale : power of the filtered white noise in one half map
    local : coarse (z, y, x), local resolution, Å
    inside : coarse (z, y, x), the molecule
    curve : (bands,), FSC over the molecule
    overall : Å, where it falls below 0.143
    """

    filter: Volume
    envelope: Volume
    following: Curve
    scale: float
    local: Volume
    inside: Mask
    curve: Curve
    overall: float


@dataclass(frozen=True, eq=False)
class SimulatedMap:
    """A processed map and its truth.

    Attributes
    ----------
    density, mask : (z, y, x), the map as a user gets it, and the molecule on the same grid
    voxel_size : Å
    truth : coarse (z, y, x), Å, on the grid of the whole simulated box
    start, whole : place of the map's first voxel in the simulated box, in voxels of that box, and the box's shape
    stride : voxel size / that of the simulated box
    global_resolution : Å, FSC over the molecule at 0.143
    limit : Å, low-pass filter of the map, or 0
    kind : how it was made
    """

    density: Volume
    mask: Mask
    voxel_size: float
    truth: Volume
    start: tuple[float, float, float]
    whole: Shape
    global_resolution: float
    limit: float
    kind: dict[str, str]
    stride: float = 1.0


def draw_signal(structure: structures.Structure, recipe: Recipe, rng: np.random.Generator) -> Signal:
    """Put a moving molecule into a box and measure the local powers of its mean density."""
    atoms = structures.turned(structures.read_atoms(structure.path), rng)
    wanted = recipe.usual[1] if rng.random() < recipe.usual[0] else recipe.resolution
    resolution = float(np.exp(rng.uniform(*np.log(wanted))))
    resolution = min(resolution, float(np.ptp(atoms.positions, axis=0).max()) / rng.uniform(*recipe.details))
    voxel_size = float(np.clip(resolution / np.exp(rng.uniform(*np.log(recipe.oversampling))), 0.3, 6.0))
    room = rng.uniform(1.25, 1.9)
    atoms = structures.cut_ball(atoms, recipe.box[1] * voxel_size / room, rng)
    if structure.kind == "membrane" and rng.random() < 0.8:
        atoms = structures.with_membrane(atoms, rng)
    extent = float(np.ptp(atoms.positions, axis=0).max())
    edge = int(np.clip(max(extent * room, extent + 30) / voxel_size, *recipe.box)) // 2 * 2
    shape = (edge, edge, edge)
    unevenness = float(np.exp(rng.uniform(*np.log(recipe.unevenness))))
    molecule = structures.ensemble(atoms, resolution, recipe.conformers, unevenness, rng)
    density = structures.mean_density(molecule, shape, voxel_size)
    fall = float(np.exp(rng.uniform(*np.log(recipe.envelope))))
    density = damped(density, voxel_size, 4 * fall * resolution**2)
    mask = structures.molecule_mask(molecule, shape, voxel_size)
    spectrum = periodic(density, voxel_size)
    coarse = grid_for(spectrum.lengths, POWER_STEP)
    powers = np.stack([local_power(spectrum, f, coarse) for f in truth.bands(voxel_size)])
    return Signal(density / density.std(), mask, voxel_size, resolution, powers / density.var())


def damped(density: Volume, voxel_size: float, b: float) -> Volume:
    """The density with all amplitudes times exp(-b k²/4), `b` in Å²."""
    lengths = tuple(n * voxel_size for n in density.shape)
    out: Volume = fft.irfftn(fft.rfftn(density) * np.exp(-b * radius(density.shape, lengths) ** 2 / 4), s=density.shape)
    return out


def periodic(values: Volume, voxel_size: float) -> Spectrum:
    """The spectrum of a simulated box, which repeats itself as it stands."""
    z, y, x = values.shape
    return Spectrum(fft.rfftn(values), (z, y, x), (z * voxel_size, y * voxel_size, x * voxel_size), (0, 0, 0))


def draw_noise(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> Noise:
    """Choose the kind of noise, and its strength, at which the median local resolution is the one asked for."""
    shape = signal.density.shape
    lengths = tuple(n * signal.voxel_size for n in shape)
    k = radius(shape, lengths)
    frequencies = truth.bands(signal.voxel_size)
    coarse = signal.powers.shape[1:]
    inside = on_grid(signal.mask.astype(np.float32), coarse) > 0.5

    white_filter = noise_filter(k, signal.resolution, recipe, rng)
    envelope = noise_envelope(signal.mask, signal.voxel_size, recipe, rng)
    white_power = band_sums(white_filter, k, frequencies)
    window = smooth(envelope**2, lengths, 8.0, coarse)
    white = white_power[:, None, None, None].astype(np.float32) * window
    follow = following_share(frequencies, signal.resolution, recipe, rng)
    following = follow[:, None, None, None].astype(np.float32) * signal.powers

    scale = match_level(signal, frequencies, white, following, inside)
    half_noise = scale * white + following
    fsc = signal.powers / np.maximum(signal.powers + half_noise, 1e-20)
    local = truth.first_crossing(fsc, frequencies)
    curve = signal.powers[:, inside].sum(1) / (signal.powers + half_noise)[:, inside].sum(1)
    overall = float(truth.first_crossing(curve[:, None].astype(np.float32), frequencies)[0])
    return Noise(white_filter, envelope, follow, scale, local, inside, curve, overall)


def with_noise(signal: Signal, noise: Noise, share: float, rng: np.random.Generator) -> Volume:
    """Add fresh noise of `share` of a half map's power: 1 for a half map, 0.5 for the average of two."""
    shape = signal.density.shape
    lengths = tuple(n * signal.voxel_size for n in shape)
    k, frequencies = radius(shape, lengths), truth.bands(signal.voxel_size)
    even = fft.irfftn(noise.filter * fft.rfftn(noise.envelope * rng.standard_normal(shape, np.float32)), s=shape)
    swing = random_field(shape, lengths, 8.0, rng)
    pose = fft.irfftn(np.sqrt(np.interp(k, frequencies, noise.following)) * fft.rfftn(signal.density * swing), s=shape)
    out: Volume = signal.density + np.float32(np.sqrt(noise.scale * share)) * even + np.float32(np.sqrt(share)) * pose
    return out


def draw_halves(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> tuple[Volume, Volume, Volume]:
    """Two half maps of a molecule, unprocessed, and their truth in Å, 0 outside the molecule."""
    noise = draw_noise(signal, recipe, rng)
    first, second = (with_noise(signal, noise, 1.0, rng).astype(np.float32) for _ in range(2))
    z, y, x = signal.density.shape
    plain = SimulatedMap(
        first, signal.mask, signal.voxel_size, noise.local, (0, 0, 0), (z, y, x), noise.overall, 0.0, {}
    )
    return first, second, truth_of(plain)


def draw_map(signal: Signal, recipe: Recipe, rng: np.random.Generator) -> SimulatedMap:
    """Add fresh noise to a molecule so that its median local resolution is the one asked for, and process it."""
    shape = signal.density.shape
    lengths = tuple(n * signal.voxel_size for n in shape)
    k, frequencies = radius(shape, lengths), truth.bands(signal.voxel_size)
    noise = draw_noise(signal, recipe, rng)
    local, curve, overall = noise.local, noise.curve, noise.overall

    average = with_noise(signal, noise, 0.5, rng)
    processing = choose(recipe.processing, rng)
    values, limit = process(average, k, frequencies, curve, overall, processing, rng)
    if processing == "local filter":
        known = nearest_inside(local, noise.inside) if rng.random() < 0.5 else local
        values = locally_filtered(values, k, known * np.float32(rng.uniform(0.9, 1.1)))
    if processing == "local sharpening":
        values = locally_sharpened(values, lengths, overall, rng)
    masking = choose(recipe.masking, rng)
    values, mask, start = apply_mask(values, signal.mask, signal.voxel_size, masking, rng)
    gain = np.float32(np.exp(rng.normal(0, 2)))
    simulated = SimulatedMap(
        (values * gain).astype(np.float32),
        mask,
        signal.voxel_size,
        np.maximum(local, limit),
        start,
        (shape[0], shape[1], shape[2]),
        overall,
        limit,
        {"processing": processing, "masking": masking},
    )
    effects = (
        (recipe.resampled, resampled),
        (recipe.padded, padded),
        (recipe.quantised, quantised),
        (recipe.resharpened, resharpened),
    )
    for share, effect in effects:
        if rng.random() < share:
            simulated = effect(simulated, rng)
    return simulated


def truth_of(simulated: SimulatedMap) -> Volume:
    """The truth at the map's voxels, 0 outside the molecule."""
    places = [
        (np.arange(n) * simulated.stride + start) * (m / whole)
        for n, start, m, whole in zip(
            simulated.mask.shape, simulated.start, simulated.truth.shape, simulated.whole, strict=True
        )
    ]
    local = interpolate(simulated.truth[None], tuple(places))[0]
    return np.where(simulated.mask, local, 0).astype(np.float32)


def resampled(simulated: SimulatedMap, rng: np.random.Generator) -> SimulatedMap:
    """The map on voxels 0.8 to 1.4 times as large, by cubic interpolation, as viewers and model builders write it."""
    edge = simulated.density.shape
    wanted = max(rng.uniform(0.8, 1.4), 48 / min(edge))
    sizes = [max(int(n / wanted), 8) for n in edge]
    step = max(n / m for n, m in zip(edge, sizes, strict=True))
    where = np.meshgrid(*(np.arange(int((n - 1) / step) + 1) * step for n in edge), indexing="ij")
    density = ndimage.map_coordinates(simulated.density, where, order=3, output=np.float32)
    mask = ndimage.map_coordinates(simulated.mask.astype(np.float32), where, order=1) > 0.5
    return replace(simulated, density=density, mask=mask, voxel_size=simulated.voxel_size * step, stride=step)


def padded(simulated: SimulatedMap, rng: np.random.Generator) -> SimulatedMap:
    """The map in a larger box, zero outside, off its centre."""
    before, after = (rng.integers(2, max(3, min(simulated.density.shape) // 4), 3) for _ in range(2))
    wide = [(int(a), int(b)) for a, b in zip(before, after, strict=True)]
    z, y, x = (a - b * simulated.stride for a, b in zip(simulated.start, before, strict=True))
    density, mask = np.pad(simulated.density, wide), np.pad(simulated.mask, wide)
    return replace(simulated, density=density, mask=mask, start=(z, y, x))


def quantised(simulated: SimulatedMap, rng: np.random.Generator) -> SimulatedMap:
    """The map in 8 bits, its extremes clipped or not."""
    values = simulated.density
    low, high = np.percentile(values, (0, 100) if rng.random() < 0.5 else (0.02, 99.98))
    step = max(high - low, 1e-20) / 255
    return replace(simulated, density=(np.round(np.clip(values, low, high) / step) * step).astype(np.float32))


def resharpened(simulated: SimulatedMap, rng: np.random.Generator) -> SimulatedMap:
    """The finished map sharpened or blurred once more, as it stands: what was rounded or cut off is lifted with it."""
    b = rng.uniform(-14, 14) * simulated.global_resolution**2
    values = damped(simulated.density, simulated.voxel_size, max(b, -60 * simulated.voxel_size**2))
    return replace(simulated, density=values.astype(np.float32))


def choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    """One of the keys, as often as its share says."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))


def random_field(shape: Shape, lengths: tuple[float, ...], sigma: float, rng: np.random.Generator) -> Volume:
    """Gaussian noise smoothed by `sigma` Å (at most a fifth of the box), of mean 0 and variance 1."""
    sigma = min(sigma, min(lengths) / 5)
    waves = fft.rfftn(rng.standard_normal(shape, np.float32))
    waves[0, 0, 0] = 0
    field_ = fft.irfftn(waves * np.exp(-2 * np.pi**2 * np.float32(sigma) ** 2 * radius(shape, lengths) ** 2), s=shape)
    out: Volume = field_ / max(float(field_.std()), 1e-12)
    return out


def noise_filter(k: Volume, resolution: float, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Amplitude of the noise: a smooth colour, and sometimes a cone of directions that few particles show."""
    tilt, bend = rng.normal(0, 0.5), rng.normal(-0.1, 0.2)
    relative = np.clip(k * resolution, 0, 3)
    amplitude = np.exp(0.5 * (tilt * relative + bend * relative**2)).astype(np.float32)
    if rng.random() < recipe.missing_views:
        n = k.shape[0]
        z = np.abs(np.fft.fftfreq(n) * n).astype(np.float32)[:, None, None] / np.maximum(k / k[1, 0, 0], 1)
        amplitude *= np.sqrt(1 + rng.uniform(0.5, 6) * np.clip((z - 0.5) / 0.5, 0, 1) ** 2)
    return amplitude


def noise_envelope(mask: Mask, voxel_size: float, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Noise over space: even, or falling from the centre, or different where the molecule is, or changing slowly."""
    envelope = np.ones(mask.shape, np.float32)
    if rng.random() < recipe.falling_noise:
        out = [np.arange(n, dtype=np.float32) - n / 2 for n in mask.shape]
        away = np.sqrt(out[0][:, None, None] ** 2 + out[1][:, None] ** 2 + out[2] ** 2) / (mask.shape[0] / 2)
        envelope *= np.exp(-0.5 * rng.uniform(0.1, 1.5) * away ** rng.uniform(1, 3)).astype(np.float32)
    if rng.random() < recipe.uneven_noise:
        body = ndimage.gaussian_filter(mask.astype(np.float32), 6 / voxel_size)
        envelope *= np.sqrt(1 + rng.uniform(*recipe.at_molecule) * body)
    if rng.random() < recipe.drifting_noise:
        lengths = tuple(n * voxel_size for n in mask.shape)
        envelope *= np.exp(0.5 * rng.uniform(0, 0.35) * random_field(mask.shape, lengths, rng.uniform(12, 40), rng))
    return envelope


def following_share(frequencies: Curve, resolution: float, recipe: Recipe, rng: np.random.Generator) -> Curve:
    """Power of one half map's pose errors, as a share of the signal's.

    n images with phase errors of variance u(f) leave a mean damped by exp(-u), of which (exp(2u) - 1)/n of its
    power differs from half to half; u grows as f². At the resolution the share is drawn: small where images are many.
    """
    if rng.random() >= recipe.following_noise:
        return np.zeros(len(frequencies))
    share, errors = np.exp(rng.uniform(np.log(0.01), np.log(1.5))), rng.uniform(0.2, 1.5)
    relative = np.minimum((frequencies * resolution) ** 2, 4.0)
    return np.minimum(share * np.expm1(2 * errors * relative) / np.expm1(2 * errors), 20.0)


def band_sums(amplitude: Volume, k: Volume, frequencies: Curve) -> Curve:
    """Power that white noise of variance 1 has in each band after a filter."""
    twice = np.full(k.shape[2], 2.0)
    twice[0] = 1
    width = float(k[0, 0, 1]) / 2
    index = (k / width).astype(int).ravel()
    weights = np.broadcast_to(twice, k.shape) * amplitude**2
    total = np.bincount(index, weights.ravel())
    centres = (np.arange(len(total)) + 0.5) * width
    size = float(k.shape[0] * k.shape[1] * (2 * (k.shape[2] - 1)))
    band = np.exp(-(((centres[None] - frequencies[:, None]) / (BAND_WIDTH * frequencies[:, None])) ** 2))
    sums: Curve = (band * total).sum(1) / size
    return sums


def match_level(signal: Signal, frequencies: Curve, white: Volume, following: Volume, inside: Mask) -> float:
    """The strength of noise at which the median local resolution is the wanted one, by bisection."""
    power, even, tied = signal.powers[:, inside], white[:, inside], following[:, inside]
    low, high = np.log(1e-12), np.log(1e12)
    for _ in range(24):
        middle = (low + high) / 2
        noise = np.float32(np.exp(middle)) * even + tied
        found = truth.first_crossing(power / np.maximum(power + noise, 1e-20), frequencies)
        low, high = (middle, high) if np.median(found) < signal.resolution else (low, middle)
    return float(np.exp((low + high) / 2))
