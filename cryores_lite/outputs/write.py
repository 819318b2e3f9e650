"""Write the files of a result. Each is written where it is staged, and published with the others."""

from __future__ import annotations

from pathlib import Path

from cryores_lite import __version__
from cryores_lite.errors import OutputError
from cryores_lite.io.mrc import write_map
from cryores_lite.outputs import contents
from cryores_lite.outputs.catalogue import KIND
from cryores_lite.outputs.result import Job, MapResult


def check(job: Job) -> None:
    """Refuse before the long work what could not be written after it.

    Raises
    ------
    OutputError
        A name cannot be written in a ChimeraX script.
    """
    if "chimerax" in job.outputs:
        contents.chimerax_names(job)


def write(name: str, path: Path, result: MapResult) -> None:
    """Write one kind of file, a name of the catalogue, at `path`."""
    content: contents.Voxels | str | bytes = getattr(contents, name)(result)
    if isinstance(content, (str, bytes)):
        _write(path, content)
    else:
        source, _ = result.map_and_estimate()
        label = f"cryores_lite {__version__}: {KIND[name].label}"
        write_map(path, content, source.header, label=label, voxel_size=result.job.voxel_size)


def _write(path: Path, content: str | bytes) -> None:
    """Write a file; file names within a text may hold bytes that are no text."""
    try:
        path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(str(path), found=reason, expected="to write it", try_="check the space left") from error
