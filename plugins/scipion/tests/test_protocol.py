"""The plugin in a project of Scipion, run without its windows; docs/scipion.md says how to install both."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "example_map.mrc"
VOXEL_SIZE = 1.2  # Å, of the example
OFFSET = (10.0, -20.0, 30.0)  # Å, from the origin of coordinates to the first voxel; an import asks for the opposite
PERCENTILES = ("percentile_2_5", "percentile_25", "percentile_50", "percentile_75", "percentile_97_5")
pytestmark = pytest.mark.skipif(not find_spec("pwem"), reason="Scipion is not installed")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Stand in a new project of Scipion that found the plugin."""
    home, before = tmp_path_factory.mktemp("scipion"), Path.cwd()
    os.environ.update(SCIPION_HOME=str(home), SCIPION_USER_DATA=str(home / "data"))  # read at the first import
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # Scipion runs python3
    import pwem
    from pyworkflow import Config
    from pyworkflow.project import Manager
    from pyworkflow.protocol import HostConfig

    Config.setDomain("pwem")
    (home / "data").mkdir()
    (home / "config").mkdir()
    HostConfig.writeBasic(home / "config" / "hosts.conf")
    assert "cryores" in pwem.Domain.getPlugins()
    if errors := plugin().Plugin.validateInstallation():
        pytest.skip(" ".join(errors))
    project = Manager().createProject("Plugin")
    os.chdir(project.path)
    yield project
    os.chdir(before)


def run(project, protocol_class, **settings):
    protocol = project.newProtocol(protocol_class, numberOfThreads=1, **settings)
    project.launchProtocol(protocol, wait=True)
    return protocol


def imported(project, path, **settings):
    from pwem.protocols import ProtImportVolumes

    offset = {name: -value for name, value in zip("xyz", OFFSET)}
    settings = {"samplingRate": VOXEL_SIZE, "setOrigCoord": True, **offset, **settings}
    return run(project, ProtImportVolumes, filesPath=str(path), **settings).outputVolume


def protocol_class():
    import pwem

    return pwem.Domain.findClass("CryoresProtLocalResolution")


def plugin():
    import pwem

    return pwem.Domain.getPluginModule("cryores")


def command_row(path, folder, *options):
    """Run the command without Scipion, and return its line of JSON."""
    program = shlex.split(plugin().Plugin.getProgram())
    command = [*program, path, "--output-dir", folder, "--json", "--device", "cpu", *options]
    return json.loads(subprocess.run(command, check=False, capture_output=True).stdout)


def values(volume):
    from pwem.emlib.image import ImageHandler

    return ImageHandler().read(volume.getFileName() + ":mrc").getData()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Two maps with the signal of the example and independent noise, as MRC files."""
    folder, raw = tmp_path_factory.mktemp("halves"), EXAMPLE.read_bytes()
    voxels = np.frombuffer(raw[1024:], "<f4")
    paths = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).normal(0, 0.5 * voxels.std(), voxels.size)
        paths.append(folder / f"half{seed}.mrc")
        paths[-1].write_bytes(raw[:1024] + (voxels + noise).astype("<f4").tobytes())
    return paths


@pytest.fixture(scope="module")
def volume(project, halves):
    """The example as a volume of the project, with half maps."""
    return imported(project, EXAMPLE, setHalfMaps=True, half1map=str(halves[0]), half2map=str(halves[1]))


@pytest.fixture(scope="module")
def finished(project, volume):
    """The protocol, finished, on the example with all outputs."""
    protocol = run(project, protocol_class(), inputVolume=volume, compareHalfMaps=True, writeFiltered=True)
    assert protocol.isFinished(), protocol.getErrorMessage()
    return protocol


def test_all_outputs_are_registered_with_the_sampling_rate_and_origin_of_the_map(finished):
    from pwem.convert.headers import Ccp4Header
    from pwem.objects import VolumeMask

    names = set(finished._possibleOutputs)
    assert {name for name, _ in finished.iterOutputAttributes()} == names
    source = finished.inputVolume.get()
    assert source.getOrigin().getShifts() == OFFSET
    volumes = {name: getattr(finished, name) for name in names if hasattr(getattr(finished, name), "getFileName")}
    assert len(volumes) == 6
    for volume in volumes.values():
        assert volume.getSamplingRate() == source.getSamplingRate() == VOXEL_SIZE
        assert volume.getOrigin().getShifts() == OFFSET
        assert volume.getDim() == source.getDim()
        header = Ccp4Header(volume.getFileName(), readHeader=True)
        assert header.getSampling() == pytest.approx((VOXEL_SIZE,) * 3)
        assert header.getOrigin() == OFFSET
    assert isinstance(finished.mask, VolumeMask)


def test_the_numbers_are_those_of_the_volumes(finished):
    inside = values(finished.mask) > 0
    local = values(finished.resolution_Volume)
    assert np.array_equal(inside, local > 0)
    numbers = [getattr(finished, name).get() for name in PERCENTILES]
    assert numbers == pytest.approx(np.percentile(local[inside], [2.5, 25, 50, 75, 97.5]), abs=0.01)
    assert values(finished.uncertainty_Volume)[inside].min() > 0
    assert abs(numbers[2] - finished.global_resolution.get()) < 1
    assert any(f"median *{numbers[2]:.2f} Å*" in line for line in finished.summary())


def test_the_outputs_survive_a_reload_of_the_project(finished, project):
    from pyworkflow.project import Project

    again = Project(finished.getProject().getDomain(), project.path)
    again.load()
    protocol = again.getProtocol(finished.getObjId())
    assert protocol.percentile_50.get() == finished.percentile_50.get()
    assert protocol.resolution_Volume.getOrigin().getShifts() == OFFSET


def test_the_result_is_that_of_the_command(finished, tmp_path):
    row = command_row(EXAMPLE, tmp_path)
    assert finished.percentile_50.get() == pytest.approx(row["median"], abs=0.01)


def test_the_sampling_rate_of_scipion_counts_and_not_that_of_the_header(project, finished, tmp_path):
    volume = imported(project, EXAMPLE, setOrigCoord=False, samplingRate=1.25 * VOXEL_SIZE)
    protocol = run(project, protocol_class(), inputVolume=volume, writeReport=False)
    assert protocol.isFinished(), protocol.getErrorMessage()
    assert protocol.resolution_Volume.getSamplingRate() == 1.25 * VOXEL_SIZE
    row = command_row(EXAMPLE, tmp_path, "--voxel-size", str(1.25 * VOXEL_SIZE))
    assert protocol.percentile_50.get() == pytest.approx(row["median"], abs=0.01)
    assert protocol.percentile_50.get() > 1.1 * finished.percentile_50.get()
    assert protocol.resolution_Volume.getOrigin().getShifts() == volume.getOrigin().getShifts()


def test_a_volume_of_another_format_is_converted_with_its_sampling_rate_and_origin(project, finished, tmp_path):
    from pwem.emlib.image import ImageHandler

    ImageHandler().convert(f"{EXAMPLE}:mrc", str(tmp_path / "example.vol"))
    volume = imported(project, EXAMPLE)
    volume.setFileName(str(tmp_path / "example.vol"))
    project.mapper.store(volume)
    protocol = run(project, protocol_class(), inputVolume=volume, writeReport=False)
    assert protocol.isFinished(), protocol.getErrorMessage()
    assert np.array_equal(values(protocol.resolution_Volume), values(finished.resolution_Volume))
    assert protocol.resolution_Volume.getOrigin().getShifts() == OFFSET


def test_a_bad_map_fails_the_protocol_with_the_message_of_the_command(project, tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "broken.mrc")
    volume = imported(project, tmp_path / "broken.mrc", setOrigCoord=False)
    os.truncate(tmp_path / "broken.mrc", 1_000_000)
    protocol = run(project, protocol_class(), inputVolume=volume)
    assert protocol.isFailed()
    row = command_row(tmp_path / "broken.mrc", tmp_path)
    assert f"Protocol failed: import_{row['error']}" in protocol.getErrorMessage()
    assert len(protocol.getErrorMessage().splitlines()) == 1
    assert "Traceback" not in Path(protocol.getStderrLog()).read_text(encoding="utf-8")
    assert not list(protocol.iterOutputAttributes())


def test_a_card_that_is_missing_fails_the_protocol_with_the_message_of_the_command(project, volume):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a graphics card")
    protocol = run(project, protocol_class(), inputVolume=volume, useGpu=True, gpuList="0")
    assert protocol.isFailed()
    assert "CUDA_VISIBLE_DEVICES=0 " in Path(protocol.getStdoutLog()).read_text(encoding="utf-8")
    assert "CUDA cannot be used" in protocol.getErrorMessage()


def test_half_maps_that_are_missing_are_refused_before_the_run(project, finished):
    volume = finished.filtered_Volume  # it has no half maps
    protocol = project.newProtocol(protocol_class(), inputVolume=volume, compareHalfMaps=True)
    assert "No half maps" in " ".join(protocol.validate())
    protocol.halfMap1.set(volume)
    assert "One half map" in " ".join(protocol.validate())
    protocol.halfMap2.set(volume)
    assert protocol.validate() == []


def test_the_viewer_belongs_to_the_protocol_and_draws_its_volumes(finished, project):
    import pwem

    viewer_class = pwem.Domain.findViewers(finished, "tkinter")[0]
    assert viewer_class.__name__ == "CryoresLocalResolutionViewer"
    viewer = viewer_class(project=project, protocol=finished)
    viewer.setProtocol(finished)
    assert viewer.lowest.get() == pytest.approx(finished.percentile_2_5.get(), abs=0.01)
    shown = {name: show(name)[0] for name, show in viewer._getVisualizeDict().items()}
    assert shown["showReport"].path.is_file()
    histogram = shown["showHistogram"].getFigure().axes[0]
    assert sum(bar.get_height() for bar in histogram.patches) == (values(finished.mask) > 0).sum()
    assert len(shown["showSlices"].getFigure().axes) == 5  # with the colour bar
    script = Path(finished._getExtraPath("chimera_resolution_map.py")).read_text(encoding="utf-8")
    assert "color sample" in script
    assert f"voxelSize {VOXEL_SIZE}" in script


def test_what_the_plugin_says_of_itself_and_of_the_command_is_true(project):
    version = subprocess.run(f"{plugin().Plugin.getProgram()} --version", shell=True, check=True, capture_output=True)
    assert version.stdout.split()[:2] == [plugin().COMMAND.encode(), plugin().COMMAND_VERSION.encode()]
    protocol = project.newProtocol(protocol_class())
    assert Path(protocol.getPluginLogoPath()).is_file()
    assert plugin()._references == list(plugin()._bibtex) == protocol._citations()
    conf = Path(plugin().__file__).with_name("protocols.conf").read_text(encoding="utf-8")
    assert json.loads(conf.split("=", 1)[1])[-1]["text"] == "3D"
    assert f'"{protocol_class().__name__}"' in conf
