"""Tables of the independent maps: as shipped and processed, beside the programs that use half maps or single maps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from cryores_lite.method.network import Model
from training.evaluation.cases import NEUTRAL_PROCESSINGS, PROCESSINGS, Case
from training.evaluation.page import Cells, Row, mean_cells, mean_scores, scores_table, text_table
from training.evaluation.scoring import ScoredCase, score_case

PEER_COLUMNS = {
    "relative_rmse": "relative_rmse",
    "rmse": "rmse",
    "mae": "mae",
    "bias": "bias",
    "r": "pearson_r",
    "coverage": "coverage",
}
DETAILED_PROCESSINGS = 3  # the first of them are shown case by case

Peers = dict[str, dict[str, Cells]]  # scores by program and case
ByProcessing = dict[str, list[ScoredCase]]


def score_processings(cases: list[Case], model: Model) -> ByProcessing:
    """Score every case after every processing."""
    return {name: [score_case(change(case), model) for case in cases] for name, change in PROCESSINGS.items()}


def bench_tables(cases: list[Case], scored: ByProcessing, peers: Peers, model: Model) -> list[str]:
    """All tables of the independent maps."""
    detailed = list(scored.items())[:DETAILED_PROCESSINGS]
    return [
        processings_table(scored),
        level_table(scored),
        *(
            cases_table(f"Independent maps, {processing}", group, {} if n else peers)
            for n, (processing, group) in enumerate(detailed)
        ),
        neutral_processings_table(cases, next(iter(scored.values())), model),
    ]


def processings_table(scored: ByProcessing) -> str:
    """Means over the independent maps, by processing, beside the physical estimate and the constant."""
    rows: list[Row] = []
    for processing, cases in scored.items():
        rows.append((processing, "**cryores_lite**", mean_scores([s.scores for s in cases])))
        rows.append((processing, "physical estimate alone", mean_scores([s.physical for s in cases])))
        rows.append((processing, "phase coupling alone", mean_scores([s.coupling for s in cases])))
        constant = float(np.mean([s.scores.constant for s in cases]))
        rows.append((processing, "true median everywhere", {"relative_rmse": constant, "r": 0.0}))
    title = "### Independent maps: means over the cases, by processing"
    return f"{title}\n\n{scores_table(rows, first_column='processing')}"


def level_table(scored: ByProcessing) -> str:
    """Level error (median estimate / median truth - 1) of every case after every processing."""
    names = [s.case.name for s in next(iter(scored.values()))]
    rows = []
    for processing, cases in scored.items():
        levels = [s.scores.level for s in cases]
        rows.append((processing, *(f"{level:+.3f}" for level in levels), f"{np.mean(np.abs(levels)):.3f}"))
    table = text_table(("processing", *names, "mean absolute value"), rows, align="lr")
    return f"### Independent maps: level error by processing\n\n{table}"


def cases_table(title: str, cases: list[ScoredCase], peers: Peers) -> str:
    """Case by case: the model, the physical estimate, the constant and the peers; then the means."""
    rows: list[Row] = []
    for s in cases:
        name = s.case.name
        rows.append((name, "**cryores_lite**", s.scores.row()))
        rows.append((name, "physical estimate", s.physical.row()))
        rows.append((name, "phase coupling", s.coupling.row()))
        rows.append((name, "true median everywhere", {"relative_rmse": s.scores.constant, "r": 0.0}))
        rows += [(name, program, scores[name]) for program, scores in peers.items() if name in scores]
    rows.append(("**mean**", "**cryores_lite**", mean_scores([s.scores for s in cases])))
    rows.append(("mean", "physical estimate", mean_scores([s.physical for s in cases])))
    rows.append(("mean", "phase coupling", mean_scores([s.coupling for s in cases])))
    rows += [("mean", program, mean_cells(list(scores.values()))) for program, scores in peers.items()]
    return f"### {title}\n\n{scores_table(rows)}"


def neutral_processings_table(cases: list[Case], unprocessed: list[ScoredCase], model: Model) -> str:
    """Medians in Å, over the same molecule, after processings that change no information."""
    before = [s.scores.median for s in unprocessed]
    rows = [("as shipped", *(f"{median:.2f}" for median in before))]
    for processing, change in NEUTRAL_PROCESSINGS.items():
        after = [score_case(change(case), model).scores.median for case in cases]
        rows.append((processing, *(f"{a:.2f} ({a / b - 1:+.1%})" for a, b in zip(after, before, strict=True))))
    table = text_table(("processing", *(case.name for case in cases)), rows, align="lr")
    return f"### The same map, processed\n\nMedian in the true mask, Å.\n\n{table}"


def read_peers(path: Path) -> Peers:
    """The scores of other programs, by program and case."""
    peers: Peers = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            cells = {ours: float(row[theirs]) for ours, theirs in PEER_COLUMNS.items() if row[theirs]}
            peers.setdefault(f"{row['tool']}, {row['input']}", {})[row["case"]] = cells
    return peers
