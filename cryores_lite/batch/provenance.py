"""Records of finished maps: NAME_locres.json, next to the output files, lists what they were made from.

A record is written before the work, as a claim to the names of the output files, and again after it. A run that is
killed in between leaves its claim, and the next run repeats the map. Files that no record names are never replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cryores_lite import __version__
from cryores_lite.errors import OutputError
from cryores_lite.io.atomic_write import atomic_write
from cryores_lite.outputs.result import Job

RECORD_VERSION = 1  # version of the file's format; other versions are not read
READ_BYTES = 1 << 20  # at a time
NOT_SETTINGS = {"map_path", "outputs", "overwrite"}  # fields of a job that are elsewhere in the key, or have no effect


@dataclass(frozen=True)
class Record:
    """The content of a record.

    Attributes
    ----------
    key : what the output files depend on
    files : sha256 of the output files by name; None while they are only claimed
    row : the JSON row; None until the map is done
    """

    key: dict[str, Any]
    files: dict[str, str | None]
    row: dict[str, Any] | None = None


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()


def key(job: Job, model: str | None, digest: Callable[[Path], str] = digest) -> dict[str, Any]:
    """Collect what the output files depend on: equal keys give equal files, apart from dates in them.

    Parameters
    ----------
    job : the job; all of its fields count, files by their content
    model : sha256 of the network; None for the statistical method
    digest : function that returns the sha256 of a file

    Raises
    ------
    OSError
        A file cannot be read.
    """

    def by_content(value: Any) -> Any:
        if isinstance(value, Path):
            return digest(value)
        return [by_content(part) for part in value] if isinstance(value, (tuple, list)) else value

    settings = {f.name: by_content(getattr(job, f.name)) for f in fields(job) if f.name not in NOT_SETTINGS}
    return {
        "input": digest(job.map_path),
        "model": model,
        "program": __version__,
        "settings": {**settings, "outputs": sorted(job.outputs)},
    }


def path_of(job: Job) -> Path:
    """Return the path of a job's record."""
    return job.outputs["locres"].with_suffix(".json")


def read(job: Job) -> Record | None:
    """Read the record of a job, or None if there is none.

    Raises
    ------
    OutputError
        A file of that name is not a record.
    """
    path = path_of(job)
    try:
        content = json.loads(path.read_bytes())
        if content["form"] != RECORD_VERSION:
            raise ValueError
        return Record(content["key"], content["files"], content["row"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if job.overwrite and not path.is_dir():
            return None
        raise OutputError(
            str(path),
            found="a file that is not a record of cryores-lite",
            expected="a free name",
            try_="pass --overwrite or -o DIR",
        ) from error


def is_finished(job: Job, key: dict[str, Any], record: Record) -> bool:
    """Return whether the output files are unchanged since an earlier run, and that run had the same key."""
    if record.row is None or record.key != key:
        return False
    try:
        return all(record.files.get(name) == digest(path) for name, path in job.outputs.items())
    except OSError:
        return False


def may_replace(job: Job, record: Record | None) -> bool:
    """Return whether every output name is free, or claimed by the record."""
    claimed = record.files if record else {}
    return job.overwrite or all(name in claimed or not os.path.lexists(path) for name, path in job.outputs.items())


def claim(job: Job, key: dict[str, Any], earlier: Record | None) -> Record:
    """Claim the names of the output files: write a record, and return it."""
    files = {**dict.fromkeys(job.outputs), **(earlier.files if earlier else {})}
    claimed = Record(earlier.key if earlier else key, files, earlier.row if earlier else None)
    _write(path_of(job), claimed)
    return claimed


def release_claim(job: Job, claimed: Record, earlier: Record | None) -> None:
    """Restore the record that a claim replaced, unless another run has finished the map in the meantime."""
    if read(job) != claimed:
        return
    if earlier is None:
        path_of(job).unlink(missing_ok=True)
    else:
        _write(path_of(job), earlier)


def finish(job: Job, key: dict[str, Any], row: dict[str, Any], earlier: Record | None) -> None:
    """Write the record of a finished map. Names of earlier output files stay claimed."""
    files = {name: digest(path) for name, path in job.outputs.items()}
    _write(path_of(job), Record(key, {**dict.fromkeys(earlier.files if earlier else ()), **files}, row))


def finished_row(job: Job, record: Record) -> dict[str, Any]:
    """Return the row of a finished map, with the current paths of its files."""
    row = record.row or {}
    files = {name: str(job.outputs[name]) if name in job.outputs else None for name in row["files"]}
    return {**row, "input": str(job.map_path), "files": files}


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"form": RECORD_VERSION, "key": record.key, "files": record.files, "row": record.row}, indent=1)
    with atomic_write(path) as stream:
        stream.write(f"{text}\n".encode())
