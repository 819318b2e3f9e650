"""The External job under a real RELION 3.1, in a throw-away project; docs/relion.md says how to get one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cryores_lite.io.mrc import read_map

EXAMPLE = Path(__file__).parents[2] / "examples" / "example_map.mrc"
JOB = "External/job001/"
SCHEDULED, SUCCEEDED, FAILED, ABORTED = "1", "2", "3", "4"  # RELION 3.1's
COMMAND = (  # a file called finger presses Abort, once, when the map has been read and before the first tile
    "import os, sys\n"
    "def watch(event, arguments):\n"
    "    if event == 'tempfile.mkdtemp' and os.path.exists('finger'):\n"
    f"        os.rename('finger', '{JOB}RELION_JOB_ABORT_NOW')\n"
    "sys.addaudithook(watch)\n"
    "from cryores_lite.integrations.relion import main; main()"
)
REFERENCE, MASK, FINAL, RESOLUTION = "6", "7", "11", "12"  # node types of RELION 3.1


def relion(project, program, *words):
    finished = subprocess.run(
        [f"relion_{program}", *words], cwd=project, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def table(project, name, *columns):
    """Read some columns of a table of the pipeline that RELION keeps."""
    cif = pytest.importorskip("gemmi").cif
    block = cif.read(str(project / "default_pipeline.star")).find_block(f"pipeline_{name}")
    return {tuple(row) for row in block.find("_rlnPipeLine", columns)}


def status(project):
    ((name, job_status),) = table(project, "processes", "ProcessName", "ProcessStatus")
    assert name == JOB
    return job_status


@pytest.fixture
def project(tmp_path):
    """A project with a counter, as RELION begins one, a map, and our command under two names."""
    if not shutil.which("relion_pipeliner"):
        pytest.skip("RELION is not installed (no relion_pipeliner on the PATH)")
    version = subprocess.run(["relion_pipeliner", "--version"], capture_output=True, text=True, check=True).stdout
    if "3.1" not in version:
        pytest.skip(f"written for RELION 3.1, not for {version.strip()}")
    (tmp_path / "default_pipeline.star").write_text("\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n\n")
    (tmp_path / "map.mrc").write_bytes(EXAMPLE.read_bytes())
    for name in ("cryores", "cryores_for_relion_3"):
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{COMMAND}" "$@"\n')
        script.chmod(0o755)
    return tmp_path


def add(project, *options, exe="./cryores", reference="map.mrc"):
    """Add a job as the External tab does, options being its free labels and their values."""
    fields = [f"fn_exe == {exe}", f"in_3dref == {reference}", "nr_threads == 1"]
    for n, (label, value) in enumerate(options, 1):
        fields += [f"param{n}_label == {label}", f"param{n}_value == {value}"]
    relion(project, "pipeliner", "--addJob", "External", "--addJobOptions", ";".join(fields))
    assert status(project) == SCHEDULED


def go(project):
    relion(project, "pipeliner", "--schedule", "here", "--RunJobs", JOB, "--sec_wait_after", "0")


def test_relion_finds_the_maps_and_takes_the_job_for_done(project):
    add(project, ("uncertainty", "Yes"), ("filtered", ""), ("angpix", "1.2"))
    go(project)
    assert status(project) == SUCCEEDED
    made = {
        (f"{JOB}map_locres.mrc", RESOLUTION),
        (f"{JOB}map_mask.mrc", MASK),
        (f"{JOB}map_locres_uncertainty.mrc", RESOLUTION),
        (f"{JOB}map_locres_filtered.mrc", FINAL),
    }
    assert table(project, "nodes", "NodeName", "NodeType") == {("map.mrc", REFERENCE), *made}
    assert table(project, "input_edges", "EdgeFromNode", "EdgeProcess") == {("map.mrc", JOB)}
    assert table(project, "output_edges", "EdgeProcess", "EdgeToNode") == {(JOB, name) for name, _ in made}
    assert (project / JOB / "run.err").read_text() == ""
    bins = re.findall(r"^\[(\d\.\d), (\d\.\d)\): (\d+)$", (project / JOB / "run.out").read_text(), re.MULTILINE)
    lower, upper, counts = zip(*bins, strict=True)
    assert lower[1:] == upper[:-1]
    in_mask = read_map(project / JOB / "map_mask.mrc").density.values
    assert sum(map(int, counts)) == in_mask.sum() > 0
    mask = relion(project, "image_handler", "--i", f"{JOB}map_mask.mrc", "--stats")
    assert "80 x 80 x 80" in mask
    assert "minval= 0 maxval= 1; angpix = 1.2" in mask


def test_a_command_that_names_relion_is_told_its_folder_twice_and_runs(project):
    add(project, exe="./cryores_for_relion_3")
    go(project)
    assert f"--pipeline_control {JOB}" in (project / JOB / "note.txt").read_text()
    assert status(project) == SUCCEEDED


def test_a_wrong_option_fails(project):
    add(project, ("resolution", "3"))
    go(project)
    assert status(project) == FAILED
    assert "--resolution" in (project / JOB / "run.err").read_text()


def test_a_bad_map_fails(project):
    (project / "broken.mrc").write_bytes(EXAMPLE.read_bytes()[:-1000])
    add(project, reference="broken.mrc")
    go(project)
    assert status(project) == FAILED


def test_an_abort_is_known_as_one_and_the_job_can_be_run_again(project):
    add(project)
    (project / "finger").touch()
    go(project)
    assert status(project) == ABORTED
    go(project)
    assert status(project) == SUCCEEDED
