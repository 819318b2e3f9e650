"""Known local resolution of a simulated map: where the expected half-map FSC falls below 0.143.

FSC(x, f) = P_S / (P_S + P_N) with the locally averaged powers of the signal and of one half map's noise. The
resolution is 1/f at the first crossing that stays below for the next two bands, by linear interpolation in f;
45 Å where the first band is already below, two voxels where none is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryores_lite.types import Volume

FSC_CUT = 0.143
COARSEST = 45.0  # Å
STEP = 1.05  # ratio of neighbouring bands

Curves = npt.NDArray[np.float32]


def bands(voxel_size: float) -> npt.NDArray[np.float64]:
    """Centres of the truth's bands in 1/Å, from 1/45 Å to the Nyquist frequency."""
    nyquist = 0.5 / voxel_size
    count = int(np.ceil(np.log(nyquist * COARSEST) / np.log(STEP))) + 1
    return np.geomspace(1 / COARSEST, nyquist, count)


def crossing(fsc: Curves, frequencies: npt.NDArray[np.float64], nyquist_resolution: float) -> Volume:
    """Resolution in Å from FSC curves whose first axis is the band."""
    below = fsc < FSC_CUT
    stays = below.copy()
    stays[:-1] &= below[1:]
    stays[:-2] &= below[2:]
    at = stays.argmax(0)
    before = np.maximum(at - 1, 0)
    a = np.take_along_axis(fsc, before[None], 0)[0]
    b = np.take_along_axis(fsc, at[None], 0)[0]
    share = np.where(at > 0, (a - FSC_CUT) / np.maximum(a - b, 1e-9), 0)
    f = frequencies[before] + share * (frequencies[at] - frequencies[before])
    return np.where(stays.any(0), 1 / f, nyquist_resolution).astype(np.float32)
