"""Measure the time and memory of the command on maps of many sizes, on this machine; write docs/PERFORMANCE.md.

    python -m benchmarks --boxes 128 256 512 --out docs/PERFORMANCE.md

Commands run in new processes, measured by the operating system. Everything is measured `--runs` times and the fastest
run counts: other processes on the machine only add to the time.
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
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks import half_maps, maps
from benchmarks.process import COMMAND, ProcessCost, measure_process
from training.evaluation.page import insert, insert_section, text_table

HALF_MAPS, RELION = "Half maps", "Half maps beside RELION"  # sections of the page
RELION_ROW = "RELION, two half maps"  # in the table of other programs
NECESSARY_STEPS = ("powers and coupling", "network")  # all others are overhead
MATRIX_EDGE = 2048  # of the products that measure the machine
BATCH_EDGE, BATCH_MAPS = 256, 4  # voxels, and maps of one process whose throughput is measured
STEPS = (
    "import",
    "open model",
    "read",
    "crop",
    "transform",
    "edge weight",
    "molecule",
    "powers and coupling",
    "physical estimate",
    "band features",
    "network inputs",
    "network",
    "assemble",
    "write",
    "other",
)
COMMAND_HEADER = (
    "box",
    "filled",
    "threads",
    "wall s",
    "CPU s",
    "peak MB",
    "(peak − 400 MB) / map",
    "total / necessary",
    "network GFLOP/s (of sgemm)",
    "CPU s per Mvoxel of box",
    "of molecule",
)


def sgemm(threads: int) -> float:
    """GFLOP per second of a matrix product in float32, as a measure of the machine."""
    code = (
        "import numpy, time\n"
        f"a = numpy.ones(({MATRIX_EDGE}, {MATRIX_EDGE}), 'f4'); a @ a; best = 9e9\n"
        "for _ in range(5):\n t = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - t)\n"
        f"print(2 * {MATRIX_EDGE}**3 / best / 1e9)"
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
    """Seconds by step, and the number of voxels, as `benchmarks.steps` prints them."""
    command = [sys.executable, "-m", "benchmarks.steps", str(path), "--threads", str(threads)]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    seconds: dict[str, float] = json.loads(printed)
    return seconds


def measure(
    folder: Path, edge: int, filling: float, threads: int, runs: int, kind: maps.MapKind = maps.BALL
) -> dict[str, float]:
    """All measurements of one map."""
    path = maps.write(folder / f"{edge}.mrc", edge, filling, kind)
    costs = [measure_process(command_for(folder, threads, path)) for _ in range(runs)]
    seconds = min((steps(path, threads) for _ in range(runs)), key=lambda s: s["total"])
    path.unlink()
    fastest = min(costs, key=lambda c: c.wall)
    return {
        **seconds,
        "wall": fastest.wall,
        "cpu": fastest.cpu,
        "memory": max(c.memory for c in costs),
        "map": 4 * edge**3 / 1e6,
    }


def command_for(folder: Path, threads: int, *paths: Path) -> list[str]:
    """The command for maps."""
    names = [str(path) for path in paths]
    return [*COMMAND, *names, "-o", str(folder / "out"), "--overwrite", "-q", "-j", str(threads)]


def maps_per_hour(folder: Path, threads: int, runs: int) -> float:
    """Maps of `BATCH_EDGE`³ voxels, 15 % filled, that one process finishes in an hour after its first map."""
    paths = [folder / f"batch_{n}.mrc" for n in range(BATCH_MAPS)]
    for path in paths:
        maps.write(path, BATCH_EDGE, 0.15)
    one, many = (
        min(measure_process(command_for(folder, threads, *paths[:count])).wall for _ in range(runs))
        for count in (1, BATCH_MAPS)
    )
    for path in paths:
        path.unlink()
    return 3600 * (BATCH_MAPS - 1) / (many - one)


def compare_with_peers(shared: Path, threads: int, runs: int, relion: dict[str, ProcessCost]) -> list[tuple[str, ...]]:
    """Mean seconds over the cases of a bench folder: ours and `relion` measured now, others from their table."""
    ours: list[ProcessCost] = []
    peers: dict[str, list[list[float]]] = defaultdict(list)
    with (shared / "bench" / "PEERS.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            values = [float(row[key]) for key in ("seconds_wall", "seconds_cpu", "relative_rmse")]
            peers[f"{row['tool']}, {row['input']}"].append(values)
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(shared.glob("bench/*/map.mrc.gz")):
            command = [*COMMAND, str(path), "-o", folder, "--overwrite", "-q", "-j", str(threads)]
            ours.append(min((measure_process(command) for _ in range(runs)), key=lambda c: c.wall))
    rows: list[tuple[str, ...]] = [
        (
            "cryores_lite, single map",
            *(f"{np.mean([getattr(cost, key) for cost in ours]):.1f}" for key in ("wall", "cpu")),
            "[measured](ACCURACY.md)",
        )
    ]
    for name, values_by_case in peers.items():
        wall, cpu, error = np.mean(values_by_case, axis=0)
        if name == RELION_ROW and relion:
            wall, cpu = (np.mean([getattr(cost, key) for cost in relion.values()]) for key in ("wall", "cpu"))
        name += "" if name == RELION_ROW and relion else " (another run)"
        rows.append((name, f"{wall:.1f}", f"{cpu:.1f}", f"{error:.3f}"))
    return rows


def command_row(edge: int, filling: float, threads: int, measured: dict[str, float], speed: float) -> tuple[str, ...]:
    """The row of one map in the table of commands; `speed` is that of matrix products, in GFLOP per second."""
    necessary = sum(measured[step] for step in NECESSARY_STEPS)
    megavoxels = edge**3 / 1e6
    gflops = measured["gflop"] / measured["network"]
    return (
        f"{edge}³",
        f"{filling:.0%}",
        str(threads),
        f"{measured['wall']:.1f}",
        f"{measured['cpu']:.1f}",
        f"{measured['memory']:.0f}",
        f"{(measured['memory'] - 400) / measured['map']:.1f}",
        f"{measured['total'] / necessary:.2f}",
        f"{gflops:.0f} ({gflops / speed:.0%})",
        f"{measured['cpu'] / megavoxels:.2f}",
        f"{measured['cpu'] / megavoxels / filling:.2f}",
    )


def step_row(edge: int, filling: float, threads: int, measured: dict[str, float]) -> tuple[str, ...]:
    """The row of one map in the table of steps."""
    return f"{edge}³", f"{filling:.0%}", str(threads), *(f"{measured.get(step, 0):.2f}" for step in STEPS)


def page(
    results: dict[tuple[int, float, int], dict[str, float]],
    costly: dict[tuple[str, int], dict[str, float]],
    throughput: dict[int, float],
    speed: dict[int, float],
    without_map: dict[str, ProcessCost],
    peers: list[tuple[str, ...]],
    sections: dict[str, str],
) -> str:
    """The tables of the page."""
    products = ", ".join(f"{gigaflops:.0f} GFLOP/s on {n}" for n, gigaflops in speed.items())
    parts = [
        f"{platform.machine()}, {os.cpu_count()} processors; numpy's float32 matrix product: {products}.",
        "### Full commands",
        text_table(COMMAND_HEADER, [command_row(*key, measured, speed[key[2]]) for key, measured in results.items()]),
        "### Seconds by step",
        text_table(("box", "filled", "threads", *STEPS), [step_row(*key, r) for key, r in results.items()]),
        *costly_kinds(costly, speed),
        *maps_of_a_batch(throughput),
        "### Start-up",
        text_table(("", "wall s", "CPU s"), [(n, f"{c.wall:.2f}", f"{c.cpu:.2f}") for n, c in without_map.items()]),
    ]
    parts += [part for title, text in sections.items() for part in (f"### {title}", text)]
    if peers:
        parts += ["### Comparison with other programs", text_table(("", "wall s", "CPU s", "relative RMSE"), peers)]
    return "\n\n".join(parts)


def half_map_sections(args: argparse.Namespace, folder: Path, relion: dict[str, ProcessCost]) -> dict[str, str]:
    """Sections of the page about half maps: those of `--only`, or all."""
    chosen = args.only or ["half-maps", "relion"]
    sections = {}
    if "half-maps" in chosen:
        sections[HALF_MAPS] = half_maps.cost_table(folder, args.half_map_boxes, args.threads, args.runs)
    if "relion" in chosen and args.shared:
        sections[RELION] = half_maps.relion_table(args.shared, folder, args.runs, relion)
    return sections


def costly_kinds(costly: dict[tuple[str, int], dict[str, float]], speed: dict[int, float]) -> list[str]:
    """The tables of costly kinds of maps, if they were measured."""
    if not costly:
        return []
    commands, seconds = [], []
    for (name, threads), measured in costly.items():
        _, edge, filling = maps.COSTLY_KINDS[name]
        commands.append((name, *command_row(edge, filling, threads, measured, speed[threads])))
        seconds.append((name, *step_row(edge, filling, threads, measured)))
    return [
        "### Costly kinds of maps",
        text_table(("kind", *COMMAND_HEADER), commands),
        text_table(("kind", "box", "filled", "threads", *STEPS), seconds),
    ]


def maps_of_a_batch(throughput: dict[int, float]) -> list[str]:
    """The table of maps per hour, if they were measured."""
    if not throughput:
        return []
    rows = [(f"{BATCH_EDGE}³", "15%", str(threads), f"{count:.0f}") for threads, count in throughput.items()]
    return ["### Maps of one batch", text_table(("box", "filled", "threads", "maps per hour"), rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--half-map-boxes", type=int, nargs="+", default=[256, 512, 768])
    parser.add_argument("--fillings", type=float, nargs="+", default=[0.15, 0.4], help="molecule / box")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kinds", nargs="*", choices=maps.COSTLY_KINDS, default=list(maps.COSTLY_KINDS))
    parser.add_argument("--no-batch", action="store_true", help="leave out the maps per hour")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("half-maps", "relion"), help="replace only these sections")
    parser.add_argument("--folder", type=Path, help="for the maps; default: a temporary one")
    parser.add_argument("--shared", type=Path, help="folder with bench/: compare with the times of other programs")
    parser.add_argument("--out", type=Path, help="page for the tables; default: print them")
    args = parser.parse_args()
    if args.only == ["relion"] and not args.shared:
        parser.error("--only relion needs --shared")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        with_relion = args.shared and args.only != ["half-maps"]
        relion = half_maps.relion_costs(args.shared, folder, args.runs) if with_relion else {}
        sections = half_map_sections(args, folder, relion)
    if args.only:
        for title, text in sections.items():
            if args.out:
                insert_section(args.out, title, text)
            else:
                print(f"### {title}\n\n{text}\n")
        return
    results, costly, throughput = {}, {}, {}
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        speed = {n: sgemm(n) for n in args.threads}
        for edge in args.boxes:
            for filling in args.fillings:
                for threads in args.threads:
                    measured = measure(folder, edge, filling, threads, args.runs if edge < 512 else 1)
                    results[edge, filling, threads] = measured
                    print(
                        f"{edge}³ {filling:.0%} {threads}: {measured['wall']:.1f} s, {measured['memory']:.0f} MB",
                        flush=True,
                    )
        for title in args.kinds:
            kind, edge, filling = maps.COSTLY_KINDS[title]
            for threads in args.threads:
                costly[title, threads] = measure(folder, edge, filling, threads, args.runs, kind)
                print(f"{title} {threads}: {costly[title, threads]['wall']:.1f} s", flush=True)
        if not args.no_batch:
            throughput = {n: maps_per_hour(folder, n, args.runs) for n in args.threads}
    commands = {
        "cryores-lite --help": [*COMMAND, "--help"],
        "import cryores_lite": [sys.executable, "-c", "import cryores_lite"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    fastest = {name: min((measure_process(c) for _ in range(5)), key=lambda c: c.cpu) for name, c in commands.items()}
    peers = compare_with_peers(args.shared, max(args.threads), args.runs, relion) if args.shared else []
    operations = flop_per_voxel()  # last: the memory of torch would count for processes started after it
    for measured in (*results.values(), *costly.values()):
        measured["gflop"] = measured["voxels"] * operations / 1e9
    text = page(results, costly, throughput, speed, fastest, peers, sections)
    if args.out is None:
        print(text)
        return
    from benchmarks.plot import plot

    plot(results, args.out.with_name("performance.png"))
    insert(args.out, text)


if __name__ == "__main__":
    main()
