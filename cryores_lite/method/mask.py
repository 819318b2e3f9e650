"""The molecule's mask, decided from the probabilities of the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cryores_lite.fourier.grids import bounding_slices, labels_at_faces, voxels_of_labels
from cryores_lite.method.predict import PROBABILITY_ONE
from cryores_lite.method.prepare import Frame
from cryores_lite.method.restore import for_each_chunk, voxels_near
from cryores_lite.types import Mask, Volume

LARGE_PIECE = 0.1  # share of the largest piece of the mask; pieces from this size on are kept
SMALL_PIECE = 0.03  # the same; pieces between the two are kept if they are as certain as the largest one
MAX_HOLE_VOLUME = 268.0  # Å³, a ball 8 Å across; no cavity of a molecule is smaller
CERTAIN_PIECE = 0.8  # mean probability over a piece / that over the largest one


def molecule_mask(
    probability: npt.NDArray[np.uint8], threshold: float, frame: Frame, threads: int = 1
) -> tuple[Mask, float]:
    """Return the molecule's mask on the voxels of the box, and the volume of the pieces that were left out.

    Parameters
    ----------
    probability : (z, y, x) on the working grid, in units of 1/255
    threshold : lowest probability (0 to 1) of a voxel of the molecule

    Returns
    -------
    The mask, and the volume that was left out over that of the mask
    """
    mask = np.zeros(frame.box.shape, bool)
    near = voxels_near(frame, probability > threshold * PROBABILITY_ONE)
    if near is None:
        return mask, 0.0
    candidate = mask[near]
    in_part = np.empty(candidate.shape, np.uint8)

    def decide(part: slice, values: Volume) -> None:
        np.greater(values, threshold * PROBABILITY_ONE, out=candidate[part])
        in_part[part] = values

    for_each_chunk(frame, near, decide, threads, probability)
    kept, left_out = likely_pieces(candidate, in_part)
    voxel_volume = float(np.prod([length / n for length, n in zip(frame.lengths, frame.padded_shape, strict=True)]))
    mask[near] = without_small_holes(kept, int(MAX_HOLE_VOLUME / voxel_volume))
    return mask, left_out


def without_small_holes(mask: Mask, max_voxels: int) -> Mask:
    """Fill the holes of a mask that are enclosed and have at most `max_voxels` voxels."""
    box = bounding_slices(mask)
    if box is None:
        return mask
    labels, count = ndimage.label(~mask[box])
    small = voxels_of_labels(labels, count) <= max_voxels
    small[0] = False
    small[labels_at_faces(labels)] = False  # a piece that touches a face of this box is not enclosed
    filled = mask.copy()
    filled[box] |= small[labels]
    return filled


def likely_pieces(mask: Mask, probability: npt.NDArray[np.generic]) -> tuple[Mask, float]:
    """Keep the connected pieces of a mask that are large, or as certain as the largest one.

    Parameters
    ----------
    mask : (z, y, x) bool
    probability : (z, y, x), of the molecule at each voxel, in any unit

    Returns
    -------
    The mask, and the volume that was left out over that of the mask
    """
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask, 0.0
    sizes = voxels_of_labels(labels, count)
    sizes[0] = 0
    kept = sizes >= LARGE_PIECE * sizes.max()
    doubtful = np.flatnonzero(~kept & (sizes >= SMALL_PIECE * sizes.max()))
    if len(doubtful):
        certainty = ndimage.mean(probability, labels, np.append(sizes.argmax(), doubtful))
        kept[doubtful] = certainty[1:] >= CERTAIN_PIECE * certainty[0]
    return kept[labels], float(sizes[~kept].sum() / sizes[kept].sum())
