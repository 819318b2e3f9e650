"""Run the command with little disk space or memory, and twice at once in one folder."""

import collections
import contextlib
import os
import random
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.hostile.files import mrc
from tests.hostile.kills import contents, hidden_names, make_folder, reference, start, wait

MEGABYTE = 1 << 20
ADDRESS_SPACES = (*range(50, 700, 25), 1000, 2000)  # MB


@dataclass
class Tally:
    """Results of a campaign; `faults` are descriptions."""

    runs: int = 0
    outcomes: collections.Counter = field(default_factory=collections.Counter)
    faults: list = field(default_factory=list)


@contextlib.contextmanager
def small_disk(size):
    """Mount a file system of `size` bytes; raise OSError if this process lacks the permission."""
    with tempfile.TemporaryDirectory() as name:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            raise OSError("mounting a file system is not possible here")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def full_disks(count, seed):
    """Run on small file systems; most are too small for the outputs."""
    tally, rng = Tally(), random.Random(seed)
    complete, _, _ = reference()
    needed = sum(len(mrc()) for _ in range(4)) + 200_000
    for _ in range(count):
        size = rng.randrange(len(mrc()) + 8192, round(1.2 * needed))
        with small_disk(size) as root:
            folder = make_folder(root / "outputs", rng.random() < 0.5)
            before = contents(folder)
            overwrite = len(before) > 1
            with start(folder, overwrite) as process:
                code, stderr = wait(process)
            _judge(tally, f"{size} bytes", folder, before, complete, code, stderr)
    return tally


def races(count):
    """Run twice at once on one map, in turn without older outputs and with --overwrite over older ones."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        complete, _, _ = reference()
        for number in range(count):
            overwrite = number % 2 == 1
            folder = make_folder(Path(name) / str(number), overwrite)
            processes = [start(folder, overwrite) for _ in range(2)]
            codes, errors = zip(*(wait(process) for process in processes), strict=True)
            codes = sorted(codes, key=str)
            tally.runs += 2
            tally.outcomes[f"{'over old outputs' if overwrite else 'new outputs'}: exit codes {codes}"] += 1
            if codes != ([0, 0] if overwrite else [0, 1]) or contents(folder) != complete or hidden_names(folder):
                tally.faults.append(f"{codes}, {sorted(contents(folder))}, {hidden_names(folder)}: {errors}")
    return tally


def small_address_spaces(limits=ADDRESS_SPACES):
    """Run with each limit of address space (MB)."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        complete, _, _ = reference()
        for limit in limits:
            folder = make_folder(Path(name) / str(limit), False)
            before = contents(folder)

            def set_limit(limit=limit):
                resource.setrlimit(resource.RLIMIT_AS, (limit * MEGABYTE,) * 2)

            with start(folder, False, preexec_fn=set_limit) as process:
                code, stderr = wait(process)
            _judge(tally, f"{limit} MB", folder, before, complete, code, stderr)
    return tally


def small_control_groups(limits=(100, 200, 300, 400, 600)):
    """Run in a control group with each memory limit (MB); raise OSError if no group can be made."""
    tally = Tally()
    root = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
    limit_files = ("memory.limit_in_bytes", "memory.max")
    with tempfile.TemporaryDirectory() as name:
        complete, _, _ = reference()
        for limit in limits:
            group, folder = root / f"hostile-{os.getpid()}", make_folder(Path(name) / str(limit), False)
            before = contents(folder)
            group.mkdir()
            try:
                next(group / file for file in limit_files if (group / file).exists()).write_text(str(limit * MEGABYTE))

                def join(group=group):
                    (group / "cgroup.procs").write_text(str(os.getpid()))

                with start(folder, False, preexec_fn=join) as process:
                    code, stderr = wait(process)
            finally:
                group.rmdir()
            _judge(tally, f"{limit} MB", folder, before, complete, code, stderr)
    return tally


def _judge(tally, label, folder, before, complete, code, stderr):
    tally.runs += 1
    files, lines = contents(folder), stderr.splitlines()
    if code == 0 and files == complete:
        tally.outcomes["done"] += 1
    elif code == 1 and files == before and len(lines) == 1 and lines[0].startswith("error: "):
        tally.outcomes["refused in one line, nothing written"] += 1
    else:
        tally.faults.append(f"{label}: exit code {code}, {sorted(files)}, {stderr[-1500:]}")
    if hidden_names(folder):
        tally.faults.append(f"{label}: {hidden_names(folder)} stays")
