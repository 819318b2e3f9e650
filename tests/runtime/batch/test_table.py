"""The table of many maps: rows are read back as they were written, also after a run was killed."""

import json
from importlib.resources import files

import pytest

from cryores_lite.batch import table
from tests.runtime.batch.helpers import failed_row

ODD_NAMES = ("a,b.mrc", 'say "x".mrc', "åé.mrc", "\udcff.mrc", " a b .mrc")


@pytest.mark.parametrize("suffix", table.SUFFIXES)
def test_rows_are_read_back_as_they_were_written(tmp_path, suffix):
    path, rows = tmp_path / f"all{suffix}", [failed_row(name) for name in ODD_NAMES]
    table.prepare(path)
    for one in rows:
        table.append(path, one)
    read = table.read(path)
    assert [one["input"] for one in read] == list(ODD_NAMES)
    table.write(path, read)
    assert table.read(path) == read
    table.prepare(path)
    assert table.read(path) == read


@pytest.mark.parametrize("suffix", table.SUFFIXES)
def test_a_last_line_that_was_cut_off_is_removed(tmp_path, suffix):
    path = tmp_path / f"all{suffix}"
    for name in "ab":
        table.append(path, failed_row(name))
    path.write_bytes(path.read_bytes()[:-5])
    table.prepare(path)
    assert [one["input"] for one in table.read(path)] == ["a"]


def test_a_row_of_the_table_is_valid_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((files("cryores_lite.outputs") / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(failed_row("a"))
