"""A map as waves: transform it, resample it without alias, filter it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.types import Lengths, Shape, Volume

TAPER = 8  # voxels of mirrored solvent, faded out, that make a box periodic
CHUNK = 1 << 20  # voxels that are worked on at a time
Gain = Callable[[Volume], Volume]


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
    level = np.median(np.concatenate([values.take([0, -1], axis).ravel() for axis in range(3)])).astype(np.float32)
    places = [np.pad(np.arange(n), p, mode="symmetric") for n, p in zip(values.shape, pad, strict=True)]
    fades = [np.ones(n, np.float32) for n in fast]
    for fade, (before, after) in zip(fades, pad, strict=True):
        fade[:before] = _rise(before)
        fade[len(fade) - after :] = _rise(after)[::-1]
    z, y, x = fast
    waves = np.empty((z, y, x // 2 + 1), np.complex64)
    for part in chunks((z, y, x)):
        planes = np.pad(values[places[0][part]] - level, ((0, 0), pad[1], pad[2]), mode="symmetric")
        planes *= fades[0][part, None, None] * (fades[1][:, None] * fades[2])
        waves[part] = fft.rfft2(planes, axes=(1, 2), workers=threads)
    for part in chunks((y, z, x)):
        waves[:, part] = fft.fft(waves[:, part], axis=0, workers=threads)
    lengths = tuple(float(n * v) for n, v in zip(fast, voxel_size, strict=True))
    return Spectrum(waves, (z, y, x), (lengths[0], lengths[1], lengths[2]), (pad[0][0], pad[1][0], pad[2][0]))


def chunks(shape: Shape) -> Iterator[slice]:
    """Parts of the first axis that fit a processor's cache, together all of it."""
    step = max(1, CHUNK // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def _rise(n: int) -> Volume:
    """A half cosine from 0 to 1 in n steps."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)).astype(np.float32)


def grid_for(lengths: Lengths, step: float) -> Shape:
    """A fast even grid over a box whose spacing is about `step` Å and never coarser."""
    z, y, x = (2 * fft.next_fast_len(max(4, int(np.ceil(length / step / 2 - 1e-6))), real=True) for length in lengths)
    return z, y, x


def radius(shape: Shape, lengths: Lengths) -> Volume:
    """|k| in 1/Å on the real-transform grid of `shape` points that span `lengths`."""
    return np.stack(list(radius_planes(shape, lengths)))


def radius_planes(shape: Shape, lengths: Lengths, every: int = 1) -> Iterator[Volume]:
    """The same plane by plane, or every so manieth plane."""
    z, y = (fft.fftfreq(shape[n], lengths[n] / shape[n]) for n in (0, 1))
    across = y[:, None] ** 2 + fft.rfftfreq(shape[2], lengths[2] / shape[2]) ** 2
    for height in z[::every]:
        yield np.sqrt((across + height**2).astype(np.float32))


def low_pass(k: Volume, cutoff: float, edge: float) -> Volume:
    """Gain of a filter that falls from 1 to 0 as half a cosine between `cutoff` - `edge` and `cutoff` + `edge`.

    Parameters
    ----------
    k : |k|, 1/Å
    cutoff, edge : 1/Å
    """
    gain: Volume = 0.5 - 0.5 * np.cos(np.pi * np.clip((cutoff + edge - k) / (2 * edge), 0, 1))
    return gain


def regrid(spectrum: Spectrum, shape: Shape, gain: Gain | None = None, threads: int = 1) -> Spectrum:
    """Move waves to a grid of `shape` points over the same box, leaving out what it cannot carry.

    Amplitudes are those of a transform on that grid, so that densities keep their values. Undone by going back, up to
    the coarser grid's Nyquist frequency.

    Parameters
    ----------
    gain : a function of |k| (array, 1/Å) by which each wave is multiplied
    """
    same = shape == spectrum.shape
    carried = [(min(pair) - 1) // 2 for pair in _both(spectrum, shape)]  # not the wave at Nyquist, which has no mate
    low, high = ([n // 2 for n in shape], [(n - 1) // 2 for n in shape]) if same else (carried, carried)
    last = shape[2] // 2 + 1 if same else high[2] + 1
    scale = np.float32(np.prod(shape) / np.prod(spectrum.shape))
    out = np.zeros((shape[0], shape[1], shape[2] // 2 + 1), np.complex64)
    sides = [[slice(0, h + 1), slice(-n, None)][: 2 if n else 1] for h, n in zip(high, low, strict=True)]
    k2 = [
        np.concatenate([(np.arange(h + 1) / length) ** 2, (np.arange(-n, 0) / length) ** 2]).astype(np.float32)
        for h, n, length in zip(high, low, spectrum.lengths, strict=True)
    ]

    def fill(z: slice, y: slice) -> None:
        factor: Volume | np.float32 = scale
        if gain:
            across = k2[1][y, None] + k2[2][:last]
            factor = scale * gain(np.sqrt(k2[0][z, None, None] + across))
        np.multiply(spectrum.waves[z, y, :last], factor, out=out[z, y, :last])

    step = max(1, CHUNK // (shape[1] * shape[2]))
    parts = [
        (slice(a, min(a + step, stop)) if stop else slice(a, a + step if a + step < 0 else None), y)
        for start, stop in ((0, high[0] + 1), (-low[0], 0))
        for a in range(start, stop, step)
        for y in sides[1]
    ]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: fill(*part), parts))
    return Spectrum(out, shape, spectrum.lengths, (0, 0, 0))


def _both(spectrum: Spectrum, shape: Shape) -> Iterator[tuple[int, int]]:
    return zip(spectrum.shape, shape, strict=True)


def planes(spectrum: Spectrum, use: Callable[[slice, Volume], None], threads: int = 1) -> None:
    """Hand the density of a spectrum to `use`, some planes at a time, with their place. The waves are used up."""
    waves = fft.ifftn(spectrum.waves, axes=(0, 1), overwrite_x=True, workers=threads)

    def hand(part: slice) -> None:
        use(part, fft.irfft(waves[part], n=spectrum.shape[2], axis=2))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(hand, chunks(spectrum.shape)))


def sample(spectrum: Spectrum, shape: Shape, gain: Gain | None = None, threads: int = 1) -> Volume:
    """The map on a grid of `shape` points over the periodic box, each wave scaled by `gain` of its |k|."""
    values = np.empty(shape, np.float32)
    planes(regrid(spectrum, shape, gain, threads), values.__setitem__, threads)
    return values
