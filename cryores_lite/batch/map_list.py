"""The maps of a run: a list of paths, its part for a cluster task, and a check that no two jobs write one file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from cryores_lite.errors import InputError
from cryores_lite.io.text import BYTE_ORDER_MARK
from cryores_lite.outputs.result import Job

ARRAY_VARIABLES = "SLURM_ARRAY_TASK_"  # start of the names of Slurm's variables

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 0, of `count` equal parts."""

    index: int
    count: int

    def select(self, items: Sequence[T]) -> list[T]:
        """Select every `count`-th item: a list sorted by size gives parts of nearly equal work."""
        return list(items[self.index :: self.count])

    def own_path(self, path: Path) -> Path:
        """Return the path of this part's own file, which no other part uses: ``all.3-of-6.csv`` for ``all.csv``."""
        return path.with_name(f"{path.stem}.{self.index + 1}-of-{self.count}{path.suffix}")


def read_list(name: str) -> list[Path]:
    """Read paths, one per line, from a file, or from standard input if `name` is ``-``. Empty lines are skipped.

    Raises
    ------
    InputError
        The list cannot be read, or names no map.
    """
    subject, expected = f"the list {name}", "one path per line"
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(subject, found=error.strerror, expected=expected, try_="check --maps-from") from error
    if b"\0" in data:
        raise InputError(subject, found="binary data", expected=expected, try_="pass maps by name")
    paths = [Path(os.fsdecode(line)) for line in data.removeprefix(BYTE_ORDER_MARK).splitlines() if line.strip()]
    if not paths:
        raise InputError(subject, found="an empty list", expected=expected, try_="check the command that wrote it")
    return paths


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Parse ``I/N``, part I of N from 1, or ``slurm``, the part of this task of a Slurm job array.

    Raises
    ------
    InputError
        It is neither, or the array's numbers are not evenly spaced.

    References
    ----------
    https://slurm.schedmd.com/job_array.html
    """
    if text == "slurm":
        return _slurm_shard(environment)
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise InputError(
            "--shard", found=text, expected="I/N with I from 1 to N, or slurm", try_="pass for example 1/4"
        )
    return Shard(number - 1, count)


def without_own_outputs(jobs: Sequence[Job]) -> tuple[list[Job], list[Path]]:
    """Leave out maps that an earlier run wrote for another map of the same command, as in ``cryores-lite *.mrc``.

    Returns
    -------
    the other jobs, and the maps that were left out
    """
    from cryores_lite.io.mrc import is_own_output

    resolved = _path_resolver()
    outputs = {resolved(path) for job in jobs for path in job.outputs.values()}
    own = {job.map_path for job in jobs if resolved(job.map_path) in outputs and is_own_output(job.map_path)}
    return [job for job in jobs if job.map_path not in own], sorted(own)


def _path_resolver() -> Callable[[Path], str]:
    """Give a function that resolves the links to a file's folder, once for each folder."""

    @cache
    def resolved_folder(folder: str) -> str:
        return os.path.realpath(folder)

    def resolved(path: Path) -> str:
        folder, name = os.path.split(path)  # strings: a list may hold 100,000 maps
        return os.path.join(resolved_folder(folder), name)  # noqa: PTH118

    return resolved


def check_no_duplicates(jobs: Sequence[Job]) -> None:
    """Refuse jobs if two would write the same file, or if one would overwrite a map of another.

    Links to folders are resolved, once for each folder. Links to files are not: the list of a cluster job is long.

    Raises
    ------
    InputError
        There are such jobs.
    """
    resolved = _path_resolver()
    owners: dict[str, Path] = {}  # the map of each file that a job reads or writes
    for job in jobs:
        map_file = resolved(job.map_path)
        if map_file in owners:
            raise InputError(
                "the maps", found=f"{job.map_path} twice", expected="every map once", try_="name it once (sort -u)"
            )
        owners.update(dict.fromkeys((map_file, *map(resolved, job.half_maps or ())), job.map_path))
    for job in jobs:
        for path in job.outputs.values():
            output_file = resolved(path)
            if output_file in owners:
                raise InputError(
                    "the maps",
                    found=f"{path}, an output of {job.map_path} and an input or output of {owners[output_file]}",
                    expected="output files that no other map reads or writes",
                    try_="request fewer output files, or run maps of the same name separately with -o DIR",
                )
            owners[output_file] = job.map_path


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    try:
        number, lowest, highest, step, count = (
            int(environment[ARRAY_VARIABLES + name]) for name in ("ID", "MIN", "MAX", "STEP", "COUNT")
        )
    except (KeyError, ValueError):
        raise InputError(
            "--shard slurm",
            found=f"no {ARRAY_VARIABLES}ID and related variables",
            expected="a task of a job array",
            try_="submit with sbatch --array=1-N, or pass --shard I/N",
        ) from None
    index, remainder = divmod(number - lowest, step) if step > 0 else (0, 1)
    if remainder or not 0 <= index < count or (highest - lowest) // max(step, 1) + 1 != count:
        raise InputError(
            "--shard slurm",
            found=f"{count} tasks from {lowest} to {highest} in steps of {step}",
            expected="evenly spaced array numbers",
            try_="submit with --array=1-N (finished maps are skipped), or pass --shard I/N",
        )
    return Shard(index, count)
