"""Fourier transforms of maps: transform a periodic box, filter it, resample it without aliasing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.padding import PeriodicBox, pad
from cryores_lite.types import Lengths, Shape, Volume

T = TypeVar("T")

CHUNK_VOXELS = 1 << 16  # processed at a time: arrays that fit into a processor's cache
Gain = Callable[[Volume], Volume]  # factor on each wave, as a function of |k| (1/Å)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The real Fourier transform of a periodic box.

    Attributes
    ----------
    waves : (z, y, x//2 + 1) complex64
    shape : voxels of the periodic box
    lengths : edges of the box, Å
    before : voxels of padding in front of the first voxel of the map
    """

    waves: npt.NDArray[np.complex64]
    shape: Shape
    lengths: Lengths
    before: Shape

    @property
    def voxel_size(self) -> Lengths:
        """Edges of a voxel, Å."""
        z, y, x = (length / n for length, n in zip(self.lengths, self.shape, strict=True))
        return z, y, x

    @property
    def nyquist(self) -> float:
        """Highest frequency that every axis can hold, in 1/Å."""
        return 0.5 / max(self.voxel_size)


def transform(values: Volume, voxel_size: Lengths, threads: int = 1) -> Spectrum:
    """Make a box periodic (`fourier.padding`), and transform it.

    Parameters
    ----------
    values : (z, y, x) float32
    voxel_size : Å
    """
    return transform_box(pad(values), voxel_size, threads)


def transform_box(box: PeriodicBox, voxel_size: Lengths, threads: int = 1) -> Spectrum:
    """Transform a periodic box with voxels of `voxel_size` Å."""
    z, y, x = box.shape
    waves = np.empty((z, y, x // 2 + 1), np.complex64)
    for part in chunks((z, y, x)):
        waves[part] = fft.rfft2(box.part(part), axes=(1, 2), workers=threads)
    for part in chunks((y, z, x)):
        waves[:, part] = fft.fft(waves[:, part], axis=0, workers=threads)
    lengths = tuple(float(n * v) for n, v in zip(box.shape, voxel_size, strict=True))
    return Spectrum(waves, box.shape, (lengths[0], lengths[1], lengths[2]), box.before)


def chunks(shape: Shape, voxels: int = CHUNK_VOXELS) -> Iterator[slice]:
    """Yield slices that divide the first axis into parts of about `voxels` voxels, small enough for a cache."""
    step = max(1, voxels // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        yield slice(first, min(first + step, shape[0]))


def grid_for(lengths: Lengths, step: float) -> Shape:
    """Choose the shape of a grid over a box: even, fast to transform, with a spacing of about `step` Å or less."""
    z, y, x = (2 * fft.next_fast_len(max(4, int(np.ceil(length / step / 2 - 1e-6))), real=True) for length in lengths)
    return z, y, x


def radius(shape: Shape, lengths: Lengths) -> Volume:
    """Return |k| (1/Å) on the grid of a real transform of `shape` points over a box of `lengths` Å."""
    return np.stack(list(radius_planes(shape, lengths)))


def radius_planes(shape: Shape, lengths: Lengths, every: int = 1) -> Iterator[Volume]:
    """Yield |k| (1/Å) plane by plane, optionally every n-th plane."""
    z, y = (fft.fftfreq(shape[n], lengths[n] / shape[n]) for n in (0, 1))
    across = y[:, None] ** 2 + fft.rfftfreq(shape[2], lengths[2] / shape[2]) ** 2
    for height in z[::every]:
        yield np.sqrt((across + height**2).astype(np.float32))


def total_power(coefficients: npt.NDArray[np.complex64], shape: Shape) -> float:
    """Sum the squares of all Fourier coefficients of a real map, half of which (z, y, x//2 + 1) are stored."""
    edges = [coefficients[..., 0], coefficients[..., -1]] if shape[2] % 2 == 0 else [coefficients[..., 0]]
    stored = float(np.vdot(coefficients, coefficients).real)
    return 2 * stored - sum(float(np.vdot(edge, edge).real) for edge in edges)


def low_pass(k: Volume, cutoff: float, edge: float) -> Volume:
    """Return the gain of a filter that falls from 1 to 0 as half a cosine from `cutoff` - `edge` to `cutoff` + `edge`.

    Parameters
    ----------
    k : |k|, 1/Å
    cutoff, edge : 1/Å
    """
    gain: Volume = 0.5 - 0.5 * np.cos(np.pi * np.clip((cutoff + edge - k) / (2 * edge), 0, 1))
    return gain


def gaussian_gain(k: Volume, sigma: float) -> Volume:
    """Return the gain of smoothing with a Gaussian of `sigma` Å on waves of |k| (1/Å)."""
    gain: Volume = np.exp(np.float32(-2 * np.pi**2 * sigma**2) * k**2)
    return gain


def regrid(spectrum: Spectrum, shape: Shape, gain: Gain | None = None, threads: int = 1) -> Spectrum:
    """Move a spectrum to a grid of `shape` points over the same box. Waves that the new grid cannot hold are left out.

    Amplitudes are scaled to the new grid, so that densities keep their values. A second call with the first shape
    undoes the first call, up to the coarser grid's Nyquist frequency.

    Parameters
    ----------
    gain : a function of |k| (array, 1/Å) by which each wave is multiplied
    """
    return regrid_alike([spectrum], shape, gain, threads)[0]


def regrid_alike(
    spectra: Sequence[Spectrum], shape: Shape, gain: Gain | None = None, threads: int = 1
) -> list[Spectrum]:
    """Move spectra of one shape to another grid, as `regrid` does; the gain is computed once for all of them."""
    spectrum = spectra[0]
    low, high = carried_waves(spectrum.shape, shape)
    last = low[2] + 1
    scale = np.float32(np.prod(shape) / np.prod(spectrum.shape))
    out = [np.zeros((shape[0], shape[1], shape[2] // 2 + 1), np.complex64) for _ in spectra]
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
        for source, target in zip(spectra, out, strict=True):
            np.multiply(source.waves[z, y, :last], factor, out=target[z, y, :last])

    step = max(1, CHUNK_VOXELS // (shape[1] * shape[2]))
    parts = [
        (slice(a, min(a + step, stop)) if stop else slice(a, a + step if a + step < 0 else None), y)
        for start, stop in ((0, high[0] + 1), (-low[0], 0))
        for a in range(start, stop, step)
        for y in sides[1]
    ]
    for_each(lambda part: fill(*part), parts, threads)
    return [Spectrum(waves, shape, spectrum.lengths, (0, 0, 0)) for waves in out]


def carried_waves(source: Shape, target: Shape) -> tuple[Shape, Shape]:
    """Return how many negative and positive waves of each axis of one grid another grid over the same box holds.

    The wave at Nyquist counts as negative. It has no conjugate on another grid, and is left out there.
    """
    if source == target:
        (a, b, c), (d, e, f) = ([n // 2 for n in source], [(n - 1) // 2 for n in source])
    else:
        a, b, c = d, e, f = [(min(n, m) - 1) // 2 for n, m in zip(source, target, strict=True)]
    return (a, b, c), (d, e, f)


def inverse_transform(spectrum: Spectrum, use: Callable[[slice, Volume], None], threads: int = 1) -> None:
    """Transform a spectrum back; call `use` for each chunk of planes with its slice along z and its density.

    The spectrum's waves are overwritten.
    """
    waves = fft.ifftn(spectrum.waves, axes=(0, 1), overwrite_x=True, workers=threads)

    def transform_part(part: slice) -> None:
        use(part, fft.irfft(waves[part], n=spectrum.shape[2], axis=2))

    for_each(transform_part, chunks(spectrum.shape), threads)


def for_each(function: Callable[[T], None], parts: Iterable[T], threads: int) -> None:
    """Call a function with each part, on several threads if there are more than one."""
    if threads == 1:
        for part in parts:
            function(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, parts))


def sample_density(spectrum: Spectrum, shape: Shape, gain: Gain | None = None, threads: int = 1) -> Volume:
    """Return the density at `shape` points over the periodic box; `gain` of |k| (1/Å) multiplies the waves."""
    values = np.empty(shape, np.float32)
    inverse_transform(regrid(spectrum, shape, gain, threads), values.__setitem__, threads)
    return values
