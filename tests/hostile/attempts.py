"""Give inputs to the whole command, in this process, and judge what becomes of them."""

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
from tests.hostile.catalogue import DONE, REFUSED, WARNED, Case
from tests.hostile.files import mrc


@dataclass(frozen=True)
class Attempt:
    """What became of an input: one of the outcomes, the line that told it, and all that was wrong with that."""

    case: Case
    outcome: str
    said: str
    seconds: float
    wrong: tuple[str, ...]


def attempt_all(cases):
    """Attempt many inputs with one network, each in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / str(n) for n in range(len(cases) + 1)]
        for folder in folders:
            folder.mkdir()
        usual = folders[-1] / "usual.mrc"
        usual.write_bytes(mrc())
        maps = [usual, *(case.make(folder) for case, folder in zip(cases, folders, strict=False))]
        stamps = [_stamp(path) for path in maps]
        jobs = [plan(path, path.parent / "out", {}) for path in maps]
        noise = io.StringIO()
        network = lazy_model(RunOptions(None, "cpu", 1))
        expected = None
        for n, (job, stamp) in enumerate(zip(jobs, stamps, strict=True)):
            start = time.perf_counter()
            with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise):
                outcome = run_job(job, network, 1, iter)
            if n == 0:
                assert outcome.error is None, outcome.error
                expected = _values(job)
                continue
            seconds = time.perf_counter() - start
            wrong = _wrong(cases[n - 1], job, outcome, expected, noise.getvalue())
            if _stamp(job.map_path) != stamp:
                wrong.append("the input was changed")
            noise.seek(0)
            noise.truncate()
            said = outcome.error or "; ".join(outcome.warnings)
            yield Attempt(
                cases[n - 1], _kind(outcome), said.replace(f"{job.map_path.parent}/", ""), seconds, tuple(wrong)
            )


def _wrong(case, job, outcome, expected, noise):
    """All that is not as it should be."""
    wrong, out = [], job.outputs["locres"].parent
    kind, said = _kind(outcome), outcome.error or " ".join(outcome.warnings)
    left = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if kind != case.outcome and not (case.outcome == WARNED == kind):
        wrong.append(f"{kind} instead of {case.outcome}")
    if case.says not in said:
        wrong.append(f"it does not say {case.says!r}")
    if "Traceback" in noise or "internal error" in said:
        wrong.append(f"a traceback: {noise.splitlines()[-1:]}")
    if "\n" in (outcome.error or "") or (outcome.error and ("found" not in said or "expected" not in said)):
        wrong.append("not one line of what was found and expected")
    if kind == REFUSED and left:
        wrong.append(f"files were left: {left}")
    if kind != REFUSED:
        if left != sorted(path.name for path in job.outputs.values()):
            wrong.append(f"other files than promised: {left}")
        elif case.same and not np.allclose(_values(job), expected, atol=1e-3):
            wrong.append("another answer than for the usual map")
        elif not np.isfinite(_values(job)).all():
            wrong.append("an answer that is not finite")
    return wrong


def _kind(outcome):
    return REFUSED if outcome.error else WARNED if outcome.warnings else DONE


def _values(job):
    return read_map(job.outputs["locres"]).density.values


def _stamp(path):
    """What must not change of an input."""
    with contextlib.suppress(OSError):
        about = path.lstat()
        whole = hashlib.sha256(path.read_bytes()).digest() if path.is_file() and about.st_size < 1e9 else b""
        return about.st_mode, about.st_size, about.st_mtime_ns, whole
    return None
