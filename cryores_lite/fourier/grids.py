"""Threshold, bounding box and connected pieces of voxel masks, and sums over shells of Fourier space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.types import Mask, Volume

Slices = tuple[slice, slice, slice]

MIN_RELATIVE_RANGE = 1e-4  # over the largest value; float32 cannot divide a narrower range into the bins of Otsu


def bounding_slices(mask: Mask) -> Slices | None:
    """Return the smallest box that holds all of a mask, or None if the mask is empty."""
    planes = np.flatnonzero(mask.any((1, 2)))
    if not len(planes):
        return None
    z = _extent(planes)
    outline = np.logical_or.reduce(mask[z])
    return z, _extent(np.flatnonzero(outline.any(1))), _extent(np.flatnonzero(outline.any(0)))


def _extent(indices: npt.NDArray[np.intp]) -> slice:
    """Return the range from the first to the last of ascending indices."""
    return slice(int(indices[0]), int(indices[-1]) + 1)


def otsu_threshold(values: Volume) -> float:
    """Return the threshold of Otsu (1979), IEEE Trans. SMC 9, 62; the highest value if all are nearly the same."""
    from skimage.filters import threshold_otsu

    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest <= MIN_RELATIVE_RANGE * max(abs(lowest), abs(highest)):
        return highest
    threshold: float = threshold_otsu(values)
    return threshold


def without_small_pieces(mask: Mask, min_fraction: float) -> Mask:
    """Drop the connected pieces that are smaller than `min_fraction` of the largest piece."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = voxels_of_labels(labels, count)
    sizes[0] = 0
    large: Mask = (sizes >= min_fraction * sizes.max())[labels]
    return large


def voxels_of_labels(labels: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.intp]:
    """Count the voxels of each of the labels 0 to `count`, plane by plane: `bincount` converts what it counts."""
    sizes = np.zeros(count + 1, np.intp)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    return sizes


def pieces_at_faces(mask: Mask) -> Mask:
    """Keep the connected pieces of a mask that touch a face of the box."""
    labels, count = ndimage.label(mask)
    at_face = np.zeros(count + 1, bool)
    at_face[labels_at_faces(labels)] = True
    at_face[0] = False
    kept: Mask = at_face[labels]
    return kept


def labels_at_faces(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Return the labels, with repetitions, of the voxels at the six faces of a box."""
    return np.concatenate([labels.take([0, -1], axis).ravel() for axis in range(3)])


def add_shell_sums(
    sums: npt.NDArray[np.float64], shells: npt.NDArray[np.intp], *fields: npt.NDArray[np.floating]
) -> None:
    """Add the sums of fields over shells to `sums`, one row per field.

    Parameters
    ----------
    sums : (fields, shells) float64, changed in place
    shells : number of each wave's shell, any shape
    fields : real values of the same waves
    """
    flat = shells.ravel()
    for row, values in zip(sums, fields, strict=True):
        row += np.bincount(flat, values.ravel(), len(row))
