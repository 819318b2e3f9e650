"""Local power of a map, band by band.

A band at frequency f is Gaussian in |k| with a full width at half maximum of 0.15 f. Its local power is averaged with
a Gaussian window of σ = 1.5/f, at least 4 Å. The same numbers define local resolution from two half maps (the windowed
FSC: Cardone, Heymann & Steven 2013, J. Struct. Biol. 184, 226).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.filtered_planes import FilteredPlanes
from cryores_lite.fourier.spectrum import Gain, Spectrum, chunks, for_each, grid_for, regrid_alike
from cryores_lite.types import Lengths, Shape, Volume

BAND_WIDTH = 0.15 / 2.3548  # σ of a band, in units of its frequency
WINDOW_SIGMA = 1.5  # σ of the averaging window, in units of 1/f
MIN_WINDOW_SIGMA = 4.0  # Å
POWER_STEP = 4.0  # Å, spacing of the coarse grid of local power: no window is narrower
FIRST_BAND = 1 / 40  # 1/Å
BAND_STEP = 1.1  # ratio of neighbouring bands
POINTS_PER_WAVE = 2.5  # of a band: aliases of its square do not reach the waves that the window passes (error 2e-4)


def band_frequencies(nyquist: float) -> npt.NDArray[np.float64]:
    """Return the centres of the bands up to the Nyquist frequency, in 1/Å. They are the same for every map."""
    steps = int(np.floor(np.log(max(nyquist, FIRST_BAND) / FIRST_BAND) / np.log(BAND_STEP) + 1e-9))
    centres: npt.NDArray[np.float64] = FIRST_BAND * BAND_STEP ** np.arange(steps + 1, dtype=np.float64)
    return centres


def window_sigma(frequency: float) -> float:
    """Return σ of the averaging window of a band, in Å."""
    return max(WINDOW_SIGMA / frequency, MIN_WINDOW_SIGMA)


def band_grid(spectrum: Spectrum, frequency: float, points_per_wave: float = POINTS_PER_WAVE) -> Shape:
    """Return the shape of the coarsest grid that holds a band and its square."""
    coarsest = grid_for(spectrum.lengths, 1 / (points_per_wave * frequency))
    z, y, x = (min(n, m) for n, m in zip(spectrum.shape, coarsest, strict=True))
    return z, y, x


def band_gain(frequency: float) -> Gain:
    """Return the filter of a band: a Gaussian of |k| (1/Å)."""
    centre, width = np.float32(frequency), np.float32(BAND_WIDTH * frequency)
    return lambda k: np.exp(-0.5 * ((k - centre) / width) ** 2)


def filter_to_band(spectrum: Spectrum, frequency: float, threads: int = 1) -> Spectrum:
    """Filter a map to one band, on its `band_grid`."""
    return filter_alike([spectrum], frequency, threads=threads)[0]


def filter_alike(
    spectra: Sequence[Spectrum], frequency: float, points_per_wave: float = POINTS_PER_WAVE, threads: int = 1
) -> list[Spectrum]:
    """Filter maps on one grid to one band, on its `band_grid`."""
    return regrid_alike(spectra, band_grid(spectra[0], frequency, points_per_wave), band_gain(frequency), threads)


def band_planes(
    spectrum: Spectrum, frequency: float, threads: int = 1, memory: npt.NDArray[np.complex64] | None = None
) -> FilteredPlanes:
    """Filter a map to one band, on its `band_grid`, plane by plane. `memory` as in `FilteredPlanes`."""
    grid = band_grid(spectrum, frequency)
    return FilteredPlanes(spectrum, grid, band_gain(frequency), threads=threads, memory=memory)


def local_power(spectrum: Spectrum, frequency: float, shape: Shape, threads: int = 1) -> Volume:
    """Measure the local power of one band on a coarse grid of `shape` points over the periodic box.

    The docstring of this module defines band and window.
    """
    band = band_planes(spectrum, frequency, threads)
    average = GaussianAverage(band.shape, spectrum.lengths, window_sigma(frequency), shape)

    def add(part: slice) -> None:
        density = band.density(part)
        average.add(part, np.square(density, out=density))

    for_each(add, band.parts(), threads)
    return average.values()


def smooth(values: Volume, lengths: Lengths, sigma: float, shape: Shape) -> Volume:
    """Average a periodic field with a Gaussian of `sigma` Å, on a grid of `shape` points. The result is at least 0."""
    z, y, x = values.shape
    average = GaussianAverage((z, y, x), lengths, sigma, shape)
    for part in chunks((z, y, x)):
        average.add(part, values[part])
    return average.values()


class GaussianAverage:
    """Gaussian average of a periodic field, built from planes with one matrix product along each axis.

    Parameters
    ----------
    padded_shape : voxels of the periodic box
    lengths : edges of the box, Å
    sigma : σ of the Gaussian, Å
    shape : points of the result's grid over the box; only waves that both grids can hold are kept
    before : first voxel of the field in the box; the box is 0 outside the field
    """

    def __init__(
        self, padded_shape: Shape, lengths: Lengths, sigma: float, shape: Shape, before: Shape = (0, 0, 0)
    ) -> None:
        axes = list(zip(padded_shape, shape, lengths, strict=True))
        matrices = {axis: gaussian_matrix(*axis, sigma) for axis in set(axes)}
        self.z, self.y, self.x = (matrices[axis] for axis in axes)
        self.planes, self.before = np.zeros((padded_shape[0], shape[1], shape[2]), np.float32), before

    def another(self) -> GaussianAverage:
        """Return an average of another field, with the same matrices and without planes."""
        other = copy(self)
        other.planes = np.zeros_like(self.planes)
        return other

    def add(self, part: slice, field: Volume) -> None:
        """Add planes of the field, at `part` along z."""
        z, y, x = self.before
        along_y, along_x = self.y[:, y : y + field.shape[1]], self.x[:, x : x + field.shape[2]]
        self.planes[z + part.start : z + part.stop] = along_y @ (field @ along_x.T)

    def values(self) -> Volume:
        """Return the average on the result's grid, at least 0."""
        out = self.signed_values()
        return np.maximum(out, 0, out=out)

    def signed_values(self) -> Volume:
        """Return the average of a field that can be negative, on the result's grid."""
        out: Volume = np.tensordot(self.z, self.planes, (1, 0))
        return out


def gaussian_matrix(n: int, m: int, length: float, sigma: float) -> Volume:
    """Return the (m, n) matrix that averages n points over `length` Å (periodic) with a Gaussian, at m points."""
    waves = np.arange((min(n, m) - 1) // 2 + 1)
    weight = np.where(waves > 0, 2, 1) * np.exp(-2 * np.pi**2 * (sigma * waves / length) ** 2) / n
    target, source = (2j * np.pi * np.outer(np.arange(points) / points, waves) for points in (m, n))
    matrix: Volume = ((np.exp(target) * weight) @ np.exp(-source).T).real.astype(np.float32)
    return matrix
