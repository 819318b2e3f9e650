"""The footprint of a run: nothing is sent, nothing is written outside the output folder, `-q` prints nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cryores_lite

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "example_map.mrc"
pytestmark = pytest.mark.slow
EVERY_OUTPUT = ("--uncertainty", "--filtered", "--display", "--chimerax", "--report", "--png")
START = {
    "command": ["from cryores_lite.cli import main; main()"],
    "RELION": ["from cryores_lite.integrations.relion import main; main()"],
}


@pytest.fixture
def surroundings(tmp_path):
    """A new HOME, temporary folder and working folder with the example map; nothing else in the environment."""
    folders = {name: tmp_path / name for name in ("home", "tmp", "work")}
    for folder in folders.values():
        folder.mkdir()
    shutil.copy(EXAMPLE, folders["work"] / "map.mrc")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folders["home"]),
        "TMPDIR": str(folders["tmp"]),
        "PYTHONPATH": str(Path(cryores_lite.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return folders, environment


def python(surroundings, code, *arguments, trace=None):
    """Run code in the surroundings, with its system calls for the network in the file `trace`."""
    folders, environment = surroundings
    tracer = [] if trace is None else ["strace", "-f", "-qq", "-e", "trace=socket,connect", "-o", str(trace)]
    return subprocess.run(
        [*tracer, sys.executable, "-c", code, *map(str, arguments)],
        cwd=folders["work"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def check_footprint(surroundings, finished, expected):
    folders, _ = surroundings
    assert finished.returncode == 0, finished.stderr
    assert (finished.stdout, finished.stderr) == ("", "")
    assert (files_in(folders["home"]), files_in(folders["tmp"])) == ([], [])
    assert set(files_in(folders["work"])) == {"map.mrc", *expected}


def test_the_command_writes_its_output_files_alone(surroundings):
    finished = python(surroundings, *START["command"], "map.mrc", "-o", "out", "-j", 1, "-q", *EVERY_OUTPUT)
    endings = ("_locres.mrc", "_mask.mrc", "_locres_uncertainty.mrc", "_locres_filtered.mrc", "_locres_display.mrc")
    check_footprint(
        surroundings, finished, {f"out/map{e}" for e in (*endings, "_locres.cxc", "_locres.html", "_locres.png")}
    )


def test_a_list_of_maps_leaves_its_output_files_records_and_table_alone(surroundings):
    (surroundings[0]["work"] / "list.txt").write_text("map.mrc\n")
    options = ("--maps-from", "list.txt", "--table", "all.csv", "-o", "out", "-j", 1, "-q")
    finished = python(surroundings, *START["command"], *options)
    record = {f"out/map{e}" for e in ("_locres.mrc", "_mask.mrc", "_locres.json")}
    check_footprint(surroundings, finished, {"list.txt", "all.csv", *record})


def test_the_python_api_writes_nothing(surroundings):
    code = (
        "from cryores_lite import Model, estimate, read_map\n"
        "density = read_map('map.mrc').density\n"
        "estimate(density.values, density.grid.voxel_size, model=Model.open(device='cpu', threads=1), threads=1)"
    )
    check_footprint(surroundings, python(surroundings, code), set())


@pytest.mark.parametrize("option", ["--version", "--check", "--help"])
def test_options_that_only_print_write_nothing(surroundings, option):
    finished = python(surroundings, *START["command"], option)
    assert finished.returncode == 0
    assert finished.stderr == ""
    assert [files_in(surroundings[0][name]) for name in ("home", "tmp", "work")] == [[], [], ["map.mrc"]]


def test_a_relion_job_writes_into_its_own_folder_alone(surroundings):
    finished = python(surroundings, *START["RELION"], "--o", "job/", "--in_3dref", "map.mrc", "--j", 1)
    assert finished.returncode == 0, finished.stderr
    folders, _ = surroundings
    assert (files_in(folders["home"]), files_in(folders["tmp"])) == ([], [])
    assert all(path.startswith(("job/", "map.mrc")) for path in files_in(folders["work"]))


def test_no_entry_point_loads_onnxruntime_with_its_telemetry_on(surroundings):
    """The switch must be set before the import, whatever imports onnxruntime first."""
    code = (
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            assert os.environ.get('ORT_DISABLE_TELEMETRY') == '1', 'telemetry is on'\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    for imports in (
        "from cryores_lite.console import versions; versions()",
        "from cryores_lite import Model; Model.open(device='cpu')",
        "from cryores_lite.installation.diagnostics import report; report()",
        "import cryores_lite.batch.runner",
    ):
        finished = python(surroundings, code + imports + "\nassert 'onnxruntime' in sys.modules")
        assert finished.returncode == 0, (imports, finished.stderr)


def test_a_run_opens_no_connection(surroundings, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: system calls are not watched")
    trace = tmp_path / "trace.txt"
    if python(surroundings, "pass", trace=trace).returncode != 0:
        pytest.skip("strace may not watch processes here")
    control = python(surroundings, "import socket; socket.socket(socket.AF_INET)", trace=trace)
    assert control.returncode == 0
    assert "AF_INET" in trace.read_text()  # the watch works
    code = "import time\nfrom cryores_lite import Model\nopened = Model.open(device='cpu')\ntime.sleep(1)"
    for arguments in ((code,), (*START["command"], "map.mrc", "-o", "out", "-j", 1, "-q")):
        assert python(surroundings, *arguments, trace=trace).returncode == 0
        assert "AF_INET" not in trace.read_text()
