"""A map in which each voxel is weighted by its own FSC curve, frequency by frequency.

The figure of merit C = √(2 FSC / (1 + FSC)) is the expected correlation of the average of two half maps with the
noise-free map (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721). The map is divided into bands whose gains are
triangles in log |k| and add up to 1, and each band is multiplied by C at its frequency, which varies over space.

A windowed FSC is not 0 where there is only noise: it varies by about 0.07, of which the square root makes a C of 0.3.
So each curve counts as 0 from the band on after which it stays below 0.143.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import fft

from cryores_lite.fourier.fsc import Curve, without_tail
from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.fourier.spectrum import Spectrum, grid_for, inverse_transform, regrid, transform
from cryores_lite.half_maps.local_fsc import LocalFsc
from cryores_lite.method.crop import cut, paste
from cryores_lite.types import Lengths, Shape, Volume


def figure_of_merit(fsc: Volume) -> Volume:
    """Return √(2 FSC / (1 + FSC)), and 0 where the FSC is negative."""
    positive = np.maximum(fsc, 0)
    merit: Volume = np.sqrt(2 * positive / (1 + positive))
    return merit


def filtered_by_fsc(values: Volume, local: LocalFsc, voxel_size: Lengths, threads: int = 1) -> Volume:
    """Weight a map by the figure of merit of its half maps, at each voxel and frequency up to its local resolution.

    Parameters
    ----------
    values : (z, y, x) float32, on the grid of the half maps
    local : local FSC of the half maps
    voxel_size : Å

    Returns
    -------
    (z, y, x) float32, without the map's constant, 0 outside the molecule's box
    """
    return filtered_by_weights(values, local, figure_of_merit(without_tail(local.fsc)), voxel_size, threads)


def filtered_by_weights(
    values: Volume, local: LocalFsc, weights: Volume, voxel_size: Lengths, threads: int = 1
) -> Volume:
    """Multiply each band of a map by a weight that varies over space; parameters as in `filtered_by_fsc`.

    Parameters
    ----------
    weights : of the shape of ``local.fsc``
    """
    spectrum = transform(cut(values, local.box), voxel_size, threads)
    weighted = np.empty(spectrum.shape, np.float32)
    inverse_transform(weighted_bands(spectrum, local.frequencies, weights, threads), weighted.__setitem__, threads)
    z, y, x = (slice(before, before + n) for before, n in zip(spectrum.before, local.box.shape, strict=True))
    return paste(weighted[z, y, x], local.box, values.shape)


def weighted_bands(spectrum: Spectrum, frequencies: Curve, weights: Volume, threads: int = 1) -> Spectrum:
    """Multiply each band of a map by a weight that varies over space; return the spectrum of their sum.

    A band and its products lie on the coarsest grid that holds them, so that all bands together cost about as much as
    three transforms of the complete map and back.

    Parameters
    ----------
    frequencies : (bands,) 1/Å, rising; the first band holds all lower frequencies, and the last one all higher ones
    weights : (bands, coarse z, y, x), on a grid over the periodic box
    """
    weight_nyquist = max(0.5 * n / length for n, length in zip(weights.shape[1:], spectrum.lengths, strict=True))
    total: Spectrum | None = None
    for n, weight in enumerate(weights):
        is_last = n + 1 == len(frequencies)
        shape = spectrum.shape if is_last else _grid_up_to(spectrum, frequencies[n + 1] + weight_nyquist)
        product = np.empty(shape, np.float32)

        def multiply(part: slice, band: Volume, weight: Volume = weight, product: Volume = product) -> None:
            whole = slice(None)
            product[part] = band * resample_periodic(weight, (*product.shape,), (part, whole, whole))

        inverse_transform(regrid(spectrum, shape, partial(band_gain, frequencies, n), threads), multiply, threads)
        waves = fft.rfftn(product, workers=threads)
        if total is not None:
            waves += regrid(total, shape, threads=threads).waves
        total = Spectrum(waves, shape, spectrum.lengths, spectrum.before)
    assert total is not None, "there is a band"
    return total


def band_gain(frequencies: Curve, n: int, k: Volume) -> Volume:
    """Return the gain of band `n` on waves of |k| (1/Å): the gains of all bands add up to 1."""
    positions = np.interp(np.log(np.maximum(k, frequencies[0])), np.log(frequencies), np.arange(len(frequencies)))
    gain: Volume = np.maximum(1 - np.abs(positions - n), 0).astype(np.float32)
    return gain


def _grid_up_to(spectrum: Spectrum, frequency: float) -> Shape:
    """Return the shape of the coarsest grid that holds waves up to a frequency (1/Å), at most that of the spectrum."""
    needed = grid_for(spectrum.lengths, 0.5 / frequency)
    z, y, x = (min(n, m) for n, m in zip(spectrum.shape, needed, strict=True))
    return z, y, x
