"""Tables of simulated maps of validation structures, and of the 80 % interval."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from training.evaluation.page import Row, mean_scores, scores_table, text_table
from training.evaluation.scoring import ScoredCase

RESOLUTION_CLASSES = (0.0, 2.5, 4.0, 7.0, 12.0, 20.0, 50.0)  # Å
RANGE_HEADER = ("map", "true median Å", "median Å", "relative RMSE", "r", "working voxel Å")
INTERVAL_HEADER = ("maps", "number", "mean share in the interval", "standard deviation over maps", "standard error")


def resolution_class(scored: ScoredCase) -> str:
    """The range of resolution in which the truth's median lies."""
    return next(f"{a:g}-{b:g} Å" for a, b in itertools.pairwise(RESOLUTION_CLASSES) if scored.case.median < b)


GROUPS: dict[str, Callable[[ScoredCase], str]] = {
    "masking": lambda scored: scored.case.masking,
    "kind of molecule": lambda scored: scored.case.kind,
    "editing": lambda scored: scored.case.editing,
    "resolution": resolution_class,
}


def simulated_tables(cases: list[ScoredCase]) -> str:
    """Means over simulated maps of validation structures, by masking, kind of molecule, editing and resolution."""
    parts = []
    for title, group in GROUPS.items():
        rows: list[Row] = []
        for name in dict.fromkeys(sorted(map(group, cases))):
            rows += mean_rows(name, [s for s in cases if group(s) == name])
        parts.append(f"### Simulated maps of validation structures, by {title}\n\n{scores_table(rows)}")
    return "\n\n".join(parts)


def mean_rows(name: str, scored: list[ScoredCase]) -> list[Row]:
    """Means over cases: the model, the physical estimate, and the true median everywhere."""
    label = f"{name} ({len(scored)})"
    return [
        (label, "**cryores_lite**", mean_scores([s.scores for s in scored])),
        (label, "physical estimate", mean_scores([s.physical for s in scored])),
        (label, "phase coupling", mean_scores([s.coupling for s in scored])),
        (label, "true median everywhere", {"relative_rmse": float(np.mean([s.scores.constant for s in scored]))}),
    ]


def interval_table(scored: dict[str, list[ScoredCase]]) -> str:
    """The share of the truth within the 80 % interval: its mean over maps, and its spread.

    The errors within a map are correlated, so that a few maps give the mean only to within its standard error.
    """
    rows = []
    for name, cases in scored.items():
        held = np.array([s.scores.held for s in cases])
        spread = float(held.std(ddof=1))
        cells = (f"{held.mean():.3f}", f"{spread:.3f}", f"{spread / np.sqrt(len(held)):.3f}")
        rows.append((name, str(len(held)), *cells))
    return f"### The 80 % interval\n\n{text_table(INTERVAL_HEADER, rows, align='lr')}"


def range_table(cases: list[ScoredCase]) -> str:
    """Scores at both ends of the range of resolution, and the working voxel sizes."""
    rows = []
    for s in cases:
        cells = (
            s.case.median,
            s.scores.median,
            s.scores.relative_rmse,
            s.scores.r,
            s.estimate.working_voxel_size,
        )
        rows.append((s.case.name, *(f"{c:.2f}" for c in cells)))
    title = "### Limits of the resolution range (simulated maps of validation structures)"
    return f"{title}\n\n{text_table(RANGE_HEADER, rows, align='lr')}"
