"""Run the command on one map in this process and print the seconds of each step, as JSON.

    python -m benchmarks.steps MAP --threads 2

The functions in `STEPS` and the runs of the inference session are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

STEPS = {
    "cryores_lite.method.prepare": {
        "molecule_box": "crop",
        "soften": "crop",
        "transform_box": "transform",
        "coarse_coverage": "edge weight",
        "outline_molecule": "molecule",
        "measure_powers_and_coupling": "powers and coupling",
    },
    "cryores_lite.method.pipeline": {
        "solvent_estimate": "physical estimate",
        "band_features": "band features",
        "network_inputs": "network inputs",
        "assemble": "assemble",
    },
    "cryores_lite.io.mrc": {"read_map": "read", "write_map": "write"},
}


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[step] += time.perf_counter() - start

        return wrapper


class Session:
    """An inference session whose runs are timed."""

    def __init__(self, session: Any, clock: Clock) -> None:
        self.session, self.voxels, self.timed = session, 0, clock.timed("network", session.run)

    def run(self, outputs: Any, feed: dict[str, Any]) -> Any:
        self.voxels += 8 * feed["density"].size
        return self.timed(outputs, feed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def run(path: Path, threads: int) -> dict[str, float]:
    """Seconds by step of one map (`other`: outside of all steps), and the number of the network's working voxels."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as the command does
    clock, start = Clock(), time.perf_counter()
    from cryores_lite import job
    from cryores_lite.io import mrc
    from cryores_lite.method import pipeline, prepare
    from cryores_lite.method.network import Model
    from cryores_lite.outputs.result import Job

    clock.seconds["import"] = time.perf_counter() - start
    for module in (prepare, pipeline, mrc):
        for name, step in STEPS[module.__name__].items():
            setattr(module, name, clock.timed(step, getattr(module, name)))
    session_start = time.perf_counter()
    model = Model.open(None, device="cpu", threads=threads)
    clock.seconds["open model"] = time.perf_counter() - session_start
    session = Session(model.session, clock)
    model = replace(model, session=session)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        outputs = {what: Path(folder) / f"{what}.mrc" for what in ("locres", "mask")}
        result = job.run_job(Job(map_path=path, outputs=outputs), lambda: model, threads, iter)
        assert result.error is None, result.error
    total = time.perf_counter() - start
    outside_steps = total - sum(clock.seconds.values())
    return {**clock.seconds, "other": outside_steps, "total": total, "voxels": session.voxels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("map", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(json.dumps(run(args.map, args.threads)))


if __name__ == "__main__":
    main()
