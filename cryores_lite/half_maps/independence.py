"""Detect half maps that are not independent.

Half maps come from two halves of the particles: they share the signal, and their noise is independent. Two copies of
one map share the noise too. Small windows of both maps are compared shell by shell, where density is highest and where
there is solvent. A copy that was scaled, masked or filtered still correlates in every shell that it holds; half maps do
not correlate where noise dominates.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import Curve, correlation_terms
from cryores_lite.fourier.grids import add_shell_sums
from cryores_lite.types import Shape, Volume

WINDOW_EDGE = 16  # voxels
MAX_WINDOWS_PER_AXIS = 13  # candidate positions
COMPARED_WINDOWS = 4  # of highest density, and as many of lowest
COPY_FSC = 0.72  # lowest FSC of two copies; filters and masks lower the FSC of copies to a little below 1
DEPENDENT_FSC = 0.47  # lowest FSC above which a warning is given: the maps share noise
MIN_POWER_FRACTION = 1e-7  # of the strongest shell: weaker shells are empty or rounding errors
MAX_POWER_RATIO = 100.0  # of the two maps in a shell, relative to the first shell; more: one of them was filtered there
MAX_SOLVENT_IMBALANCE = 4.0  # ratio of (map 2 / map 1 variance) in molecule and solvent; more: one was masked
SHELLS_BEFORE_CUTOFF = 2  # left out before the first empty or filtered shell, which a filter's edge affects too
FIRST_SHELL = 2  # shells 0 and 1 hold the shape of the window


def refuse_copies(first: Volume, second: Volume) -> float:
    """Refuse two copies of one map; return their `lowest_shell_fsc`.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape

    Raises
    ------
    InputError
        The maps agree in every shell that both hold, in molecule and solvent.
    """
    lowest = lowest_shell_fsc(first, second)
    if lowest > COPY_FSC:
        raise InputError(
            "these do not look like independent half maps",
            found="two copies of one map (unchanged, scaled, masked or filtered)",
            expected="two reconstructions, each from one half of the particles",
            try_="pass the two unfiltered half maps of one reconstruction",
        )
    return lowest


def lowest_shell_fsc(first: Volume, second: Volume) -> float:
    """Return the lowest FSC of two maps in any shell that both hold, in windows of molecule and of solvent.

    It is 1 for copies of a map, about 0.7 for a half map and the average of both, about 0 for independent half maps.
    """
    molecule, solvent = molecule_and_solvent_windows(first, second)
    curves = [windowed_fsc(first, second, molecule)]
    variance_ratios = [
        mean_variance(second, windows) / max(mean_variance(first, windows), 1e-300) for windows in (molecule, solvent)
    ]
    if max(variance_ratios) <= MAX_SOLVENT_IMBALANCE * min(variance_ratios):  # neither map has its solvent masked away
        curves.append(windowed_fsc(first, second, solvent))
    return min((float(curve.min()) for curve in curves if len(curve)), default=0.0)


def mean_map(first: Volume, second: Volume) -> Volume:
    """Average two maps of one shape."""
    mean: Volume = np.add(first, second, dtype=np.float32)
    mean /= 2
    return mean


def mean_variance(values: Volume, windows: list[Shape]) -> float:
    """Average the variances of a map in windows."""
    return float(np.mean([window(values, start).var() for start in windows]))


def molecule_and_solvent_windows(first: Volume, second: Volume) -> tuple[list[Shape], list[Shape]]:
    """Return the first voxels of the windows whose average has the largest and the smallest standard deviation.

    Windows are inside the sphere that fits the box, because the corners of the box hold gridding artefacts.
    """
    last_starts = [max(n - WINDOW_EDGE, 0) for n in first.shape]
    starts = [
        np.linspace(0, last, min(MAX_WINDOWS_PER_AXIS, 2 * last // WINDOW_EDGE + 1)).astype(int) for last in last_starts
    ]
    squared_distance = sum(
        (((s + min(WINDOW_EDGE, n) / 2) / n - 0.5) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (s, n) in enumerate(zip(starts, first.shape, strict=True))
    )  # from the centre, in units of the box
    in_sphere = np.argwhere(squared_distance <= max(0.25, squared_distance.min()))
    windows = [(int(starts[0][z]), int(starts[1][y]), int(starts[2][x])) for z, y, x in in_sphere]
    order = np.argsort([float((window(first, start) + window(second, start)).std()) for start in windows])
    return [windows[n] for n in order[::-1][:COMPARED_WINDOWS]], [windows[n] for n in order[:COMPARED_WINDOWS]]


def window(values: Volume, start: Shape) -> Volume:
    """Return a window of a map, as a view."""
    z, y, x = start
    return values[z : z + WINDOW_EDGE, y : y + WINDOW_EDGE, x : x + WINDOW_EDGE]


def windowed_fsc(first: Volume, second: Volume, windows: list[Shape]) -> Curve:
    """Return the FSC over windows in the shells that both maps hold, from the third shell on; may be empty."""
    shape = window(first, windows[0]).shape
    hann = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        profile = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        hann *= profile.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    k2 = sum(
        np.square(fft.fftfreq(n)).reshape([-1 if a == axis else 1 for a in range(3)]) for axis, n in enumerate(shape)
    )
    shells = np.rint(np.sqrt(k2) * WINDOW_EDGE).astype(int)
    sums = np.zeros((3, shells.max() + 1))
    for start in windows:
        a, b = (fft.fftn((window(values, start) - window(values, start).mean()) * hann) for values in (first, second))
        add_shell_sums(sums, shells, *correlation_terms(a, b))
    cross, first_power, second_power = sums[:, FIRST_SHELL : WINDOW_EDGE // 2 + 1]
    count = common_shells(first_power, second_power)
    curve: Curve = cross[:count] / np.sqrt(first_power[:count] * second_power[:count])
    return curve


def common_shells(first_power: Curve, second_power: Curve) -> int:
    """Count the shells, from the first one on, that both maps hold and no filter has changed much."""
    held = (first_power > MIN_POWER_FRACTION * first_power.max(initial=0)) & (
        second_power > MIN_POWER_FRACTION * second_power.max(initial=0)
    )
    ratio = second_power / np.maximum(first_power, 1e-300)
    held &= (ratio > ratio[0] / MAX_POWER_RATIO) & (ratio < ratio[0] * MAX_POWER_RATIO)
    count = int(np.argmin(np.append(held, False)))
    return count if count == len(held) else max(min(count, 1), count - SHELLS_BEFORE_CUTOFF)
