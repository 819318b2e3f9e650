"""The tables of the parts of a cluster job, merged into one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.batch import merge_tables, table
from tests.runtime.batch.helpers import failed_row
from tests.runtime.command import GATHER, invoke, run


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.permutations("abcd"))
def test_merging_gives_every_map_once_with_its_latest_row(inputs, listed):
    rows = [{"input": name, "time": f"{n:03}"} for n, name in enumerate(inputs)]
    for shuffled in (rows, rows[::-1]):
        merged, missing = merge_tables.merged_rows(shuffled, listed)
        assert [one["input"] for one in merged] == [name for name in listed if name in inputs]
        assert missing == [name for name in listed if name not in inputs]
        for one in merged:
            assert one["time"] == max(other["time"] for other in rows if other["input"] == one["input"])


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "into"), [(".csv", ".csv"), (".jsonl", ".csv"), (".jsonl", ".jsonl")])
def test_the_command_merges_tables_and_names_missing_maps(tmp_path, suffix, into):
    for part, names in (("1", "ab"), ("2", "bc")):
        for name in names:
            table.append(tmp_path / f"all.{part}-of-2{suffix}", failed_row(name, f"part {part}"))
    (tmp_path / "list.txt").write_text("d\nc\nb\na\n")
    parts = (f"all.{part}-of-2{suffix}" for part in "12")
    finished = run(*parts, "--table", f"all{into}", "--maps-from", "list.txt", command=GATHER, cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == ["failed: c", "failed: b", "failed: a", "missing: d"]
    assert finished.stdout == "3 maps: 0 done, 3 failed; 1 missing\n"
    merged = table.read(tmp_path / f"all{into}")
    assert [one["message" if into == ".csv" else "error"] for one in merged] == ["part 2", "part 2", "part 1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Usage: "),
        ("missing.csv --table all.csv", "error: the table missing.csv: "),
        ("a.csv --table all.jsonl", "error: --table all.jsonl: "),
        ("a.csv --table all.txt", "error: --table all.txt: "),
    ],
)
def test_merging_is_refused_without_a_table_or_into_one_that_cannot_hold_the_rows(
    tmp_path, monkeypatch, words, message
):
    table.append(tmp_path / "a.csv", failed_row("a"))
    code, output = invoke(monkeypatch, tmp_path, *words.split(), app=merge_tables.app)
    assert code == 2
    assert output.startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
