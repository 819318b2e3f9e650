"""Wall-clock time, CPU time and peak memory of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from cryores_lite.cli import main; main()"]


@dataclass(frozen=True)
class ProcessCost:
    """Wall-clock seconds of a process, CPU seconds of all its threads, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def measure_process(command: list[str], folder: Path | None = None) -> ProcessCost:
    """Run a command in a new process, in a folder."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {errors.decode()}")
    return ProcessCost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)
