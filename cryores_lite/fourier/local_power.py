"""A map as waves: resample it without alias, filter it, and measure its local power band by band.

A band at frequency f is Gaussian in |k| with a full width at half maximum of 0.15 f, and local power is
averaged with a Gaussian window of σ = 1.5/f, at least 4 Å: the very numbers that define local resolution
from two half maps (Cardone, Heymann & Steven 2013, J. Struct. Biol. 184, 226, for the windowed FSC).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.spectrum import Spectrum, _both, chunks, grid_for, planes, regrid
from cryores_lite.types import Lengths, Shape, Volume

BAND_WIDTH = 0.15 / 2.3548  # σ of a band, in units of its frequency
WINDOW = 1.5  # σ of the averaging window, in units of 1/f
SMALLEST_WINDOW = 4.0  # Å
POWER_STEP = 4.0  # Å, the grid on which local power is kept: no window is narrower
LADDER = (1 / 40, 1.1)  # first frequency (1/Å) and ratio of the ladder of bands
SAMPLING = 2.5  # points per wave of a band: its square, folded, stays clear of the window's waves (errs by 2e-4)


def band_frequencies(nyquist: float) -> npt.NDArray[np.float64]:
    """Centres of the bands that a map carries, in 1/Å: a fixed ladder, cut at the Nyquist frequency."""
    first, ratio = LADDER
    steps = int(np.floor(np.log(max(nyquist, first) / first) / np.log(ratio) + 1e-9))
    centres: npt.NDArray[np.float64] = first * ratio ** np.arange(steps + 1, dtype=np.float64)
    return centres


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
