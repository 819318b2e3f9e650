"""Local resolution without a network, from the local power of each band and the noise power in the solvent.

In the average V of two half maps the local power of a band is P = S + N. Solvent holds no signal, so N is measured in
a shell of solvent around the molecule, and the Fourier shell correlation of the half maps is
FSC = S / (S + 2N) = (P − N) / (P + N). Local resolution is 1/f at the highest f where the FSC reaches 0.143.
The estimate needs noisy solvent. Masked and cropped maps have none. For them `has_solvent` is False, and N is estimated
from the solvent in a soft mask edge, or from the parts of the molecule with least power.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve
from cryores_lite.method.band_powers import BandPowers
from cryores_lite.method.outline import Outline
from cryores_lite.types import Mask, Volume

SOLVENT_SHELL = (3.0, 19.0)  # Å from the molecule; farther out the noise of reconstructions fades
SOLVENT_SHELL_WINDOWS = (1.0, 4.0)  # the same in units of 1/f, for bands whose window is wider than the shell
CLOSE_SOLVENT_WIDTH = 5.0  # Å: the inner part of the shell, whose power is the reference for the other solvent
MIN_SOLVENT_POWER = 0.5  # share of the power close to the molecule; voxels with less were masked out
MIN_SOLVENT_FRACTION = 0.5  # share of the shell that must hold noise for the noise to be used
MIN_MEDIAN_VOXELS = 40  # fewest voxels of the coarse grid for a median
LEAST_POWER_PERCENTILE = 5.0  # of the molecule's power: used as noise where no solvent is left
LOW_PASS_FACTOR = 1.15  # median resolution in units of the low-pass edge, if no band resolves the molecule
SIGNAL_SLOPE = 5.0  # power of frequency with which signal falls against noise near the resolution
UNFADED_PERCENTILE = 85.0  # of the power close to the molecule: the power that a mask has not changed
MIN_FADED_POWER = 0.15  # share of power in a soft edge; voxels with less are not used for the noise
SHRINKAGE = 0.7  # share of a local estimate's deviation from the median (in log) that is not estimation noise
MAX_SPREAD = 2.0  # factor from the median; estimates beyond are caused by leakage into the solvent shell
MIN_POWER = 1e-30


@dataclass(frozen=True, eq=False, kw_only=True)
class SolventEstimate:
    """Local resolution from solvent noise, on the coarse grid.

    Attributes
    ----------
    resolution : (z, y, x) float32, Å, at every point of the box; valid inside the molecule only
    median_resolution : Å, over the molecule
    outline : the molecule, and the finest resolution that the map holds
    noise_power : (bands,) power of the noise, from the solvent or from `noise_without_solvent`
    molecule_power : (bands,) median power over the molecule
    has_solvent : whether the noise was measured in solvent
    solvent_fraction : share of the solvent shell that holds noise
    """

    resolution: Volume
    median_resolution: float
    outline: Outline
    noise_power: Curve
    molecule_power: Curve
    has_solvent: bool
    solvent_fraction: float

    @property
    def molecule(self) -> Mask:
        """The molecule's mask, (z, y, x) bool, found from the map alone."""
        return self.outline.molecule


def solvent_estimate(powers: BandPowers, outline: Outline) -> SolventEstimate:
    """Estimate the local resolution of a map from its band powers.

    References
    ----------
    Rosenthal & Henderson (2003), J. Mol. Biol. 333, 721 (0.143, and the FSC of an average).
    """
    molecule, distance, limit = outline.molecule, outline.distance, outline.limit
    live_bands = powers.frequencies <= max(1.03 / limit, powers.frequencies[3])
    high_band_power = powers.values[live_bands][-3:].mean(0)
    shell, fraction = solvent_shell(high_band_power, distance, outline.in_map)
    has_solvent = fraction >= MIN_SOLVENT_FRACTION and int(shell.sum()) >= MIN_MEDIAN_VOXELS
    molecule_power = np.array([np.median(power[molecule]) for power in powers.values], np.float64)
    if has_solvent:
        noise_power = np.array(
            [
                np.median(power[band_shell(shell, distance, f)])
                for power, f in zip(powers.values, powers.frequencies, strict=True)
            ]
        )
    else:
        noise_power = noise_without_solvent(powers.values, high_band_power, outline)
    resolution = highest_crossing(powers, noise_power, live_bands, limit)
    median = float(np.median(resolution[molecule]))
    if median >= 1 / powers.frequencies[0]:
        median = LOW_PASS_FACTOR * limit
    return SolventEstimate(
        resolution=shrink_towards_median(resolution, median, limit),
        median_resolution=median,
        outline=outline,
        noise_power=noise_power,
        molecule_power=molecule_power,
        has_solvent=has_solvent,
        solvent_fraction=fraction,
    )


def shrink_towards_median(resolution: Volume, median: float, limit: float) -> Volume:
    """Shrink local estimates (Å) towards their median, because part of their deviations is estimation noise."""
    shrunk = median * np.clip((resolution / median) ** SHRINKAGE, 1 / MAX_SPREAD, MAX_SPREAD)
    out: Volume = np.maximum(shrunk, limit).astype(np.float32)
    return out


def noise_at_resolution(powers: BandPowers, solvent: SolventEstimate, median_resolution: float) -> Curve:
    """Estimate the noise power of a map with a given median resolution.

    The noise of the solvent is scaled so that the molecule's median power crosses it at `median_resolution` (Å).
    Without solvent, the ratio of signal to noise is assumed to fall as frequency to the power `SIGNAL_SLOPE`.

    Returns
    -------
    (bands,) power of the noise
    """
    crossing_ratio = (1 + FSC_THRESHOLD) / (1 - FSC_THRESHOLD)  # P/N where (P − N)/(P + N) = 0.143
    if not solvent.has_solvent:
        noise: Curve = (
            solvent.molecule_power * (powers.frequencies * median_resolution) ** SIGNAL_SLOPE / crossing_ratio
        )
        return noise
    log_ratio = np.log(np.maximum(solvent.molecule_power, MIN_POWER)) - np.log(
        np.maximum(solvent.noise_power, MIN_POWER)
    )
    log_ratio_at_resolution = np.interp(-np.log(median_resolution), np.log(powers.frequencies), log_ratio)
    return solvent.noise_power * float(np.exp(log_ratio_at_resolution)) / crossing_ratio


def noise_without_solvent(values: Volume, high_band_power: Volume, outline: Outline) -> Curve:
    """Estimate the noise power of a masked map from a soft mask edge, or from the molecule's parts with least power.

    In a soft edge, the power of all bands falls by one factor. The highest bands, with least signal, give this factor.

    Parameters
    ----------
    values : (bands, z, y, x) float32, band powers
    high_band_power : (z, y, x) float32, mean power of the highest bands that the map holds

    Returns
    -------
    (bands,) power of the noise
    """
    close = _close_solvent(outline.distance, outline.in_map)
    if close.any():
        unfaded = max(float(np.percentile(high_band_power[close], UNFADED_PERCENTILE)), MIN_POWER)
        faded = np.clip(high_band_power / unfaded, 0, 1)
    else:
        faded = 0 * high_band_power
    edge = close & (faded >= MIN_FADED_POWER)
    if int(edge.sum()) >= MIN_MEDIAN_VOXELS:
        noise: Curve = np.median(values[:, edge] / faded[edge], axis=1).astype(np.float64)
        return noise
    least: Curve = np.percentile(values[:, outline.molecule], LEAST_POWER_PERCENTILE, axis=1)
    return least


def solvent_shell(power: Volume, distance: Volume, in_map: Mask) -> tuple[Mask, float]:
    """Find the solvent that is not masked out, by the power of the highest bands; also return its share of the shell.

    The returned mask includes solvent beyond the shell.
    """
    near, far = SOLVENT_SHELL
    shell = (distance >= near) & (distance <= far)
    close = _close_solvent(distance, in_map)
    if not shell.any() or not close.any():
        return np.zeros_like(in_map), 0.0
    noisy = in_map & (distance >= near) & (power >= MIN_SOLVENT_POWER * np.median(power[close]))
    return noisy, float((noisy & shell).sum() / shell.sum())


def _close_solvent(distance: Volume, in_map: Mask) -> Mask:
    """Return the inner part of the solvent shell."""
    near = SOLVENT_SHELL[0]
    close: Mask = in_map & (distance >= near) & (distance <= near + CLOSE_SOLVENT_WIDTH)
    return close


def band_shell(solvent: Mask, distance: Volume, frequency: float) -> Mask:
    """Return the solvent in which a band's window overlaps little of the molecule.

    If this shell has too few voxels, its inner edge is moved towards the molecule.
    """
    near, far = (
        max(edge, windows / frequency) for edge, windows in zip(SOLVENT_SHELL, SOLVENT_SHELL_WINDOWS, strict=True)
    )
    while near > SOLVENT_SHELL[0]:
        shell: Mask = solvent & (distance >= near) & (distance <= far)
        if int(shell.sum()) >= MIN_MEDIAN_VOXELS:
            return shell
        near *= 0.8
    return solvent & (distance <= max(SOLVENT_SHELL[1], far))


def highest_crossing(powers: BandPowers, noise_power: Curve, live_bands: npt.NDArray[np.bool_], limit: float) -> Volume:
    """Find the resolution (Å) at the highest band where (P − N)/(P + N) reaches 0.143, interpolated in log f.

    The search starts at high frequency. A search from low frequency would stop where power of the molecule leaks into
    the solvent shell. Half maps have no such leakage: their FSC is searched from below (`fourier.fsc.first_crossing`).

    Parameters
    ----------
    noise_power : (bands,)
    live_bands : (bands,) bool, bands below a low-pass filter
    limit : Å, the finest resolution that the map holds

    Returns
    -------
    (z, y, x) float32, Å; the resolution of the lowest band where no band reaches 0.143
    """
    noise = np.maximum(noise_power, max(1e-12 * noise_power.max(), MIN_POWER)).astype(np.float32)
    resolution = np.full(powers.shape, 1 / powers.frequencies[0], np.float32)
    pending = np.ones(powers.shape, bool)
    fsc_above = np.zeros(powers.shape, np.float32)
    last = int(np.flatnonzero(live_bands)[-1])
    for band in range(last, -1, -1):
        power = powers.values[band]
        fsc = (power - noise[band]) / (power + noise[band])
        crossing = pending & (fsc >= FSC_THRESHOLD)
        f = powers.frequencies[band]
        if band == last:
            resolution[crossing] = limit
        else:
            share = (fsc[crossing] - FSC_THRESHOLD) / np.maximum(fsc[crossing] - fsc_above[crossing], 1e-6)
            ratio = powers.frequencies[band + 1] / f
            resolution[crossing] = 1 / (f * ratio ** np.clip(share, 0, 1))
        pending &= ~crossing
        fsc_above = fsc
    return resolution
