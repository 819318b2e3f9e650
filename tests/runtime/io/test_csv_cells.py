"""Texts in CSV files are no formulas, and come back as they were."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.batch import table
from cryores_lite.io.csv_cells import guarded, plain
from cryores_lite.outputs.catalogue import KIND

NAMES = ["=1+1.mrc", "+a.mrc", "-a.mrc", "@a.mrc", "'=a.mrc", "'a.mrc", "a;=1.mrc", 'a",=1.mrc', "a\n=1.mrc", "ü.mrc"]


@given(text=st.text(st.sampled_from("'=+-@\t\ra1"), max_size=6) | st.text())
def test_no_text_begins_like_a_formula_and_every_one_comes_back(text):
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert plain(guarded(text)) == text


def test_what_is_no_text_stays():
    assert [guarded(cell) for cell in (-1.5, 3, None)] == [-1.5, 3, None]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_gives_names_back_and_shows_no_formula(tmp_path, name):
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
    (there,) = table.last_of_each(table.read(path))
    assert (there["input"], there["message"]) == (name, f"{name}, size: found")
    table.write(path, [there])
    assert table.read(path) == [there]
    with path.open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line]
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
