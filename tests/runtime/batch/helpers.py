"""A row for the tests of tables."""

from pathlib import Path

from cryores_lite.batch import table
from cryores_lite.outputs.outcome import row
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity


def failed_row(name, error="no"):
    """The row of a map that failed."""
    job, model = Job(map_path=Path(name), outputs={}), ModelIdentity("net", "1", "ab" * 32)
    return table.stamped(row(MapResult(job=job, seconds=1.0, model=model, error=error)))
