"""Maps changed at random, read one after the other: each is read, or refused in words; none takes long or much."""

import collections
import contextlib
import io
import random
import resource
import struct
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryores_lite.errors import CryoresError
from cryores_lite.io.input_checks import check_input
from cryores_lite.io.mrc import read_map
from cryores_lite.job import RunOptions, lazy_model, plan, run_job
from tests.hostile.files import BZ2, GZ, mrc

LONGEST = 2.0  # seconds of the processor for one file
MOST = 300_000  # kB that reading may take beyond what the process had
WHOLE = 1000  # one in so many files is given to the whole command
NUMBERS = (0, 1, -1, 2, 3, 4, 7, 12, 255, 256, 1024, 4096, 65535, 65536, 2**24, 2**30, 2**31 - 1, -(2**31), 401, 101)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-20, 1e20, 3.4e38, float("inf"), float("-inf"), float("nan"))


@dataclass
class Tally:
    """What a campaign found. `bad` holds the number of the file and the traceback, or what else was wrong."""

    seed: int
    files: int = 0
    outcomes: collections.Counter = field(default_factory=collections.Counter)
    commands: collections.Counter = field(default_factory=collections.Counter)
    longest: float = 0.0
    growth: int = 0  # kB
    bad: list = field(default_factory=list)


def seeds():
    """Small whole maps of every mode that is read, both byte orders, with and without an extended header."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 30, (6, 7, 8))
    kinds = ("<i1", "<i2", "<f4", "<u2", "<f2", ">f4", ">i2")
    whole = [
        mrc(np.abs(values).astype(kind[1:]) if "u" in kind else values.astype(kind[1:]), order=kind[0])
        for kind in kinds
    ]
    return [*whole, mrc(values.astype(np.float32), extended=bytes(range(160)))]


def mutated(choose, wholes):
    """One of the files with some of its header, data, length or compressed stream changed by a `random.Random`."""
    raw = bytearray(choose.choice(wholes))
    for _ in range(choose.choice((0, 1, 1, 1, 2, 3, 5))):
        _change_header(choose, raw)
    for _ in range(choose.choice((0, 0, 0, 1, 4))):
        if len(raw) > 1028:
            struct.pack_into(choose.choice("<>") + "f", raw, choose.randrange(1024, len(raw) - 4), choose.choice(REALS))
    raw = _with_other_length(choose, raw)
    pack = choose.choice((None, None, None, GZ, BZ2))
    if pack is None:
        return bytes(raw)
    packed = bytearray(pack(bytes(raw)))
    for _ in range(choose.choice((0, 0, 1, 2))):
        packed[choose.randrange(len(packed))] = choose.randrange(256)
    if choose.random() < 0.1:
        packed += pack(bytes(raw))
    return bytes(_with_other_length(choose, packed))


def _change_header(choose, raw):
    order, word = choose.choice("<<<>"), 4 * choose.randrange(56 if choose.random() < 0.9 else 256)
    how = choose.randrange(5)
    if how == 0:
        struct.pack_into(f"{order}i", raw, word, choose.choice(NUMBERS))
    elif how == 1:
        struct.pack_into(f"{order}f", raw, word, choose.choice(REALS))
    elif how == 2:
        raw[word + choose.randrange(4)] ^= 1 << choose.randrange(8)
    elif how == 3:
        struct.pack_into(f"{order}i", raw, word, choose.randrange(-(2**31), 2**31))
    else:
        other = 4 * choose.randrange(56)
        raw[word : word + 4], raw[other : other + 4] = raw[other : other + 4], raw[word : word + 4]


def _with_other_length(choose, raw):
    how = choose.random()
    if how < 0.1:
        return raw[: choose.randrange(len(raw) + 1)]
    if how < 0.15:
        return raw + bytes(choose.randrange(1, 3000))
    return raw


def campaign(files, seed, folder=None, whole=WHOLE):
    """Read `files` mutated maps, numbered from 0; the same seed makes the same files."""
    tally, wholes = Tally(seed), seeds()
    survivors = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "a.mrc"
        path.write_bytes(wholes[2])
        check_input(path, read_map(path))
        had = _peak()
        for number in range(files):
            raw = mutated(random.Random(seed * 10**9 + number), wholes)
            path.write_bytes(raw)
            start = time.process_time()
            outcome = judged(path, lambda said, number=number: tally.bad.append((number, said)))
            seconds = time.process_time() - start
            tally.files += 1
            tally.outcomes[outcome] += 1
            tally.longest = max(tally.longest, seconds)
            if seconds > LONGEST:
                tally.bad.append((number, f"{seconds:.1f} s"))
            if _peak() - had > MOST:
                tally.bad.append((number, f"{(_peak() - had) / 1e3:.0f} MB"))
                had = _peak()
            if number % whole == whole - 1:
                survivors.append((number, raw))
        tally.growth = _peak() - had
        for number, raw in survivors:
            said = commanded(Path(name) / f"{number}.mrc", raw)
            tally.commands[said[0]] += 1
            if said[1]:
                tally.bad.append((number, said[1]))
    return tally


def judged(path, complain):
    """Read a file: the name of what became of it. Whatever should not happen is complained of."""
    try:
        found = check_input(path, read_map(path))
    except CryoresError as error:
        if "\n" in str(error):
            complain("several lines")
        return type(error).__name__
    except BaseException:  # of whatever kind: that is what is looked for
        complain(traceback.format_exc())
        return "traceback"
    if not np.isfinite(found.density.values).all() or found.density.values.dtype != np.float32:
        complain("values that are not finite float32")
    return "read, with warnings" if found.warnings else "read"


def commanded(path, raw):
    """Give a file to the whole command: what became of it, and what was wrong with that, if anything."""
    path.write_bytes(raw)
    noise = io.StringIO()
    job = plan(path, path.parent / f"{path.stem}_out", {})
    with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise):
        outcome = run_job(job, lazy_model(RunOptions(None, "cpu", 1)), 1, iter)
    there = sorted(made.name for made in job.outputs["locres"].parent.glob("*"))
    wrong = ""
    if "Traceback" in noise.getvalue() or "internal error" in (outcome.error or ""):
        wrong = noise.getvalue()
    elif there != ([] if outcome.error else sorted(made.name for made in job.outputs.values())):
        wrong = f"files: {there}"
    return "failed in words" if outcome.error else "done", wrong


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
