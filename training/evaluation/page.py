"""Tables of scores in Markdown, and the pages that they are written into."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.evaluation.metrics import Scores

COLUMNS = ("relative_rmse", "rmse", "mae", "bias", "r", "level", "pattern", "coverage", "mask_iou", "held")
SIGNED_COLUMNS = ("level", "bias")  # their means are those of the absolute values
START, END = "<!-- written by the command above -->", "<!-- end -->"

Cells = dict[str, float]
Row = tuple[str, str, Cells]  # case, estimate, values by column


def scores_table(rows: list[Row], columns: tuple[str, ...] = COLUMNS, first_column: str = "case") -> str:
    """A Markdown table of scores. Missing values are left empty."""
    lines = [f"| {first_column} | estimate | " + " | ".join(columns) + " |", "|---|---|" + "---:|" * len(columns)]
    for case, estimate, values in rows:
        cells = (f"{values[c]:.3f}" if np.isfinite(values.get(c, np.nan)) else "" for c in columns)
        lines.append(f"| {case} | {estimate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def text_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str = "r") -> str:
    """A Markdown table of text cells. `align` has an l or r for each column, the last one repeated."""
    return "\n".join([header_lines(header, align), *(f"| {' | '.join(row)} |" for row in rows)])


def header_lines(header: tuple[str, ...], align: str = "r") -> str:
    """The first two lines of a Markdown table, with `align` as in `text_table`."""
    rule = ("---:" if side == "r" else "---" for side in align.ljust(len(header), align[-1]))
    return f"| {' | '.join(header)} |\n|{'|'.join(rule)}|"


def mean_scores(scores: list[Scores]) -> Cells:
    """Means over cases; of level and bias, the means of the absolute values."""
    return mean_cells([s.row() for s in scores])


def mean_cells(rows: list[Cells]) -> Cells:
    """Means over rows, as `mean_scores`, of the values that are given."""
    means = {}
    for key in rows[0]:
        values = np.array([abs(r[key]) if key in SIGNED_COLUMNS else r[key] for r in rows])
        means[key] = float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
    return means


def insert(path: Path, text: str) -> None:
    """Replace the text between the two markers of a page."""
    page = path.read_text(encoding="utf-8")
    _check_markers(path, page)
    path.write_text(
        re.sub(f"{START}.*{END}", lambda _: f"{START}\n\n{text}\n\n{END}", page, flags=re.DOTALL), encoding="utf-8"
    )


def insert_section(path: Path, title: str, text: str) -> None:
    """Replace one section between the two markers of a page, from its title ### to the next; add it if it is new."""
    page = path.read_text(encoding="utf-8")
    _check_markers(path, page)
    section = f"### {title}\n\n{text}\n\n"
    pattern = re.compile(f"^### {re.escape(title)}\n.*?(?=^### |{re.escape(END)})", re.DOTALL | re.MULTILINE)
    found = pattern.search(page)
    new = page[: found.start()] + section + page[found.end() :] if found else page.replace(END, section + END)
    path.write_text(new, encoding="utf-8")


def _check_markers(path: Path, page: str) -> None:
    if START not in page or END not in page:
        raise SystemExit(f"{path} lacks the markers {START} and {END}")
