"""The job of ccpem-pipeliner, run by it in a throw-away project; docs/relion.md says how to install both."""

import os
import shutil
import sys
from pathlib import Path

import mrcfile
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "example_map.mrc"
NAME = "cryores_lite.map_analysis.local_resolution"
JOB = "LocalRes/job001/"
EXTRAS = ("uncertainty", "filtered", "chimerax")
pytestmark = pytest.mark.filterwarnings("default")  # theirs are not ours to mend


@pytest.fixture(scope="module")
def pipeliner():
    """The job factory of ccpem-pipeliner, if it is installed and finds our job."""
    job_factory = pytest.importorskip("pipeliner.job_factory", reason="ccpem-pipeliner is not installed")
    if not shutil.which("cryores-lite", path=path_with_scripts()):
        pytest.skip("cryores_lite is not installed beside ccpem-pipeliner: it is found by its entry point")
    return job_factory


def path_with_scripts():
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


@pytest.fixture
def project(pipeliner, tmp_path, monkeypatch):
    """Stand in a new project with a map in it."""
    from pipeliner.api.manage_project import PipelinerProject

    monkeypatch.setenv("PATH", path_with_scripts())
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, "map.mrc")
    return PipelinerProject(make_new_project=True)


def options(**given):
    return {"_rlnJobTypeLabel": NAME, "input_map": "map.mrc", "nr_threads": 1, **given}


def table(name, *columns):
    """Read some columns of a table of the project's pipeline."""
    from gemmi import cif

    block = cif.read("default_pipeline.star").find_block(f"pipeline_{name}")
    return {tuple(row) for row in block.find("_rlnPipeLine", columns)}


def status():
    ((job, job_status),) = table("processes", "ProcessName", "ProcessStatusLabel")
    assert job == JOB
    return job_status


def test_the_pipeliner_knows_the_job_and_can_run_it(project, pipeliner):
    job = pipeliner.new_job_of_type(NAME)
    assert job.jobinfo.is_available
    assert job.get_category_label() == "Local Resolution Determination"
    assert job.jobinfo.programs[0].get_version()


def test_the_command_is_the_one_that_was_asked_for(project, pipeliner):
    job = pipeliner.job_from_dict(options(voxel_size=1.7, report="Yes", device="cpu", atoms="m.cif", other_args="-q"))
    job.output_dir = JOB
    _, command = job.get_commands()
    assert " ".join(command.cmd) == (
        f"cryores-lite map.mrc --output-dir {JOB} --overwrite --device cpu --threads 1"
        " --voxel-size 1.7 --atoms m.cif --report -q"
    )


def test_the_job_succeeds_its_nodes_exist_and_its_results_can_be_shown(project, pipeliner):
    project.run_job(options(**dict.fromkeys(EXTRAS, "Yes")), run_in_foreground=True)
    assert status() == "Succeeded"
    labels = {
        "map_locres.mrc": "Image3D.mrc.cryores_lite.localresmap",
        "map_mask.mrc": "Mask3D.mrc.cryores_lite",
        "map_locres_uncertainty.mrc": "Image3D.mrc.cryores_lite.localresmap.uncertainty",
        "map_locres_filtered.mrc": "DensityMap.mrc.cryores_lite.localresfiltered",
        "map_locres.cxc": "VisualisationScript.cxc.cryores_lite.chimerax",
    }
    made = {(JOB + name, label) for name, label in labels.items()}
    assert table("nodes", "NodeName", "NodeTypeLabel") == {("map.mrc", "DensityMap.mrc"), *made}
    assert table("output_edges", "EdgeProcess", "EdgeToNode") == {(JOB, name) for name, _ in made}
    assert all(Path(name).is_file() for name, _ in made)

    fresh = pipeliner.read_job(f"{JOB}job.star")
    fresh.output_dir = JOB
    fresh.save_results_display_files()
    histogram, montage, *views = fresh.load_results_display_files()
    assert (histogram.dobj_type, montage.dobj_type) == ("histogram", "montage")
    assert [view.dobj_type for view in views] == ["mapmodel"] * 3
    assert sum(histogram.bins) == mrcfile.read(f"{JOB}map_mask.mrc").sum()
    assert len(histogram.bin_edges) == len(histogram.bins) + 1


def test_a_map_in_which_nothing_is_found_is_shown_without_a_histogram(project, pipeliner):
    Path(JOB).mkdir(parents=True)
    job = pipeliner.job_from_dict(options())
    job.output_dir = JOB
    with mrcfile.open("map.mrc") as mrc:
        for name in ("map_locres.mrc", "map_mask.mrc"):
            mrcfile.write(f"{JOB}{name}", 0 * mrc.data, voxel_size=mrc.voxel_size)
    assert "histogram" not in [shown.dobj_type for shown in job.create_results_display()]


def test_a_bad_map_fails_the_job(project):
    Path("broken.mrc").write_bytes(EXAMPLE.read_bytes()[:-1000])
    project.run_job(options(input_map="broken.mrc"), run_in_foreground=True)
    assert status() == "Failed"
    assert "error: broken.mrc" in Path(JOB, "run.err").read_text()
