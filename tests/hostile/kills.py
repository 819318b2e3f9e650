"""Stop the command at random moments. It must leave all outputs or none, and the input unchanged.

A moment is a time, or the n-th operation of the command in its output folder. A Python audit hook counts the operations
of the unchanged command.
"""

import collections
import contextlib
import fcntl
import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryores_lite.io.atomic_write import LOCK_FILE, PREFIX, clean_up_dead_runs
from tests.hostile.files import mrc

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIONS = ("--uncertainty", "--chimerax", "--png", "-q", "-j", "1")
OUTPUTS = ("a_mask.mrc", "a_locres_uncertainty.mrc", "a_locres.cxc", "a_locres.png", "a_locres.mrc")
TIMEOUT = 120  # seconds; a run takes two
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}
STOPPABLE_COMMAND = """
import os, signal, sys
stop_at, stop_by, count_file, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3], os.getcwd()
events = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "os.scandir"}
count, is_stopping = 0, False

def hook(event, arguments):
    global count, is_stopping
    if is_stopping or event not in events:
        return
    if not any(folder in str(a) or ".cryores_lite" in str(a) or "_locres" in str(a) for a in arguments):
        return
    count += 1
    if count == stop_at:
        is_stopping = True
        if stop_by == "immutable":
            from tests.hostile.kills import set_immutable
            set_immutable(folder, True)
        else:
            os.kill(os.getpid(), getattr(signal, stop_by))
        is_stopping = False

sys.addaudithook(hook)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process ignores it by default
sys.argv = ["cryores-lite", *sys.argv[4:]]
from cryores_lite.cli import main
try:
    main()
finally:
    is_stopping = True
    if count_file:
        open(count_file, "w").write(str(count))
"""


@dataclass(kw_only=True)
class Tally:
    """Results of a campaign; `faults` are descriptions."""

    seed: int
    moments: int = 0
    outcomes: collections.Counter = field(default_factory=collections.Counter)
    unlocked: int = 0  # killed before the empty staging folder was locked; it is removed after a week
    faults: list = field(default_factory=list)


def set_immutable(folder, is_immutable):
    """Forbid or allow all changes in a folder, also for root."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flags = struct.pack("l", 0x10 if is_immutable else 0)
        fcntl.ioctl(descriptor, 0x40086602, flags)  # FS_IOC_SETFLAGS, FS_IMMUTABLE_FL
    finally:
        os.close(descriptor)


def make_folder(folder, with_old_outputs):
    """Make a folder with a map and, on request, outputs of an older run."""
    folder.mkdir()
    (folder / "a.mrc").write_bytes(mrc())
    for name in OUTPUTS if with_old_outputs else ():
        (folder / name).write_bytes(b"old")
    return folder


def start(folder, overwrite, stop_at=0, stop_by="SIGKILL", count_file="", preexec_fn=None):
    """Start the command on the map of a folder; it stops at operation number `stop_at` in the folder."""
    command = [sys.executable, "-c", STOPPABLE_COMMAND, str(stop_at), stop_by, str(count_file), "a.mrc", *OPTIONS]
    command += ["--overwrite"] if overwrite else []
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=preexec_fn
    )


def wait(process):
    """Return exit code and stderr of a run; kill it after `TIMEOUT`."""
    try:
        _, stderr = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, f"not finished after {TIMEOUT} s"
    return process.returncode, stderr


def contents(folder):
    """Digests of the files in a folder, without hidden ones."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.startswith(PREFIX)
    }


def hidden_names(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(PREFIX)]


@cache
def reference():
    """Outputs of an undisturbed run, the number of its operations in the folder, and its duration in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder, count_file = make_folder(Path(name) / "reference", False), Path(name) / "count"
        start_time = time.perf_counter()
        with start(folder, False, count_file=count_file) as process:
            code, stderr = wait(process)
        assert code == 0, stderr
        return contents(folder), int(count_file.read_text()), time.perf_counter() - start_time


def campaign(moments, seed, immutables=0):
    """Stop the command at random moments by signals, and `immutables` times by making its folder immutable."""
    tally, rng = Tally(seed=seed), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        complete, operations, seconds = reference()
        for number in range(moments + immutables):
            with_old_outputs = rng.random() < 0.5
            folder = make_folder(root / str(number), with_old_outputs)
            before = contents(folder)
            stop_by = rng.choice((*EXIT_CODES, "SIGKILL")) if number < moments else "immutable"
            by_operation = number >= moments or rng.random() < 0.6
            stop_at = rng.randint(1, operations) if by_operation else 0
            with start(folder, with_old_outputs, stop_at, stop_by) as process:
                if not by_operation:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(rng.uniform(0, seconds))
                    process.send_signal(getattr(signal, stop_by))
                code, stderr = wait(process)
            if stop_by == "immutable":
                set_immutable(folder, False)
            moment = f"operation {stop_at} of {operations}" if by_operation else "a random time"
            label = f"{stop_by} at {moment}, {'over old outputs' if with_old_outputs else 'new outputs'}"
            _judge(tally, label, folder, before, complete, stop_by, code, stderr)
    return tally


def _judge(tally, label, folder, before, complete, stop_by, code, stderr):
    tally.moments += 1
    state, leftovers = _state(contents(folder), before, complete), hidden_names(folder)
    clean_up_dead_runs(folder)
    final_state = _state(contents(folder), before, complete)
    recovery = f", {final_state} after the next run" if final_state != state else ""
    tally.outcomes[f"{stop_by}: {state}{recovery}"] += 1
    if final_state not in ("all", "none"):
        difference = set(complete.items()) ^ set(contents(folder).items())
        tally.faults.append(f"{label}: {final_state} {sorted(contents(folder))} {difference}")
    if stop_by in ("SIGINT", "SIGTERM") and (state != final_state or leftovers):
        tally.faults.append(f"{label}: {state}, then {final_state}, {leftovers}")
    if any(path.name != LOCK_FILE for name in hidden_names(folder) for path in (folder / name).iterdir()):
        tally.faults.append(f"{label}: {hidden_names(folder)} stays")
    tally.unlocked += bool(hidden_names(folder))
    if code not in (0, 1, EXIT_CODES.get(stop_by, 1), -signal.SIGTERM, -signal.SIGINT):
        tally.faults.append(f"{label}: exit code {code}")
    if "Traceback" in stderr and "KeyboardInterrupt" not in stderr.splitlines()[-1]:
        tally.faults.append(f"{label}: {stderr}")


def _state(files, before, complete):
    """Whether all, no new or some output files exist; any other state is damage."""
    if files == complete:
        return "all"
    if files == before:
        return "none"
    if files.get("a.mrc") != before["a.mrc"] or not set(files) <= set(complete):
        return "damage"
    are_intact = all(digest in (complete.get(name), before.get(name)) for name, digest in files.items())
    return "some, each complete" if are_intact else "damage"
