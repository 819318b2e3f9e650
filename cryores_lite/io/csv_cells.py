"""Escape text cells of CSV files that a spreadsheet would run as formulas, such as file names that begin with "="."""

from __future__ import annotations

import re
from typing import Any

FORMULA_START = re.compile(r"'*[=+\-@\t\r]")


def escape_formula(cell: Any) -> Any:
    """Put an apostrophe before a text that begins like a formula; return numbers and other texts unchanged."""
    return f"'{cell}" if isinstance(cell, str) and FORMULA_START.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """Return the text that was passed to `escape_formula`."""
    return cell[1:] if cell.startswith("'") and FORMULA_START.match(cell) else cell
