"""Local power of a map, band by band, on a coarse grid over its periodic box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryores_lite.fourier.fsc import Curve
from cryores_lite.fourier.local_power import band_frequencies, local_power, smooth, window_sigma
from cryores_lite.fourier.spectrum import Spectrum
from cryores_lite.types import Lengths, Shape, Volume

MIN_COVERAGE = 0.25  # share of a window that a mask has left: the power of windows with less is scaled up no further


@dataclass(frozen=True, eq=False)
class BandFields:
    """A field for each band, on the coarse grid over a spectrum's periodic box.

    Attributes
    ----------
    frequencies : (bands,) 1/Å
    values : (bands, z, y, x) float32
    lengths : edges of the box, Å
    """

    frequencies: Curve
    values: Volume
    lengths: Lengths

    @property
    def shape(self) -> Shape:
        """Points of the coarse grid."""
        _, z, y, x = self.values.shape
        return z, y, x


class BandPowers(BandFields):
    """Local power of each band."""


def measure_band_powers(spectrum: Spectrum, masked_out: Volume, threads: int = 1) -> BandPowers:
    """Measure the local power of every band up to the Nyquist frequency.

    Parameters
    ----------
    masked_out : (z, y, x) float32, share of each coarse voxel's power that a mask has removed. The power in a window
        that reaches over the edge of a mask is divided by the share that is left.
    """
    frequencies = band_frequencies(spectrum.nyquist)
    shape = (masked_out.shape[0], masked_out.shape[1], masked_out.shape[2])
    values = np.empty((len(frequencies), *shape), np.float32)
    for power, f in zip(values, frequencies, strict=True):
        power[:] = local_power(spectrum, f, shape, threads)
        if masked_out.any():
            power /= window_coverage(masked_out, spectrum.lengths, window_sigma(f))
    return BandPowers(frequencies, values, spectrum.lengths)


def window_coverage(masked_out: Volume, lengths: Lengths, sigma: float) -> Volume:
    """Return the share of each window's power that a mask has left, at least `MIN_COVERAGE`.

    Parameters
    ----------
    masked_out : (z, y, x) float32, share of each coarse voxel's power that a mask has removed
    lengths : edges of the box, Å
    sigma : σ of the windows, Å
    """
    z, y, x = masked_out.shape
    return np.maximum(1 - smooth(masked_out, lengths, sigma, (z, y, x)), MIN_COVERAGE)
