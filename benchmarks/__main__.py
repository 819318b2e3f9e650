"""Time and weigh the command on maps of many sizes, on this machine, in one run; write docs/PERFORMANCE.md.

    python -m benchmarks --boxes 128 256 512 --out docs/PERFORMANCE.md

Whole commands are new processes, with what the operating system says of them. Everything is measured `--runs` times
and the fastest is told: other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import maps

NECESSARY = ("band powers", "network")  # all else is overhead
COMMAND = [sys.executable, "-c", "from cryores_lite.cli import main; main()"]
SGEMM = 2048  # edge of the matrices that measure the machine


@dataclass(frozen=True)
class Whole:
    """A process: seconds on the wall and of all its threads, and its largest memory in MB."""

    wall: float
    cpu: float
    memory: float


def whole(command: list[str]) -> Whole:
    """Run a command as a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed: {said.decode()}")
    return Whole(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def sgemm(threads: int) -> float:
    """GFLOP per second of a matrix product in float32: what this machine can do."""
    code = (
        "import numpy, time\n"
        f"a = numpy.ones(({SGEMM}, {SGEMM}), 'f4'); a @ a; best = 9e9\n"
        "for _ in range(5):\n t = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - t)\n"
        f"print(2 * {SGEMM}**3 / best / 1e9)"
    )
    environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in ("OPENBLAS", "MKL", "OMP")}}
    return float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)


def flop_per_voxel() -> float:
    """Floating-point operations of the network's convolutions per working voxel."""
    import torch

    from cryores_lite.method.band_features import FEATURES, MAX_BANDS
    from cryores_lite.method.network_inputs import CHANNELS, CONTEXT
    from training.network import LocalResolutionNet

    network, total, edge = LocalResolutionNet(), 0.0, 32

    def count(layer: torch.nn.Conv3d, _: object, out: torch.Tensor) -> None:
        nonlocal total
        total += 2 * layer.weight[0].numel() * out.numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d):
            layer.register_forward_hook(count)
    quarter = (edge // 4,) * 3
    network(
        torch.zeros(1, FEATURES, MAX_BANDS),
        torch.zeros(1, 1, *(edge // 2,) * 3),
        torch.zeros(1, CHANNELS, *quarter),
        torch.zeros(1, CONTEXT),
        torch.ones(1, 1),
    )
    return total / edge**3


def steps(path: Path, threads: int) -> dict[str, float]:
    """Seconds by step, and what `benchmarks.steps` counts."""
    command = [sys.executable, "-m", "benchmarks.steps", str(path), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(folder: Path, edge: int, filling: float, threads: int, runs: int) -> dict[str, float]:
    """All figures of one size of map."""
    path = folder / f"{edge}.mrc"
    maps.write(path, edge, filling)
    command = [*COMMAND, str(path), "-o", str(folder / "out"), "--overwrite", "-q", "-j", str(threads)]
    commands = [whole(command) for _ in range(runs)]
    found = min((steps(path, threads) for _ in range(runs)), key=lambda s: s["whole"])
    path.unlink()
    fastest = min(commands, key=lambda c: c.wall)
    return {
        **found,
        "wall": fastest.wall,
        "cpu": fastest.cpu,
        "memory": max(c.memory for c in commands),
        "map": 4 * edge**3 / 1e6,
    }


def beside_peers(shared: Path, threads: int, runs: int) -> list[tuple[str, ...]]:
    """Means over the cases of a bench folder: our seconds now, the peers' as they were told."""
    mine, peers = [], defaultdict(list)
    with (shared / "bench" / "PEERS.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            figures = [float(row[key]) for key in ("seconds_wall", "seconds_cpu", "relative_rmse")]
            peers[f"{row['tool']}, {row['input']}"].append(figures)
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(shared.glob("bench/*/map.mrc.gz")):
            command = [*COMMAND, str(path), "-o", folder, "--overwrite", "-q", "-j", str(threads)]
            mine.append(min((whole(command) for _ in range(runs)), key=lambda w: w.wall))
    rows = [
        (
            "cryores_lite, single map",
            *(f"{np.mean([getattr(w, k) for w in mine]):.1f}" for k in ("wall", "cpu")),
            "[measured](ACCURACY.md)",
        )
    ]
    for name, figures in peers.items():
        wall, cpu, error = np.mean(figures, axis=0)
        rows.append((name, f"{wall:.1f}", f"{cpu:.1f}", f"{error:.3f}"))
    return rows


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(header)} |", f"|{'|'.join('---:' for _ in header)}|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def page(
    results: dict[tuple[int, float, int], dict[str, float]],
    speed: dict[int, float],
    light: dict[str, Whole],
    peers: list[tuple[str, ...]],
) -> str:
    """The page's figures."""
    wholes, shares = [], []
    for (edge, filling, threads), r in results.items():
        necessary = sum(r[step] for step in NECESSARY)
        megavoxels = edge**3 / 1e6
        wholes.append(
            (
                f"{edge}³",
                f"{filling:.0%}",
                str(threads),
                f"{r['wall']:.1f}",
                f"{r['cpu']:.1f}",
                f"{r['memory']:.0f}",
                f"{(r['memory'] - 400) / r['map']:.1f}",
                f"{r['whole'] / necessary:.2f}",
                f"{r['gflop'] / r['network']:.0f} ({r['gflop'] / r['network'] / speed[threads]:.0%})",
                f"{r['cpu'] / megavoxels:.2f}",
                f"{r['cpu'] / megavoxels / filling:.2f}",
            )
        )
        parts = {k: v for k, v in r.items() if k in STEPS}
        shares.append((f"{edge}³", f"{filling:.0%}", str(threads), *(f"{parts.get(k, 0):.2f}" for k in STEPS)))
    return "\n\n".join(
        (
            f"{platform.machine()}, {os.cpu_count()} processors; numpy's float32 matrix product: "
            + ", ".join(f"{gigaflops:.0f} GFLOP/s on {n}" for n, gigaflops in speed.items())
            + ".",
            "### Whole commands",
            table(
                (
                    "box",
                    "filled",
                    "threads",
                    "wall s",
                    "CPU s",
                    "peak MB",
                    "(peak − 400 MB) / map",
                    "whole / necessary",
                    "network GFLOP/s (of sgemm)",
                    "CPU s per Mvoxel of box",
                    "of molecule",
                ),
                wholes,
            ),
            "### Seconds by step",
            table(("box", "filled", "threads", *STEPS), shares),
            "### Without a map",
            table(("", "wall s", "CPU s"), [(name, f"{w.wall:.2f}", f"{w.cpu:.2f}") for name, w in light.items()]),
            *(("### Beside the peers", table(("", "wall s", "CPU s", "relative RMSE"), peers)) if peers else ()),
        )
    )


STEPS = (
    "import",
    "session",
    "read",
    "crop",
    "transform",
    "coverage",
    "outline",
    "band powers",
    "physical estimate",
    "evidence",
    "condition",
    "network",
    "restore",
    "write",
    "rest",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--fillings", type=float, nargs="+", default=[0.15, 0.4], help="molecule / box")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the maps; default: a temporary one")
    parser.add_argument("--shared", type=Path, help="folder of bench/: our time beside the peers'")
    parser.add_argument("--out", type=Path, help="page to write the figures into; default: print them")
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        speed = {n: sgemm(n) for n in args.threads}
        for edge in args.boxes:
            for filling in args.fillings:
                for threads in args.threads:
                    found = measure(Path(folder), edge, filling, threads, args.runs if edge < 512 else 1)
                    results[edge, filling, threads] = found
                    print(
                        f"{edge}³ {filling:.0%} {threads}: {found['wall']:.1f} s, {found['memory']:.0f} MB", flush=True
                    )
    light = {
        "cryores-lite --help": [*COMMAND, "--help"],
        "import cryores_lite": [sys.executable, "-c", "import cryores_lite"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    fastest = {name: min((whole(c) for _ in range(5)), key=lambda w: w.cpu) for name, c in light.items()}
    peers = beside_peers(args.shared, max(args.threads), args.runs) if args.shared else []
    operations = flop_per_voxel()  # last: torch would count as memory of what is started after it
    for found in results.values():
        found["gflop"] = found["voxels"] * operations / 1e9
    text = page(results, speed, fastest, peers)
    if args.out is None:
        print(text)
        return
    from benchmarks.plot import plot
    from training.evaluation.page import insert

    plot(results, args.out.with_name("performance.png"))
    insert(args.out, text)


if __name__ == "__main__":
    main()
