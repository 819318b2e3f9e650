"""Find the molecule in a map, and the resolution at which a low-pass filter ends.

The mask in the output is another one: `mask.py` makes it from the network's probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.fourier.grids import add_shell_sums, bounding_slices, otsu_threshold, without_small_pieces
from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.fourier.local_power import POWER_STEP, smooth
from cryores_lite.fourier.padding import PeriodicBox
from cryores_lite.fourier.spectrum import Spectrum, chunks, for_each, gaussian_gain, grid_for, sample_density
from cryores_lite.types import Lengths, Mask, Shape, Volume

MASK_SIGMAS = (3.0, 5.0, 8.0, 12.0)  # Å, σ of the smoothings in which the molecule is searched for
MAX_SEPARABILITY_LOSS = 0.03  # loss of `separability` that is accepted for a narrower smoothing
MIN_MOLECULE_PIECE = 0.05  # share of the largest piece of the molecule; smaller pieces are noise
# A low-pass filter lowers the power to a share (third) within a ratio of frequencies (first) or some shells (second).
LOW_PASS_DROPS = ((1.15, 4, 0.05), (1.3, 6, 0.01))
LOW_PASS_PLATEAU = 1.1  # ratio of frequencies over which the power stays low; sharpened rounding noise may rise beyond
COARSEST_LOW_PASS = 40.0  # Å
MIN_POWER = 1e-30
OUTLINE_POINTS = 8  # points of the grid on which the molecule is searched for, per point of the coarse grid
MAX_BODY_EDGE = 256  # voxels; a larger part of the molecule does not show a filter better
BODY_EDGE_SIGMA = 5.0  # Å, σ of the soft edge with which the molecule is cut out to search for a filter
MIN_BODY_WEIGHT = 0.01  # share of the highest weight; voxels with less are left out


@dataclass(frozen=True, eq=False, kw_only=True)
class Outline:
    """Position of the map and its molecule on the coarse grid of the band powers, and the map's finest resolution.

    Attributes
    ----------
    coverage : (z, y, x) float32, share of each coarse voxel that is map: neither masked out nor padding
    in_map : (z, y, x) bool, whether most of the voxel is map
    molecule : (z, y, x) bool, found from the map alone
    distance : (z, y, x) float32, Å from the molecule
    limit : Å, the finest resolution that the map holds (end of a low-pass filter, or Nyquist)
    """

    coverage: Volume
    in_map: Mask
    molecule: Mask
    distance: Volume
    limit: float


def outline_molecule(density: PeriodicBox, spectrum: Spectrum, coverage: Volume, threads: int = 1) -> Outline:
    """Find the molecule and the finest resolution of a map.

    Parameters
    ----------
    density, spectrum : the map in a periodic box, and its Fourier transform
    coverage : as in `Outline`
    """
    in_map = coverage > 0.5
    molecule, distance = find_molecule(spectrum, grid_for(spectrum.lengths, POWER_STEP), in_map, threads)
    body = cut_out_molecule(density, spectrum.lengths, molecule, coverage, threads)
    limit = low_pass_limit(body, spectrum.voxel_size, spectrum.nyquist, threads)
    return Outline(coverage=coverage, in_map=in_map, molecule=molecule, distance=distance, limit=limit)


def low_pass_limit(body: Volume, voxel_size: Lengths, nyquist: float, threads: int = 1) -> float:
    """Find the resolution (Å) at which a low-pass filter ends; without a filter, return the Nyquist limit.

    The filter is searched for in the molecule, cut out with a soft edge. This excludes the faces of the box, which add
    power to empty shells.

    Parameters
    ----------
    body : (z, y, x) float32, from `cut_out_molecule`
    nyquist : 1/Å
    """
    shell_power, shell_width = radial_power(body, voxel_size, nyquist, threads)
    last = len(shell_power) - 1
    depth = np.zeros(last)
    for n in range(max(4, int(shell_width**-1 / COARSEST_LOW_PASS)), last):
        ends = [min(max(int(np.ceil(n * ratio)), n + shells), last) for ratio, shells, _ in LOW_PASS_DROPS]
        remaining = [shell_power[end : int(end * LOW_PASS_PLATEAU) + 1].max() / shell_power[n] for end in ends]
        if all(share < max_share for share, (_, _, max_share) in zip(remaining, LOW_PASS_DROPS, strict=True)):
            depth[n] = -np.log(remaining[-1])
    if not depth.any():
        return 1 / nyquist
    top = int(depth.argmax())
    edge = top + int(np.argmax(shell_power[top:] < np.sqrt(LOW_PASS_DROPS[0][2]) * shell_power[top]))
    return float(1 / (edge * shell_width))


def radial_power(
    values: Volume, voxel_size: Lengths, nyquist: float, threads: int = 1
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the mean power of the waves in each shell up to the Nyquist frequency, and the width of a shell (1/Å)."""
    z, y, x = (fft.next_fast_len(n, real=True) for n in values.shape)
    waves = fft.rfftn(values, s=(z, y, x), workers=threads)
    width = 1 / min(n * size for n, size in zip((z, y, x), voxel_size, strict=True))
    last = int(nyquist / width)
    sums = np.zeros((2, last + 2))  # the last shell collects all waves beyond Nyquist
    across = fft.fftfreq(y, voxel_size[1])[:, None] ** 2 + fft.rfftfreq(x, voxel_size[2]) ** 2
    for n, height in enumerate(fft.rfftfreq(z, voxel_size[0])):
        shells = np.minimum(np.sqrt(across + height**2) / width, last + 1).astype(int)
        both = waves[[n, -n] if 0 < n < z - n else [n]]  # the planes of n and -n have the same shells
        power = np.square(both.real).sum(0) + np.square(both.imag).sum(0)
        add_shell_sums(sums, shells, power, np.full_like(power, len(both)))
    total, count = sums[:, :-1]
    return np.maximum(total / np.maximum(count, 1), MIN_POWER), width


def cut_out_molecule(
    density: PeriodicBox, lengths: Lengths, molecule: Mask, coverage: Volume, threads: int = 1
) -> Volume:
    """Cut the molecule (its `fullest_part`) out of a box with a soft edge, and subtract its mean density.

    Parameters
    ----------
    lengths : edges of the box, Å
    molecule, coverage : as in `Outline`
    """
    shape, coarse = density.shape, (molecule.shape[0], molecule.shape[1], molecule.shape[2])
    part = fullest_part(molecule, [MAX_BODY_EDGE * m // n for n, m in zip(shape, coarse, strict=True)])
    weight = smooth(part.astype(np.float32), lengths, BODY_EDGE_SIGMA, coarse) * coverage
    box = bounding_slices(weight >= MIN_BODY_WEIGHT * weight.max())
    assert box is not None  # it holds the highest weight
    z, y, x = (
        slice(max(0, (side.start - 1) * n // m), min(n, -(-(side.stop + 1) * n // m)))
        for side, n, m in zip(box, shape, coarse, strict=True)
    )
    values = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
    fine_weight = np.empty_like(values)

    def store(planes: slice) -> None:
        in_box = slice(z.start + planes.start, z.start + planes.stop)
        values[planes] = density.part(in_box, y, x)
        fine_weight[planes] = resample_periodic(weight, shape, (in_box, y, x))

    for_each(store, chunks(values.shape), threads)
    inside = fine_weight >= MIN_BODY_WEIGHT * fine_weight.max()
    extents = [np.flatnonzero(inside.any(axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    inner = tuple(slice(extent[0], extent[-1] + 1) for extent in extents)
    values, fine_weight = values[inner], fine_weight[inner]
    mean = float((values * fine_weight).sum(dtype=float)) / max(float(fine_weight.sum(dtype=float)), 1e-30)
    values -= np.float32(mean)
    values *= fine_weight
    return values


def fullest_part(molecule: Mask, edges: Sequence[int]) -> Mask:
    """Return the part of a molecule in the box of `edges` voxels that holds most of it; all of it if it fits."""
    box = bounding_slices(molecule)
    if box is None or all(side.stop - side.start <= edge for side, edge in zip(box, edges, strict=True)):
        return molecule
    filled = ndimage.uniform_filter(molecule.astype(np.float32), edges, mode="constant")
    middle = np.unravel_index(int(filled.argmax()), molecule.shape)
    inner = tuple(slice(max(0, m - edge // 2), m - edge // 2 + edge) for m, edge in zip(middle, edges, strict=True))
    part = np.zeros_like(molecule)
    part[inner] = molecule[inner]
    return part


def find_molecule(spectrum: Spectrum, shape: Shape, in_map: Mask, threads: int = 1) -> tuple[Mask, Volume]:
    """Find the molecule by Otsu's threshold on the smoothed map, and the distance of every voxel from it in Å.

    In a map with strong noise at high frequency, the molecule appears only after more smoothing. Of all smoothings that
    separate molecule and solvent about as well as the best one, the narrowest is used.

    Parameters
    ----------
    shape : points of the coarse grid over the periodic box
    in_map : (z, y, x) bool, on that grid

    Returns
    -------
    Mask and distance, both of `shape`
    """
    fine = (2 * shape[0], 2 * shape[1], 2 * shape[2])
    fine_in_map = resample_periodic(in_map.astype(np.float32), fine) > 0.5
    if not fine_in_map.any():
        fine_in_map = np.ones_like(fine_in_map)
    candidates = [smooth_and_divide(spectrum, sigma, fine_in_map, threads) for sigma in MASK_SIGMAS]
    best = max(separation for _, separation in candidates)
    dense = next(mask for mask, separation in candidates if separation >= best - MAX_SEPARABILITY_LOSS)
    molecule = without_small_pieces(dense, MIN_MOLECULE_PIECE)
    step = [length / n for length, n in zip(spectrum.lengths, fine, strict=True)]
    coarse = molecule[::2, ::2, ::2]
    if not coarse.any():
        coarse = np.ones_like(coarse)
    return coarse, distance_from(molecule, step)


def smooth_and_divide(spectrum: Spectrum, sigma: float, in_map: Mask, threads: int = 1) -> tuple[Mask, float]:
    """Smooth a map with a Gaussian of `sigma` Å, and divide it by Otsu's threshold.

    Parameters
    ----------
    in_map : (z, y, x) bool, the voxels that are used, on the grid over the periodic box on which the map is smoothed

    Returns
    -------
    The denser class, on that grid, and the `separability`
    """
    grid = (in_map.shape[0], in_map.shape[1], in_map.shape[2])
    smoothed = sample_density(spectrum, grid, partial(gaussian_gain, sigma=sigma), threads)
    values = smoothed[in_map]
    threshold = otsu_threshold(values)
    return (smoothed > threshold) & in_map, separability(values, values > threshold)


def separability(values: Volume, high: Mask) -> float:
    """Return the share of the variance that is between two classes (Otsu 1979, IEEE Trans. SMC 9, 62)."""
    share = float(high.mean())
    if share in (0.0, 1.0):
        return 0.0
    difference = float(values[high].mean() - values[~high].mean())
    return share * (1 - share) * difference**2 / max(float(values.var()), 1e-30)


def distance_from(mask: Mask, step: Sequence[float]) -> Volume:
    """Measure the distance (Å) to the nearest voxel of a mask, at every second voxel along each axis.

    `step` is the size of a voxel in Å along each axis.
    """
    nearest = ndimage.distance_transform_edt(~mask, step, return_distances=False, return_indices=True)
    coarse = nearest[:, ::2, ::2, ::2]
    squares = np.zeros(coarse.shape[1:], np.float32)
    for axis, (indices, size) in enumerate(zip(coarse, step, strict=True)):
        position = np.arange(0, mask.shape[axis], 2, dtype=np.float32)
        squares += (np.float32(size) * (indices - position.reshape([-1 if a == axis else 1 for a in range(3)]))) ** 2
    return np.sqrt(squares)
