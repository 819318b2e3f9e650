"""Where two maps lie in space: one resampled on the grid of the other, and the shift of one against the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from cryores_lite.errors import InputError
from cryores_lite.io.mrc_header import Header, has_position, to_voxel_coordinates
from cryores_lite.types import Grid, Lengths, Mask, Volume

SAME_VOXEL_ATOL = 1e-3  # voxels: voxels of both maps at the same places are copied, not interpolated
MIN_INTERPOLATION_WEIGHT = 0.5  # of the eight voxels around a position that must lie inside the mask
MIN_COMMON_FRACTION = 0.05  # of the smaller molecule that must lie inside the other one
SHIFT_RESOLUTION = 10.0  # Å, both maps are low-passed here before they are shifted against each other
LONGEST_WAVE = 80.0  # Å; longer waves, as of a mask or of ice, say little about the position
SAMPLES_PER_RESOLUTION = 6  # voxels per resolution of the low-passed maps
NO_POSITION = "{} has no position in its header; that of the other map was used."


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A grid of voxels and where ChimeraX places it: `header` and the suffix of `path` decide."""

    grid: Grid
    header: Header
    path: Path


@dataclass(frozen=True, eq=False)
class Affine:
    """Coordinates ``matrix @ voxel + offset`` in a source array, for a voxel of a target array."""

    matrix: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    @property
    def is_identity(self) -> bool:
        """Whether source and target have their voxels at the same places."""
        return bool(
            np.allclose(self.matrix, np.eye(3), atol=SAME_VOXEL_ATOL / 1000)
            and np.allclose(self.offset, 0, atol=SAME_VOXEL_ATOL)
        )

    def __call__(self, voxels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map voxels (n, 3) of the target to coordinates in the source."""
        mapped: npt.NDArray[np.float64] = voxels @ self.matrix.T + self.offset
        return mapped


@dataclass(frozen=True)
class Shift:
    """How far map B must be moved to lie best on map A.

    Attributes
    ----------
    vector : Å, (x, y, z)
    correlation : of the two low-passed maps after the move
    from_masks : whether masks were compared, because a map was missing
    """

    vector: tuple[float, float, float]
    correlation: float
    from_masks: bool

    @property
    def length(self) -> float:
        """Length of the shift, in Å."""
        return float(np.linalg.norm(self.vector))


def affine(target: Placed, source: Placed) -> tuple[Affine, str | None]:
    """Return the coordinates in `source` of the voxels of `target`, by the headers, and a note for the user.

    If one of two maps with the same box, voxels and axes has no position, the position of the other is used.
    """
    if has_position(target.header) != has_position(source.header) and _same_voxels(target, source):
        without = source if has_position(target.header) else target
        return Affine(np.eye(3), np.zeros(3)), NO_POSITION.format(without.path.name)
    (a, a0), (b, b0) = (_from_space(placed) for placed in (target, source))
    matrix = b @ np.linalg.inv(a)
    return Affine(matrix, b0 - matrix @ a0), None


def check_boxes(target: Placed, source: Placed, to_source: Affine) -> None:
    """Refuse two maps whose boxes lie beside each other.

    Raises
    ------
    InputError
        The boxes have no common volume.
    """
    corners = np.array(np.meshgrid(*((0, n - 1) for n in target.grid.shape))).reshape(3, -1).T.astype(float)
    in_source = to_source(corners)
    if np.any(in_source.max(0) < 0) or np.any(in_source.min(0) > np.array(source.grid.shape) - 1):
        raise _not_overlapping(target.path, source.path, "boxes that lie beside each other by their headers")


def check_molecules(target: Placed, source: Placed, first: Mask, second: Mask) -> None:
    """Refuse two maps whose molecules lie beside each other; the masks are on the grid of `target`.

    Raises
    ------
    InputError
        A mask is empty, or less than 5 % of the smaller molecule lies inside the other.
    """
    common = np.count_nonzero(first & second)
    smaller = min(np.count_nonzero(first), np.count_nonzero(second))
    if common == 0 or common < MIN_COMMON_FRACTION * smaller:
        found = (
            "molecules that do not overlap"
            if first.any() and second.any()
            else "molecules of which one lies outside the other box"
        )
        raise _not_overlapping(target.path, source.path, found)


def resample(values: npt.NDArray[np.generic], to_source: Affine, shape: tuple[int, ...]) -> Volume:
    """Interpolate an array linearly at the voxels of another grid; 0 beyond the array.

    Parameters
    ----------
    values : (z, y, x) of the source
    to_source : coordinates in the source of the voxels of the target
    shape : voxels of the target
    """
    if to_source.is_identity and values.shape == tuple(shape):
        return values.astype(np.float32, copy=False)
    is_diagonal = np.allclose(to_source.matrix, np.diag(np.diag(to_source.matrix)), atol=1e-9)
    matrix = np.diag(to_source.matrix) if is_diagonal else to_source.matrix
    out: Volume = ndimage.affine_transform(
        values.astype(np.float32, copy=False), matrix, to_source.offset, tuple(shape), order=1, mode="constant"
    )
    return out


def resample_inside(values: Volume, to_source: Affine, shape: tuple[int, ...]) -> Volume:
    """Interpolate values of a mask, which are above 0, without the zeros outside it; parameters as in `resample`.

    A voxel with less than half of the interpolation weight inside the mask becomes 0.
    """
    if to_source.is_identity and values.shape == tuple(shape):
        return values
    weight = resample(values > 0, to_source, shape)
    weighted = resample(values, to_source, shape)
    return np.divide(weighted, weight, out=np.zeros_like(weighted), where=weight >= MIN_INTERPOLATION_WEIGHT)


def measure_shift(first: Volume, second: Volume, target: Placed, resolution: float, from_masks: bool = False) -> Shift:
    """Find the shift at which two maps correlate best, after a low-pass to 10 Å, or to `resolution` if it is coarser.

    Parameters
    ----------
    first, second : (z, y, x) on the grid of `target`
    resolution : Å
    from_masks : whether the arrays are masks
    """
    limit = max(SHIFT_RESOLUTION, 2 * resolution)
    step = max(1, int(limit / SAMPLES_PER_RESOLUTION / max(target.grid.voxel_size)))
    voxel_size: Lengths = tuple(size * step for size in target.grid.voxel_size)  # type: ignore[assignment]
    spectra = [_band_passed(_block_means(values, step), voxel_size, limit) for values in (first, second)]
    shape = tuple(n // step for n in first.shape)
    norm = np.sqrt(np.prod([_power(spectrum, shape) for spectrum in spectra]))
    if not norm > 0:
        return Shift((0.0, 0.0, 0.0), 0.0, from_masks)
    correlation = fft.irfftn(np.conj(spectra[0]) * spectra[1], s=shape) * np.prod(shape) / norm
    place, height = _peak(correlation)
    in_array = -place * np.array(voxel_size)  # B lies `place` voxels too far: it must go back
    return Shift(_in_space(in_array, target), height, from_masks)


def _from_space(placed: Placed) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return matrix and offset of the conversion of positions (x, y, z) in Å to voxels."""
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    origin, *ends = to_voxel_coordinates(points, placed.header, placed.grid.voxel_size, placed.path)
    return np.stack([end - origin for end in ends], axis=1), origin


def _in_space(lengths: npt.NDArray[np.float64], placed: Placed) -> tuple[float, float, float]:
    """Convert a vector along the axes of an array (Å) to x, y, z."""
    matrix, _ = _from_space(placed)
    x, y, z = np.linalg.solve(matrix, lengths / np.array(placed.grid.voxel_size)).tolist()
    return x, y, z


def _same_voxels(first: Placed, second: Placed) -> bool:
    same_size = np.allclose(first.grid.voxel_size, second.grid.voxel_size, rtol=1e-3)
    return first.grid.shape == second.grid.shape and first.header.axes == second.header.axes and bool(same_size)


def _block_means(values: Volume, step: int) -> Volume:
    """Average blocks of `step` voxels along every axis; an incomplete last block is left out."""
    z, y, x = (n // step for n in values.shape)
    blocks = values[: z * step, : y * step, : x * step].reshape(z, step, y, step, x, step)
    means: Volume = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _band_passed(values: Volume, voxel_size: Lengths, limit: float) -> npt.NDArray[np.complex64]:
    """Transform a map, with waves shorter than `limit` (Å) and those longer than 80 Å damped by Gaussians."""
    waves = fft.rfftn(values - values.mean())
    z, y, x = values.shape
    squares = [np.square(fft.fftfreq(n, v)) for n, v in zip((z, y), voxel_size[:2], strict=True)]
    k2 = squares[0][:, None, None] + squares[1][:, None] + np.square(fft.rfftfreq(x, voxel_size[2]))
    gain = np.exp(-k2 * limit**2 / 2) * (1 - np.exp(-k2 * LONGEST_WAVE**2 / 2))
    passed: npt.NDArray[np.complex64] = waves * gain.astype(np.float32)
    return passed


def _power(waves: npt.NDArray[np.complex64], shape: tuple[int, ...]) -> float:
    """Sum the squares of all waves of a real map, half of which are stored."""
    weight = np.full(waves.shape[2], 2.0)
    weight[0] = 1
    if shape[2] % 2 == 0:
        weight[-1] = 1
    return float((np.square(np.abs(waves)).sum((0, 1)) * weight).sum())


def _peak(correlation: Volume) -> tuple[npt.NDArray[np.float64], float]:
    """Return place and height of the highest point, by a parabola along each axis. Places wrap around at half the box.

    Places are in voxels; the array is periodic.
    """
    top = [int(n) for n in np.unravel_index(int(np.argmax(correlation)), correlation.shape)]
    height, place = float(correlation[tuple(top)]), np.zeros(3)
    for axis, n in enumerate(correlation.shape):
        line = np.moveaxis(correlation, axis, -1)[tuple(top[:axis] + top[axis + 1 :])]
        before, after = (float(line[(top[axis] + step) % n]) for step in (-1, 1))
        curvature = before - 2 * height + after
        place[axis] = top[axis] + (0.5 * (before - after) / curvature if curvature < 0 else 0)
        place[axis] -= n * (place[axis] > n / 2)
    return place, height


def _not_overlapping(first: Path, second: Path, found: str) -> InputError:
    return InputError(
        f"{second.name} cannot be compared with {first.name}",
        found=found,
        expected="two maps of one molecule at the same place",
        try_="fit one map into the other in ChimeraX (fitmap), and save it with the command volume resample",
    )
