"""A map as waves: resample it without alias, filter it, and measure its local power band by band.

A band at frequency f is Gaussian in |k| with a full width at half maximum of 0.15 f, and local power is
averaged with a Gaussian window of σ = 1.5/f, at least 4 Å: the very numbers that define local resolution
from two half maps (Cardone, Heymann & Steven 2013, J. Struct. Biol. 184, 226, for the windowed FSC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.types import Lengths, Shape, Volume

BAND_WIDTH = 0.15 / 2.3548  # σ of a band, in units of its frequency
WINDOW = 1.5  # σ of the averaging window, in units of 1/f
SMALLEST_WINDOW = 4.0  # Å
POWER_STEP = 4.0  # Å, the grid on which local power is kept: no window is narrower
LADDER = (1 / 40, 1.1)  # first frequency (1/Å) and ratio of the ladder of bands
SAMPLING = 2.5  # points per wave of a band: its square, folded, stays clear of the window's waves (errs by 2e-4)
TAPER = 8  # voxels of mirrored solvent, faded out, that make a box periodic
CHUNK = 1 << 20  # voxels that are worked on at a time

Gain = Callable[[Volume], Volume]
Places = npt.NDArray[np.float64]


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
    return np.stack(list(radius_planes(shape, lengths)))


def radius_planes(shape: Shape, lengths: Lengths, every: int = 1) -> Iterator[Volume]:
    """The same plane by plane, or every so manieth plane."""
    z, y = (fft.fftfreq(shape[n], lengths[n] / shape[n]) for n in (0, 1))
    across = y[:, None] ** 2 + fft.rfftfreq(shape[2], lengths[2] / shape[2]) ** 2
    for height in z[::every]:
        yield np.sqrt((across + height**2).astype(np.float32))


def places(spectrum: Spectrum, crop: Shape, grid: Shape) -> tuple[Places, Places, Places]:
    """Where a crop's voxels lie on a grid of so many points over the periodic box made of it, along each axis."""
    z, y, x = (
        (np.arange(n, dtype=np.float64) + before) * (m / whole)
        for n, before, m, whole in zip(crop, spectrum.before, grid, spectrum.shape, strict=True)
    )
    return z, y, x


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


def band_of(spectrum: Spectrum, frequency: float, threads: int = 1) -> Spectrum:
    """One band of a map, on the coarsest grid that holds it and its square."""
    z, y, x = (min(n, m) for n, m in _both(spectrum, grid_for(spectrum.lengths, 1 / (SAMPLING * frequency))))
    centre, width = np.float32(frequency), np.float32(BAND_WIDTH * frequency)
    return regrid(spectrum, (z, y, x), lambda k: np.exp(-0.5 * ((k - centre) / width) ** 2), threads)


def local_power(spectrum: Spectrum, frequency: float, shape: Shape, threads: int = 1) -> Volume:
    """Local power of one band on a coarse grid of `shape` points over the periodic box.

    The square of the band is averaged with the window of the module's docstring.
    """
    band = band_of(spectrum, frequency, threads)
    mean = Average(band.shape, spectrum.lengths, window(frequency), shape)
    planes(band, lambda part, wave: mean.add(part, np.square(wave, out=wave)), threads)
    return mean.values()


def window(frequency: float) -> float:
    """σ of the averaging window of a band, in Å."""
    return max(WINDOW / frequency, SMALLEST_WINDOW)


def smooth(values: Volume, lengths: Lengths, sigma: float, shape: Shape) -> Volume:
    """Average a periodic field with a Gaussian of `sigma` Å and return it on a grid of `shape` points, at least 0."""
    z, y, x = values.shape
    mean = Average((z, y, x), lengths, sigma, shape)
    for part in chunks((z, y, x)):
        mean.add(part, values[part])
    return mean.values()


class Average:
    """The mean of a periodic field with a Gaussian, from planes: a matrix along each axis.

    Parameters
    ----------
    whole : voxels of the periodic box
    lengths : Å, its edges
    sigma : Å, of the Gaussian
    shape : points of the answer's grid over the box; only waves that both grids carry are kept
    before : first voxel of the field in the box, which is 0 elsewhere
    """

    def __init__(self, whole: Shape, lengths: Lengths, sigma: float, shape: Shape, before: Shape = (0, 0, 0)) -> None:
        self.z, self.y, self.x = (
            gaussian(n, m, length, sigma) for n, m, length in zip(whole, shape, lengths, strict=True)
        )
        self.planes, self.before = np.zeros((whole[0], shape[1], shape[2]), np.float32), before

    def add(self, part: slice, field: Volume) -> None:
        """Take planes of the field, at their place along z."""
        z, y, x = self.before
        along_y, along_x = self.y[:, y : y + field.shape[1]], self.x[:, x : x + field.shape[2]]
        self.planes[z + part.start : z + part.stop] = along_y @ (field @ along_x.T)

    def values(self) -> Volume:
        """The mean on the answer's grid, at least 0."""
        out: Volume = np.tensordot(self.z, self.planes, (1, 0))
        return np.maximum(out, 0, out=out)


def gaussian(n: int, m: int, length: float, sigma: float) -> Volume:
    """(m, n) matrix that averages n points of a period of `length` Å with a Gaussian, and reads it off at m points."""
    waves = np.arange((min(n, m) - 1) // 2 + 1)
    weight = np.where(waves > 0, 2, 1) * np.exp(-2 * np.pi**2 * (sigma * waves / length) ** 2) / n
    there, here = (2j * np.pi * np.outer(np.arange(points) / points, waves) for points in (m, n))
    rows: Volume = ((np.exp(there) * weight) @ np.exp(-here).T).real.astype(np.float32)
    return rows


def read_off(values: npt.NDArray[Any], places: tuple[npt.NDArray[np.float64], ...]) -> Volume:
    """Read fields (channel, z, y, x) off at a grid of places, in voxels along each axis: linear, ends held."""
    for axis, place in enumerate(places, 1):
        n = values.shape[axis]
        place = np.clip(place, 0, n - 1)
        lower = np.minimum(place.astype(int), max(n - 2, 0))
        share = (place - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(4)])
        first, second = (
            np.take(values, np.minimum(lower + s, n - 1), axis).astype(np.float32, copy=False) for s in (0, 1)
        )
        second -= first
        second *= share
        first += second
        values = first
    return values


def same_box(source: tuple[int, ...], target: Shape) -> tuple[npt.NDArray[np.float64], ...]:
    """Where the voxels of one grid over a box lie on another grid over it."""
    return tuple(np.linspace(0, n, m, endpoint=False, dtype=np.float64) for n, m in zip(source, target, strict=True))


def on_same_box(values: Volume, shape: Shape, part: Sequence[slice] = (slice(None),) * 3) -> Volume:
    """A field on (a part of) another grid of `shape` points over the same box: linear."""
    places = tuple(place[s] for place, s in zip(same_box(values.shape, shape), part, strict=True))
    out: Volume = read_off(values[None], places)[0]
    return out
