"""The molecule's mask, decided from the probabilities of the network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryores_lite.fourier.grids import without_small_pieces
from cryores_lite.method.predict import PROBABILITY_ONE
from cryores_lite.method.prepare import Frame
from cryores_lite.method.restore import for_each_chunk
from cryores_lite.types import Mask, Volume

MIN_MASK_PIECE = 0.1  # share of the largest piece of the mask; smaller pieces are noise


def molecule_mask(probability: npt.NDArray[np.uint8], threshold: float, frame: Frame, threads: int = 1) -> Mask:
    """Return the molecule's mask on the voxels of the box.

    Parameters
    ----------
    probability : (z, y, x) on the working grid, in units of 1/255
    threshold : lowest probability (0 to 1) of a voxel of the molecule
    """
    mask = np.empty(frame.box.shape, bool)

    def decide(part: slice, values: Volume) -> None:
        np.greater(values, threshold * PROBABILITY_ONE, out=mask[part])

    for_each_chunk(frame, decide, threads, probability)
    return without_small_pieces(mask, MIN_MASK_PIECE)
