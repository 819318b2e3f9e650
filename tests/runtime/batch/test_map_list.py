"""A list of maps, its parts, and maps that would write the same files."""

import os
import re
import sys
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryores_lite.batch.map_list import check_no_duplicates, parse_shard, read_list
from cryores_lite.errors import InputError
from cryores_lite.job import plan
from tests.runtime.command import one_error, run
from tests.runtime.paths import SUBMIT

NAMES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), min_size=1).filter(str.strip))


def array(number, lowest, highest, step, count):
    values = {"ID": number, "MIN": lowest, "MAX": highest, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@given(st.integers(0, 50), st.integers(1, 9))
def test_every_map_is_in_exactly_one_part_and_parts_differ_by_one_map_at_most(maps, count):
    paths = [Path(str(n)) for n in range(maps)]
    parts = [parse_shard(f"{n}/{count}", {}).select(paths) for n in range(1, count + 1)]
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


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2", "Slurm"])
def test_a_part_that_is_not_i_of_n_is_refused(text):
    with pytest.raises(InputError, match="I/N"):
        parse_shard(text, {})


@pytest.mark.slow
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
        (
            ["a/x.mrc", "b/x.map"],
            Path("out"),
            (),
            "out/x_locres.mrc, an output of b/x.map and an input or output of a/x.mrc",
        ),
        (["a.mrc", "a_mask.mrc"], None, (), "a_mask.mrc, an output of a.mrc and an input or output of a_mask.mrc"),
        (["a.mrc", "a_locres_filtered.mrc"], None, ("filtered",), "a_locres_filtered.mrc, an output of a.mrc"),
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
    with pytest.raises(InputError, match=re.escape("a_mask.mrc, an output of a.mrc")):
        check_no_duplicates([plan(Path("a.mrc"), None, half_maps=halves)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "an empty list"),
        ("a.mrc\n./a.mrc\n", "a.mrc twice"),
        ("a.mrc\n", "sbatch: found nothing"),
    ],
)
def test_a_list_that_cannot_be_submitted_is_refused_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    environment = {**os.environ, "PATH": str(tmp_path)}
    finished = run("list.txt", "answers", command=[sys.executable, SUBMIT], cwd=tmp_path, env=environment)
    assert (finished.returncode, finished.stdout) == (1, "")
    one_error(finished, message)
