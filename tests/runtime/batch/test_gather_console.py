"""`cryores-lite-gather` keeps the rules of the main command: one line per error, its exit codes, `-q`, no traceback."""

import json
import os
import signal
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryores_lite.batch import merge_tables, table
from tests.runtime.batch.helpers import failed_row
from tests.runtime.command import GATHER, invoke, one_error, run

ROW = failed_row("a.mrc")
CSV_LINES = ("\n".join([",".join(table.COLUMNS), ",".join("1" for _ in table.COLUMNS)]) + "\n").encode()
DAMAGED = {
    "nul.csv": CSV_LINES.replace(b"1,", b"\0,", 1),
    "long.csv": CSV_LINES.replace(b"1,", b"1" * 200_000 + b",", 1),
    "wide.csv": CSV_LINES + CSV_LINES.splitlines()[1] + b",more,cells\n",
    "narrow.csv": CSV_LINES + b"a.mrc,done\n",
    "nan.jsonl": json.dumps({**ROW, "seconds": float("nan")}).encode(),
    "deep.jsonl": b"[" * 100_000,
    "number.jsonl": b"7\n",
    "list.jsonl": b"[]\n",
    **{f"{name}.jsonl": json.dumps({**ROW, name: 7}).encode() for name in table.ROW_FIELDS},
    **{f"without_{name}.jsonl": json.dumps({k: v for k, v in ROW.items() if k != name}).encode() for name in ROW},
}


@pytest.mark.parametrize("into", ["all.csv", "all.jsonl"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_read_or_refused_in_one_line(tmp_path, monkeypatch, name, into):
    (tmp_path / name).write_bytes(DAMAGED[name])
    code, output = invoke(monkeypatch, tmp_path, name, "--table", into, app=merge_tables.app)
    assert code in (1, 2)
    if code == 2:
        assert output.startswith("error: ")
        assert len(output.splitlines()) == 1
        assert len(output) < 500
    assert (tmp_path / into).exists() == (code == 1)
    assert (tmp_path / name).read_bytes() == DAMAGED[name]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(list(ROW)), values, max_size=3), st.sampled_from([".csv", ".jsonl"]))
def test_no_row_gives_a_traceback(tmp_path, monkeypatch, changes, suffix):
    (tmp_path / "part.jsonl").write_text(json.dumps({**ROW, **changes}) + "\n")
    words = ("part.jsonl", "--table", f"all{suffix}", "--overwrite")
    code, output = invoke(monkeypatch, tmp_path, *words, app=merge_tables.app)  # fails for any exception
    assert code in (0, 1, 2)
    assert code != 2 or len(output.splitlines()) == 1


@pytest.fixture
def part(tmp_path):
    table.append(tmp_path / "part.csv", ROW)
    return tmp_path / "part.csv"


@pytest.mark.slow
def test_quiet_prints_errors_and_names_alone(tmp_path, part):
    (tmp_path / "list.txt").write_text("a.mrc\nb.mrc\n")
    finished = run(part, "--table", "all.csv", "--maps-from", "list.txt", "-q", command=GATHER, cwd=tmp_path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.splitlines() == ["failed: a.mrc", "missing: b.mrc"]


@pytest.mark.slow
def test_the_folder_of_the_table_is_made_and_a_table_that_cannot_be_written_is_an_error(tmp_path, part):
    assert run(part, "--table", tmp_path / "new" / "folder" / "all.csv", command=GATHER).returncode == 1
    assert [row["input"] for row in table.read(tmp_path / "new" / "folder" / "all.csv")] == ["a.mrc"]
    (tmp_path / "file").touch()
    finished = run(part, "--table", tmp_path / "file" / "all.csv", command=GATHER)
    assert (finished.returncode, finished.stdout) == (1, "")
    one_error(finished, "all.csv")


@pytest.mark.slow
def test_a_name_of_two_lines_is_printed_in_one(tmp_path):
    table.append(tmp_path / "part.csv", failed_row("a\nb.mrc"))
    finished = run("part.csv", "--table", "all.csv", command=GATHER, cwd=tmp_path)
    assert finished.stderr.splitlines() == ["failed: a b.mrc"]


@pytest.mark.slow
def test_a_reader_that_goes_away_gives_no_traceback(tmp_path, part):
    reading, writing = os.pipe()
    os.close(reading)
    finished = run(part, "--table", "all.csv", command=GATHER, cwd=tmp_path, stdout=writing)
    os.close(writing)
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == ["failed: a.mrc"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_it_silently_and_writes_nothing(tmp_path, part, number, code):
    os.mkfifo(tmp_path / "list")
    command = [*GATHER, str(part), "--table", "all.csv", "--maps-from", "list"]
    listen = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    with (
        subprocess.Popen(command, cwd=tmp_path, text=True, **pipes, **listen) as process,
        (tmp_path / "list").open("w"),  # returns when the command opens it too; nothing is written
    ):
        process.send_signal(number)
        output = process.communicate(timeout=60)
    assert (process.returncode, *output) == (code, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list", "part.csv"]
