"""Random noise of simulated maps: its spectrum, its envelope over space, and its share from pose errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.local_power import BAND_WIDTH
from cryores_lite.fourier.spectrum import radius
from cryores_lite.types import Lengths, Mask, Shape, Volume
from training.maps.recipe import Range, Recipe

Curve = npt.NDArray[np.float64]


def random_field(shape: Shape, lengths: Lengths, sigma: float, rng: np.random.Generator) -> Volume:
    """Gaussian noise smoothed by `sigma` Å (at most a fifth of the box), of mean 0 and variance 1."""
    sigma = min(sigma, min(lengths) / 5)
    waves = fft.rfftn(rng.standard_normal(shape, np.float32))
    waves[0, 0, 0] = 0
    field = fft.irfftn(waves * np.exp(-2 * np.pi**2 * np.float32(sigma) ** 2 * radius(shape, lengths) ** 2), s=shape)
    out: Volume = field / max(float(field.std()), 1e-12)
    return out


def noise_filter(k: Volume, resolution: float, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Amplitude of the noise over Fourier space: a smooth spectrum, sometimes with a cone of missing views."""
    amplitude = spectral_slope(k, resolution, rng)
    if rng.random() < recipe.missing_views:
        amplitude *= missing_views_gain(k, rng)
    return amplitude


def spectral_slope(k: Volume, resolution: float, rng: np.random.Generator) -> Volume:
    """Amplitude of noise whose log power is a random parabola in frequency."""
    slope, curvature = rng.normal(0, 0.5), rng.normal(-0.1, 0.2)
    relative = np.clip(k * resolution, 0, 3)
    amplitude: Volume = np.exp(0.5 * (slope * relative + curvature * relative**2)).astype(np.float32)
    return amplitude


def missing_views_gain(k: Volume, rng: np.random.Generator) -> Volume:
    """Gain of the noise in a cone around z, to which few particles contribute."""
    n = k.shape[0]
    z = np.abs(np.fft.fftfreq(n) * n).astype(np.float32)[:, None, None] / np.maximum(k / k[1, 0, 0], 1)
    gain: Volume = np.sqrt(1 + rng.uniform(0.5, 6) * np.clip((z - 0.5) / 0.5, 0, 1) ** 2)
    return gain


def noise_envelope(mask: Mask, voxel_size: float, recipe: Recipe, rng: np.random.Generator) -> Volume:
    """Amplitude of the noise over space: the product of the drawn effects, 1 everywhere without any."""
    envelope = np.ones(mask.shape, np.float32)
    if rng.random() < recipe.radial_noise:
        envelope *= radial_falloff(mask.shape, rng)
    if rng.random() < recipe.molecule_noise:
        envelope *= change_at_molecule(mask, voxel_size, recipe.molecule_noise_change, rng)
    if rng.random() < recipe.drifting_noise:
        envelope *= slow_drift(mask.shape, voxel_size, rng)
    return envelope


def radial_falloff(shape: Shape, rng: np.random.Generator) -> Volume:
    """Amplitude that falls off with the distance from the centre of the box."""
    z, y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in shape)
    distance = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) / (shape[0] / 2)
    amplitude: Volume = np.exp(-0.5 * rng.uniform(0.1, 1.5) * distance ** rng.uniform(1, 3)).astype(np.float32)
    return amplitude


def change_at_molecule(mask: Mask, voxel_size: float, change: Range, rng: np.random.Generator) -> Volume:
    """Amplitude of noise whose power at the molecule differs by a share drawn from `change`."""
    molecule = ndimage.gaussian_filter(mask.astype(np.float32), 6 / voxel_size)
    amplitude: Volume = np.sqrt(1 + rng.uniform(*change) * molecule)
    return amplitude


def slow_drift(shape: Shape, voxel_size: float, rng: np.random.Generator) -> Volume:
    """Amplitude that varies by up to 35 % over 12 to 40 Å."""
    z, y, x = (n * voxel_size for n in shape)
    lengths = (z, y, x)
    amplitude: Volume = np.exp(0.5 * rng.uniform(0, 0.35) * random_field(shape, lengths, rng.uniform(12, 40), rng))
    return amplitude


def pose_noise_share(frequencies: Curve, resolution: float, rng: np.random.Generator) -> Curve:
    """Power of the noise from one half map's pose errors, as a share of the signal's.

    The mean of n images with phase errors of variance u(f) is damped by exp(-u), and the share (exp(2u) - 1)/n of
    its power differs between the half maps; u grows as f². The share at the resolution is drawn; it is small for many
    images.
    """
    share, errors = np.exp(rng.uniform(np.log(0.01), np.log(1.5))), rng.uniform(0.2, 1.5)
    relative = np.minimum((frequencies * resolution) ** 2, 4.0)
    return np.minimum(share * np.expm1(2 * errors * relative) / np.expm1(2 * errors), 20.0)


def white_noise_powers(amplitude: Volume, k: Volume, frequencies: Curve) -> Curve:
    """Band powers of white noise of variance 1 after a filter."""
    multiplicity = np.full(k.shape[2], 2.0)
    multiplicity[0] = 1
    width = float(k[0, 0, 1]) / 2
    index = (k / width).astype(int).ravel()
    weights = np.broadcast_to(multiplicity, k.shape) * amplitude**2
    total = np.bincount(index, weights.ravel())
    centres = (np.arange(len(total)) + 0.5) * width
    size = float(k.shape[0] * k.shape[1] * (2 * (k.shape[2] - 1)))
    band = np.exp(-(((centres[None] - frequencies[:, None]) / (BAND_WIDTH * frequencies[:, None])) ** 2))
    sums: Curve = (band * total).sum(1) / size
    return sums
