"""CPUs that this process may use, and the control groups that it is in. Memory has a room of its own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def available_threads() -> int:
    """CPUs that this process may use: the fewest of its affinity, its control groups' quota and Slurm's allotment."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, int(cpu_quota() or count), slurm_cpus() or count))


def slurm_cpus() -> int | None:
    """CPUs that Slurm gave to this task, or None outside of Slurm or where it does not say."""
    told = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(told) or None if told.isdecimal() else None


def folders(controller: str) -> Iterator[Path]:
    """Folders of all groups that bind this process, of version 2 and 1: its own, then those around it.

    Parameters
    ----------
    controller : "cpu" or "memory"
    """
    for line in lines(OWN):
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / controller if controllers else ROOT
        here = root / name.lstrip("/")
        yield from (folder for folder in (here, *here.parents) if folder.is_relative_to(root))


def cpu_quota() -> float | None:
    """CPUs' worth of time that the tightest of this process's control groups gives it, or None without a limit."""
    found = [quota for folder in folders("cpu") if (quota := _quota(folder))]
    return min(found, default=None)


def lines(path: str | Path) -> list[str]:
    """Lines of a file of the system, none where there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _quota(folder: Path) -> float | None:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        words = [word for name in names for line in lines(folder / name) for word in line.split()]
        try:
            quota, period = map(float, words)
        except ValueError:  # there is none, or it is "max"
            continue
        if 0 < quota < math.inf and period > 0:
            return quota / period
    return None
