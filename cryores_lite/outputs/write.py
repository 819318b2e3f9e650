"""Write the output files of a result into a staging folder, from which they are published together."""

from __future__ import annotations

from pathlib import Path

from cryores_lite import __version__
from cryores_lite.errors import OutputError
from cryores_lite.io.mrc import write_map
from cryores_lite.outputs import contents
from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.result import Job, MapResult


def check(job: Job) -> None:
    """Refuse a job before the long work if an output file could not be written after it.

    Raises
    ------
    OutputError
        A ChimeraX script cannot hold the name of a file.
    """
    if "chimerax" in job.outputs:
        contents.chimerax_names(job)


def write(name: str, path: Path, result: MapResult) -> None:
    """Write the output file of kind `name` in the catalogue to `path`."""
    content: contents.Voxels | str | bytes = getattr(contents, name)(result)
    if isinstance(content, (str, bytes)):
        _write(path, content)
    else:
        input_map, _ = result.map_and_estimate()
        label = f"cryores_lite {__version__}: {KIND[name].label}".format(criterion=result.job.criterion.label)
        write_map(path, content, input_map.header, label=label, voxel_size=result.job.voxel_size)


def _write(path: Path, content: str | bytes) -> None:
    """Write a file. Text may contain file names with bytes that are not UTF-8."""
    try:
        path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            str(path), found=reason, expected="a writable file", try_="check the free disk space"
        ) from error
