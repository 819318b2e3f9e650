"""The command where something is short: the disk, the memory, or the folder, which another run uses as well."""

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
from tests.hostile.kills import contents, ended, hidden, prepared, reference, started

MEGABYTE = 1 << 20
LIMITS = (*range(50, 700, 25), 1000, 2000)  # MB of address space


@dataclass
class Tally:
    """What became of runs, and descriptions of what should not be."""

    runs: int = 0
    ended: collections.Counter = field(default_factory=collections.Counter)
    bad: list = field(default_factory=list)


@contextlib.contextmanager
def disk(size):
    """A file system of so many bytes, where this process may make one; else OSError."""
    with tempfile.TemporaryDirectory() as name:
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        if not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
            raise OSError("no file system can be mounted here")
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def full_disks(count, seed):
    """Run on file systems too small for the map's answers, most of them."""
    tally, choose = Tally(), random.Random(seed)
    whole, _, _ = reference()
    needed = sum(len(mrc()) for _ in range(4)) + 200_000
    for _ in range(count):
        size = choose.randrange(len(mrc()) + 8192, round(1.2 * needed))
        with disk(size) as root:
            folder = prepared(root / "here", choose.random() < 0.5)
            before = contents(folder)
            overwrite = len(before) > 1
            with started(folder, overwrite) as process:
                code, noise = ended(process)
            _note(tally, f"{size} bytes", folder, before, whole, code, noise)
    return tally


def races(count):
    """Run twice at once on one map; then, over old answers, twice at once with leave to overwrite."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        whole, _, _ = reference()
        for number in range(count):
            overwrite = number % 2 == 1
            folder = prepared(Path(name) / str(number), overwrite)
            both = [started(folder, overwrite) for _ in range(2)]
            codes, noises = zip(*(ended(process) for process in both), strict=True)
            codes = sorted(codes, key=str)
            tally.runs += 2
            tally.ended[f"{'over old answers' if overwrite else 'new answers'}: exit codes {codes}"] += 1
            if codes != ([0, 0] if overwrite else [0, 1]) or contents(folder) != whole or hidden(folder):
                tally.bad.append(f"{codes}, {sorted(contents(folder))}, {hidden(folder)}: {noises}")
    return tally


def memories(limits=LIMITS):
    """Run with so many MB of address space."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        whole, _, _ = reference()
        for limit in limits:
            folder = prepared(Path(name) / str(limit), False)
            before = contents(folder)

            def shrink(limit=limit):
                resource.setrlimit(resource.RLIMIT_AS, (limit * MEGABYTE,) * 2)

            with started(folder, False, before=shrink) as process:
                code, noise = ended(process)
            _note(tally, f"{limit} MB", folder, before, whole, code, noise)
    return tally


def groups(limits=(100, 200, 300, 400, 600)):
    """Run in a control group of so many MB; OSError where none can be made."""
    tally = Tally()
    root = Path("/sys/fs/cgroup/memory" if Path("/sys/fs/cgroup/memory").is_dir() else "/sys/fs/cgroup")
    words = ("memory.limit_in_bytes", "memory.max")
    with tempfile.TemporaryDirectory() as name:
        whole, _, _ = reference()
        for limit in limits:
            group, folder = root / f"hostile-{os.getpid()}", prepared(Path(name) / str(limit), False)
            before = contents(folder)
            group.mkdir()
            try:
                next(group / word for word in words if (group / word).exists()).write_text(str(limit * MEGABYTE))

                def join(group=group):
                    (group / "cgroup.procs").write_text(str(os.getpid()))

                with started(folder, False, before=join) as process:
                    code, noise = ended(process)
            finally:
                group.rmdir()
            _note(tally, f"{limit} MB", folder, before, whole, code, noise)
    return tally


def _note(tally, label, folder, before, whole, code, noise):
    tally.runs += 1
    found, lines = contents(folder), noise.splitlines()
    if code == 0 and found == whole:
        tally.ended["done"] += 1
    elif code == 1 and found == before and len(lines) == 1 and lines[0].startswith("error: "):
        tally.ended["refused in one line, nothing written"] += 1
    else:
        tally.bad.append(f"{label}: exit code {code}, {sorted(found)}, {noise[-1500:]}")
    if hidden(folder):
        tally.bad.append(f"{label}: {hidden(folder)} stays")
