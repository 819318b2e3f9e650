"""What is around the command: streams that are closed or full, and libraries that cannot be loaded."""

import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import pytest

from cryores_lite.diagnostics import VOXEL_SIZE, built_in
from cryores_lite.io.mrc import read_map

MAIN = "from cryores_lite.cli import main; main()"
BROKEN = {
    "in part": "",
    "no libraries": "raise ImportError('libcudart.so.12: cannot open shared object file:\\nNo such file')",
    "nothing": "raise ModuleNotFoundError(\"No module named 'onnxruntime'\")",
}


@pytest.fixture
def density(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", built_in()) as file:
        file.voxel_size = VOXEL_SIZE
    return tmp_path / "a.mrc"


def run(*words, first=(), **streams):
    here = str(Path(__file__).resolve().parents[2])
    kept = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, first), here, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", MAIN, *map(str, words)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(command, env=kept, text=True, timeout=300, check=False, **streams)


@pytest.mark.parametrize("shut", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_that_are_closed_hinder_nothing_and_no_word_goes_into_an_answer(tmp_path, density, shut):
    def close():
        for number in shut:
            os.close(number)

    finished = run(density, "-o", tmp_path / "out", "-j", "1", preexec_fn=close)
    whole = run(density, "-o", tmp_path / "whole", "-j", "1")
    assert (finished.returncode, whole.returncode) == (0, 0), finished.stderr
    for name in ("a_locres.mrc", "a_mask.mrc"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("words", [["MAP", "-j", "1"], ["MAP", "-j", "1", "--json"], ["--version"], ["--check"]])
def test_a_full_disk_behind_the_output_is_told_in_one_line(density, words):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        finished = run(*(str(density) if word == "MAP" else word for word in words), stdout=full)
    (line,) = finished.stderr.splitlines()
    assert finished.returncode == 1
    assert line.startswith("error: ")
    assert "No space left" in line
    for name in ("a_locres.mrc", "a_mask.mrc") if words[0] == "MAP" else ():
        assert read_map(density.with_name(name)).density.values.shape == built_in().shape


@pytest.mark.parametrize("why", BROKEN)
@pytest.mark.parametrize("words", [["MAP"], ["--version"]])
def test_an_onnxruntime_that_cannot_be_loaded_is_told_in_one_line(tmp_path, density, why, words):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "onnxruntime.py").write_text(BROKEN[why])
    finished = run(*(str(density) if word == "MAP" else word for word in words), first=[tmp_path / "first"])
    (line,) = finished.stderr.splitlines()
    assert (finished.returncode, finished.stdout) == (1, "")
    assert line.startswith("error: ")
    assert "onnxruntime" in line or "libcudart" in line
    assert "--check" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrc", "first"]


def test_the_check_says_what_is_broken_and_goes_on(tmp_path):
    (tmp_path / "onnxruntime.py").write_text(BROKEN["in part"])
    finished = run("--check", first=[tmp_path])
    failed = [line.split()[1] for line in finished.stdout.splitlines() if line.startswith("FAIL")]
    assert (finished.returncode, failed) == (1, ["providers", "model", "self-test"])
    assert "uninstall all of its wheels" in finished.stdout
