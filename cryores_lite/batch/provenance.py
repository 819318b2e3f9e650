"""NAME_locres.json beside the answers: what they were made of, so that finished work is known again.

A record is written before the work, as a claim to the names of the answers, and once more after it. Whoever is killed
between leaves a claim, and the next run does the map again. Whatever is not named by a record is never replaced.
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
from cryores_lite.io.atomic import whole
from cryores_lite.outputs.result import Job

FORM = 1  # of the file; another form is no record of ours
CHUNK = 1 << 20
APART = {
    "map_path",
    "outputs",
    "overwrite",
}  # fields of a job that are no settings: they stand elsewhere, or change nothing


@dataclass(frozen=True)
class Record:
    """What a record says: the key of the work, the digests of the answers (None: claimed), and their row if done."""

    key: dict[str, Any]
    files: dict[str, str | None]  # sha256 by what a file holds
    row: dict[str, Any] | None = None


def digest(path: Path) -> str:
    """Give the sha256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def key(job: Job, model: str | None, digest: Callable[[Path], str] = digest) -> dict[str, Any]:
    """Tell what the answers depend on: equal keys, equal answers.

    Parameters
    ----------
    job : what is asked; every field counts, files by what they hold
    model : sha256 of the network, None if there is none
    digest : of a file

    Raises
    ------
    OSError
        A file cannot be read.
    """

    def told(value: Any) -> Any:
        if isinstance(value, Path):
            return digest(value)
        return [told(part) for part in value] if isinstance(value, (tuple, list)) else value

    settings = {f.name: told(getattr(job, f.name)) for f in fields(job) if f.name not in APART}
    return {
        "input": digest(job.map_path),
        "model": model,
        "program": __version__,
        "settings": {**settings, "outputs": sorted(job.outputs)},
    }


def path_of(job: Job) -> Path:
    """Name the record of a job."""
    return job.outputs["locres"].with_suffix(".json")


def read(job: Job) -> Record | None:
    """Read the record of a job, or None if there is none.

    Raises
    ------
    OutputError
        There is another file of that name.
    """
    path = path_of(job)
    try:
        found = json.loads(path.read_bytes())
        if found["form"] != FORM:
            raise ValueError
        return Record(found["key"], found["files"], found["row"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if job.overwrite and not path.is_dir():
            return None
        raise OutputError(
            str(path),
            found="a file that is no record of ours",
            expected="a free name",
            try_="pass --overwrite or -o DIR",
        ) from error


def is_finished(job: Job, key: dict[str, Any], record: Record) -> bool:
    """Tell whether the answers are there as they were written, and would be made the same again."""
    if record.row is None or record.key != key:
        return False
    try:
        return all(record.files.get(what) == digest(path) for what, path in job.outputs.items())
    except OSError:
        return False


def may_replace(job: Job, record: Record | None) -> bool:
    """Tell whether every answer's name is free or claimed by the record."""
    claimed = record.files if record else {}
    return job.overwrite or all(what in claimed or not os.path.lexists(path) for what, path in job.outputs.items())


def claim(job: Job, key: dict[str, Any], before: Record | None) -> Record:
    """Write that the names of the answers are taken; return that."""
    files = {**dict.fromkeys(job.outputs), **(before.files if before else {})}
    claimed = Record(before.key if before else key, files, before.row if before else None)
    _write(path_of(job), claimed)
    return claimed


def give_up(job: Job, claimed: Record, before: Record | None) -> None:
    """Put back what stood before a claim, unless somebody else has finished the map meanwhile."""
    if read(job) != claimed:
        return
    if before is None:
        path_of(job).unlink(missing_ok=True)
    else:
        _write(path_of(job), before)


def finish(job: Job, key: dict[str, Any], row: dict[str, Any], before: Record | None) -> None:
    """Write that the answers are there. Names of earlier answers stay claimed."""
    files = {what: digest(path) for what, path in job.outputs.items()}
    _write(path_of(job), Record(key, {**dict.fromkeys(before.files if before else ()), **files}, row))


def kept(job: Job, record: Record) -> dict[str, Any]:
    """Give the row of finished work, with the names that files have now."""
    row = record.row or {}
    files = {what: str(job.outputs[what]) if what in job.outputs else None for what in row["files"]}
    return {**row, "input": str(job.map_path), "files": files}


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"form": FORM, "key": record.key, "files": record.files, "row": record.row}, indent=1)
    with whole(path) as stream:
        stream.write(f"{text}\n".encode())
