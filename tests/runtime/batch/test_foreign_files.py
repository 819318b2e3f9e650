"""Files of other people and of spreadsheets: the first are refused unchanged, the second are read."""

import pytest

from cryores_lite.batch import merge_tables, table
from cryores_lite.batch.map_list import read_list
from cryores_lite.errors import InputError
from tests.runtime.batch.helpers import failed_row as failed
from tests.runtime.command import invoke, run
from tests.runtime.maps import lumps, save

MARK = b"\xef\xbb\xbf"
FOREIGN = {
    "mine.csv": b"name,value\nfirst,1\nsecond,2",
    "conf.jsonl": b'{\n "a": 1,\n "b": 2\n}',
    "lines.jsonl": b'{"a": 1}\n{"b": 2}\n',
    "empty_lines.csv": b"\n\n\n",
    "binary.csv": bytes(range(256)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_not_a_table_is_refused_and_unchanged(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FOREIGN[name])
    with pytest.raises(InputError, match="a table written by cryores-lite"):
        table.prepare(path)
    assert path.read_bytes() == FOREIGN[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_merging_replaces_a_file_that_is_not_a_table_only_with_overwrite(tmp_path, monkeypatch, name):
    path, part = tmp_path / name, tmp_path / f"part{(tmp_path / name).suffix}"
    path.write_bytes(FOREIGN[name])
    table.append(part, failed("a.mrc"))
    code, output = invoke(monkeypatch, tmp_path, part.name, "--table", name, app=merge_tables.app)
    assert (code, path.read_bytes()) == (2, FOREIGN[name])
    assert "a table written by cryores-lite" in output
    code, _ = invoke(monkeypatch, tmp_path, part.name, "--table", name, "--overwrite", app=merge_tables.app)
    assert code == 1  # the map of the table has failed
    assert [row["input"] for row in table.read(path)] == ["a.mrc"]


def test_merging_replaces_a_table(tmp_path, monkeypatch):
    for name, row in (("all.csv", "old.mrc"), ("part.csv", "new.mrc")):
        table.append(tmp_path / name, failed(row))
    code, _ = invoke(monkeypatch, tmp_path, "part.csv", "--table", "all.csv", app=merge_tables.app)
    assert code == 1
    assert [row["input"] for row in table.read(tmp_path / "all.csv")] == ["new.mrc"]


def saved_by_a_spreadsheet(data, semicolons):
    """The table as Excel saves it: a byte-order mark, CRLF, and in many countries semicolons and decimal commas."""
    text = data.decode()
    if semicolons:
        text = text.replace(";", " ").replace(",", ";").replace("4.5", "4,5")
    return MARK + text.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("semicolons", [False, True])
def test_a_table_that_a_spreadsheet_saved_is_continued(tmp_path, semicolons):
    path = tmp_path / "all.csv"
    table.append(path, {**failed("a.mrc"), "voxel_size": 4.5})
    rows, ours = table.read(path), path.read_bytes()
    path.write_bytes(saved_by_a_spreadsheet(ours, semicolons))
    assert table.read(path) == rows
    table.prepare(path)
    assert path.read_bytes() == ours
    table.append(path, failed("b.mrc"))
    assert [row["input"] for row in table.read(path)] == ["a.mrc", "b.mrc"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", MARK])
def test_a_list_may_begin_with_a_mark_and_end_its_lines_in_any_way(tmp_path, mark, end):
    path = tmp_path / "list.txt"
    path.write_bytes(mark + end.join((b"a.mrc", b"", b"b \xc3\xbc.mrc", b"")))
    assert [str(name) for name in read_list(str(path))] == ["a.mrc", "b ü.mrc"]


def test_outputs_of_an_earlier_run_are_left_out_with_a_line_each(tmp_path):
    """``cryores-lite *.mrc`` for the second time."""
    for name in ("a.mrc", "b.mrc"):
        save(tmp_path / name, lumps((32, 32, 32)))
    assert run("a.mrc", "b.mrc", "-j", 1, "-q", cwd=tmp_path).returncode == 0
    names = sorted(path.name for path in tmp_path.glob("*.mrc"))
    again = run(*names, "-j", 1, "--overwrite", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    left_out = [line for line in again.stderr.splitlines() if line.startswith("left out: ")]
    assert left_out == [f"left out: {name} is an output of this program" for name in names if "_" in name]
    assert sorted(path.name for path in tmp_path.glob("*.mrc")) == names
    assert "left out" not in run(*names, "-j", 1, "--overwrite", "-q", cwd=tmp_path).stderr


def test_a_map_of_another_program_that_would_be_overwritten_is_refused(tmp_path):
    for name in ("a.mrc", "a_locres.mrc"):
        save(tmp_path / name, lumps((32, 32, 32)))
    refused = run("a.mrc", "a_locres.mrc", "-j", 1, "--overwrite", cwd=tmp_path)
    assert refused.returncode == 2
    assert "a_locres.mrc" in refused.stderr
