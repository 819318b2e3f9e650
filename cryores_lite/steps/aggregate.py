"""(global + relative) × mask, as in CryoRes (Dai et al. 2023, J. Mol. Biol. 435, 168059), and its error."""

from __future__ import annotations

import numpy as np

from cryores_lite.types import Mask, Volume


def aggregate(overall: float, relative: Volume, error: Volume, mask: Mask, finest: float) -> tuple[Volume, Volume]:
    """Local resolution and its standard deviation in Å inside the mask, 0 outside.

    Parameters
    ----------
    overall : Å, the map's global resolution
    relative : (z, y, x) float32, Å, local minus global
    error : (z, y, x) float32, standard deviation of the local resolution's logarithm
    mask : (z, y, x) bool
    finest : Å, the Nyquist limit: nothing finer is in the map
    """
    local: Volume = np.where(mask, np.maximum(overall + relative, np.float32(finest)), np.float32(0))
    return local, local * error
