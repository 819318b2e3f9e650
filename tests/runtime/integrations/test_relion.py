"""The External job of RELION: what it leaves in the job's folder, whatever happens, and what it prints."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryores_lite.integrations.relion import Aborted, histogram, until_aborted

WHEN_WORK_BEGINS = (  # the hidden folder is made when the map has been read and before the first tile
    "import os, signal, sys; from pathlib import Path\n"
    "def watch(event, arguments):\n"
    "    if event == 'tempfile.mkdtemp':\n"
    "        {action}\n"
    "sys.addaudithook(watch)\n"
    "from cryores_lite.integrations.relion import main; main()"
)


def installed(script, module):
    path = Path(sys.executable).with_name(script)
    return [str(path)] if path.exists() else [sys.executable, "-c", f"from {module} import main; main()"]


COMMAND, PLAIN = (
    installed("cryores-lite-relion", "cryores_lite.integrations.relion"),
    installed("cryores-lite", "cryores_lite.cli"),
)
EXAMPLE = Path(__file__).parents[3] / "examples" / "example_map.mrc"
JOB = "External/job012/"
ENDINGS = {f"RELION_JOB_EXIT_{how}" for how in ("SUCCESS", "FAILURE", "ABORTED")}
NODES = "RELION_OUTPUT_NODES.star"
EXTRAS = ("--uncertainty", "--filtered", "--display", "--chimerax")
MAPS = {"map_locres.mrc", "map_mask.mrc"}


def run(project, *words, command=COMMAND):
    """Run a job as RELION does: from the project directory, in a folder that is there already."""
    (project / JOB).mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [*command, *map(str, words)], cwd=project, capture_output=True, text=True, timeout=300, check=False
    )


def names(project, job=JOB):
    return {path.name for path in (project / job).iterdir()}


def nodes(project):
    """Parse the table of a STAR file that holds one loop."""
    block, loop, *lines = [line for line in (project / JOB / NODES).read_text().splitlines() if line]
    assert (block, loop) == ("data_output_nodes", "loop_")
    columns = [line.split()[0] for line in lines if line.startswith("_")]
    assert [line for line in lines if line.startswith("_")] == [f"{name} #{n}" for n, name in enumerate(columns, 1)]
    return [dict(zip(columns, line.split(), strict=True)) for line in lines if not line.startswith("_")]


def bins(lines):
    found = [re.fullmatch(r"\[(\S+), (\S+)\): (\d+)", line) for line in lines]
    return [(float(m[1]), float(m[2]), int(m[3])) for m in found if m]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "map.mrc").write_bytes(EXAMPLE.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A job with every flag that RELION may pass, in a folder where the same job had run before."""
    project = tmp_path_factory.mktemp("project")
    (project / "map.mrc").write_bytes(EXAMPLE.read_bytes())
    (project / JOB).mkdir(parents=True)
    for name in (*ENDINGS, NODES, "map_mask.mrc"):
        (project / JOB / name).write_text("stale")
    inputs = [word for kind in ("movies", "mics", "parts", "coords", "mask") for word in (f"--in_{kind}", "a.star")]
    labels = ["--angpix", 1.2, "--device", "cpu", *EXTRAS[:2], "--display", "Yes", "--chimerax", "1", "--png", "No"]
    finished = run(project, "--o", JOB, *inputs, "--in_3dref", "map.mrc", *labels, "--j", 1, "--pipeline_control", JOB)
    return project, finished


def test_a_job_that_went_well_says_so_and_nothing_else(done):
    project, finished = done
    assert (finished.returncode, finished.stderr) == (0, "")
    assert names(project) & ENDINGS == {"RELION_JOB_EXIT_SUCCESS"}
    assert (project / JOB / "RELION_JOB_EXIT_SUCCESS").read_bytes() == b""
    assert names(project) - ENDINGS == {
        *MAPS,
        *(f"map_locres_{kind}.mrc" for kind in ("uncertainty", "filtered", "display")),
        "map_locres.cxc",
        NODES,
    }


def test_relion_3_and_later_ones_find_every_map_that_was_made(done):
    project, _ = done
    found = {row["_rlnPipeLineNodeName"]: row for row in nodes(project)}
    assert set(found) == {f"{JOB}{path.name}" for path in (project / JOB).glob("*.mrc")}
    for name, label, number in (
        ("map_locres.mrc", "Image3D.mrc.cryores_lite.localresmap", "12"),
        ("map_mask.mrc", "Mask3D.mrc.cryores_lite", "7"),
    ):
        assert found[JOB + name]["_rlnPipeLineNodeTypeLabel"] == label
        assert found[JOB + name]["_rlnPipeLineNodeType"] == number


def test_the_files_are_those_of_the_plain_command_to_the_byte(done):
    project, _ = done
    words = ("map.mrc", "-o", "External/plain", *EXTRAS, "--quiet", "-j", 1)
    assert run(project, *words, command=PLAIN).returncode == 0
    for path in (project / "External/plain").iterdir():
        assert path.read_bytes() == (project / JOB / path.name).read_bytes()
    assert names(project, "External/plain") == names(project) - ENDINGS - {NODES}


def test_the_histogram_counts_the_voxels_of_the_mask(done):
    project, finished = done
    locres, mask = (mrcfile.read(project / JOB / f"map_{kind}.mrc") for kind in ("locres", "mask"))
    found = bins(finished.stdout.splitlines())
    assert sum(count for *_, count in found) == mask.sum()
    assert found[0][0] <= locres[mask == 1].min()
    assert locres.max() < found[-1][1]


def test_inputs_that_are_not_used_are_named(done):
    _, finished = done
    for kind in ("movies", "mics", "parts", "coords", "mask"):
        assert f"--in_{kind} is not needed" in finished.stdout


@pytest.mark.parametrize(
    ("values", "width"),
    [
        (np.linspace(2.0, 3.9, 1000), 0.1),
        (np.linspace(2.0, 30.0, 1000), 2.0),
        (np.linspace(3.0, 2e4, 1000), 50.0),
        (np.full(7, 3.0), 0.1),
    ],
)
def test_bins_are_round_and_hold_every_voxel_once(values, width):
    values = values.astype(np.float32)
    found = bins(histogram(values))
    assert sum(count for *_, count in found) == values.size
    assert all(before[1] == after[0] for before, after in pairwise(found))
    for low, high, count in found:
        np.testing.assert_allclose(high - low, width, atol=1e-6)
        assert abs(((values >= low - 1e-6) & (values < high - 1e-6)).sum() - count) <= 1  # float32 at an edge


def test_an_empty_mask_has_no_bins():
    assert histogram(np.zeros(0, np.float32)) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--in_3dref missing.mrc", 1, "missing.mrc"),
        ("--in_3dref broken.mrc", 1, "broken.mrc"),
        ("--in_3dref map.mrc --model missing.onnx", 1, "missing.onnx"),
        ("", 2, "--in_3dref"),
        ("--in_3dref my map.mrc", 2, "map.mrc"),
        ("--in_3dref map.mrc --nonsense 1", 2, "--nonsense"),
        ("--in_3dref map.mrc --angpix 0", 2, "not a length"),
        ("--in_3dref map.mrc --angpix nan", 2, "not a length"),
        ("--in_3dref map.mrc --angpix", 2, "--angpix"),
        ("--in_3dref map.mrc --uncertainty maybe", 2, "neither Yes nor No"),
        ("--in_3dref map.mrc --device gpu", 2, "gpu"),
        ("--in_3dref map.mrc --j 0", 2, "less than 1"),
    ],
)
def test_whatever_goes_wrong_is_a_failure_and_not_a_job_that_runs_for_ever(project, words, code, said):
    (project / "broken.mrc").write_bytes(EXAMPLE.read_bytes()[:-1000])
    (project / JOB).mkdir(parents=True)
    for name in (*ENDINGS, NODES):
        (project / JOB / name).touch()
    finished = run(project, *words.split(), "--o", JOB)
    assert finished.returncode == code
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr
    assert names(project) == {"RELION_JOB_EXIT_FAILURE"}


def test_asking_for_help_makes_nothing_and_is_no_success(project):
    finished = run(project, "--o", JOB, "--help")
    assert (finished.returncode, names(project)) == (0, {"RELION_JOB_EXIT_FAILURE"})
    for flag in ("--in_3dref", "--angpix", "--uncertainty", "--pipeline_control"):
        assert flag in finished.stdout


@pytest.mark.parametrize("flag", ["--pipeline_control", "--pipeline-control"])
def test_the_folder_is_known_from_pipeline_control_too(project, flag):
    assert run(project, "--o", JOB, "--in_3dref", "map.mrc", "--j", 1, flag, JOB).returncode == 0
    assert names(project) == {*MAPS, NODES, "RELION_JOB_EXIT_SUCCESS"}
    assert run(project, "--in_3dref", "map.mrc", f"{flag}={JOB}").returncode == 2
    assert names(project) == {*MAPS, "RELION_JOB_EXIT_FAILURE"}


def test_without_a_folder_the_command_is_refused(project):
    finished = run(project, "--in_3dref", "map.mrc")
    assert (finished.returncode, names(project)) == (2, set())
    assert "--o" in finished.stderr


def test_a_folder_that_is_a_file_is_refused(project):
    finished = run(project, "--in_3dref", "map.mrc", "--o", "map.mrc")
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: map.mrc: ")
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("action", "ending"),
    [
        (f"Path('{JOB}', 'RELION_JOB_ABORT_NOW').touch()", "ABORTED"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "FAILURE"),
    ],
)
def test_a_job_that_is_stopped_at_work_leaves_no_map(project, action, ending):
    command = [sys.executable, "-c", WHEN_WORK_BEGINS.format(action=action)]
    finished = run(project, "--o", JOB, "--in_3dref", "map.mrc", "--j", 1, command=command)
    assert (finished.returncode, finished.stderr) == (143, "")
    assert names(project) == {f"RELION_JOB_EXIT_{ending}"}


def test_an_abort_asked_for_before_the_start_is_obeyed_once(project):
    (project / JOB).mkdir(parents=True)
    (project / JOB / "RELION_JOB_ABORT_NOW").touch()
    words = ("--o", JOB, "--in_3dref", "map.mrc", "--j", 1)
    assert run(project, *words).returncode == 143
    assert names(project) == {"RELION_JOB_EXIT_ABORTED"}
    assert run(project, *words).returncode == 0
    assert names(project) == {*MAPS, NODES, "RELION_JOB_EXIT_SUCCESS"}


def test_tiles_come_until_the_abort_and_not_after(tmp_path):
    assert list(until_aborted(range(5), tmp_path)) == list(range(5))
    tiles = until_aborted(range(5), tmp_path)
    assert [next(tiles), next(tiles)] == [0, 1]
    (tmp_path / "RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(Aborted):
        next(tiles)
