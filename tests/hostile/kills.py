"""The command, stopped at random moments: afterwards there is the whole answer or none, and the input as it was.

A moment is a time, or the n-th time that the command touches its output folder: an audit hook of Python's sees that
without any change to the command.
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

from cryores_lite.io.atomic import LOCK_FILE, PREFIX, clean_up_dead_runs
from tests.hostile.files import mrc

REPOSITORY = Path(__file__).resolve().parents[2]
OPTIONS = ("--uncertainty", "--chimerax", "--png", "-q", "-j", "1")
PATIENCE = 120  # seconds; a run takes two
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}
STOPPED = """
import os, signal, sys
at, how, told, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3], os.getcwd()
words = {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "os.scandir"}
seen, busy = 0, False

def hook(event, arguments):
    global seen, busy
    if busy or event not in words:
        return
    if not any(folder in str(a) or ".cryores_lite" in str(a) or "_locres" in str(a) for a in arguments):
        return
    seen += 1
    if seen == at:
        busy = True
        if how == "immutable":
            from tests.hostile.kills import immutable
            immutable(folder, True)
        else:
            os.kill(os.getpid(), getattr(signal, how))
        busy = False

sys.addaudithook(hook)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started deaf to it
sys.argv = ["cryores-lite", *sys.argv[4:]]
from cryores_lite.cli import main
try:
    main()
finally:
    busy = True
    if told:
        open(told, "w").write(str(seen))
"""


@dataclass
class Tally:
    """What a campaign found. `bad` holds descriptions of what should not be."""

    seed: int
    points: int = 0
    left: collections.Counter = field(default_factory=collections.Counter)
    begun: int = 0  # killed before they could sign their hidden folder, which is empty and goes after a week
    bad: list = field(default_factory=list)


def immutable(folder, yes):
    """Let nothing be made, renamed or removed in a folder, not even by root, or let it be again."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(opened, 0x40086602, struct.pack("l", 0x10 if yes else 0))  # FS_IOC_SETFLAGS, FS_IMMUTABLE_FL
    finally:
        os.close(opened)


def prepared(folder, old):
    """A map and, if asked, older answers in a folder of its own."""
    folder.mkdir()
    (folder / "a.mrc").write_bytes(mrc())
    for name in NAMES if old else ():
        (folder / name).write_bytes(b"old")
    return folder


NAMES = ("a_mask.mrc", "a_locres_uncertainty.mrc", "a_locres.cxc", "a_locres.png", "a_locres.mrc")


def started(folder, overwrite, at=0, how="SIGKILL", told="", before=None):
    """The command on the map of a folder, to be stopped at its n-th touch of the folder."""
    words = [sys.executable, "-c", STOPPED, str(at), how, str(told), "a.mrc", *OPTIONS]
    words += ["--overwrite"] if overwrite else []
    kept = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return subprocess.Popen(words, cwd=folder, env=kept, stderr=subprocess.PIPE, text=True, preexec_fn=before)


def ended(process):
    """Exit code and errors of a run, which is killed if it takes for ever."""
    try:
        _, noise = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return None, f"no end after {PATIENCE} s"
    return process.returncode, noise


def contents(folder):
    """Digests of the files in a folder, hidden ones apart."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.startswith(PREFIX)
    }


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(PREFIX)]


@cache
def reference():
    """The answer of a run that nobody stops, how often it touches its folder, and how long it takes."""
    with tempfile.TemporaryDirectory() as name:
        place, told = prepared(Path(name) / "reference", False), Path(name) / "told"
        start = time.perf_counter()
        with started(place, False, told=told) as process:
            code, noise = ended(process)
        assert code == 0, noise
        return contents(place), int(told.read_text()), time.perf_counter() - start


def campaign(points, seed, immutables=0):
    """Stop the command at random moments, by signals, and `immutables` times by locking its folder."""
    tally, choose = Tally(seed), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        whole, touches, seconds = reference()
        for number in range(points + immutables):
            old = choose.random() < 0.5
            folder = prepared(root / str(number), old)
            before = contents(folder)
            how = choose.choice((*SIGNALS, "SIGKILL")) if number < points else "immutable"
            by_touch = number >= points or choose.random() < 0.6
            at = choose.randint(1, touches) if by_touch else 0
            with started(folder, old, at, how) as process:
                if not by_touch:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(choose.uniform(0, seconds))
                    process.send_signal(getattr(signal, how))
                code, noise = ended(process)
            if how == "immutable":
                immutable(folder, False)
            label = (
                f"{how} at {f'touch {at}' if by_touch else 'a time'} of {touches}, {'over old files' if old else 'new'}"
            )
            _judge(tally, label, folder, before, whole, how, code, noise)
    return tally


def _judge(tally, label, folder, before, whole, how, code, noise):
    tally.points += 1
    at_once, waiting = _state(contents(folder), before, whole), hidden(folder)
    clean_up_dead_runs(folder)
    later = _state(contents(folder), before, whole)
    tally.left[f"{how}: {at_once}" + (f", {later} after the next run" if later != at_once else "")] += 1
    if later not in ("all", "none"):
        tally.bad.append(
            f"{label}: {later} {sorted(contents(folder))} {set(whole.items()) ^ set(contents(folder).items())}"
        )
    if how in ("SIGINT", "SIGTERM") and (at_once != later or waiting):
        tally.bad.append(f"{label}: {at_once}, then {later}, {waiting}")
    if any(path.name != LOCK_FILE for name in hidden(folder) for path in (folder / name).iterdir()):
        tally.bad.append(f"{label}: {hidden(folder)} stays")
    tally.begun += bool(hidden(folder))
    if code not in (0, 1, SIGNALS.get(how, 1), -signal.SIGTERM, -signal.SIGINT):
        tally.bad.append(f"{label}: exit code {code}")
    if "Traceback" in noise and "KeyboardInterrupt" not in noise.splitlines()[-1]:
        tally.bad.append(f"{label}: {noise}")


def _state(found, before, whole):
    """Of the files of an answer: all are there, none (as before), or some; anything else is damage."""
    if found == whole:
        return "all"
    if found == before:
        return "none"
    if found.get("a.mrc") != before["a.mrc"] or not set(found) <= set(whole):
        return "damage"
    fitting = all(digest in (whole.get(name), before.get(name)) for name, digest in found.items())
    return "some, each whole" if fitting else "damage"
