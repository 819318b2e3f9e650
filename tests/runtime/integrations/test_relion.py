"""The External job of RELION: the files in the job's folder after a success, an error or an abort, and the output."""

import re
import sys
from itertools import pairwise

import mrcfile
import numpy as np
import pytest

from cryores_lite.integrations import relion
from cryores_lite.integrations.relion import Aborted, histogram, until_aborted
from tests.runtime.command import RELION, one_error, run
from tests.runtime.paths import EXAMPLE

WHEN_WORK_BEGINS = (  # the hidden folder is made when the map has been read and before the first tile
    "import os, signal, sys; from pathlib import Path\n"
    "def watch(event, arguments):\n"
    "    if event == 'tempfile.mkdtemp':\n"
    "        {action}\n"
    "sys.addaudithook(watch)\n"
    "from cryores_lite.integrations.relion import main; main()"
)


JOB = "External/job012/"
ENDINGS = {f"RELION_JOB_EXIT_{how}" for how in ("SUCCESS", "FAILURE", "ABORTED")}
NODES = "RELION_OUTPUT_NODES.star"
EXTRAS = ("--uncertainty", "--filtered", "--display", "--chimerax")
MAPS = {"map_locres.mrc", "map_mask.mrc"}


def run_job(project, *words, command=RELION):
    """Run a job as RELION does: from the project directory, in a folder that exists."""
    (project / JOB).mkdir(parents=True, exist_ok=True)
    return run(*words, command=command, cwd=project)


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
    """Low edge, high edge and count of every line that is a bin of the histogram."""
    matches = [re.fullmatch(r"\[(\S+), (\S+)\): (\d+)", line) for line in lines]
    return [(float(m[1]), float(m[2]), int(m[3])) for m in matches if m]


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
    flags = ["--angpix", 1.2, "--device", "cpu", *EXTRAS[:2], "--display", "Yes", "--chimerax", "1", "--png", "No"]
    words = ["--o", JOB, *inputs, "--in_3dref", "map.mrc", *flags, "--j", 1, "--pipeline_control", JOB]
    finished = run_job(project, *words)
    return project, finished


@pytest.mark.slow
def test_a_job_that_is_done_leaves_its_files_and_the_exit_file_of_a_success(done):
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


@pytest.mark.slow
def test_the_output_nodes_name_every_map_for_relion_3_and_later(done):
    project, _ = done
    by_name = {row["_rlnPipeLineNodeName"]: row for row in nodes(project)}
    assert set(by_name) == {f"{JOB}{path.name}" for path in (project / JOB).glob("*.mrc")}
    for name, label, number in (
        ("map_locres.mrc", "Image3D.mrc.cryores_lite.localresmap", "12"),
        ("map_mask.mrc", "Mask3D.mrc.cryores_lite", "7"),
    ):
        assert by_name[JOB + name]["_rlnPipeLineNodeTypeLabel"] == label
        assert by_name[JOB + name]["_rlnPipeLineNodeType"] == number


@pytest.mark.slow
def test_the_files_equal_those_of_the_plain_command_byte_for_byte(done):
    project, _ = done
    words = ("map.mrc", "-o", "External/plain", *EXTRAS, "--quiet", "-j", 1)
    run(*words, cwd=project, check=True)
    for path in (project / "External/plain").iterdir():
        assert path.read_bytes() == (project / JOB / path.name).read_bytes()
    assert names(project, "External/plain") == names(project) - ENDINGS - {NODES}


def test_the_printed_histogram_counts_every_voxel_of_the_mask(done):
    project, finished = done
    locres, mask = (mrcfile.read(project / JOB / f"map_{kind}.mrc") for kind in ("locres", "mask"))
    printed = bins(finished.stdout.splitlines())
    assert sum(count for *_, count in printed) == mask.sum()
    assert printed[0][0] <= locres[mask == 1].min()
    assert locres.max() < printed[-1][1]


def test_a_note_names_the_inputs_that_are_not_used(done):
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
def test_bins_have_a_round_width_and_count_every_voxel_once(values, width):
    values = values.astype(np.float32)
    printed = bins(histogram(values))
    assert sum(count for *_, count in printed) == values.size
    assert all(before[1] == after[0] for before, after in pairwise(printed))
    for low, high, count in printed:
        np.testing.assert_allclose(high - low, width, atol=1e-6)
        assert abs(((values >= low - 1e-6) & (values < high - 1e-6)).sum() - count) <= 1  # float32 at an edge


def test_an_empty_mask_has_no_bins():
    assert histogram(np.zeros(0, np.float32)) == []


@pytest.fixture
def finished_before(project):
    """A project whose job has left files of earlier runs, and a map that is cut short."""
    (project / "broken.mrc").write_bytes(EXAMPLE.read_bytes()[:-1000])
    (project / JOB).mkdir(parents=True)
    for name in (*ENDINGS, NODES):
        (project / JOB / name).touch()
    return project


@pytest.mark.slow
def test_a_map_that_cannot_be_read_fails_the_job_with_one_line_on_stderr(finished_before):
    finished = run_job(finished_before, "--in_3dref", "broken.mrc", "--o", JOB)
    assert (finished.returncode, finished.stdout) == (1, "")
    one_error(finished, "error: broken.mrc")
    assert names(finished_before) == {"RELION_JOB_EXIT_FAILURE"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--in_3dref missing.mrc", 1, "missing.mrc"),
        ("--in_3dref map.mrc --model missing.onnx", 1, "missing.onnx"),
        ("", 2, "--in_3dref"),
        ("--in_3dref my map.mrc", 2, "map.mrc"),
        ("--in_3dref map.mrc --nonsense 1", 2, "--nonsense"),
        ("--in_3dref map.mrc --angpix 0", 2, "not a length"),
        ("--in_3dref map.mrc --angpix nan", 2, "not a length"),
        ("--in_3dref map.mrc --angpix", 2, "--angpix"),
        ("--in_3dref map.mrc --uncertainty maybe", 2, "neither Yes nor No"),
        ("--in_3dref map.mrc --device gpu", 2, "gpu"),
        ("--in_3dref map.mrc --j 0", 2, "at least 1"),
    ],
)
def test_any_error_leaves_the_exit_file_of_a_failure(finished_before, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(finished_before)
    with pytest.raises(SystemExit) as ending:
        relion.command([*words.split(), "--o", JOB])
    stderr = capsys.readouterr().err
    assert ending.value.code == code
    assert message in stderr
    assert "Traceback" not in stderr
    assert names(finished_before) == {"RELION_JOB_EXIT_FAILURE"}


def test_a_job_that_only_prints_the_help_is_a_failure(project):
    finished = run_job(project, "--o", JOB, "--help")
    assert (finished.returncode, names(project)) == (0, {"RELION_JOB_EXIT_FAILURE"})
    for flag in ("--in_3dref", "--angpix", "--uncertainty", "--pipeline_control"):
        assert flag in finished.stdout


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--pipeline_control", "--pipeline-control"])
def test_the_folder_is_also_read_from_pipeline_control(project, flag):
    assert run_job(project, "--o", JOB, "--in_3dref", "map.mrc", "--j", 1, flag, JOB).returncode == 0
    assert names(project) == {*MAPS, NODES, "RELION_JOB_EXIT_SUCCESS"}
    assert run_job(project, "--in_3dref", "map.mrc", f"{flag}={JOB}").returncode == 2
    assert names(project) == {*MAPS, "RELION_JOB_EXIT_FAILURE"}


def test_without_a_folder_the_command_is_refused(project):
    finished = run_job(project, "--in_3dref", "map.mrc")
    assert (finished.returncode, names(project)) == (2, set())
    assert "--o" in finished.stderr


def test_a_folder_that_is_a_file_is_refused(project):
    finished = run_job(project, "--in_3dref", "map.mrc", "--o", "map.mrc")
    assert finished.returncode == 1
    one_error(finished, "error: map.mrc: ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "ending"),
    [
        (f"Path('{JOB}', 'RELION_JOB_ABORT_NOW').touch()", "ABORTED"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "FAILURE"),
    ],
)
def test_a_job_that_is_stopped_leaves_only_an_exit_file(project, action, ending):
    command = [sys.executable, "-c", WHEN_WORK_BEGINS.format(action=action)]
    finished = run_job(project, "--o", JOB, "--in_3dref", "map.mrc", "--j", 1, command=command)
    assert (finished.returncode, finished.stderr) == (143, "")
    assert names(project) == {f"RELION_JOB_EXIT_{ending}"}


@pytest.mark.slow
def test_an_abort_from_before_the_start_stops_one_run_only(project):
    (project / JOB).mkdir(parents=True)
    (project / JOB / "RELION_JOB_ABORT_NOW").touch()
    words = ("--o", JOB, "--in_3dref", "map.mrc", "--j", 1)
    assert run_job(project, *words).returncode == 143
    assert names(project) == {"RELION_JOB_EXIT_ABORTED"}
    assert run_job(project, *words).returncode == 0
    assert names(project) == {*MAPS, NODES, "RELION_JOB_EXIT_SUCCESS"}


def test_tiles_are_yielded_until_the_abort_and_not_after_it(tmp_path):
    assert list(until_aborted(range(5), tmp_path)) == list(range(5))
    tiles = until_aborted(range(5), tmp_path)
    assert [next(tiles), next(tiles)] == [0, 1]
    (tmp_path / "RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(Aborted):
        next(tiles)
