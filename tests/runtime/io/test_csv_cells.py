"""Text cells of CSV files are never formulas, and are read back unchanged."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.batch import table
from cryores_lite.io.csv_cells import escape_formula, unescape_formula
from cryores_lite.outputs.catalogue import KIND

NAMES = ["=1+1.mrc", "+a.mrc", "-a.mrc", "@a.mrc", "'=a.mrc", "'a.mrc", "a;=1.mrc", 'a",=1.mrc', "a\n=1.mrc", "ü.mrc"]


@given(text=st.text(st.sampled_from("'=+-@\t\ra1"), max_size=6) | st.text())
def test_no_escaped_text_begins_like_a_formula_and_unescaping_restores_it(text):
    assert not escape_formula(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape_formula(escape_formula(text)) == text


def test_numbers_and_missing_values_are_not_escaped():
    assert [escape_formula(cell) for cell in (-1.5, 3, None)] == [-1.5, 3, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_holds_no_formula_and_gives_file_names_back(tmp_path, name):
    row = {
        "input": name,
        "outcome": "failed",
        "error": f"{name}, size: found",
        "warnings": [],
        "percentiles": {},
        "files": dict.fromkeys(KIND),
        "model": {"name": None, "version": None},
        "method": "network",
    }
    path = tmp_path / "all.csv"
    table.append(path, table.stamped(row))
    table.append(path, table.stamped(row))
    (last,) = table.latest_rows(table.read(path))
    assert (last["input"], last["message"]) == (name, f"{name}, size: found")
    table.write(path, [last])
    assert table.read(path) == [last]
    with path.open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
