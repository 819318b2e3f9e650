"""Estimate the cost of many maps from measurements of single ones: core-hours, memory, disk, and balance of parts.

    python -m benchmarks.scaling --out docs/SCALING.md

Reads the tables of docs/PERFORMANCE.md, fits a cost per megavoxel, and shares a random archive of maps among cores.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from cryores_lite.resources import estimated_memory
from training.evaluation.page import insert, text_table

PERFORMANCE = Path(__file__).resolve().parents[1] / "docs" / "PERFORMANCE.md"
MAPS = 50_000  # entries of EMDB, roughly
MEDIAN_EDGE, EDGE_LOG_STD, EDGE_RANGE = 300.0, 0.40, (64, 1000)  # voxels, log-normal
FILLING_RANGE = (0.05, 0.25)  # molecule / box, uniform
BYTES_READ, BYTES_WRITTEN = 3.0, 8.0  # per voxel: of .map.gz, and of two float32 maps
HANDLING_SECONDS = 0.03  # CPU, per megavoxel of box in a list: decompression (0.022), checksums of maps (0.009)
DISK_SPEED = 5e9  # bytes per second, of a shared disk for all tasks together
CORES = (16, 64, 256, 1024, 4096)
QUANTILES = (5, 50, 95, 99, 100)  # %
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """CPU seconds of the start of a process, and per megavoxel of box and of molecule."""

    start: float
    box: float
    molecule: float

    def of(self, megavoxels: Numbers, filled: Numbers) -> Numbers:
        """CPU seconds of maps, without the start of the process."""
        return self.box * megavoxels + self.molecule * megavoxels * filled


def read_measurements(page: str) -> list[tuple[float, float, float]]:
    """Megavoxels, share filled and CPU seconds of every command on one thread, from docs/PERFORMANCE.md."""
    rows = re.findall(r"^\| (\d+)³ \| (\d+)% \| 1 \| [\d.]+ \| ([\d.]+) \| \d+ \|", page, re.MULTILINE)
    return [(int(edge) ** 3 / 1e6, int(filled) / 100, float(cpu)) for edge, filled, cpu in rows]


def fit(rows: list[tuple[float, float, float]]) -> Cost:
    """Least squares of relative errors, no cost below 0."""
    megavoxels, filled, cpu = np.array(rows).T
    terms = np.stack([np.ones_like(cpu), megavoxels, megavoxels * filled], 1)
    start, box, molecule = nnls(terms / cpu[:, None], np.ones_like(cpu))[0]
    return Cost(float(start), float(box), float(molecule))


def archive(maps: int, seed: int = 0) -> tuple[Numbers, Numbers]:
    """Edges in voxels and fillings of the maps of an archive, drawn from the distributions above."""
    rng = np.random.default_rng(seed)
    edges = np.clip(np.exp(rng.normal(np.log(MEDIAN_EDGE), EDGE_LOG_STD, maps)), *EDGE_RANGE)
    return 2 * np.rint(edges / 2), rng.uniform(*FILLING_RANGE, maps)


def parts(seconds: Numbers, order: npt.NDArray[np.intp], count: int) -> Numbers:
    """Seconds of every part of a list of which each part takes every n-th map, as with `--shard`."""
    return np.array([seconds[order[n::count]].sum() for n in range(count)])


def makespans(seconds: Numbers, edges: Numbers, count: int, seed: int = 1) -> dict[str, float]:
    """Time of the longest part / mean time of the parts, for several orders of the list, and for one map at a time."""
    shuffled, by_size = np.random.default_rng(seed).permutation(len(seconds)), np.argsort(-edges, kind="stable")
    busy_until = np.zeros(count)
    for cost in seconds[by_size]:  # the first free core takes the largest remaining map
        busy_until[busy_until.argmin()] += cost
    longest = {
        "blocks, sorted by size": max(block.sum() for block in np.array_split(seconds[by_size], count)),
        "dealt, any order": parts(seconds, shuffled, count).max(),
        "dealt, sorted by size": parts(seconds, by_size, count).max(),
        "one at a time": busy_until.max(),
    }
    return {name: value * count / seconds.sum() for name, value in longest.items()}


def model_table(rows: list[tuple[float, float, float]], cost: Cost) -> str:
    """Measured CPU seconds of every command, and those of the model."""
    compared = [
        (
            f"{round((megavoxels * 1e6) ** (1 / 3))}³",
            f"{filled:.0%}",
            f"{cpu:.1f}",
            f"{cost.start + float(cost.of(*np.array([megavoxels, filled]))):.1f}",
        )
        for megavoxels, filled, cpu in rows
    ]
    return text_table(("box", "filled", "measured", "model"), compared)


def quantile_table(edges: Numbers, seconds: Numbers, memory: Numbers) -> str:
    """Quantiles of the maps of an archive."""
    rows = [
        (name, *(f"{np.percentile(values, q):.{digits}f}" for q in QUANTILES))
        for name, values, digits in (
            ("edge, voxels", edges, 0),
            ("CPU seconds", seconds, 1),
            ("memory if the molecule fills the box, GB", memory, 2),
        )
    ]
    return text_table(("", *(f"{q} %" if q < 100 else "largest" for q in QUANTILES)), rows)


def cores_tables(seconds: Numbers, edges: Numbers, terabytes: float) -> tuple[str, str]:
    """For several numbers of cores: the balance of parts by order of the list, and what limits the wall-clock time."""
    balances, hours = [], []
    for cores in CORES:
        ratios = makespans(seconds, edges, cores)
        balances.append((str(cores), str(MAPS // cores), *(f"{value:.2f}" for value in ratios.values())))
        work = ratios["dealt, sorted by size"] * seconds.sum() / cores
        disk = 1e12 * terabytes / DISK_SPEED
        limit = "disk" if disk > work else "one map" if seconds.max() > 0.9 * work else "processors"
        hours.append((str(cores), *(f"{time / 3600:.2f}" for time in (work, disk, seconds.max())), limit))
    return (
        text_table(("cores", "maps per core", *ratios), balances),
        text_table(("cores", "processors", "disk", "largest map", "limit"), hours),
    )


def page(rows: list[tuple[float, float, float]]) -> str:
    """The text and tables of the page, from rows of `read_measurements`."""
    cost, (edges, filled) = fit(rows), archive(MAPS)
    megavoxels = edges**3 / 1e6
    seconds = cost.of(megavoxels, filled) + HANDLING_SECONDS * megavoxels
    memory = np.array([estimated_memory((int(n),) * 3) for n in edges]) / 1e9
    read, written = BYTES_READ * megavoxels.sum() / 1e6, BYTES_WRITTEN * megavoxels.sum() / 1e6  # TB
    hours, starts = seconds.sum() / 3600, cost.start * MAPS / 3600
    per_core = (BYTES_READ + BYTES_WRITTEN) * megavoxels.sum() / seconds.sum()  # MB/s
    balances, limits = cores_tables(seconds, edges, read + written)
    text = (
        f"CPU seconds = {cost.start:.2f} + {cost.box:.3f} per megavoxel of box + {cost.molecule:.2f} per megavoxel of"
        " molecule. Comparison with the measurements on one thread:",
        model_table(rows, cost),
        f"An archive of {MAPS:,} maps under the assumptions above:",
        quantile_table(edges, seconds, memory),
        f"- **work**: {hours:,.0f} core-hours if each process handles many maps; {starts:,.0f} more if every map starts"
        " a process of its own.\n"
        f"- **disk**: {read:.1f} TB read (.map.gz), {written:.1f} TB written. A busy core reads and writes"
        f" {per_core:.0f} MB/s, so {DISK_SPEED / 1e9:g} GB/s suffice for {DISK_SPEED / per_core / 1e6:.0f} cores.\n"
        f"- **memory**: {np.mean(memory <= 2):.0%} of the maps fit into 2 GB, {np.mean(memory <= 4):.0%} into 4 GB.",
        "Time of the longest part / mean time of the parts, by how the list is divided among the cores:",
        balances,
        "Wall time in hours for each resource, if it were the only limit (dealt, sorted by size; one thread per task):",
        limits,
    )
    return "\n\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="page for the tables; default: print them")
    args = parser.parse_args()
    text = page(read_measurements(PERFORMANCE.read_text(encoding="utf-8")))
    if args.out is None:
        print(text)
        return
    insert(args.out, text)


if __name__ == "__main__":
    main()
