"""The density of a map under a radial filter, plane by plane, on a grid that holds the filtered waves.

The filter and the first of three inverse transforms are applied to a few rows of waves at a time, the other two
transforms to a few planes. Only the waves that the filter leaves are kept, after the first transform.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.spectrum import Gain, Spectrum, carried_waves, chunks, for_each
from cryores_lite.types import Shape, Volume

CACHED_VOXELS = 1 << 18  # processed at a time; several arrays of this size fit into a cache of 4 MB


class FilteredPlanes:
    """Density of a filtered map, plane by plane: that of ``regrid(spectrum, shape, gain)``.

    Parameters
    ----------
    shape : points of the grid over the periodic box
    gain : a function of |k| (array, 1/Å) by which each wave is multiplied
    end : 1/Å; the gain is 0 beyond
    memory : from `memory_for`, for waves of this and, afterwards, of other bands; by default, new memory
    """

    def __init__(
        self,
        spectrum: Spectrum,
        shape: Shape,
        gain: Gain,
        end: float = math.inf,
        threads: int = 1,
        memory: npt.NDArray[np.complex64] | None = None,
    ) -> None:
        # Numbers of the highest waves of each axis, negative and positive.
        low, high = (
            [min(held, int(min(end * a, n))) for held, a, n in zip(side, spectrum.lengths, shape, strict=True)]
            for side in carried_waves(spectrum.shape, shape)
        )
        columns = low[2] + 1
        rows = min(shape[1], 2 * (high[1] + 1))  # one more than are filled, as of columns: the grid's at Nyquist
        size = (shape[0], rows, min(shape[2] // 2 + 1, columns + 1))
        waves = (memory_for(shape) if memory is None else memory)[: math.prod(size)].reshape(size)
        waves[:, high[1] + 1 : rows - low[1]] = 0
        waves[:, :, columns:] = 0
        source = spectrum.waves.view(np.float32)  # real and imaginary parts
        z2, y2, x2 = (
            np.square(np.arange(n + 1) / length).astype(np.float32)
            for n, length in zip(low, spectrum.lengths, strict=True)
        )
        scale = np.float32(np.prod(shape) / np.prod(spectrum.shape))

        def fill(first: int) -> None:
            """Filter and transform the rows of `step` numbers along y, and of their negatives, with equal gains."""
            last = min(first + step, low[1] + 1)
            gains = scale * gain(np.sqrt(z2[:, None, None] + (y2[first:last, None] + x2)))
            gains = np.repeat(gains, 2, axis=2)
            start, stop = max(first, 1), min(last, high[1] + 1)
            for in_source, in_waves, factors in (
                (slice(first, stop), slice(first, stop), gains[:, : stop - first]),
                (
                    slice(spectrum.shape[1] - last + 1, spectrum.shape[1] - start + 1),
                    slice(rows - last + 1, rows - start + 1),
                    gains[:, start - first :][:, ::-1],
                ),
            ):
                waves[:, in_waves, :columns] = transformed_rows(
                    source[:, in_source, : 2 * columns], factors, low[0], high[0], shape[0]
                )

        step = max(1, CACHED_VOXELS // (2 * shape[0] * columns))
        for_each(fill, range(0, low[1] + 1, step), threads)
        self.shape, self._waves = shape, waves

    def parts(self) -> Iterator[slice]:
        """Yield slices that divide the planes into parts that fit into a processor's cache."""
        return chunks(self.shape, CACHED_VOXELS)

    def density(self, part: slice) -> Volume:
        """Return the planes at `part` along z."""
        rows = padded(self._waves[part], 1, self.shape[1])
        planes = fft.ifft(rows, axis=1, overwrite_x=rows.shape[1] > self._waves.shape[1])
        out: Volume = fft.irfft(planes, n=self.shape[2], axis=2)
        return out


def memory_for(shape: Shape) -> npt.NDArray[np.complex64]:
    """Return memory for the waves of `FilteredPlanes` on a grid of up to `shape` points.

    To use it for one band after the other saves time: a system clears new memory.
    """
    return np.empty(shape[0] * shape[1] * (shape[2] // 2 + 1), np.complex64)


def transformed_rows(
    waves: Volume, gains: Volume, negative: int, positive: int, planes: int
) -> npt.NDArray[np.complex64]:
    """Filter rows of waves, and transform them back along z.

    Parameters
    ----------
    waves : (z, rows, 2 columns) real and imaginary parts
    gains : (negative + 1, rows, 2 columns), for the numbers 0, 1, ... of the waves along z; those of -1, ... are equal
    negative, positive : how many waves of each sign along z are kept
    planes : points of the grid along z
    """
    filtered = np.zeros((planes, *gains.shape[1:]), np.float32)
    np.multiply(waves[: positive + 1], gains[: positive + 1], out=filtered[: positive + 1])
    np.multiply(waves[len(waves) - negative :], gains[negative:0:-1], out=filtered[planes - negative :])
    out: npt.NDArray[np.complex64] = fft.ifft(filtered.view(np.complex64), axis=0, overwrite_x=True)
    return out


def padded(waves: npt.NDArray[np.complex64], axis: int, size: int) -> npt.NDArray[np.complex64]:
    """Insert zeros beyond the highest waves of an axis of a spectrum, so that it has `size` points."""
    points = waves.shape[axis]
    if points == size:
        return waves
    first, second = np.split(waves, [(points + 1) // 2], axis)
    zeros = np.zeros([size - points if n == axis else length for n, length in enumerate(waves.shape)], np.complex64)
    return np.concatenate([first, zeros, second], axis)
