"""Texts as cells of a CSV file: a spreadsheet runs what begins like a formula, whoever gave a map that name."""

from __future__ import annotations

import re
from typing import Any

FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guarded(cell: Any) -> Any:
    """Put an apostrophe before a text that begins like a formula. What is no text stays, and so does any other."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """Give the text back that was `guarded`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
