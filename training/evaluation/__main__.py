"""Score a model on maps that the simulator did not make, compare it with other programs, and write the accuracy page.

    python -m training.evaluation --shared ../shared --structures ../shared/data/structures --out docs/ACCURACY.md

Prints the tables and writes them, with pictures of the bench cases, into the page between its markers; the first
table also goes into the model card (`--card`). The simulated maps of validation structures come last: choices are
made on these maps only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cryores_lite.method.network import Model
from training.evaluation.bench_tables import bench_tables, cases_table, read_peers, score_processings
from training.evaluation.cases import bench_cases, cases_at_range_ends, labelled_cases, simulated_cases
from training.evaluation.page import insert
from training.evaluation.pictures import draw
from training.evaluation.real_map_tables import deposited_resolution_table, other_programs_table
from training.evaluation.scoring import ScoredCase, score_case
from training.evaluation.simulated_tables import interval_table, range_table, simulated_tables


def accuracy_tables(args: argparse.Namespace, model: Model) -> tuple[list[str], list[ScoredCase]]:
    """The parts of the page for the data that are given, and the unprocessed independent cases."""
    parts = [f"Model {model.spec.name} {model.spec.version}, sha256 {model.sha256[:16]}."]
    independent: list[ScoredCase] = []
    if args.shared:
        cases = list(bench_cases(args.shared / "bench"))
        scored = score_processings(cases, model)
        independent = next(iter(scored.values()))
        parts += bench_tables(cases, scored, read_peers(args.shared / "bench" / "PEERS.csv"), model)
        others = [score_case(case, model) for case in bench_cases(args.shared / "bench2")]
        parts.append(cases_table("Independent maps of a filament (f1) and a membrane protein (m1)", others, {}))
        maps = args.shared / "data" / "maps"
        parts += [deposited_resolution_table(maps, model), other_programs_table(maps, model)]
    if args.labels:
        labelled = [score_case(case, model) for case in labelled_cases(args.labels)]
        parts.append(cases_table("Real maps with labels", labelled, {}))
    if args.structures:
        parts.append(range_table([score_case(case, model) for case in cases_at_range_ends(args.structures)]))
        simulated = [score_case(case, model) for case in simulated_cases(args.structures, args.simulated)]
        parts += [interval_table({"independent": independent, "simulated": simulated}), simulated_tables(simulated)]
    return parts, independent


def draw_all(scored: list[ScoredCase], page: Path) -> list[str]:
    """Draw every case into a file beside the page. Returns the sections that show them."""
    sections = []
    for s in scored:
        name, picture = s.case.name, page.with_name(f"accuracy_{s.case.name}.png")
        draw(s, picture)
        sections.append(f"### {name}\n\n![{name}: map, truth, estimate, error, uncertainty]({picture.name})")
    return sections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with bench/ and data/maps/")
    parser.add_argument("--structures", type=Path, help="folder of structures: also score simulated validation maps")
    parser.add_argument("--labels", type=Path, help="CSV of real maps with half maps (docs/training.md)")
    parser.add_argument("--simulated", type=int, default=48, help="number of simulated validation maps")
    parser.add_argument("--model", type=Path, help="ONNX file; the shipped one by default")
    parser.add_argument("--out", type=Path, help="Markdown page for all tables, with pictures beside it")
    parser.add_argument("--card", type=Path, help="Markdown page for the first table")
    args = parser.parse_args()
    parts, independent = accuracy_tables(args, Model.open(args.model, device="cpu"))
    print("\n\n".join(parts))
    if args.out:
        insert(args.out, "\n\n".join([*parts, *draw_all(independent, args.out)]))
    if args.card:
        insert(args.card, "\n\n".join(parts[:2]))


if __name__ == "__main__":
    main()
