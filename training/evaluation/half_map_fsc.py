"""Score the local FSC of half maps, and the statistical method, beside other programs.

    python -m training.evaluation.half_map_fsc --shared ../shared --structures FOLDER --out docs/FSC.md

Prints the tables and writes them into the page between its markers. Times are CPU seconds of reading the files and of
the computation, on one thread; those of other programs are from their table.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryores_lite.errors import InputError
from cryores_lite.fourier.fsc import Threshold, fixed_threshold, one_bit_threshold
from cryores_lite.half_maps.false_discovery import FalseDiscovery
from cryores_lite.half_maps.local_fsc import local_fsc
from cryores_lite.io.mrc import read_map
from cryores_lite.method.statistical import estimate_by_noise
from cryores_lite.types import Density, Volume
from training.evaluation.bench_tables import Peers, read_peers
from training.evaluation.cases import Case, bench_cases, case_of
from training.evaluation.metrics import Scores, score
from training.evaluation.page import Cells, Row, insert, mean_cells, scores_table, text_table
from training.maps.recipe import EVEN_NOISE
from training.maps.simulate import draw_map, draw_signal
from training.maps.structures import read_manifest

COLUMNS = ("relative_rmse", "no_limit", "r", "bias", "coverage", "cpu_seconds")
HALF_MAPS, SINGLE_MAP = "two half maps", "single map"  # inputs in the table of other programs
MAIN_THRESHOLD = "**cryores_lite, FSC 0.143**"
THRESHOLDS: dict[str, Threshold | FalseDiscovery] = {
    MAIN_THRESHOLD: fixed_threshold(),
    "cryores_lite, FSC 0.5": fixed_threshold(0.5),
    "cryores_lite, FSC 1-bit": one_bit_threshold,
    "cryores_lite, FSC FDR 1%": FalseDiscovery(),
}
STATISTICAL = "**cryores_lite, statistical**"
SPEED_TARGETS = (("RELION", "at least 10"), ("blocres (cutoff 0.143)", "at least 100 at a step of one voxel"))
NOISE_CHANGES = (-0.5, -0.2, 0.0, 0.25, 0.5, 1.0)  # power of the noise at the molecule / that of the solvent - 1
MAPS_PER_CHANGE = 5
SEED = 2026
REPEATS = 3  # the least time counts: other processes slow the machine down
RECIPE = replace(EVEN_NOISE, resolution=(3.0, 8.0), usual_share=0.0)


def read_halves(folder: Path) -> tuple[tuple[Density, Density], Volume]:
    """The two half maps of a bench case, and its truth."""
    first, second, truth = (read_map(folder / f"{name}.mrc.gz").density for name in ("half1", "half2", "truth"))
    return (first, second), truth.values


def cells(limited: Scores, unlimited: Scores, seconds: float) -> Cells:
    """The cells of a row: scores with and without the map's low-pass as the limit, and the time."""
    return {
        "relative_rmse": limited.relative_rmse,
        "no_limit": unlimited.relative_rmse,
        "r": limited.r,
        "bias": limited.bias,
        "coverage": limited.coverage,
        "cpu_seconds": seconds,
    }


def score_half_maps(folder: Path, limit: float) -> dict[str, Cells]:
    """Scores of the local FSC of one case, by threshold."""
    scores = {}
    for name, threshold in THRESHOLDS.items():
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            pair, truth = read_halves(folder)
            values = local_fsc(*pair, threshold=threshold).values
            times.append(time.process_time() - start)
        inside = truth > 0
        scores[name] = cells(score(values, truth, inside, limit), score(values, truth, inside), min(times))
    return scores


def score_statistical(case: Case) -> Cells:
    """Scores of the statistical method on one case; empty if it refuses the map."""
    start = time.process_time()
    try:
        estimate = estimate_by_noise(case.density)
    except InputError:
        return {}
    seconds = time.process_time() - start
    limited = score(estimate.values, case.truth, estimate.mask, case.low_pass_limit)
    return cells(limited, score(estimate.values, case.truth, estimate.mask), seconds)


def peers_with_input(path: Path, kind: str) -> Peers:
    """Scores, unlimited scores and times of the programs that were given `kind`, by program and case."""
    peers = {program: cases for program, cases in read_peers(path).items() if program.endswith(kind)}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["input"] == kind:
                peers[f"{row['tool']}, {kind}"][row["case"]] |= {
                    "no_limit": float(row["relative_rmse_no_limit"]),
                    "cpu_seconds": float(row["seconds_cpu"]),
                }
    return peers


def programs_table(title: str, ours: Peers, peers: Peers) -> str:
    """All cases, then means."""
    programs, rows = ours | peers, list[Row]()
    for case in sorted({case for cases in programs.values() for case in cases}):
        rows += [(case, program, cases[case]) for program, cases in programs.items() if case in cases]
    for program, cases in programs.items():
        answered = [scores for scores in cases.values() if scores]
        name = "**mean**" if len(answered) == len(cases) else f"**mean of {len(answered)}**"
        if answered:
            rows.append((name, program, mean_cells(answered)))
    return f"### {title}\n\n{scores_table(rows, COLUMNS)}"


def targets_table(ours: dict[str, Cells], peers: Peers) -> str:
    """The targets, met or not."""
    error, r = (float(np.mean([c[key] for c in ours.values()])) for key in ("no_limit", "r"))
    limited = float(np.mean([c["relative_rmse"] for c in ours.values()]))
    rows = [
        (
            "mean relative RMSE at most 0.06",
            f"{error:.3f}; {limited:.3f} if limited to the low-pass of the map",
        ),
        ("r at least 0.96", f"mean {r:.3f}, minimum {min(c['r'] for c in ours.values()):.3f}"),
    ]
    better = [
        f"{program} on {case}"
        for program, cases in peers.items()
        for case, theirs in cases.items()
        if min(theirs["relative_rmse"], theirs["no_limit"]) <= ours[case]["no_limit"] or theirs["r"] >= ours[case]["r"]
    ]
    rows.append(("better than every other program on every map", "yes" if not better else f"no: {', '.join(better)}"))
    for tool, target in SPEED_TARGETS:
        theirs_by_case = peers[f"{tool}, {HALF_MAPS}"]
        ratios = [theirs["cpu_seconds"] / ours[case]["cpu_seconds"] for case, theirs in theirs_by_case.items()]
        rows.append(
            (
                f"CPU time of {tool} / CPU time of cryores_lite, {target}",
                f"mean {np.mean(ratios):.0f}, range {min(ratios):.1f} to {max(ratios):.1f}",
            )
        )
    return f"### Targets\n\n{text_table(('target', 'measured'), rows, align='l')}"


def molecule_noise_table(structures: Path) -> str:
    """The statistical method on simulated plain averages whose noise is stronger or weaker at the molecule."""
    structure_rows = read_manifest(structures, "validation")
    rows = []
    for change in NOISE_CHANGES:
        recipe = replace(RECIPE, molecule_noise=1.0, molecule_noise_change=(change, change))
        scores = []
        for n in range(MAPS_PER_CHANGE):
            rng = np.random.default_rng([SEED, n])
            structure = structure_rows[n * len(structure_rows) // MAPS_PER_CHANGE]
            case = case_of(structure.id, draw_map(draw_signal(structure, recipe, rng), recipe, rng))
            try:
                estimate = estimate_by_noise(case.density)
            except InputError:
                continue
            scores.append(score(estimate.values, case.truth, estimate.mask))
        means = [
            float(np.mean([getattr(s, name) for s in scores])) if scores else np.nan
            for name in ("level", "relative_rmse", "r")
        ]
        rows.append(
            (
                f"{1 + change:.2f}",
                str(len(scores)),
                f"{means[0]:+.3f}",
                f"{means[1]:.3f}",
                f"{means[2]:.3f}",
                str(MAPS_PER_CHANGE - len(scores)),
            )
        )
    header = ("noise power, molecule / solvent", "maps", "level", "relative RMSE", "r", "refused")
    title = "### Noise that is stronger or weaker at the molecule (simulated)"
    return f"{title}\n\n{text_table(header, rows, align='lr')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with bench/")
    parser.add_argument("--structures", type=Path, help="folder of structures: also noise that changes at the molecule")
    parser.add_argument("--out", type=Path, help="Markdown page for the tables")
    args = parser.parse_args()
    bench = args.shared / "bench"
    cases = list(bench_cases(bench))
    by_case = {case.name: score_half_maps(bench / case.name, case.low_pass_limit) for case in cases}
    ours = {name: {case: scores[name] for case, scores in by_case.items()} for name in THRESHOLDS}
    statistical = {STATISTICAL: {case.name: score_statistical(case) for case in cases}}
    peers = {kind: peers_with_input(bench / "PEERS.csv", kind) for kind in (HALF_MAPS, SINGLE_MAP)}
    parts = [
        targets_table(ours[MAIN_THRESHOLD], peers[HALF_MAPS]),
        programs_table("From two half maps", ours, peers[HALF_MAPS]),
        programs_table("From one map, without a network", statistical, peers[SINGLE_MAP]),
    ]
    if args.structures:
        parts.append(molecule_noise_table(args.structures))
    print("\n\n".join(parts))
    if args.out:
        insert(args.out, "\n\n".join(parts))


if __name__ == "__main__":
    main()
