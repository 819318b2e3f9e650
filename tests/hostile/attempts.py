"""Run the complete command on hostile inputs in this process, and judge the outcomes."""

import contextlib
import hashlib
import io
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryores_lite.io.mrc import read_map
from cryores_lite.job import RunOptions, lazy_model, plan, run_job
from tests.hostile.catalogue import ANY, DONE, REFUSED, WARNED, Case
from tests.hostile.files import mrc


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One case after the run.

    Attributes
    ----------
    case : the input
    outcome : REFUSED, WARNED or DONE
    message : the error, or all warnings
    seconds : duration
    faults : differences from the expected outcome
    """

    case: Case
    outcome: str
    message: str
    seconds: float
    faults: tuple[str, ...]


def attempt_all(cases):
    """Attempt many inputs with one network, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / str(number) for number in range(len(cases) + 1)]
        for folder in folders:
            folder.mkdir()
        unchanged = folders[-1] / "unchanged.mrc"
        unchanged.write_bytes(mrc())
        maps = [unchanged, *(case.make(folder) for case, folder in zip(cases, folders, strict=False))]
        fingerprints = [fingerprint(path) for path in maps]
        jobs = [plan(path, path.parent / "out", {}) for path in maps]
        printed = io.StringIO()
        network = lazy_model(RunOptions(None, "cpu", 1))
        expected = None
        for number, (job, before) in enumerate(zip(jobs, fingerprints, strict=True)):
            start = time.perf_counter()
            with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
                outcome = run_job(job, network, 1, iter)
            if number == 0:
                assert outcome.error is None, outcome.error
                expected = _values(job)
                continue
            seconds = time.perf_counter() - start
            case = cases[number - 1]
            faults = _faults(case, job, outcome, expected, printed.getvalue())
            if fingerprint(job.map_path) != before:
                faults.append("the input was changed")
            printed.seek(0)
            printed.truncate()
            message = (outcome.error or "; ".join(outcome.warnings)).replace(f"{job.map_path.parent}/", "")
            yield Attempt(case=case, outcome=_outcome(outcome), message=message, seconds=seconds, faults=tuple(faults))


def _faults(case, job, outcome, expected, printed):
    """Differences of an outcome from that which its case expects."""
    faults, folder = [], job.outputs["locres"].parent
    kind, message = _outcome(outcome), outcome.error or " ".join(outcome.warnings)
    files = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if kind != case.outcome and case.outcome != ANY:
        faults.append(f"{kind} instead of {case.outcome}")
    if case.message not in message:
        faults.append(f"the message does not contain {case.message!r}")
    if "Traceback" in printed or "internal error" in message:
        faults.append(f"a traceback: {printed.splitlines()[-1:]}")
    if "\n" in (outcome.error or "") or (outcome.error and ("found" not in message or "expected" not in message)):
        faults.append("the error is not one line with the words found and expected")
    if kind == REFUSED and files:
        faults.append(f"files were left: {files}")
    if kind != REFUSED:
        if files != sorted(path.name for path in job.outputs.values()):
            faults.append(f"other files than planned: {files}")
        elif case.same and not np.allclose(_values(job), expected, atol=1e-3):
            faults.append("another result than for the unchanged map")
        elif not np.isfinite(_values(job)).all():
            faults.append("a result that is not finite")
        elif kind == DONE and case.within is not None and not _median_error(job, expected) <= case.within:
            faults.append(f"a median that is wrong by {_median_error(job, expected):.0%}, without a warning")
    return faults


def _outcome(outcome):
    return REFUSED if outcome.error else WARNED if outcome.warnings else DONE


def _values(job):
    return read_map(job.outputs["locres"]).density.values


def _median_error(job, expected):
    medians = [float(np.median(values[values > 0])) for values in (_values(job), expected)]
    return abs(medians[0] / medians[1] - 1)


def fingerprint(path):
    """Mode, size, time and digest of an input, to detect changes; None if it cannot be read."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        is_small_file = path.is_file() and status.st_size < 1e9
        digest = hashlib.sha256(path.read_bytes()).digest() if is_small_file else b""
        return status.st_mode, status.st_size, status.st_mtime_ns, digest
    return None
