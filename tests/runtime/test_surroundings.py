"""Standard streams that are closed or full, and libraries that cannot be loaded."""

import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import pytest

from cryores_lite.diagnostics import SELF_TEST_VOXEL_SIZE, self_test_map
from cryores_lite.io.mrc import read_map
from tests.runtime.paths import ROOT

MAIN = "from cryores_lite.cli import main; main()"
BROKEN_ONNXRUNTIME = {
    "incomplete": "",
    "shared libraries missing": "raise ImportError('libcudart.so.12: cannot open shared object file:\\nNo such file')",
    "not installed": "raise ModuleNotFoundError(\"No module named 'onnxruntime'\")",
}


@pytest.fixture
def density(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", self_test_map()) as file:
        file.voxel_size = SELF_TEST_VOXEL_SIZE
    return tmp_path / "a.mrc"


def run(*arguments, import_first=(), **streams):
    """Run the command; modules in the folders `import_first` replace installed ones."""
    python_path = os.pathsep.join([*map(str, import_first), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": python_path}, text=True, timeout=300, check=False, **streams
    )


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_change_no_output_file(tmp_path, density, closed):
    def close():
        for number in closed:
            os.close(number)

    finished = run(density, "-o", tmp_path / "out", "-j", "1", preexec_fn=close)
    reference = run(density, "-o", tmp_path / "reference", "-j", "1")
    assert (finished.returncode, reference.returncode) == (0, 0), finished.stderr
    for name in ("a_locres.mrc", "a_mask.mrc"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "reference" / name).read_bytes()


@pytest.mark.parametrize("arguments", [["MAP", "-j", "1"], ["MAP", "-j", "1", "--json"], ["--version"], ["--check"]])
def test_a_full_disk_behind_stdout_is_one_line_on_stderr(density, arguments):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        finished = run(*(str(density) if argument == "MAP" else argument for argument in arguments), stdout=full)
    (line,) = finished.stderr.splitlines()
    assert finished.returncode == 1
    assert line.startswith("error: ")
    assert "No space left" in line
    for name in ("a_locres.mrc", "a_mask.mrc") if arguments[0] == "MAP" else ():
        assert read_map(density.with_name(name)).density.values.shape == self_test_map().shape


@pytest.mark.parametrize("fault", BROKEN_ONNXRUNTIME)
@pytest.mark.parametrize("arguments", [["MAP"], ["--version"]])
def test_an_onnxruntime_that_cannot_be_loaded_is_one_line_on_stderr(tmp_path, density, fault, arguments):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "onnxruntime.py").write_text(BROKEN_ONNXRUNTIME[fault])
    finished = run(
        *(str(density) if argument == "MAP" else argument for argument in arguments), import_first=[tmp_path / "broken"]
    )
    (line,) = finished.stderr.splitlines()
    assert (finished.returncode, finished.stdout) == (1, "")
    assert line.startswith("error: ")
    assert "onnxruntime" in line or "libcudart" in line
    assert "--check" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrc", "broken"]


def test_the_check_names_a_broken_onnxruntime_and_goes_on(tmp_path):
    (tmp_path / "onnxruntime.py").write_text(BROKEN_ONNXRUNTIME["incomplete"])
    finished = run("--check", import_first=[tmp_path])
    failed = [line.split()[1] for line in finished.stdout.splitlines() if line.startswith("FAIL")]
    assert (finished.returncode, failed) == (1, ["providers", "model", "self-test"])
    assert "uninstall all of its wheels" in finished.stdout
