"""A map as waves: resample it without alias, filter it, and measure its local power band by band.

A band at frequency f is Gaussian in |k| with a full width at half maximum of 0.15 f, and local power is
averaged with a Gaussian window of σ = 1.5/f, at least 4 Å: the very numbers that define local resolution
from two half maps (Cardone, Heymann & Steven 2013, J. Struct. Biol. 184, 226, for the windowed FSC).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.types import Lengths, Shape, Volume

BAND_WIDTH = 0.15 / 2.3548  # σ of a band, in units of its frequency
WINDOW = 1.5  # σ of the averaging window, in units of 1/f
SMALLEST_WINDOW = 4.0  # Å
POWER_STEP = 4.0  # Å, the grid on which local power is kept: no window is narrower
LADDER = (1 / 40, 1.1)  # first frequency (1/Å) and ratio of the ladder of bands
TAPER = 8  # voxels of mirrored solvent, faded out, that make a box periodic


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The real Fourier transform of a box that repeats itself.

    Attributes
    ----------
    waves : (z, y, x//2 + 1) complex64
    shape : voxels of the box that was transformed
    lengths : Å, edges of that box
    before : voxels of padding in front of the caller's first voxel
    """

    waves: npt.NDArray[np.complex64]
    shape: Shape
    lengths: Lengths
    before: Shape

    @property
    def voxel_size(self) -> Lengths:
        z, y, x = (length / n for length, n in zip(self.lengths, self.shape, strict=True))
        return z, y, x

    @property
    def nyquist(self) -> float:
        """The highest frequency that every axis carries, in 1/Å."""
        return 0.5 / max(self.voxel_size)


def transform(values: Volume, voxel_size: Lengths, threads: int = 1) -> Spectrum:
    """Make a box periodic with a mirrored, faded rim, and transform it.

    Without the rim a cropped map jumps where it wraps around, and the jump leaks into every shell.
    The median of the six faces is taken off first, so that solvent is at zero.
    """
    fast = [fft.next_fast_len(n + 2 * TAPER, real=True) for n in values.shape]
    pad = [((m - n) // 2, m - n - (m - n) // 2) for n, m in zip(values.shape, fast, strict=True)]
    level = np.median(np.concatenate([values.take([0, -1], axis).ravel() for axis in range(3)]))
    box = np.pad(values - np.float32(level), pad, mode="symmetric")
    for axis, (before, after) in enumerate(pad):
        fade = np.ones(box.shape[axis], np.float32)
        fade[:before] = _rise(before)
        fade[len(fade) - after :] = _rise(after)[::-1]
        box *= fade.reshape([-1 if a == axis else 1 for a in range(3)])
    z, y, x = box.shape
    lengths = tuple(float(n * v) for n, v in zip(box.shape, voxel_size, strict=True))
    return Spectrum(
        fft.rfftn(box, workers=threads),
        (z, y, x),
        (lengths[0], lengths[1], lengths[2]),
        (pad[0][0], pad[1][0], pad[2][0]),
    )


def _rise(n: int) -> Volume:
    """A half cosine from 0 to 1 in n steps."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)


def ladder(nyquist: float) -> npt.NDArray[np.float64]:
    """Centres of the bands that a map carries, in 1/Å: a fixed ladder, cut at the Nyquist frequency."""
    first, ratio = LADDER
    steps = int(np.floor(np.log(max(nyquist, first) / first) / np.log(ratio) + 1e-9))
    centres: npt.NDArray[np.float64] = first * ratio ** np.arange(steps + 1, dtype=np.float64)
    return centres


def grid_for(lengths: Lengths, step: float) -> Shape:
    """A fast even grid over a box whose spacing is about `step` Å and never coarser."""
    z, y, x = (2 * fft.next_fast_len(max(4, int(np.ceil(length / step / 2 - 1e-6))), real=True) for length in lengths)
    return z, y, x


def radius(shape: Shape, lengths: Lengths) -> Volume:
    """|k| in 1/Å on the real-transform grid of `shape` points that span `lengths`."""
    z, y, x = (
        fft.fftfreq(shape[0], lengths[0] / shape[0]),
        fft.fftfreq(shape[1], lengths[1] / shape[1]),
        fft.rfftfreq(shape[2], lengths[2] / shape[2]),
    )
    squared: Volume = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2).astype(np.float32)
    return np.sqrt(squared)


def regrid(waves: npt.NDArray[np.complex64], source: Shape, target: Shape) -> npt.NDArray[np.complex64]:
    """Move waves to the grid of another number of points over the same box, leaving out what it cannot carry.

    Amplitudes are those of a transform on the target grid, so that densities keep their values.
    Undone by swapping the grids, up to the coarser one's Nyquist frequency.
    """
    if source == target:
        return waves
    out = np.zeros((target[0], target[1], target[2] // 2 + 1), np.complex64)
    half = [(min(a, b) - 1) // 2 for a, b in zip(source, target, strict=True)]
    ends = [(slice(0, h + 1), slice(-h, None) if h else slice(0, 0)) for h in half[:2]]
    for z in ends[0]:
        for y in ends[1]:
            out[z, y, : half[2] + 1] = waves[z, y, : half[2] + 1]
    out *= np.float32(np.prod(target) / np.prod(source))
    return out


def sample(spectrum: Spectrum, shape: Shape, gain: Volume | None = None, threads: int = 1) -> Volume:
    """The map on a grid of `shape` points over the periodic box, each wave scaled by `gain` (on that grid)."""
    waves = regrid(spectrum.waves, spectrum.shape, shape)
    values: Volume = fft.irfftn(waves if gain is None else waves * gain, s=shape, workers=threads)
    return values


def local_power(spectrum: Spectrum, frequency: float, shape: Shape, threads: int = 1) -> Volume:
    """Local power of one band on a coarse grid of `shape` points over the periodic box.

    The band is evaluated on the coarsest grid that holds it and its square is averaged with the
    window of the module's docstring.
    """
    fine = tuple(
        min(n, m) for n, m in zip(spectrum.shape, grid_for(spectrum.lengths, 1 / (3.2 * frequency)), strict=True)
    )
    fine_shape = (fine[0], fine[1], fine[2])
    k = radius(fine_shape, spectrum.lengths)
    band = np.exp(-0.5 * ((k - np.float32(frequency)) / np.float32(BAND_WIDTH * frequency)) ** 2)
    wave = sample(spectrum, fine_shape, band, threads)
    np.square(wave, out=wave)
    return smooth(wave, spectrum.lengths, window(frequency), shape, threads)


def window(frequency: float) -> float:
    """σ of the averaging window of a band, in Å."""
    return max(WINDOW / frequency, SMALLEST_WINDOW)


def smooth(values: Volume, lengths: Lengths, sigma: float, shape: Shape, threads: int = 1) -> Volume:
    """Average a periodic field with a Gaussian of `sigma` Å and return it on a grid of `shape` points, at least 0."""
    source = (values.shape[0], values.shape[1], values.shape[2])
    waves = regrid(fft.rfftn(values, workers=threads), source, shape)
    waves *= np.exp(-2 * np.pi**2 * np.float32(sigma) ** 2 * radius(shape, lengths) ** 2)
    out: Volume = fft.irfftn(waves, s=shape, workers=threads)
    return np.maximum(out, 0, out=out)


def read_off(values: Volume, places: tuple[npt.NDArray[np.float64], ...]) -> Volume:
    """Read fields (channel, z, y, x) off at a grid of places, in voxels along each axis: linear, ends held."""
    for axis, place in enumerate(places, 1):
        n = values.shape[axis]
        place = np.clip(place, 0, n - 1)
        lower = np.minimum(place.astype(int), max(n - 2, 0))
        share = (place - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (np.take(values, np.minimum(lower + s, n - 1), axis) for s in (0, 1))
        values = first + (second - first) * share
    return values


def same_box(source: tuple[int, ...], target: Shape) -> tuple[npt.NDArray[np.float64], ...]:
    """Where the voxels of one grid over a box lie on another grid over it."""
    return tuple(np.linspace(0, n, m, endpoint=False, dtype=np.float64) for n, m in zip(source, target, strict=True))


def on_same_box(values: Volume, shape: Shape) -> Volume:
    """A field on another grid of `shape` points over the same box: linear."""
    out: Volume = read_off(values[None], same_box(values.shape, shape))[0]
    return out
