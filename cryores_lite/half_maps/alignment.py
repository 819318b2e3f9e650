"""Measure how two half maps lie relative to each other: a shift, a rotation and a difference in voxel size.

Windows of the molecule are compared. Where the second half map is displaced by u, the phase of the cross spectrum
F1 F2* of the window is 2π k·u. The displacement is linear in the place, u(x) = t + ω × d + s d, where d is the distance
from the middle of the windows, t a shift, ω a small rotation and s a relative difference in size. The seven numbers
maximise the weighted sum of Re(F1 F2* exp(−2πi k·u)) over all windows. The weight of a wave is γ / (1 − γ²) over the
power of its shell, where γ is the correlation of the shell: for a common signal in independent noise, this is the
maximum of likelihood (Knapp & Carter 1976, IEEE Trans. ASSP 24, 320). In each round, the windows of the second half map
are cut at the displacement found so far, by interpolation in Fourier space, unless they lie there already: so windows
bias nothing in the end. Standard deviations are those of the scatter among windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from cryores_lite.fourier.fsc import Curve, Waves, squared_amplitude
from cryores_lite.method.crop import Box, block_mean, molecule_box
from cryores_lite.types import Alignment, Lengths, Volume

Numbers = npt.NDArray[np.float64]
Starts = npt.NDArray[np.int64]

COARSE_EDGE = 64  # voxels of the block means in which a large shift is searched
WINDOW_SHARE = 0.4  # edge of a window over the shortest edge of the box around the molecule
WINDOW_EDGES = (24, 48)  # voxels; at most half of the shortest edge
MAX_WINDOWS_PER_AXIS = 8
MAX_WINDOWS = 60
MIN_WINDOWS = 8
MIN_WINDOW_STD = 0.25  # standard deviation of a window, over that of the window with the largest
TAPER = 6  # voxels beyond a window, which fade to zero before the window is moved
FIRST_SHELL = 2  # of a window; the first holds mostly the window's own shape
COHERENCE_LIMITS = (0.1, 0.97)  # of a shell: below, it has no weight; above, its weight rises no more
MIN_BEST_COHERENCE = 0.5  # of any shell in the end: noise alone reaches 0.4, half maps 0.8 and more
ROUNDS = 6  # at most
STEPS_PER_ROUND = 3
MAX_STEP = 1.0  # voxels, of any window
CONVERGED = 0.003  # voxels, the largest displacement by which a last round may change the result
MAX_MISCUT = 0.05  # voxels, of a window from the place where it should be cut: its own shape then adds 0.002
WINDOW_OVERLAP = 2.0  # factor on the variance: windows overlap by half, and their scatter is correlated
MIN_DISPLACEMENTS = (0.15, 0.3, 0.3)  # voxels, by shift, rotation and scale: smaller ones hardly change the FSC
MIN_SIGNIFICANCE = 4.0  # standard deviations


@dataclass(frozen=True, eq=False)
class WindowWaves:
    """The waves of a cubic window that are compared.

    Attributes
    ----------
    edge : voxels
    """

    edge: int

    @cached_property
    def hann(self) -> Volume:
        """Weights of the voxels, (edge, edge, edge)."""
        profile = np.sin(np.pi * (np.arange(self.edge) + 0.5) / self.edge) ** 2
        hann: Volume = (profile[:, None, None] * profile[:, None] * profile).astype(np.float32)
        return hann

    @cached_property
    def _all(self) -> tuple[Numbers, npt.NDArray[np.intp]]:
        """Return all waves (3, …), 1/voxel, and their shells."""
        k = np.stack(
            np.meshgrid(fft.fftfreq(self.edge), fft.fftfreq(self.edge), fft.rfftfreq(self.edge), indexing="ij")
        )
        return k, np.rint(np.sqrt((k**2).sum(0)) * self.edge).astype(int)

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """Whether each wave is compared: up to the Nyquist frequency."""
        shells = self._all[1]
        used: npt.NDArray[np.bool_] = (shells >= FIRST_SHELL) & (shells < self.edge // 2)
        return used

    @cached_property
    def k(self) -> Numbers:
        """Waves in (z, y, x), 1/voxel: (3, waves)."""
        return self._all[0][:, self.used]

    @cached_property
    def shells(self) -> npt.NDArray[np.intp]:
        """Shell of each wave."""
        return self._all[1][self.used]

    @cached_property
    def count(self) -> Numbers:
        """Number of Fourier coefficients for which each wave stands: itself, and its conjugate."""
        count: Numbers = np.where((self.k[2] > 0) & (self.k[2] < 0.5), 2.0, 1.0)
        return count

    def shell_sums(self, values: npt.NDArray[np.floating]) -> Curve:
        """Sum values (windows, waves) over windows and shells."""
        sums: Curve = np.bincount(self.shells, values.sum(0) * self.count, self.edge // 2).astype(float)
        return sums

    def transform(self, window: Volume) -> Waves:
        """Transform a window of a map; return the compared waves."""
        waves: Waves = fft.rfftn((window - window.mean()) * self.hann)[self.used]
        return waves


def measure_alignment(first: Volume, second: Volume, voxel_size: Lengths) -> Alignment | None:
    """Measure shift, rotation and scale of the second half map relative to the first.

    Parameters
    ----------
    first, second : (z, y, x) float32, of one shape
    voxel_size : Å

    Returns
    -------
    None if too few windows of the half maps correlate.

    References
    ----------
    Knapp & Carter (1976), IEEE Trans. ASSP 24, 320 (weights).
    """
    box = molecule_box(first, voxel_size, 0.0, second)
    shortest = min(box.shape)
    edge = int(np.clip(WINDOW_SHARE * shortest, min(WINDOW_EDGES[0], shortest // 2), WINDOW_EDGES[1])) // 2 * 2
    starts = molecule_windows(first, second, box, edge)
    if edge < 2 * (FIRST_SHELL + 1) or len(starts) < MIN_WINDOWS:
        return None
    windows = WindowWaves(edge)
    first_waves = np.array([windows.transform(_cut(first, start, edge)) for start in starts])
    design, radius = linear_displacements(starts)
    solution = np.zeros(7)
    solution[:3] = coarse_shift(first, second)
    cut = _cross_spectra(first_waves, second, starts, design @ solution, windows)
    if len(cut[0]) < MIN_WINDOWS:
        return None
    solution[:3] += _best_shift(cut[2], cut[3], windows, coarse_block(first))
    for n in range(ROUNDS):
        used, displacements, cross, powers = cut
        if np.abs(design[used] @ solution - displacements).max() > MAX_MISCUT:
            used, displacements, cross, powers = cut = _cross_spectra(
                first_waves, second, starts, design @ solution, windows
            )
            if len(used) < MIN_WINDOWS:
                return None
        before = solution
        for _ in range(STEPS_PER_ROUND):
            moved = design[used] @ solution - displacements
            gradient, curvature = _slopes(cross, powers, moved, windows)
            step = _newton_step(design[used], gradient, curvature, shift_only=n == 0)
            if step is None:
                return None
            solution = solution + step
        if n and np.abs(design @ (solution - before)).max() < CONVERGED:
            break
    moved = design[used] @ solution - displacements
    coherence = windows.shell_sums(_turned(cross, moved, windows).real) / np.maximum(powers, 1e-30)
    if coherence.max() < MIN_BEST_COHERENCE:
        return None
    gradient, curvature = _slopes(cross, powers, moved, windows)
    errors = _standard_errors(design[used], gradient, curvature)
    if errors is None:
        return None
    turn = np.degrees(solution[3:6] / radius)
    z, y, x = (float(s * v) for s, v in zip(solution[:3], voxel_size, strict=True))
    return Alignment(
        shift=(z, y, x),
        rotation=(float(turn[0]), float(turn[1]), float(turn[2])),
        scale=float(1 + solution[6] / radius),
        shift_error=float(errors[:3].max() * np.mean(voxel_size)),
        rotation_error=float(np.degrees(errors[3:6].max() / radius)),
        scale_error=float(errors[6] / radius),
        radius=float(radius * np.mean(voxel_size)),
        voxel_size=float(np.mean(voxel_size)),
    )


def alignment_warnings(alignment: Alignment | None) -> tuple[str, ...]:
    """Return a sentence that says how the half maps are displaced, if they are by more than noise."""
    displacements = displacement_texts(alignment)
    if not displacements:
        return ()
    return (
        f"The second half map is {' and '.join(displacements)} relative to the first, so the resolution by FSC is too "
        "coarse. Nothing was corrected: align the half maps in one program, or pass the originals.",
    )


def displacement_texts(alignment: Alignment | None) -> list[str]:
    """Say how the second half map is displaced, if it is by more than noise: shifted, rotated, larger or smaller."""
    if alignment is None:
        return []
    z, y, x = alignment.shift
    parts = [
        f"shifted by {alignment.shift_voxels:.2f} voxels ({x:+.2f}, {y:+.2f}, {z:+.2f} Å in x, y, z)",
        f"rotated by {alignment.angle:.2g}°",
        f"{'larger' if alignment.scale > 1 else 'smaller'} by {abs(alignment.scale - 1):.2%}",
    ]
    sizes = (alignment.shift_voxels, alignment.rotation_voxels, alignment.scale_voxels)
    significances = (
        alignment.shift_voxels * alignment.voxel_size / alignment.shift_error,
        alignment.angle / alignment.rotation_error,
        abs(alignment.scale - 1) / alignment.scale_error,
    )
    return [
        part
        for part, size, least, significance in zip(parts, sizes, MIN_DISPLACEMENTS, significances, strict=True)
        if size > least and significance > MIN_SIGNIFICANCE
    ]


def coarse_block(values: Volume) -> tuple[int, ...]:
    """Return the edges of the blocks (voxels) in whose means a large shift is searched."""
    return tuple(-(-n // COARSE_EDGE) for n in values.shape)


def coarse_shift(first: Volume, second: Volume) -> Numbers:
    """Search the shift of the second map in block means; 0 if it is one block or less. In voxels, (z, y, x)."""
    block = coarse_block(first)
    means = [block_mean(values, block) for values in (first, second)]
    one, other = (fft.rfftn(values - values.mean()) for values in means)
    correlation = fft.irfftn(other * one.conj(), s=means[0].shape)
    peak = np.array(np.unravel_index(int(correlation.argmax()), correlation.shape))
    peak = np.where(peak > np.array(correlation.shape) // 2, peak - correlation.shape, peak)
    shift: Numbers = (peak * block).astype(float) if np.abs(peak).max() > 1 else np.zeros(3)
    return shift


def molecule_windows(first: Volume, second: Volume, box: Box, edge: int) -> Starts:
    """Return the first voxels (n, 3) of windows in the box that hold much density, half an edge apart or more."""
    axes = []
    for start, length in zip(box.start, box.shape, strict=True):
        last = start + max(length - edge, 0)
        count = min(MAX_WINDOWS_PER_AXIS, int(np.ceil(2 * (last - start) / edge)) + 1)
        axes.append(np.linspace(start, last, count).astype(int))
    starts = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    sparse = slice(None, None, 2)
    stds = np.array(
        [
            float(np.add(*(_cut(half, start, edge)[sparse, sparse, sparse] for half in (first, second))).std())
            for start in starts
        ]
    )
    order = np.argsort(-stds, kind="stable")
    chosen: Starts = starts[order[stds[order] > MIN_WINDOW_STD * stds.max()][:MAX_WINDOWS]]
    return chosen


def linear_displacements(starts: Starts) -> tuple[Numbers, float]:
    """Return the displacement of each window (n, 3, 7) by unit shifts, rotations and scale, and the windows' radius.

    A unit of rotation or scale displaces a window at the radius, in voxels, by one voxel.
    """
    distance = starts - starts.mean(0)
    radius = float(np.sqrt((distance**2).sum(1).mean()))
    design = np.zeros((len(starts), 3, 7))
    design[:, :, :3] = np.eye(3)
    for n, axis in enumerate(np.eye(3)):
        design[:, :, 3 + n] = -np.cross(axis, distance) / radius  # (z, y, x) is a left-handed order
    design[:, :, 6] = distance / radius
    return design, radius


def _cut(values: Volume, start: npt.NDArray[np.integer[Any]], edge: int) -> Volume:
    z, y, x = (int(n) for n in start)
    return values[z : z + edge, y : y + edge, x : x + edge]


def _cut_displaced(values: Volume, position: Numbers, windows: WindowWaves) -> Waves:
    """Transform a window at a position between voxels, interpolated in Fourier space."""
    start = np.rint(position).astype(int)
    if np.abs(position - start).max() < MAX_MISCUT / 100:
        return windows.transform(_cut(values, start, windows.edge))
    edge = windows.edge + 2 * TAPER
    low, high = start - TAPER, start - TAPER + edge
    inside_low, inside_high = np.maximum(low, 0), np.minimum(high, values.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(inside_low, inside_high, strict=True))
    part = values[z, y, x]
    if part.shape != (edge,) * 3:
        part = np.pad(part, list(zip(inside_low - low, high - inside_high, strict=True)), mode="edge")
    ramp = np.sin(0.5 * np.pi * (np.arange(TAPER) + 0.5) / TAPER) ** 2
    profile = np.concatenate([ramp, np.ones(windows.edge), ramp[::-1]]).astype(np.float32)
    waves = fft.rfftn((part - part.mean()) * (profile[:, None, None] * profile[:, None] * profile))
    frequencies = (fft.fftfreq(edge), fft.fftfreq(edge), fft.rfftfreq(edge))
    turns = [
        np.exp(2j * np.pi * k * f).astype(np.complex64) for k, f in zip(frequencies, position - start, strict=True)
    ]
    moved = fft.irfftn(waves * (turns[0][:, None, None] * turns[1][:, None] * turns[2]), s=(edge,) * 3)
    inner = slice(TAPER, TAPER + windows.edge)
    return windows.transform(moved[inner, inner, inner])


def _cross_spectra(
    first_waves: Waves, second: Volume, starts: Starts, displacements: Numbers, windows: WindowWaves
) -> tuple[npt.NDArray[np.intp], Numbers, Waves, Curve]:
    """Cut the displaced windows of the second map that lie inside it.

    Returns
    -------
    their numbers, their displacements (n, 3), their cross spectra (n, waves), and the root of the product of the powers
    of both maps, summed over windows and shells (shells,)
    """
    positions = starts + displacements
    inside = ((np.rint(positions) >= 0) & (np.rint(positions) + windows.edge <= second.shape)).all(1)
    used = np.flatnonzero(inside)
    if not len(used):
        return used, displacements[used], np.zeros((0, len(windows.shells)), np.complex64), np.zeros(windows.edge // 2)
    others = np.array([_cut_displaced(second, positions[n], windows) for n in used])
    cross = first_waves[used] * others.conj()
    powers = np.sqrt(
        windows.shell_sums(squared_amplitude(first_waves[used])) * windows.shell_sums(squared_amplitude(others)),
        dtype=float,
    )
    return used, displacements[used], cross, powers


def _turned(cross: Waves, moved: Numbers, windows: WindowWaves) -> Waves:
    """Return cross spectra (n, waves) with the second map moved back by `moved` (n, 3), in voxels."""
    angles = (-2 * np.pi * moved).astype(np.float32) @ windows.k.astype(np.float32)
    turned = np.empty(cross.shape, np.complex64)
    turned.real, turned.imag = np.cos(angles), np.sin(angles)
    turned *= cross
    return turned


def _slopes(cross: Waves, powers: Curve, moved: Numbers, windows: WindowWaves) -> tuple[Numbers, Numbers]:
    """Return gradient (n, 3) and curvature (n, 3, 3) of each window's likelihood, at displacements `moved` (n, 3)."""
    turned = _turned(cross, moved, windows)
    floor = 1e-30 + 1e-12 * powers.max()
    coherence = windows.shell_sums(turned.real) / np.maximum(powers, floor)
    low, high = COHERENCE_LIMITS
    limited = np.where(coherence < low, 0, np.minimum(coherence, high))
    coefficients = len(cross) * np.bincount(windows.shells, windows.count, windows.edge // 2)
    weights = limited / (1 - limited**2) * coefficients / np.maximum(powers, floor)
    weights = weights[windows.shells] * windows.count
    gradient = 2 * np.pi * (turned.imag * weights) @ windows.k.T
    products = (windows.k[:, None] * windows.k).reshape(9, -1)
    curvature = -((2 * np.pi) ** 2) * ((turned.real * weights) @ products.T).reshape(-1, 3, 3)
    return gradient, curvature


def _best_shift(cross: Waves, powers: Curve, windows: WindowWaves, block: tuple[int, ...]) -> Numbers:
    """Return the shift of all windows, of up to one block in steps of half a block, at which they correlate most.

    Waves coarser than four voxels count alike.
    """
    coarse = windows.shells < windows.edge // 4
    k, weights = windows.k[:, coarse], windows.count[coarse] / np.maximum(powers, 1e-30)[windows.shells[coarse]]
    total = cross[:, coarse].sum(0) * weights
    steps = [np.arange(-2, 3) * max(1.0, edge / 2) for edge in block]
    shifts = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    scores = (np.exp((-2j * np.pi) * (shifts @ k)) @ total).real
    unmoved = len(shifts) // 2
    best: Numbers = shifts[unmoved if scores[unmoved] >= scores.max() else int(scores.argmax())]
    return best


def _newton_step(design: Numbers, gradient: Numbers, curvature: Numbers, shift_only: bool) -> Numbers | None:
    """Return a step of the seven numbers uphill, which is Newton's near the maximum; None if no wave has weight."""
    count = 3 if shift_only else 7
    slope, hessian = _total(design[:, :, :count], gradient, curvature)
    values, vectors = np.linalg.eigh(hessian)
    steepness = np.abs(values)
    if not steepness.max() > 0:
        return None
    step = np.zeros(7)
    step[:count] = vectors @ (vectors.T @ slope / np.maximum(steepness, 1e-6 * steepness.max()))
    return step * min(1.0, MAX_STEP / max(float(np.abs(design @ step).max()), 1e-30))


def _total(design: Numbers, gradient: Numbers, curvature: Numbers) -> tuple[Numbers, Numbers]:
    """Sum slopes over windows, as slopes with respect to the fitted numbers."""
    slope: Numbers = np.einsum("nip,ni->p", design, gradient)
    hessian: Numbers = np.einsum("nip,nij,njq->pq", design, curvature, design)
    return slope, hessian


def _standard_errors(design: Numbers, gradient: Numbers, curvature: Numbers) -> Numbers | None:
    """Return standard deviations of the seven numbers from the scatter of the windows' gradients."""
    _, hessian = _total(design, gradient, curvature)
    if not np.linalg.eigvalsh(hessian).max() < 0:
        return None
    inverse = np.linalg.inv(hessian)
    scores = np.einsum("nip,ni->np", design, gradient)
    n = len(design)
    scatter = scores.T @ scores * (n / max(n - 7, 1))
    errors: Numbers = np.sqrt(WINDOW_OVERLAP * np.diag(inverse @ scatter @ inverse))
    return errors
