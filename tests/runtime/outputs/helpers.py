"""Outcomes of a small map, for the tests of rows and of their schema."""

from pathlib import Path

import numpy as np

from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from cryores_lite.types import Grid, LocalResolution

GRID = Grid((2, 3, 4), (1.5, 1.5, 1.5))


def job(outputs):
    return Job(map_path=Path("m.mrc"), outputs=outputs)


def done(mask, outputs):
    """A finished map at 4 Å, or one without a molecule if the mask is empty."""
    values = np.where(mask, np.float32(4), np.float32(0))
    result = LocalResolution(
        values=values,
        mask=mask,
        uncertainty=values / 8,
        grid=GRID,
        global_resolution=3.5 if mask.any() else np.nan,
        working_voxel_size=1.5,
        provider="CPUExecutionProvider",
    )
    model = ModelIdentity("net", "1", "ab" * 32)
    return MapResult(job=job(outputs), seconds=1.0, model=model, local_resolution=result, warnings=("mind this",))
