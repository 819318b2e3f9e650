"""The known local resolution of a simulated map: where the expected FSC of its half maps falls below 0.143.

FSC(x, f) = P_S / (P_S + P_N), with the locally averaged powers of the signal and of one half map's noise. Bands and
crossing are those of the local FSC of two half maps (`cryores_lite.fourier.fsc`), so that a network's estimate, its
truth and the local FSC of real half maps are comparable.
"""

from __future__ import annotations

from cryores_lite.fourier.fsc import FSC_THRESHOLD, Curve, first_crossing
from cryores_lite.fourier.fsc import bands as bands_below

__all__ = ["FSC_THRESHOLD", "bands", "first_crossing"]


def bands(voxel_size: float) -> Curve:
    """Centres of the truth's bands in 1/Å, from 1/45 Å to the Nyquist frequency."""
    return bands_below(0.5 / voxel_size)
