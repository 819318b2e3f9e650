"""Whether two maps are half maps at all: copies of one map share their noise, halves of the particles do not.

Small windows of both maps are compared shell by shell, in the densest and in the quietest places. A copy that was
scaled, masked or filtered still correlates there in every shell that it holds; half maps do not where noise begins.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import Curve, correlation_terms
from cryores_lite.fourier.grids import add_shell_sums
from cryores_lite.types import Shape, Volume

EDGE = 16  # voxels of a window
MOST = 13  # places along an axis where one may be
WINDOWS = 4  # that are looked at
SAME = 0.72  # FSC above which shells hold one density: filters and masks lower a copy's a little
ALIKE = 0.47  # FSC above which the user is told that nowhere the maps' own noise shows
ALIVE = 1e-7  # share of the strongest shell's power below which a shell is empty, or rounding
ALTERED = 100.0  # ratio of powers from which a filter has changed a shell too much to judge it
EVEN = 4.0  # ratio of the maps' ratios of power, molecule against solvent, up to which both have solvent
CLIFF = 2  # shells before an altered one that are altered too
FIRST = 2  # shells that are always left out: they hold the window


def refuse_copies(first: Volume, second: Volume) -> float:
    """Refuse two maps that are copies of one map; return how alike they are.

    Raises
    ------
    InputError
        In every shell that both maps hold they are the same, in molecule and solvent alike.
    """
    common = likeness(first, second)
    if common > SAME:
        raise InputError(
            "these are no half maps",
            found="two copies of one map (as it is, scaled, masked or filtered)",
            expected="reconstructions from two halves of the particles",
            try_="pass the two unfiltered half maps of one reconstruction",
        )
    return common


def likeness(first: Volume, second: Volume) -> float:
    """Least FSC of two maps in any shell that both hold, where they are densest and where there is solvent.

    1 for copies of a map; about 0.7 for a half map and the whole one; about 0 for half maps that hold their noise.
    """
    dense, quiet = places(average(first, second))
    curves = [common(first, second, dense)]
    balance = [strength(second, windows) / max(strength(first, windows), 1e-300) for windows in (dense, quiet)]
    if max(balance) <= EVEN * min(balance):  # else the quiet windows were masked away in one of them
        curves.append(common(first, second, quiet))
    return min((float(curve.min()) for curve in curves if len(curve)), default=0.0)


def average(first: Volume, second: Volume) -> Volume:
    """The mean of two maps."""
    mean: Volume = np.add(first, second, dtype=np.float32)
    mean /= 2
    return mean


def strength(values: Volume, windows: list[Shape]) -> float:
    """Variance in windows."""
    return float(np.mean([cube(values, place).var() for place in windows]))


def places(values: Volume) -> tuple[list[Shape], list[Shape]]:
    """First voxels of the windows with most and with least density.

    The corners are left out: beyond the sphere that images fill, reconstructions hold what gridding leaves there.
    """
    room = [max(n - EDGE, 0) for n in values.shape]
    starts = [np.linspace(0, r, min(MOST, 2 * r // EDGE + 1)).astype(int) for r in room]
    away = sum(
        (((s + min(EDGE, n) / 2) / n - 0.5) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (s, n) in enumerate(zip(starts, values.shape, strict=True))
    )
    near = np.argwhere(away <= max(0.25, away.min()))
    grid = [(int(starts[0][z]), int(starts[1][y]), int(starts[2][x])) for z, y, x in near]
    order = np.argsort([float(cube(values, place).std()) for place in grid])
    return [grid[n] for n in order[::-1][:WINDOWS]], [grid[n] for n in order[:WINDOWS]]


def cube(values: Volume, place: Shape) -> Volume:
    """A window of a map."""
    z, y, x = place
    return values[z : z + EDGE, y : y + EDGE, x : x + EDGE]


def common(first: Volume, second: Volume, windows: list[Shape]) -> Curve:
    """FSC over windows, of the shells that both maps hold, from the third on; empty where there is none."""
    shape = cube(first, windows[0]).shape
    fade = np.ones(shape, np.float32)
    for axis, n in enumerate(shape):
        hann = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
        fade *= hann.reshape([-1 if a == axis else 1 for a in range(3)]).astype(np.float32)
    k2 = sum(
        np.square(fft.fftfreq(n)).reshape([-1 if a == axis else 1 for a in range(3)]) for axis, n in enumerate(shape)
    )
    shells = np.rint(np.sqrt(k2) * EDGE).astype(int)
    sums = np.zeros((3, shells.max() + 1))
    for place in windows:
        a, b = (fft.fftn((cube(v, place) - cube(v, place).mean()) * fade) for v in (first, second))
        add_shell_sums(sums, shells, *correlation_terms(a, b))
    cross, one, other = sums[:, FIRST : EDGE // 2 + 1]
    alive = (one > ALIVE * one.max(initial=0)) & (other > ALIVE * other.max(initial=0))
    ratio = other / np.maximum(one, 1e-300)
    alive &= (ratio > ratio[0] / ALTERED) & (ratio < ratio[0] * ALTERED)
    held = int(np.argmin(np.append(alive, False)))
    if held < len(alive):
        held = max(min(held, 1), held - CLIFF)
    curve: Curve = cross[:held] / np.sqrt(one[:held] * other[:held])
    return curve
