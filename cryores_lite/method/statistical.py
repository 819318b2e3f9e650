"""Local resolution without a network, from the noise of the solvent around the molecule (`--method statistical`).

The noise is assumed to be the same in the solvent and in the molecule. Where it differs the estimate is wrong;
docs/FSC.md has the errors. Masked, cropped and low-passed maps have no noisy solvent, and are refused.
"""

from __future__ import annotations

import math

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.method.coarse_voxels import scaled_down
from cryores_lite.method.crop import cut, paste
from cryores_lite.method.prepare import prepare
from cryores_lite.method.restore import resample_to_crop
from cryores_lite.method.soft_edge import masked_out_voxels
from cryores_lite.method.solvent_noise import SOLVENT_SHELL, solvent_estimate
from cryores_lite.method.value_edits import edit_warnings
from cryores_lite.types import Density, LocalResolution, Volume

PROVIDER = "numpy"
MASK_EDGE_WIDTH = 8.0  # Å within which masks usually fade to zero
MAX_MASKED_OUT = 0.1  # of the solvent up to a mask edge beyond the shell; with more, the shell itself has faded


def estimate_by_noise(density: Density, threads: int = 1) -> LocalResolution:
    """Estimate the local resolution of a map from its noise in the solvent.

    `method/solvent_noise.py` has the equations.

    Returns
    -------
    LocalResolution, on the map's grid. Its uncertainty and its global resolution are NaN: they are not estimated.

    Raises
    ------
    InputError
        There is no noisy solvent around the molecule.
    NotEnoughMemory
        The map does not fit into memory.
    """
    scaled, factor = scaled_down(density)
    frame, spectra = prepare(scaled, threads)
    solvent = solvent_estimate(spectra.powers, spectra.outline)
    del spectra
    local, molecule, distance = resample_to_crop(
        frame, factor * solvent.resolution, solvent.molecule.astype(np.float32), solvent.outline.distance
    )
    masked_out = masked_out_share(cut(density.values, frame.box), distance, SOLVENT_SHELL[1] + MASK_EDGE_WIDTH)
    if not solvent.has_solvent or masked_out > MAX_MASKED_OUT:
        share = solvent.solvent_fraction * (1 - masked_out)
        raise InputError(
            "the noise of this map cannot be measured",
            found=f"noisy solvent in {share:.0%} of the shell around the molecule",
            expected="noisy solvent in most of the shell",
            try_="pass the map before it was masked, cropped or locally filtered, or use --method network",
        )
    grid = density.grid
    mask = paste(molecule > 0.5, frame.box, grid.shape)
    nyquist_limit = 2 * max(grid.voxel_size)
    values = np.where(mask, np.maximum(paste(local, frame.box, grid.shape), nyquist_limit), 0).astype(np.float32)
    return LocalResolution(
        values=values,
        mask=mask,
        uncertainty=np.broadcast_to(np.float32(np.nan), grid.shape),
        grid=grid,
        global_resolution=math.nan,
        working_voxel_size=float(np.mean(grid.voxel_size)),
        provider=PROVIDER,
        warnings=edit_warnings(frame.edits),
    )


def masked_out_share(values: Volume, distance: Volume, reach: float) -> float:
    """Return the share of the solvent up to `reach` Å from the molecule that was masked out."""
    masked_out = masked_out_voxels(values)[(distance > SOLVENT_SHELL[0]) & (distance < reach)]
    return float(masked_out.mean()) if masked_out.size else 0.0
