"""Local resolution without a network: what stands out of the noise of the solvent around the molecule, place by place.

The noise must be the same in the solvent and in the molecule. Where it is not, the answer is off: docs/FSC.md says by
how much. Where no even solvent is left (masked, cropped or low-passed maps) there is no answer.
"""

from __future__ import annotations

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.method.assemble import resample_to_crop
from cryores_lite.method.crop import cut, paste
from cryores_lite.method.prepare import prepare
from cryores_lite.method.soft_edge import blank_voxels
from cryores_lite.method.solvent_noise import RING
from cryores_lite.types import Density, LocalResolution, Volume

PROVIDER = "numpy"
EDGE = 8.0  # Å, what masks take to fade to zero
MASKED = 0.1  # share of the ring and an edge beyond that a mask may have blanked: where it does more, the ring is faded


def estimate_by_noise(density: Density, threads: int = 1) -> LocalResolution:
    """Estimate the local resolution of a map from its noise in the solvent.

    Returns
    -------
    LocalResolution, on the map's grid. Its uncertainty and the map's global resolution are not known: NaN.

    Raises
    ------
    InputError
        There is no ring of even solvent around the molecule.
    NotEnoughMemory
        The map will not fit.

    References
    ----------
    method/solvent_noise.py has the equations.
    """
    prepared = prepare(density, threads)
    solvent = prepared.solvent
    local, inside, distance = resample_to_crop(
        prepared, solvent.resolution, solvent.outline.molecule.astype(np.float32), solvent.outline.distance
    )
    blank = blank_share(cut(density.values, prepared.box), distance, RING[1] + EDGE)
    if not solvent.has_solvent or blank > MASKED:
        share = solvent.solvent_fraction * (1 - blank)
        raise InputError(
            "the noise of this map cannot be measured",
            found=f"{share:.0%} of an even ring of solvent around the molecule",
            expected="most of it",
            try_="pass the map before it was masked, cropped or locally filtered, or use --method network",
        )
    grid = density.grid
    mask = paste(inside > 0.5, prepared.box, grid.shape)
    finest = 2 * max(grid.voxel_size)
    values = np.where(mask, np.maximum(paste(local, prepared.box, grid.shape), finest), 0).astype(np.float32)
    unknown = np.broadcast_to(np.float32(np.nan), grid.shape)
    return LocalResolution(values, mask, unknown, grid, float("nan"), float(np.mean(grid.voxel_size)), PROVIDER)


def blank_share(values: Volume, distance: Volume, reach: float) -> float:
    """Share of the solvent up to `reach` Å from the molecule that a mask has blanked."""
    blank = blank_voxels(values)[(distance > RING[0]) & (distance < reach)]
    return float(blank.mean()) if blank.size else 0.0
