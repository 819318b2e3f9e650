"""CPUs and memory that this process may use, and what a map will take of them: told before the work."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryores_lite.errors import NotEnoughMemory

if TYPE_CHECKING:  # this room is entered before any library is loaded
    from cryores_lite.types import Shape

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
BASE = 0.25e9  # bytes: libraries, the network
TILE, PER_TILE_VOXEL = 0.35e9, 30.0  # bytes: the largest tile, and per voxel of a box that holds none so large
PER_VOXEL = 12.0  # bytes per voxel of the box around the molecule: its waves twice, and its band powers
LIBRARIES = 0.4e9  # bytes of address space that loading them takes; with less, OpenBLAS tries for ever
THREADS = 0.15e9  # bytes of address space that threads take for stacks and arenas; short of it, libraries crash
SMALL = 16e6  # bytes that are not worth looking for
RIM = 28  # voxels by which the box is padded, at most, up to 512


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


def needed(box: Shape, per_voxel: float = PER_VOXEL) -> float:
    """Bytes that a map takes whose molecule fills a box of this shape (docs/PERFORMANCE.md has measurements)."""
    voxels = math.prod(n + RIM for n in box)
    return BASE + per_voxel * voxels + min(TILE, PER_TILE_VOXEL * voxels)


def require(box: Shape, per_voxel: float = PER_VOXEL) -> None:
    """Refuse a map that will not fit.

    Raises
    ------
    NotEnoughMemory
        Less memory is free than `needed` says.
    """
    there, wanted = available(), needed(box, per_voxel)
    if wanted > there:
        raise NotEnoughMemory(
            "this map does not fit into memory",
            found=f"{there / 1e9:.1f} GB free",
            expected=f"about {wanted / 1e9:.1f} GB for a molecule in {' x '.join(map(str, box))} voxels",
            try_="ask for more (Slurm: --mem), or crop or bin the map",
        )


def require_libraries() -> None:
    """Refuse to load the libraries into an address space (ulimit -v) too small for them.

    Raises
    ------
    NotEnoughMemory
        It is smaller than `LIBRARIES`.
    """
    there = min((math.inf, *_own_limit()))
    if there < LIBRARIES:
        raise NotEnoughMemory(
            "cryores-lite cannot begin",
            found=f"{there / 1e9:.2f} GB of address space",
            expected=f"{LIBRARIES / 1e9:.1f} GB and more, by the map",
            try_="raise ulimit -v",
        )


def require_bytes(name: str, wanted: float, box: str) -> None:
    """Refuse a file whose values will not fit, before any of them is read.

    Raises
    ------
    NotEnoughMemory
        Less memory is free than `wanted` bytes.
    """
    there = available() if wanted > SMALL else math.inf
    if wanted > there:
        raise NotEnoughMemory(
            f"{name} does not fit into memory",
            found=f"{there / 1e9:.1f} GB free",
            expected=f"{wanted / 1e9:.3g} GB for the {box} voxels that its header tells of",
            try_="check the header, ask for more (Slurm: --mem), or crop or bin the map",
        )


def available() -> float:
    """Bytes that this process may still take: of the machine, its control groups, its own limit, Slurm's allotment."""
    return min((math.inf, *_machine(), *_groups(), *_own_limit(), *_slurm()))


def _machine() -> Iterator[float]:
    for line in lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield 1024 * float(line.split()[1])


def _groups() -> Iterator[float]:
    """Limit less use of every control group that this process is in, of version 2 and 1."""
    for folder in folders("memory"):
        for names in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = ("".join(lines(folder / name)) for name in names)
            if limit.isdecimal() and used.isdecimal():
                yield float(limit) - float(used) + _cached(folder)


def _cached(group: Path) -> float:
    """Bytes of files that a group counts as used but would give up."""
    found = dict(line.split(maxsplit=1) for line in lines(group / "memory.stat"))
    return float(found.get("inactive_file", 0)) + float(found.get("active_file", 0))


def _own_limit() -> Iterator[float]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = "".join(lines("/proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and pages:
        yield max(0.0, float(limit) - float(pages[0]) * resource.getpagesize() - THREADS)


def _slurm() -> Iterator[float]:
    """What Slurm gave to this node's part of the job, in MB, where it says so."""
    node, cpu, cpus = (os.environ.get(f"SLURM_{n}", "") for n in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_PER_TASK"))
    if node.isdecimal() and int(node) > 0:
        yield 1e6 * float(node)
    elif cpu.isdecimal() and cpus.isdecimal() and int(cpu) > 0:
        yield 1e6 * float(cpu) * float(cpus)
