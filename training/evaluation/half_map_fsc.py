"""Score the local FSC of half maps, and the statistical method, beside the peers.

    python -m training.evaluation.half_map_fsc --shared ../shared --structures FOLDER --out docs/FSC.md

Prints the tables and writes them into the page between its markers. Times are CPU seconds of reading the files and of
the work, on one thread; the peers' are those of their table.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import fixed, one_bit
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.io.mrc import read_map
from cryores_lite.method.statistical import estimate_by_noise
from cryores_lite.types import Density, Grid, Volume
from training.evaluation.__main__ import Cells, Row, insert, mean_cells, read_peers, table
from training.evaluation.cases import Case, bench_cases
from training.evaluation.metrics import Scores, score
from training.maps.simulate import EVEN_NOISE, draw_map, draw_signal, truth_of
from training.maps.structures import read_manifest

COLUMNS = ("relative_rmse", "no_limit", "r", "bias", "coverage", "cpu_seconds")
HALVES, SINGLE = "two half maps", "single map"
OURS = {"**cryores_lite, FSC 0.143**": fixed(), "cryores_lite, FSC 0.5": fixed(0.5), "cryores_lite, FSC 1-bit": one_bit}
STATISTICAL = "**cryores_lite, statistical**"
UNEVEN = (-0.5, -0.2, 0.0, 0.25, 0.5, 1.0)  # power of the noise at the molecule, less 1
MAPS = 5  # of each
SEED = 2026
REPEATS = 3  # of which the least time counts: others work on the machine too
PLAIN = replace(EVEN_NOISE, resolution=(3.0, 8.0), usual=(0.0, (3.0, 8.0)))


def read_halves(folder: Path) -> tuple[tuple[Density, Density], Volume]:
    """The two half maps of a bench case, and its truth."""
    first, second, truth = (read_map(folder / f"{name}.mrc.gz").density for name in ("half1", "half2", "truth"))
    return (first, second), truth.values


def cells(found: Scores, free: Scores, seconds: float) -> Cells:
    """What a row shows."""
    return {
        "relative_rmse": found.relative_rmse,
        "no_limit": free.relative_rmse,
        "r": found.r,
        "bias": found.bias,
        "coverage": found.coverage,
        "cpu_seconds": seconds,
    }


def by_halves(folder: Path, limit: float) -> dict[str, Cells]:
    """Every threshold's scores on one case, by name."""
    told = {}
    for name, threshold in OURS.items():
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            pair, truth = read_halves(folder)
            values = local_fsc(*pair, threshold=threshold).values
            times.append(time.process_time() - start)
        everywhere = truth > 0
        told[name] = cells(score(values, truth, everywhere, limit), score(values, truth, everywhere), min(times))
    return told


def by_noise(case: Case) -> Cells:
    """The statistical method's scores on one case; nothing where it refuses."""
    start = time.process_time()
    try:
        found = estimate_by_noise(case.density)
    except InputError:
        return {}
    seconds = time.process_time() - start
    judged = score(found.values, case.truth, found.mask, case.limit)
    return cells(judged, score(found.values, case.truth, found.mask), seconds)


def peers_of(path: Path, kind: str) -> dict[str, dict[str, Cells]]:
    """Peers that were given `kind`, by tool and case, with what their table says of time and of unlimited scores."""
    peers = {who: cases for who, cases in read_peers(path).items() if who.endswith(kind)}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["input"] == kind:
                peers[f"{row['tool']}, {kind}"][row["case"]] |= {
                    "no_limit": float(row["relative_rmse_no_limit"]),
                    "cpu_seconds": float(row["seconds_cpu"]),
                }
    return peers


def scores_table(title: str, ours: dict[str, dict[str, Cells]], peers: dict[str, dict[str, Cells]]) -> str:
    """All cases, then means."""
    both, rows = ours | peers, list[Row]()
    for case in sorted({case for cases in both.values() for case in cases}):
        rows += [(case, who, cases[case]) for who, cases in both.items() if case in cases]
    for who, cases in both.items():
        done = [found for found in cases.values() if found]
        name = "**mean**" if len(done) == len(cases) else f"**mean of {len(done)}**"
        if done:
            rows.append((name, who, mean_cells(done)))
    return f"### {title}\n\n{table(rows, COLUMNS)}"


def verdict(ours: dict[str, Cells], peers: dict[str, dict[str, Cells]]) -> str:
    """The targets, met or not."""
    error, r = (float(np.mean([c[key] for c in ours.values()])) for key in ("no_limit", "r"))
    limited = float(np.mean([c["relative_rmse"] for c in ours.values()]))
    lines = [
        "| target | found |",
        "|---|---|",
        f"| mean relative RMSE at most 0.06 | {error:.3f}; with the map's low-pass as the limit {limited:.3f} |",
        f"| r at least 0.96 | {r:.3f} in the mean, {min(c['r'] for c in ours.values()):.3f} at worst |",
    ]
    worse = [
        f"{who} on {case}"
        for who, cases in peers.items()
        for case, found in cases.items()
        if min(found["relative_rmse"], found["no_limit"]) <= ours[case]["no_limit"] or found["r"] >= ours[case]["r"]
    ]
    lines.append(f"| better than each peer on every case | {'yes' if not worse else 'no: ' + ', '.join(worse)} |")
    for tool, wanted in (("RELION", "10 wanted"), ("blocres (cutoff 0.143)", "100 wanted at a step of one voxel")):
        ratios = [c["cpu_seconds"] / ours[case]["cpu_seconds"] for case, c in peers[f"{tool}, {HALVES}"].items()]
        lines.append(
            f"| {tool}'s CPU time over ours, {wanted} | {np.mean(ratios):.0f} in the mean, "
            f"{min(ratios):.1f} to {max(ratios):.1f} |"
        )
    return "### Targets\n\n" + "\n".join(lines)


def uneven_table(structures: Path) -> str:
    """The statistical method on simulated plain averages whose noise is stronger or weaker at the molecule."""
    rows = read_manifest(structures, "validation")
    lines = [
        "| noise power at the molecule | maps | level | relative RMSE | r | refused |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for extra in UNEVEN:
        recipe = replace(PLAIN, uneven_noise=1.0, at_molecule=(extra, extra))
        found, refused = [], 0
        for n in range(MAPS):
            rng = np.random.default_rng([SEED, n])
            simulated = draw_map(draw_signal(rows[n * len(rows) // MAPS], recipe, rng), recipe, rng)
            density = Density(simulated.density, Grid(simulated.density.shape, (simulated.voxel_size,) * 3))
            try:
                told = estimate_by_noise(density)
            except InputError:
                refused += 1
                continue
            found.append(score(told.values, truth_of(simulated), told.mask))
        means = [
            float(np.mean([getattr(s, name) for s in found])) if found else np.nan
            for name in ("level", "relative_rmse", "r")
        ]
        cell = f"{means[0]:+.3f} | {means[1]:.3f} | {means[2]:.3f}"
        lines.append(f"| {1 + extra:.2f} of the solvent's | {len(found)} | {cell} | {refused} |")
    return "### Noise that is stronger or weaker at the molecule (simulated)\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with bench/")
    parser.add_argument("--structures", type=Path, help="folder of structures: also uneven noise")
    parser.add_argument("--out", type=Path, help="Markdown page for the tables")
    args = parser.parse_args()
    bench = args.shared / "bench"
    cases = list(bench_cases(bench))
    found = {case.name: by_halves(bench / case.name, case.limit) for case in cases}
    ours = {name: {case: told[name] for case, told in found.items()} for name in OURS}
    single = {STATISTICAL: {case.name: by_noise(case) for case in cases}}
    peers = {kind: peers_of(bench / "PEERS.csv", kind) for kind in (HALVES, SINGLE)}
    parts = [
        verdict(ours[next(iter(OURS))], peers[HALVES]),
        scores_table("From two half maps", ours, peers[HALVES]),
        scores_table("From one map, without a network", single, peers[SINGLE]),
    ]
    if args.structures:
        parts.append(uneven_table(args.structures))
    print("\n\n".join(parts))
    if args.out:
        insert(args.out, "\n\n".join(parts))


if __name__ == "__main__":
    main()
