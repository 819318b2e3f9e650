"""Read randomly mutated maps. Each must be read or refused with a message, quickly and in little memory."""

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

MAX_CPU_SECONDS = 2.0  # for one file
MAX_MEMORY_GROWTH = 300_000  # kB
COMMAND_INTERVAL = 1000  # files; the complete command also runs on the last of them
INTEGERS = (0, 1, -1, 2, 3, 4, 7, 12, 255, 256, 1024, 4096, 65535, 65536, 2**24, 2**30, 2**31 - 1, -(2**31), 401, 101)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-20, 1e20, 3.4e38, float("inf"), float("-inf"), float("nan"))


@dataclass(kw_only=True)
class Tally:
    """Results of a campaign. `faults` are pairs of the number of a file and a traceback or another fault."""

    seed: int
    files: int = 0
    outcomes: collections.Counter = field(default_factory=collections.Counter)
    commands: collections.Counter = field(default_factory=collections.Counter)
    max_cpu_seconds: float = 0.0
    memory_growth: int = 0  # kB
    faults: list = field(default_factory=list)


def seed_maps():
    """Small intact maps of every supported mode, in both byte orders, with and without an extended header."""
    rng = np.random.default_rng(0)
    values = rng.normal(0, 30, (6, 7, 8))
    dtypes = ("<i1", "<i2", "<f4", "<u2", "<f2", ">f4", ">i2")
    maps = [
        mrc(np.abs(values).astype(dtype[1:]) if "u" in dtype else values.astype(dtype[1:]), order=dtype[0])
        for dtype in dtypes
    ]
    return [*maps, mrc(values.astype(np.float32), extended_header=bytes(range(160)))]


def mutated(rng, maps):
    """One of the maps with random changes to its header, data, length or compressed stream."""
    raw = bytearray(rng.choice(maps))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
        _change_header(rng, raw)
    for _ in range(rng.choice((0, 0, 0, 1, 4))):
        if len(raw) > 1028:
            struct.pack_into(rng.choice("<>") + "f", raw, rng.randrange(1024, len(raw) - 4), rng.choice(REALS))
    raw = _with_other_length(rng, raw)
    pack = rng.choice((None, None, None, GZ, BZ2))
    if pack is None:
        return bytes(raw)
    packed = bytearray(pack(bytes(raw)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        packed[rng.randrange(len(packed))] = rng.randrange(256)
    if rng.random() < 0.1:
        packed += pack(bytes(raw))
    return bytes(_with_other_length(rng, packed))


def _change_header(rng, raw):
    order, field = rng.choice("<<<>"), 4 * rng.randrange(56 if rng.random() < 0.9 else 256)
    mutation = rng.randrange(5)
    if mutation == 0:
        struct.pack_into(f"{order}i", raw, field, rng.choice(INTEGERS))
    elif mutation == 1:
        struct.pack_into(f"{order}f", raw, field, rng.choice(REALS))
    elif mutation == 2:
        raw[field + rng.randrange(4)] ^= 1 << rng.randrange(8)
    elif mutation == 3:
        struct.pack_into(f"{order}i", raw, field, rng.randrange(-(2**31), 2**31))
    else:
        other = 4 * rng.randrange(56)
        raw[field : field + 4], raw[other : other + 4] = raw[other : other + 4], raw[field : field + 4]


def _with_other_length(rng, raw):
    draw = rng.random()
    if draw < 0.1:
        return raw[: rng.randrange(len(raw) + 1)]
    if draw < 0.15:
        return raw + bytes(rng.randrange(1, 3000))
    return raw


def campaign(files, seed, folder=None, command_interval=COMMAND_INTERVAL):
    """Read `files` mutated maps, numbered from 0; equal seeds make equal files."""
    tally, maps = Tally(seed=seed), seed_maps()
    command_files = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "a.mrc"
        path.write_bytes(maps[2])
        check_input(path, read_map(path))
        memory = _peak_memory()
        for number in range(files):
            raw = mutated(random.Random(seed * 10**9 + number), maps)
            path.write_bytes(raw)
            start = time.process_time()
            outcome = read_and_judge(path, lambda fault, number=number: tally.faults.append((number, fault)))
            seconds = time.process_time() - start
            tally.files += 1
            tally.outcomes[outcome] += 1
            tally.max_cpu_seconds = max(tally.max_cpu_seconds, seconds)
            if seconds > MAX_CPU_SECONDS:
                tally.faults.append((number, f"{seconds:.1f} s"))
            growth = _peak_memory() - memory
            if growth > MAX_MEMORY_GROWTH:
                tally.faults.append((number, f"{growth / 1e3:.0f} MB"))
                memory = _peak_memory()
            if number % command_interval == command_interval - 1:
                command_files.append((number, raw))
        tally.memory_growth = _peak_memory() - memory
        for number, raw in command_files:
            outcome, fault = run_command(Path(name) / f"{number}.mrc", raw)
            tally.commands[outcome] += 1
            if fault:
                tally.faults.append((number, fault))
    return tally


def read_and_judge(path, report_fault):
    """Read a file and return the outcome; call `report_fault` with every fault."""
    try:
        source = check_input(path, read_map(path))
    except CryoresError as error:
        if "\n" in str(error):
            report_fault("several lines")
        return type(error).__name__
    except BaseException:  # noqa: BLE001 - every exception is a finding
        report_fault(traceback.format_exc())
        return "traceback"
    values = source.density.values
    if not np.isfinite(values).all() or values.dtype != np.float32:
        report_fault("values that are not finite float32")
    return "read, with warnings" if source.warnings else "read"


def run_command(path, raw):
    """Run the complete command on a file; return the outcome, and a fault or an empty text."""
    path.write_bytes(raw)
    printed = io.StringIO()
    job = plan(path, path.parent / f"{path.stem}_out", {})
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        outcome = run_job(job, lazy_model(RunOptions(None, "cpu", 1)), 1, iter)
    files = sorted(path.name for path in job.outputs["locres"].parent.glob("*"))
    planned = [] if outcome.error else sorted(path.name for path in job.outputs.values())
    fault = ""
    if "Traceback" in printed.getvalue() or "internal error" in (outcome.error or ""):
        fault = printed.getvalue()
    elif files != planned:
        fault = f"files: {files}"
    return "refused with a message" if outcome.error else "done", fault


def _peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
