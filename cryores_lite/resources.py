"""CPUs and memory: limits of this process, needs of a map, and refusal of a map that needs too much memory.

Limits come from the machine, the control groups of Linux (version 1 and 2), ulimit and Slurm; the lowest limit applies.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cryores_lite.errors import NotEnoughMemory

if TYPE_CHECKING:  # address space is checked before NumPy, which types.py imports, is loaded
    from cryores_lite.types import Lengths, Shape

CGROUP_ROOT, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
BASE_MEMORY = 0.25e9  # bytes: libraries, the network
MAX_TILE_MEMORY, TILE_MEMORY_PER_VOXEL = 0.35e9, 35.0  # bytes: of the largest tile, and per voxel of the box
MEMORY_PER_VOXEL = 18.0  # bytes per voxel of the box around the molecule: copies of its spectrum and of two bands
COARSE_STEP, COARSE_POINT_MEMORY = 4.0, 240.0  # Å, bytes: coarse grid of powers, coupling and outline
MAX_PADDING = 28  # voxels that padding adds along each axis of a box of up to 512 voxels
LIBRARY_ADDRESS_SPACE = 0.4e9  # bytes for loading the libraries; with less, OpenBLAS never stops retrying
THREAD_ADDRESS_SPACE = 0.15e9  # bytes for stacks and arenas of threads; with less, libraries crash
TIME_SHARES = (0.64, 0.20, 0.16)  # of a map's time: before its first tile, tiles, after them (docs/PERFORMANCE.md)
FIXED_COST = 0.3  # of every map, in megavoxels
NEGLIGIBLE_MEMORY = 16e6  # bytes; the limits are not checked for files that take less


def available_threads() -> int:
    """Number of CPUs that this process may use: the least of affinity, control groups' quota and Slurm's allocation."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, int(cpu_quota() or count), slurm_cpus() or count))


def slurm_cpus() -> int | None:
    """CPUs that Slurm allocated to this task; None outside Slurm or if the variable is not set."""
    count = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return int(count) or None if count.isdecimal() else None


def cpu_quota() -> float | None:
    """Lowest limit of this process's control groups, in CPUs (CPU time per elapsed time); None without a limit."""
    quotas = [quota for folder in _control_groups("cpu") if (quota := _group_cpu_quota(folder))]
    return min(quotas, default=None)


def available_memory() -> float:
    """Bytes that this process may still allocate: the least that machine, control groups, ulimit -v and Slurm allow."""
    return min((math.inf, *_machine_memory(), *_group_memory(), *_address_space(), *_slurm_memory()))


def peak_memory() -> float | None:
    """Largest resident memory of this process so far, in bytes; None where the system does not tell."""
    for line in _lines("/proc/self/status"):  # ru_maxrss would include the process that started this one
        if line.startswith("VmHWM:"):
            return 1024 * float(line.split()[1])
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def map_cost(box: Shape) -> float:
    """Return the time that a map takes compared with others, in megavoxels of its box."""
    return FIXED_COST + math.prod(box) / 1e6


def map_seconds_left(before: float, in_tiles: float, done: int, count: int) -> float:
    """Estimate the seconds that a map still takes.

    The time of the remaining tiles is that of the tiles so far; before the end of the first tile, and for the steps
    after the tiles, the time before the tiles and `TIME_SHARES` give it.

    Parameters
    ----------
    before : s, from the start of the map to its first tile
    in_tiles : s, since then
    done, count : tiles that are finished, and all tiles
    """
    share_before, share_of_tiles, share_after = TIME_SHARES
    tile = in_tiles / done if done else before * share_of_tiles / share_before / count
    return tile * (count - done) + before * share_after / share_before


def memory_per_voxel(voxel_size: Lengths) -> float:
    """Bytes per voxel of the box around a molecule: those of the voxel, and of its share of the coarse grid.

    Larger voxels are scaled down to the step of that grid (`method/coarse_voxels.py`), so that it has at most one point
    per voxel.
    """
    return MEMORY_PER_VOXEL + COARSE_POINT_MEMORY * math.prod(voxel_size) / max(COARSE_STEP, *voxel_size) ** 3


def estimated_memory(box: Shape, per_voxel: float = MEMORY_PER_VOXEL) -> float:
    """Bytes that a map needs if its molecule fills a box of this shape (measurements: docs/PERFORMANCE.md)."""
    voxels = math.prod(n + MAX_PADDING for n in box)
    return BASE_MEMORY + per_voxel * voxels + min(MAX_TILE_MEMORY, TILE_MEMORY_PER_VOXEL * voxels)


def require_memory(box: Shape, per_voxel: float = MEMORY_PER_VOXEL) -> None:
    """Refuse a map that does not fit into memory.

    Raises
    ------
    NotEnoughMemory
        Less memory is free than `estimated_memory` of the box.
    """
    free, needed = available_memory(), estimated_memory(box, per_voxel)
    if needed > free:
        raise NotEnoughMemory(
            "this map does not fit into memory",
            found=f"{free / 1e9:.1f} GB free",
            expected=f"about {needed / 1e9:.1f} GB for a molecule in {' x '.join(map(str, box))} voxels",
            try_="request more memory (Slurm: --mem), or crop or bin the map",
        )


def require_memory_for_file(name: str, needed: float, shape: Shape) -> None:
    """Refuse a file whose values do not fit into memory, before they are read.

    Raises
    ------
    NotEnoughMemory
        Less memory is free than `needed`, in bytes.
    """
    free = available_memory() if needed > NEGLIGIBLE_MEMORY else math.inf
    if needed > free:
        size = " x ".join(map(str, shape))
        raise NotEnoughMemory(
            f"{name} does not fit into memory",
            found=f"{free / 1e9:.1f} GB free",
            expected=f"{needed / 1e9:.3g} GB for the {size} voxels of its header",
            try_="check the header, request more memory (Slurm: --mem), or crop or bin the map",
        )


def require_address_space() -> None:
    """Refuse to load the libraries into an address space (ulimit -v) that is too small for them.

    Raises
    ------
    NotEnoughMemory
        Less than `LIBRARY_ADDRESS_SPACE` is free.
    """
    free = min((math.inf, *_address_space()))
    if free < LIBRARY_ADDRESS_SPACE:
        raise NotEnoughMemory(
            "cryores-lite cannot start",
            found=f"{free / 1e9:.2f} GB of address space",
            expected=f"{LIBRARY_ADDRESS_SPACE / 1e9:.1f} GB or more, depending on the map",
            try_="raise ulimit -v",
        )


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the control groups that limit "cpu" or "memory" of this process: its own groups, then their parents."""
    for line in _lines(OWN_CGROUPS):
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = CGROUP_ROOT / controller if controllers else CGROUP_ROOT
        own = root / name.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _group_cpu_quota(folder: Path) -> float | None:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        fields = [field for name in names for line in _lines(folder / name) for field in line.split()]
        try:
            quota, period = map(float, fields)
        except ValueError:  # the file is missing, or holds "max"
            continue
        if 0 < quota < math.inf and period > 0:
            return quota / period
    return None


def _machine_memory() -> Iterator[float]:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield 1024 * float(line.split()[1])


def _group_memory() -> Iterator[float]:
    """Bytes that each control group of this process leaves: its limit minus its usage."""
    for folder in _control_groups("memory"):
        for names in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = ("".join(_lines(folder / name)) for name in names)
            if limit.isdecimal() and used.isdecimal():
                yield float(limit) - float(used) + _file_cache(folder)


def _file_cache(folder: Path) -> float:
    """Bytes of cached files that a control group counts as used but would release."""
    statistics = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat"))
    return float(statistics.get("inactive_file", 0)) + float(statistics.get("active_file", 0))


def _address_space() -> Iterator[float]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = "".join(_lines("/proc/self/statm")).split()
    if limit != resource.RLIM_INFINITY and pages:
        yield max(0.0, float(limit) - float(pages[0]) * resource.getpagesize() - THREAD_ADDRESS_SPACE)


def _slurm_memory() -> Iterator[float]:
    """Memory that Slurm allocated to the job on this node; its variables are in MB."""
    node, cpu, cpus = (os.environ.get(f"SLURM_{n}", "") for n in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_PER_TASK"))
    if node.isdecimal() and int(node) > 0:
        yield 1e6 * float(node)
    elif cpu.isdecimal() and cpus.isdecimal() and int(cpu) > 0:
        yield 1e6 * float(cpu) * float(cpus)


def _lines(path: str | Path) -> list[str]:
    """Lines of a system file; an empty list if it is missing."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
