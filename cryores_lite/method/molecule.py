"""What can be seen of a map before its bands are measured: where the molecule is, and where a low-pass has ended it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import fft, ndimage

from cryores_lite.fourier.grids import bounding_slices, without_small_pieces
from cryores_lite.fourier.interpolation import resample_periodic
from cryores_lite.fourier.local_power import POWER_STEP, smooth
from cryores_lite.fourier.spectrum import Spectrum, grid_for, planes, regrid, sample
from cryores_lite.types import Mask, Shape, Volume

MASK_SIGMAS = (3.0, 5.0, 8.0, 12.0)  # Å, the molecule is looked for in a map smoothed by one of these
CLEAR = 0.03  # of Otsu's separability: a finer smoothing is taken where it loses no more than this
CLIFF = (
    (1.15, 4, 0.05),
    (1.3, 6, 0.01),
)  # shell power falls to this share within this ratio (or these shells): a filter
PLATEAU = 1.1  # and stays there over this ratio: sharpened rounding noise may rise again beyond
LARGEST_BODY = 256  # voxels: more would tell no more of a filter
BODY_EDGE = 5.0  # Å, σ of the soft edge with which the molecule is cut out to look for a filter


@dataclass(frozen=True, eq=False)
class Outline:
    """Where the map, its molecule and its end are, on the coarse grid of the band powers.

    Attributes
    ----------
    there : (z, y, x) float32, share of each coarse voxel that holds map, not blank or rim
    seen, molecule : (z, y, x) bool, mostly map; the molecule, found from the map alone
    distance : (z, y, x) float32, Å from the molecule
    limit : Å, nothing finer is in the map (filter or Nyquist)
    """

    there: Volume
    seen: Mask
    molecule: Mask
    distance: Volume
    limit: float


def outline(spectrum: Spectrum, there: Volume, threads: int = 1) -> Outline:
    """Look at a map as a whole. `there` as in `Outline`."""
    seen = there > 0.5
    molecule, distance = find_molecule(spectrum, grid_for(spectrum.lengths, POWER_STEP), seen, threads)
    return Outline(there, seen, molecule, distance, visible_limit(spectrum, molecule, there, threads))


def visible_limit(spectrum: Spectrum, molecule: Mask, there: Volume, threads: int = 1) -> float:
    """Resolution in Å beyond which a low-pass filter has left nothing, or that of the Nyquist frequency.

    It is looked for in the molecule, cut out softly: what a box's faces leak into empty shells stays outside.
    """
    values, voxel_size = body(spectrum, molecule, there, threads), spectrum.voxel_size
    z, y, x = (fft.next_fast_len(n, real=True) for n in values.shape)
    waves = fft.rfftn(values, s=(z, y, x), workers=threads)
    width = 1 / min(n * size for n, size in zip((z, y, x), voxel_size, strict=True))
    last = int(spectrum.nyquist / width)
    total, count = np.zeros(last + 1), np.zeros(last + 1)
    across = fft.fftfreq(y, voxel_size[1])[:, None] ** 2 + fft.rfftfreq(x, voxel_size[2]) ** 2
    for height, plane in zip(fft.fftfreq(z, voxel_size[0]), waves, strict=True):
        index = np.minimum(np.sqrt(across + height**2) / width, last + 1).astype(int).ravel()
        total += np.bincount(index, (plane.real**2 + plane.imag**2).ravel(), last + 2)[:-1]
        count += np.bincount(index, minlength=last + 2)[:-1]
    shell = np.maximum(total / np.maximum(count, 1), 1e-30)
    depth = np.zeros(last)
    for n in range(max(4, int(width**-1 / 40)), last):
        falls = [min(max(int(np.ceil(n * ratio)), n + shells), last) for ratio, shells, _ in CLIFF]
        left = [shell[after : int(after * PLATEAU) + 1].max() / shell[n] for after in falls]
        if all(part < share for part, (_, _, share) in zip(left, CLIFF, strict=True)):
            depth[n] = -np.log(left[-1])
    if not depth.any():
        return 1 / spectrum.nyquist
    top = int(depth.argmax())
    edge = top + int(np.argmax(shell[top:] < np.sqrt(CLIFF[0][2]) * shell[top]))
    return float(1 / (edge * width))


def body(spectrum: Spectrum, molecule: Mask, there: Volume, threads: int = 1) -> Volume:
    """The molecule (of a large one, its fullest part) less its mean density, with a soft edge, cut out of the box."""
    coarse = (molecule.shape[0], molecule.shape[1], molecule.shape[2])
    part = fullest_part(molecule, [LARGEST_BODY * m // n for n, m in zip(spectrum.shape, coarse, strict=True)])
    weight = smooth(part.astype(np.float32), spectrum.lengths, BODY_EDGE, coarse) * there
    found = bounding_slices(weight >= 0.01 * weight.max())
    assert found is not None  # it holds the highest weight
    z, y, x = (
        slice(max(0, (side.start - 1) * n // m), min(n, -(-(side.stop + 1) * n // m)))
        for side, n, m in zip(found, spectrum.shape, coarse, strict=True)
    )
    values = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), np.float32)
    fine = np.empty_like(values)

    def keep(part: slice, density: Volume) -> None:
        first, last = max(part.start, z.start), min(part.stop, z.stop)
        if first < last:
            here = slice(first - z.start, last - z.start)
            values[here] = density[first - part.start : last - part.start, y, x]
            fine[here] = resample_periodic(weight, spectrum.shape, (slice(first, last), y, x))

    planes(regrid(spectrum, spectrum.shape, None, threads), keep, threads)
    high = fine >= 0.01 * fine.max()
    sides = [np.flatnonzero(high.any(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
    inner = tuple(slice(side[0], side[-1] + 1) for side in sides)
    values, fine = values[inner], fine[inner]
    mean = float((values * fine).sum(dtype=float)) / max(float(fine.sum(dtype=float)), 1e-30)
    values -= np.float32(mean)
    values *= fine
    return values


def fullest_part(molecule: Mask, edges: Sequence[int]) -> Mask:
    """The molecule inside the box of these edges that holds most of it; all of it where it fits."""
    found = bounding_slices(molecule)
    if found is None or all(side.stop - side.start <= edge for side, edge in zip(found, edges, strict=True)):
        return molecule
    filled = ndimage.uniform_filter(molecule.astype(np.float32), edges, mode="constant")
    middle = np.unravel_index(int(filled.argmax()), molecule.shape)
    inner = tuple(slice(max(0, m - edge // 2), m - edge // 2 + edge) for m, edge in zip(middle, edges, strict=True))
    part = np.zeros_like(molecule)
    part[inner] = molecule[inner]
    return part


def find_molecule(spectrum: Spectrum, shape: Shape, seen: Mask, threads: int = 1) -> tuple[Mask, Volume]:
    """The molecule by Otsu's threshold on the smoothed map, and every voxel's distance from it in Å.

    Of a map drowned in fine noise more smoothing is needed to see the molecule at all: the smoothing is the
    narrowest that separates molecule and solvent about as well as the best one.
    """
    from skimage.filters import threshold_otsu

    fine = (2 * shape[0], 2 * shape[1], 2 * shape[2])
    there = resample_periodic(seen.astype(np.float32), fine) > 0.5
    if not there.any():
        there = np.ones_like(there)
    tried = []
    for sigma in MASK_SIGMAS:
        smoothed = sample(spectrum, fine, partial(gaussian_gain, sigma), threads)
        values = smoothed[there]
        threshold = threshold_otsu(values)
        tried.append((separability(values, values > threshold), (smoothed > threshold) & there))
    best = max(clear for clear, _ in tried)
    found = without_small_pieces(next(high for clear, high in tried if clear >= best - CLEAR), 0.05)
    step = [length / n for length, n in zip(spectrum.lengths, fine, strict=True)]
    coarse = found[::2, ::2, ::2]
    if not coarse.any():
        coarse = np.ones_like(coarse)
    return coarse, distance_from(found, step)


def gaussian_gain(sigma: float, k: Volume) -> Volume:
    """What smoothing by a Gaussian of `sigma` Å does to waves of |k| (1/Å)."""
    gain: Volume = np.exp(np.float32(-2 * np.pi**2 * sigma**2) * k**2)
    return gain


def separability(values: Volume, high: Mask) -> float:
    """Share of the variance that lies between two classes (Otsu 1979, IEEE Trans. SMC 9, 62)."""
    share = float(high.mean())
    if share in (0.0, 1.0):
        return 0.0
    apart = float(values[high].mean() - values[~high].mean())
    return share * (1 - share) * apart**2 / max(float(values.var()), 1e-30)


def distance_from(mask: Mask, step: Sequence[float]) -> Volume:
    """Å to the nearest voxel of a mask, at every other voxel along each axis; `step` is the voxels' size in Å."""
    nearest = ndimage.distance_transform_edt(~mask, step, return_distances=False, return_indices=True)
    coarse = nearest[:, ::2, ::2, ::2]
    squares = np.zeros(coarse.shape[1:], np.float32)
    for axis, (places, size) in enumerate(zip(coarse, step, strict=True)):
        here = np.arange(0, mask.shape[axis], 2, dtype=np.float32)
        squares += (np.float32(size) * (places - here.reshape([-1 if a == axis else 1 for a in range(3)]))) ** 2
    return np.sqrt(squares)
