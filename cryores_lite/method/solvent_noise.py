"""Local resolution without a network: the local power of each band against the solvent's.

In the average V of two half maps the local power of a band is P = S + N. Solvent has no signal, so N is read
off a ring around the molecule, and the half maps' Fourier shell correlation is FSC = S / (S + 2N) = (P − N)/(P + N).
Local resolution is 1/f at the highest f where this still reaches 0.143. It needs visible, even solvent: where
there is none (masked, cropped maps), N is guessed from the quietest parts of the molecule, and `has_solvent` says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.fsc import FSC_CUT, Curve
from cryores_lite.fourier.local_power import band_frequencies, local_power, smooth, window
from cryores_lite.fourier.spectrum import Spectrum
from cryores_lite.method.molecule import Outline
from cryores_lite.types import Lengths, Mask, Shape, Volume

RING = (3.0, 19.0)  # Å from the molecule; farther out reconstructions fade
RING_WINDOWS = (1.0, 4.0)  # the same in units of 1/f, for bands whose window is wider than the ring
EVEN = 0.5  # ring voxels with less than this share of the power next to the molecule were masked away
RING_SHARE = 0.5  # a ring of which less than this share is left does not count
FEWEST = 40  # voxels of the coarse grid that make a median
QUIET = 5.0  # percentile of the molecule's power that stands in for the solvent's where no ring is left
EDGE_FACTOR = 1.15  # the level in units of the low-pass edge, where the bands say nothing
STEEP = 5.0  # power of frequency with which signal falls against noise near the resolution
LEAST_COVER = 0.25  # of a window: with less map in it, its power is not scaled up further
UNFADED = 85.0  # percentile of the power close to the molecule that a mask has left whole
FADED = 0.15  # share of power that a soft edge must have left for its voxels to tell the noise
SHRINKAGE = 0.7  # share of a local estimate's deviation from the median (in log) that is not estimation noise
WIDEST = 2.0  # a local estimate farther than this factor from the median is the ring's leakage, not the molecule


@dataclass(frozen=True, eq=False)
class BandPowers:
    """Local power of each band on the coarse grid over a spectrum's periodic box.

    Attributes
    ----------
    frequencies : (bands,) 1/Å
    values : (bands, z, y, x) float32
    lengths : Å, edges of the box
    """

    frequencies: Curve
    values: Volume
    lengths: Lengths

    @property
    def shape(self) -> Shape:
        _, z, y, x = self.values.shape
        return z, y, x


@dataclass(frozen=True, eq=False)
class SolventEstimate:
    """The estimate, on the coarse grid.

    Attributes
    ----------
    resolution : (z, y, x) float32, Å, everywhere in the box (it means something inside the molecule)
    level : Å, its median over the molecule
    outline : where the molecule is, and where the map ends
    noise, inside : (bands,) power of the noise (ring or stand-in), median power over the molecule
    ring_valid : is the noise the solvent's?
    ring_share : share of the ring that is left
    """

    resolution: Volume
    level: float
    outline: Outline
    noise: Curve
    inside: Curve
    has_solvent: bool
    solvent_fraction: float


def measure_band_powers(spectrum: Spectrum, blank: Volume, threads: int = 1) -> BandPowers:
    """Measure the local power of every band of the ladder that the map carries.

    `blank` is the share of each coarse voxel's power that a mask has taken: a window that reaches over a mask's
    edge is divided by the share that is left.
    """
    frequencies = band_frequencies(spectrum.nyquist)
    shape = (blank.shape[0], blank.shape[1], blank.shape[2])
    values = np.empty((len(frequencies), *shape), np.float32)
    for power, f in zip(values, frequencies, strict=True):
        power[:] = local_power(spectrum, f, shape, threads)
        if blank.any():
            power /= np.maximum(1 - smooth(blank, spectrum.lengths, window(f), shape), LEAST_COVER)
    return BandPowers(frequencies, values, spectrum.lengths)


def solvent_estimate(powers: BandPowers, outline: Outline) -> SolventEstimate:
    """Estimate the local resolution of a map from its band powers.

    References
    ----------
    Rosenthal & Henderson (2003), J. Mol. Biol. 333, 721 (0.143, and the FSC of an average).
    """
    molecule, distance, limit = outline.molecule, outline.distance, outline.limit
    live = powers.frequencies <= max(1.03 / limit, powers.frequencies[3])
    top = powers.values[live][-3:].mean(0)
    ring, share = solvent_ring(top, distance, outline.seen)
    valid = share >= RING_SHARE and int(ring.sum()) >= FEWEST
    inside = np.array([np.median(power[molecule]) for power in powers.values], np.float64)
    if valid:
        noise = np.array(
            [np.median(p[band_ring(ring, distance, f)]) for p, f in zip(powers.values, powers.frequencies, strict=True)]
        )
    else:
        noise = noise_without_solvent(powers.values, top, molecule, distance, outline.seen)
    resolution = highest_crossing(powers, noise, live, limit)
    level = float(np.median(resolution[molecule]))
    if level >= 1 / powers.frequencies[0]:
        level = EDGE_FACTOR * limit
    return SolventEstimate(shrink_towards_median(resolution, level, limit), level, outline, noise, inside, valid, share)


def shrink_towards_median(resolution: Volume, level: float, limit: float) -> Volume:
    """Pull an estimate towards its level: part of its deviations is estimation noise."""
    calm = level * np.clip((resolution / level) ** SHRINKAGE, 1 / WIDEST, WIDEST)
    out: Volume = np.maximum(calm, limit).astype(np.float32)
    return out


def noise_at_level(powers: BandPowers, solvent: SolventEstimate, level: float) -> Curve:
    """The noise of a map whose level is known otherwise.

    The solvent's noise is scaled so that the molecule's median crosses at `level` Å. Without a ring the noise is put
    where signal falls against it as the power `STEEP` of frequency.

    Returns
    -------
    (bands,) power of the noise
    """
    above = (1 + FSC_CUT) / (1 - FSC_CUT)
    if not solvent.has_solvent:
        noise: Curve = solvent.inside * (powers.frequencies * level) ** STEEP / above
        return noise
    ratio = np.log(np.maximum(solvent.inside, 1e-30)) - np.log(np.maximum(solvent.noise, 1e-30))
    found = np.interp(-np.log(level), np.log(powers.frequencies), ratio)
    return solvent.noise * float(np.exp(found)) / above


def noise_without_solvent(values: Volume, top: Volume, molecule: Mask, distance: Volume, seen: Mask) -> Curve:
    """The noise of a masked map: what a soft edge has left of the solvent, or the quietest parts of the molecule.

    Along a soft edge all bands fall together, and the highest ones, which hold the least signal, show how far.
    """
    close = seen & (distance >= RING[0]) & (distance <= RING[0] + 5)
    faded = np.clip(top / max(float(np.percentile(top[close], UNFADED)), 1e-30), 0, 1) if close.any() else 0 * top
    edge = close & (faded >= FADED)
    if int(edge.sum()) >= FEWEST:
        noise: Curve = np.median(values[:, edge] / faded[edge], axis=1).astype(np.float64)
        return noise
    quiet: Curve = np.percentile(values[:, molecule], QUIET, axis=1)
    return quiet


def solvent_ring(power: Volume, distance: Volume, seen: Mask) -> tuple[Mask, float]:
    """Solvent voxels that are not masked away, by the power of the highest bands; and their share of the ring."""
    near, far = RING
    ring = (distance >= near) & (distance <= far)
    close = seen & (distance >= near) & (distance <= near + 5)
    if not ring.any() or not close.any():
        return np.zeros_like(seen), 0.0
    kept = seen & (distance >= near) & (power >= EVEN * np.median(power[close]))
    return kept, float((kept & ring).sum() / ring.sum())


def band_ring(ring: Mask, distance: Volume, frequency: float) -> Mask:
    """The part of the ring in which a band's window sees solvent and not the molecule, as far as there is any."""
    near, far = (max(a, w / frequency) for a, w in zip(RING, RING_WINDOWS, strict=True))
    while near > RING[0]:
        chosen: Mask = ring & (distance >= near) & (distance <= far)
        if int(chosen.sum()) >= FEWEST:
            return chosen
        near *= 0.8
    return ring & (distance <= max(RING[1], far))


def highest_crossing(powers: BandPowers, noise: Curve, live: npt.NDArray[np.bool_], limit: float) -> Volume:
    """Resolution in Å at the highest band where (P − N)/(P + N) reaches 0.143, by interpolation in log f.

    The search comes down from high frequency: from below it stops where the molecule leaks into the ring.
    """
    floor = np.maximum(noise, max(1e-12 * noise.max(), 1e-30)).astype(np.float32)
    result = np.full(powers.shape, 1 / powers.frequencies[0], np.float32)
    open_ = np.ones(powers.shape, bool)
    above = np.zeros(powers.shape, np.float32)
    last = int(np.flatnonzero(live)[-1])
    for band in range(last, -1, -1):
        power = powers.values[band]
        fsc = (power - floor[band]) / (power + floor[band])
        hit = open_ & (fsc >= FSC_CUT)
        f = powers.frequencies[band]
        if band == last:
            result[hit] = limit
        else:
            share = (fsc[hit] - FSC_CUT) / np.maximum(fsc[hit] - above[hit], 1e-6)
            ratio = powers.frequencies[band + 1] / f
            result[hit] = 1 / (f * ratio ** np.clip(share, 0, 1))
        open_ &= ~hit
        above = fsc
    return result
