"""Time and memory of the command with half maps, and its CPU time beside that of RELION, measured in one run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks import maps
from benchmarks.process import COMMAND, ProcessCost, measure_process
from cryores_lite.io.mrc import read_map, write_map
from training.evaluation.page import text_table

FILLING = 0.15
OPTIONS: dict[str, tuple[str, ...]] = {
    "map alone": (),
    "--half-maps": ("--half-maps",),
    "--half-maps --directions": ("--half-maps", "--directions"),
    "--half-maps --filtered": ("--half-maps", "--filtered"),
}
LOCAL_FSC = """
import sys, time
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.io.mrc import read_map
start = time.process_time()
local_fsc(*(read_map(path).density for path in sys.argv[1:]))
print(time.process_time() - start)
"""
RELION = "relion_postprocess"
HEADER = ("box", "options", "threads", "wall s", "CPU s", "CPU s of the half maps", "peak MB", "(peak − 400 MB) / map")
RELION_HEADER = (
    "case",
    "RELION --locres",
    "local FSC alone",
    "ratio",
    "steps with half maps",
    "ratio",
    "the command with half maps",
    "ratio",
)


def fastest(command: list[str], runs: int, folder: Path | None = None) -> ProcessCost:
    """The run with the least CPU time; its memory is the largest of all runs."""
    costs = [measure_process(command, folder) for _ in range(runs)]
    best = min(costs, key=lambda cost: cost.cpu)
    return ProcessCost(best.wall, best.cpu, max(cost.memory for cost in costs))


def cost_table(folder: Path, boxes: list[int], threads: list[int], runs: int) -> str:
    """The table of the command on a map with two half maps of each box, with its options."""
    rows = []
    for edge in boxes:
        full, *halves = (maps.write(folder / f"{edge}_{n}.mrc", edge, FILLING, half=n) for n in (0, 1, 2))
        for count in threads:
            alone = 0.0
            for name, options in OPTIONS.items():
                arguments = [str(full)]
                for option in options:
                    arguments += [option, *map(str, halves)] if option == "--half-maps" else [option]
                command = [*COMMAND, *arguments, "-o", str(folder / "out"), "--overwrite", "-q", "-j", str(count)]
                cost = fastest(command, runs if edge < 512 else 1)
                alone = alone or cost.cpu
                of_map = (cost.memory - 400) / (4 * edge**3 / 1e6)
                cells = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{cost.cpu - alone:.1f}", f"{cost.memory:.0f}")
                rows.append((f"{edge}³", name, str(count), *cells, f"{of_map:.1f}"))
                print(*rows[-1], flush=True)
        for path in (full, *halves):
            path.unlink()
        shutil.rmtree(folder / "out", ignore_errors=True)
    return text_table(HEADER, rows, align="rlr")


def relion_table(shared: Path, folder: Path, runs: int, relion: dict[str, ProcessCost]) -> str:
    """The table of CPU seconds beside RELION on the cases of a bench folder, all measured now, on one thread.

    Ours reads the files as they are, compressed. `relion` is from `relion_costs`.
    """
    rows = []
    for case in bench_cases(shared):
        halves = half_map_files(case)
        ours = [*COMMAND, str(case / "map.mrc.gz"), "-o", str(folder), "--overwrite", "-q", "-j", "1"]
        alone = fastest(ours, runs).cpu
        command = fastest([*ours, "--half-maps", *map(str, halves)], runs).cpu
        process = [sys.executable, "-c", LOCAL_FSC, *map(str, halves)]
        local = min(float(subprocess.run(process, capture_output=True, check=True).stdout) for _ in range(runs))
        theirs = relion[case.name].cpu if case.name in relion else None
        cells = [part for ours_cpu in (local, command - alone, command) for part in with_ratio(theirs, ours_cpu)]
        rows.append((case.name, "not installed" if theirs is None else f"{theirs:.2f}", *cells))
        print(*rows[-1], flush=True)
    return text_table(RELION_HEADER, rows, align="lr")


def with_ratio(theirs: float | None, ours: float) -> tuple[str, str]:
    """CPU seconds of ours, and how many times as long RELION takes."""
    return f"{ours:.2f}", "" if theirs is None else f"{theirs / ours:.1f}"


def relion_costs(shared: Path, folder: Path, runs: int) -> dict[str, ProcessCost]:
    """Cost of RELION's local resolution on each case, with its own settings; empty where it is not installed.

    RELION reads the half maps as 32-bit files.
    """
    costs: dict[str, ProcessCost] = {}
    for case in bench_cases(shared) if shutil.which(RELION) else []:
        names = ("half1.mrc", "half2.mrc")
        for name, path in zip(names, half_map_files(case), strict=True):
            half = read_map(path)
            write_map(folder / name, half.density.values, half.header, label="half map for RELION", overwrite=True)
        voxel_size = f"{half.density.grid.voxel_size[0]:.6g}"
        command = [RELION, "--i", names[0], "--i2", names[1], "--o", "relion", "--angpix", voxel_size, "--locres"]
        costs[case.name] = fastest(command, runs, folder)
        print(case.name, RELION, costs[case.name], flush=True)
    return costs


def bench_cases(shared: Path) -> list[Path]:
    """The folders of a bench with half maps."""
    return sorted(path.parent for path in shared.glob("bench/*/half1.mrc.gz"))


def half_map_files(case: Path) -> list[Path]:
    """The two half maps of a case."""
    return [case / f"half{n}.mrc.gz" for n in (1, 2)]
