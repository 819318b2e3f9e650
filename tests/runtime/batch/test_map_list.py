"""Lists, their parts and the table of them all: every map in exactly one part, and in one row."""

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.batch import merge_tables, table
from cryores_lite.batch.map_list import check_no_duplicates, parse_shard, read_list
from cryores_lite.errors import InputError
from cryores_lite.job import plan
from cryores_lite.outputs.outcome import row
from cryores_lite.outputs.result import Job, MapResult, ModelIdentity
from tests.runtime.test_cli import invoke

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1).filter(str.strip))
SUBMIT = Path(__file__).parents[3] / "examples" / "slurm" / "submit.py"
GATHER = "from cryores_lite.batch.merge_tables import main; main()"


def gather_command(folder, *words):
    command = [sys.executable, "-c", GATHER, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def array(number, lowest, highest, step, count):
    values = {"ID": number, "MIN": lowest, "MAX": highest, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@given(st.integers(0, 50), st.integers(1, 9))
def test_every_map_is_in_exactly_one_part_and_parts_differ_by_one_map_at_most(maps, count):
    paths = [Path(str(n)) for n in range(maps)]
    parts = [parse_shard(f"{n}/{count}", {}).of(paths) for n in range(1, count + 1)]
    assert sorted(chain(*parts)) == sorted(paths)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 5))
def test_the_tasks_of_an_evenly_spaced_array_are_its_parts(lowest, count, step):
    numbers = range(lowest, lowest + count * step, step)
    parts = [parse_shard("slurm", array(n, lowest, numbers[-1], step, count)) for n in numbers]
    assert parts == [parse_shard(f"{n}/{count}", {}) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    "environment", [{}, array(3, 1, 7, 1, 3), array(2, 1, 7, 3, 3), array(1, 1, 3, 0, 3), {"X": "1"}]
)
def test_without_an_evenly_spaced_array_the_error_advises_shard_i_of_n(environment):
    with pytest.raises(InputError, match="--shard I/N"):
        parse_shard("slurm", environment)


@pytest.mark.parametrize("words", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2", "Slurm"])
def test_a_part_that_is_not_i_of_n_is_refused(words):
    with pytest.raises(InputError, match="I/N"):
        parse_shard(words, {})


@given(NAMES.filter(bool))
def test_a_list_is_read_back_as_it_was_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_bytes("\n\n".join(names).encode())
    assert read_list(str(path)) == [Path(name) for name in names]


def jobs_of(names, folder=None, requested=()):
    return [plan(Path(name), folder, requested) for name in names]


def test_maps_whose_files_have_different_names_or_folders_are_accepted():
    check_no_duplicates(jobs_of(["a.mrc", "a_mask.mrc"], Path("out")))
    check_no_duplicates(jobs_of(["a/x.mrc", "b/x.mrc"]))
    check_no_duplicates(jobs_of(["a.mrc", "a_locres_filtered.mrc"]))


@pytest.mark.parametrize(
    ("names", "folder", "requested", "collision"),
    [
        (["a/x.mrc", "b/x.map"], Path("out"), (), "a/x.mrc and b/x.map, of which both are or write out/x_locres.mrc"),
        (["a.mrc", "a_mask.mrc"], None, (), "a_mask.mrc and a.mrc, of which both are or write a_mask.mrc"),
        (["a.mrc", "a_locres_filtered.mrc"], None, ("filtered",), "write a_locres_filtered.mrc"),
        (["a", "b/../a"], None, (), "b/../a twice"),
    ],
)
def test_maps_that_would_write_the_same_file_or_each_other_are_refused(names, folder, requested, collision):
    with pytest.raises(InputError, match=re.escape(collision)):
        check_no_duplicates(jobs_of(names, folder, requested))


def test_a_link_to_a_folder_does_not_hide_a_collision(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="twice"):
        check_no_duplicates(jobs_of([tmp_path / "real" / "a.mrc", tmp_path / "link" / "a.mrc"]))


def test_an_output_that_would_replace_a_half_map_is_refused():
    halves = (Path("a_locres_half1.mrc"), Path("a_mask.mrc"))
    with pytest.raises(InputError, match=re.escape("write a_mask.mrc")):
        check_no_duplicates([plan(Path("a.mrc"), None, half_maps=halves)])


def failed(name, error="no"):
    job, model = Job(map_path=Path(name), outputs={}), ModelIdentity("net", "1", "ab" * 32)
    return table.stamped(row(MapResult(job=job, seconds=1.0, model=model, error=error)))


ODD = ("a,b.mrc", 'say "x".mrc', "åé.mrc", "\udcff.mrc", " a b .mrc")


@pytest.mark.parametrize("kind", table.SUFFIXES)
def test_rows_are_read_back_as_they_were_written(tmp_path, kind):
    path, rows = tmp_path / f"all{kind}", [failed(name) for name in ODD]
    table.check(path)
    for one in rows:
        table.append(path, one)
    told = table.read(path)
    assert [one["input"] for one in told] == list(ODD)
    table.write(path, told)
    assert table.read(path) == told
    table.check(path)
    assert table.read(path) == told


@pytest.mark.parametrize("kind", table.SUFFIXES)
def test_a_last_line_that_was_cut_off_is_removed(tmp_path, kind):
    path = tmp_path / f"all{kind}"
    for name in "ab":
        table.append(path, failed(name))
    path.write_bytes(path.read_bytes()[:-5])
    table.check(path)
    assert [one["input"] for one in table.read(path)] == ["a"]


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.permutations("abcd"))
def test_merging_gives_every_map_once_with_its_latest_row(inputs, wanted):
    rows = [{"input": name, "time": f"{n:03}"} for n, name in enumerate(inputs)]
    for shuffled in (rows, rows[::-1]):
        found, missing = merge_tables.merged_rows(shuffled, wanted)
        assert [one["input"] for one in found] == [name for name in wanted if name in inputs]
        assert missing == [name for name in wanted if name not in inputs]
        for one in found:
            assert one["time"] == max(other["time"] for other in rows if other["input"] == one["input"])


@pytest.mark.parametrize(("kind", "into"), [(".csv", ".csv"), (".jsonl", ".csv"), (".jsonl", ".jsonl")])
def test_the_command_merges_tables_and_names_missing_maps(tmp_path, kind, into):
    for part, names in (("1", "ab"), ("2", "bc")):
        for name in names:
            table.append(tmp_path / f"all.{part}-of-2{kind}", failed(name, f"part {part}"))
    (tmp_path / "list.txt").write_text("d\nc\nb\na\n")
    parts = (f"all.{part}-of-2{kind}" for part in "12")
    finished = gather_command(tmp_path, *parts, "--table", f"all{into}", "--maps-from", "list.txt")
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == ["failed: c", "failed: b", "failed: a", "missing: d"]
    assert finished.stdout == "3 maps: 0 done, 3 failed; 1 missing\n"
    told = table.read(tmp_path / f"all{into}")
    said = [one["message"] if into == ".csv" else one["error"] for one in told]
    assert said == ["part 2", "part 2", "part 1"]


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
    table.append(tmp_path / "a.csv", failed("a"))
    code, output = invoke(monkeypatch, tmp_path, *words.split(), app=merge_tables.app)
    assert code == 2
    assert output.startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_row_of_the_table_is_valid_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((files("cryores_lite.outputs") / "schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(failed("a"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), ("", "no path"), ("a.mrc\n./a.mrc\n", "a.mrc twice"), ("a.mrc\n", "no sbatch")],
)
def test_a_list_that_cannot_be_submitted_is_refused_in_one_line(tmp_path, content, said):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    words, where = [sys.executable, SUBMIT, "list.txt", "answers"], {**os.environ, "PATH": str(tmp_path)}
    finished = subprocess.run(words, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
