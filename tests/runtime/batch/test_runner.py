"""Many maps: finished ones are kept, a killed run is continued, and every map has its row."""

import csv
import gzip
import json
import runpy
import shutil
import signal
import subprocess
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from cryores_lite.batch.table import COLUMNS, KEPT
from tests.runtime.command import CALL, COMMAND, invoke, python, rows, run
from tests.runtime.maps import ball, lumps, save
from tests.runtime.paths import SUBMIT

GOOD = ("a.mrc", "b.mrc", "c.map.gz")
KINDS = ("locres", "mask")
PEAK = "Path('/proc/self/status').read_text().partition('VmHWM:')[2].splitlines()[0], flush=True"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three good maps, one of them packed, one that is cut short."""
    folder = tmp_path_factory.mktemp("source")
    whole = save(folder / "a.mrc", lumps()).read_bytes()
    save(folder / "b.mrc", lumps((40, 40, 40)))
    (folder / "c.map.gz").write_bytes(gzip.compress(whole))
    (folder / "d.mrc").write_bytes(whole[:-1000])
    return folder


@pytest.fixture
def maps(source, tmp_path):
    """A copy of them, listed with one that is missing; the folder, and the list."""
    folder = shutil.copytree(source, tmp_path / "maps")
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{folder / name}\n" for name in (*GOOD[:2], "missing.mrc", "d.mrc", GOOD[2])))
    return folder, listed


def many(listed, *words, **options):
    return run("--maps-from", listed, "-o", listed.parent / "out", "-j", 1, *words, **options)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def times(folder):
    """When every answer was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mrc")}


@pytest.mark.slow
def test_every_map_has_a_row_and_the_maps_after_a_failed_one_are_done(maps, tmp_path):
    _, listed = maps
    finished = many(listed, "--table", tmp_path / "all.csv", "--table", tmp_path / "all.jsonl", "--json")
    assert finished.returncode == 1
    outcomes = ["done", "done", "failed", "failed", "done"]
    table_rows, lines = table(tmp_path / "all.csv"), (tmp_path / "all.jsonl").read_text().splitlines()
    assert tuple(table_rows[0]) == COLUMNS
    assert [row["outcome"] for row in table_rows] == [json.loads(line)["outcome"] for line in lines] == outcomes
    for row, printed in zip(table_rows, rows(finished), strict=True):
        assert row["input"] == printed["input"]
        assert row["message"] == (printed["error"] or "; ".join(printed["warnings"]))
        assert [row[name] for name in ("p50", "global_resolution")] == [
            str(printed[name] or "") for name in ("median", "global_resolution")
        ]
    for name in ("a", "b", "c"):
        for kind in KINDS:
            assert mrcfile.validate(tmp_path / "out" / f"{name}_{kind}.mrc")
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_a_map_read_ahead_among_others_gives_the_same_files_as_alone(maps, tmp_path):
    folder, listed = maps
    many(listed)
    run(folder / "c.map.gz", "-o", tmp_path / "alone", "-j", 1)
    for kind in KINDS:
        alone, together = (tmp_path / where / f"c_{kind}.mrc" for where in ("alone", "out"))
        assert alone.read_bytes() == together.read_bytes()


@pytest.mark.slow
def test_a_second_run_keeps_finished_maps_and_does_the_others(maps, tmp_path):
    folder, listed = maps
    many(listed, "--table", tmp_path / "all.csv")
    before = times(tmp_path / "out")
    save(folder / "missing.mrc", lumps((36, 36, 36)))
    finished = many(listed, "--table", tmp_path / "all.csv", "--json")
    after, table_rows = times(tmp_path / "out"), table(tmp_path / "all.csv")
    assert before.items() < after.items()
    assert [row["outcome"] for row in table_rows] == ["done", "done", "done", "failed", "done"]
    assert [row["message"].startswith(KEPT) for row in table_rows] == [True, True, False, False, True]
    assert [row["outcome"] for row in rows(finished)] == [row["outcome"] for row in table_rows]


def change_the_map(folder, out):
    (folder / "b.mrc").write_bytes((folder / "a.mrc").read_bytes())
    return ()


def change_the_settings(folder, out):
    return ("--voxel-size", 1.6)


def ask_for_more(folder, out):
    return ("--uncertainty",)


def lose_an_answer(folder, out):
    (out / "b_mask.mrc").unlink()
    return ()


def spoil_an_answer(folder, out):
    with (out / "b_mask.mrc").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\x7f")
    return ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [change_the_map, change_the_settings, ask_for_more, lose_an_answer, spoil_an_answer],
    ids=lambda f: f.__name__,
)
def test_a_map_whose_files_would_differ_is_done_again(maps, tmp_path, spoil):
    folder, listed = maps
    listed.write_text(f"{folder / 'b.mrc'}\n")
    many(listed)
    out = tmp_path / "out"
    words = spoil(folder, out)
    before = times(out)
    (row,) = rows(many(listed, "--json", *words))
    assert row["outcome"] == "done"
    assert times(out)["b_locres.mrc"] > before["b_locres.mrc"]
    for path in map(out.joinpath, ("b_locres.mrc", "b_mask.mrc")):
        assert mrcfile.validate(path)
    before = times(out)
    many(listed, *words)
    assert times(out) == before


@pytest.mark.slow
def test_a_finished_map_is_recognised_by_its_content_not_by_name_or_date(maps, tmp_path):
    folder, listed = maps
    many(listed)
    before = times(tmp_path / "out")
    moved = tmp_path / "moved"
    folder.rename(moved)
    listed.write_text("".join(f"{moved / name}\n" for name in GOOD))
    (moved / "a.mrc").touch()
    finished = many(listed, "--json")
    assert times(tmp_path / "out") == before
    assert [row["input"] for row in rows(finished)] == [str(moved / name) for name in GOOD]


@pytest.mark.slow
def test_a_list_done_by_the_statistical_method_is_kept_by_a_second_run(maps, tmp_path):
    _, listed = maps
    words = ("--method", "statistical", "--model", tmp_path / "none.onnx", "--table", tmp_path / "all.csv", "--json")
    first, second = (rows(many(listed, *words)) for _ in range(2))
    for run_rows in (first, second):
        assert [row["method"] for row in run_rows] == ["statistical", "statistical", None, None, "statistical"]
    flat = table(tmp_path / "all.csv")
    assert [row["model"] for row in flat] == ["statistical", "statistical", "", "", "statistical"]
    assert [row["message"].startswith(KEPT) for row in flat] == [True, True, False, False, True]
    again = rows(many(listed, "--json"))
    assert [row["method"] for row in again] == ["network", "network", None, None, "network"]


@pytest.mark.slow
def test_files_that_no_record_claims_are_not_replaced(maps, tmp_path):
    _, listed = maps
    (tmp_path / "out").mkdir()
    for name in ("a_mask.mrc", "b_locres.json"):
        (tmp_path / "out" / name).write_bytes(b"precious")
    finished = many(listed, "--json")
    assert [row["outcome"] for row in rows(finished)] == ["failed", "failed", "failed", "failed", "done"]
    for name in ("a_mask.mrc", "b_locres.json"):
        assert (tmp_path / "out" / name).read_bytes() == b"precious"
    replaced = rows(many(listed, "--json", "--overwrite"))
    assert [row["outcome"] for row in replaced] == ["done", "done", "failed", "failed", "done"]


@pytest.mark.slow
def test_a_run_continues_where_a_killed_one_stopped(maps, tmp_path):
    folder, listed = maps
    for name in "ef":
        save(folder / f"{name}.mrc", lumps((112, 112, 112)))
    listed.write_text("".join(f"{folder / name}.mrc\n" for name in "aef"))
    table_path, out = tmp_path / "all.jsonl", tmp_path / "out"
    words = [*COMMAND, "--maps-from", str(listed), "-o", str(out), "--table", str(table_path), "-j", "1", "-q"]
    with subprocess.Popen(words) as process:
        while process.poll() is None and not list(out.glob("e_locres.json")):
            time.sleep(0.01)  # until the second map has begun, as its claim shows
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with table_path.open("a") as file:
        file.write('{"input": "cut off in the mid')
    before = times(out)
    finished = many(listed, "--table", table_path, "-q")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert before.items() <= times(out).items()
    table_rows = [json.loads(line) for line in table_path.read_text().splitlines()]
    assert [(row["input"], row["outcome"]) for row in table_rows] == [(str(folder / f"{n}.mrc"), "done") for n in "aef"]
    assert table_rows[0]["kept"]


@pytest.mark.slow
def test_two_runs_of_one_map_at_the_same_time_leave_complete_files(maps, tmp_path):
    folder, listed = maps
    listed.write_text(f"{save(folder / 'e.mrc', lumps((96, 96, 96)))}\n")
    words = [*COMMAND, "--maps-from", str(listed), "-o", str(tmp_path / "out"), "-j", "1", "-q"]
    both = [subprocess.Popen(words) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0]
    for kind in KINDS:
        assert mrcfile.validate(tmp_path / "out" / f"e_{kind}.mrc")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"e_locres.{s}" for s in ("json", "mrc")] + [
        "e_mask.mrc"
    ]
    before = times(tmp_path / "out")
    assert many(listed, "-q").returncode == 0
    assert times(tmp_path / "out") == before


@pytest.mark.slow
def test_each_part_writes_its_own_table_of_its_own_maps(maps, tmp_path):
    _, listed = maps
    for part in "12":
        many(listed, "--shard", f"{part}/2", "--table", tmp_path / "all.csv", "-q")
    first, second = (table(tmp_path / f"all.{part}-of-2.csv") for part in "12")
    names = listed.read_text().splitlines()
    assert ([row["input"] for row in first], [row["input"] for row in second]) == (names[::2], names[1::2])


@pytest.mark.slow
def test_a_list_is_read_from_standard_input(maps, tmp_path):
    _, listed = maps
    finished = run("--maps-from", "-", "-o", tmp_path / "out", "-j", 1, "--json", input=listed.read_text())
    assert [row["input"] for row in rows(finished)] == listed.read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--maps-from missing.txt", 2, "missing.txt"),
        ("--maps-from empty.txt", 2, "an empty list"),
        ("--maps-from a.mrc", 2, "binary data"),
        ("--maps-from twice.txt", 2, "a.mrc twice"),
        ("--maps-from answers.txt", 2, "a_mask.mrc"),
        ("--maps-from one.txt --shard 3/2", 2, "3/2"),
        ("--maps-from one.txt --shard slurm", 2, "sbatch --array"),
        ("a.mrc --table all.txt", 1, ".csv or .jsonl"),
        ("a.mrc --table foreign.csv", 1, "other columns"),
        ("a.mrc --table foreign.jsonl", 1, "other lines"),
    ],
)
def test_a_wrong_list_part_or_table_is_refused_in_one_line_before_any_work(
    source, tmp_path, monkeypatch, words, code, message
):
    for name in ("ID", "MIN", "MAX", "STEP", "COUNT"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    shutil.copy(source / "a.mrc", tmp_path)
    contents = {"empty": "\n\n", "twice": "a.mrc\n./a.mrc\n", "answers": "a.mrc\na_mask.mrc\n", "one": "a.mrc\n"}
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content)
    for name in ("foreign.csv", "foreign.jsonl"):
        (tmp_path / name).write_text("x,y\n1,2\n")
    exit_code, output = invoke(monkeypatch, tmp_path, *words.split())
    (line,) = output.splitlines()
    assert exit_code == code
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.glob("a_*"))


@pytest.mark.slow
def test_a_list_takes_no_more_memory_than_the_slurm_example_asks_for(tmp_path):
    """Packed maps whose molecule fills the box, in the finest detail that voxels hold: nothing takes more."""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells the peak of a process")
    rng, shape = np.random.default_rng(0), (128, 128, 128)
    molecule = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * ball(shape, 64)
    save(tmp_path / "a.mrc", molecule / molecule.std() + 0.3 * rng.normal(size=shape), voxel_size=1.0)
    for name in "bc":
        (tmp_path / f"{name}.mrc.gz").write_bytes(gzip.compress((tmp_path / "a.mrc").read_bytes(), 1))
    (tmp_path / "list.txt").write_text("b.mrc.gz\nc.mrc.gz\n")
    code = f"import atexit; from pathlib import Path; atexit.register(lambda: print({PEAK})); {CALL}"
    finished = python(code, "--maps-from", "list.txt", "-q", "-j", 2, cwd=tmp_path, check=True)
    asked = runpy.run_path(str(SUBMIT))["voxels_and_memory"](tmp_path / "b.mrc.gz")[1]
    assert 0.5 * asked < 1024 * int(finished.stdout.split()[0]) < asked
