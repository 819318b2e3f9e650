"""The maps of a run: a list of paths, one part of it for each task of a cluster, and a check that none collide."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from cryores_lite.errors import InputError
from cryores_lite.io.text import BYTE_ORDER_MARK
from cryores_lite.outputs.result import Job

ARRAY_VARIABLES = "SLURM_ARRAY_TASK_"  # beginning of their names

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 0, of `count` equal parts."""

    index: int
    count: int

    def of(self, items: Sequence[T]) -> list[T]:
        """Every `count`-th item: a list sorted by size gives parts of nearly equal work."""
        return list(items[self.index :: self.count])

    def name(self, path: Path) -> Path:
        """Name this part's own copy of a file: ``all.csv`` is ``all.3-of-6.csv``, so that no two parts share one."""
        return path.with_name(f"{path.stem}.{self.index + 1}-of-{self.count}{path.suffix}")


def read_list(name: str) -> list[Path]:
    """Read paths, one a line, from a file, or from standard input if `name` is ``-``. Empty lines are left out.

    Raises
    ------
    InputError
        The list cannot be read, or names no map.
    """
    what, expected = f"the list {name}", "paths, one a line"
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(what, found=error.strerror, expected=expected, try_="check --maps-from") from error
    if b"\0" in data:
        raise InputError(what, found="binary data", expected=expected, try_="pass maps by name")
    paths = [Path(os.fsdecode(line)) for line in data.removeprefix(BYTE_ORDER_MARK).splitlines() if line.strip()]
    if not paths:
        raise InputError(what, found="no path", expected=expected, try_="check how it was made")
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


def check_no_duplicates(jobs: Sequence[Job]) -> None:
    """Refuse jobs of which two would write one file, or one would write a map of another.

    Folders are looked up on the disk, once each; files are not, since the list of a cluster job is long.

    Raises
    ------
    InputError
        There are such jobs.
    """

    @cache
    def resolved(folder: str) -> str:
        return os.path.realpath(folder)

    def place(path: Path) -> str:
        folder, name = os.path.split(path)  # strings: a list may hold 100,000 maps
        return os.path.join(resolved(folder), name)  # noqa: PTH118

    owners: dict[str, Path] = {}  # maps by the place of a file that they are, or write
    for job in jobs:
        map_place = place(job.map_path)
        if map_place in owners:
            raise InputError(
                "the maps", found=f"{job.map_path} twice", expected="every map once", try_="name it once (sort -u)"
            )
        owners.update(dict.fromkeys((map_place, *map(place, job.half_maps or ())), job.map_path))
    for job in jobs:
        for path in job.outputs.values():
            output_place = place(path)
            if output_place in owners:
                raise InputError(
                    "the maps",
                    found=f"{owners[output_place]} and {job.map_path}, of which both are or write {path}",
                    expected="output files of different names, none of them among the maps",
                    try_="leave output files out, or run maps of one name apart, with -o",
                )
            owners[output_place] = job.map_path


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
