"""Which maps a call is about: a list of paths, and one part of it for each task of a cluster."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryores_lite.errors import InputError
from cryores_lite.outputs.catalogue import ALWAYS

ARRAY = "SLURM_ARRAY_TASK_"


@dataclass(frozen=True)
class Shard:
    """Part `index`, from 0, of `count` equal parts."""

    index: int
    count: int

    def of(self, paths: Sequence[Path]) -> list[Path]:
        """Every `count`-th path: a list sorted by size gives parts of nearly equal work."""
        return list(paths[self.index :: self.count])

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
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise InputError(
            f"the list {name}", found=error.strerror, expected="paths, one a line", try_="check --maps-from"
        ) from error
    if b"\0" in data:
        raise InputError(
            f"the list {name}", found="binary data", expected="paths, one a line", try_="pass maps by name"
        )
    paths = [Path(os.fsdecode(line)) for line in data.splitlines() if line.strip()]
    if not paths:
        raise InputError(
            f"the list {name}", found="no path", expected="paths, one a line", try_="check how it was made"
        )
    return paths


def shard(words: str, environment: Mapping[str, str]) -> Shard:
    """Understand ``I/N``, part I of N from 1, or ``slurm``, the part of this task of a Slurm job array.

    Raises
    ------
    InputError
        It is neither, or the array's numbers are not evenly spaced.

    References
    ----------
    https://slurm.schedmd.com/job_array.html
    """
    if words == "slurm":
        return _slurm(environment)
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", words)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise InputError(
            "--shard", found=words, expected="I/N with I from 1 to N, or slurm", try_="pass for example 1/4"
        )
    return Shard(index - 1, count)


def check_no_duplicates(paths: Sequence[Path], output_dir: Path | None) -> None:
    """Refuse a list of which two maps would write one file, or one map is another's answer; nothing on disk is asked.

    Raises
    ------
    InputError
        There are such maps.
    """
    taken: dict[str, Path] = {}
    for path in paths:
        name = _place(path)
        if name in taken:
            raise InputError("the list", found=f"{path} twice", expected="every map once", try_="sort -u the list")
        taken[name] = path
    for path in paths:
        for name in _answers(path, output_dir):
            if name in taken:
                raise InputError(
                    "the list",
                    found=f"{taken[name]} and {path}, of which both are or write {name}",
                    expected="answers of different names, and no answers among the maps",
                    try_="leave answers out, or run maps of one name apart, with -o",
                )
            taken[name] = path


def _answers(path: Path, output_dir: Path | None) -> Iterator[str]:
    from cryores_lite.io.mrc import map_stem

    stem = map_stem(path)
    for kind in ALWAYS:
        yield _place((output_dir or path.parent) / f"{stem}{kind.suffix}")


def _place(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100, a long list should not be looked up on a shared disk by every part


def _slurm(environment: Mapping[str, str]) -> Shard:
    try:
        number, lowest, highest, step, count = (
            int(environment[ARRAY + name]) for name in ("ID", "MIN", "MAX", "STEP", "COUNT")
        )
    except (KeyError, ValueError):
        raise InputError(
            "--shard slurm",
            found=f"no {ARRAY}ID and its like in the environment",
            expected="a task of a job array",
            try_="submit with sbatch --array=1-N, or pass --shard I/N",
        ) from None
    index, rest = divmod(number - lowest, step) if step > 0 else (0, 1)
    if rest or not 0 <= index < count or (highest - lowest) // max(step, 1) + 1 != count:
        raise InputError(
            "--shard slurm",
            found=f"{count} tasks from {lowest} to {highest} in steps of {step}",
            expected="evenly spaced array numbers",
            try_="submit with --array=1-N (finished maps are skipped), or pass --shard I/N",
        )
    return Shard(index, count)
