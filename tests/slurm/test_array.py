"""A job array in a real Slurm: tasks are killed and requeued, and every map is estimated exactly once."""

import json
import re
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "slurm"
MAPS, TASKS = 24, 6


def save(path, edge):
    """Write a ball of random lumps in quiet solvent."""
    rng = np.random.default_rng(edge)
    squares = (np.arange(edge) - edge / 2) ** 2
    ball = squares[:, None, None] + squares[:, None] + squares < (edge / 3.5) ** 2
    with mrcfile.new(path) as mrc:
        mrc.set_data((ball * rng.random(ball.shape) + 0.01 * rng.normal(size=ball.shape)).astype(np.float32))
        mrc.voxel_size = 1.5
    return path


@pytest.fixture
def submitted(cluster, commands, tmp_path):
    """24 maps, half of them larger, submitted as an array of 6 tasks with the example script."""
    maps = tmp_path / "maps"
    maps.mkdir()
    paths = [save(maps / f"map {n:02}.mrc", 96 if n % 2 else 40) for n in range(MAPS)]
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    command = (sys.executable, EXAMPLES / "submit.py", "list.txt", "answers", "--tasks", str(TASKS), "--cpus", "1")
    output = cluster.call(*command, cwd=tmp_path)
    pattern = r"array (\d+): 24 maps in 6 tasks of (\d+) MB; gather (\d+)\n"
    array, memory, gather = re.fullmatch(pattern, output).groups()
    assert 200 < int(memory) < 1000
    return paths, array, gather


def rows(path):
    """Rows that a task has written so far; its last line may be incomplete."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_every_map_is_estimated_once_although_one_task_is_killed_and_another_requeued(cluster, submitted, tmp_path):
    paths, array, gather = submitted
    answers = tmp_path / "answers"

    def has_begun(task):
        table = answers / f"table.{task}-of-{TASKS}.jsonl"
        return table.exists() and rows(table)

    cluster.until(lambda: has_begun(2))
    cluster.call("scancel", "--signal=KILL", "--full", f"{array}_2")
    cluster.until(lambda: cluster.states(array)["2"][0] in ("FAILED", "CANCELLED"))
    assert len(rows(answers / "table.2-of-6.jsonl")) < MAPS / TASKS
    cluster.call("scontrol", "requeue", f"{array}_2")
    cluster.until(lambda: has_begun(4))
    cluster.call("scontrol", "requeue", f"{array}_4")
    states = cluster.until(
        lambda: (tasks := cluster.states(array)) and {state for state, _ in tasks.values()} == {"COMPLETED"} and tasks
    )
    assert {task: restarts for task, (_, restarts) in states.items() if restarts} == {"2": 1, "4": 1}

    cluster.until(lambda: "JobState=COMPLETED" in cluster.call("scontrol", "show", "job", gather))
    header, *gathered = (answers / "table.csv").read_text().splitlines()
    assert header.startswith("input,outcome,")
    assert sorted(line.split(",")[:2] for line in gathered) == sorted([str(path), "done"] for path in paths)
    assert (tmp_path / f"slurm-{gather}.out").read_text() == "24 maps: 24 done, 0 failed; 0 missing\n"
    for path in paths:
        for kind in ("locres", "mask"):
            assert mrcfile.validate(answers / f"{path.stem}_{kind}.mrc")
    assert any(row["kept"] for task in (2, 4) for row in rows(answers / f"table.{task}-of-6.jsonl"))


def test_an_irregular_array_is_refused_with_advice(cluster, submitted, tmp_path):
    _, array, gather = submitted
    cluster.call("scancel", array, gather)
    job = cluster.submit("--array=1,2,5", EXAMPLES / "array.sh", "list.txt", "elsewhere", cwd=tmp_path)
    cluster.until(lambda: {state for state, _ in cluster.states(job).values()} == {"FAILED"})
    output = (tmp_path / f"slurm-{job}_5.out").read_text()
    assert output.startswith("error: --shard slurm: found 3 tasks from 1 to 5")
    assert "--shard I/N" in output
    assert not (tmp_path / "elsewhere").exists()
